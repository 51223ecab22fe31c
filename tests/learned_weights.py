"""Weights of codecs that learn, for tests: small ones, trained within seconds on cuttings of photographs."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skimage import data

from lossybench import codecs

OPTIONS = {"steps": 150, "channels": 8}


def cuttings(count: int, seed: int, side: int = 48) -> np.ndarray:
    """Cuttings of photographs, uint8 (count, side, side, 3)."""
    draw, photos = np.random.default_rng(seed), [data.astronaut(), data.coffee(), data.rocket()]
    found = []
    for place in range(count):
        photo = photos[place % len(photos)]
        top, left = draw.integers(photo.shape[0] - side), draw.integers(photo.shape[1] - side)
        found.append(photo[top : top + side, left : left + side])
    return np.stack(found)


def trained(level: float, **options: Any) -> bytes:
    """The weights of one level, by one thread, as jobs have it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        codec = codecs.get("learned", OPTIONS | options)
        return codec.learn(cuttings(300, 0), cuttings(30, 1), level, lambda step, loss: None)
    finally:
        torch.set_num_threads(threads)


@functools.cache
def folder() -> str:
    """A folder with the weights of all levels, which goes with this process."""
    made = Path(tempfile.mkdtemp(prefix="lossybench_weights_"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    low, high = codecs.codec_class("learned").bounds
    for level in range(int(low), int(high) + 1):
        (made / f"{level}.safetensors").write_bytes(trained(level))
    return str(made)


def coder(name: str, options: dict[str, Any] | None = None) -> codecs.Codec:
    """The codec of that name, with weights where it needs some."""
    if codecs.codec_class(name).learns:
        options = OPTIONS | {"weights": folder()} | (options or {})
    return codecs.get(name, options)
