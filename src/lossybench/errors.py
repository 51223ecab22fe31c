"""The one exception that users are meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LossyBenchError(Exception):
    """Something the user can mend: names the file, key or item, what was wrong and what would be right.

    The command line prints its message without a traceback and exits with status 2.
    """


def nearest(wrong: str, right: Iterable[str]) -> str:
    """A hint naming the nearest of the `right` names to a misspelled one, and all of them."""
    known = sorted(right)
    match = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    hint = f"did you mean {match[0]!r}? " if match else ""
    return f"{hint}known: {', '.join(known)}"
