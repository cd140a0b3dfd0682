"""Korean sentences -> what they answer: when, where, who, how many, how much, what.

Korean keeps its word order in questions: the answer's words are replaced by the word that asks for them, and the
predicate gets the ending of a question.
"""

import re
from collections.abc import Iterator

from malmoi.synthetic import korean_patterns as P
from malmoi.synthetic.korean import Asked, ask, with_particle
from malmoi.synthetic.questions import Answerable

LONGEST_SENTENCE = 100
LONGEST_SIMPLE = 60
"""Longer sentences are seldom simple enough to be turned into a question."""
LONGEST_QUESTION = 60

# Endings of a question: polite, formal, embedded; the last one is held out.
ENDINGS = (
    "{polite}?",
    "{formal}?",
    "{embedded} 알려 주세요.",
    "{embedded} 알아?",
    "{polite}",
    "{embedded} 알려 줄래?",
)
SECTION = (
    "{topic} 알려 주세요.",
    "{name}에 대해 뭐라고 나와 있나요?",
    "{name}에 대해 알려 줘",
    "{name}에 관한 내용을 알고 싶습니다.",
    "{name}에 대해 설명해 줄래?",
)
LIST = (
    "{subject} 무엇인가요?",
    "{name}에는 무엇이 있나요?",
    "{topic} 전부 알려 주세요.",
    "{name} 목록을 보여 줘",
    "{subject} 뭐뭐 있어?",
)
PAIR = (
    "{subject} 어떻게 되나요?",
    "{topic} 알려 주세요.",
    "{subject} 어떻게 됩니까?",
    "{topic} 알려 줘",
    "{subject} 어떻게 되는지 알려 줄래?",
)
PRICE = (
    "{subject} 얼마인가요?",
    "{subject} 얼마예요?",
    "{name} 값이 얼마입니까?",
    "{name} 얼마야?",
    "{subject} 얼마인지 알려 줄래?",
)
WHAT = (
    "{subject} 무엇인가요?",
    "{agent} 뭐예요?",
    "{agent} 무엇인지 설명해 주세요.",
    "{subject} 뭐야?",
    "{name}에 대해 알려 줘",
    "{agent} 뭔지 알려 줄래?",
)
PERSON = (
    "{subject} 누구인가요?",
    "{agent} 누구예요?",
    "{agent} 누구인지 알려 주세요.",
    "{subject} 누구야?",
    "{name}에 대해 알려 줘",
    "{agent} 누군지 알려 줄래?",
)


def korean_questions(sentence: str, topic: str) -> Iterator[Answerable]:
    """The questions that a sentence answers. topic: what the text is about, for sentences that do not say it"""
    body = P.CONNECTIVE.sub("", P.PARENTHESES.sub("", sentence)).rstrip(". 。")
    if len(sentence) > LONGEST_SENTENCE or P.ODD.search(body):
        return
    words = body.split()
    if len(words) == 1 and topic:
        body = f"{with_particle(topic, '은')} {body}"
        words = body.split()
    if len(words) < 2 or P.DANGLING.match(body) or (asked := ask(words[-1])) is None:
        return
    is_copula = asked.polite.endswith("인가요") and not words[-1].endswith("가능한가요")
    if is_copula:
        yield from _of_copula(body, asked, topic)
        return
    start = "" if _says_what_it_is_about(body) else _according_to(topic)
    before = body[: -len(words[-1])]
    if P.MEANS.search(words[-1]):
        yield from _definition(body)
        return
    if (
        start is None
        or len(body) > LONGEST_SIMPLE
        or "," in body
        or P.CONNECTED.search(before)
        or P.VAGUE.search(before)
    ):
        return
    seen: set[str] = set()
    for kind, question, short in _replaced(before, asked):
        if kind not in seen and len(question) + len(start) <= LONGEST_QUESTION:
            seen.add(kind)
            yield Answerable(kind, tuple(_ended(start + question, asked)), short)
    is_rule = P.FORBIDS.search(" ".join([*words[:-1], asked.embedded]))
    if (
        not seen
        and not start
        and len(words) <= 6
        and is_rule
        and re.match(r"\S+[은는](?=\s)|\S+ \S+[은는](?=\s)", body)
    ):
        yield Answerable("whether", tuple(_ended(before, asked)), "")


