"""Questions that no document answers: greetings, thanks, goodbyes, and questions about the assistant itself."""

import re
from functools import cache, lru_cache
from unicodedata import normalize

from malmoi.retrieval.names import distance
from malmoi.retrieval.words import is_listed, patterns, word_table
from malmoi.text import nfc

_NOT_SAID = re.compile(r"[^\w\s]|_")


@lru_cache(maxsize=1 << 10)
def small_talk(text: str) -> str:
    """The kind of small talk that a message is as a whole, or "": greeting, thanks, bye, identity, ability, …"""
    said = _plain(text)
    if not said:
        return "wordless" if text.strip() else ""
    phrases = _phrases()
    if said in phrases:
        return phrases[said]
    limit = 1 if len(said) < 9 else 2
    # In letters, of which a Korean syllable has two or three: "숙소 이름이 뭐야?" is no misspelt "네 이름이 뭐야?".
    typed = normalize("NFD", said)
    letters = frozenset(typed)
    for phrase, kind in phrases.items():
        known = normalize("NFD", phrase)
        # A letter that only one of them has is an edit, which is quicker to see than the distance.
        is_near = len(phrase) > 4 and abs(len(known) - len(typed)) <= limit
        is_near = is_near and len(letters.difference(known)) <= limit and distance(typed, known, limit) <= limit
        if is_near and (not said.isascii() or _same_words(said, phrase)):
            return kind
    kind = next((kind for kind, form in patterns("talk.tsv").items() if _is_nothing_but(form, said)), "")
    # "Is it good?" praises nothing.
    return "" if kind in ("thanks", "praise", "wrong") and said.isascii() and text.rstrip().endswith("?") else kind


def _is_nothing_but(form: re.Pattern[str], said: str) -> bool:
    """Whether a message has the expression, and else only words that change nothing."""
    rest, n = form.subn(" ", said)
    return n > 0 and all(is_listed("talk_words.txt", word) for word in rest.split())


def _same_words(said: str, phrase: str) -> bool:
    """Whether each word is the phrase's, or a misspelling of it: "what's map" is not "what's up"."""
    typed, known = said.split(), phrase.split()
    limits = [1 + (len(word) > 6) for word in known]
    return len(typed) == len(known) and all(
        distance(a, b, limit) <= limit for a, b, limit in zip(typed, known, limits, strict=True)
    )


def without_greeting(text: str) -> str:
    """A message without the greeting or thanks before or after its question: "Hi, what is json?" asks for json."""
    parts = [part for part in re.split(r"(?<=[,.!?~])\s+|\n+", nfc(text).strip()) if part.strip()]
    asked = [part for part in parts if small_talk(part) not in ("greeting", "thanks", "bye", "praise", "wordless")]
    if len(asked) not in (0, len(parts)):
        return " ".join(asked)
    words = text.split()
    for n in (3, 2, 1):
        if len(words) > n + 1 and small_talk(" ".join(words[:n])) in ("greeting", "thanks"):
            return " ".join(words[n:])
    return text


def _plain(text: str) -> str:
    lowered = " ".join(_NOT_SAID.sub(" ", nfc(text).lower()).split())
    return re.sub(r"(.)\1{2,}", r"\1", lowered)


@cache
def _phrases() -> dict[str, str]:
    return {_plain(phrase): kind for kind, phrases in word_table("small_talk.tsv").items() for phrase in phrases}
