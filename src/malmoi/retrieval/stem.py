"""The stem of an English word, after M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980."""

import re
from functools import lru_cache

_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize", "bli": "ble", "alli": "al",
    "entli": "ent", "eli": "e", "ousli": "ous", "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al",
    "iveness": "ive", "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble", "logi": "log",
}  # fmt: skip
_STEP_3 = {"icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": ""}
_STEP_4 = (
    "ement", "ance", "ence", "able", "ible", "ment", "sion", "tion", "ant", "ent", "ism", "ate", "iti", "ous", "ive",
    "ize", "al", "er", "ic", "ou",
)  # fmt: skip
IRREGULAR = {
    "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news", "always": "always",
    "written": "write", "wrote": "write", "chosen": "choose", "chose": "choose", "found": "find", "ran": "run",
    "taken": "take", "took": "take", "given": "give", "gave": "give", "kept": "keep", "held": "hold", "made": "make",
    "built": "build", "sent": "send", "got": "get", "gotten": "get", "went": "go", "gone": "go",
    "broken": "break", "broke": "break", "bought": "buy", "brought": "bring", "paid": "pay", "met": "meet",
    "slept": "sleep", "threw": "throw", "thrown": "throw", "drawn": "draw", "drew": "draw", "began": "begin",
    "begun": "begin", "came": "come", "told": "tell", "said": "say", "sold": "sell", "lost": "lose",
    "children": "child", "men": "man", "women": "woman", "people": "person",
    "ate": "eat", "eaten": "eat", "drove": "drive", "driven": "drive", "drank": "drink", "drunk": "drink",
    "spoke": "speak", "spoken": "speak", "wore": "wear", "worn": "wear", "won": "win", "rode": "ride", "swam": "swim",
    "sang": "sing", "sung": "sing", "grew": "grow", "grown": "grow", "knew": "know", "known": "know", "flew": "fly",
    "caught": "catch", "taught": "teach", "thought": "think", "fought": "fight", "spent": "spend", "lent": "lend",
    "heard": "hear", "stood": "stand", "fed": "feed", "stolen": "steal", "stole": "steal", "hung": "hang",
    "dug": "dig", "torn": "tear", "tore": "tear", "froze": "freeze", "frozen": "freeze", "led": "lead",
    "shook": "shake", "shaken": "shake", "hidden": "hide", "hid": "hide", "saw": "see", "seen": "see",
    "hotter": "hot", "hottest": "hot", "colder": "cold", "coldest": "cold", "warmer": "warm", "warmest": "warm",
    "bigger": "big", "biggest": "big", "smaller": "small", "smallest": "small", "larger": "large", "largest": "large",
    "cheaper": "cheap", "cheapest": "cheap", "older": "old", "oldest": "old", "younger": "young", "youngest": "young",
    "longer": "long", "longest": "long", "shorter": "short", "shortest": "short", "higher": "high", "highest": "high",
    "later": "late", "latest": "late", "earlier": "early", "earliest": "early", "nearer": "near", "nearest": "near",
    "faster": "fast", "fastest": "fast", "slower": "slow", "slowest": "slow", "heavier": "heavy", "heaviest": "heavy",
    "wetter": "wet", "drier": "dry", "newer": "new", "newest": "new", "darker": "dark", "lighter": "light",
    "feet": "foot", "teeth": "tooth", "mice": "mouse",
    "indices": "index", "indexes": "index", "vertices": "vertex", "matrices": "matrix", "axes": "axis",
}  # fmt: skip


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The stem of a lower-case English word; short words and those of other alphabets are returned unchanged."""
    if word in IRREGULAR:
        word = IRREGULAR[word]
    if len(word) <= 2 or not re.fullmatch("[a-z]+", word):
        return word
    word = _without_plural(_without_ly(word))
    word = _without_ed_and_ing(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    word = _replaced(word, _STEP_2)
    word = _replaced(word, _STEP_3)
    word = _without_suffix(word)
    if word.endswith("e"):
        measure = _measure(word[:-1])
        if measure > 1 or (measure == 1 and not _ends_cvc(word[:-1])):
            word = word[:-1]
    if word.endswith("ll") and _measure(word) > 1:
        word = word[:-1]
    return word


def _shape(word: str) -> str:
    """The word in c for consonants and v for vowels; y is a vowel after a consonant."""
    shape = ""
    for letter in word:
        is_vowel = letter in "aeiou" or (letter == "y" and shape.endswith("c"))
        shape += "v" if is_vowel else "c"
    return shape


def _measure(word: str) -> int:
    """How many times a vowel is followed by a consonant."""
    return _shape(word).count("vc")


def _has_vowel(word: str) -> bool:
    return "v" in _shape(word)


def _ends_cvc(word: str) -> bool:
    return _shape(word).endswith("cvc") and word[-1] not in "wxy"


def _without_ly(word: str) -> str:
    """As Porter's later stemmer ("Snowball"): `randomly` is random."""
    base = word.removesuffix("ly")
    return base if base != word and len(base) > 3 and base[-1] in "cdeghkmnrtls" else word


def _without_plural(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith("ies"):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_ed_and_ing(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        base = word.removesuffix(ending)
        if base != word and _has_vowel(base) and len(base) > 1:
            if base.endswith(("at", "bl", "iz")):
                return base + "e"
            if base[-1] == base[-2] and base[-1] not in "aeioulsz":
                return base[:-1]
            return base + "e" if _measure(base) == 1 and _ends_cvc(base) else base
    return word


def _replaced(word: str, endings: dict[str, str]) -> str:
    """The word with its longest ending of the table replaced, if a syllable is left before it."""
    for length in range(min(7, len(word) - 1), 1, -1):
        ending = word[-length:]
        if ending in endings:
            base = word[:-length]
            return base + endings[ending] if _measure(base) > 0 else word
    return word


def _without_suffix(word: str) -> str:
    for ending in _STEP_4:
        if word.endswith(ending):
            base = word.removesuffix("ion") if ending in ("sion", "tion") else word.removesuffix(ending)
            return base if _measure(base) > 1 else word
    return word
