"""What a study calls a codec: a codec's file with options, maybe with levels of another kind, or a chain of codecs.

A codec of a study has a name of its own, its identity in paths and tables. What it is made from are its options and its
`variant`, a dictionary that is empty where the name is that of the codec's file:

    codec: the codec's file, such as jpeg. parameter: what the levels are, if not the codec's own parameter: a value of
    its option `control`, such as crf, or one of TARGETS, a size that each item's file may have at most.
    chain: the steps of a chain (`_chain.Chain`), in place of codec and options: {step: a codec or a degradation, level:
    a number, or LEVEL for the chain's own level, options, variant}. generations: how often an item is coded.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from lossybench.codecs.codec import Codec, get, names
from lossybench.errors import LossyBenchError, nearest, shown

LEVEL = "LEVEL"
TARGETS = ("bytes", "bpp")  # bits per pixel: of a clip, of all pixels in its frames
_HERE = "lossybench.codecs"


def made(name: str, options: Mapping[str, Any] | None = None, variant: Mapping[str, Any] | None = None) -> Codec:
    """The codec that a study calls `name`.

    options: of the encoder. variant: see this module. Raises LossyBenchError for an unknown codec or option, or a value
    that it does not take.
    """
    variant = dict(variant or {})
    if "chain" in variant or "generations" in variant:
        # Not by name, so that the code behind chains and targets is part of the codecs that have one, and of no others.
        chain = importlib.import_module(f"{_HERE}._chain").Chain
        once = {"step": name, "level": LEVEL, "options": options or {}}
        return chain.of(variant.pop("chain", [once | {"variant": variant}] * variant.pop("generations", 1)))
    file, parameter, options = variant.get("codec", name), variant.get("parameter"), dict(options or {})
    if parameter in TARGETS:
        return importlib.import_module(f"{_HERE}._targets").Target(get(file, options), parameter)
    if parameter is None:
        return get(file, options)
    controls = get(file, options).controls
    if parameter not in controls:
        hint = nearest(parameter, [*controls, *TARGETS])
        raise LossyBenchError(f"codec {file!r}: unknown parameter {shown(parameter)}; {hint}")
    return get(file, options | {"control": parameter})


def files(name: str, variant: Mapping[str, Any] | None = None) -> list[str]:
    """The codecs, by their files' names, that the codec which a study calls `name` is made of. variant: see above.

    Of a chain they are in the order of its steps, degradations left out; of several generations each is named.
    """
    variant = variant or {}
    if "chain" in variant:
        each = (files(step["step"], step["variant"]) for step in variant["chain"])
        return [file for found in each for file in found if file in names()]
    return [variant.get("codec", name)] * variant.get("generations", 1)


def modules(name: str, variant: Mapping[str, Any] | None = None) -> list[str]:
    """The modules behind the codec that a study calls `name`, for fingerprints. variant: see above."""
    variant = variant or {}
    found = files(name, variant)
    found += ["_chain"] if variant.keys() & {"chain", "generations"} else []
    parameters = [one.get("parameter") for one in [variant, *(step["variant"] for step in variant.get("chain", []))]]
    found += ["_targets"] if set(TARGETS).intersection(filter(None, parameters)) else []
    return [f"{_HERE}.{module}" for module in dict.fromkeys(found)]
