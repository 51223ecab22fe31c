"""Attack figures and gates on rows written by hand."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import attacked
from scipy.stats import norm

from lossybench.analysis import tables
from lossybench.analysis.outcomes import TestSet
from lossybench.analysis.robustness import attack_rows
from lossybench.artifacts import ATTACKS, DETECTION_ATTACKS, write_table
from lossybench.errors import LossyBenchError

STRENGTHS = {("original", 0.0): 0, ("jpeg", 10.0): 1}
SETTINGS = {"defence_margin": 10}
QUERIES = 200
META = {"arch": "net", "regime": "original", "seed": 0, "codec": "original", "settings": {"queries": QUERIES}}
FROM = {"split": "val", "items": 20, "objects": 60, "map50": 0.7, "found": 0.71}
META |= {"threshold": 0.3, "threshold_from": FROM}
IDS = [f"item{i}" for i in range(400)]


def split_of(kind="classification", **groups):
    """The test split that attacked items are of. groups: factor -> the group of each of IDS."""
    nothing, index = np.zeros(len(IDS), int), {factor: np.array(of) for factor, of in groups.items()}
    return TestSet("task", "image", kind, list("abcd"), IDS, nothing, index, Path("data.parquet"))


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
            "snr": 20.0,
            "zero_gradient": None,
            "calls": 10,
            "own": True,
            "adversarial": None,
        }
        | {key: value[i] if isinstance(value, list) else value for key, value in more.items()}
        for i in range(n)
    ]


def behind(after, **more):
    """An attack behind JPEG."""
    return rows(after, level=10.0, **more)


def beats(count, n=100):
    """Predictions of which the first `count` are wrong."""
    return [1] * count + [0] * (n - count)


def tables_of(folder: Path, bare, jpeg=(), schema=ATTACKS, kind="classification", **groups):
    paths = []
    for codec, content in (("jpeg", jpeg), ("original", bare)):
        if content:
            path = folder / f"{codec}.parquet"
            write_table(path, schema, content, META | {"codec": codec})
            paths.append(path)
    attacks, gates, _ = attack_rows(paths, STRENGTHS, split_of(kind, **groups), SETTINGS)
    for found, name in ((attacks, "attacks"), (gates, "gates")):
        assert all(set(row) == set(tables.SCHEMAS[name].names) for row in found)
    return attacks, {(gate["codec"], gate["gate"]): gate for gate in gates}


def pick(attacks, **wanted):
    """The one row with these values."""
    (row,) = [row for row in attacks if all(row[key] == value for key, value in wanted.items())]
    return row


def marked(attacks, gate, codec="jpeg"):
    """The (tier, attack) whose rows a gate marks, but for those of the worst case."""
    found = [row for row in attacks if row["codec"] == codec and row["attack"] != "worst"]
    return {(row["tier"], row["attack"]) for row in found if gate in row["reason"]}


# Figures.


def test_definitions(tmp_path):
    bare = rows([1, 1, 1, 0], clean=[0, 0, 0, 2])
    # Behind the codec: one item is won back, one right item is lost; the codec alone breaks one clean item.
    jpeg = behind([0, 1, 1, 1], before=[1, 1, 1, 0], clean=[0, 0, 0, 2], clean_after=[0, 0, 3, 2])
    attacks, _ = tables_of(tmp_path, bare, jpeg)
    first, second = (pick(attacks, codec=codec, attack="pgd") for codec in ("original", "jpeg"))
    assert (first["gain"], first["robust_after"]) == (None, 0.25)
    assert (second["clean"], second["clean_after"], second["cost"]) == (0.75, 0.5, 0.25)
    assert (second["robust_before"], second["robust_after"], second["n"]) == (0.25, 0.25, 4)
    assert second["gain"] == 0 and second["gain_low"] < 0 < second["gain_high"]
    assert second["opened"] == 0  # 1/4 opened on adversarial items, 1/4 broken on clean ones
    assert (second["tasr_after"], second["triggered"], second["metric_after"]) == (None, None, None)


def test_targeted_success_counts_only_items_of_another_label(tmp_path):
    bare = rows([1, 1, 2, 0], goal="targeted")
    bare += [bare[0] | {"id": "item4", "label": 1, "clean": 1, "clean_after": 1}]
    row = pick(tables_of(tmp_path, bare)[0], attack="pgd")
    assert row["tasr_before"] == pytest.approx(2 / 4)
    assert row["robust_before"] == pytest.approx(2 / 5)


def test_gain_is_paired_with_the_oblivious_attack_on_the_bare_model(tmp_path):
    bare = rows([1] * 9 + [0])
    jpeg = behind([0] * 10, before=[1] * 9 + [0]) + behind([1] * 5 + [0] * 5, tier="T2")
    attacks, gates = tables_of(tmp_path, bare, jpeg)
    gain = {row["tier"]: row["gain"] for row in attacks if row["codec"] == "jpeg" and row["attack"] == "pgd"}
    assert gain == {"T0": pytest.approx(0.9), "T2": pytest.approx(0.4)}
    assert gates["jpeg", "adaptive beats oblivious"]["status"] == "pass"
    assert gates["original", "adaptive beats oblivious"]["status"] == "not applicable"


def test_an_attack_on_the_scores_gains_over_itself_on_the_bare_model(tmp_path):
    square = {"attack": "square", "tier": "T4"}
    bare = rows(beats(9, 10)) + rows(beats(10, 10), **square)
    attacks, _ = tables_of(tmp_path, bare, behind(beats(5, 10)) + behind(beats(8, 10), **square))
    assert pick(attacks, codec="jpeg", attack="square")["gain"] == pytest.approx(0.2)


def test_what_triggers_counts_beyond_the_codecs_own_damage(tmp_path):
    # Right without and wrong behind the codec: items 0, 1, 2 of the attack, item 2 when clean; item 3 is wrong on both
    # sides.
    jpeg = behind([0] * 10) + behind(
        [1, 1, 1, 1] + [0] * 6,
        before=[0, 0, 0, 1] + [0] * 6,
        clean_after=[0, 0, 1] + [0] * 7,
        goal="trigger",
        tier="T2",
    )
    attacks, _ = tables_of(tmp_path, rows([1] * 10), jpeg)
    for name, tier in (("pgd", "T2"), ("worst", "all")):
        row = pick(attacks, attack=name, goal="trigger", tier=tier)
        assert row["triggered"] == pytest.approx(0.2)
        assert row["triggered_low"] < 0.2 < row["triggered_high"] and row["gain"] is None
    assert pick(attacks, codec="jpeg", attack="worst", goal="untargeted", tier="all")["triggered"] is None


# The worst case per item.


def test_the_worst_case_is_taken_per_item_over_all_attacks_of_a_budget(tmp_path):
    rng = np.random.default_rng(5)
    made, n = [], 40
    for attack, goal, tier in itertools.product(("pgd", "apgd"), ("untargeted", "targeted"), ("T0", "T1", "T2", "T3")):
        made += behind(rng.integers(0, 3, n).tolist(), attack=attack, goal=goal, tier=tier)
    made += behind([1] * n, epsilon=0.2, linf=0.2)  # of another budget
    bare = [row | {"level": 0.0} for row in made if row["tier"] in ("T0", "T1")]
    attacks, _ = tables_of(tmp_path, bare, made)
    table = pd.DataFrame(made)
    table = table[table["epsilon"] == 0.1]
    for tier, tiers in (("T0", ["T0"]), ("all", ["T0", "T1", "T2", "T3"])):
        here = table[table["tier"].isin(tiers)]
        of_item = here[here["goal"] == "untargeted"].groupby("id")["after"]
        row = pick(attacks, codec="jpeg", attack="worst", goal="untargeted", tier=tier, epsilon=0.1)
        assert row["robust_after"] == pytest.approx((of_item.max() == 0).mean())
        of_item = here[here["goal"] == "targeted"].groupby("id")["after"]
        row = pick(attacks, codec="jpeg", attack="worst", goal="targeted", tier=tier, epsilon=0.1)
        assert row["tasr_after"] == pytest.approx(of_item.apply(lambda each: (each == 1).any()).mean())
    undefended = {
        goal: pick(attacks, codec="original", attack="worst", goal=goal, epsilon=0.1) for goal in table["goal"]
    }
    assert {row["tier"] for row in undefended.values()} == {"all"}
    for row in (
        row for row in attacks if row["attack"] == "worst" and row["codec"] == "jpeg" and row["epsilon"] == 0.1
    ):
        assert row["gain"] == pytest.approx(row["robust_after"] - undefended[row["goal"]]["robust_after"])
    assert pick(attacks, codec="jpeg", attack="worst", epsilon=0.2, tier="T0")["robust_after"] == 0


def test_the_worst_attempt_of_an_item_does_harm_on_both_sides_if_one_does(tmp_path):
    # Both attacks make the item wrong behind the codec, the second only there: the codec is not what opened it.
    jpeg = behind([1], before=[0], attack="apgd") + behind([1], before=[1])
    attacks, _ = tables_of(tmp_path, rows([1]), jpeg)
    assert pick(attacks, codec="jpeg", attack="worst", tier="T0")["opened"] == 0
    assert pick(attacks, codec="jpeg", attack="apgd")["opened"] == 1


def test_rows_at_the_main_budget_are_named(tmp_path):
    bare = rows([1]) + rows([1], epsilon=0.05, linf=0.05) + rows([1], attack="pgd_l2", norm="l2", epsilon=1.0)
    attacks, _ = tables_of(tmp_path, bare)
    assert {(row["norm"], row["epsilon"]) for row in attacks if row["main"]} == {("linf", 0.1)}


def test_the_worst_case_is_unreliable_when_the_best_informed_attack_is(tmp_path):
    bare = rows(beats(90))
    # T3 alone finds less than T0, so the worst case may be worse still; T2's failure is made up for by T3.
    alone = [i >= 50 for i in range(100)]
    jpeg = behind(beats(50)) + behind(beats(60), tier="T2") + behind(beats(80), tier="T3", own=alone)
    attacks, _ = tables_of(tmp_path, bare, jpeg)
    worst = pick(attacks, codec="jpeg", attack="worst", tier="all")
    assert worst["unreliable"] and worst["reason"] == "failed: adaptive beats oblivious"
    assert not pick(attacks, codec="jpeg", attack="worst", tier="T0")["unreliable"]
    jpeg = behind(beats(50)) + behind(beats(10), tier="T2") + behind(beats(90), tier="T3")
    attacks, _ = tables_of(tmp_path, bare, jpeg)
    assert marked(attacks, "adaptive") == {("T2", "pgd")}
    assert not pick(attacks, codec="jpeg", attack="worst", tier="all")["unreliable"]
    # Nobody went through the codec.
    attacks, _ = tables_of(tmp_path, bare, behind(beats(90)))
    assert "no white-box attack" in pick(attacks, codec="jpeg", attack="worst", tier="all")["reason"]
    # An item beyond its budget counts in the worst case, whoever made it.
    jpeg = behind(beats(90), attack="fgsm", linf=0.3) + behind(beats(90)) + behind(beats(90), tier="T2")
    attacks, _ = tables_of(tmp_path, bare, jpeg)
    assert pick(attacks, codec="jpeg", attack="worst", tier="all")["reason"] == "failed: norm within budget"


# Gates.


def test_a_poor_single_step_leaves_the_worst_case_as_it_is(tmp_path):
    poor = behind(beats(60), attack="fgsm") + behind(beats(20), attack="fgsm", tier="T2")
    good = behind(beats(40)) + behind(beats(90), tier="T2")
    bare = rows(beats(100)) + rows(beats(80), attack="fgsm")
    attacks, _ = tables_of(tmp_path, bare, good + poor)
    assert pick(attacks, codec="jpeg", attack="fgsm", tier="T2")["unreliable"]
    worst = pick(attacks, codec="jpeg", attack="worst", tier="all")
    assert "adaptive beats oblivious" not in worst["reason"]


def test_adaptive_weaker_than_oblivious_is_unreliable(tmp_path):
    jpeg = behind([1, 1, 1, 0]) + behind([0, 0, 0, 1], tier="T2")
    attacks, gates = tables_of(tmp_path, rows([1, 1, 1, 1]), jpeg)
    gate = gates["jpeg", "adaptive beats oblivious"]
    assert (gate["status"], gate["figure"]) == ("fail", 3)
    assert marked(attacks, "adaptive beats oblivious") == {("T2", "pgd")}
    assert not marked(attacks, "failed", codec="original")


def test_adaptive_equal_in_number_but_not_per_item_shows_its_violations(tmp_path):
    jpeg = behind(beats(50)) + behind([0, *beats(50, 99)], tier="T3-EoT") + behind(beats(60), tier="T2")
    _, gates = tables_of(tmp_path, rows(beats(100)), jpeg)
    gate = gates["jpeg", "adaptive beats oblivious"]
    assert (gate["status"], gate["figure"]) == ("pass", 1)


def test_items_that_stand_in_do_not_hide_a_weak_adaptive_attack(tmp_path):
    """The worst of both attacks always beats as many items as the oblivious one; alone it must, too."""
    bare = rows([1, 1, 1, 1])
    oblivious = behind([1, 1, 0, 0], own=False)
    through = behind([1, 1, 0, 0], tier="T2", own=[False, False, True, True])  # alone none, the oblivious two
    attacks, gates = tables_of(tmp_path, bare, oblivious + through)
    assert gates["jpeg", "adaptive beats oblivious"]["status"] == "fail"
    assert marked(attacks, "adaptive") == {("T2", "pgd")}
    through[0]["own"] = True
    attacks, gates = tables_of(tmp_path, bare, oblivious + through)
    assert gates["jpeg", "adaptive beats oblivious"]["status"] == "too few items"
    assert not marked(attacks, "adaptive")


def test_white_box_must_reach_chance_and_doubt_carries_over_to_its_items_behind_a_codec(tmp_path):
    bare = rows(beats(20))
    attacks, gates = tables_of(tmp_path, bare, behind([1] * 100))
    assert gates["original", "white-box reaches chance"]["figure"] == pytest.approx(0.8)
    assert gates["original", "white-box reaches chance"]["status"] == "fail"
    assert gates["jpeg", "white-box reaches chance"]["status"] == "not run"
    assert all(row["unreliable"] for row in attacks)
    assert pick(attacks, codec="jpeg", attack="pgd")["reason"].startswith("on the bare model failed: white-box")
    good, gates = tables_of(tmp_path, rows(beats(75)))
    assert gates["original", "white-box reaches chance"]["status"] == "pass"
    assert not any(row["unreliable"] for row in good)


def test_the_largest_budget_and_the_best_informed_attack_must_reach_chance(tmp_path):
    # Enough at the larger budget; the smaller one and another attack need not.
    bare = rows(beats(10)) + rows(beats(80), epsilon=0.4, linf=0.4) + rows(beats(5), attack="apgd")
    _, gates = tables_of(tmp_path, bare)
    gate = gates["original", "white-box reaches chance"]
    assert (gate["status"], gate["figure"]) == ("pass", pytest.approx(0.2))
    # In dB the larger budget is the smaller number.
    loud = {"norm": "snr", "epsilon": 10.0, "snr": 10.5}
    quiet = {"norm": "snr", "epsilon": 40.0, "snr": 40.5}
    _, gates = tables_of(tmp_path, rows(beats(10), **quiet) + rows(beats(80), **loud))
    assert gates["original", "white-box reaches chance"]["status"] == "pass"
    attacks, gates = tables_of(tmp_path, rows(beats(80), **quiet) + rows(beats(10), **loud))
    assert gates["original", "white-box reaches chance"]["status"] == "fail"
    assert all("white-box reaches chance" in row["reason"] for row in attacks)
    # Behind the codec T3 decides, and marks whoever follows gradients through the codec.
    jpeg = behind(beats(99)) + behind(beats(99), tier="T2") + behind(beats(30), tier="T3")
    attacks, gates = tables_of(tmp_path, rows(beats(99)), jpeg)
    assert gates["jpeg", "white-box reaches chance"]["figure"] == pytest.approx(0.7)
    assert marked(attacks, "white-box reaches chance") == {("T2", "pgd"), ("T3", "pgd")}


def test_robust_accuracy_must_not_rise_with_the_budget(tmp_path):
    weak, strong = rows(beats(90), epsilon=0.05, linf=0.05), rows(beats(85))
    attacks, gates = tables_of(tmp_path, weak + strong)
    gate = gates["original", "no rise with budget"]
    assert (gate["status"], gate["figure"]) == ("fail", pytest.approx(0.05))
    assert {row["epsilon"] for row in attacks if "no rise" in row["reason"]} == {0.1}
    assert tables_of(tmp_path, strong)[1]["original", "no rise with budget"]["status"] == "not run"
    one_item = tables_of(tmp_path, rows(beats(86), epsilon=0.05, linf=0.05) + strong)[1]
    assert one_item["original", "no rise with budget"]["status"] == "pass"


def test_in_decibels_the_smaller_number_is_the_larger_budget(tmp_path):
    quiet = rows(beats(80), norm="snr", epsilon=40.0, snr=40.1)
    loud = rows(beats(90), norm="snr", epsilon=30.0, snr=30.1)
    assert tables_of(tmp_path, quiet + loud)[1]["original", "no rise with budget"]["status"] == "pass"
    quiet = rows(beats(95), norm="snr", epsilon=40.0, snr=40.1)
    attacks, gates = tables_of(tmp_path, quiet + loud)
    assert gates["original", "no rise with budget"]["status"] == "fail"
    assert {row["epsilon"] for row in attacks if "no rise" in row["reason"]} == {30.0}


@pytest.mark.parametrize(
    ("norm", "epsilon", "measured", "ratio", "status"),
    [
        ("linf", 0.1, 0.12, 1.2, "fail"),
        ("linf", 0.1, 0.1, 1.0, "pass"),
        ("l2", 1.0, 1.01, 1.01, "fail"),
        ("l2", 1.0, 0.5, 0.5, "pass"),
        ("snr", 30.0, 24.0, 10**0.3, "fail"),
        ("snr", 30.0, 30.0, 1.0, "pass"),
        ("snr", 30.0, float("inf"), 0.0, "pass"),  # nothing was changed
        ("snr", 30.0, [None, 30.0], 1.0, "pass"),  # a silent item has no SNR
        ("share", 0.1, None, None, "not applicable"),
    ],
)
def test_what_is_shown_must_keep_the_budget(tmp_path, norm, epsilon, measured, ratio, status):
    more = {"norm": norm, "epsilon": epsilon} | ({norm: measured} if norm != "share" else {})
    attacks, gates = tables_of(tmp_path, rows([1, 1], **more))
    gate = gates["original", "norm within budget"]
    assert (gate["status"], gate["figure"]) == (status, pytest.approx(ratio))
    assert bool(marked(attacks, "norm within budget", "original")) == (status == "fail")


def test_iterative_must_not_beat_less_than_a_single_step(tmp_path):
    content = rows(beats(90)) + rows(beats(95), attack="fgsm")
    attacks, gates = tables_of(tmp_path, content)
    assert gates["original", "iterative beats single-step"]["status"] == "fail"
    assert marked(attacks, "iterative", "original") == {("T0", "pgd")}
    _, gates = tables_of(tmp_path, rows(beats(95)) + rows(beats(90), attack="fgsm"))
    assert gates["original", "iterative beats single-step"]["status"] == "pass"
    # Behind a codec only attacks through it are compared: the oblivious ones never saw it.
    jpeg = behind(beats(10)) + behind(beats(50), attack="fgsm") + behind(beats(90), tier="T2")
    _, gates = tables_of(tmp_path, content, jpeg)
    assert gates["jpeg", "iterative beats single-step"]["status"] == "not run"
    _, gates = tables_of(tmp_path, content, [*jpeg, *behind(beats(91), attack="fgsm", tier="T2")])
    assert gates["jpeg", "iterative beats single-step"]["status"] == "fail"


def test_transfer_must_not_beat_more_than_the_white_box(tmp_path):
    jpeg = behind(beats(10)) + behind(beats(80), tier="T2") + behind(beats(90), tier="T3")
    attacks, gates = tables_of(tmp_path, rows(beats(90)), jpeg + behind(beats(85), tier="T1"))
    assert gates["jpeg", "white-box beats black-box"]["status"] == "fail"
    assert marked(attacks, "black-box") == {("T2", "pgd")}
    assert not pick(attacks, codec="jpeg", attack="worst", tier="all")["unreliable"]
    _, gates = tables_of(tmp_path, rows(beats(90)), jpeg + behind(beats(70), tier="T1"))
    assert gates["jpeg", "white-box beats black-box"]["status"] == "pass"


@pytest.mark.parametrize(("alone", "status"), [(2, "pass"), (3, "fail")])
def test_few_items_may_fall_to_the_attack_on_the_scores_alone(tmp_path, alone, status):
    # 80 items stand in from PGD; 2 of 100 more are let pass.
    square = behind(beats(80 + alone), attack="square", tier="T4", own=[i >= 80 for i in range(100)])
    jpeg = behind(beats(10)) + behind(beats(80), tier="T2") + behind(beats(50), tier="T2", epsilon=0.05, linf=0.05)
    attacks, gates = tables_of(tmp_path, rows(beats(90)), jpeg + square)
    gate = gates["jpeg", "white-box beats black-box"]
    assert (gate["status"], gate["figure"]) == (status, alone)
    doubted = {row["epsilon"] for row in attacks if "black-box" in row["reason"] and row["tier"] == "T2"}
    assert doubted == ({0.1} if status == "fail" else set())
    worst = pick(attacks, codec="jpeg", attack="worst", tier="all", epsilon=0.1)
    assert worst["robust_after"] == pytest.approx(0.2 - alone / 100)
    assert not worst["unreliable"]  # it holds the items that the search took, early in its queries


def test_one_item_fails_nothing_however_few_there_are(tmp_path):
    square = rows(beats(9, 10), attack="square", tier="T4", own=[i >= 8 for i in range(10)])
    _, gates = tables_of(tmp_path, rows(beats(8, 10)) + square)
    assert gates["original", "white-box beats black-box"]["status"] == "too few items"


def test_noise_must_beat_less_than_the_attack(tmp_path):
    bare = rows(beats(90)) + rows(beats(20), attack="noise")
    jpeg = behind(beats(30)) + behind(beats(40), attack="noise")
    attacks, gates = tables_of(tmp_path, bare, jpeg + behind(beats(60), tier="T2"))
    assert gates["original", "random noise is weaker"]["status"] == "pass"
    assert gates["jpeg", "random noise is weaker"]["status"] == "pass"
    attacks, gates = tables_of(tmp_path, bare, jpeg + behind(beats(39), tier="T2"))
    assert gates["jpeg", "random noise is weaker"]["status"] == "fail"
    assert marked(attacks, "noise") == {("T2", "pgd")}
    _, gates = tables_of(tmp_path, rows(beats(90)))
    assert gates["original", "random noise is weaker"]["status"] == "not run"


@pytest.mark.parametrize(("more", "status"), [(1, "pass"), (2, "fail")])
def test_twice_the_iterations_must_find_hardly_more(tmp_path, more, status):
    bare = rows(beats(90)) + rows(beats(90 + more), attack="pgd_doubled") + rows(beats(80), goal="targeted")
    attacks, gates = tables_of(tmp_path, bare)
    gate = gates["original", "converged"]
    assert (gate["status"], gate["figure"]) == (status, pytest.approx(more / 100))
    doubted = {row["goal"] for row in attacks if "converged" in row["reason"] and row["attack"] == "pgd"}
    assert doubted == ({"untargeted", "targeted"} if status == "fail" else set())
    assert not marked(attacks, "converged", "original") & {("T0", "pgd_doubled")}
    # Behind a codec the attacks through it are compared, each alone.
    stand_ins = [False] * 50 + [True] * 50
    jpeg = behind(beats(50)) + behind(beats(80), tier="T2", own=stand_ins)
    jpeg += behind(beats(80 + more), attack="pgd_doubled", tier="T2", own=stand_ins)
    assert tables_of(tmp_path, bare, jpeg)[1]["jpeg", "converged"]["status"] == status
    assert tables_of(tmp_path, rows(beats(90)))[1]["original", "converged"]["status"] == "not run"


def test_an_item_without_any_gradient_marks_all_that_follow_it(tmp_path):
    bare = rows(beats(4, 5), zero_gradient=[0.99, 1.0, 0.0, 0.5, 0.1]) + rows(beats(4, 5), attack="noise")
    bare += rows(beats(4, 5), attack="apgd", goal="targeted")
    attacks, gates = tables_of(tmp_path, bare)
    gate = gates["original", "gradients are not zero"]
    assert (gate["status"], gate["figure"]) == ("fail", pytest.approx(0.2))
    assert marked(attacks, "gradients are not zero", "original") == {("T0", "pgd"), ("T0", "apgd")}
    bare[1]["zero_gradient"] = 0.999
    assert tables_of(tmp_path, bare)[1]["original", "gradients are not zero"]["status"] == "too few items"
    # None of n shows that less than 10 points are affected if z^2/(n + z^2) is below that, so from 35 items on.
    for n, status in ((34, "too few items"), (35, "pass")):
        _, gates = tables_of(tmp_path, rows(beats(n, n), zero_gradient=0.5))
        assert gates["original", "gradients are not zero"]["status"] == status
    _, gates = tables_of(tmp_path, rows([1]))
    assert gates["original", "gradients are not zero"]["status"] == "not run"


# A full attack, and what each weakness of it does.


def full(n=100, wrong=90, tier="T2", level=10.0, **changes):
    """The main attack behind JPEG (or bare: tier T0, level 0), and all that it is compared with, all of them healthy.

    n: items, of which the main attack beats the first `wrong`. changes: what replaces one of the attacks, by its name
    here; None leaves it out.
    """
    left = [i >= wrong for i in range(n)]

    def one(after, **more):
        return rows(after, tier=tier, level=level, **more)

    made = {
        "oblivious": rows(beats(wrong // 2, n), level=level) if level else [],
        "main": one(beats(wrong, n), zero_gradient=0.5),
        "targeted": one(beats(wrong, n), goal="targeted"),
        "small": one(beats(wrong // 2, n), epsilon=0.05, linf=0.05, zero_gradient=0.5),
        "large": one(beats(n, n), epsilon=0.4, linf=0.4, zero_gradient=0.5),
        "pgd_doubled": one(beats(wrong, n), attack="pgd_doubled", own=False),
        "apgd": one(beats(wrong, n), attack="apgd"),
        "fgsm": one(beats(wrong // 2, n), attack="fgsm"),
        "noise": rows(beats(1, n), level=level, attack="noise"),
        "square": searched([QUERIES if each else 0 for each in left], beats(wrong, n), left, level=level),
    }
    return [row for each in (made | changes).values() for row in each or ()]


def searched(calls, after, own, level=10.0, **more):
    """A search on the scores."""
    return rows(after, attack="square", tier="T4", calls=calls, own=own, level=level, **more)


def late(won, at, n=100, wrong=90, level=10.0):
    """A search on the scores that beats `won` items which nothing else beats, each at the query `at`."""
    calls = [0] * wrong + [at] * won + [QUERIES] * (n - wrong - won)
    return searched(calls, beats(wrong + won, n), [i >= wrong for i in range(n)], level=level)


ALL_GATES = {
    "adaptive beats oblivious",
    "white-box reaches chance",
    "no rise with budget",
    "norm within budget",
    "iterative beats single-step",
    "no other attack is better",
    "white-box beats black-box",
    "the search has settled",
    "random noise is weaker",
    "converged",
    "gradients are not zero",
}


def behind_jpeg(tmp_path, **changes):
    """Attacks and gates of `full`, bare and, with these changes, behind JPEG."""
    attacks, gates = tables_of(tmp_path, full(tier="T0", level=0.0), full(**changes))
    return [row for row in attacks if row["codec"] == "jpeg"], {
        name: gate for (codec, name), gate in gates.items() if codec == "jpeg"
    }


def test_a_full_attack_passes_every_check(tmp_path):
    attacks, gates = tables_of(tmp_path, full(tier="T0", level=0.0), full())
    assert {name for _, name in gates} == ALL_GATES
    assert {gate["status"] for (codec, _), gate in gates.items() if codec == "jpeg"} == {"pass"}
    bare = {name: gate["status"] for (codec, name), gate in gates.items() if codec == "original"}
    assert bare.pop("adaptive beats oblivious") == "not applicable" and set(bare.values()) == {"pass"}
    assert not any(row["unreliable"] or row["unchecked"] for row in attacks)


def weak(count, **more):
    """The main attack, through JPEG, which beats `count` items."""
    return behind(beats(count), tier="T2", **{"zero_gradient": 0.5, **more})


@pytest.mark.parametrize(
    ("gate", "changes", "marks"),
    [
        ("adaptive beats oblivious", {"oblivious": behind(beats(95))}, "pgd 0.1"),
        ("iterative beats single-step", {"fgsm": behind(beats(91), tier="T2", attack="fgsm")}, "pgd 0.1"),
        ("random noise is weaker", {"noise": behind(beats(91), attack="noise")}, "pgd 0.1"),
        ("no other attack is better", {"apgd": behind(beats(92), tier="T2", attack="apgd")}, "pgd 0.1"),
        # As many, but not the same items: another start finds what the first did not.
        ("converged", {"pgd_doubled": behind(beats(90)[::-1], tier="T2", attack="pgd_doubled")}, "pgd 0.1"),
        ("no rise with budget", {"small": weak(92, epsilon=0.05, linf=0.05)}, "pgd 0.1"),
        ("norm within budget", {"main": weak(90, linf=0.11)}, "pgd 0.1"),
        ("white-box beats black-box", {"square": late(3, at=20)}, "pgd 0.1"),
        ("the search has settled", {"square": late(3, at=150)}, "square 0.1"),
        ("gradients are not zero", {"main": weak(90, zero_gradient=[1.0] + [0.5] * 99)}, "pgd 0.1"),
        ("white-box reaches chance", {"large": weak(60, epsilon=0.4, linf=0.4)}, "pgd 0.1"),
    ],
)
def test_each_check_fires_on_a_weakened_attack(tmp_path, gate, changes, marks):
    attacks, gates = behind_jpeg(tmp_path, **changes)
    assert gates[gate]["status"] == "fail"
    named = {f"{row['attack']} {row['epsilon']}" for row in attacks if f"failed: {gate}" in row["reason"]}
    assert marks in named
    worst = pick(attacks, attack="worst", tier="all", epsilon=0.1, goal="untargeted")
    assert (f"failed: {gate}" in worst["reason"]) == (gate != "white-box beats black-box")


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("no other attack is better", {"apgd": behind(beats(91), tier="T2", attack="apgd")}),
        ("converged", {"pgd_doubled": behind(beats(91), tier="T2", attack="pgd_doubled")}),
        ("converged", {"pgd_doubled": behind(beats(60), tier="T2", attack="pgd_doubled")}),
        ("the search has settled", {"square": late(2, at=150)}),
        ("the search has settled", {"square": late(9, at=100)}),
    ],
)
def test_a_few_items_may_differ(tmp_path, gate, changes):
    attacks, gates = behind_jpeg(tmp_path, **changes)
    assert gates[gate]["status"] == "pass"
    assert not any(gate in row["reason"] + row["unchecked"] for row in attacks)


def test_another_attack_is_compared_where_the_weaker_tiers_of_the_main_one_left_items(tmp_path):
    # T3 spends its restarts on the last 50 items alone, because T2 has beaten the others. It has 45 of those.
    own = [i % 2 == 0 or i >= 50 for i in range(100)]
    jpeg = behind(beats(10)) + behind(beats(50), tier="T2") + behind(beats(95), tier="T3", own=own)
    for more, status in ((1, "pass"), (2, "fail")):
        other = behind(beats(95 + more), tier="T3", attack="apgd")
        attacks, gates = tables_of(tmp_path, rows(beats(100)), jpeg + other)
        assert gates["jpeg", "no other attack is better"]["status"] == status
        assert marked(attacks, "no other attack") == ({("T3", "pgd")} if more == 2 else set())


def test_the_main_attack_is_compared_with_attacks_of_its_own_norm_tier_and_goal(tmp_path):
    elsewhere = [{"norm": "l2"}, {"epsilon": 0.2, "linf": 0.2}, {"goal": "targeted"}, {"tier": "T1"}]
    bare = sum((rows(beats(99), attack="apgd", **each) for each in elsewhere), rows(beats(50)))
    _, gates = tables_of(tmp_path, bare)
    assert gates["original", "no other attack is better"]["status"] == "not run"


def test_few_items_leave_the_new_checks_open(tmp_path):
    _, gates = tables_of(tmp_path, full(n=20, wrong=10, tier="T0", level=0.0))
    for gate in ("no other attack is better", "the search has settled", "converged"):
        assert gates["original", gate]["status"] == "too few items"


@pytest.mark.parametrize(
    ("lacks", "gate"),
    [
        (("oblivious",), "adaptive beats oblivious"),
        (("fgsm",), "iterative beats single-step"),
        (("apgd",), "no other attack is better"),
        (("noise",), "random noise is weaker"),
        (("pgd_doubled",), "converged"),
        (("small", "large"), "no rise with budget"),
        (("square",), "white-box beats black-box"),
        (("square",), "the search has settled"),
    ],
)
def test_a_check_that_was_not_run_leaves_the_main_attack_and_the_worst_case_unchecked(tmp_path, lacks, gate):
    attacks, gates = behind_jpeg(tmp_path, **dict.fromkeys(lacks))
    assert (gates[gate]["status"], gates[gate]["figure"]) == ("not run", None)
    worst = pick(attacks, attack="worst", tier="all", epsilon=0.1, goal="untargeted")
    assert gate in worst["unchecked"] and not worst["unreliable"]
    main = pick(attacks, attack="pgd", tier="T2", epsilon=0.1, goal="untargeted")
    assert (gate in main["unchecked"]) == (gate != "the search has settled")
    assert not any(row["unchecked"] for row in attacks if row["epsilon"] != 0.1)  # of other budgets nothing is asked


def test_a_check_of_other_attacks_alone_leaves_the_main_one_unchecked(tmp_path):
    l2 = {"attack": "pgd_l2", "norm": "l2"}
    other = behind(beats(50), tier="T2", epsilon=1.0, **l2) + behind(beats(60), tier="T2", epsilon=2.0, **l2)
    attacks, gates = behind_jpeg(tmp_path, small=other, large=None)
    gate = gates["no rise with budget"]
    assert (gate["status"], gate["figure"]) == ("not run", pytest.approx(-0.1))
    assert "main attack was not among" in gate["note"]
    assert "no rise" in pick(attacks, attack="worst", norm="linf", tier="all", goal="untargeted")["unchecked"]


def test_a_black_box_of_few_queries_is_no_evidence_but_what_it_beats_is(tmp_path, monkeypatch):
    monkeypatch.setitem(META, "settings", {"queries": 99})
    attacks, gates = behind_jpeg(tmp_path)
    for gate in ("white-box beats black-box", "the search has settled"):
        assert gates[gate]["status"] == "not run" and "99 queries is no evidence" in gates[gate]["note"]
        assert gate in pick(attacks, attack="worst", tier="all", epsilon=0.1, goal="untargeted")["unchecked"]
    _, gates = behind_jpeg(tmp_path, square=late(3, at=60))
    assert {gates[gate]["status"] for gate in ("white-box beats black-box", "the search has settled")} == {"fail"}


def test_masked_gradients_mark_the_worst_case_though_the_search_has_settled(tmp_path):
    """Gradients that mislead beat hardly more than what was wrong when clean; the largest budget hides it."""
    clean = beats(10)

    for won, masked in ((20, True), (40, False)):  # 10 and 30 more than when clean
        square = searched(
            [0] * won + [10] * 15 + [QUERIES] * (85 - won),
            beats(won + 15),
            [i >= won for i in range(100)],
            clean_after=clean,
        )
        attacks, gates = tables_of(
            tmp_path, rows(beats(100)), behind(beats(won), clean_after=clean, tier="T2") + square
        )
        assert gates["jpeg", "the search has settled"]["status"] == "pass"
        worst = pick(attacks, codec="jpeg", attack="worst", tier="all")
        assert ("failed: white-box beats black-box" in worst["reason"]) == masked


def test_what_a_search_on_the_scores_won_on_the_bare_model_marks_the_oblivious_worst_case(tmp_path):
    """The bare model's worst case holds the items that it won, but they never went through the codec."""
    bare = full(tier="T0", level=0.0, square=late(3, at=20, level=0.0))
    attacks, _ = tables_of(tmp_path, bare, full())
    assert not pick(attacks, codec="original", attack="worst", epsilon=0.1, goal="untargeted")["unreliable"]
    for name in ("worst", "pgd"):
        row = pick(attacks, codec="jpeg", attack=name, tier="T0", epsilon=0.1, goal="untargeted")
        assert row["reason"] == "on the bare model failed: white-box beats black-box"
    assert not pick(attacks, codec="jpeg", attack="worst", tier="all", epsilon=0.1, goal="untargeted")["unreliable"]


