"""Codec round trips: one file a codec; shared parts start with an underscore."""

from lossybench.codecs._variants import files, made, modules
from lossybench.codecs.codec import Codec, Encoded, Medium, codec_class, get, names

__all__ = ["Codec", "Encoded", "Medium", "codec_class", "files", "get", "made", "modules", "names"]
