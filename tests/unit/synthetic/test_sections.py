import pytest

from malmoi.corpus.documents import Document
from malmoi.synthetic.sections import is_english, is_prose, sections, sentences, title_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ("Mr. Kim met Dr. J. Lee. They talked.", ["Mr. Kim met Dr. J. Lee.", "They talked."]),
        ("It cost 3.5 won... Really.", ["It cost 3.5 won...", "Really."]),
        ('"Go!" he said. "Now."', ['"Go!"', "he said.", '"Now."']),
        ("그는 갔다. 정말요? 네.", ["그는 갔다.", "정말요?", "네."]),
        ("그는 갔다.그녀도 갔다.", ["그는 갔다.", "그녀도 갔다."]),
        ("これは本です。それは「何？」ですか。", ["これは本です。", "それは「何？」", "ですか。"]),
        ("A heading\n\nA sentence.", ["A heading", "A sentence."]),
        ("제목\n문장이다.", ["제목", "문장이다."]),
        (
            "A line that was broken by hand at some column or\nother goes on here. Next.",
            ["A line that was broken by hand at some column or other goes on here.", "Next."],
        ),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


def test_long_runs_of_marks_take_no_longer():
    assert sentences("." * 300_000 + "x") == ["." * 300_000 + "x"]


@pytest.mark.parametrize(
    ("sentence", "whole"),
    [
        ("The fox went home.", True),
        ("여우는 집으로 돌아갔어요.", True),
        ("“여우는 집으로 돌아갔어요.”", True),
        ("A heading without an end", False),
        ("and so the rest of it.", False),
        ("- a list item that ends.", False),
        ('He said, "and then it was cut.', False),
        ("See https://example.org/page.", False),
        ("| a | table | row |.", False),
        ("12345 67890 12345.", False),
        ("Yes.", False),
    ],
)
def test_is_prose(sentence, whole):
    assert is_prose(sentence, 160) is whole


def test_the_parts_of_a_note():
    text = (
        "# 달빛빵집 안내\n\n동네 빵집입니다.\n\n## 빵과 값\n\n- 식빵: 4,500원\n- 바게트: 3,800원\n\n"
        "## 준비물\n\n- [ ] 우산\n* 신발\n1. 충전기\n\n"
        "```\ncode: 1\n# no heading\n```\n"
    )
    found = sections(Document(text, "shop.md"), 10_000)
    assert [(one.title, one.heading) for one in found] == [
        ("달빛빵집 안내", "달빛빵집 안내"), ("달빛빵집 안내", "빵과 값"), ("달빛빵집 안내", "준비물"),
    ]  # fmt: skip
    assert found[0].sentences == ["동네 빵집입니다."]
    assert found[1].pairs == [("식빵", "4,500원"), ("바게트", "3,800원")]
    assert found[2].items == ["우산", "신발", "충전기"]


def test_a_plain_text_has_a_first_line_as_its_title_and_else_the_name_of_its_file():
    (found,) = sections(Document("Minutes, 3 March\n\nRuth has a key.", "a/minutes.txt"), 1000)
    assert (found.title, found.heading) == ("Minutes, 3 March", "Minutes, 3 March")
    assert title_of(Document("Minutes, 3 March\n\nRuth has a key.", "a/minutes.txt")) == "Minutes, 3 March"
    assert title_of(Document("# Only a heading", "a/only.md")) == "only"
    (found,) = sections(Document("Ruth has a key. Tom has none.", "a/minutes.txt"), 1000)
    assert (found.title, found.heading) == ("minutes", "")


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("The shop is open.", True),
        ("Rules", True),
        ("Der Laden ist am Sonntag geschlossen, aber man kann dort trotzdem etwas kaufen.", False),
        ("これは本です。", False),
        ("12 34", False),
    ],
)
def test_is_english(text, english):
    assert is_english(text) is english
