"""The summary tables and their columns, which `aggregate` writes and the report reads.

A number's unit follows its type. A share is a fraction from 0 to 1, or from -1 to 1 where it is a difference; a point
is a share of 0.01. Every interval (low, high) is two-sided with 95 % confidence. The column `metric` holds the names of
what the kind of task scores, which meta `metrics` describes, the primary one first. Where that is no share, what is
said here to be a share of it, or points, is in its own unit (objects); where less of it is better, differences are
turned, so that a loss is negative all the same. `strength` orders the levels of one codec: 0 is the original, 1 the
mildest level, and so on.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from lossybench.artifacts import EPSILON, LEVEL, RATE, SAVINGS, columns, extended, publish, read_table, write_table

_TEXT, _WHOLE, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()


def _shares(*names: str) -> list[tuple[Any, ...]]:
    return [(name, _REAL, "share") for name in names]


def _interval(name: str) -> list[tuple[Any, ...]]:
    """A share and its interval."""
    return _shares(name, f"{name}_low", f"{name}_high")


_MODEL = (("arch", _TEXT), ("regime", _TEXT))  # regime: original, mixed, adversarial, matched_CODEC_LEVEL or
# held_out_CODEC
_CONDITION = (("codec", _TEXT), ("level", _REAL, LEVEL), ("strength", _WHOLE, ""))

SCHEMAS: dict[str, pa.Schema] = {
    "metrics": columns(
        *_MODEL,
        ("seed", _WHOLE, ""),  # -1: the mean over all seeds; from three on the interval is of models trained anew
        *_CONDITION,
        ("metric", _TEXT),
        ("class", _TEXT),  # a class's name, or "" for overall: label_metrics.py and box_metrics.py say what that is
        *_shares("value", "low", "high"),
        ("n", _WHOLE, "items"),  # items are what is resampled: for video, clips
        ("support", _WHOLE, "items; true objects in detection"),  # of the class; of all classes together for overall
    ),
    "conditions": columns(  # behind these, a column for each measure of the meta's `measures`
        ("codec", _TEXT),
        ("title", _TEXT),  # "JPEG"
        ("level", _REAL, LEVEL),
        ("label", _TEXT),  # "QF 10"
        ("strength", _WHOLE, ""),
        ("rate", _REAL, RATE),  # mean over items, by the settings' `rate`: one of the next two
        ("file_rate", _REAL, RATE),  # of the codec's file
        ("coded_rate", _REAL, RATE),  # of the coded media in it alone
        ("rate_unit", _TEXT),  # bpp or kb/s
        ("ratio", _REAL, "raw bits per bit"),  # of the totals over all items, as are all shares
        *_shares("saving"),  # of the raw bits, by the settings' `rate`, as are the next two
        *_shares("saving_lossless"),  # of the bits in what meta `lossless` names, over some of the items
        *_shares("saving_source"),  # of the bits of the items' own files; null unless all have one
        *_shares("overhead_share"),  # of the codec's file
        ("file_bytes", _REAL, "bytes an item"),  # of the codec's file
        *_shares("above_target"),  # where levels are target sizes: of the items, those whose file is larger even at the
        # strongest level of the encoder, at which they are coded; null elsewhere
        ("psnr", _REAL, "dB"),  # mean over the items where it is finite; inf where it is for none; null: not measured
        ("ssim", _REAL, ""),
        ("snr", _REAL, "dB"),  # as psnr, and so on
        ("si_sdr", _REAL, "dB"),
        ("spectral_distance", _REAL, "dB"),
        ("infinite", _WHOLE, "items"),  # left out of a mean: identical to the original, or sound where it is silent
        ("encoder", _TEXT),
        ("n", _WHOLE, "items"),
    ),
    "differences": columns(
        *_MODEL,
        *_CONDITION,
        ("baseline", _TEXT),  # own: this model on originals; best: the best model trained on originals, on originals
        ("metric", _TEXT),  # the primary one
        *_shares("reference"),  # of the baseline, mean over seeds
        *_shares("value", "difference", "low", "high"),  # difference: value - reference, or the reverse where less is
        # better: a loss is negative
        *_shares("lower", "upper"),  # one-sided 95 % bounds
        *_shares("joint"),  # as lower, for all of the task's codecs at once
        ("p", _REAL, ""),  # of McNemar's exact test, or of a t test by groups; null of the original, and where items
        # are not right or wrong
        ("p_holm", _REAL, ""),  # corrected over all codecs and levels of (arch, regime, baseline)
        ("n", _WHOLE, "items"),
        ("factor", _TEXT),  # what items share that widens the interval most; "" for nothing
        ("groups", _WHOLE, "groups"),  # of that factor; null for none
        ("design_effect", _REAL, ""),  # variance over that of as many independent items; 1 for no factor
        *_shares("item_error"),  # standard error that items and groups leave
        ("seeds", _WHOLE, "seeds"),  # models on each side; from three on the interval is of models trained anew
        *_shares("seed_error"),  # standard error that the seeds leave; null with fewer than three
        *_shares("fold_error"),  # standard error that what the folds' models learnt from leaves; null without folds
    ),
    "verdicts": columns(
        *_MODEL,
        *_CONDITION,
        ("baseline", _TEXT),  # as in `differences`
        ("delta", _REAL, "points"),
        ("verdict", _TEXT),  # of this level alone: acceptable, acceptable here (for the few groups in meta `few`
        # alone), unacceptable, inconclusive; or no reference (`limits`)
        ("tested", _FLAG),  # whether the fixed sequence reached this level; only then may `acceptable` be claimed
        ("jointly", _FLAG),  # whether it and all milder ones are acceptable for all of the task's codecs at once
        ("missing", _TEXT),  # items, a factor, seeds; too close; no practical number; "" when decided
        ("needed_low", _WHOLE, "as `missing` says"),  # how many in all with 90 % power, if nothing is lost
        ("needed_high", _WHOLE, "as `missing` says"),  # if half of delta is lost
    ),
    "limits": columns(
        *_MODEL,
        ("codec", _TEXT),
        ("baseline", _TEXT),  # as in `differences`
        ("delta", _REAL, "points"),
        ("seeds", _WHOLE, "seeds"),  # of the model; with three or more the verdict is of models trained anew
        ("reference_arch", _TEXT),  # whose result on originals the baseline is
        *_interval("reference"),  # that result: a loss means nothing to a model that can do nothing
        *_shares("chance"),  # what answers that do not depend on the items reach
        *_shares("above_chance"),  # how far the reference is shown to exceed chance; one-sided 95 %, of the worst seed
        ("verdict", _TEXT),  # no reference unless above_chance > delta; that of the mildest level, which is acceptable
        # or acceptable here when some level passed
        ("level", _REAL, LEVEL),  # the strongest level that passed; this and the next five are null when none did
        ("label", _TEXT),
        ("rate", _REAL, RATE),
        ("rate_unit", _TEXT),
        ("ratio", _REAL, "raw bits per bit"),
        *_shares(*SAVINGS),
        ("joint_level", _REAL, LEVEL),  # the strongest that passed for all of the task's codecs at once: what picking
        # the best codec goes by; this and the next three are null when none did
        ("joint_label", _TEXT),
        ("joint_rate", _REAL, RATE),
        *_shares(*(f"joint_{name}" for name in SAVINGS)),
        ("stopped_at", _REAL, LEVEL),  # the first level that failed; null when all passed
        ("stopped_verdict", _TEXT),
        ("missing", _TEXT),  # as in `verdicts`, at stopped_at; null when all passed
        ("needed_low", _WHOLE, "as `missing` says"),
        ("needed_high", _WHOLE, "as `missing` says"),
    ),
    "capture": columns(  # how limits move as capture gets worse: of the codecs to which the study gives a `grid`
        *_MODEL,
        ("baseline", _TEXT),  # as in `differences`: on originals as they came, so that what capture costs counts too
        ("codec", _TEXT),
        ("chain", _TEXT),  # what the codec under this condition is called elsewhere; the codec itself as items came
        ("degradation", _TEXT),  # noise, light, ...; "" as items came
        ("amount", _REAL, "as the degradation has it"),  # its level; null as items came
        ("condition", _TEXT),  # both in words: "noise σ 4"
        *_shares("mildest_value", "mildest_difference", "mildest_low", "mildest_high"),  # at the codec's mildest level:
        # what capture costs and hardly any coding, as `value`, `difference`, `low` and `high` of `differences`
        ("delta", _REAL, "points"),
        ("verdict", _TEXT),  # this and all that follow as in `limits`
        ("level", _REAL, LEVEL),
        ("label", _TEXT),
        ("rate", _REAL, RATE),
        ("rate_unit", _TEXT),
        *_shares("saving"),
        ("stopped_at", _REAL, LEVEL),
        ("stopped_verdict", _TEXT),
    ),
    "transfer": columns(
        ("arch", _TEXT),
        ("codec", _TEXT),  # that the model was tested with
        ("train", _TEXT),  # original, mixed, adversarial, matched
        ("train_codec", _TEXT),  # "" unless matched; differs from `codec` in cross-codec cells
        ("train_level", _REAL, LEVEL),  # null unless matched
        ("test_level", _REAL, LEVEL),  # null when tested on the original
        *_shares("value", "low", "high"),  # of the primary metric, mean over seeds
    ),
    "identification": columns(  # of tasks whose classes are codecs and levels: what models tell of each
        *_MODEL,
        *_CONDITION,  # what the items went through since, "original" for nothing
        ("true_codec", _TEXT),
        ("true_level", _REAL, LEVEL),
        ("told_codec", _TEXT),
        ("told_level", _REAL, LEVEL),  # null: whichever level of the codec was told
        *_interval("share"),  # of the items of the true codec and level; the mean over all seeds
        ("n", _WHOLE, "items"),
    ),
    "held_out": columns(  # models that learnt from a mixture without one codec, on that codec and on originals
        ("arch", _TEXT),
        ("held_out", _TEXT),  # the codec that they never learnt from
        *_CONDITION,
        *_shares("value", "original", "mixed"),  # the primary metric: theirs, and of these two regimes; null without
        *_interval("over_original"),  # theirs minus that of the regime original, paired by item; null without one
        *_interval("over_mixed"),  # the same of the regime mixed, which did learn from the codec
    ),
    "gaps": columns(  # what of a loss training on compressed media wins back: gaps.py
        ("arch", _TEXT),
        *_CONDITION,  # at the original: what such training costs there
        ("training", _TEXT),  # matched: on this codec and level; mixed: on a mixture; "": none was tested here
        *_shares("reference"),  # the primary metric of the regime original on originals; all are means over seeds
        *_shares("original", "trained"),  # at this condition: of the regime original, and of this training
        *_interval("loss"),  # reference - original
        *_interval("recovered"),  # trained - original, paired by item; this and the next two are null without training
        *_interval("remaining"),  # reference - trained
        *_interval("mostly"),  # recovered - remaining: above 0 where more than half of the loss is won back
        ("other_codec", _TEXT),  # of the others, each at its highest rate that is no higher than here, that with the
        # most of the metric; null without any
        ("other_level", _REAL, LEVEL),
        *_interval("other"),  # what the regime original has more there than here; for all these codecs at once,
        # with 97.5 %
        ("seeds", _WHOLE, "seeds"),  # of the models with fewer; from three on intervals are of models trained anew
        ("advice", _TEXT),  # train on compressed media; another codec; more bits: most of the loss is not won back even
        # by matched training; not shown; nothing to explain: no loss is shown
    ),
    "subgroups": columns(  # by what a loss hurts: of these very models, a mean over their seeds (subgroups.py)
        *_MODEL,
        *_CONDITION,
        ("by", _TEXT),  # class, a factor of the items, or what else the kind of task tells apart (size)
        ("group", _TEXT),
        ("support", _WHOLE, "items; true objects in detection"),
        *_shares("reference", "value"),  # the primary metric of what is in the group: on originals, and here
        *_interval("loss"),  # of the group; positive where it loses; all that follow are null where it is not judged
        *_interval("excess"),  # of the loss over that of all items; for all groups of `by` at this condition at once
        ("p", _REAL, ""),  # of the excess being 0 or less, one-sided
        ("p_holm", _REAL, ""),  # corrected over the groups of `by` at this condition
        ("judged", _FLAG),  # whether the group has enough items, and objects, to be judged
        ("hurt", _FLAG),  # whether it is shown to lose more than all items do, by p_holm
    ),
    "bd": columns(
        *_MODEL,
        ("codec_a", _TEXT),  # the anchor
        ("codec_b", _TEXT),  # better than codec_a where bd_rate is negative and bd_metric positive
        ("seeds", _WHOLE, "seeds"),  # with three or more the intervals and `ahead` are of models trained anew
        ("bd_rate", _REAL, "%"),  # rate of b over a at equal metric; null when refused
        ("bd_rate_low", _REAL, "%"),  # up to bd_rate_high: its interval; null when refused
        ("bd_rate_high", _REAL, "%"),
        ("bd_metric", _REAL, "points"),  # b minus a at equal rate; null when refused
        ("bd_metric_low", _REAL, "points"),  # up to bd_metric_high: its interval; null when refused
        ("bd_metric_high", _REAL, "points"),
        ("p", _REAL, ""),  # of bd_metric being 0, by the spread of the resamples and seeds; null without an interval
        ("p_holm", _REAL, ""),  # corrected over all pairs of (arch, regime)
        ("ahead", _TEXT),  # codec_a or codec_b, if it is shown to have more of the metric at equal rate; else ""
        *_shares("overlap_low", "overlap_high"),  # values that both curves reach: what bd_rate averages over
        ("rate_low", _REAL, RATE),  # up to rate_high: rates that both curves span, what bd_metric averages over
        ("rate_high", _REAL, RATE),
        ("rate_unit", _TEXT),
        ("status", _TEXT),  # ok, or the reasons of refusal
    ),
    "attacks": columns(  # in detection the share of true objects that are found as their class stands for accuracy
        *_MODEL,
        ("seed", _WHOLE, ""),
        *_CONDITION,  # original: no codec in front of the model
        ("attack", _TEXT),  # worst: per item the worst of all (tier `all`) or all oblivious attacks (tier T0)
        ("norm", _TEXT),  # linf, l2, snr, share
        ("epsilon", _REAL, EPSILON),  # with the norm snr a larger number is a smaller change
        ("goal", _TEXT),  # untargeted, targeted, trigger
        ("tier", _TEXT),  # T0 .. T4, T3-EoT; all
        ("main", _FLAG),  # at the main attack's own budget
        ("n", _WHOLE, "items; true objects in detection"),  # all that were attacked, also those wrong when clean
        *_shares("clean", "clean_after"),  # accuracy on clean items, without the codec and behind it
        # The intervals of attacks are score intervals, of items and groups for this model; objects go by their items.
        *_interval("robust_before"),  # on adversarial items, without the codec
        *_interval("robust_after"),  # on adversarial items behind the codec
        *_interval("tasr_before"),  # of items with label != target; null when untargeted
        *_interval("tasr_after"),
        *_shares("tasr_clean_before", "tasr_clean"),  # of the same items when clean, without the codec and behind it
        *_interval("gain"),  # robust_after - bare model's: `worst` over all `worst`, T4 over T4, others over T0
        *_shares("cost"),  # clean - clean_after
        *_shares("opened"),  # right before and wrong after the codec, adversarial items minus clean ones
        *_interval("triggered"),  # the same where that was the goal, with its paired interval; null elsewhere
        # The primary metric (mAP@0.5, mIoU) of the attacked items; null where that is the share of items that are right
        *_shares("metric_clean", "metric_clean_after"),  # on clean items
        *_shares("metric_before", "metric_after"),  # on adversarial items
        ("calls", _REAL, ""),  # mean codec round trips (bare: predictions) of the items that this attack tried,
        # null for none; of `worst` the sum over all its attacks, mean of all items
        ("unreliable", _FLAG),  # a gate failed on this row, here or at a smaller budget: an upper bound of robustness
        ("reason", _TEXT),  # the gates that failed; "" when reliable
        ("unchecked", _TEXT),  # the gates that can't say whether this attack is poor: not run, or too few items; or ""
    ),
    "spectra": columns(  # the main attack, untargeted; means over items
        *_MODEL,
        ("seed", _WHOLE, ""),
        *_CONDITION[:2],
        ("band", _WHOLE, ""),  # of frequencies: 0 is the lowest
        ("lower", _REAL, "as `unit` says"),  # up to upper: the frequencies of the band
        ("upper", _REAL, "as `unit` says"),
        ("unit", _TEXT),  # Hz or cycles/pixel
        *_shares("kept"),  # of the clean item in this band: what comes out of the codec as it went in; null for nothing
        *_shares("oblivious"),  # of the change, if the attacker ignores the codec: what lies in this band
        *_shares("adaptive"),  # the same if the best-informed attacker goes through it; either is null without items
        *_interval("moved"),  # adaptive - oblivious over all bands of which less than half is kept, paired by item, for
        # this model; of the condition, and null for fewer than two items
        ("n", _WHOLE, "items"),  # of kept
        ("defended", _WHOLE, "items"),  # of oblivious: right behind the codec if it is ignored; in detection all
        ("own", _WHOLE, "items"),  # of adaptive: of these, without those that its tier took over from a weaker one
    ),
    "gates": columns(
        *_MODEL,
        ("seed", _WHOLE, ""),
        *_CONDITION[:2],
        ("gate", _TEXT),
        ("status", _TEXT),  # pass; fail; too few items, where a poor attack might have gone unseen; not run, for want
        # of an attack to compare the main one with; not applicable, where it has no meaning
        ("figure", _REAL, "as its note says"),  # the worst over the rows compared; null for none
        ("note", _TEXT),
    ),
}


def write(out: Path, name: str, rows: Iterable[dict[str, Any]], meta: dict[str, Any]) -> None:
    """Write one summary table as out/NAME.parquet and out/NAME.csv, each atomically.

    name: a key of SCHEMAS. rows: dictionaries whose keys are the table's columns. meta: what holds for all rows.
    """
    further = meta.get("measures", {}) if name == "conditions" else {}
    schema = extended(SCHEMAS[name], *((measure, _REAL, about["unit"]) for measure, about in further.items()))
    write_table(out / f"{name}.parquet", schema, rows, meta)
    table = read_table(out / f"{name}.parquet")
    for place, field in enumerate(table.schema):
        if field.type == _TEXT:
            table = table.set_column(place, field, [_as_cell(table.column(place))])
    with publish(out / f"{name}.csv") as aside:
        pyarrow.csv.write_csv(table, aside)


def _as_cell(texts: pa.ChunkedArray) -> pa.Array:
    """The `texts` as cells that a spreadsheet shows: one like =1+1, a class's name perhaps, would be computed there.

    An apostrophe before it makes it a text. The Parquet table has the texts as they are.
    """
    return pa.array([f"'{one}" if one and one[0] in "=+-@\t\r" else one for one in texts.to_pylist()], _TEXT)
