"""The verb of a question: what is done to the boiler where it is asked who repaired it; and whether that was done.

By the order of words and their endings, no morphological analysis; of other questions it says that there is none.
"""

import re
from functools import lru_cache

from malmoi.retrieval.stem import IRREGULAR

_WORDS = re.compile(r"[a-z][a-z'-]*|\d+")
_QUESTION_WORD = re.compile(r"\b(?:who|whom|whose|what|which|when|where|why|how)\b")
_DO = frozenset("do does did will would can could shall should must may might".split())
_BE = frozenset("is are am was were be been being has have had gets get got".split())
_PRONOUN = frozenset(
    "i we you it they he she people someone anyone somebody anybody one everyone nobody this that".split()
)
_ARTICLE = frozenset("the a an my our your his her its their this that these those some any each every no all".split())
_BETWEEN = frozenset(
    "of in at to from on with by for about into through during before after until till under over near up down off out "
    "away around between against since than as if because so and or but not there here".split()
)
_ADVERB = frozenset("usually normally ever always still actually already often also now".split())
_HAVE_TO = re.compile(r"\b(?:have|need|want|get) to\b ?")
_PARTICIPLE = re.compile(r".{2,}(?:ed|ing|wn|ught)$")
_NO_VERB = frozenset("morning evening meeting building during anything something everything nothing spring string "
                     "king ring wedding ceiling parking red bed need seed feed speed wing thing".split())  # fmt: skip


@lru_cache(maxsize=1 << 10)
def main_verb(text: str) -> str:
    """The verb of a question in lower case, as it is written there, "" if it has none or only one that asks."""
    return _korean_verb(text) if re.search("[가-힣]", text) else _english_verb(text.lower())


def _english_verb(text: str) -> str:
    found = _QUESTION_WORD.search(text)
    words = _WORDS.findall(text[found.start() :] if found else text)
    if len(words) < 2:
        return ""
    if words[0] == "who" and words[1] not in _DO | _BE:
        return words[1]
    at = next((at for at, word in enumerate(words) if word in _DO | _BE), None)
    if at is None:
        return ""
    rest = words[at + 1 :]
    return _after_be(rest) if words[at] in _BE else _after_do(rest)


def _after_be(rest: list[str]) -> str:
    """The first participle: "was the old stove painted"."""
    return next((word for word in rest if _is_participle(word)), "")


def _is_participle(word: str) -> bool:
    return word not in _NO_VERB and (word in IRREGULAR_PAST or _PARTICIPLE.fullmatch(word) is not None)


IRREGULAR_PAST = frozenset(
    word for word, base in IRREGULAR.items() if word != base and not word.endswith(("er", "est", "ies", "ing"))
) - {
    "children",
    "men",
    "women",
    "people",
    "feet",
    "teeth",
    "mice",
    "indices",
    "indexes",
    "vertices",
    "matrices",
    "axes",
}


def _after_do(rest: list[str]) -> str:
    """The verb after the person who does it: the first word that an article, a preposition or nothing follows."""
    rest = _HAVE_TO.sub("", " ".join(word for word in rest if word not in _ADVERB)).split()
    if not rest:
        return ""
    if rest[0] in _PRONOUN and len(rest) > 1 and rest[1] not in _BE:
        return rest[1]
    ends = [
        at
        for at, word in enumerate(rest)
        if at > 0 and word not in _ARTICLE | _BETWEEN and (at + 1 == len(rest) or rest[at + 1] in _ARTICLE | _BETWEEN)
    ]
    # "the path to the lake open": before a preposition it may still be what does it.
    sure = [at for at in ends if at + 1 == len(rest) or rest[at + 1] in _ARTICLE]
    first = next(iter(ends), None)
    if first is None:
        return ""
    return rest[sure[-1] if sure and first not in sure and rest[first + 1] in ("of", "to") else first]


_ENDS = re.compile(r"(?:[요까죠니대나지냐래]|[아어여해돼와가려야라워줘춰써겨켜셔]|더라|는지|습니다|다고)$")
_PAST = re.compile(r"[가-힣]*[았었했였갔왔났샀탔봤줬됐렸겼쳤꿨웠졌켰셨]")
_ASKS = re.compile(r"(?:누가|누구|언제|어디|왜|뭐|뭘|무엇|어떻|어떡|얼마|며칠|몇)")
_OF_NOUN = re.compile(r"(?:무슨|몇|어느|어떤)$")
_HELPS = re.compile(r"(?:해|돼|되|하|할|될|줘|주|줬|있|싶|했|됐|봐|보|봤|놨|놓|뒀|두|둬|알|가|오|와|왔|갔|먹었지$)")
_LINKED = re.compile(r"[야면도고아어게수려워여해와겨켜쳐러줘가지기로]$|기로$")


def _korean_verb(text: str) -> str:
    words = [word for word in re.split(r"[\s,]+", text.rstrip("?!.~ ")) if word]
    if len(words) < 2 or not _ASKS.search(text):
        return ""
    last = words[-1]
    if (
        _ASKS.match(last)
        or _OF_NOUN.search(words[-2])
        or not (len(last) == 1 or _ENDS.search(last) or _PAST.match(last))
    ):
        return ""
    before = words[-2]
    if len(words) > 2 and _HELPS.match(last) and _LINKED.search(before) and not _ASKS.match(before):
        return before
    return last


_PAST_KO = re.compile(
    r"[았었했였갔왔났샀탔봤줬됐렸겼쳤꿨웠졌켰셨랐갰뒀놨썼떴컸껐]|[가-힣](?:함|음|됨|짐|옴|감)(?=[ .,]|$)"
)
_PRESENT_KO = re.compile(r"(?:[ㄴ는]다|[한된간온준진린긴친운낸쓴킨]다|니다|요|이다|있다|없다|야 한다)[.!]?$")
_PAST_EN = re.compile(r"(?i)\b(?:was|were|had|did|\w+ed|" + "|".join(sorted(IRREGULAR_PAST)) + r")\b")
_ASKS_PAST_EN = re.compile(r"(?i)\b(?:was|were|did)\b")


@lru_cache(maxsize=1 << 14)
def is_untimely(question: str, sentence: str) -> bool:
    """Whether a question asks what was done, and a sentence only tells what is done: "changed every six weeks"."""
    verb = main_verb(question)
    if re.search("[가-힣]", question):
        return (
            verb != ""
            and _PAST.match(verb) is not None
            and not _PAST_KO.search(sentence)
            and _PRESENT_KO.search(sentence) is not None
        )
    asks = verb in IRREGULAR_PAST or verb.endswith("ed") if question.lower().startswith("who ") else False
    asks = asks or _ASKS_PAST_EN.search(question) is not None
    present = re.search(r"(?i)\b(?:is|are|will|can|must|every)\b", sentence)
    return asks and (
        not _PAST_EN.search(sentence)
        or (present is not None and not re.search(r"(?i)\b(?:was|were|had|did)\b", sentence))
    )


@lru_cache(maxsize=1 << 14)
def tells_of_another_deed(question: str, word: str, sentence: str) -> bool:
    """Whether a word is the verb of an English question about what was done, and a sentence tells that something was
    done: "was bought", and "was repaired". Whether it is the same deed is for the caller to see."""
    verb = main_verb(question)
    return word.lower() == verb and _is_participle(verb) and _PAST_EN.search(sentence) is not None
