"""Attack figures and gates on rows written by hand."""

from pathlib import Path

import pytest

from lossybench.analysis.attacks import attack_rows
from lossybench.artifacts import ATTACKS, write_table
from lossybench.errors import LossyBenchError

STRENGTHS = {("original", 0.0): 0, ("jpeg", 10.0): 1}


def rows(after, before=None, clean=None, clean_after=None, *, tier="T0", level=0.0, goal="untargeted", **more):
    """One attack on items whose label is 0 and, if targeted, whose target is 1; arguments are predictions."""
    n = len(after)
    return [
        {
            "id": f"item{i}",
            "attack": "pgd",
            "norm": "linf",
            "epsilon": 0.1,
            "goal": goal,
            "tier": tier,
            "level": level,
            "label": 0,
            "target": 1 if goal == "targeted" else -1,
            "target_rule": "next" if goal == "targeted" else "",
            "clean": (clean or [0] * n)[i],
            "clean_after": (clean_after or clean or [0] * n)[i],
            "before": (before or after)[i],
            "after": after[i],
            "linf": 0.1,
            "l2": 1.0,
            "own": True,
            "adversarial": None,
        }
        | more
        for i in range(n)
    ]


def tables_of(folder: Path, bare, jpeg=()):
    paths = []
    for codec, content in (("jpeg", jpeg), ("original", bare)):
        if content:
            path = folder / f"{codec}.parquet"
            write_table(path, ATTACKS, content, {"arch": "net", "regime": "original", "seed": 0, "codec": codec})
            paths.append(path)
    attacks, gates = attack_rows(paths, STRENGTHS, classes=4)
    return attacks, {(gate["codec"], gate["gate"]): gate for gate in gates}


def test_definitions(tmp_path):
    bare = rows([1, 1, 1, 0], clean=[0, 0, 0, 2])
    # Behind the codec: one item is won back, one right item is lost; the codec alone breaks one clean item.
    jpeg = rows([0, 1, 1, 1], before=[1, 1, 1, 0], clean=[0, 0, 0, 2], clean_after=[0, 0, 3, 2], level=10.0)
    (first, second), _ = tables_of(tmp_path, bare, jpeg)
    assert (first["codec"], first["gain"], first["robust_after"]) == ("original", None, 0.25)
    assert (second["clean"], second["clean_after"], second["cost"]) == (0.75, 0.5, 0.25)
    assert (second["robust_before"], second["robust_after"], second["n"]) == (0.25, 0.25, 4)
    assert second["gain"] == 0 and second["gain_low"] < 0 < second["gain_high"]
    assert second["opened"] == 0  # 1/4 opened on adversarial items, 1/4 broken on clean ones
    assert second["tasr_after"] is None


def test_targeted_success_counts_only_items_of_another_label(tmp_path):
    bare = rows([1, 1, 2, 0], goal="targeted")
    bare += [bare[0] | {"id": "item4", "label": 1, "clean": 1, "clean_after": 1}]
    ((row,), _) = tables_of(tmp_path, bare)
    assert row["tasr_before"] == pytest.approx(2 / 4)
    assert row["robust_before"] == pytest.approx(2 / 5)


def test_gain_is_paired_with_the_oblivious_attack_on_the_bare_model(tmp_path):
    bare = rows([1] * 9 + [0])
    jpeg = rows([0] * 10, before=[1] * 9 + [0], level=10.0) + rows([1] * 5 + [0] * 5, tier="T2", level=10.0)
    attacks, gates = tables_of(tmp_path, bare, jpeg)
    gain = {row["tier"]: row["gain"] for row in attacks if row["codec"] == "jpeg"}
    assert gain == {"T0": pytest.approx(0.9), "T2": pytest.approx(0.4)}
    assert gates["jpeg", "adaptive beats oblivious"]["status"] == "pass"
    assert gates["original", "adaptive beats oblivious"]["status"] == "not applicable"


def test_adaptive_weaker_than_oblivious_is_unreliable(tmp_path):
    jpeg = rows([1, 1, 0, 0], level=10.0) + rows([0, 0, 1, 0], tier="T2", level=10.0)
    attacks, gates = tables_of(tmp_path, rows([1, 1, 1, 1]), jpeg)
    gate = gates["jpeg", "adaptive beats oblivious"]
    assert (gate["status"], gate["figure"]) == ("fail", 2)
    marked = {(row["codec"], row["tier"]): row["reason"] for row in attacks if row["unreliable"]}
    assert "adaptive beats oblivious" in marked["jpeg", "T2"]
    assert ("jpeg", "T0") not in marked and ("original", "T0") not in marked


