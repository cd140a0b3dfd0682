"""Kinds of faults that were found in notes whose writer did not know the program."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from malmoi.retrieval.counted import in_digits
from malmoi.retrieval.findings import Findings
from malmoi.retrieval.korean import sounds, without_ending, without_particle
from malmoi.retrieval.others import is_of_another, modifies_otherwise
from malmoi.retrieval.question import understand
from malmoi.retrieval.sentences import asked_in_notes, counts, sentences, tells

Ask = Callable[[str, str], Findings]


def test_lines_that_their_writer_broke_are_sentences_and_wrapped_ones_are_not() -> None:
    assert [one.text for one in sentences("관리비 마감은 말일\n헬스장 월 15,000원\n소독은 셋째 주\n")] == [
        "관리비 마감은 말일",
        "헬스장 월 15,000원",
        "소독은 셋째 주",
    ]
    wrapped = (
        "The hall is open on every day of the week but Sunday, and the\n"
        "keys are with Mira, who lives next door to it at number seven.\n"
    )
    assert len(sentences(wrapped)) == 1
    assert len(sentences("We meet in the hall\nand then walk\n")) == 1


@given(st.text(st.sampled_from("ab가.: \n\r\v\f\x1c\x85\u2028\u2029"), max_size=40))
def test_all_of_a_text_is_in_its_sentences_once_whatever_ends_its_lines(text: str) -> None:
    found = sentences(text)
    assert "".join("".join(one.text.split()) for one in found) == "".join(text.split())
    assert [one.start for one in found] == sorted({one.start for one in found})
    assert all(text.startswith(one.text.split()[0], one.start) for one in found)


@pytest.mark.parametrize(
    ("said", "plain"), [("두 대면", "2대면"), ("8인 회의실", "8명 회의실"), ("석 달", "3달"), ("한 번 더", "한 번 더")]
)
def test_counts_have_one_form(said: str, plain: str) -> None:
    assert in_digits(said) == plain
    assert in_digits("세대당 두통") == "세대당 두통"


def test_what_is_asked_for_is_known_by_more_words() -> None:
    assert "money" in asked_in_notes("유자차는 얼마에 팔아?") and "money" not in asked_in_notes("설탕은 얼마 넣어?")
    assert "money" in asked_in_notes("How much did the autumn sale make last year?")
    assert "duration" in asked_in_notes("버스로 얼마나 걸려?") and "duration" in asked_in_notes(
        "How long does it take?"
    )
    assert counts("일주일에 몇 번 돼?", "주 2회까지 됩니다") and counts("몇 시야?", "일시: 19:30")
    assert tells("reason", "고음이 자꾸 갈라져서요") and not tells("reason", "학교에서 만난다")


def test_another_month_or_person_does_not_answer(ask: Ask) -> None:
    assert is_of_another("4월 회의는 언제야?", "회의는 3월 12일", "회의는 3월 12일")
    assert not is_of_another("4월 회의는 언제야?", "회의는 3~5월 첫 주", "회의는 3~5월 첫 주")
    winter = "12~2월에는 아침 아홉 시에 연다."
    assert is_of_another("5월에는 몇 시에 열어?", winter, winter)
    assert not is_of_another("1월에는 몇 시에 열어?", winter, winter)
    assert not is_of_another("12~2월에는 몇 시에 열어?", "1월에는 열 시에 연다.", "1월에는 열 시에 연다.")
    assert is_of_another("5-3층 사이 계단은 어디?", "4층 안내", "4층 안내")
    told = "예린이 어머니는 목요일 저녁 6시로 상담을 잡았어요."
    assert modifies_otherwise("하준이 어머니 상담은 언제로 잡았지", told, told)
    assert not modifies_otherwise("예린이 어머니 상담은 언제로 잡았지", told, told)
    assert ask(told, "예린이 어머니 상담은 언제로 잡았지").sources
    assert not ask(told, "하준이 어머니 상담은 언제로 잡았지").sources


def test_nouns_keep_what_only_looks_like_a_particle() -> None:
    assert [without_particle(word) for word in ("사과", "내과", "가을", "사과를", "책을")] == [
        "사과",
        "내과",
        "가을",
        "사과",
        "책",
    ]
    assert without_ending("마을") == "마을"
    assert [concept.word for concept in understand("월세 밀리면 이자 얼마야?").concepts] == ["월세", "밀리면", "이자"]


def test_words_are_heard(ask: Ask) -> None:
    assert (
        sounds("케익") == sounds("케이크") and sounds("찌게") == sounds("찌개") and sounds("스케쥴") == sounds("스케줄")
    )
    assert sounds("케익") != sounds("케첩")
    assert (
        ask("케이크는 목요일마다 가져와요.\n커피는 매주 화요일에 들어와요.", "케익 언제 들어와?")
        .sources[0]
        .sentence.startswith("케이크")
    )


def test_a_compound_is_found_by_its_parts(ask: Ask) -> None:
    text = "승강기 교체를 의결했다. 교체 공사비 총 4억 2천만 원은 충당금에서 낸다."
    assert "4억" in ask(text, "승강기공사비 총 얼마래요").sources[0].sentence


def test_amounts_in_words_are_amounts() -> None:
    assert tells("money", "A library card costs five euros.") and tells("money", "The fee is a hundred pounds.")
    assert tells("measure", "The parcel weighs two kilos.") and tells("measure", "Leave thirty-five metres.")
    assert not tells("money", "Plenty won a prize.") and not tells("measure", "Two friends came on foot.")
