"""What there is: the headline of a study, the config's schema, the public data sets, codecs and measures."""

from __future__ import annotations

from pathlib import Path


def headline(config: Path = Path("config.yaml"), /) -> str:
    """Print the limits of a finished study.

    Args:
        config: the study

    Raises:
        LossyBenchError: for a config that is wrong and for a summary that is missing.
    """
    from lossybench import study
    from lossybench.reporting import recommendations

    loaded = study.load(config)
    return recommendations.headline([loaded.layout.summary(task) for task in loaded.tasks])


def dag(results: Path = Path("results"), /) -> str:
    """Write the page on the last run: which jobs ran, by stage and codec, why, and what they took.

    Every run of Snakemake that had anything to do ends with that; this is for a run that was killed or still goes on.

    Args:
        results: the results folder

    Raises:
        LossyBenchError: for a folder in which no run is recorded.
    """
    from lossybench import runs
    from lossybench.layout import Layout
    from lossybench.reporting import dag

    layout = Layout(results)
    dag.write(runs.read(layout.root, layout.run), layout.dag)
    return str(layout.dag)


def schema() -> str:
    """Print the JSON schema of a study's config."""
    from lossybench import config

    return config.schema()


def datasets() -> str:
    """Print what is known of the public data sets: docs/datasets.md."""
    from lossybench.data import _cards

    return _cards.markdown()


def codecs() -> str:
    """List the codecs, their levels and the real encoders behind them."""
    from lossybench import codecs

    lines = []
    for name in codecs.names():
        codec = codecs.get(name)
        low, high = codec.bounds
        media, levels = "/".join(sorted(codec.media)), f"{codec.level_label(low)} to {codec.level_label(high)}"
        lines.append(f"{name:10} {media:17} {levels} ({codec.stronger} is stronger)  {codec.version()}")
    return "\n".join(lines)


def measures() -> str:
    """List the further measures of fidelity that a study may ask for, and the packages that compute them."""
    from lossybench import measures

    lines = []
    for name in measures.names():
        measure = measures.get(name)
        low, high = measure.bounds
        media = "/".join(sorted(measure.media))
        scale = f"{low:g} to {high:g}{' ' * bool(measure.unit)}{measure.unit} ({measure.better} is nearer)"
        lines.append(f"{name:12} {media:12} {scale}, from {measure.smallest}; pip install {measure.package}")
        lines.append(f"{'':12} {measure.source}")
    return "\n".join(lines)
