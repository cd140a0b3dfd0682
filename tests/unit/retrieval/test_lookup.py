from collections.abc import Callable
from pathlib import Path

import pytest

from malmoi.corpus.documents import Document
from malmoi.retrieval.findings import Findings, title_of
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Lookup
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
    "asked",
    [
        "hm, what was {} good for again",
        "I keep forgetting what {} does",
        "so {}, huh?",
        "My colleague keeps mentioning {}. What is it?",
        "explain {} like I'm five",
        "{}가 뭐였더라",
        "{} 뭐할 때 써?",
        "코드에서 {}를 봤는데 뭔가요?",
        "waht does {} do",
    ],
)
@pytest.mark.parametrize("name", ["random.shuffle", "len", "re"])
def test_a_name_is_quoted_whatever_words_ask_for_it(search: Search, asked: str, name: str) -> None:
    findings = ask(search("docs"), asked.format(name))
    assert first_title(findings) == name
    assert findings.sources[0].sentence == first_telling(findings.sources[0].passage.text).text


@pytest.mark.parametrize(
    "turns",
    [
        ("What is the difference between json.dumps and json.loads?",),
        ("json.dumps or json.loads?",),
        ("whats the differnce between json.dumps and json.loads",),
        ("json.dumps랑 json.loads는 뭐가 달라?",),
        ("What does json.dumps do?", "How does it differ from json.loads?"),
    ],
)
def test_a_comparison_gets_the_first_sentence_of_both_names(search: Search, turns: tuple[str, ...]) -> None:
    findings = ask(search("docs"), *turns)
    assert [title_of(source.passage) for source in findings.sources] == ["json.dumps", "json.loads"]
    assert quote(findings) == (
        "json.dumps(obj, indent, sort_keys): Serialize obj to a JSON formatted str.\n"
        "json.loads(s, object_hook): Deserialize s, a str that contains a JSON document, to a Python object."
    )


@pytest.mark.parametrize("question", ["What is the difference between a cat and a dog?", "tea or coffee?"])
def test_nothing_is_compared_that_is_no_name(search: Search, question: str) -> None:
    assert not ask(search("docs"), question).sources


@pytest.mark.parametrize(
    "asked", ["Show me an example of {}", "How is {} called?", "{} 사용 예 좀", "{} in action please"]
)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("collections.Counter", "collections.Counter(iterable): >>> Counter('gallahad') Counter({'a': 3, 'l': 2})"),
        ("random.shuffle", "random.shuffle(x): Shuffle list x in place, and return None."),
        ("functools.reduce", "functools.reduce(function, iterable[, initial]): For example, reduce(add, [1, 2]) is 3."),
    ],
)
def test_an_example_is_shown_or_else_how_it_is_called(search: Search, asked: str, name: str, said: str) -> None:
    assert " ".join(quote(ask(search("docs"), asked.format(name))).split()).startswith(said)


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
        ("nice to see you again", "greeting"),
        ("hey, how's life?", "how_are_you"),
        ("thx, you've been a huge help", "thanks"),
        ("덕분에 해결됐어 고마워", "thanks"),
        ("oh, that makes sense now", "praise"),
        ("I have to go, talk to you later", "bye"),
        ("그럼 다음에 또 올게요", "bye"),
        ("So who exactly am I talking to?", "identity"),
        ("are you some sort of robot?", "identity"),
        ("널 만든 사람은 누구야?", "identity"),
        ("What kind of things can I ask you?", "ability"),
        ("어떤 걸 물어보면 돼?", "ability"),
        ("🙂", "wordless"),
        ("??", "wordless"),
        ("ㅋㅋㅋ", "praise"),
        ("haha, thanks", "thanks"),
        ("That's wrong.", "wrong"),
        ("no, not what I asked for", "wrong"),
        ("아니 그거 말고", "wrong"),
        ("is that wrong?", ""),
        ("what is wrong with len", ""),
        ("Is it good?", ""),
        ("great, how do I do it", ""),
        ("고마워 그게 뭐야", ""),
        ("바이트", ""),
        ("네트워크 이름이 뭐야?", ""),
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
    assert "17 documents" in quote(ask(search("docs"), "Who are you?"))


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


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ("path.join", "os.path.join"),
        ("What does Path.Join do?", "os.path.join"),
        ("counter.most_common이 뭐야", "collections.Counter.most_common"),
        ("Counter.least_common", ""),
    ],
)
def test_a_name_without_its_module_is_answered(tmp_path: Path, asked: str, title: str) -> None:
    names = ("function os.path.join(a, p)", "class collections.Counter", "method collections.Counter.most_common(n)")
    documents = [Document(f"{name}\nAs it does.", f"python:{name}") for name in names]
    build_index(documents, tmp_path / "index")
    found = Lookup(Index.open(tmp_path / "index")).find([{"role": "user", "content": asked}])
    assert first_title(found) == title


def test_a_name_in_part_is_the_one_that_is_written_so(tmp_path: Path) -> None:
    names = ("function os.path.exists(path)", "method pathlib.Path.exists()")
    build_index([Document(f"{name}\nWhether it exists.", f"python:{name}") for name in names], tmp_path / "index")
    lookup = Lookup(Index.open(tmp_path / "index"))
    for asked, title in (("Path.exists", "pathlib.Path.exists"), ("path.exists", "os.path.exists")):
        found = lookup.find([{"role": "user", "content": asked}])
        assert title_of(found.sources[0].passage) == title


def test_what_is_asked_of_a_parameter_is_answered_by_its_sentence(search: Search) -> None:
    found = search("docs").find([{"role": "user", "content": "what does the indent parameter of json.dumps do?"}])
    assert quote(found).startswith("json.dumps(obj, indent, sort_keys): If indent is a number, arrays are printed with")
    found = search("docs").find([{"role": "user", "content": "which parameters does json.dumps take?"}])
    assert quote(found).startswith("json.dumps takes obj, indent, sort_keys.")


@pytest.mark.parametrize(
    ("asked", "told"),
    [("flat tire", "tyre costs 12"), ("what color is it", "colour"), ("who organizes it", "organised")],
)
def test_british_and_american_spelling_are_one(tmp_path: Path, asked: str, told: str) -> None:
    text = "# Shop\n\nA flat tyre costs 12 euros.\n\nThe door has the colour blue.\n\nThe fair is organised by Marta."
    build_index([Document(text, "shop.md", line=1)], tmp_path / "index")
    found = Lookup(Index.open(tmp_path / "index")).find([{"role": "user", "content": asked}])
    assert told in (found.sources or found.closest)[0].sentence
