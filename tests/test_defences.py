"""Chains of codecs and levels drawn for each query: against codecs by hand, autograd by hand, and the law of chance."""

import itertools

import numpy as np
import pytest
import test_analysis_attacks
import test_attacks
import test_attacks_detection
import test_report
import torch
from scipy.stats import chisquare

from lossybench import codecs
from lossybench.analysis import tables
from lossybench.artifacts import read_meta, read_table
from lossybench.attacks.defences import Chain, Defence
from lossybench.attacks.items import Items
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.search import AttackedModel, Run
from lossybench.errors import LossyBenchError
from lossybench.reading import read
from lossybench.reporting import figures, recommendations
from lossybench.reporting.summary import Summary
from lossybench.stages.attack import attack

digits, study = test_attacks.digits, test_attacks.study

DRAW = [[{"codec": "jpeg", "level": level, "options": {}}] for level in (60, 20, 5)]
CHAIN = [[{"codec": "jpeg", "level": 30, "options": {}}, {"codec": "hevc", "level": 40, "options": {}}]]


def attacked(study, ways, name="front", threads=1, **settings):
    """The table of attacks behind a defence, without a look at what is compressed."""
    oblivious, path = study.root / "original.attacks.parquet", study.root / f"{name}.parquet"
    chosen = {"attacks": {"pgd": ["8/255"]}, "items": 40, "batch_size": 32, "restarts": 1, "queries": 10, **settings}
    if not oblivious.exists():
        study.attack(**chosen)
    about = dict(oblivious=oblivious, settings=chosen, threads=threads, defence={"ways": ways})
    attack(study.root / "model", study.root / "data.parquet", [], name, path, **about)
    return path


def clean(study) -> dict[str, np.ndarray]:
    return {f"d{i:03d}": media for i, media in enumerate(study.digits.media)}


def predicted(study, media: np.ndarray, way) -> int:
    """The class of a picture behind the codecs of a way, one after the other by their own encoders and decoders."""
    for step in way:
        coder = codecs.get(step["codec"])
        media = coder.decode(coder.encode(media, step["level"]).payload, media.shape)
    seen = torch.from_numpy(np.moveaxis(media, -1, 0)[None].astype(np.float32) / 255)
    return int(study.digits.network(seen).argmax())


def test_a_chain_is_one_codec_after_the_other_bit_for_bit(digits):
    ((front, level),) = Defence.of("row", CHAIN).fronts
    jpeg, hevc = codecs.get("jpeg"), codecs.get("hevc")
    through = CodecPreprocessor(front, level, "image")
    for media in digits.media[:5]:
        once = jpeg.decode(jpeg.encode(media, 30).payload, media.shape)
        twice = hevc.decode(hevc.encode(once, 40).payload, media.shape)
        assert np.array_equal(front.roundtrip(media, level), twice) and not np.array_equal(once, twice)
        seen = through.forward(torch.from_numpy(np.moveaxis(media, -1, 0)[None].astype(np.float32) / 255))[0]
        assert np.array_equal(np.moveaxis(seen[0].numpy(), 0, -1), twice.astype(np.float32) / 255)
    with pytest.raises(LossyBenchError, match=r"'hevc'.*QP 99 is out of range"):
        Chain(((jpeg, 30.0), (hevc, 99.0))).check(0, "image")


def test_what_is_drawn_follows_from_the_item_and_the_seed_alone():
    defence, ids = Defence.of("front", DRAW), [f"item {i}" for i in range(3000)]
    drawn = defence.drawn(ids, 1)
    assert chisquare(np.bincount(drawn, minlength=3)).pvalue > 1e-4
    assert defence.drawn(ids[7:9][::-1], 1).tolist() == drawn[7:9][::-1].tolist()
    np.random.seed(5)  # what attacks draw from
    assert (defence.drawn(ids, 1) == drawn).all()
    others = defence.drawn(ids, 2), Defence.of("other", DRAW).drawn(ids, 1)
    for other in others:  # as independent of it as of each other: a third agrees by chance
        assert (other == drawn).mean() == pytest.approx(1 / 3, abs=0.05)


def test_readers_are_told_what_stands_in_front():
    two = [*DRAW, [{"codec": "hevc", "level": 40, "options": {}}]]
    assert Defence.of("a", two).title == "JPEG QF 60, 20, 5 or HEVC QP 40, drawn for each query"
    assert Defence.of("a", CHAIN).title == "JPEG QF 30, then HEVC QP 40"
    rates = [[{"codec": "mp3", "level": level, "options": {}}] for level in (64, 8)]
    assert Defence.of("a", rates).title == "MP3 64 kb/s or 8 kb/s, drawn for each query"


