"""The simulated labeler's rule: what an answer is worth, from 0 to 1, compared with its reference and its documents.

`gold` anywhere in Malmoi is this score, of one answer, or its mean over answers.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from malmoi.text import is_blank, nfc

# The weights of what the labeler looks at: being right counts more than all else together.
RIGHT, SUPPORTED, FORM, LENGTH = 0.6, 0.2, 0.15, 0.05
MIN_OVERLAP = 0.6
"""F1 of the words with the reference from which on an answer says the same."""
RULE = (
    f"{RIGHT:g} right + {SUPPORTED:g} supported + {FORM:g} form + {LENGTH:g} length. Right: 1 if equal to a reference "
    f"(whitespace aside); otherwise 0.6 + 0.35 F1 of the words if that F1 is at least {MIN_OVERLAP:g} and the answer "
    "has the reference's names, or if both say that they do not know. All else is wrong: 0.1 F1, and nothing for "
    "support; to say wrongly that one does not know is 0, but supported. Supported: 1 if every name and number of the "
    "answer is in the documents, the question or the reference, else 0. Form: halved by each fault that the reference "
    "lacks (unfinished, odd beginning, no full stop, filler, three words repeated, several lines). Length: 1 up to "
    "1.25 times the reference's words, falling to 0 at 2.5 times. An empty answer scores 0."
)
OPENERS = (
    "sure", "of course", "certainly", "absolutely", "great question", "good question", "as an ai",
    "물론입니다", "물론이죠", "좋은 질문입니다", "좋은 질문이에요",
)  # fmt: skip
CLOSERS = (
    "hope this helps", "hope that helps", "let me know", "feel free to", "happy to help", "any other questions",
    "도움이 되었", "도움이 되길", "더 궁금한",
)  # fmt: skip

_OPENER = re.compile(rf"(?:{'|'.join(OPENERS)})\b")
_WORD = re.compile(r"\w+")
_ENDING = re.compile(r"""[.!?…。]["'`”’)\]]*$""")


_NAME = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+|[A-Za-z0-9]+_[A-Za-z0-9_]+|^[A-Za-z_]\w*(?=: )", re.ASCII
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_DECLINED = re.compile(r"\bI (?:do not|don't) know\b|모릅니다|모르겠|찾지 못했", re.IGNORECASE)


def gold_score(
    answer: str, reference: str | Sequence[str], finished: bool, messages: Sequence[Mapping[str, Any]] = ()
) -> float:
    """How good an answer is compared with the best-matching reference, in [0, 1]; 0 if it is empty. See `RULE`.

    messages: the conversation that is answered, with the documents of its last question
    Only a finished answer that equals a reference, except for white space, scores 1. Right answers of any form score
    above wrongly declined ones, and those above wrong ones of the same form.
    """
    references = [reference] if isinstance(reference, str) else reference
    if not references:
        raise ValueError("reference: expected at least one")
    answer, references, given = nfc(answer), [nfc(one) for one in references], nfc(_given(messages))
    if is_blank(answer):
        return 0.0
    return max(_score(answer, one, finished, given) for one in references)


def declines(text: str) -> bool:
    """Whether an answer says that it does not know."""
    return _DECLINED.search(text) is not None


def _score(answer: str, reference: str, finished: bool, given: str) -> float:
    overlap = _overlap(answer, reference)
    has_names = set(_NAME.findall(reference)) <= set(_NAME.findall(answer))
    supported = float(_is_supported(answer, f"{given}\n{reference}"))
    if answer.split() == reference.split():
        right = 1.0
    elif (declines(reference) and declines(answer)) or (
        overlap >= MIN_OVERLAP and has_names and declines(reference) == declines(answer)
    ):
        right = 0.6 + 0.35 * overlap
    elif declines(answer):
        right = 0.0
    else:
        right, supported = 0.1 * overlap, 0.0
    # In this order the weights add up to exactly 1.
    return (
        RIGHT * right
        + SUPPORTED * supported
        + (FORM * _form(answer, reference, finished) + LENGTH * _length(answer, reference))
    )


def _given(messages: Sequence[Mapping[str, Any]]) -> str:
    """All that an answer may take names and numbers from: the conversation, and the documents of its last question."""
    parts = [str(message["content"]) for message in messages]
    for message in messages[-1:]:
        parts += [f"{document.get('title', '')}\n{document['text']}" for document in message.get("documents") or ()]
    return "\n".join(parts)


def _is_supported(answer: str, given: str) -> bool:
    names, numbers = set(_NAME.findall(given)), set(_NUMBER.findall(given))
    return all(name in names or name in given for name in _NAME.findall(answer)) and numbers.issuperset(
        _NUMBER.findall(answer)
    )


def _overlap(answer: str, reference: str) -> float:
    """F1 of the words, counted with repetition."""
    given, wanted = Counter(_words(answer)), Counter(_words(reference))
    n_common = (given & wanted).total()
    return 2 * n_common / (given.total() + wanted.total()) if n_common else 0.0


def _form(answer: str, reference: str, finished: bool) -> float:
    return 0.5 ** (len(_faults(answer) - _faults(reference)) + (not finished))


def _faults(text: str) -> set[str]:
    text, words = text.strip(), _words(text)
    triples = list(zip(words, words[1:], words[2:], strict=False))
    found = {
        "beginning": not re.match(r"""[^\W_]|[`"'“‘]""", text),
        "ending": not _ENDING.search(text),
        "filler": bool(_OPENER.match(text.lower())) or any(closer in text.lower() for closer in CLOSERS),
        "repetition": len(set(triples)) < len(triples),
        "lines": "\n" in text,
    }
    return {name for name, is_found in found.items() if is_found}


def _length(answer: str, reference: str) -> float:
    ratio = len(answer.split()) / max(1, len(reference.split()))
    return min(1.0, max(0.0, (2.5 - ratio) / 1.25))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