def test_adaptive_equal_in_number_but_not_per_item_shows_its_violations(tmp_path):
    jpeg = rows([1, 1, 0, 0], level=10.0) + rows([0, 1, 1, 0], tier="T2", level=10.0)
    _, gates = tables_of(tmp_path, rows([1, 1, 1, 1]), jpeg)
    gate = gates["jpeg", "adaptive beats oblivious"]
    assert (gate["status"], gate["figure"]) == ("pass", 1)


def test_white_box_must_reach_chance_and_doubt_carries_over_to_its_items_behind_a_codec(tmp_path):
    bare = rows([1] * 20 + [0] * 80)
    attacks, gates = tables_of(tmp_path, bare, rows([1] * 100, level=10.0))
    assert gates["original", "white-box reaches chance"]["figure"] == pytest.approx(0.8)
    assert gates["original", "white-box reaches chance"]["status"] == "fail"
    assert gates["jpeg", "white-box reaches chance"]["status"] == "not applicable"
    assert all(row["unreliable"] for row in attacks)
    assert attacks[1]["reason"].startswith("on the bare model")
    good, gates = tables_of(tmp_path, rows([1] * 75 + [0] * 25))
    assert gates["original", "white-box reaches chance"]["status"] == "pass" and good[0]["reason"] == ""


def test_robust_accuracy_must_not_rise_with_epsilon(tmp_path):
    weak, strong = rows([1] * 5 + [0] * 5, epsilon=0.05, linf=0.05), rows([1] * 3 + [0] * 7, epsilon=0.1)
    attacks, gates = tables_of(tmp_path, weak + strong)
    gate = gates["original", "no rise with epsilon"]
    assert (gate["status"], gate["figure"]) == ("fail", pytest.approx(0.2))
    assert ["no rise" in row["reason"] for row in attacks] == [False, True]
    assert tables_of(tmp_path, strong)[1]["original", "no rise with epsilon"]["status"] == "not applicable"


def test_norm_and_single_step_and_black_box(tmp_path):
    content = rows([1] * 6 + [0] * 4, linf=0.12)
    content += rows([1] * 9 + [0], attack="fgsm") + rows([1] * 8 + [0] * 2, attack="square", tier="T4")
    attacks, gates = tables_of(tmp_path, content)
    assert gates["original", "norm within epsilon"]["figure"] == pytest.approx(1.2)
    for gate in ("norm within epsilon", "iterative beats single-step", "white-box beats black-box"):
        assert gates["original", gate]["status"] == "fail"
        assert gate in next(row["reason"] for row in attacks if row["attack"] == "pgd")
    assert gates["original", "random noise is weaker"]["status"] == "not applicable"


def test_refuses_differing_items_and_unknown_levels(tmp_path):
    with pytest.raises(LossyBenchError, match="other items than on the bare model"):
        tables_of(tmp_path, rows([1, 1, 1]), rows([1, 1], level=10.0))
    with pytest.raises(LossyBenchError, match=r"jpeg\.parquet: jpeg at level 20 is no condition"):
        tables_of(tmp_path, rows([1, 1]), rows([1, 1], level=20.0))
    with pytest.raises(LossyBenchError, match="attacks other items than the first"):
        tables_of(tmp_path, rows([1, 1]) + rows([1, 1, 1], goal="targeted"))
    with pytest.raises(LossyBenchError, match="item item0 has no after"):
        tables_of(tmp_path, rows([None, 1], before=[1, 1]))


def test_items_that_stand_in_do_not_hide_a_weak_adaptive_attack(tmp_path):
    """The worst of both attacks always beats as many items as the oblivious one; alone it must, too."""
    bare = rows([1, 1, 1, 1])
    oblivious = rows([1, 1, 0, 0], level=10.0, own=False)
    through = rows([1, 1, 1, 0], level=10.0, tier="T2")
    through[0]["own"] = through[1]["own"] = False  # alone it beats one item, the oblivious attack two
    attacks, gates = tables_of(tmp_path, bare, oblivious + through)
    assert gates["jpeg", "adaptive beats oblivious"]["status"] == "fail"
    assert [row["tier"] for row in attacks if row["unreliable"] and "adaptive" in row["reason"]] == ["T2"]
    through[0]["own"] = True
    _, gates = tables_of(tmp_path, bare, oblivious + through)
    assert gates["jpeg", "adaptive beats oblivious"]["status"] == "pass"
