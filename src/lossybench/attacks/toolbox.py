"""The parts of ART that attacks are built from, without all its others.

`import art` imports every attack, defence and metric of ART, and with them pandas and scikit-learn: a second of each
job. The modules that are needed here need none of that. So while they are imported, ART's packages are bare names for
folders; afterwards `import art` means the whole of it again, whose modules of these names are those of here.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_ATTACKS, _ESTIMATORS = "art.attacks.evasion.projected_gradient_descent", "art.estimators.classification"
_PACKAGES = (_ATTACKS, _ESTIMATORS, "art.estimators.object_detection", "art.defences.preprocessor")


@contextlib.contextmanager
def _bare() -> Iterator[None]:
    """Within, ART's packages that are not imported yet run no code of their own when they are imported."""
    spec = importlib.util.find_spec("art")
    assert spec and spec.origin
    above = Path(spec.origin).parents[1]
    names = dict.fromkeys(
        itertools.chain.from_iterable(itertools.accumulate(p.split("."), "{}.{}".format) for p in _PACKAGES)
    )
    made = [name for name in names if name not in sys.modules]
    for name in made:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [str(above.joinpath(*name.split(".")))]
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


with _bare():
    from art.attacks.evasion.auto_projected_gradient_descent import AutoProjectedGradientDescent
    from art.attacks.evasion.fast_gradient import FastGradientMethod
    from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_numpy import (
        ProjectedGradientDescentNumpy,
    )
    from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch import (
        ProjectedGradientDescentPyTorch,
    )
    from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
    from art.estimators.classification.pytorch import PyTorchClassifier
    from art.estimators.object_detection.object_detector import ObjectDetectorMixin
    from art.estimators.object_detection.pytorch_object_detector import PyTorchObjectDetector

__all__ = [
    "AutoProjectedGradientDescent",
    "FastGradientMethod",
    "ObjectDetectorMixin",
    "PreprocessorPyTorch",
    "ProjectedGradientDescentNumpy",
    "ProjectedGradientDescentPyTorch",
    "PyTorchClassifier",
    "PyTorchObjectDetector",
]