def test_a_failure_at_a_smaller_budget_marks_the_larger_ones(tmp_path):
    doubled = behind(beats(60), tier="T2", epsilon=0.05, linf=0.05, attack="pgd_doubled")
    small = weak(45, epsilon=0.05, linf=0.05)
    attacks, gates = behind_jpeg(tmp_path, small=small + doubled)
    assert gates["converged"]["status"] == "fail"
    for epsilon, why in ((0.05, "failed: converged"), (0.1, "at a smaller budget: converged"), (0.4, "at a smaller")):
        for name, tier in (("pgd", "T2"), ("worst", "all")):
            row = pick(attacks, attack=name, tier=tier, epsilon=epsilon, goal="untargeted")
            assert row["unreliable"] and row["reason"].startswith(why)
    targeted = pick(attacks, attack="pgd", tier="T2", goal="targeted")
    assert not targeted["unreliable"]  # it was not tried at the smaller budget
    assert not pick(attacks, attack="apgd")["unreliable"]
    assert not pick(attacks, attack="worst", tier="T0", epsilon=0.1, goal="untargeted")["unreliable"]
    # In dB the smaller number is the larger budget. What was measured at one budget says nothing of another.
    quiet = rows(beats(50), norm="snr", epsilon=40.0, snr=39.0)
    loud = rows(beats(90), norm="snr", epsilon=20.0, snr=21.0)
    attacks, _ = tables_of(tmp_path, quiet + loud)
    assert {row["epsilon"] for row in attacks if "norm within" in row["reason"]} == {40.0}
    quiet = rows(beats(50), norm="snr", epsilon=40.0, snr=41.0)
    more = rows(beats(60), norm="snr", epsilon=40.0, snr=41.0, attack="pgd_doubled")
    attacks, _ = tables_of(tmp_path, quiet + more + loud)
    assert pick(attacks, attack="pgd", epsilon=20.0)["reason"] == "at a smaller budget: converged"


