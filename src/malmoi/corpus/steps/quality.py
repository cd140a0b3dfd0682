"""Whether a text is prose that is worth learning: a score of seven features, and the rules of published corpora.

The rules are Gopher's (Rae et al. 2021, arXiv:2112.11446, table A1), C4's (Raffel et al. 2020, arXiv:1910.10683, 2.2)
and FineWeb's (Penedo et al. 2024, arXiv:2406.17557, 3.6), each with a Korean counterpart where words are counted: a
Korean word (between spaces) is shorter and carries its particles, and sentences end in 다, 요, 죠 and the like.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection

ENGLISH = frozenset(
    "the of and to a in is it that for was on are as with be at this have from or by not but an they you we he she his "
    "her their which has had were been will can would there what when who if about more so no do did than then".split()
)
KOREAN_ENDINGS = re.compile(
    r"(은|는|이|가|을|를|에|의|에서|으로|로|와|과|도|만|까지|부터|하고|한|할|하는|된|있는|없는|고|며|지만|면서|서)$"
)
ENDS_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*$")
ENDS_KOREAN = re.compile(r"(다|요|죠|까|네|음|함|임)[.!?…~]*[\"'”’)\]]*$")
BULLET = re.compile(r"^\s*([-*•‣▪●]|\d+[.)])\s")
FOUL = re.compile(
    r"lorem ipsum|\bterms of use\b.{0,40}\bprivacy policy\b|javascript (is|must be) (disabled|enabled)", re.I
)
WORD = re.compile(r"\S+")


def words_of(text: str) -> list[str]:
    return WORD.findall(text)


def lines_of(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def ends_well(line: str, language: str) -> bool:
    """Whether a line ends as a sentence does."""
    return bool(ENDS_SENTENCE.search(line) or (language == "ko" and ENDS_KOREAN.search(line)))


def _between(value: float, bad: float, good: float) -> float:
    """0 at `bad` or beyond, 1 at `good` or beyond, a straight line between."""
    return min(1.0, max(0.0, (value - bad) / (good - bad)))


def features(text: str, language: str = "en") -> dict[str, float]:
    """Seven features, each from 0 (as in page furniture) to 1 (as in prose)."""
    words, lines = words_of(text), lines_of(text)
    n_words, n_chars = max(1, len(words)), max(1, len(text))
    if language == "ko":
        stop = sum(bool(KOREAN_ENDINGS.search(word.strip(".,!?\"'()"))) for word in words) / n_words
        stops = _between(stop, 0.05, 0.35)
    else:
        stop = sum(word.lower().strip(".,!?\"'();:") in ENGLISH for word in words) / n_words
        stops = _between(stop, 0.1, 0.4)
    by_line = sum(len(line) for line in lines if ends_well(line, language)) / max(1, sum(map(len, lines)))
    in_words = 20 if language == "ko" else 40
    return {
        "stop words": stops,
        "length": _between(len(words), 30, 400),
        "line length": _between(n_words / max(1, len(lines)), 3, in_words),
        "closing punctuation": _between(by_line, 0.1, 0.9),
        "few digits": 1 - _between(sum(map(str.isdigit, text)) / n_chars, 0.01, 0.08),
        "few capitals": 1 - _between(sum(map(str.isupper, text)) / n_chars, 0.03, 0.12),
        "few symbols": 1 - _between(sum(not c.isalnum() and not c.isspace() for c in text) / n_chars, 0.03, 0.12),
    }


def score(text: str, language: str = "en") -> float:
    """From 0 to 1: the mean of the features, all of equal weight. No label was used to fit it."""
    found = features(text, language)
    return sum(found.values()) / len(found)


def gopher(text: str, language: str = "en") -> str:
    """The first of Gopher's rules that a text breaks; "" if it breaks none."""
    words, lines = words_of(text), lines_of(text)
    korean = language == "ko"
    if not (30 if korean else 50) <= len(words) <= 100_000:
        return "Gopher: number of words"
    mean = sum(map(len, words)) / len(words)
    if not (1.8 if korean else 3) <= mean <= (8 if korean else 10):
        return "Gopher: mean length of words"
    if (text.count("#") + text.count("…") + text.count("...")) / len(words) > 0.1:
        return "Gopher: symbols to words"
    if sum(bool(BULLET.match(line)) for line in lines) > 0.9 * len(lines):
        return "Gopher: lines that begin with a bullet"
    if sum(line.endswith(("...", "…")) for line in lines) > 0.3 * len(lines):
        return "Gopher: lines that end with an ellipsis"
    if sum(any(map(str.isalpha, word)) for word in words) < 0.8 * len(words):
        return "Gopher: words with a letter"
    if korean:
        return "" if sum(bool(KOREAN_ENDINGS.search(word)) for word in words) >= 2 else "Gopher: stop words"
    common = {"the", "be", "to", "of", "and", "that", "have", "with"}
    return "" if len(common & {word.lower() for word in words}) >= 2 else "Gopher: stop words"


def repetition(text: str, language: str = "en") -> str:
    """The first of Gopher's rules of repetition that a text breaks (table A1); "" if it breaks none."""
    lines, words = lines_of(text), words_of(text)
    paragraphs = [part.strip() for part in re.split(r"\n{2,}", text) if part.strip()]
    for name, parts, most in (("lines", lines, 0.3), ("paragraphs", paragraphs, 0.3)):
        again = Counter(parts)
        n_again = sum(n - 1 for n in again.values())
        if len(parts) > 1 and n_again > most * len(parts):
            return f"Gopher: {name} that come again"
        if len(parts) > 1 and sum((n - 1) * len(part) for part, n in again.items()) > 0.2 * len(text):
            return f"Gopher: characters in {name} that come again"
    for n, most in ((2, 0.2), (3, 0.18), (4, 0.16)):
        grams = Counter(zip(*(words[i:] for i in range(n)), strict=False))
        top, often = grams.most_common(1)[0] if grams else ((), 0)
        if often > 1 and sum(map(len, top)) * often > most * sum(map(len, words)):
            return f"Gopher: the most frequent {n} words"
    return ""


def c4(text: str, language: str = "en") -> str:
    """C4's rules: lorem ipsum, code, and fewer than three sentences."""
    if FOUL.search(text):
        return "C4: lorem ipsum, or a notice of the site"
    if text.count("{") > 0.005 * len(text):
        return "C4: curly brackets"
    ends = re.findall(r"[.!?。！？]|(?:다|요|죠)(?=[\s\n]|$)" if language == "ko" else r"[.!?]", text)
    return "" if len(ends) >= 3 else "C4: fewer than three sentences"


def fineweb(text: str, language: str = "en") -> str:
    """FineWeb's own rules: lines without closing punctuation, short lines, lines that come again."""
    lines = lines_of(text)
    if sum(ends_well(line, language) for line in lines) <= 0.12 * len(lines):
        return "FineWeb: lines without closing punctuation"
    if sum(len(line) < (15 if language == "ko" else 30) for line in lines) >= 0.67 * len(lines):
        return "FineWeb: short lines"
    again = sum((n - 1) * len(line) for line, n in Counter(lines).items())
    return "FineWeb: characters in lines that come again" if again > 0.1 * max(1, len(text)) else ""


RULES: dict[str, Callable[[str, str], str]] = {
    "gopher": gopher, "repetition": repetition, "c4": c4, "fineweb": fineweb,
}  # fmt: skip


def first_broken(text: str, language: str, rules: Collection[str]) -> str:
    """The first rule that a text breaks, by its name for people; "" if it breaks none."""
    return next((said for name in rules if (said := RULES[name](text, language))), "")