@pytest.mark.parametrize("ways", [DRAW, CHAIN], ids=["draw", "chain"])
def test_an_item_is_judged_behind_one_draw_and_chosen_by_all(study, ways):
    path = attacked(study, ways, attacks={"pgd": ["8/255"], "square": ["8/255"]}, items=40 if len(ways) > 1 else 12)
    table = test_attacks.rows(path).reset_index()
    defence, media, lossless = Defence.of("front", ways), clean(study), codecs.get("original")
    drawn = dict(zip(media, defence.drawn(media, 0), strict=True))
    assert set(table.level) == {0} and set(table.tier) == {"T0", "T2", "T3", "T4"}
    for row in table[table.adversarial.notna() & (table.goal == "untargeted")].itertuples():
        item = lossless.decode(row.adversarial, media[row.id].shape)
        assert np.abs(item.astype(int) - media[row.id]).max() <= 8
        each = [predicted(study, item, way) for way in ways]
        assert row.after == each[drawn[row.id]]
        assert row.clean_after == predicted(study, media[row.id], ways[drawn[row.id]])
        if len(ways) > 1:
            assert row.harm == pytest.approx(np.mean([one != row.label for one in each]))
    if len(ways) == 1:
        assert table.harm.isna().all()
        return
    for goal, same in table.groupby("goal"):
        by_tier = same.pivot(index="id", columns="tier", values="harm")
        for weaker, stronger in itertools.pairwise(sorted(by_tier)):
            assert (by_tier[stronger] >= by_tier[weaker]).all(), (goal, stronger)
    assert (table.harm[table.goal == "untargeted"] % 1 > 0).any()  # some are beaten on some ways alone


def test_the_attack_behind_a_draw_follows_the_mean_gradient(study):
    epsilon = 16 / 255
    path = attacked(study, DRAW, attacks={"fgsm": [epsilon]}, goals=["untargeted"], tiers=["T0", "T2"])
    table = test_attacks.rows(path, tier="T2")
    media, lossless = clean(study), codecs.get("original")
    own = table[table.own & (table.linf > 0)]
    assert len(own) >= 10
    for name, row in own.iterrows():
        total = torch.zeros(3, *media[name].shape[:2])
        for way in DRAW:
            decoded = codecs.get("jpeg").roundtrip(media[name], way[0]["level"])
            seen = torch.from_numpy(np.moveaxis(decoded, -1, 0)[None].astype(np.float32) / 255).requires_grad_()
            loss = torch.nn.functional.cross_entropy(study.digits.network(seen), torch.tensor([row.label]))
            total += torch.autograd.grad(loss, seen)[0][0]  # the identity is the codec's gradient in T2
        steps = np.moveaxis(total.sign().numpy(), 0, -1) * 16
        expected = np.clip(media[name] + steps, 0, 255)
        found = lossless.decode(row.adversarial, media[name].shape)
        sure = np.moveaxis(total.abs().numpy() > 1e-6 * total.abs().max().item(), 0, -1)
        assert (found == expected)[sure].all() and sure.mean() > 0.9


def test_a_picture_is_judged_behind_one_draw_and_chosen_by_all(tmp_path):
    """In detection the harm is the share of lost objects, on average over all draws."""
    case, least, defence = test_attacks_detection.prepared("image"), 0.35, Defence.of("front", DRAW)
    aim = test_attacks_detection.UNTARGETED._replace(epsilon=16 / 255)
    model = AttackedModel(case.network, case.victim.info, case.victim.device, case.how, least)
    fronts = [CodecPreprocessor(codec, level, "image") for codec, level in defence.fronts]
    items = Items(**vars(case.items), stored={}, sampling_rate=0.0)
    run = Run(0.0, {"T2": [model.behind(*fronts)]}, model, defence)
    found = list(run.rows(0, items, {aim: ["T2"]}))
    drawn, shares = defence.drawn(items.ids, case.how.seed), []
    for row, way, truth in zip(found, drawn, items.truth, strict=True):
        media = codecs.get("original").decode(row["adversarial"], (test_attacks_detection.SIDE,) * 2 + (3,))
        each = []
        for step in DRAW:
            seen = codecs.get("jpeg").roundtrip(media, step[0]["level"])
            (predicted,) = case.victim.predict(np.moveaxis(seen, -1, 0)[None])
            each.append(read(predicted, row["truth"], least))
        assert read(row["after"], row["truth"], least).tolist() == each[way].tolist()
        lost = [(one != truth["labels"]).mean() for one in each]
        assert row["harm"] == pytest.approx(np.mean(lost), abs=1e-6)
        shares.append(row["harm"])
    assert np.mean(shares) > 0 and (np.array(shares) % 1 > 0).any()


def test_threads_change_no_byte(study):
    one, three = (
        attacked(study, DRAW, items=6, goals=["untargeted"], threads=threads).read_bytes() for threads in (1, 3)
    )
    assert one == three


