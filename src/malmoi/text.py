"""What is the same text, what texts have in common, and what is no text at all: the one place that says so.

Whatever groups, splits, deduplicates or compares texts asks here; whatever is trained on or typed is spelt as `spelt`
spells it.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

_NEWLINE = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
# Control characters, and marks that nobody sees: soft hyphen, zero-width space, word joiner, byte-order mark.
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff]")
# Zero-width joiners hold emoji together and shape Persian and Indic words; next to these letters they do nothing.
_UNJOINED = r"\s\x00-\u036f\u1100-\u11ff\u3000-\u9fff\ua960-\ua97f\uac00-\ud7ff\uff00-\uffef"
_JOINER = re.compile(rf"(?<![^{_UNJOINED}])[\u200c\u200d]++|(?<![\u200c\u200d])[\u200c\u200d]++(?![^{_UNJOINED}])")
# Unicode counts these as letters, marks or symbols, but they are blank: fillers of Hangul and Khmer, braille's empty
# cell, the grapheme joiner, variation selectors.
_BLANK = re.compile(r"[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_BLANK_CATEGORIES = {"Cc", "Cf", "Zs", "Zl", "Zp"}


def spelt(text: str) -> str:
    """Unicode NFC: Korean typed as separate letters becomes syllables, which cost a third of the tokens."""
    return unicodedata.normalize("NFC", text)


def is_empty(text: str) -> bool:
    """Whether nothing of it can be seen: it is all white space, zero-width and control characters."""
    return all(unicodedata.category(character) in _BLANK_CATEGORIES for character in _BLANK.sub("", text))


def normalise(text: str) -> str:
    """Unicode NFC, \\n for newlines, nothing invisible, no spaces at the ends of lines, at most two blank lines.

    Normalising twice is normalising once. Korean typed as separate letters becomes syllables; emoji sequences and
    the joiners that other scripts need stay whole.
    """
    text = spelt(_UNSEEN.sub("", _NEWLINE.sub("\n", text)))
    text = spelt(_JOINER.sub("", text))
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{4,}", "\n\n\n", lines).strip("\n")


def same(text: str) -> str:
    """A spelling that two texts share when they differ in nothing but spacing and invisible characters."""
    return " ".join(normalise(text).split())


def same_question(text: str) -> str:
    """As `same`, and in whatever case."""
    return spelt(same(text).casefold())


def text_key(text: str) -> bytes:
    """16 bytes that texts with the same `same` share."""
    return hashlib.sha256(same(text).encode()).digest()[:16]


def n_common(a: Sequence[int] | str, b: Sequence[int] | str) -> int:
    """How many characters, or ids, two texts begin with in common.

    The place is found by halving: slices are compared at once, which elements one by one are not.
    """
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low