def test_a_search_that_has_not_settled_marks_the_worst_case_of_its_budget_and_of_larger_ones(tmp_path):
    attacks, _ = behind_jpeg(tmp_path, square=late(5, at=150))
    reasons = {
        row["epsilon"]: row["reason"]
        for row in attacks
        if (row["attack"], row["tier"], row["goal"]) == ("worst", "all", "untargeted")
    }
    assert reasons == {
        0.05: "",
        0.1: "failed: the search has settled",
        # The larger budget has no search of its own, which would hold what its gradients missed.
        0.4: "at a smaller budget: white-box beats black-box; at a smaller budget: the search has settled",
    }
    assert not pick(attacks, attack="worst", goal="targeted", tier="all")["unreliable"]


def test_clean_items_that_are_read_as_the_target_stand_beside_the_tasr(tmp_path):
    # Of five items one is of the target class. Clean, the codec alone makes two of the others the target; bare, one is.
    bare = rows([1, 1, 1, 0], clean=[1, 0, 0, 0], goal="targeted")
    bare += [bare[0] | {"id": "item4", "label": 1, "clean": 1, "clean_after": 1}]
    jpeg = behind([1, 1, 1, 0], clean=[1, 0, 0, 0], clean_after=[1, 1, 0, 0], goal="targeted")
    jpeg += [jpeg[0] | {"id": "item4", "label": 1, "clean": 1, "clean_after": 1}]
    attacks, _ = tables_of(tmp_path, bare, jpeg)
    for name in ("pgd", "worst"):
        row = pick(attacks, codec="jpeg", attack=name, tier="T0")
        assert (row["tasr_clean_before"], row["tasr_clean"], row["tasr_after"]) == (0.25, 0.5, 0.75)
    untargeted = pick(tables_of(tmp_path, rows([1, 1]))[0], attack="pgd")
    assert untargeted["tasr_clean"] is None and untargeted["tasr_clean_before"] is None