def _according_to(topic: str) -> str | None:
    """The words that a question begins with where the sentence does not say what it is about."""
    if not topic:
        return None
    named = re.sub(r" ?(이용 안내|안내|소개)$", "", P.PARENTHESES.sub("", topic)).strip()
    if not named:
        return None
    return f"{named}에 따르면 " if P.PAPERS.search(named) else f"{with_particle(named, '은')} "


def _ended(start: str, asked: Asked) -> Iterator[str]:
    for ending in ENDINGS:
        yield start + ending.format(polite=asked.polite, formal=asked.formal, embedded=asked.embedded)


def _says_what_it_is_about(body: str) -> bool:
    """Whether a subject or topic is in the sentence: 은/는/이/가, not only a topic of time (평일에는)."""
    return any(
        re.search(r"[가-힣\w](은|는|이|가|께서|도)$", word)
        and not re.search(r"(에는|에서는|부터는|까지는|하는|되는|있는|없는|던)$", word)
        for word in body.split()[:-1]
    )


def _replaced(before: str, asked: Asked) -> Iterator[tuple[str, str, str]]:
    """(kind, question without its predicate, short answer); `before`: the sentence up to its predicate."""
    yield from _when(before)
    if (found := _last(P.WHO, before)) and _is_of_predicate(before[found.end() :]):
        who = _bare_noun(found["who"])
        start = found.end("who") - len(who)
        if _is_whole_noun(before[:start]) and not re.search(r"\S*의$", before[:start].strip()):
            yield "who", _put(before, (start, found.end()), "누가"), who
    yield from _how_many(before)
    if (found := _last(P.LASTS, before)) and not before[: found.start()].endswith(("약 ",)):
        particle = (found["particle"] or "").strip()
        if particle == "동안" or re.search(r"(걸리|지나|남|쉬|기다리)", asked.embedded):
            short = found["span"] + (found["about"] or "")
            yield "how long", _put(before, found.span(), "얼마 동안" if particle == "동안" else "얼마나"), short
    yield from _where(before, asked)
    yield from _what(before)


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for found in pattern.finditer(text):  # noqa: B007
        pass
    return found


def _put(text: str, span: tuple[int, int], words: str) -> str:
    """The text with other words in a place; at the beginning they follow the subject, as in 회의는 언제 …."""
    before, after = text[: span[0]], text[span[1] :]
    subject = re.match(r"\s*((?:\S+\s){0,3}?\S+[은는이가])(?=\s)", after)
    if not before.strip() and words != "누가" and subject:
        return f"{subject.group(1)} {words}{after[subject.end() :]}"
    return before + words + after


def _is_of_predicate(after: str) -> bool:
    """Whether words before the predicate hold no verb before a noun, to which a time or place would belong."""
    after = re.sub(r"\S+ (?:수|줄) *$", "", after)
    for word in after.split():
        is_number = re.search(r"\d[\d,.]*[시분일월년원명개권]$", word)
        is_number = is_number or re.fullmatch(P.PART, word)
        is_subject = word.endswith(("은", "는", "이", "가")) and not re.search(
            r"(하|되|있|없|르|지|키|리|치|우)는$", word
        )
        is_ended = re.search(r"(을|를|에|에서|에게|도|만|으로|로|과|와|께|다시|함께|모두|직접|처음|수)$", word)
        if not (is_subject or is_ended or is_number) and _final_of_last(word) in (4, 8):
            return False
        if re.search(r"(하|되|있|없|르|지|키|리|치|우)는$|[던의]$", word):
            return False
    return True


def _final_of_last(word: str) -> int:
    return (ord(word[-1]) - 0xAC00) % 28 if "가" <= word[-1:] <= "힣" else 0


def _when(before: str) -> Iterator[tuple[str, str, str]]:
    if len(P.DATED.findall(before)) > 1:
        return
    if found := _last(P.RANGE, before):
        clocks = P.ONLY_CLOCK.fullmatch(found["a"]) and P.ONLY_CLOCK.fullmatch(found["b"])
        asks = "몇 시부터 몇 시까지" if clocks else "언제부터 언제까지"
        yield "when", _put(before, found.span(), asks), found.group()
    elif found := _clause_of_time(before) or _last(P.WHEN, before):
        if not _is_of_predicate(before[found.end() :]):
            return
        is_clock = P.ONLY_CLOCK.fullmatch(found["time"])
        particle = found["particle"] or "에"
        before, found = _without_place(before, found)
        asks = f"몇 시{particle}" if is_clock else "언제" + ("" if particle == "에" else particle)
        yield "when", _put(before, found.span(), asks), found.group()


