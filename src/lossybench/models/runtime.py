"""How torch runs in a job: one thread on the CPU, deterministic algorithms."""

from __future__ import annotations

import gc
import os

import torch

from lossybench.errors import LossyBenchError


def start(device: str = "auto") -> torch.device:
    """Set torch up and return the device to use: "cpu", "cuda", or "auto" (CUDA when there is one).

    On the CPU: one thread, since jobs run side by side and sums must not depend on the number of cores. On CUDA an
    operation without a deterministic kernel warns instead of failing. Raises LossyBenchError for "cuda" without one.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise LossyBenchError(f"device {device!r}: use auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise LossyBenchError("device 'cuda': torch sees no CUDA device; use 'cpu', or 'auto' to take what there is")
    cuda = device != "cpu" and torch.cuda.is_available()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by deterministic cuBLAS
    # Not use_deterministic_algorithms, which does the same but imports torch's compiler: 0.8 s of every job.
    torch.set_deterministic_debug_mode("warn" if cuda else "error")
    # Costs time, and nothing here reads such memory. (A property of the module object, which type checkers cannot see.)
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    gc.freeze()  # what is imported stays; looking for garbage in it takes a twentieth of training
    if not cuda:
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
    return torch.device("cuda" if cuda else "cpu")