def test_calls_are_the_mean_of_what_was_tried_and_add_up_in_the_worst_case(tmp_path):
    jpeg = behind(beats(1, 4), calls=0) + behind(beats(2, 4), tier="T2", calls=[10, 10, 30, 30])
    jpeg += searched([0, 0, 50, 200], beats(3, 4), [False, False, True, True])
    attacks, _ = tables_of(tmp_path, rows(beats(4, 4)), jpeg)
    spent = {(row["attack"], row["tier"]): row["calls"] for row in attacks if row["codec"] == "jpeg"}
    assert spent == {
        ("pgd", "T0"): None,
        ("pgd", "T2"): 20,
        ("square", "T4"): 125,
        ("worst", "T0"): 0,
        ("worst", "all"): (10 + 10 + 80 + 230) / 4,
    }


def test_refuses_differing_items_and_unknown_levels(tmp_path):
    with pytest.raises(LossyBenchError, match="other items than on the bare model"):
        tables_of(tmp_path, rows([1, 1, 1]), behind([1, 1]))
    with pytest.raises(LossyBenchError, match=r"jpeg\.parquet: jpeg/20 is no condition"):
        tables_of(tmp_path, rows([1, 1]), rows([1, 1], level=20.0))
    with pytest.raises(LossyBenchError, match="attacks other items than the file's first"):
        tables_of(tmp_path, rows([1, 1]) + rows([1, 1, 1], goal="targeted"))
    with pytest.raises(LossyBenchError, match="item item0 has no after"):
        tables_of(tmp_path, rows([None, 1], before=[1, 1]))
    write_table(tmp_path / "empty.parquet", ATTACKS, [], META)
    with pytest.raises(LossyBenchError, match=r"empty\.parquet: holds nothing"):
        attack_rows([tmp_path / "empty.parquet"], STRENGTHS, split_of(), SETTINGS)