def _clause_of_time(before: str) -> re.Match[str] | None:
    """감자가 익은 다음에, 불을 끄기 전에: at the beginning or after the subject."""
    found = _last(P.CLAUSE_WHEN, before)
    if found is None or not re.search(r"(^|[은는]\s)$", before[: found.start()]):
        return None
    return found


def _without_place(before: str, time: re.Match[str]) -> tuple[str, re.Match[str]]:
    """The sentence without the place after its time: people ask when the meeting is, not where too."""
    place = _last(P.PLACE, before)
    if place is None or place["particle"] != "에서" or not _bare_noun(place["place"]):
        return before, time
    start = max(time.end(), place.end("place") - len(_bare_noun(place["place"])))
    if place.end() <= time.end() or before[time.end() : start].strip():
        return before, time
    return before[: time.end()] + before[place.end() :], time


def _how_many(before: str) -> Iterator[tuple[str, str, str]]:
    if (found := _last(P.COUNTED, before)) and _is_countable(found["noun"]):
        particle = found["particle"] or "을"
        noun = with_particle(found["noun"], "이" if particle in "이가" else "을")
        yield "how many", _put(before, found.span(), f"{noun} 몇 {found['unit']} "), found["amount"].strip()
    elif (found := _last(P.MEASURED, before)) and _is_countable(found["noun"]):
        noun = with_particle(found["noun"], "을")
        yield "how much", _put(before, found.span(), f"{noun} 얼마나 "), found["amount"].strip()


def _is_countable(noun: str) -> bool:
    return noun not in P.NOT_IN_NOUN and (not P.PARTICLE_END.search(noun) or bool(P.BARE_EXCEPTIONS.search(noun)))


def _where(before: str, asked: Asked) -> Iterator[tuple[str, str, str]]:
    found = _last(P.PLACE, before)
    if found is None:
        return
    place = _bare_noun(found["place"])
    words = place.split()
    is_beside = len(words) > 1 and words[-1] in ("뒤", "안", "밖", "옆", "앞", "위", "아래", "건너편", "근처", "사이")
    if (
        not place
        or (words[-1] in P.NO_PLACE and not is_beside)
        or re.search(rf"(?:{P.TIME})$", place)
        or re.search(r"\d$", place)
    ):
        return
    after = before[found.end() :]
    if found["particle"] == "에" and (after.strip() or not asked.embedded.removesuffix("는지").endswith(P.THERE)):
        return
    if (
        found["particle"] == "에서"
        and not P.PLACE_NAMES.search(place)
        and not P.HAPPENS.search(after.strip() + " " + asked.embedded)
    ):
        return
    if not _is_of_predicate(after):
        return
    start = found.end("place") - len(place)
    if not _is_whole_noun(before[:start]):
        return
    asks = "어디에" if found["particle"] == "에" else "어디에서"
    yield "where", _put(before, (start, found.end()), asks), place + found["particle"]


def _what(before: str) -> Iterator[tuple[str, str, str]]:
    found = P.OBJECT.search(before.rstrip() + " x")
    if found is None or not re.match(r"^[^\s]+(은|는|이|가)\s", before):
        return
    noun = _bare_noun(found["object"])
    start = found.end("object") - len(noun)
    if (
        not noun
        or noun.split()[-1] in P.NOT_ASKED
        or re.search(rf"{P.HANGUL_NUMBER}\s(?:{P.COUNTER})", noun)
        or re.search(r"\d", noun)
        or len(before.split()) > 5
        or not _is_whole_noun(before[:start])
    ):
        return
    yield "what", _put(before, (start, found.end()), "무엇을"), noun


def _bare_noun(words: str) -> str:
    """The last words of these that are bare nouns: without particles, and no verbs before a noun."""
    kept: list[str] = []
    for word in reversed(words.split()):
        if kept and (word in P.NOT_IN_NOUN or P.PARTICLE_END.search(word)) and not P.BARE_EXCEPTIONS.search(word):
            break
        kept.insert(0, word)
    return re.sub(rf"^(?:{P.TIME})\s", "", " ".join(kept))


def _is_whole_noun(before: str) -> bool:
    """Whether nothing before a noun belongs to it: a genitive, or a verb form such as "우리가 만난 카페에서"."""
    word = before.split()[-1] if before.split() else ""
    if re.search(r"(의|[와과]|던|,)$", word):
        return False
    if word.endswith("는"):
        return word.endswith(("에는", "에서는")) or _is_topic(word)
    is_noun = word.endswith(("은", "을")) or P.BARE_EXCEPTIONS.search(word)
    return bool(is_noun) or _final_of_last(word) not in (4, 8)


