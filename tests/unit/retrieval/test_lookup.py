from collections.abc import Callable

import pytest

from malmoi.retrieval.lookup import Findings, Lookup, title_of
from malmoi.retrieval.quote import quote
from malmoi.retrieval.sentences import first_telling

Search = Callable[[str], Lookup]


def ask(lookup: Lookup, *turns: str) -> Findings:
    """The findings for the last of the user's turns, each earlier one answered with a quotation."""
    messages = []
    for turn in turns:
        messages.append({"role": "user", "content": turn})
        findings = lookup.find(messages)
        messages.append({"role": "assistant", "content": quote(findings)})
    return findings


def first_title(findings: Findings) -> str:
    return title_of(findings.sources[0].passage) if findings.sources else ""


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("What does json.dumps do?", "json.dumps"),
        ("JSON.DUMPS", "json.dumps"),
        ("json.dumps()", "json.dumps"),
        ("`json.dumps`?", "json.dumps"),
        ("json.dumps는 뭐예요?", "json.dumps"),
        ("dumps", "json.dumps"),
        ("Tell me about os.path.join, please", "os.path.join"),
        ("what does len do", "len"),
        ("What does any do?", "any"),
        ("Hello, what does random.shuffle do?", "random.shuffle"),
        ("안녕하세요, time.sleep은 무슨 함수인가요?", "time.sleep"),
        ("How do I delete a file?", "os.remove"),
        ("How can I pick a random element?", "random.choice"),
        ("which module is for regular expressions", "re"),
    ],
)
def test_finds_what_is_asked_for(search: Search, question: str, title: str) -> None:
    assert first_title(ask(search("docs"), question)) == title


@pytest.mark.parametrize(
    "question",
    [
        "What does frobnicate.xyz do?",
        "What does json.fetch_all do?",
        "What is the weather in Seoul?",
        "Who painted the Mona Lisa?",
        "오늘 날씨 어때?",
        "random.levitate가 뭐예요?",
    ],
)
def test_declines_what_is_not_there_in_the_language_of_the_question(search: Search, question: str) -> None:
    findings = ask(search("docs"), question)
    assert not findings.sources
    assert ("문서에서" in quote(findings)) == (findings.language == "ko")


@pytest.mark.parametrize(
    ("turns", "title"),
    [
        (("What does str.upper do?", "and str.lower?"), "str.lower"),
        (("What does random.choice do?", "and shuffle?"), "random.shuffle"),
        (("json.dumps가 뭐예요?", "그럼 json.loads는?"), "json.loads"),
        (("Hi!", "What is collections.Counter?", "give me an example"), "collections.Counter"),
        (("What does len do?", "What is the weather?", "What does time.sleep do?"), "time.sleep"),
    ],
)
def test_a_follow_up_is_about_what_came_before(search: Search, turns: tuple[str, ...], title: str) -> None:
    assert first_title(ask(search("docs"), *turns)) == title


def test_parameters_of_what_came_before_are_quoted(search: Search) -> None:
    assert "indent" in quote(ask(search("docs"), "What does json.dumps do?", "What parameters does it take?"))


@pytest.mark.parametrize(
    ("question", "file", "said"),
    [
        ("도서관은 몇 시에 열어요?", "도서관.md", "오전 9시"),
        ("책을 몇 권까지 빌릴 수 있어?", "도서관.md", "다섯 권"),
        ("대출 기간이 얼마나 되나요?", "도서관.md", "14일"),
        ("선인장에는 물을 언제 줘?", "화분.md", "한 달에 한 번"),
        ("When do we fly?", "trip.md", "3 May"),
        ("Who carries the tickets?", "trip.md", "Minji"),
    ],
)
def test_the_sentence_that_answers_is_quoted_from_its_file(search: Search, question: str, file: str, said: str) -> None:
    findings = ask(search("notes"), question)
    best = findings.sources[0]
    assert (best.passage.file, said in best.sentence, said in quote(findings)) == (file, True, True)
    assert best.line > 0


@pytest.mark.parametrize("question", ["수영장은 언제 열어요?", "What is the capital of France?", "json.dumps?"])
def test_notes_that_do_not_say_it_are_not_quoted(search: Search, question: str) -> None:
    assert not ask(search("notes"), question).sources


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Hello!", "greeting"),
        ("helo", "greeting"),
        ("안녕하세요~", "greeting"),
        ("Thanks a lot", "thanks"),
        ("고맙습니다!", "thanks"),
        ("Who are you?", "identity"),
        ("넌 누구야", "identity"),
        ("What can you do?", "ability"),
        ("bye", "bye"),
        ("What does len do?", ""),
        ("len", ""),
    ],
)
def test_small_talk_is_known_and_answered(search: Search, said: str, kind: str) -> None:
    findings = ask(search("docs"), said)
    assert findings.small_talk == kind
    if kind:
        assert not findings.sources
        assert quote(findings)


def test_says_truly_what_it_was_made_from(search: Search) -> None:
    assert "13 documents" in quote(ask(search("docs"), "Who are you?"))


def test_a_row_names_the_source(search: Search) -> None:
    row = ask(search("notes"), "Who carries the tickets?").sources[0].to_row()
    assert list(row) == ["file", "heading", "line", "place", "sentence", "score", "document"]
    assert row["line"] == 5
    assert row["heading"] == "Trip to Jeju"
    assert 0.5 <= row["score"] <= 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bool(x) -> bool\n\nReturns True when the argument is true.", "Returns True when the argument is true."),
        ("D.update([E, ]**F) -> None.  Update D from E.", "Update D from E."),
        ("dict() -> new empty dictionary\n\n>>> dict()", "dict() -> new empty dictionary"),
        ("Return the sum. f(x) -> int", "Return the sum."),
    ],
)
def test_the_first_sentence_of_a_docstring_is_its_prose(text: str, told: str) -> None:
    assert first_telling(text).text == told