# Detection.


def pictures(found, attack="pgd", tier="T0", level=0.0, **more):
    """One attack on pictures; `found` holds for each the classes read at its objects, all of class 0."""
    empty = dict.fromkeys(DETECTION_ATTACKS.names)

    def objects(classes):
        return [
            {"frame": 0, "box": [float(i), 0.0, i + 1.0, 1.0], "label": c, "score": 1.0} for i, c in enumerate(classes)
        ]

    return [
        empty
        | {"id": f"item{i}", "attack": attack, "norm": "linf", "epsilon": 0.1, "goal": "untargeted", "tier": tier}
        | {"level": level, "target_rule": "", "linf": 0.1, "calls": 10, "own": True, "targets": []}
        | {name: objects([0] * len(classes)) for name in ("truth", "clean", "clean_after")}
        | {name: objects(classes) for name in ("before", "after")}
        | more
        for i, classes in enumerate(found)
    ]


def test_objects_are_counted_and_pictures_resampled(tmp_path):
    # Whole pictures fall: 10 of 20, of 6 objects each. As if all 120 objects were drawn alone the interval would be
    # 0.41 to 0.59; there are 20 draws only.
    found = [[1] * 6] * 10 + [[0] * 6] * 10
    attacks, _ = tables_of(tmp_path, pictures(found), schema=DETECTION_ATTACKS, kind="detection")
    row = pick(attacks, attack="pgd")
    assert (row["n"], row["robust_after"]) == (120, 0.5)
    assert row["metric_after"] == pytest.approx(51 / 101)  # recall thresholds 0 .. 0.5
    assert row["robust_after_low"] < 0.33 and row["robust_after_high"] > 0.67


