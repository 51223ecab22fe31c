"""Does memory stay flat as data grow? Peak of each stage's process for 1,000 and for 10,000 images.

Run `python tests/benchmarks/memory.py`; it takes some minutes and about 300 MB of disk, and prints the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COUNTS = (1_000, 10_000)
ALLOWED = 1.2  # times the memory for ten times the images


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
    options = json.dumps({"train": count, "val": 100, "test": count, "size": 48})
    data, model = folder / "data.parquet", folder / "model"
    train, test = folder / "train.parquet", folder / "test.parquet"
    compress = ("compress", "--data", data, "--codec")
    learn = ("train", "--data", data, "--compressed", train, "--task", "digits", "--arch", "resnet")
    return {
        "fetch": peak("fetch", "--adapter", "digits", "--options", options, "--task", "digits", "--out", data),
        "compress": peak(*compress, "jpeg", "--levels", 50, "--part", "test", "--out", test),
        "compress, train part": peak(*compress, "original", "--levels", 0, "--part", "train", "--out", train),
        "train": peak(*learn, "--regime", "original", "--settings", '{"epochs": 1}', "--out", model),
        "evaluate": peak("evaluate", "--model", model, "--data", data, "--compressed", test, "--out", folder / "o"),
    }


def main() -> int:
    """Prints the table; 1 when a stage needs more than is allowed."""
    found = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            found.append(stages(Path(folder), count))
    print(f"{'':22}" + "".join(f"{count:>10,}" for count in COUNTS) + f"{'ratio':>8}   (MB)")
    for name in found[0]:
        few, many = (one[name] for one in found)
        print(f"{name:22}{few:10.0f}{many:10.0f}{many / few:8.2f}")
    return int(any(found[1][name] > ALLOWED * found[0][name] for name in found[0]))


if __name__ == "__main__":
    sys.exit(main())
