"""The names of the figures that a task gets, which are known before anything ran and without matplotlib."""

from __future__ import annotations


def figure_names(
    has_fidelity: bool,
    has_attacks: bool,
    has_matched: bool,
    has_regimes: bool,
    has_attacked_regimes: bool,
    has_capture: bool = False,
    has_gaps: bool = False,
    has_subgroups: bool = False,
) -> list[str]:
    """The stems of the files that `figures.draw` makes for a task, in the report's order.

    has_*: whether fidelity is measured, whether models are attacked, trained on one level (matched), trained on a
    mixture of levels or adversarially (regimes), whether models of more than one regime are attacked, whether a codec
    has a grid of conditions of capture, and whether models are trained on compressed media, so that a loss can be told
    into its parts (gaps), and whether losses are told apart by groups. A figure that would have no data is not among
    the stems.
    """
    names = ["limits", "rate_accuracy", *["fidelity_accuracy"] * has_fidelity, "metrics"]
    names += ["capture"] * has_capture
    names += ["subgroups"] * has_subgroups + ["gaps"] * has_gaps
    names += ["regimes"] * has_regimes + ["transfer"] * has_matched
    names += ["attacks", "attack_curves", "attack_spectra"] * has_attacks
    return names + ["attack_regimes"] * has_attacked_regimes
