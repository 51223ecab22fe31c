"""What a study calls a codec: a codec's file with options, maybe with levels of another kind, or a chain of codecs.

A codec of a study has a name of its own, its identity in paths and tables. What it is made from are its options and its
`variant`, a dictionary that is empty where the name is that of the codec's file:

    codec: the codec's file, such as jpeg. parameter: what the levels are, if not the codec's own parameter.
    chain: the steps of a chain (see `_chain`), in place of codec and options. generations: how often an item is coded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossybench.codecs.codec import Codec, get

_HERE = "lossybench.codecs"


def made(name: str, options: Mapping[str, Any] | None = None, variant: Mapping[str, Any] | None = None) -> Codec:
    """The codec that a study calls `name`.

    options: of the encoder. variant: see this module. Raises LossyBenchError for an unknown codec or option, or a value
    that it does not take.
    """
    return get((variant or {}).get("codec", name), dict(options or {}))


def files(name: str, variant: Mapping[str, Any] | None = None) -> list[str]:
    """The codecs, by their files' names, that the codec which a study calls `name` is made of. variant: see above."""
    return [(variant or {}).get("codec", name)]


def modules(name: str, variant: Mapping[str, Any] | None = None) -> list[str]:
    """The modules behind the codec that a study calls `name`, for fingerprints. variant: see above."""
    return [f"{_HERE}.{file}" for file in files(name, variant)]
