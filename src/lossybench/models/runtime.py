"""How torch runs in a job: on which device, how repeatably, and fed by which threads; and the record of that."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from lossybench import ahead
from lossybench.errors import LossyBenchError

DRIVER = Path("/proc/driver/nvidia/version")
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of mallopt(3)
AMPERE = 8  # compute capability from which a GPU computes in bfloat16

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_log = logging.getLogger(__name__)


def start(device: str = "auto", deterministic: bool = True) -> torch.device:
    """Set torch up, say in the log which device is used, and return that device.

    device: "cpu", "cuda", or "auto", which takes CUDA where there is one. On the CPU torch gets one thread, since jobs
    run side by side and sums must not depend on the number of cores; results always repeat bit for bit.
    deterministic: take CUDA kernels that repeat, and name in the log each operation that has none; False takes the
    fastest kernels. Raises LossyBenchError for another device, and for "cuda" where there is none.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise LossyBenchError(f"device {device!r}: use auto, cpu or cuda")
    found = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not found:
        raise LossyBenchError("device 'cuda': torch sees no CUDA device; use 'cpu', or 'auto' for what there is")
    chosen = torch.device("cuda" if found else "cpu")
    promised = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if device == "auto" and not found and promised not in ("", "-1"):
        _log.warning("CUDA_VISIBLE_DEVICES is %s, but torch sees no CUDA device; going on without one", promised)
    _log.info("device: %s", ", ".join(f"{key} {value}" for key, value in environment(chosen).items()))
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by deterministic cuBLAS
    # Not use_deterministic_algorithms, which does the same but imports torch's compiler: 0.8 s of every job.
    torch.set_deterministic_debug_mode(("warn" if deterministic else "default") if found else "error")
    torch.backends.cudnn.benchmark = not deterministic
    # Filling costs time, and nothing here reads such memory. (Type checkers do not know this property of the module.)
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    gc.freeze()  # what is imported stays: to look for garbage in it takes a twentieth of the time of training
    if not found:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
    return chosen


def hold_memory() -> None:
    """Have the C library keep what is freed for the next batch, in place of giving it back to the system each time.

    Of a 224-pixel ResNet-18's passes a sixth of the processor's time went to pages that came and went, of a small
    MobileNet's a third; the peak of memory rises by a twentieth. It is worth it where passes have no gradients:
    training gains a twentieth and takes a third more memory. Only glibc has such settings; elsewhere nothing changes.
    """
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        for parameter in (MMAP_THRESHOLD, TRIM_THRESHOLD):
            library.mallopt(parameter, 2**30)


def deterministic(info: Mapping[str, Any]) -> bool:
    """Whether `info`, the content of model.json, asks for repeatable kernels; it does where it says nothing of them."""
    return bool(info.get("settings", {}).get("deterministic", True))


def environment(device: torch.device) -> dict[str, Any]:
    """What results on `device` may depend on: versions, and the name, driver and libraries of a GPU."""
    found: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
    if device.type == "cpu":
        return found | {"device": f"cpu ({platform.machine()})"}
    about = torch.cuda.get_device_properties(device)
    return found | {
        "device": about.name,
        "compute_capability": f"{about.major}.{about.minor}",
        "memory_gb": round(about.total_memory / 2**30, 1),
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def _driver() -> str:
    """The version of the NVIDIA driver as the kernel tells it; "unknown" where it does not."""
    with contextlib.suppress(OSError):
        if said := re.search(r"\s(\d+(\.\d+)+)\s", DRIVER.read_text()):
            return said[1]
    return "unknown"


def mixed_precision(device: torch.device, wanted: bool) -> contextlib.AbstractContextManager[Any]:
    """A context in which torch's operations that tolerate it run in bfloat16, where `wanted` and `device` has it."""
    able = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= AMPERE
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and able)


def in_order(
    work: Callable[[_In], _Out], items: Iterable[_In], device: torch.device, threads: int = 1
) -> Iterator[_Out]:
    """The results of `work` on the `items`, in their order, made ahead in background threads while the caller computes.

    device: where the caller computes; on the CPU its own thread is one of the `threads`, so that 1 starts no other. The
    results do not depend on `threads`, as long as each depends on its item alone. Raises what `work` raises.
    """
    yield from ahead.in_order(work, items, threads if device.type == "cuda" else threads - 1)
