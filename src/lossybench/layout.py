"""The places of all results: each path is spelt here alone, for the package and for the rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from lossybench.conditions import Condition, Model, level_text
from lossybench.errors import LossyBenchError
from lossybench.models import HISTORY, INFO, WEIGHTS

Part = Literal["train", "test"]  # "train" holds the splits train and val
_MODEL = ("task", "arch", "regime", "seed", "fold")
# For each kind of table, what the parts of a path below the folder of the kind stand for. The last is `PART.parquet`.
# Seed and fold are one part: see `Model.parts`.
TABLES = {
    "data": ("task",),
    "compressed": ("task", "codec", "level", "part"),
    "outcomes": (*_MODEL, "codec"),
    "attacks": (*_MODEL, "codec"),
    "summary": ("task", "table"),
    "timings": ("task", "codec"),
}
REPORTS = {"page": "index.html", "text": "recommendations.md", "costs_table": "costs.csv"}


class Layout:
    """The paths below a results folder. Every argument may also be a wildcard of Snakemake, such as "{task}".

    root: the results folder. Where a large study asks for 100,000 paths, texts are joined, which is twice as fast.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def tables(self, kind: str) -> list[tuple[tuple[str, ...], Path]]:
        """The tables of a kind that are there, each after the parts of its path, the same in every look that was taken.

        Hidden ones are still being written. Raises LossyBenchError as `looks` does.
        """
        taken, found = self.looks(), []
        for look in range(1, 1 + max((look for look, _ in taken.values()), default=1)):
            root, of_models = self.at(look).root / kind, "seed" in TABLES[kind]
            for path in sorted(root.glob("/".join("*" * (len(TABLES[kind]) - of_models)) + ".parquet")):
                parts = path.relative_to(root).with_suffix("").parts
                if of_models:
                    seed, _, fold = parts[3].partition("_fold")
                    parts = (*parts[:3], seed, fold or "0", *parts[4:])
                if path.name[0] != "." and look <= taken.get(parts[0], (1, []))[0]:
                    found.append((parts, path))
        return sorted(found, key=lambda pair: pair[0])

    def at(self, look: int | str) -> Layout:
        """The places of what is made of the test items that a look adds: a folder of its own from the second look on.

        look: its number, from 1 on, or a wildcard that stands for "" or for "/look2" and so on.
        """
        if isinstance(look, str):
            return Layout(f"{self.root}{look}")
        return Layout(self.root / f"look{look}") if look > 1 else self

    @staticmethod
    def number(look: str) -> int:
        """The number of a look, of the part of a path that stands for it: 1 for "", 2 for "/look2"."""
        return int(look.removeprefix("/look") or 1)

    @property
    def run(self) -> Path:
        """The record of the last run that had anything to do (lossybench.runs)."""
        return self.root / "logs" / "run.json"

    @property
    def dag(self) -> Path:
        """The page on that run (lossybench.reporting.dag)."""
        return self.root / "logs" / "dag.html"

    @property
    def state(self) -> Path:
        """What `lossybench more` has decided: {task: {look: the present one, looks: those planned}}."""
        return self.root / "looks.json"

    def looks(self) -> dict[str, tuple[int, list[int]]]:
        """For each task that has gone beyond its first look, the present look and the looks that were planned.

        Raises LossyBenchError for a file that `lossybench more` has not written.
        """
        try:
            stored = json.loads(self.state.read_bytes())
            return {task: (int(of["look"]), list(map(int, of["looks"]))) for task, of in stored.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise LossyBenchError(
                f"{self.state}: is not as `lossybench more` writes it ({error}); restore it, or delete it and all "
                f"folders look* beside it"
            ) from None

    def tasks_of(self, paths: Iterable[Path]) -> str:
        """A regular expression for the task in a path, which matches in these `paths` of a kind of table alone.

        A rule whose wildcard `task` is constrained by it makes no other path, so that no rule is ever asked for what
        the study lacks. It is a tree of the paths' parts, for there may be thousands of them.
        """
        below: dict[str, Any] = {}
        for path in paths:
            at = below
            for part in path.relative_to(self.root).parts[1:]:
                at = at.setdefault(part, {})
        known = [f"{task}(?=/{_either(rest)}$)" for task, rest in below.items()]
        return "|".join(known) or "(?!)"  # which matches nothing

    def data(self, task: str) -> Path:
        """The table of the task's items (artifacts.DATA)."""
        return self.root / "data" / f"{task}.parquet"

    def index(self, task: str) -> Path:
        """The index of the user's files that the items are read from (lossybench.sources)."""
        return self.root / "index" / f"{task}.parquet"

    def preflight(self, task: str, form: Literal["json", "cleared"]) -> Path:
        """What the preflight of a task measured, as `json`, or the mark that the task is cleared for compression."""
        return self.root / "preflight" / f"{task}.{form}"

    def compressed(self, task: str, condition: Condition, part: Part) -> Path:
        """The bitstreams (artifacts.COMPRESSED) of one part of the items at one condition."""
        return Path(f"{self.root}/compressed/{task}/{condition}/{part}.parquet")

    def decoded(self) -> Path:
        """The folder of decoded media that training jobs share (lossybench.decoded), which a finished run removes."""
        return self.root / ".decoded"

    def learned(self, task: str, codec: str) -> Path:
        """The folder with the weights of a codec that learns, one file for each level."""
        return self.root / "learned" / task / codec

    def weights(self, task: str, codec: str, level: float | str) -> Path:
        """The weights of a codec that learns at one level, which may also be a wildcard."""
        told = level if isinstance(level, str) else level_text(level)
        return self.learned(task, codec) / f"{told}.safetensors"

    def timing(self, task: str, codec: str) -> Path:
        """What a codec takes of a processor's time on a task's items (artifacts.TIMINGS)."""
        return self.root / "timings" / task / f"{codec}.parquet"

    def model(self, model: Model) -> Path:
        """The folder of a model."""
        return self._of_model("models", model)

    def model_files(self, model: Model) -> list[Path]:
        """The files in the folder of a model."""
        return [self.model(model) / name for name in (WEIGHTS, INFO, HISTORY)]

    def outcomes(self, model: Model, codec: str) -> Path:
        """The outcomes of a model on all levels of a codec (the `schema` of the kind of task)."""
        return self._of_model("outcomes", model) / f"{codec}.parquet"

    def evaluated(self, task: str, codec: str) -> Path:
        """The record of what the outcomes of a task's models on a codec were made from (see stage evaluate)."""
        return self.root / "evaluated" / task / f"{codec}.json"

    def attacks(self, model: Model, codec: str) -> Path:
        """The attacks on a model through a codec, with outcomes (artifacts.ATTACKS or DETECTION_ATTACKS)."""
        return self._of_model("attacks", model) / f"{codec}.parquet"

    def summary(self, task: str, table: str = "", form: str = "parquet") -> Path:
        """The folder of a task's summary tables, or one table as `form` parquet or csv."""
        folder = self.root / "summary" / task
        return folder / f"{table}.{form}" if table else folder

    def figure(self, task: str, name: str, form: str = "png") -> Path:
        """The figure `name` of a task, as `form` png or svg."""
        return self.root / "figures" / task / f"{name}.{form}"

    def samples(self, task: str) -> Path:
        """What the page shows and plays of a task's items, behind each codec at each level."""
        return self.root / "samples" / f"{task}.json"

    def report(self, name: str) -> Path:
        """The report `name` of `REPORTS`, which is about all tasks."""
        return self.root / REPORTS[name]

    def log(self, *job: str) -> Path:
        """The file of what a job printed. job: its rule, then what tells the job from the rule's others."""
        return self.root.joinpath("logs", *job[:-1], f"{job[-1]}.log")

    def benchmark(self, *job: str) -> Path:
        """The file of the time and memory that a job took. job: as for `log`."""
        return self.root.joinpath("benchmarks", *job[:-1], f"{job[-1]}.tsv")

    def _of_model(self, kind: str, model: Model) -> Path:
        return Path(f"{self.root}/{kind}/{'/'.join(model.parts)}")


def _either(below: dict[str, Any]) -> str:
    """A regular expression for all paths in a tree of {part: what follows it}."""
    each = (f"{re.escape(part)}/{_either(rest)}" if rest else re.escape(part) for part, rest in below.items())
    return f"(?:{'|'.join(each)})"
