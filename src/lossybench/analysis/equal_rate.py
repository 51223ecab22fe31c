"""Rows of the table `bd`: codecs compared at equal rate, and which of two is shown to be ahead."""

from __future__ import annotations

import dataclasses
import math
from itertools import combinations

import numpy as np
from statsmodels.stats.multitest import multipletests

from lossybench.analysis import intervals
from lossybench.analysis.comparisons import Primary
from lossybench.analysis.intervals import Estimate
from lossybench.analysis.outcomes import Row, Trained
from lossybench.analysis.rate_curves import Curves, Deltas, deltas
from lossybench.analysis.sampling import FEWEST_SEEDS, Sampling
from lossybench.conditions import ORIGINAL, REFERENCE, Condition
from lossybench.metrics import Metric

# Resamples in which a delta is undefined are left out of its interval. Where they are more than this share there is
# none, because those that are left have something in common.
MOST_UNDEFINED = 0.05
# Of the scatter between seeds that the few items explain, what intervals and what p take off. `intervals.EXPLAINED` is
# for one-sided bounds; further out, less may be taken off. With it, three seeds tell 6 to 7 % of identical pairs apart,
# and with a quarter still 7 to 8 % of studies of four identical codecs, but with nothing 2 to 3 % of either.
EXPLAINED, EXPLAINED_BY_P = 0.25, 0.0


def bd_rows(
    model: Trained,
    of_condition: dict[Condition, Primary],
    conditions: dict[Condition, Row],
    rates: dict[Condition, np.ndarray],
    sampling: Sampling,
) -> list[Row]:
    """Rows of the table `bd` of one model: one for each pair of codecs, with Holm's correction over the pairs.

    of_condition: the model's primary metric. conditions: the rows of the table `conditions`. rates: of each condition,
    (units, resamples), the mean rate of the items that each resample of `sampling` draws.
    """
    seeds = len(of_condition[REFERENCE].seeds)
    curves = {
        codec: _curves({one: of_condition[one] for one in of_condition if one.codec == codec}, conditions, rates)
        for codec in sorted({codec for codec, _ in of_condition} - {ORIGINAL})
    }
    rows: list[Row] = []
    for a, b in combinations(curves, 2):
        found = [deltas(*both) for both in zip(curves[a], curves[b], strict=True)]
        reasons = found[0].reasons()
        metric = _estimate("BD-metric", [each.metric for each in found], seeds, sampling, reasons)
        rate = _estimate("BD-rate", [each.log_rate for each in found], seeds, sampling, reasons)
        rows.append(
            {"arch": model[0], "regime": model[1], "codec_a": a, "codec_b": b, "seeds": seeds}
            | _columns(found[0], metric, rate, of_condition[REFERENCE].metric)
            | {"p": _p(metric, found, seeds, sampling) if metric else None, "p_holm": None, "ahead": ""}
            | {"rate_unit": conditions[REFERENCE]["rate_unit"], "status": "; ".join(reasons) or "ok"}
        )
    tested = [row for row in rows if row["p"] is not None]
    corrected = multipletests([row["p"] for row in tested], method="holm")[1] if tested else []
    for row, p_holm in zip(tested, corrected, strict=True):
        row |= {"p_holm": float(p_holm), "ahead": _ahead(row) if p_holm < sampling.alpha else ""}
    return rows


