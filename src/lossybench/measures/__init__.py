"""Further measures of fidelity, which a study asks for by name: one file each, found by that name."""

from lossybench.measures.measure import Measure, get, names

__all__ = ["Measure", "get", "names"]
