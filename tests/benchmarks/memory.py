"""Does memory stay flat as data grow? Peak of each stage's process for 1,000 and for 100,000 images.

Run `python tests/benchmarks/memory.py [FEW MANY]`, with other numbers of images if given; it takes a quarter of an hour
and about 1 GB of disk, and prints the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = (1_000, 100_000)
ALLOWED = 1.1  # times the memory for a hundred times the images


def peak(*arguments: object) -> float:
    """Runs a subcommand of lossybench; the largest resident size it came to, in MB."""
    command = [sys.executable, "-m", "lossybench", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            said.seek(0)
            sys.exit(f"{' '.join(command)}\n{said.read().decode()[-2000:]}")
    return used.ru_maxrss / 1024


def stages(folder: Path, count: int) -> dict[str, float]:
    """Peaks of all stages on so many images to train on, and as many to test on."""
    options = json.dumps({"train": count, "val": 100, "test": count, "size": 32})
    data, model = folder / "data.parquet", folder / "model"
    train, lossless, lossy = folder / "train.parquet", folder / "lossless.parquet", folder / "lossy.parquet"
    outcomes = [folder / "original.parquet", folder / "jpeg.parquet"]
    compress, tests = ("compress", "--data", data, "--codec"), (lossless, lossy)
    learn = ("train", "--data", data, "--compressed", train, "--task", "digits", "--arch", "resnet")
    asked = ("evaluate", "--model", model, "--data", data)
    tried = json.dumps({"training": {"resnet": {"epochs": 1}}, "codecs": {"jpeg": {"levels": [50], "options": {}}}})
    attacked = json.dumps({"items": 8, "attacks": {"pgd": ["8/255"]}, "steps": 2, "seed": 0, "levels": []})
    judged = json.dumps({"deltas": [2], "defence_margin": 5, "bootstrap": 200, "seed": 0})
    attack = ("attack", "--model", model, "--data", data, "--compressed", lossless, "--codec", "original")
    found = {
        "fetch": peak("fetch", "--adapter", "digits", "--options", options, "--task", "digits", "--out", data),
        "preflight": peak("preflight", "--data", data, "--task", "digits", "--settings", tried, "--out", folder / "p"),
        "compress": peak(*compress, "jpeg", "--levels", 50, 10, "--out", lossy, folder / "ten.parquet"),
        "compress, train part": peak(*compress, "original", "--levels", 0, "--part", "train", "--out", train),
    }
    peak(*compress, "original", "--levels", 0, "--out", lossless)
    found["train"] = peak(*learn, "--regime", "original", "--settings", '{"epochs": 1}', "--out", model)
    for test, out in zip(tests, outcomes, strict=True):
        found["evaluate"] = peak(*asked, "--compressed", test, "--out", out)
    found["attack"] = peak(*attack, "--settings", attacked, "--out", folder / "attacks.parquet")
    found["aggregate"] = peak(
        *("aggregate", "--data", data, "--compressed", *tests, "--outcomes", *outcomes),
        *("--settings", judged, "--out", folder / "summary"),
    )
    return found


def main() -> int:
    """Prints the table; 1 when a stage needs more than is allowed."""
    found = []
    counts = tuple(map(int, sys.argv[1:3])) or COUNTS
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            found.append(stages(Path(folder), count))
    print(f"{'':22}" + "".join(f"{count:>10,}" for count in counts) + f"{'ratio':>8}   (MB)")
    for name in found[0]:
        few, many = (one[name] for one in found)
        print(f"{name:22}{few:10.0f}{many:10.0f}{many / few:8.2f}")
    return int(any(found[1][name] > ALLOWED * found[0][name] for name in found[0]))


if __name__ == "__main__":
    sys.exit(main())
