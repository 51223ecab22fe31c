"""How many edits lie between answers and true texts, in characters and in words.

An error rate is the least number of substitutions, insertions and deletions that turn answers into true texts
(Levenshtein 1966), over the length of the true texts, all items together: long texts count for more than short ones. It
exceeds 1 where more is read than is there. Each run of white space counts as one space; case and punctuation count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def counted(truths: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """Of each item (n, 5): edits and length in characters, edits and length in words, and 1 where both are the same.

    truths, answers: (n,), a text of each item.
    """
    from rapidfuzz.distance import Levenshtein

    found = np.empty((len(truths), 5))
    for place, (truth, answer) in enumerate(zip(truths, answers, strict=True)):
        true_words, words = truth.split(), answer.split()
        true_text, text = " ".join(true_words), " ".join(words)
        edits = Levenshtein.distance(true_text, text), Levenshtein.distance(true_words, words)
        found[place] = edits[0], len(true_text), edits[1], len(true_words), true_text == text
    return found
