"""The command line: one subcommand a stage, each a thin call of the package. The workflow's rules call these.

Heavy modules are imported by the subcommand that needs them: a compress job never waits for torch.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from lossybench.errors import LossyBenchError


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error}): {text}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"not a JSON object: {text}")
    return value


def _fetch(a: argparse.Namespace) -> None:
    from lossybench import data, sources

    def check() -> None:
        if a.sources and a.index and a.index.exists():
            sources.check(a.adapter, a.options, a.index, a.sources)

    data.build(a.adapter, a.options, a.seed, a.out, a.task, a.scale, a.sources, check)


def _compress(a: argparse.Namespace) -> None:
    from lossybench.compression import compress

    compress(a.data, a.codec, a.options, a.level, a.part, a.out)


def _train(a: argparse.Namespace) -> None:
    from lossybench.training import train

    meta = {"task": a.task, "regime": a.regime}
    train(a.data, a.compressed, meta, a.arch, a.seed, a.settings, a.out, a.threads)


def _adopt(a: argparse.Namespace) -> None:
    from lossybench.models.existing import adopt

    adopt(a.data, a.task, a.arch, a.seed, a.settings, a.out)


def _evaluate(a: argparse.Namespace) -> None:
    from lossybench.evaluation import evaluate

    evaluate(a.model, a.data, a.compressed, a.out, threads=a.threads)


def _attack(a: argparse.Namespace) -> None:
    from lossybench.attacks.run import attack

    attack(a.model, a.data, a.compressed, a.codec, a.options, a.oblivious, a.settings, a.out, a.transfer, a.threads)


def _attack_speed(a: argparse.Namespace) -> None:
    from lossybench.attacks.speed import speed

    print(speed(a.model, a.data, a.codec, a.level, a.settings, a.threads))


def _speed(a: argparse.Namespace) -> None:
    from lossybench.speed import speed

    print(speed(a.model, a.data, a.train, a.test, a.settings, a.threads))


def _aggregate(a: argparse.Namespace) -> None:
    from lossybench.analysis.aggregate import aggregate

    aggregate(a.data, a.compressed, a.outcomes, a.attacks, a.settings, a.out)


def _figures(a: argparse.Namespace) -> None:
    from lossybench.report.figures import draw

    draw(a.summary, a.out)


def _contact_sheet(a: argparse.Namespace) -> None:
    from lossybench.report.contact_sheet import draw

    draw(a.data, a.compressed, a.out)


def _recommend(a: argparse.Namespace) -> None:
    from lossybench.report import attack_page, recommendations

    recommendations.write(a.summaries, a.out)
    recommendations.write_html(a.summaries, a.html)
    attack_page.write(a.summaries, a.attacks)


def _headline(a: argparse.Namespace) -> None:
    from lossybench import study
    from lossybench.report import recommendations

    loaded = study.load(a.config)
    print(recommendations.headline([loaded.summary(task) for task in loaded.tasks]))


def _plan(a: argparse.Namespace) -> None:
    from lossybench import plan, study

    loaded = study.load(a.config)
    print(plan.describe(loaded, a.cores), plan.table(loaded), sep="\n\n")


def _check(a: argparse.Namespace) -> None:
    from lossybench import check

    adapter = a.adapter or ("image_folder" if a.path else None)
    where = {"path": str(a.path)} if a.path else {}
    sys.exit(check.main(a.config, a.task, adapter, {**where, **a.options}, a.out, a.seed))


def _rates(a: argparse.Namespace) -> None:
    from lossybench import rates

    rates.main(a.folder, a.codec, a.levels, a.options, a.medium, a.out)


def _schema(a: argparse.Namespace) -> None:
    from lossybench import study

    sys.stdout.write(study.schema())


def _datasets(a: argparse.Namespace) -> None:
    from lossybench.data import _cards

    print(_cards.markdown())


def _codecs(a: argparse.Namespace) -> None:
    from lossybench import codecs

    for name in codecs.names():
        codec = codecs.get(name)
        low, high = codec.bounds
        print(
            f"{name:10} {'/'.join(sorted(codec.media)):17} {codec.level_label(low)} to {codec.level_label(high)} "
            f"({codec.stronger} is stronger)  {codec.version()}"
        )


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="lossybench",
        description="How far may media be compressed before a model suffers? One subcommand a stage of the study.",
        epilog="`snakemake --cores all` runs all stages of config.yaml in order and only what is out of date.",
    )
    stages = top.add_subparsers(dest="stage", required=True, metavar="STAGE")

    def stage(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        one = stages.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(run=run)
        return one

    def path(one: argparse.ArgumentParser, flag: str, text: str, **more: Any) -> None:
        one.add_argument(flag, type=Path, required=more.pop("required", True), metavar="PATH", help=text, **more)

    def options(one: argparse.ArgumentParser, flag: str, text: str) -> None:
        one.add_argument(flag, type=_json, default={}, metavar="JSON", help=text)

    one = stage("fetch", _fetch, "read or generate a data set into one lossless table")
    one.add_argument("--adapter", required=True, help="data set family, a module of lossybench.data")
    one.add_argument("--task", required=True, help="the task's name")
    one.add_argument("--seed", type=int, default=0, help="seed of what is generated and of splits (default 0)")
    options(one, "--options", "the adapter's options")
    options(one, "--scale", "resize, crop and interpolation of pictures; none: their own size")
    one.add_argument("--sources", default="", metavar="DIGEST", help="hash of the user's files, kept with the table")
    path(one, "--index", "index of these files: stop when they are no longer those", required=False)
    path(one, "--out", "table to write")

    one = stage("compress", _compress, "encode one split through one codec at one level")
    path(one, "--data", "table made by fetch")
    one.add_argument("--codec", required=True, help="codec name; `lossybench codecs` lists them")
    one.add_argument("--level", type=float, required=True, help="the codec's strength parameter")
    one.add_argument(
        "--part", choices=["train", "test"], default="test", help="train: splits train and val; test: test"
    )
    options(one, "--options", "encoder options")
    path(one, "--out", "table to write")

    one = stage("train", _train, "train one model on originals or on compressed media")
    path(one, "--data", "table made by fetch")
    path(one, "--compressed", "train parts to draw from: one, or several for mixed training", nargs="+")
    one.add_argument("--task", required=True, help="the task's name")
    one.add_argument("--arch", required=True, help="architecture, e.g. resnet or torchvision/resnet18")
    one.add_argument("--regime", required=True, help="name of what it is trained on: original, mixed, adversarial, ...")
    one.add_argument("--seed", type=int, default=0, help="seed of weights and batches (default 0)")
    options(one, "--settings", "training settings")
    one.add_argument("--threads", type=int, default=1, help="CPU threads to prepare media with; changes no result")
    path(one, "--out", "folder to write")

    one = stage("adopt", _adopt, "take over a model that exists already, in place of training one")
    path(one, "--data", "table made by fetch")
    one.add_argument("--task", required=True, help="the task's name")
    one.add_argument("--arch", required=True, help="the model's name, or torchvision/NAME for published weights")
    one.add_argument("--seed", type=int, default=0, help="number under which it is filed (default 0)")
    options(one, "--settings", "checkpoint, class, classes, input_size, normalise and so on")
    path(one, "--out", "folder to write")

    one = stage("evaluate", _evaluate, "test one model on all levels of one codec, item by item")
    path(one, "--model", "folder made by train or adopt")
    path(one, "--data", "table made by fetch")
    path(one, "--compressed", "test parts, one a level", nargs="+")
    one.add_argument("--threads", type=int, default=1, help="CPU threads to prepare media with; changes no result")
    path(one, "--out", "table to write")

    one = stage("attack", _attack, "attack one model, bare or through one codec")
    path(one, "--model", "folder made by train or adopt")
    path(one, "--data", "table made by fetch")
    path(one, "--compressed", "the codec's test parts, one a level", nargs="+")
    one.add_argument("--codec", required=True, help="codec in front of the model; original for none")
    options(one, "--options", "encoder options")
    path(one, "--oblivious", "attacks on the bare model (the table of --codec original)", required=False)
    path(one, "--transfer", "models whose items the bare model shall meet", nargs="*", required=False, default=[])
    options(one, "--settings", "attack settings")
    one.add_argument("--threads", type=int, default=1, help="codec round trips at a time; changes no result")
    path(one, "--out", "table to write")

    one = stage("attack-speed", _attack_speed, "time attacks on one model against its bare passes")
    path(one, "--model", "folder made by train or adopt")
    path(one, "--data", "table made by fetch")
    one.add_argument("--codec", required=True, help="codec to attack through")
    one.add_argument("--level", type=float, required=True, help="its level")
    options(one, "--settings", "attack settings")
    one.add_argument("--threads", type=int, default=1, help="codec round trips at a time")

    one = stage("speed", _speed, "time training, evaluation and PGD of one classifier, and how long its device waits")
    path(one, "--model", "folder made by train")
    path(one, "--data", "table made by fetch")
    path(one, "--train", "train parts to train on", nargs="+")
    path(one, "--test", "test part to evaluate on")
    options(one, "--settings", "attack settings")
    one.add_argument("--threads", type=int, default=1, help="CPU threads to prepare media with")

    one = stage("aggregate", _aggregate, "turn a task's outcomes into metrics, intervals, limits and attack tables")
    path(one, "--data", "table made by fetch")
    path(one, "--compressed", "all test parts", nargs="+")
    path(one, "--outcomes", "all tables made by evaluate", nargs="+")
    path(one, "--attacks", "all tables made by attack", nargs="*", required=False, default=[])
    options(one, "--settings", "deltas (points), bootstrap (resamples), seed")
    path(one, "--out", "folder to write")

    one = stage("figures", _figures, "draw a task's figures from its summary tables")
    path(one, "--summary", "folder made by aggregate")
    path(one, "--out", "folder to write")

    one = stage("contact-sheet", _contact_sheet, "show what each codec does to sample items at each level")
    path(one, "--data", "table made by fetch")
    path(one, "--compressed", "all test parts", nargs="+")
    path(one, "--out", "PNG to write")

    one = stage("recommend", _recommend, "write recommendations, the table of limits and the page on attacks")
    path(one, "--summaries", "folders made by aggregate", nargs="+")
    path(one, "--out", "Markdown to write")
    path(one, "--html", "HTML table to write")
    path(one, "--attacks", "HTML page to write")

    one = stage("headline", _headline, "print a finished study's limits")
    one.add_argument(
        "config", type=Path, nargs="?", default=Path("config.yaml"), help="the study (default config.yaml)"
    )

    one = stage("plan", _plan, "say what a study will do, about how long it takes and what it stores")
    one.add_argument(
        "config", type=Path, nargs="?", default=Path("config.yaml"), help="the study (default config.yaml)"
    )
    one.add_argument("--cores", type=int, default=1, help="CPU cores (default 1)")

    one = stage("check", _check, "say what is in a data set, what is wrong with it and what it costs to compress")
    one.add_argument("config", type=Path, nargs="?", help="the study whose data to check (default config.yaml)")
    one.add_argument("--task", help="this task alone (default all of the study)")
    one.add_argument("--adapter", help="check this data set family instead of a study's (default image_folder)")
    path(one, "--path", "the adapter's option `path`: check this folder", required=False)
    options(one, "--options", "the adapter's other options")
    one.add_argument("--seed", type=int, default=0, help="seed of splits and of the sample (default 0)")
    path(one, "--out", "JSON to write, with all findings", required=False)

    one = stage("rates", _rates, "say what rate and fidelity a codec gives the files of a folder; no model is needed")
    one.add_argument("folder", type=Path, help="all files of the medium below it are taken")
    one.add_argument("--codec", required=True, help="the codec; `lossybench codecs` lists them")
    one.add_argument("--levels", type=float, nargs="+", required=True, metavar="LEVEL", help="its levels")
    options(one, "--options", "encoder options")
    one.add_argument(
        "--medium", choices=("image", "audio", "video"), default="image", help="what to take (default image)"
    )
    path(one, "--out", "CSV to write", required=False)

    stage("schema", _schema, "print the JSON schema of a study's config")
    stage("datasets", _datasets, "print what is known of the public data sets: docs/datasets.md")
    stage("codecs", _codecs, "list the codecs, their levels and the real encoders behind them")
    return top


def main(argv: list[str] | None = None) -> None:
    """Run one stage. A LossyBenchError is printed as one line; the exit status is 2 then."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    arguments = parser().parse_args(argv)
    if os.environ.get("LOSSYBENCH_END_WITH_PARENT"):
        _end_with_parent()
    try:
        arguments.run(arguments)
    except LossyBenchError as error:
        sys.exit(_complain(error))


def _end_with_parent() -> None:
    """Be sent SIGTERM when the parent dies: a job without its Snakemake would go on and write what nobody waits for.

    Linux only; elsewhere such a job has to be ended by hand.
    """
    if sys.platform == "linux":
        parent, set_death_signal = os.getppid(), 1
        ctypes.CDLL(None, use_errno=True).prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != parent:  # it died meanwhile
            sys.exit(128 + signal.SIGTERM)


def _complain(error: LossyBenchError) -> int:
    print(f"lossybench: error: {error}", file=sys.stderr)
    return 2