def _is_before_noun(word: str) -> bool:
    return bool(P.PARTICLE_END.search(word)) and not word.endswith("의") and not P.BARE_EXCEPTIONS.search(word)


def _is_topic(word: str) -> bool:
    return len(word) > 2 and word.endswith("는") and not re.search(r"(하|되|있|없|가|오|보|주|받|먹|쓰)는$", word)


def _of_copula(body: str, asked: Asked, topic: str) -> Iterator[Answerable]:
    noun_phrase = re.sub(r"(입니다|이다|이에요|예요|임)\.?$", "", body)
    found = P.TOPIC.match(noun_phrase + " x" if noun_phrase == body else noun_phrase)
    if found is None:
        return
    name, rest = found["name"], found["rest"]
    subject = with_particle(name, "은")
    if P.DANGLING.match(name) or re.search(r"(을|를|에|에서|부터|까지|으로)(\s|$)", name) or len(name) > 30:
        return
    if won := P.COPULA_WON.search(rest):
        yield Answerable("how much", _with_subject(f"{subject} {rest[: won.start()]}", "얼마"), won["won"])
    elif number := P.COPULA_NUMBER.search(rest):
        if not rest[: number.start()].strip():
            yield Answerable("how many", _with_subject(f"{subject} ", f"몇 {number['unit']}"), number.group())
    elif time := P.IS_WHEN.search(rest):
        yield Answerable("when", _with_subject(f"{subject} {rest[: time.start()]}", "언제"), time["time"])
    elif P.ONLY_FIGURE.fullmatch(rest):
        yield Answerable("how much", _with_subject(f"{subject} ", "얼마"), rest)
    elif re.search(r"(때문|것|뿐|편)$", rest):
        return
    elif name.endswith(P.PLACES):
        yield Answerable("where", _with_subject(f"{subject} ", "어디"), rest)
    elif name.endswith(P.ROLES):
        yield Answerable("who", _with_subject(f"{subject} ", "누구"), rest)
    elif re.search(r"(번호|전화)$", name):
        yield Answerable("what", _with_subject(f"{subject} ", "몇 번"), rest)
    elif not re.search(r"(것|때문|중|편|예정|정도|뿐|데|점|이유|수|곳|셈|상태)$", rest):
        yield from _definition(body)


def _with_subject(start: str, asks: str) -> tuple[str, ...]:
    return (
        f"{start}{asks}인가요?", f"{start}{asks}입니까?", f"{start}{asks}인지 알려 주세요.", f"{start}{asks}인지 알아?",
        f"{start}{asks}인가요", f"{start}{asks}인지 알려 줄래?",
    )  # fmt: skip


def _definition(body: str) -> Iterator[Answerable]:
    found = P.TOPIC.match(body)
    if found is None or P.DANGLING.match(found["name"]):
        return
    name = found["name"]
    is_odd = re.search(r"(또는|혹은|때로는|[와과][은는])$", name + found["particle"]) or found["rest"].startswith(
        ("것", "경우")
    )
    if is_odd or len(name.split()[-1]) < 2 or re.search(r"(며|고|만|데),?\s.*[은는]\s", found["rest"]):
        return
    if re.search(r"(을|를|에|에서|부터|까지|으로|하|되|있|없|[가-힣]지)(\s|$)", name) or len(name) > 30:
        return
    if P.VAGUE.search(f"{name} ") or any(_is_before_noun(word) for word in name.split()[:-1]):
        return
    noun = re.sub(r"(입니다|이다|이에요|예요|이었다|였다)$", "", found["rest"])
    phrasings = PERSON if P.PEOPLE.search(noun) else WHAT
    yield Answerable("who" if phrasings is PERSON else "what", filled(phrasings, name), "")


def filled(phrasings: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The phrasings about a name, with its particles: {name}, {subject} 은/는, {agent} 이/가, {topic} 을/를."""
    name = f"'{name}'" if re.search(r"[다요까?!]$", name) and " " in name else name
    forms = {
        "subject": with_particle(name, "은"),
        "agent": with_particle(name, "이"),
        "topic": with_particle(name, "을"),
    }
    return tuple(one.format(name=name, **forms) for one in phrasings)
