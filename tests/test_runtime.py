"""How torch runs: the device that is taken, and work done ahead by background threads."""

from __future__ import annotations

import logging
import threading
import time

import pytest
import torch

from lossybench import ahead
from lossybench.errors import LossyBenchError
from lossybench.models import runtime

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("device", "threads"), [(CPU, 1), (CPU, 4), (CUDA, 1), (CUDA, 3)])
def test_work_comes_in_order_whoever_does_it(device, threads):
    names = set()

    def work(number):
        names.add(threading.current_thread().name)
        time.sleep(0.01 * (number % 3 == 0))
        return number * number

    assert list(runtime.in_order(work, iter(range(40)), device, threads)) == [n * n for n in range(40)]
    assert len(names) <= threads and (threading.main_thread().name in names) == (device == CPU and threads == 1)
    assert list(runtime.in_order(work, [], device, threads)) == []


def test_work_is_done_while_the_caller_computes():
    """The second piece is begun before the first was taken, and only so many wait."""
    begun, second = [], threading.Event()

    def work(number):
        begun.append(number)
        if number == 1:
            second.set()
        return number

    made = runtime.in_order(work, range(100), CUDA, 1)
    assert next(made) == 0 and second.wait(10)
    made.close()
    assert len(begun) <= ahead.AHEAD + 1


@pytest.mark.parametrize("threads", [1, 3])
def test_what_work_raises_is_raised_in_its_turn(threads):
    made = runtime.in_order(lambda number: 1 // (3 - number), range(9), CPU, threads)
    assert [next(made) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_the_device_taken_is_said(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert runtime.start("auto") == CPU
    assert "CUDA_VISIBLE_DEVICES is 0, but torch sees no CUDA device" in caplog.text
    assert f"device: python {runtime.platform.python_version()}, torch {torch.__version__}, device cpu" in caplog.text
    caplog.clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert runtime.start("auto") == runtime.start("cpu") == CPU
    assert "CUDA_VISIBLE_DEVICES" not in caplog.text
    with pytest.raises(LossyBenchError, match="torch sees no CUDA device"):
        runtime.start("cuda")


def test_of_a_gpu_its_name_driver_and_libraries_are_recorded(monkeypatch, tmp_path):
    class About:
        name, major, minor, total_memory = "NVIDIA A100-SXM4-40GB", 8, 0, 40 * 2**30

    version = tmp_path / "version"
    version.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC 12\n"
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: About)
    monkeypatch.setattr(runtime, "DRIVER", version)
    found = runtime.environment(CUDA)
    assert {key: found[key] for key in ("device", "compute_capability", "memory_gb", "driver")} == {
        "device": "NVIDIA A100-SXM4-40GB",
        "compute_capability": "8.0",
        "memory_gb": 40.0,
        "driver": "550.54.15",
    }
    # The open kernel module says it in other words.
    version.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.129.03  Release Build  (x)\n")
    assert runtime.environment(CUDA)["driver"] == "535.129.03"
    version.unlink()
    assert runtime.environment(CUDA)["driver"] == "unknown"
    assert {"cuda", "cudnn", "torch", "python"} <= set(found)