def _curves(
    levels: dict[Condition, Primary], conditions: dict[Condition, Row], rates: dict[Condition, np.ndarray]
) -> list[Curves]:
    """Curves of one codec: of all seeds together; of their resamples, unit by unit; and with FEWEST_SEEDS or more also
    of each seed, and of each seed's resamples of the items.

    levels: of the codec, with the metric there. rates: as in `bd_rows`.
    """
    # In hundredths of what margins are counted in, which is what "too flat" is judged in.
    values, samples = (
        np.stack([getattr(one, name) * (one.metric.scale / 100) for one in levels.values()], axis=-1)
        for name in ("values", "samples")
    )
    rate = np.array([conditions[level]["rate"] for level in levels])
    drawn = np.stack([rates[level] for level in levels], axis=-1)
    wanted = [(rate, values.mean(axis=0)), (drawn, samples.mean(axis=0))]
    if len(values) >= FEWEST_SEEDS:
        wanted += [(rate, values), (drawn[0], samples[:, 0])]
    return [Curves.of(*(each.reshape(-1, len(levels)) for each in np.broadcast_arrays(*both))) for both in wanted]


def _estimate(
    name: str, found: list[np.ndarray], seeds: int, sampling: Sampling, reasons: list[str]
) -> Estimate | None:
    """A delta with its interval. None, and what speaks against an interval added to `reasons`, where there is none.

    name: of the delta. found: its values on all that `_curves` returns.
    """
    value, samples = float(found[0][0]), found[1].reshape(len(sampling.units), -1)
    if math.isnan(value):
        return None
    undefined = float(np.isnan(samples).mean(axis=1).max())
    if undefined > MOST_UNDEFINED:
        reasons.append(f"no interval of {name}: undefined in {100 * undefined:.0f} % of the resamples")
        return None
    if seeds >= FEWEST_SEEDS and np.isnan(found[2]).any():
        reasons.append(f"no interval of {name}: undefined for one of the seeds alone")
        return None
    variance = _seed_variance(found, seeds, EXPLAINED)
    estimate = intervals.of_spread(value, samples, seeds, variance, sampling)
    if estimate.error < 1e-12:  # rounding
        reasons.append(f"no interval of {name}: the same in all resamples")
        return None
    return estimate


def _seed_variance(found: list[np.ndarray], seeds: int, explained: float) -> float:
    """What the seeds add to the variance of a delta; 0 with fewer than FEWEST_SEEDS. found: as in `_estimate`."""
    if seeds < FEWEST_SEEDS:
        return 0.0
    return intervals.seed_variance_of_samples(found[2], found[3].reshape(seeds, -1), explained)


def _p(metric: Estimate, found: list[Deltas], seeds: int, sampling: Sampling) -> float:
    """Whether BD-metric differs from 0. metric: its estimate, of the deltas `found`."""
    variance = _seed_variance([each.metric for each in found], seeds, EXPLAINED_BY_P)
    return intervals.p_value(dataclasses.replace(metric, seed_error=math.sqrt(variance)), sampling)


def _columns(found: Deltas, metric: Estimate | None, rate: Estimate | None, of: Metric) -> Row:
    """The columns of one pair's deltas, the first of `found`, and of their intervals. of: the primary metric."""
    names = ("overlap_low", "overlap_high", "rate_low", "rate_high")
    row = {name: float(getattr(found, name)[0]) for name in names}
    ends = sorted(row[name] * of.sign * (100 / of.scale) for name in names[:2])
    row |= dict(zip(names, ends, strict=False))
    row |= {"bd_metric": 100 * float(found.metric[0]), "bd_rate": 100 * float(np.expm1(found.log_rate[0]))}
    for end in ("low", "high"):
        row[f"bd_metric_{end}"] = 100 * getattr(metric.interval, end) if metric else math.nan
        row[f"bd_rate_{end}"] = 100 * float(np.expm1(getattr(rate.interval, end))) if rate else math.nan
    return {name: None if math.isnan(value) else value for name, value in row.items()}


def _ahead(row: Row) -> str:
    """The codec with more of the metric at equal rate; "" if that is not what both intervals allow."""
    if row["bd_metric_low"] > 0 and (row["bd_rate_low"] is None or row["bd_rate_low"] < 0):
        return str(row["codec_b"])
    if row["bd_metric_high"] < 0 and (row["bd_rate_high"] is None or row["bd_rate_high"] > 0):
        return str(row["codec_a"])
    return ""
