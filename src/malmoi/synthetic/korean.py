"""Korean: particles by the last sound, and statements turned into questions in several levels of politeness."""

import re
from dataclasses import dataclass

_FIRST, _VOWELS, _FINALS = 0xAC00, 21, 28
_FINAL = {"": 0, "ㄴ": 4, "ㄹ": 8, "ㅁ": 16, "ㅂ": 17, "ㅆ": 20}
_FIGURES_WITH_FINAL, _FIGURES_WITH_L = frozenset("013678"), frozenset("178")
"""Figures whose Korean reading ends in a consonant (영, 일, 삼, 육, 칠, 팔), and in ㄹ."""
# Latin words as Koreans say them: 파이썬, 파일, 셋 end in a consonant; 서버, 리스트, 코드 do not.
_LATIN_WITH_FINAL = re.compile(r"([lmn]|ng|[aeiou][ptkcb]|[lmnp]e)$", re.IGNORECASE)
_SPELLED_WITH_FINAL = frozenset("LMNR")
_PARTICLES = {"은": ("은", "는"), "이": ("이", "가"), "을": ("을", "를"), "와": ("과", "와"), "이란": ("이란", "란"),
              "이나": ("이나", "나"), "이라고": ("이라고", "라고")}  # fmt: skip

# Verbs whose stem ends in 이: "보입니다" is no noun with 이다.
_VERBS_IN_I = ("보이", "줄이", "높이", "쓰이", "붙이", "먹이", "움직이", "들이", "모이", "끓이", "볶이", "쌓이", "섞이",
               "놓이", "기울이", "속이", "숙이", "녹이", "절이", "덮이", "나뉘", "기다리", "죽이", "벌이")  # fmt: skip
_ADJECTIVES_IN_HA = tuple(
    """가능 불가능 필요 불필요 중요 편리 불편 따뜻 저렴 충분 부족 적당 적합 친절 조용 깨끗 안전 위험 유명 비슷 동일
        다양 간단 복잡 특별 건강 행복 신선 달콤 고소 매콤 담백 쌀쌀 시원 화려 소박 튼튼 단단 정확 풍부 유용
        익숙""".split()
)
_SHORT_ADJECTIVES_IN_HA = frozenset("강 약 착 급 심 흔 귀 진 연 순 선 독".split())
_ADJECTIVES = frozenset(
    """크 비싸 싸 예쁘 빠르 느리 다르 아프 바쁘 나쁘 기쁘 슬프 희 푸르 고프 좋 많 적 높 낮 넓 좁 짧 얕 깊 같 작
        밝 맑 젊 늙 굵 얇 싫 옳 괜찮 점잖 붉 검""".split()
)
# Spoken forms whose stem cannot be told from the form, or that are adjectives of the ㅂ kind.
_UNKNOWN_STEM = (
    "걸어",
    "들어",
    "물어",
    "실어",
    "커",
    "아파",
    "바빠",
    "예뻐",
    "나빠",
    "기뻐",
    "슬퍼",
    "이래",
    "그래",
    "어때",
)
_U_STEMS = ("배워", "싸워", "외워", "세워", "채워", "비워", "태워", "키워", "지워", "피워", "깨워", "치워")
_KEEPS_YEO = ("켜", "펴")
_EU_STEMS = {"써": "쓰", "꺼": "끄", "떠": "뜨"}
_NO_QUESTION = re.compile(
    r"(세요|[자라]|십시오|ㅂ시다|시다|까|나요|가요|네요|군요|는데요|거든요|죠|지요|것이다|것입니다|거예요|싶다|싶습니다)$"
)


def has_final(word: str) -> bool:
    """Whether the word's last sound is a consonant; figures and Latin letters as Koreans read them."""
    read = _read_part(word)
    last = read[-1:]
    if _is_syllable(last):
        return bool(_final_of(last))
    if last.isdigit():
        return last in _FIGURES_WITH_FINAL
    latin = re.search(r"[A-Za-z]*$", read)
    spelled = latin.group() if latin else ""
    if len(spelled) == 1 or (spelled.isupper() and len(spelled) < 5):  # 엘, 엠, 엔, 알
        return last.upper() in _SPELLED_WITH_FINAL
    return bool(_LATIN_WITH_FINAL.search(spelled))


def _ends_in_l(word: str) -> bool:
    last = _read_part(word)[-1:]
    return _final_of(last) == _FINAL["ㄹ"] if _is_syllable(last) else last in _FIGURES_WITH_L or last in "lLrR"


def _read_part(word: str) -> str:
    """The word without brackets and marks at its end."""
    return re.sub(r"[\W_]+$", "", re.sub(r"\([^)]*\)$", "", word))


def with_particle(word: str, particle: str) -> str:
    """The word with 은/는, 이/가, 을/를, 와/과, 이란/란 (named by the first, or 와), or 으로/로."""
    if particle == "로":
        return word + ("으로" if has_final(word) and not _ends_in_l(word) else "로")
    after_consonant, after_vowel = _PARTICLES[particle]
    return word + (after_consonant if has_final(word) else after_vowel)


def _is_syllable(character: str) -> bool:
    return "가" <= character <= "힣"


def _final_of(character: str) -> int:
    return (ord(character) - _FIRST) % _FINALS if _is_syllable(character) else 0


def _with_final(character: str, final: str) -> str:
    return chr(ord(character) - _final_of(character) + _FINAL[final])


def _vowel_of(character: str) -> int:
    return (ord(character) - _FIRST) // _FINALS % _VOWELS