def test_the_worst_case_of_a_picture_is_one_attempt(tmp_path):
    # An attacker hands in one picture: the second attack's first picture does more harm, though the first attack has
    # the object that it leaves.
    first = pictures([[1, 0, 0], [1, 1, 1], []])
    second = pictures([[0, 1, 1], [0, 0, 0], []], attack="patch")
    attacks, gates = tables_of(tmp_path, first + second, schema=DETECTION_ATTACKS, kind="detection")
    worst = pick(attacks, attack="worst")
    assert (worst["n"], worst["tier"]) == (6, "all")
    assert worst["robust_after"] == pytest.approx(1 / 6)
    assert worst["metric_after"] == pytest.approx(17 / 101)  # recall thresholds 0 .. 0.16
    # Missed is one more way to be wrong: 1 of 5, which 2 of 6 clustered objects don't exclude.
    assert "chance is 0.2" in gates["original", "white-box reaches chance"]["note"]


def test_a_detectors_gain_has_an_interval_even_if_no_picture_differs(tmp_path):
    bare = pictures([[1, 1]] * 12)
    attacks, _ = tables_of(
        tmp_path, bare, pictures([[0, 0]] * 12, level=10.0), schema=DETECTION_ATTACKS, kind="detection"
    )
    row = pick(attacks, codec="jpeg", attack="pgd")
    z = norm.ppf(0.975)  # Tango's bound when all of n pairs are won, if pictures were single objects
    assert row["gain"] == 1 and (12 - z**2) / (12 + z**2) < row["gain_low"] < 1 - z**2 / (12 + z**2)
    assert row["gain_high"] == 1


