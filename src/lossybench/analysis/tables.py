"""The summary tables, their columns stated once: what `aggregate` writes and the report reads.

A number's unit follows its type. A share is a fraction 0..1, or -1..1 where it is a difference; a point is 0.01.
`metric` values: accuracy, precision, recall, f1 (classification); map, map50, precision, recall, f1, accuracy
(detection). The primary metric is accuracy, or map50 for detection. An interval is (low, high), two-sided 95 %.
`strength` orders the levels of one codec: 0 for the original, 1 for the mildest level, then upwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from lossybench.artifacts import EPSILON, LEVEL, RATE, columns, publish, read_table, write_table

_TEXT, _WHOLE, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()

SCHEMAS: dict[str, pa.Schema] = {
    "metrics": columns(
        ("arch", _TEXT),
        ("regime", _TEXT),  # original, mixed, adversarial, matched_<codec>_<level>
        ("seed", _WHOLE, ""),  # -1: mean over all seeds, interval over seeds and items
        ("codec", _TEXT),
        ("level", _REAL, LEVEL),
        ("strength", _WHOLE, ""),
        ("metric", _TEXT),
        ("class", _TEXT),  # class name; "" = overall (classification: macro mean; detection: see detection.py)
        ("value", _REAL, "share"),
        ("low", _REAL, "share"),
        ("high", _REAL, "share"),
        ("n", _WHOLE, "items"),  # the unit that is resampled (for video the clip)
    ),
    "conditions": columns(
        ("codec", _TEXT),
        ("title", _TEXT),  # "JPEG"
        ("level", _REAL, LEVEL),
        ("label", _TEXT),  # "QF 10"
        ("strength", _WHOLE, ""),
        ("rate", _REAL, RATE),  # mean over items, payload only
        ("rate_unit", _TEXT),  # bpp or kb/s
        ("ratio", _REAL, "raw bits per payload bit"),  # of totals
        ("saving", _REAL, "share"),  # 1 - payload/raw, of totals
        ("overhead_share", _REAL, "share"),  # overhead / (payload + overhead), of totals
        ("psnr", _REAL, "dB"),  # mean over the items that changed; inf when none did; null where not measured
        ("ssim", _REAL, ""),
        ("snr", _REAL, "dB"),  # as psnr
        ("spectral_distance", _REAL, "dB"),
        ("encoder", _TEXT),
        ("n", _WHOLE, "items"),
    ),
    "differences": columns(
        ("arch", _TEXT),
        ("regime", _TEXT),
        ("codec", _TEXT),
        ("level", _REAL, LEVEL),
        ("strength", _WHOLE, ""),
        ("metric", _TEXT),  # the primary one
        ("reference", _REAL, "share"),  # of the same model at the original, mean over seeds
        ("value", _REAL, "share"),
        ("difference", _REAL, "share"),  # value - reference; negative = loss
        ("low", _REAL, "share"),
        ("high", _REAL, "share"),
        ("lower", _REAL, "share"),  # one-sided 95 % bounds
        ("upper", _REAL, "share"),
        ("p", _REAL, ""),  # exact McNemar; null for detection and for the original
        ("p_holm", _REAL, ""),  # over all codecs and levels of (arch, regime)
        ("seeds", _WHOLE, "seeds"),
        ("n", _WHOLE, "items"),
    ),
    "verdicts": columns(
        ("arch", _TEXT),
        ("regime", _TEXT),
        ("codec", _TEXT),
        ("level", _REAL, LEVEL),
        ("strength", _WHOLE, ""),
        ("delta", _REAL, "points"),
        ("verdict", _TEXT),  # of this level alone: acceptable, unacceptable, inconclusive
        ("tested", _FLAG),  # the fixed sequence reached it; only then may `acceptable` be claimed
        ("items_needed", _WHOLE, "items"),  # to decide with 80 % power if the difference persists; null when decided
    ),
    "limits": columns(
        ("arch", _TEXT),
        ("regime", _TEXT),
        ("codec", _TEXT),
        ("delta", _REAL, "points"),
        ("reference", _REAL, "share"),  # on originals: a loss means little to a model that could do little
        ("verdict", _TEXT),  # acceptable when some level passed, else that of the mildest level
        ("level", _REAL, LEVEL),  # strongest level passed; this and the next five are null when none did
        ("label", _TEXT),
        ("rate", _REAL, RATE),
        ("rate_unit", _TEXT),
        ("ratio", _REAL, "raw bits per payload bit"),
        ("saving", _REAL, "share"),
        ("stopped_at", _REAL, LEVEL),  # first level that failed; null when all passed
        ("stopped_verdict", _TEXT),
        ("items_needed", _WHOLE, "items"),  # to decide at stopped_at; null unless that was inconclusive
    ),
    "transfer": columns(
        ("arch", _TEXT),
        ("codec", _TEXT),  # tested with
        ("train", _TEXT),  # original, mixed, adversarial, matched
        ("train_codec", _TEXT),  # "" unless matched; differs from `codec` in cross-codec cells
        ("train_level", _REAL, LEVEL),  # null unless matched
        ("test_level", _REAL, LEVEL),  # null = tested on the original
        ("value", _REAL, "share"),  # primary metric, mean over seeds
        ("low", _REAL, "share"),
        ("high", _REAL, "share"),
    ),
    "recovery": columns(
        ("arch", _TEXT),
        ("codec", _TEXT),  # "original": what mixed training costs on originals
        ("level", _REAL, LEVEL),
        ("strength", _WHOLE, ""),
        ("original", _REAL, "share"),  # primary metric of regime original at this condition
        ("mixed", _REAL, "share"),  # of regime mixed
        ("difference", _REAL, "share"),  # mixed - original, paired by item and seed
        ("low", _REAL, "share"),
        ("high", _REAL, "share"),
        ("recovered", _REAL, "share"),  # share of regime original's loss; null when that loss is < 1 point
    ),
    "bd": columns(
        ("arch", _TEXT),
        ("regime", _TEXT),
        ("codec_a", _TEXT),  # anchor
        ("codec_b", _TEXT),  # negative bd_rate, positive bd_metric: b is better than a
        ("bd_rate", _REAL, "%"),  # rate of b over a at equal metric; null when refused
        ("bd_metric", _REAL, "points"),  # b minus a at equal rate; null when refused
        ("overlap_low", _REAL, "share"),  # primary metric that both curves reach: what bd_rate averages over
        ("overlap_high", _REAL, "share"),
        ("rate_low", _REAL, RATE),  # rates that both curves span: what bd_metric averages over
        ("rate_high", _REAL, RATE),
        ("rate_unit", _TEXT),
        ("status", _TEXT),  # ok, or the reason of refusal
    ),
    "attacks": columns(  # in detection the share of true objects that are found as their class stands for accuracy
        ("arch", _TEXT),
        ("regime", _TEXT),
        ("seed", _WHOLE, ""),
        ("codec", _TEXT),  # original: no codec in front of the model
        ("level", _REAL, LEVEL),
        ("strength", _WHOLE, ""),
        ("attack", _TEXT),  # worst: per item the worst of all (tier `all`) or all oblivious attacks (tier T0)
        ("norm", _TEXT),  # linf, l2, snr, share
        ("epsilon", _REAL, EPSILON),  # of norm snr a larger number is a smaller change
        ("goal", _TEXT),  # untargeted, targeted, trigger
        ("tier", _TEXT),  # T0 .. T4, T3-EoT; all
        ("main", _FLAG),  # at the main attack's own budget
        ("n", _WHOLE, "items; true objects in detection"),  # all attacked, also those wrong when clean
        ("clean", _REAL, "share"),  # accuracy on clean items, no codec
        ("clean_after", _REAL, "share"),  # on clean items after the codec
        ("robust_before", _REAL, "share"),  # on adversarial items, no codec
        ("robust_before_low", _REAL, "share"),  # intervals: scores; in detection of resampled items with their objects
        ("robust_before_high", _REAL, "share"),
        ("robust_after", _REAL, "share"),  # on adversarial items after the codec
        ("robust_after_low", _REAL, "share"),
        ("robust_after_high", _REAL, "share"),
        ("tasr_before", _REAL, "share"),  # of items with label != target; the four tasr are null when untargeted
        ("tasr_before_low", _REAL, "share"),
        ("tasr_before_high", _REAL, "share"),
        ("tasr_after", _REAL, "share"),
        ("tasr_after_low", _REAL, "share"),
        ("tasr_after_high", _REAL, "share"),
        ("gain", _REAL, "share"),  # robust_after - bare model's: `worst` over all `worst`, T4 over T4, others over T0
        ("gain_low", _REAL, "share"),
        ("gain_high", _REAL, "share"),
        ("cost", _REAL, "share"),  # clean - clean_after
        ("opened", _REAL, "share"),  # right before and wrong after the codec, adversarial items minus clean ones
        ("triggered", _REAL, "share"),  # the same where that was the goal, with its paired interval; null elsewhere
        ("triggered_low", _REAL, "share"),
        ("triggered_high", _REAL, "share"),
        ("map_clean", _REAL, "share"),  # mAP@0.5 of detectors: the clean item, no codec; null in classification
        ("map_clean_after", _REAL, "share"),
        ("map_before", _REAL, "share"),  # the adversarial item, no codec
        ("map_after", _REAL, "share"),
        ("unreliable", _FLAG),  # a gate failed on this row: its robust accuracy is an upper bound
        ("reason", _TEXT),  # which; "" when reliable
    ),
    "gates": columns(
        ("arch", _TEXT),
        ("regime", _TEXT),
        ("seed", _WHOLE, ""),
        ("codec", _TEXT),
        ("level", _REAL, LEVEL),
        ("gate", _TEXT),
        ("status", _TEXT),  # pass, fail, not applicable
        ("figure", _REAL, "as its note says"),  # the worst over the rows compared; null when not applicable
        ("note", _TEXT),
    ),
}


def write(out: Path, name: str, rows: Iterable[dict[str, Any]], meta: dict[str, Any]) -> None:
    """Write one summary table as out/name.parquet and out/name.csv, each atomically; the rows' keys are its columns."""
    write_table(out / f"{name}.parquet", SCHEMAS[name], rows, meta)
    with publish(out / f"{name}.csv") as aside:
        pyarrow.csv.write_csv(read_table(out / f"{name}.parquet"), aside)