def _with_vowel(character: str, vowel: int) -> str:
    initial = (ord(character) - _FIRST) // (_FINALS * _VOWELS)
    return chr(_FIRST + (initial * _VOWELS + vowel) * _FINALS)


_A, _EO, _YEO, _O, _WA, _WAE, _OE, _U, _WEO, _I, _AE = 0, 4, 6, 8, 9, 10, 11, 13, 14, 20, 1


@dataclass(frozen=True)
class Asked:
    """A predicate as a question ends: polite (…나요), formal (…습니까), embedded (…는지)."""

    polite: str
    formal: str
    embedded: str


def ask(predicate: str) -> Asked | None:
    """The last word of a statement, as the end of a question; None if it cannot be told.

    Written style (한다, 이다), formal (합니다), polite (해요) and notes (함) are understood.
    """
    word = predicate.rstrip(".。!… ")
    if len(word) < 2 or not all(map(_is_syllable, word[-2:])) or _NO_QUESTION.search(word):
        return None
    for reading in (_formal, _spoken, _written, _noted):
        if found := reading(word):
            return found
    return None


def _formal(word: str) -> Asked | None:
    if word.endswith("습니다"):
        return _of_stem(word[:-3])
    if not word.endswith("니다") or len(word) < 3 or _final_of(word[-3]) != _FINAL["ㅂ"]:
        return None
    stem = word[:-3] + _with_final(word[-3], "")
    if stem.endswith("아니"):
        return None
    return _copula(stem[:-1]) if _is_copula(stem) else _of_stem(stem)


def _is_copula(stem: str) -> bool:
    return len(stem) > 1 and stem.endswith("이") and not stem.endswith(_VERBS_IN_I)


def _spoken(word: str) -> Asked | None:
    if not word.endswith("요"):
        return None
    for ending in ("이에요", "이예요", "예요", "에요"):
        if word.endswith(ending):
            noun = word[: -len(ending)]
            return _copula(noun) if noun and noun != "아니" else None
    if word.endswith("어요") and len(word) > 2 and _final_of(word[-3]) == _FINAL["ㅆ"]:
        return _of_stem(word[:-2])
    stem = _stem_of_spoken(word[:-1])
    return _of_stem(stem) if stem else None


def _stem_of_spoken(form: str) -> str:
    """The stem of 해, 읽어, 모여, 써, 골라, …; empty if it cannot be told."""
    last, before = form[-1], form[-2:-1]
    if form.endswith(_UNKNOWN_STEM) or _final_of(last):
        return ""
    if form.endswith(_KEEPS_YEO):
        return form
    if last in "아어" or (last == "여" and form.endswith("하여")):
        return form[:-1]
    if last in _EU_STEMS:
        return form[:-1] + _EU_STEMS[last]
    if last in "라러" and before and _final_of(before) == _FINAL["ㄹ"]:
        return form[:-2] + _with_final(before, "") + "르"
    if last == "해":
        return form[:-1] + "하"
    if last == "워":
        return form[:-1] + "우" if form.endswith(_U_STEMS) else ""
    contracted = {_YEO: _I, _WEO: _U, _WA: _O, _WAE: _OE}.get(_vowel_of(last))
    if contracted is not None:
        return form[:-1] + _with_vowel(last, contracted)
    return form if _vowel_of(last) in (_A, _EO, _AE) else ""


def _written(word: str) -> Asked | None:
    if not word.endswith("다"):
        return None
    stem = word[:-1]
    last = stem[-1]
    if stem.endswith("는") and len(stem) > 1 and _final_of(stem[-2]):
        return _of_stem(stem[:-1])
    if _final_of(last) == _FINAL["ㄴ"] and stem != "아닌":
        return _of_stem(stem[:-1] + _with_final(last, ""))
    if last in "있없" or _final_of(last) == _FINAL["ㅆ"]:
        return _of_stem(stem)
    if _is_copula(stem):
        return _copula(stem[:-1])
    return _of_stem(stem) if _is_adjective(stem) else None


def _noted(word: str) -> Asked | None:
    """Notes end in nouns of verbs: 함, 됨, 있음."""
    if word.endswith("음") and len(word) > 1 and _final_of(word[-2]) in (_FINAL["ㅆ"], 18):  # 18: the ㅄ of 없음
        return _of_stem(word[:-1])
    if word[-1] in "함됨":
        return _of_stem(word[:-1] + _with_final(word[-1], ""))
    return None


def _is_adjective(stem: str) -> bool:
    if stem.endswith("하"):
        return stem[:-1].endswith(_ADJECTIVES_IN_HA) or stem[:-1] in _SHORT_ADJECTIVES_IN_HA
    return stem in _ADJECTIVES


def _of_stem(stem: str) -> Asked | None:
    last = stem[-1]
    if _is_adjective(stem):
        if _final_of(last):
            return Asked(f"{stem}은가요", f"{stem}습니까", f"{stem}은지")
        bare = stem[:-1] + _with_final(last, "ㄴ")
        return Asked(f"{bare}가요", f"{stem[:-1]}{_with_final(last, 'ㅂ')}니까", f"{bare}지")
    formal = f"{stem}습니까" if _final_of(last) else f"{stem[:-1]}{_with_final(last, 'ㅂ')}니까"
    return Asked(f"{stem}나요", formal, f"{stem}는지")


def _copula(noun: str) -> Asked:
    return Asked(f"{noun}인가요", f"{noun}입니까", f"{noun}인지")
