"""The sentence of short notes that answers a plain question, and questions that they do not answer."""

from pathlib import Path

import pytest

from malmoi.corpus.documents import Document
from malmoi.retrieval.days import days_of
from malmoi.retrieval.findings import Findings, title_of
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.korean import verb_stems
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.match import Bag
from malmoi.retrieval.question import are_joined
from malmoi.retrieval.quote import about, quote
from malmoi.retrieval.sentences import asked_in_notes, counts, tells
from malmoi.retrieval.small_talk import small_talk
from malmoi.retrieval.update import update_index

NOTES = {
    "waffles.md": (
        "# Waffles\n"
        "\n"
        "They take half an hour.\n"
        "\n"
        "## Ingredients\n"
        "\n"
        "- 4 eggs\n"
        "- 200 g flour\n"
        "\n"
        "## Method\n"
        "\n"
        "Beat the eggs. Bake each of the waffles for "
        "three minutes.\n"
    ),
    "committee.txt": (
        "Minutes of the street committee\n"
        "\n"
        "Present: Amal, Jonas\n"
        "\n"
        "The summer party will be held on 6 July in "
        "the courtyard. The budget for the party is "
        "350 euros. Jonas brings the tables.\n"
    ),
    "porto.md": ("# Trip to Porto\n\n## Travel\n\nThe plane leaves Basel on 9 June at 7:15. We return on 15 June.\n"),
    "shop.md": (
        "# Paper shop\n"
        "\n"
        "## Opening hours\n"
        "\n"
        "Monday to Friday: 8:00 to 18:00\n"
        "Saturday: 9:00 to 13:00\n"
        "Sunday: closed\n"
        "\n"
        "## Prices\n"
        "\n"
        "- Notebook: 3 euros\n"
        "- Pen: 2 euros\n"
    ),
    "people.csv": ("name,phone,job\nMira Stone,0151 200 11,plumber\nPaul Reed,0151 200 77,caretaker\n"),
    "합창단.md": (
        "# 새벽 합창단\n"
        "\n"
        "우리는 매주 월요일 저녁 8시에 모여요. 장소는 구민회관 지하 연습실이에요.\n"
        "\n"
        "## 회비\n"
        "\n"
        "회비는 한 달에 2만 원이에요.\n"
    ),
    "미역국.md": (
        "# 미역국\n"
        "\n"
        "## 재료\n"
        "\n"
        "- 미역 20g\n"
        "- 국간장 1큰술\n"
        "- 다진 마늘 1작은술\n"
        "\n"
        "## 만들기\n"
        "\n"
        "미역은 20분 동안 불린다. 고기를 먼저 볶는다. 다진 마늘은 불을 끄기 5분 "
        "전에 넣는다.\n"
    ),
    "여수.md": (
        "# 여수 여행\n"
        "\n"
        "4월 3일 아침 8시 기차로 떠난다. 돌아오는 기차는 5일 오후 4시에 출발한다. "
        "숙소는 바닷가 민박이다.\n"
    ),
    "꽃집.md": (
        "# 꽃집\n"
        "\n"
        "평일에는 9시부터 19시까지 엽니다. 토요일은 10시에 엽니다. 일요일은 쉽니다.\n"
        "\n"
        "- 장미: 3,000원\n"
        "- 튤립: 2,500원\n"
    ),
    "전화.csv": ("이름,전화\n김서우,010-1111-2222\n박다온,010-3333-4444\n"),
}


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Lookup:
    folder = Path(tmp_path_factory.mktemp("notes"))
    (folder / "notes").mkdir()
    for name, text in NOTES.items():
        (folder / "notes" / name).write_text(text, encoding="utf-8")
    update_index(folder / "notes", folder / "index")
    return Lookup(Index.open(folder / "index"))


def ask(lookup: Lookup, question: str) -> Findings:
    return lookup.find([{"role": "user", "content": question}])


