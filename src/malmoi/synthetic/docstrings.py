"""Docstrings as plain text: without markup of reStructuredText, and their first sentence."""

import re

from malmoi.text import ends_in_abbreviation

MAX_SENTENCE_CHARS = 200

_SIGNATURE = r"[\w.]+\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_ROLE = re.compile(r":[a-z]+(?::[a-z]+)?:`(?:[^`<\n]*<)?[~!]?([^`<>\n]*)>?`")
_QUOTED = re.compile(r"``([^`\n]+)``|(?<![`\w])`([^`\s](?:[^`\n]*[^`\s])?)`_?(?![`\w])")
# What it has taken it keeps, so that long sentences with many calls take no longer than others.
_SIGNATURES = re.compile(rf"^(?:{_SIGNATURE}\s*+(?:-+>\s*+(?:(?!{_SIGNATURE})[^.])*+)?\.?+\s*+)++$")
_RESULT = re.compile(rf"^{_SIGNATURE}\s*-+>\s*(?:None\.\s*)?(.+)$")
_LEADING = re.compile(
    rf"^(?:{_SIGNATURE}\s*(?:-+>\s*[\w\[\], .]+?(?=\s+--?\s|\.?\s+[A-Z]))?\.?\s*(?:--?|:)?\s+"
    r"|[\w.]+(?: module)? --? (?=[A-Z]))"
)
_END = re.compile(r"""[.!?]["')]*(?=\s{2,}|\s+[A-Z("'*]|\s*$)""")
N_PARAGRAPHS = 3
"""The first sentence is one of the first paragraphs', after signatures and headings."""


def is_signature(line: str) -> bool:
    """Whether a line has only signatures, such as `dumps(obj) -> str`."""
    return _SIGNATURES.match(line) is not None


def plain_text(text: str) -> str:
    """Without the marks around code and names: `:func:`os.walk``, ``None`` and `x` become os.walk, None and x."""
    return _QUOTED.sub(lambda found: found[1] or found[2], _ROLE.sub(r"\1", text))


def first_sentence(text: str) -> str:
    """The first sentence of a plain docstring on one line, or "" if there is none of a usable length.

    A leading signature such as `dumps(obj) -> str` is skipped. What follows the arrow of a signature is taken if no
    sentence follows.
    """
    fallback = ""
    for paragraph in list(filter(None, map(str.strip, re.split(r"\n\s*\n", text))))[:N_PARAGRAPHS]:
        if found := _RESULT.match(paragraph.split("\n")[0]):
            result = _sentence(found[1])
            if result[:1].isupper() and result.count(" ") > 1:
                return result
            fallback = fallback or result
        if not is_signature(_one_line(paragraph)) and (sentence := _sentence(_LEADING.sub("", paragraph))):
            return sentence
    return fallback


def _sentence(text: str) -> str:
    """The first sentence, with a full stop; "" if it cannot be used."""
    whole = next((end for end in _END.finditer(text) if not ends_in_abbreviation(text[: end.end()])), None)
    sentence = _one_line(text[: whole.end()] if whole else text)
    if sentence and not re.search(r"""[.!?]["')]*$""", sentence):
        sentence = sentence.rstrip(":;,-") + "."
    return sentence if _is_usable(sentence) else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _is_usable(sentence: str) -> bool:
    return (
        12 <= len(sentence) <= MAX_SENTENCE_CHARS
        and " " in sentence
        and bool(re.match(r"[^\W\d_]|@\w", sentence))
        and not re.search(r"XXX|TODO|[{}|\\`]|::|>>>|\.\.\.\s*$|_{3,}|={3,}|~~", sentence)
        and (" - " not in sentence or ": - " in sentence)
        and len(re.findall(r"[(\[]", sentence)) == len(re.findall(r"[)\]]", sentence))
        and sum(character.isalpha() or character == " " for character in sentence) >= 0.7 * len(sentence)
    )
