"""The one definition of when texts are equal, what they share, and when a text is blank.

All code that groups, splits, deduplicates or compares texts uses it. All text that is trained on or typed goes through
`nfc`.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

_NEWLINE = re.compile(r"\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_OTHER_SEPARATOR = re.compile(r"[\x0b\x0c\x85\u2028\u2029]")
# Control characters and invisible marks: soft hyphen, zero-width space, word joiner, byte-order mark.
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u2060\ufeff]")
# Zero-width joiners combine emoji and shape Persian and Indic words; next to these characters they do nothing.
_UNJOINED = r"\s\x00-\u036f\u1100-\u11ff\u3000-\u9fff\ua960-\ua97f\uac00-\ud7ff\uff00-\uffef"
_JOINER = re.compile(rf"(?<![^{_UNJOINED}])[\u200c\u200d]++|(?<![\u200c\u200d])[\u200c\u200d]++(?![^{_UNJOINED}])")
# Blank characters that Unicode counts as letters, marks or symbols: fillers of Hangul and Khmer, the empty cell of
# braille, the grapheme joiner, variation selectors.
_BLANK = re.compile(r"[\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_WRAPPED = re.compile(r"(?<=[^\n]{40})\n[ \t]*(?=[^\W\d_])(?![a-z0-9][.)] )")
_BLANK_CATEGORIES = {"Cc", "Cf", "Zs", "Zl", "Zp"}


_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|resp|incl|excl|Dr|Mr|Mrs|Ms|Prof|Jr|Sr|St|No|Vol|Fig|pp?)|^\s*\d+|\b[A-Z])\.$"
)


def ends_in_abbreviation(text: str) -> bool:
    """Whether the full stop at the end of a text is that of an abbreviation, an initial or a list's number."""
    return _ABBREVIATION.search(text) is not None


def nfc(text: str) -> str:
    """The text in Unicode NFC: Korean typed as separate letters becomes syllables, which take a third of the tokens."""
    return unicodedata.normalize("NFC", text)


def n_newlines(text: str) -> int:
    """Ends of lines in a text, as editors number them: \\n, \\r\\n, or \\r."""
    return text.count("\n") + (text.count("\r") - text.count("\r\n") if "\r" in text else 0)


def keeping_lines(text: str) -> str:
    """Unicode NFC, without invisible characters, with \\n for each end of a line that `n_newlines` counts, so that
    every word stays in its line."""
    text = _OTHER_SEPARATOR.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return nfc(_INVISIBLE.sub("", text))


def unwrapped(text: str) -> str:
    """Without the line breaks inside of sentences: after a long line, before a letter that begins no list."""
    return _WRAPPED.sub(" ", text)


def is_blank(text: str) -> bool:
    """Whether a text has only invisible characters: white space, zero-width and control characters."""
    return all(unicodedata.category(character) in _BLANK_CATEGORIES for character in _BLANK.sub("", text))


def normalise(text: str) -> str:
    """Unicode NFC, \\n for newlines, nothing invisible, no spaces at the ends of lines, at most two blank lines.

    Idempotent. Korean typed as separate letters becomes syllables; emoji sequences and the joiners that other scripts
    need are kept.
    """
    text = nfc(_INVISIBLE.sub("", _NEWLINE.sub("\n", text)))
    text = nfc(_JOINER.sub("", text))
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{4,}", "\n\n\n", lines).strip("\n")


def canonical(text: str) -> str:
    """A form that two texts share if they differ only in white space and invisible characters."""
    return " ".join(normalise(text).split())


def canonical_question(text: str) -> str:
    """As `canonical`, also independent of case."""
    return nfc(canonical(text).casefold())


def text_digest(text: str) -> bytes:
    """16 bytes that texts with the same `canonical` form share."""
    return hashlib.sha256(canonical(text).encode()).digest()[:16]


def common_prefix_length(a: Sequence[int] | str, b: Sequence[int] | str) -> int:
    """How many characters, or ids, two texts share at their beginning.

    Binary search, because Python compares slices much faster than single elements.
    """
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low
