"""Answers without a network: the sentence that was found, with its name or heading; the voice `none`."""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from malmoi.retrieval.findings import Findings, Source, title_of
from malmoi.retrieval.match import BUILTINS
from malmoi.retrieval.names import Name, asked_parameter, name_of
from malmoi.retrieval.question import COMPARISON, language_of
from malmoi.retrieval.sentences import telling_of
from malmoi.retrieval.taught import TaughtSource
from malmoi.retrieval.terms import terms

MAX_CHARS = 400
MIN_LIKENESS = 0.25
"""Share of their words that two replies to small talk have in common at least, if they are of one kind."""
KINDS_KO = {
    "function": "함수",
    "class": "클래스",
    "method": "메서드",
    "module": "모듈",
    "property": "속성",
    "attribute": "속성",
}


def quote(findings: Findings) -> str:
    """The answer in the question's language: what was found, a reply to small talk, or that nothing fits."""
    if findings.small_talk:
        return _small_talk(findings)
    if not findings.sources:
        return _decline(findings)
    if findings.wanted == COMPARISON:
        return "\n".join(_of_a_name(findings, source) for source in findings.sources)
    best = findings.sources[0]
    if name_of(best.passage.heading) is None:
        return _of_a_text(best)
    return with_others(_of_a_name(findings, best), findings, best)


def with_others(answer: str, findings: Findings, answered: Source) -> str:
    """An answer about a name with the names of the other sources after it, as a sentence of its own."""
    others = see_also(findings, answered)
    is_whole = answer.rstrip("\"'”’)]").endswith((".", "!", "?", "…", "。", ":", ";"))
    return answer + ("." if others and not is_whole else "") + others


def see_also(findings: Findings, answered: Source) -> str:
    """The names of the other sources, to be written after an answer about a name; "" if there are none."""
    if name_of(answered.passage.heading) is None:
        return ""
    others = dict.fromkeys(title_of(source.passage) for source in findings.sources)
    others.pop(title_of(answered.passage), None)
    return f" {_('See also', '참고', findings)}: {', '.join(others)}." if others else ""


def with_parameters(answer: str, source: Source) -> str:
    """An answer that begins with a source's name, with the name's parameters as documented after it."""
    name = name_of(source.passage.heading)
    if name is None or not answer.startswith(f"{name.written}:"):
        return answer
    return called(name) + answer.removeprefix(name.written)


def called(name: Name) -> str:
    """A name with its parameters: json.dump(obj, fp)."""
    return name.written if name.parameters is None else f"{name.written}({', '.join(name.parameters)})"


_ADDED = re.compile(r" (?:See also|참고): [^\n]*$")
_PARAMETERS = re.compile(r"^([\w.]+)\([^()]*\):")


def without_additions(answer: str) -> str:
    """An answer without what `with_parameters` and `see_also` add, and a refusal without what is quoted after it: as a
    voice says it, and reads it in later turns."""
    if (unsure := next((said for said in UNSURE.values() if answer.startswith(said)), None)) is not None:
        return unsure
    return _PARAMETERS.sub(r"\1:", _ADDED.sub("", answer))


UNSURE = {
    "en": "I am not sure that the documents answer this.",
    "ko": "문서에서 확실한 답을 찾지 못했습니다.",
}
"""How an answer begins that is none, and offers what is nearest, by language."""
DECLINES = {"en": "The documents do not say.", "ko": "문서에는 그 내용이 없습니다."}
"""What a voice is taught to say where its documents do not answer, by language."""


def declined(findings: Findings) -> str:
    """What a person gets of a voice that found no answer in its documents: that, and the passage that is nearest."""
    nearest = _("The nearest passage", "가장 가까운 내용", findings)
    return f"{DECLINES[findings.language]} {nearest}: {quote(findings)}"


def _(english: str, korean: str, findings: Findings) -> str:
    return korean if findings.language == "ko" else english


def _of_a_text(source: Source) -> str:
    heading = source.passage.heading
    return f"{heading}: {source.told}" if heading and heading not in source.told else source.told


def _of_a_name(findings: Findings, source: Source) -> str:
    name = name_of(source.passage.heading)
    assert name is not None
    korean = findings.language == "ko"
    kind = KINDS_KO.get(name.kind, name.kind) if korean else name.kind
    module = name.written.rsplit(".", 1)[0] if "." in name.written else "builtins"
    said = shortened(source.sentence)
    asked = asked_parameter(findings.question, name) if findings.wanted == "parameters" else ""
    is_told = bool(asked) and telling_of(asked, source.sentence) is not None
    if findings.wanted == "parameters" and name.parameters is not None and not is_told:
        listed = ", ".join(name.parameters)
        if korean:
            return f"{name.written}의 매개변수: {listed}." if listed else f"{name.written}에는 매개변수가 없습니다."
        return f"{name.written} takes {listed}." if listed else f"{name.written} takes no parameters."
    if findings.wanted == "kind":
        return f"{name.written}: {kind}. {said}" if korean else f"{name.written} is a {kind}. {said}"
    if findings.wanted == "module" and name.kind != "module":
        within = f"{name.written} ({module} 모듈)" if korean else f"{name.written}, in {module}"
        return f"{within}: {said}"
    shown = _as_called(name, source) if findings.wanted == "example" else called(name)
    return f"{shown}: {said}"


def _as_called(name: Name, source: Source) -> str:
    """A name with its parameters, also where only the text has them: reduce(function, iterable[, initial])."""
    last = re.escape(name.written.rsplit(".", 1)[-1])
    told = re.search(rf"(?m)^[ \t]*(?:\w+\.)*{last}(\([^()\n]*\))", source.passage.text)
    return name.written + told.group(1) if told and name.parameters is None else called(name)


