"""The product's attack against one that shares no code with it, on the same items, budget and codec."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from rival import Rival
from test_attacks import Study, digits, rows, study  # noqa: F401

from lossybench import codecs

BOUNDS = {"original": "10/255", "jpeg": "20/255", "h264": "28/255"}  # where the attack leaves some of the items


@pytest.mark.parametrize(("codec", "level"), [("original", 0), ("jpeg", 30), ("h264", 40)])
def test_an_independent_attack_beats_as_many_items(
    study: Study,  # noqa: F811
    digits: SimpleNamespace,  # noqa: F811
    codec: str,
    level: int,
) -> None:
    bound, n = BOUNDS[codec], 300
    how = {"attacks": {"pgd": [bound]}, "goals": ["untargeted"], "items": n, "tiers": ["T0", "T2"], "restarts": 4}
    table = rows(study.attack(**how))
    if codec != "original":
        table = rows(study.attack(codec, (level,), **how), tier="T2")
    places = [int(name[1:]) for name in table.index]
    clean, truth = digits.media[places], digits.labels[places]
    coder = codecs.get(codec)
    decode = None if codec == "original" else lambda items: np.stack([coder.roundtrip(i, level) for i in items])
    rival = Rival(digits.network, clean, truth, int(bound.split("/")[0]), decode, seed=1)
    rival.run(steps=10, restarts=4, step=0.25 if codec == "original" else 1.0)
    ours, theirs = (table.after == table.label).mean(), len(rival.left) / n
    assert 0.02 < theirs < 0.9 < (table.clean == table.label).mean()
    own = 1 - ((table.after != table.label) & table.own).mean()
    assert ours == pytest.approx(theirs, abs=0.02) and own == pytest.approx(theirs, abs=0.02)
    assert table.calls.mean() == pytest.approx(rival.calls.mean(), rel=0.15)  # at the same cost
