"""One look for all figures: colours that colour-blind readers can tell apart, files that are the same every time."""

from __future__ import annotations

import contextlib
import textwrap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from lossybench.artifacts import publish

INK = "#222222"
FAINT = "#767676"  # 4.5:1 on white, so that small text stays readable


class Look(NamedTuple):
    """How one codec or architecture is drawn everywhere."""

    colour: str
    marker: str


# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/) without its yellow, which is too faint for lines. Every
# colour comes with a marker, so that no figure depends on colour alone.
_LOOKS = (
    Look("#D55E00", "o"),
    Look("#0072B2", "s"),
    Look("#009E73", "^"),
    Look("#CC79A7", "D"),
    Look("#56B4E9", "v"),
    Look("#E69F00", "P"),
)
_CODECS = {
    "jpeg": _LOOKS[0],
    "jpeg2000": _LOOKS[1],
    "webp": _LOOKS[2],
    "h264": _LOOKS[3],
    "hevc": _LOOKS[4],
    "mp3": _LOOKS[0],
    "opus": _LOOKS[1],
}
# Never without the verdict's symbol or word beside them.
VERDICT_COLOURS = {"acceptable": "#BFE0F5", "inconclusive": "#E8E8E8", "unacceptable": "#F7CDB5"}

_RC: dict[Any, Any] = {
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 9,
    "figure.titlesize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "lossybench",  # ids inside the SVG would differ from run to run otherwise
}


def codec_look(codec: str) -> Look:
    """A codec's colour and marker: the same in every figure of every study, whatever other codecs it has."""
    return _CODECS.get(codec) or _LOOKS[zlib.crc32(codec.encode()) % len(_LOOKS)]


def look(index: int) -> Look:
    """The colour and marker of the index-th of any other series, e.g. architectures."""
    return _LOOKS[index % len(_LOOKS)]


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Figures drawn and saved inside have the shared style; matplotlib's own settings come back afterwards.

    Figures are made as `Figure` objects, never through pyplot: no window system and no global state are touched.
    """
    with matplotlib.rc_context(_RC):
        yield


def title(figure: Figure, text: str) -> None:
    """Set the figure's title, its lines broken where they would not fit its width."""
    fit = int(11 * figure.get_figwidth())  # characters of this size an inch, on the safe side
    figure.suptitle("\n".join(part for line in text.splitlines() for part in textwrap.wrap(line, fit)))


def save(figure: Figure, *paths: Path) -> list[Path]:
    """Write the figure to each path, atomically and without dates; return the paths."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not again for each format
    for path in paths:
        undated = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        with publish(path) as aside:
            figure.savefig(aside, metadata=undated)
    return list(paths)