def test_objects_count_from_the_threshold_of_the_table_on(tmp_path, monkeypatch):
    found = pictures([[0], [0], [0], [0]])
    for row, score in zip(found, (0.2, 0.3, 0.5, 0.9), strict=True):
        row["after"] = [one | {"score": score} for one in row["after"]]
    for least, right in ((0.25, 0.75), (0.5, 0.5), (0.95, 0.0)):
        monkeypatch.setitem(META, "threshold", least)
        row = pick(tables_of(tmp_path, found, schema=DETECTION_ATTACKS, kind="detection")[0], attack="pgd")
        assert row["robust_after"] == right
    found_of = attack_rows([tmp_path / "original.parquet"], STRENGTHS, split_of("detection"), SETTINGS)[2]
    assert found_of["thresholds"] == [{"arch": "net", "regime": "original", "seed": 0, "threshold": 0.95} | FROM]
    monkeypatch.delitem(META, "threshold")
    with pytest.raises(LossyBenchError, match=r"original\.parquet: lacks 'threshold'"):
        tables_of(tmp_path, found, schema=DETECTION_ATTACKS, kind="detection")


def test_calls_of_detectors_are_for_each_picture_however_many_objects_it_has(tmp_path):
    found = pictures([[1] * 9, [0], []])
    for row, calls in zip(found, (10, 40, 70), strict=True):
        row["calls"] = calls
    attacks, _ = tables_of(tmp_path, found, schema=DETECTION_ATTACKS, kind="detection")
    assert pick(attacks, attack="pgd")["calls"] == pick(attacks, attack="worst")["calls"] == 40