@pytest.mark.parametrize(
    ("question", "file", "sentence"),
    [
        # What is asked for has to be in the sentence; what the question is about may be in the heading.
        ("How many eggs do I need for the waffles?", "waffles.md", "4 eggs"),
        ("What is the budget for the summer party?", "committee.txt", "The budget for the party is 350 euros."),
        ("미역국에 다진 마늘은 언제 넣어?", "미역국.md", "다진 마늘은 불을 끄기 5분 전에 넣는다."),
        # Other words for the same, and the way there rather than the way back.
        ("When do we fly to Porto?", "porto.md", "The plane leaves Basel on 9 June at 7:15."),
        ("When do we come back from Porto?", "porto.md", "We return on 15 June."),
        ("여수 여행은 언제 출발해요?", "여수.md", "4월 3일 아침 8시 기차로 떠난다."),
        ("여수에서 언제 돌아와?", "여수.md", "돌아오는 기차는 5일 오후 4시에 출발한다."),
        # The kind of answer that the question word asks for, also in the sentence after.
        ("합창단은 어디서 모여요?", "합창단.md", "장소는 구민회관 지하 연습실이에요."),
        ("합창단은 언제 모여요?", "합창단.md", "우리는 매주 월요일 저녁 8시에 모여요."),
        ("Who brings the tables?", "committee.txt", "Jonas brings the tables."),
        # One line of many, without the mark of the list.
        ("When does the paper shop open on Saturday?", "shop.md", "Saturday: 9:00 to 13:00"),
        ("Are you open on Sundays?", "shop.md", "Sunday: closed"),
        ("일요일에도 여나요?", "꽃집.md", "일요일은 쉽니다."),
        ("How much is a notebook?", "shop.md", "Notebook: 3 euros"),
        ("튤립 얼마예요?", "꽃집.md", "튤립: 2,500원"),
        # A row of a table is one answer.
        ("박다온 전화번호가 뭐야?", "전화.csv", "이름: 박다온; 전화: 010-3333-4444"),
        ("What is the phone number of Paul Reed?", "people.csv", "name: Paul Reed; phone: 0151 200 77; job: caretaker"),
    ],
)
def test_the_sentence_with_what_is_asked_for_is_quoted(lookup: Lookup, question: str, file: str, sentence: str) -> None:
    findings = ask(lookup, question)
    assert [(source.passage.file, source.sentence) for source in findings.sources[:1]] == [(file, sentence)]
    assert sentence in quote(findings)


@pytest.mark.parametrize(
    "question",
    [
        "How much sugar do I need for the waffles?",
        "What is the email address of Paul Reed?",
        "When is the winter party?",
        "How old is Jonas?",
        "What is the capital of Norway?",
        "김서우 생일이 언제야?",
        "미역국에 새우는 언제 넣어?",
        "해바라기는 얼마예요?",
        "합창단 지휘자가 누구예요?",
    ],
)
def test_notes_without_what_is_asked_for_do_not_answer(lookup: Lookup, question: str) -> None:
    assert not ask(lookup, question).sources


def test_a_line_that_says_something_is_no_heading(lookup: Lookup) -> None:
    source = ask(lookup, "Who brings the tables?").sources[0]
    assert (source.passage.heading, source.line) == ("Minutes of the street committee", 5)


def test_the_name_of_something_is_no_question_about_the_assistant() -> None:
    assert small_talk("이름이 뭐야?") == "identity"
    assert small_talk("숙소 이름이 뭐야?") == ""
    assert {small_talk(said) for said in ("How old are you?", "몇 살이야?", "너는 어디 살아?")} == {"identity"}
    assert {small_talk(said) for said in ("How old is the house?", "우리 집은 몇 살이야?")} == {""}


@pytest.mark.parametrize(
    ("text", "is_so"),
    [
        ("json.loads랑 json.load 차이", True),
        ("json.loads and json.load, which one?", True),
        ("copy and deepcopy", True),
        ("json.loads json.load", False),
    ],
)
def test_a_name_is_not_the_beginning_of_another(text: str, is_so: bool) -> None:
    one, other = ("json.loads", "json.load") if "json" in text else ("copy", "deepcopy")
    assert are_joined(text, one, other) is is_so


def test_a_word_of_small_talk_is_no_other_word() -> None:
    assert small_talk("whats up") and small_talk("waht's up?")
    assert small_talk("what's map") == ""


def test_an_index_is_told_of_by_the_first_headings_of_its_documents() -> None:
    titles = ["Rules", "Rules > Equipment", "Trip", "Trip > Hotel", "function json.dumps(obj)"]
    facts = {"files": 3, "passages": 5, "titles": titles}
    assert about(facts, "en") == "3 documents, such as Rules, Trip, json.dumps"
    assert about(facts, "ko") == "문서 3개(Rules, Trip, json.dumps 등)"
    one = {"files": 1, "titles": ["Rules > Equipment", "Rules > Fees"]}
    assert about(one, "en") == "1 document, such as Rules > Equipment, Rules > Fees"
    assert about({}, "ko") == "문서 0개"
    python = {"files": 6235, "titles": [f"function json.dumps{n}(obj)" for n in range(19)] + ["class dict()"]}
    assert about(python, "en") == "the documentation of Python's standard library (6,235 documents)"
    assert about(python, "ko") == "파이썬 표준 라이브러리 문서(6,235개)"
    assert about({"files": 2, "titles": [*python["titles"], "Rules", "Trip", "Fees"]}, "en").startswith("2 documents")


