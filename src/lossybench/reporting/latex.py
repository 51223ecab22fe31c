"""Text and tables as LaTeX, whatever characters names have, and the sources that a text cites as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lossybench.errors import visible

# Braces become commands without any, because BibTeX counts escaped braces too.
_SPECIAL = {"\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}", "$": r"\$", "&": r"\&"}
_SPECIAL |= {"#": r"\#", "_": r"\_", "%": r"\%", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
_SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\`{}"}
_SPECIAL |= {"-": "-{}", "'": "'{}", "?": "?{}", "!": "!{}", ",": ",{}"}  # which make ligatures with each other
_SPECIAL |= {"−": "$-$", "×": r"$\times$", "≥": r"$\ge$", "≤": r"$\le$", "∞": r"$\infty$", "–": "--"}
_SPECIAL |= {"δ": r"$\delta$", "ε": r"$\varepsilon$", "σ": r"$\sigma$", "µ": r"$\mu$", "²": r"$^2$", "½": r"$\frac12$"}
_LIGATURES = re.compile(r"(?<=[-'?!,])\{\}(?![-'`,])")


class Tex(str):
    """A text that is LaTeX already."""


def escape(text: object) -> Tex:
    """A text as LaTeX that prints it, character by character; what a terminal would obey is escaped as elsewhere."""
    if isinstance(text, Tex):
        return text
    found = "".join(_SPECIAL.get(one, one) for one in visible(text))
    return Tex(_LIGATURES.sub("", found))


def fallbacks(text: str) -> Tex:
    r"""What makes pdfTeX print characters that its fonts lack by their numbers, such as U+4E2D.

    text: LaTeX, of which all characters beyond Latin are meant.
    """
    beyond = sorted({one for one in text if ord(one) > 0x17F})
    return Tex(
        "\n".join(rf"\DeclareUnicodeCharacter{{{ord(one):04X}}}{{\texttt{{U+{ord(one):04X}}}}}" for one in beyond)
    )


def table(
    name: str, caption: str, header: Sequence[str], rows: Iterable[Sequence[str | Tex]], right: Sequence[bool]
) -> Tex:
    """A table of booktabs that goes on over pages. right: which columns hold numbers."""
    head = " & ".join(escape(one) for one in header) + r" \\"
    lines = [
        rf"\begin{{longtable}}{{{''.join('r' if one else 'l' for one in right)}}}",
        rf"\caption{{{escape(caption)}}}\label{{tab:{name}}}\\",
        rf"\toprule {head} \midrule \endfirsthead",
        rf"\toprule {head} \midrule \endhead",
        r"\bottomrule \endlastfoot",
        *(" & ".join(map(escape, row)) + r" \\" for row in rows),
        r"\end{longtable}",
    ]
    return Tex("\n".join(lines) + "\n")


class Source(NamedTuple):
    """An entry of BibTeX. of: the parts of studies that it is the source of. text: the entry."""

    key: str
    of: frozenset[str]
    text: str


def sources() -> list[Source]:
    """The entries of references.bib."""
    found = []
    for block in re.split(r"\n(?=@)", Path(__file__).with_name("references.bib").read_text("utf-8"))[1:]:
        kind = re.match(r"@\w+\{(\w+),\n  of = \{([^}]*)\},\n", block)
        assert kind, block
        text = re.sub(r"\n  of = \{[^}]*\},", "", block.strip(), count=1)
        found.append(Source(kind[1], frozenset(re.split(r",\s*", kind[2])), text))
    return found


class Bibliography:
    """The sources that a text cites, gathered while it is written."""

    def __init__(self) -> None:
        self.known = sources()
        self.cited: dict[str, str] = {}

    def cite(self, *parts: str) -> Tex:
        """A citation of the sources of some parts of a study, after a space that does not break; "" where none is."""
        found = [source for source in self.known if source.of.intersection(parts)]
        self.cited |= {source.key: source.text for source in found}
        return Tex(rf"~\cite{{{','.join(source.key for source in found)}}}" if found else "")

    def add(self, key: str, **fields: str) -> None:
        """A source of the study's own, such as a data set, which `cite` cites by its key from then on."""
        lines = [f"  {name} = {{{escape(value)}}}," for name, value in fields.items() if value]
        self.known.append(Source(key, frozenset({key}), "\n".join([f"@misc{{{key},", *lines, "}"])))

    def text(self) -> str:
        """The file of the sources that were cited."""
        return "\n\n".join(self.cited[key] for key in sorted(self.cited)) + "\n"
