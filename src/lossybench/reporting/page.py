"""The page `index.html`: the answer of a study, to look at, to ask and to take along: one file without network.

Templates hold its words, and page.js all that moves. This module hands them the summary tables as one block of JSON.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from lossybench.artifacts import publish
from lossybench.enough import FEWEST_GROUPS
from lossybench.errors import visible
from lossybench.reporting import advice, attack_page, costs, hurt, recommendations, style
from lossybench.reporting.summary import (
    REGIME_TITLES,
    WORST,
    Summary,
    amount,
    attack_size,
    over_seeds,
    percent,
    plural,
    points,
    where,
)
from lossybench.reporting.templating import environment

_TEMPLATES = Path(__file__).with_name("templates")
# Bytes of base64 that samples may take in all: what a page of up to ten tasks has beside its tables and its library,
# and of fifty; each task has an equal share.
_SAMPLES_OF_FEW, _SAMPLES_OF_MANY, _FEW_TASKS = 8_000_000, 20_000_000, 10
_SHAPES = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross"}
_SHAPES |= {">": "triangle-right", "<": "triangle-left", "X": "M-1,-1L1,1M-1,1L1,-1", "p": "wedge", "h": "arrow"}
# What verdicts are computed from in the browser is handed over bit by bit; other numbers to six digits.
_EXACT = {"lower", "upper", "joint", "above_chance", "delta", "level"}
_MODEL = ["arch", "regime"]
_AT = ["codec", "level"]
_VERSIONS = ("lossybench", "torch", "torchvision", "torchaudio", "av", "pillow", "numpy", "scikit-learn", "snakemake")


def write(summaries: list[Path], timings: list[Path], samples: list[Path], study: Mapping[str, Any], out: Path) -> None:
    """Write the page.

    summaries: a folder of tables per task; of one that lacks a table the page says so. timings: tables of
    artifacts.TIMINGS. samples: what `contact_sheet.draw` kept of each task, in files named after it. study: config (the
    study's, as a dictionary) and, of a study that is not finished, left: {task: what is not there yet, in words}. out:
    the file, HTML. Timings and samples that are missing are left out, and the page says so. Raises LossyBenchError for
    a table that is damaged.
    """
    prices = study["config"]["prices"]
    timed = costs.timed([path for path in timings if path.exists()])
    kept = {path.stem: path for path in samples if path.exists()}
    share = _SAMPLES_OF_FEW if len(summaries) <= _FEW_TASKS else _SAMPLES_OF_MANY
    tasks = []
    for folder in summaries:
        if lacking := Summary(folder).lacking:
            left = study.get("left", {}).get(folder.name) or f"no summary: {', '.join(lacking)}"
            tasks.append({"name": folder.name, "missing": left})
            continue
        one = _visible(task(Summary(folder), timed.rows, prices))
        one["samples"] = _samples(kept.get(folder.name), share // len(summaries))
        tasks.append(one)
    whole = {"tasks": _packed(tasks), "regimes": REGIME_TITLES, "prices": prices}
    text = (
        _templates()
        .get_template("index.html.j2")
        .render(
            tasks=tasks,
            data=_json(whole),
            machines=timed.machines,
            prices=prices,
            seed=study["config"]["seed"],
            fewest=FEWEST_GROUPS,
            no_reference=recommendations.no_reference([one for one in map(Summary, summaries) if not one.lacking]),
            config=json.dumps(study["config"], indent=2, ensure_ascii=False),
            versions=_versions(),
            attacked=[one for one in tasks if one.get("attacks")],
            widest_gain=attack_page.WIDEST_GAIN,
        )
    )
    with publish(out) as aside:
        aside.write_text(text)


def task(tables: Summary, timed: pd.DataFrame, prices: Mapping[str, Any]) -> dict[str, Any]:
    """What the page knows of one task. timed: as of `costs.rows`."""
    looks = style.codec_looks(tables.codecs)
    limits = tables.limits
    references = limits.drop_duplicates([*_MODEL, "baseline"])[[*_MODEL, "baseline", *_REFERENCE]]
    references = references.assign(
        holds=[
            tables.models(arch=row["arch"], regime=row["regime"], baseline=row["baseline"])
            for _, row in references.iterrows()
        ],
        model=[_named(tables, row["arch"], row["regime"]) for _, row in references.iterrows()],
    )
    stops = limits[limits["stopped_at"].notna()]
    stops = stops.assign(why=[recommendations.lacking(tables, row) for _, row in stops.iterrows()])
    levels = costs.rows(tables, timed, dict(prices))
    return {
        "name": tables.task,
        "medium": tables.medium,
        "kind": tables.kind,
        "metric": tables.metric.title,
        "better": tables.metric.better,
        "points": tables.metric.points,
        "scale": tables.metric.scale,
        "metrics": {
            one.name: {"title": one.overall or one.title, "unit": one.unit, "scale": one.scale}
            for one in tables.all_of_metrics
        },
        "primary": tables.primary,
        "delta": tables.delta,
        "deltas": tables.deltas,
        "few": tables.few,
        "alpha": tables.alpha,
        "measures": {name: about["title"] for name, about in tables.meta.get("measures", {}).items()},
        "items": int(tables.differences["n"].max()),
        "lossless": tables.meta["lossless"],
        "unit": str(tables.conditions["rate_unit"].iloc[0]),
        "rate_of": tables.rate_of,
        "trained": tables.all_regimes,
        "count": f"{recommendations.items(tables):,} test items{recommendations.of_groups(tables)}",
        "best": tables.best_name if len(where(limits, baseline="best")) else "",
        "codecs": [
            {"name": codec, "title": tables.title(codec), "colour": looks[codec].colour}
            | {"shape": _SHAPES.get(looks[codec].marker, "circle")}
            for codec in tables.codecs
        ],
        "card": {name: str(told) for name, told in tables.meta.get("card", {}).items()},
        "warnings": recommendations.warnings(tables),
        "words": recommendations.in_words(tables),
        "conditions": _frame(tables.conditions.merge(levels[[*_AT, *_TIMES]], on=_AT, how="left"), _CONDITION),
        "differences": _frame(tables.differences, _DIFFERENCE),
        "overall": _frame(where(tables.metrics, seed=-1, **{"class": ""}), _OVERALL),
        "references": _frame(references),
        "stops": _frame(stops, [*_MODEL, "baseline", "codec", "delta", "stopped_at", "why"]),
        "costs": _frame(levels, [*_AT, "storage", "transfer", "cpu", "total"]),
        "bd": _frame(tables.bd),
        "gaps": _frame(tables.gaps),
        "advice": _frame(advice.advice(tables)),
        "hurt": list(hurt.hurt(tables)["text"]),
        "identification": _frame(tables.identification),
        "subgroups": _frame(where(tables.subgroups, judged=True)),
        "transfer": _frame(tables.transfer),
        "held_out": _frame(tables.held_out),
        "capture": _frame(tables.capture),
        "attacks": _attacks(tables),
    }


_REFERENCE = ["reference_arch", "reference", "reference_low", "reference_high", "chance", "above_chance", "seeds"]
_TIMES = ["encode_ms", "decode_ms", "encode_spread", "decode_spread"]
_CONDITION = [*_AT, "label", "strength", "rate", "ratio", "saving", "saving_lossless", "saving_source", "file_bytes"]
_CONDITION += ["psnr", "ssim", "snr", "si_sdr", "spectral_distance", "encoder", *_TIMES]
_DIFFERENCE = [*_MODEL, *_AT, "baseline", "value", "difference", "low", "high", "lower", "upper", "joint"]
_ATTACKED = [*_MODEL, *_AT, "strength", "attack", "norm", "epsilon", "goal", "tier", "main", "budget", "place"]
_ATTACKED += ["clean_after_shown", "robust_shown", "robust_after_low", "robust_after_high", "cost", "opened"]
_ATTACKED += ["gain", "gain_low", "gain_high", "triggered", "triggered_low", "triggered_high"]
_ATTACKED += ["tasr_after", "tasr_clean", "calls", "unreliable", "reason", "unchecked"]
_OVERALL = [*_MODEL, *_AT, "metric", "value", "low", "high"]


def _named(tables: Summary, arch: str, regime: str) -> str:
    """A model in words: "resnet, trained on originals"."""
    return f"{arch}, {tables.training(arch, regime) if regime in REGIME_TITLES else tables.all_regimes[regime]}"


def _attacks(tables: Summary) -> dict[str, Any] | None:
    """What the page knows of the attacks on a task; None where nothing was attacked."""
    if tables.attacks.empty:
        return None
    rows = over_seeds(tables.attacks)
    clean, clean_after, robust = tables.robust
    rows = rows.assign(clean_shown=rows[clean], clean_after_shown=rows[clean_after], robust_shown=rows[robust])
    rows["budget"] = [attack_size(*each, tables.medium) for each in zip(rows["norm"], rows["epsilon"], strict=True)]
    rows["place"] = [attack_page.condition(tables, *each) for each in zip(rows["codec"], rows["level"], strict=True)]
    worst = rows[rows["attack"] == WORST]
    return {
        "models": attack_page.verdicts(tables),
        "margin": 100 * tables.defence_margin,
        "scope": attack_page.scope(tables),
        "about": attack_page.about(tables),
        "settings": tables.attack_settings,
        "explained": [attack_page.explanation(tables, one) for one in tables.explained],
        "worst": _frame(worst, _ATTACKED),
        "each": _frame(rows[rows["attack"] != WORST], _ATTACKED),
        "gates": _frame(tables.gates, [*_MODEL, "seed", *_AT, "gate", "status", "note"]),
        "measure": tables.attacked_metric.title,
        "parts": plural(tables.attacked_unit) if tables.beats_parts else "",
        "bare": tables.robust[0] == "metric_clean",  # a measure that has no interval
    }


def _frame(rows: pd.DataFrame, names: list[str] | None = None) -> dict[str, list[Any]]:
    """The named columns of a table, each as a list that JSON can hold; what is no number becomes null."""
    return {name: [_value(one, name in _EXACT) for one in rows[name]] for name in (names or rows.columns)}


def _packed(content: Any) -> Any:
    """The same with each long list of few different values as {of: these, at: the place of each}, which is smaller."""
    if isinstance(content, dict):
        return {key: _packed(value) for key, value in content.items()}
    if not isinstance(content, list) or any(isinstance(one, dict | list) for one in content):
        return [_packed(one) for one in content] if isinstance(content, list) else content
    places: dict[Any, int] = {}
    at = [places.setdefault((type(one), one), len(places)) for one in content]
    return {"of": [one for _, one in places], "at": at} if 3 * len(places) < len(content) else content


def _value(value: Any, exact: bool) -> Any:
    if value is None or value is pd.NA:
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    number = float(value)
    if not math.isfinite(number):
        return None
    if number.is_integer() and abs(number) < 1e15:
        return int(number)
    return number if exact else float(f"{number:.6g}")


def _visible(content: Any) -> Any:
    """The same with all texts as they may be shown: without what would hide or turn around what stands beside it."""
    if isinstance(content, dict):
        return {_visible(key): _visible(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_visible(one) for one in content]
    return visible(content) if isinstance(content, str) else content


def _json(content: Any) -> Markup:
    """`content` as JSON in which no character could end the element of HTML that it stands in."""
    return Markup(json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _samples(path: Path | None, share: int) -> dict[str, Any]:
    """What a task's samples show, as far as its `share` of bytes reaches: codec by codec, one item after the other."""
    if path is None:
        return {"missing": "there are no samples", "cells": []}
    cells: list[dict[str, Any]] = []
    kept = json.loads(path.read_text())
    for _, each in itertools.groupby(kept["cells"], key=lambda cell: (cell["item"], cell["codec"])):
        of_codec = list(each)
        size = sum(len(cell["media"]) + len(cell.get("sound", "")) for cell in of_codec)
        if size <= share:
            share -= size
            cells += of_codec
    left = len(kept["cells"]) - len(cells)
    return {"missing": f"{left} samples are left out, for the size of this page" if left else "", "cells": cells}


def _templates() -> jinja2.Environment:
    """Where the templates are, with the numbers' formats and the files that they use."""
    found = environment(amount=amount, percent=percent, points=points, visible=visible, prose=_prose)
    found.globals["file"] = lambda name: Markup((_TEMPLATES / name).read_text())
    return found


def _prose(lines: list[str]) -> Markup:
    """The Markdown of `recommendations.in_words` as HTML: paragraphs, lists and what is bold; tables stand apart."""
    found = []
    said = [line for line in lines if not line.startswith("|")]
    for bullet, each in itertools.groupby(said, key=lambda line: line.startswith("- ")):
        tag, around = ("li", "<ul>{}</ul>") if bullet else ("p", "{}")
        made = [Markup(f"<{tag}>{{}}</{tag}>").format(_bold(line.removeprefix("- "))) for line in each]
        found.append(Markup(around).format(Markup().join(made)))
    return Markup().join(found)


def _bold(line: str) -> Markup:
    parts = line.split("**")
    return Markup().join(Markup("<strong>{}</strong>").format(one) if at % 2 else one for at, one in enumerate(parts))


def _versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in _VERSIONS}