BAKERY = """# 달빛빵집

달빛빵집은 2014년에 문을 열었다. 평일에는 오전 8시부터 저녁 7시까지 영업한다. 일요일은 쉰다.
"""
LODGING = """강릉 여행 숙소

숙소는 안목해변 근처의 바다펜션이다. 하룻밤에 12만 원이고 고기는 밖에서 굽는다.
"""


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        # A time of the day is asked for, and no year.
        ("빵집은 언제 열어?", "평일에는 오전 8시부터 저녁 7시까지 영업한다."),
        ("빵집 몇 시까지 해요?", "평일에는 오전 8시부터 저녁 7시까지 영업한다."),
        ("빵집은 몇 년에 문을 열었어?", "달빛빵집은 2014년에 문을 열었다."),
        ("일요일에도 빵집 문 열어?", "일요일은 쉰다."),
        # The title is what the question is about, not what it asks for.
        ("숙소 얼마야?", "하룻밤에 12만 원이고 고기는 밖에서 굽는다."),
        ("숙소가 어디야?", "숙소는 안목해변 근처의 바다펜션이다."),
        # The stem of a verb that its ending changes.
        ("고기는 어디서 구워?", "하룻밤에 12만 원이고 고기는 밖에서 굽는다."),
    ],
)
def test_what_a_title_holds_is_not_asked_for(tmp_path: Path, question: str, sentence: str) -> None:
    for name, text in {"빵집.md": BAKERY, "숙소.txt": LODGING}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    update_index(tmp_path, tmp_path.parent / f"{tmp_path.name}-index")
    found = ask(Lookup(Index.open(tmp_path.parent / f"{tmp_path.name}-index")), question)
    assert [source.sentence for source in found.sources[:1]] == [sentence]


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        ("사무실은 몇 층이야?", "우체국 건물 4층입니다.", "차는 2대까지 댈 수 있습니다."),
        ("How many seats are there?", "It has 38 seats.", "It opens at 8."),
        ("며칠까지 먹을 수 있어?", "냉장고에서 열흘까지 갑니다.", "두 시간 담가 둡니다."),
    ],
)
def test_a_count_is_of_what_the_question_counts(question: str, right: str, wrong: str) -> None:
    assert (counts(question, right) or 0) > 0 == counts(question, wrong)


def test_a_question_that_counts_nothing_wants_no_count() -> None:
    assert counts("Where is the key?", "It has 38 seats.") is None


@pytest.mark.parametrize(
    ("kind", "told", "untold"),
    [
        ("time", "토, 일에 쉽니다.", "마을 기금에서 냅니다."),
        ("measure", "A plot is 40 square metres.", "There are 38 plots."),
    ],
)
def test_a_kind_is_told_by_its_own_words(kind: str, told: str, untold: str) -> None:
    assert tells(kind, told) > tells(kind, untold) == 0


FORMS = [
    "마셔도 마십니다 마신다 마시세요 마실까 마시거나 마셨다",
    "가져와야 가져옵니다 가져오세요 가져온다 가져왔던",
    "바꿔 바꾸려면 바꾼다 바꿉니다 바꾸십시오 바꿨어요",
    "모여 모인다 모였다 모이며 모일래",
    "발라 바르세요 바른다 발랐다 바를까요",
    "구워 굽습니다 구운 굽는다 구우면",
    "걸어 걷는다 걸었다 걸으면",
    "지어 짓는다 지은 지었다",
    "여세요 연다 열어 열면 엽니다",
    "꺼 끄세요 끈다 껐다 끌까",
    "가 간다 갔다 갑니다 갈게요 가며",
]
"""Forms of one verb a line."""


@pytest.mark.parametrize("forms", FORMS)
def test_forms_of_a_verb_share_a_stem_and_those_of_others_do_not(forms: str) -> None:
    words = forms.split()
    assert all(verb_stems(one) & verb_stems(other) for one in words for other in words)
    others = [word for other in FORMS if other != forms for word in other.split()]
    assert not any(verb_stems(one) & verb_stems(other) for one in words for other in others)


def test_a_noun_before_a_particle_and_what_counts_are_no_verbs() -> None:
    assert verb_stems("분에") == {"분에", "분"}
    assert Bag("40분에").stems == {"분에", "분"}
    assert "여" in Bag("문을 연다").stems


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("Who plays the bass right now?", "Nora plays bass until Jim is back from Canada."),
        ("When do we get the deposit back?", "The deposit is paid back within six weeks."),
        ("What should I do in a thunderstorm?", "He is afraid of thunder: let him lie under the desk."),
        ("What happens when it is too hot?", "If it is hotter than 32 degrees we run one lap."),
        ("Where is the leash?", "His lead hangs by the kitchen door."),
    ],
)
def test_a_sentence_is_found_by_a_form_a_part_or_another_word(tmp_path: Path, question: str, sentence: str) -> None:
    paragraphs = [
        "Nora plays bass until Jim is back from Canada.",
        "The deposit is paid back within six weeks.",
        "He is afraid of thunder: let him lie under the desk. His lead hangs by the kitchen door.",
        "Ten kilometres, two laps. If it is hotter than 32 degrees we run one lap.",
    ]
    text = "\n\n".join(paragraphs)
    build_index([Document(f"# Notes\n\n{text}\n", "notes.md")], tmp_path / "index")
    found = Lookup(Index.open(tmp_path / "index")).find([{"role": "user", "content": question}])
    assert found.sources[0].sentence == sentence


