"""What a study calls a codec: a codec's file with options, maybe with levels of another kind, or a chain of codecs.

A codec of a study has a name of its own, its identity in paths and tables. What it is made from are its options and its
`variant`, a dictionary that is empty where the name is that of the codec's file:

    codec: the codec's file, such as jpeg. parameter: what the levels are, if not the codec's own parameter: a value of
    its option `control`, such as crf, or one of TARGETS, a size that each item's file may have at most.
    chain: the steps of a chain (see `_chain`), in place of codec and options. generations: how often an item is coded.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lossybench.codecs.codec import Codec, get
from lossybench.errors import LossyBenchError, nearest, shown

TARGETS = ("bytes", "bpp")  # bits per pixel: of a clip, of all pixels in its frames
_HERE = "lossybench.codecs"


def made(name: str, options: Mapping[str, Any] | None = None, variant: Mapping[str, Any] | None = None) -> Codec:
    """The codec that a study calls `name`.

    options: of the encoder. variant: see this module. Raises LossyBenchError for an unknown codec or option, or a value
    that it does not take.
    """
    variant, options = dict(variant or {}), dict(options or {})
    file, parameter = variant.get("codec", name), variant.get("parameter")
    if parameter is None:
        return get(file, options)
    if parameter in TARGETS:
        # Not by name, so that the code behind targets is part of those codecs alone that have one.
        return importlib.import_module(f"{_HERE}._targets").Target(get(file, options), parameter)
    controls = get(file, options).controls
    if parameter not in controls:
        hint = nearest(parameter, [*controls, *TARGETS])
        raise LossyBenchError(f"codec {file!r}: unknown parameter {shown(parameter)}; {hint}")
    return get(file, options | {"control": parameter})


def files(name: str, variant: Mapping[str, Any] | None = None) -> list[str]:
    """The codecs, by their files' names, that the codec which a study calls `name` is made of. variant: see above."""
    return [(variant or {}).get("codec", name)]


def modules(name: str, variant: Mapping[str, Any] | None = None) -> list[str]:
    """The modules behind the codec that a study calls `name`, for fingerprints. variant: see above."""
    targets = [f"{_HERE}._targets"] if (variant or {}).get("parameter") in TARGETS else []
    return [f"{_HERE}.{file}" for file in files(name, variant)] + targets