def shortened(sentence: str) -> str:
    """The first MAX_CHARS characters of a sentence and " …" if it is longer, cut between words if it has any; without
    markup of the documentation."""
    sentence = re.sub(r":[a-z:]+:`~?([^`]*)`", r"\1", sentence).replace("``", "")
    if len(sentence) <= MAX_CHARS:
        return sentence
    end = sentence.rfind(" ", 0, MAX_CHARS)
    return sentence[: end if end > 0 else MAX_CHARS] + " …"


def _decline(findings: Findings) -> str:
    if findings.closest:
        return " ".join((UNSURE[findings.language], *(_offered(findings, source) for source in findings.closest)))
    nearest = ", ".join(findings.nearest)
    if findings.language == "ko":
        return "문서에서 답을 찾지 못했습니다." + (f" 가장 가까운 제목: {nearest}." if nearest else "")
    return "I found nothing in the documents that answers this." + (
        f" The nearest titles: {nearest}." if nearest else ""
    )


def _offered(findings: Findings, source: Source) -> str:
    """What may answer, as a quotation: of a document the nearest sentence, of a person the answer with its question."""
    said, heading = shortened(source.told), source.passage.heading
    if isinstance(source, TaughtSource):
        asked = shortened(heading)
        korean = f"비슷한 질문에 누군가 가르친 답이 있습니다. “{asked}”: “{said}”"
        return _(f"Someone taught an answer to a similar question, “{asked}”: “{said}”", korean, findings)
    if heading and heading not in said:
        korean = f"가장 가까운 문장은 ‘{heading}’에 있습니다: “{said}”"
        return _(f"The nearest sentence is under ‘{heading}’: “{said}”", korean, findings)
    return _(f"The nearest sentence: “{said}”", f"가장 가까운 문장은 이것입니다: “{said}”", findings)


def about(facts: Mapping[str, Any], language: str) -> str:
    """What the index holds, in words: "3 documents, such as Opening hours, Prices, The garden"; of Python's
    documentation, what that is and not its first names."""
    n_files, titles = facts.get("files", 0), [str(title) for title in facts.get("titles", [])]
    if _is_python(titles):
        english = f"the documentation of Python's standard library ({n_files:,} documents)"
        return f"파이썬 표준 라이브러리 문서({n_files:,}개)" if language == "ko" else english
    first = [title.partition(" > ")[0] for title in titles]  # a heading of a document's first level tells most
    named = [(name_of(title), title) for title in (first if len(set(first)) > 1 else titles)]
    shown = ", ".join(list(dict.fromkeys(name.written if name else title for name, title in named))[:3])
    if language == "ko":
        return f"문서 {n_files:,}개" + (f"({shown}{' 등' if len(titles) > 1 else ''})" if shown else "")
    return f"{n_files:,} document{'s' * (n_files != 1)}" + (f", such as {shown}" if shown else "")


FEW_NAMES, MOST_NAMES = 20, 0.9
"""Titles that are names of Python's library, and their share, that make the documents its documentation."""


def _is_python(titles: Sequence[str]) -> bool:
    names = [name.written.partition(".")[0] for title in titles if (name := name_of(title)) is not None]
    n = sum(root in sys.stdlib_module_names or root in BUILTINS for root in names)
    return n >= FEW_NAMES and n >= MOST_NAMES * len(titles)


_REPLIES = {
    "greeting": ("Hello! Ask me about {about}.", "안녕하세요! {about}에 대해 물어보세요."),
    "how_are_you": (
        "I am a program, and running. Ask me about {about}.",
        "저는 프로그램이고 잘 돌아가고 있습니다. {about}에 대해 물어보세요.",
    ),
    "thanks": ("You are welcome.", "천만에요."),
    "praise": ("Good. Ask me more whenever you like.", "네. 더 궁금한 것이 있으면 물어보세요."),
    "wrong": (
        "I am sorry. Please ask in other words, or name what it is about.",
        "죄송합니다. 다른 말로 묻거나, 찾는 것의 이름을 알려 주세요.",
    ),
    "wordless": ("I see no question in that. Ask me about {about}.", "질문이 없습니다. {about}에 대해 물어보세요."),
    "bye": ("Goodbye!", "안녕히 가세요!"),
    "identity": (
        "I am an assistant made with Malmoi. I am a program, not a person, and I answer from {about}.",
        "저는 말모이로 만든 조수입니다. 사람이 아니라 프로그램이고, {about}에서 찾아 답합니다.",
    ),
    "ability": (
        "I answer questions about {about}, and say where each answer comes from. What is not there I do not know.",
        "{about}에 대한 질문에 답하고, 답이 어디에서 왔는지 말합니다. 거기에 없는 것은 모릅니다.",
    ),
}  # fmt: skip


def is_reply_to(said: str, findings: Findings) -> bool:
    """Whether words may answer this small talk: in its language, and not like the reply to another kind of it."""
    if language_of(said) != findings.language:
        return False
    words = set(terms(said))
    shared = {kind: max(_likeness(words, set(terms(form))) for form in forms) for kind, forms in _REPLIES.items()}
    return max(shared.values()) <= max(shared[findings.small_talk], MIN_LIKENESS)


def _likeness(words: set[str], others: set[str]) -> float:
    return len(words & others) / max(1, len(words | others))


def _small_talk(findings: Findings) -> str:
    english, korean = _REPLIES[findings.small_talk]
    form = korean if findings.language == "ko" else english
    return form.format(about=about(findings.facts, findings.language))