def test_the_attack_through_all_levels_beats_one_that_does_not_know_them(study):
    table = test_attacks.rows(attacked(study, DRAW, attacks={"pgd": ["20/255"]}, goals=["untargeted"]))
    robust = (table.after == table.label).groupby(table.tier).mean()
    expected = 1 - table.harm.groupby(table.tier).mean()
    assert expected["T3"] < expected["T0"] - 0.1
    assert robust["T3"] == pytest.approx(expected["T3"], abs=0.2)  # what is judged is an estimate of it
    meta = read_meta(study.root / "front.parquet")
    assert meta["codec"] == "front" and meta["defence"]["title"].startswith("JPEG QF 60, 20 or 5")
    assert meta["versions"]["codec"] == codecs.get("jpeg").version()


@pytest.mark.parametrize("told", [True, False], ids=["by what is expected", "by what is drawn"])
def test_many_attempts_buy_no_look_at_the_draw(tmp_path, told):
    """Six attempts that beat every item on half of the ways each: half of the queries are right, whatever is tried.

    Whoever picked the attempt after the draw would have them all wrong, as an analysis by `after` alone does.
    """
    n, behind = 400, []
    drawn = np.random.default_rng(0).integers(0, 2, n)
    for k, attack_name in enumerate(("pgd", "pgd_doubled", "apgd", "fgsm", "square", "noise")):
        after = (drawn == (np.arange(n) + k) % 2).astype(int).tolist()
        harm = [0.5] * n if told else None
        behind += test_analysis_attacks.behind(after, before=[1] * n, attack=attack_name, tier="T3", harm=harm)
    beaten = (np.arange(n) < 100).astype(int).tolist()  # an attempt that beats a quarter on all ways
    harm = [float(one) for one in beaten] if told else None
    behind += test_analysis_attacks.behind(beaten, before=[1] * n, attack="pgd_l2", tier="T3", harm=harm)
    bare = test_analysis_attacks.rows([1] * n)
    attacks, _ = test_analysis_attacks.tables_of(tmp_path, bare, behind)
    worst = test_analysis_attacks.pick(attacks, codec="jpeg", attack="worst", tier="all")
    if told:
        assert worst["robust_after_low"] < 0.75 * 0.5 < worst["robust_after_high"]
    else:
        assert worst["robust_after"] == 0


@pytest.mark.parametrize("wins", [0, 10])
def test_a_search_on_scores_counts_only_where_it_turns_the_query(tmp_path, wins):
    """It takes all items over, of which each was beaten on half of the ways before; it wins `wins` draws more."""
    n = 100
    before = [1] * 50 + [0] * 50  # behind the draw
    after = [1] * (50 + wins) + [0] * (50 - wins)
    how = dict(before=[1] * n, own=[True] * n)
    behind = test_analysis_attacks.behind(before, tier="T3", harm=[0.5] * n, **how)
    behind += test_analysis_attacks.behind(after, tier="T4", attack="square", harm=[0.6] * n, **how)
    _, gates = test_analysis_attacks.tables_of(tmp_path, test_analysis_attacks.rows([1] * n), behind)
    gate = gates["jpeg", "white-box beats black-box"]
    assert gate["figure"] == wins and (gate["status"] == "fail") == (wins > 2)


def test_reports_name_defences_and_give_them_no_limit(tmp_path):
    folder = test_report.Synthetic("classification", "image").write(tmp_path / "digits")
    made = read_table(folder / "attacks.parquet").to_pylist()
    level = next(row["level"] for row in made if row["codec"] == "webp")
    made += [row | {"codec": "drawn", "level": 0.0} for row in made if (row["codec"], row["level"]) == ("webp", level)]
    tables.write(folder, "attacks", made, read_meta(folder / "attacks.parquet"))
    title = "JPEG QF 75, 50, 25 or 10, drawn for each query"
    conditions = read_table(folder / "conditions.parquet").to_pylist()
    about = read_meta(folder / "conditions.parquet") | {"defences": {"drawn": title}}
    tables.write(folder, "conditions", conditions, about)
    summary = Summary(folder)
    assert summary.attacked_codecs == [*summary.codecs, "drawn"] and "drawn" not in summary.codecs
    for figure in (figures.attacks(summary), figures.attack_curves(summary)):
        said = " ".join(ax.get_title() for ax in figure.axes).split()
        assert title in " ".join(said)
    recommendations.write([folder], tmp_path / "recommendations.md")
    told = test_report.task_of(folder)["attacks"]["models"][0]["codecs"]
    assert title in {row["place"] for row in told} and "what a single query meets" in test_report.page_of(folder)
    assert f"{title} +" in (tmp_path / "recommendations.md").read_text()
