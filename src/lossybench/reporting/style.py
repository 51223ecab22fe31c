"""The look that all figures share: colours for colour-blind readers too, and files that are the same every time."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from lossybench.artifacts import publish

INK = "#222222"
FAINT = "#767676"  # 4.5:1 on white, so that small text stays readable


class Look(NamedTuple):
    """The look of a codec or architecture in every figure."""

    colour: str
    marker: str


# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/) without its yellow, which is too faint for lines. Every
# colour comes with a marker, so that no figure depends on colour alone.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_LOOKS = [Look(colour, marker) for colour, marker in zip(2 * _COLOURS, "os^DvPX<>phd", strict=True)]
_CODECS = {"jpeg": 0, "jpeg2000": 1, "webp": 2, "h264": 3, "hevc": 4, "avif": 5, "jpegxl": 6, "vp9": 7, "av1": 8}
_CODECS |= {"mp3": 0, "opus": 1, "aac": 2, "vorbis": 3, "g711": 4, "g722": 5, "amrnb": 6}
# A verdict's colour is never without the verdict's symbol or word beside it.
VERDICT_COLOURS = {"acceptable": "#BFE0F5", "inconclusive": "#E8E8E8", "unacceptable": "#F7CDB5"}
VERDICT_COLOURS |= {"acceptable here": "#DDEFF9", "no reference": "#F5EBC8"}

_RC: dict[Any, Any] = {
    **dict.fromkeys(("figure.dpi", "savefig.dpi"), 150),
    **dict.fromkeys(("font.size", "axes.labelsize", "legend.fontsize"), 9),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), 8.5),
    "axes.titlesize": 9.5,
    "figure.titlesize": 11.5,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("axes.grid", "axes.axisbelow"), True),
    "axes.edgecolor": FAINT,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "text.parse_math": False,  # a class may be named "$x^2$", and a name is no formula
    "svg.hashsalt": "lossybench",  # without it the ids inside an SVG would differ from run to run
}


def codec_looks(codecs: Sequence[str]) -> dict[str, Look]:
    """The colour and marker of each codec of a task, no two alike up to 36 codecs.

    Those of `_CODECS` look the same in every figure of every study. Others, such as a study's variants, take in their
    order what is free, a colour of their own as long as there is one.
    """
    found = {codec: look(_CODECS[codec]) for codec in codecs if codec in _CODECS}
    for codec in codecs:
        if codec not in found:
            free = [one for one in map(look, range(len(_LOOKS) ** 2)) if one not in found.values()]
            colours = {one.colour for one in found.values()}
            found[codec] = next((one for one in free if one.colour not in colours), (free or [look(0)])[0])
    return found


def look(index: int) -> Look:
    """The colour and marker of the index-th series: six colours, each first with a marker of its own."""
    count = len(_LOOKS)
    return Look(_LOOKS[index % count].colour, _LOOKS[(index + index // count) % count].marker)


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Give the shared style to the figures that are drawn and saved inside.

    Matplotlib's own settings come back afterwards. Figures are made as `Figure` objects, never through pyplot, so that
    neither a window system nor global state is touched.
    """
    with matplotlib.rc_context(_RC):
        yield


def title(figure: Figure, text: str) -> None:
    """Set the figure's title to `text`, whose lines are broken where they would not fit the figure's width."""
    fit = int(11 * figure.get_figwidth())  # characters of this size an inch, on the safe side
    figure.suptitle("\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, fit)))


def save(figure: Figure, *paths: Path) -> list[Path]:
    """Write the figure to each path, atomically and without dates. Returns the paths."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not again for each format
    for path in paths:
        undated = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with publish(path) as aside:
            figure.savefig(aside, metadata=undated)
    return list(paths)