# What too few items show.


@pytest.mark.parametrize("n", [12, 24, 40, 100, 400])
def test_a_codec_that_leaves_the_margin_is_seldom_called_no_defence(n):
    """At most 5 % of studies, whether the gain or what is right beyond chance is what ends at the margin; and a codec
    that leaves nothing seldom helps."""
    for left, wrong in ((0.1, "no defence"), (0.0, "helps")):
        said = [attacked.verdict(each) for kept in attacked.KEPT for each in attacked.studies(n, left, kept, 100)]
        assert np.mean([each == wrong for each in said]) <= 0.05
        if n == 12:
            assert np.mean([each == "too few" for each in said]) > 0.9
        if n == 400:
            assert np.mean([each == {0.1: "helps", 0.0: "no defence"}[left] for each in said]) > 0.9


@pytest.mark.parametrize("name", ["white-box reaches chance", "gradients are not zero", *attacked.COMPARED])
def test_a_check_passes_good_attacks_and_none_that_few_items_cannot_show_to_be_good(name):
    rng = np.random.default_rng(1)

    def passed(case, n):
        return np.mean([attacked.checked(name, case, n, rng) == "pass" for _ in range(30)])

    assert passed("healthy", 100) > 0.7 and passed("poorer by 10 points", 12) == passed("poorer by 20 points", 40) == 0


@pytest.mark.parametrize("kind", ["items alone", "4 items a voice", "objects of a picture"])
def test_intervals_of_shares_and_gains_cover(kind):
    for rates in ((0.3, 0.1), (0.6, 0.2)):
        assert min(attacked.coverage(kind, 100, *rates, 300)) >= 91  # of 93 to 97, by 300 studies


def test_twelve_items_of_which_a_third_is_right_never_reach_chance(tmp_path):
    _, gates = tables_of(tmp_path, rows(beats(8, 12)))
    assert gates["original", "white-box reaches chance"]["status"] == "too few items"
    attacks, gates = tables_of(tmp_path, rows(beats(80)))  # Wilson: 20 % [13, 29], and chance is 25 %
    assert gates["original", "white-box reaches chance"]["status"] == "pass"
    assert not any("chance" in row["unchecked"] for row in attacks)


def test_what_is_not_checked_is_named_beside_the_attack_and_its_worst_case(tmp_path):
    """Of 30 items, 10 points more may fall to the oblivious attack although none of them does."""
    jpeg = behind(beats(20, 30)) + behind(beats(20, 30), tier="T2")
    attacks, gates = tables_of(tmp_path, rows(beats(30, 30)), jpeg)
    assert gates["jpeg", "adaptive beats oblivious"]["status"] == "too few items"
    assert "adaptive beats oblivious" in pick(attacks, codec="jpeg", attack="pgd", tier="T2")["unchecked"]
    assert "adaptive beats oblivious" in pick(attacks, codec="jpeg", attack="worst", tier="all")["unchecked"]
    assert not any(row["unreliable"] for row in attacks)
    # Where the stronger attack beats far more, 12 items show that it is not the weaker one.
    jpeg = behind(beats(2, 12)) + behind(beats(12, 12), tier="T2")
    attacks, gates = tables_of(tmp_path, rows(beats(12, 12)), jpeg)
    assert gates["jpeg", "adaptive beats oblivious"]["status"] == "pass"
    # What the bare model's checks could not see holds for its items behind the codec, too.
    bare = rows(beats(8, 12))
    oblivious = pick(tables_of(tmp_path, bare, behind(beats(8, 12)))[0], codec="jpeg", attack="worst", tier="T0")
    assert "on the bare model white-box reaches chance" in oblivious["unchecked"]


def test_items_that_share_a_voice_count_for_less(tmp_path):
    found, voices = [1] * 50 + [0] * 50, [i // 4 for i in range(400)]  # whole voices fall
    alone = pick(tables_of(tmp_path, rows(found))[0], attack="pgd")
    shared = pick(tables_of(tmp_path, rows(found), voice=voices)[0], attack="pgd")
    width = {name: row["robust_after_high"] - row["robust_after_low"] for name, row in (("1", alone), ("4", shared))}
    assert width["4"] > 1.8 * width["1"]  # 25 independent draws instead of 100


def test_items_of_few_groups_are_named(tmp_path):
    without = {name: value for name, value in META.items() if not name.startswith("threshold")}
    write_table(tmp_path / "original.parquet", ATTACKS, rows(beats(40)), without)
    for per_voice, groups, few in ((50, {"voice": 2}, ("voice", 2)), (4, {"voice": 25}, None), (1, {}, None)):
        task = split_of(voice=[i // per_voice for i in range(400)])
        found = attack_rows([tmp_path / "original.parquet"], STRENGTHS, task, SETTINGS)[2]
        assert found == {"items": 100, "groups": groups, "few": few, "thresholds": []}


def test_refuses_attacked_items_that_are_not_tested(tmp_path):
    with pytest.raises(LossyBenchError, match=r"original\.parquet: item item400 is not in the test split"):
        tables_of(tmp_path, rows(beats(401, 401)))
