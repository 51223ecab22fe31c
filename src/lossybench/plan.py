"""What a study will do, and about how long that takes, said before it starts."""

from __future__ import annotations

from lossybench.study import Study


def jobs(study: Study) -> dict[str, int]:
    """Jobs of a whole study from nothing, by rule; the same number that Snakemake counts."""
    stages = ("fetch", "compress", "train", "evaluate", "attack", "aggregate", "contact_sheet", "recommend")
    count = dict.fromkeys(stages, 0)
    for task in study.tasks:
        count["fetch"] += 1
        count["compress"] += len(study.all_compressed(task, "test")) + len(study.all_compressed(task, "train"))
        count["train"] += len(study.models(task))
        count["evaluate"] += len(study.all_outcomes(task))
        count["attack"] += len(study.all_attacks(task))
        count["aggregate"] += 1
        count[f"figures_{task}"] = 1
        count["contact_sheet"] += 1
    count["recommend"] = 1
    count["all"] = 1
    return count


def describe(study: Study, cores: int) -> str:
    """The plan in words."""
    return f"{sum(jobs(study).values())} jobs"