def test_of_a_few_notes_all_are_read(tmp_path: Path) -> None:
    notes = [
        Document("# 과자\n\n약한 불에서 3분씩 굽는다.\n", "과자.md"),
        Document("# 열쇠\n\n서랍에 있다.\n", "열쇠.md"),
    ]
    build_index(notes, tmp_path / "index")
    found = Lookup(Index.open(tmp_path / "index")).find([{"role": "user", "content": "얼마 동안 구워?"}])
    assert found.sources[0].sentence == "약한 불에서 3분씩 굽는다."


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Monday to Friday: 8:00", {0, 1, 2, 3, 4}),
        ("open Fri–Mon", {4, 5, 6, 0}),
        ("월~목 9시", {0, 1, 2, 3}),
        ("화요일부터 금요일까지", {1, 2, 3, 4}),
        ("주말에는 쉽니다", {5, 6}),
        ("on weekdays and Sundays", {0, 1, 2, 3, 4, 6}),
        ("She sat in the sun. 1월에 옵니다.", set()),
    ],
)
def test_a_span_has_all_of_its_days(text: str, days: set[int]) -> None:
    assert days_of(text) == days


FERRY = """# Ferry

The ferry runs Tuesday to Saturday. Passengers who feel unwell tell the steward. A cabin holds four people.

Put two cups of water into the kettle. It boils in 5 minutes.
"""
FLAT = """# 자취방

관리비는 7만 원이고 전기는 따로 낸다. 집세는 신협 계좌로 보낸다. 오리배 대여료는 한 시간에 8천 원이다.

기타: 오민재
"""


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("Does the ferry run on Thursdays?", "The ferry runs Tuesday to Saturday."),
        ("Who do I tell when I am sick?", "Passengers who feel unwell tell the steward."),
        ("How much water do I put into the kettle?", "Put two cups of water into the kettle."),
        ("집세는 어느 통장으로 보내?", "집세는 신협 계좌로 보낸다."),
        ("전기세는 따로 내?", "관리비는 7만 원이고 전기는 따로 낸다."),
        ("오리배 빌리는 데 얼마예요?", "오리배 대여료는 한 시간에 8천 원이다."),
        ("기타 누가 쳐?", "기타: 오민재"),
    ],
)
def test_notes_may_say_it_in_other_everyday_words(tmp_path: Path, question: str, sentence: str) -> None:
    documents = [Document(FERRY, "ferry.md", line=1), Document(FLAT, "자취방.md", line=1)]
    build_index(documents, tmp_path / "index")
    found = ask(Lookup(Index.open(tmp_path / "index")), question)
    assert [source.sentence for source in found.sources[:1]] == [sentence]


LIBRARY = """# Town library

The library opens at 9:30 and closes at 18:00. Please print at the machine on the first floor.
"""
BUILTINS = {
    "function open(file, mode)": "Open file and return a stream. Raise OSError upon failure.",
    "function print(*args)": "Prints the values to a stream, or to sys.stdout by default.",
}


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("When does the library open?", "Town library"),
        ("Where can I print?", "Town library"),
        ("What does open do?", "open"),
        ("How do I open a file?", "open"),
        ("print", "print"),
    ],
)
def test_a_question_of_everyday_life_is_not_about_a_name(tmp_path: Path, question: str, title: str) -> None:
    documents = [Document(f"{heading}\n{text}", f"python:{heading}") for heading, text in BUILTINS.items()]
    build_index([*documents, Document(LIBRARY, "library.md", line=1)], tmp_path / "index")
    found = ask(Lookup(Index.open(tmp_path / "index")), question)
    assert "".join(title_of(source.passage) for source in found.sources[:1]) == title


@pytest.mark.parametrize(
    ("question", "kinds"),
    [
        ("When does it start?", {"time"}),
        ("Tell me when the race starts", {"time"}),
        ("Where and when do we meet?", {"time", "place"}),
        ("Who do I tell when I am sick?", {"person"}),
        ("What do I do when the alarm rings?", set()),
    ],
)
def test_when_asks_for_a_time_only_where_it_asks(question: str, kinds: set[str]) -> None:
    assert set(asked_in_notes(question)) == kinds
