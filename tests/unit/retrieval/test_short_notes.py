"""Tables, short forms and other things of the same kind, as people write them in notes."""

from collections.abc import Callable

import pytest

from malmoi.retrieval.days import days_of
from malmoi.retrieval.findings import Findings
from malmoi.retrieval.others import is_of_another, is_of_other_person
from malmoi.retrieval.quote import quote
from malmoi.retrieval.roles import tells_of_another_deed
from malmoi.retrieval.sentences import asked_in_notes, counts, sentences, tells

Ask = Callable[[str, str], Findings]

TABLE = """# 강사

| 이름 | 과목 | 요일 | 회비 |
|---|:--|---|--:|
| 도윤 | 기타 | 금 | 70,000 |
| 하린 | 첼로 | 월수 | 90,000 |

악기는 빌려 드립니다.
"""


def test_a_row_is_read_with_the_names_of_its_columns() -> None:
    found = sentences(TABLE)
    assert [one.read for one in found] == [
        "# 강사", "", "", "이름: 도윤, 과목: 기타, 요일: 금, 회비: 70,000",
        "이름: 하린, 과목: 첼로, 요일: 월수, 회비: 90,000",
        "악기는 빌려 드립니다.",
    ]  # fmt: skip
    assert found[3].text == "| 도윤 | 기타 | 금 | 70,000 |"
    ragged = sentences("|a|b|\n|-|-|\n|1|\n|1|2|3|\n")
    assert [one.read for one in ragged[2:]] == ["a: 1", "a: 1, b: 2, 3"]
    assert [one.read for one in sentences("|-|-|\n|1|2|\n")] == ["|-|-|", "|1|2|"]


@pytest.mark.parametrize(
    ("question", "cell"),
    [("금요일에 누가 가르쳐?", "도윤"), ("첼로는 무슨 요일이야?", "월수"), ("기타 회비 얼마야?", "70,000")],
)
def test_a_cell_answers(ask: Ask, question: str, cell: str) -> None:
    assert cell in ask(TABLE, question).sources[0].sentence


def test_a_row_is_answered_with_the_names_of_its_columns_and_quoted_as_it_is(ask: Ask) -> None:
    found = ask(TABLE, "첼로는 무슨 요일이야?")
    assert quote(found) == "강사: 이름: 하린, 과목: 첼로, 요일: 월수, 회비: 90,000"
    assert found.sources[0].to_row()["sentence"] == "| 하린 | 첼로 | 월수 | 90,000 |"


def test_days_in_short_are_days() -> None:
    assert days_of("open Wed and Sat, 9 to 2") == {2, 5}
    assert days_of("목: 계란말이") == {3} and days_of("화목토 7시") == {1, 3, 5}
    assert not days_of("The cat sat down in the sun.") and not days_of("3월 4일, 물 한 병") and not days_of("화목한 집")


def test_short_forms_have_the_kind_that_is_asked_for() -> None:
    assert (
        counts("창 폭 몇 센치야?", "창 폭 342cm")
        and counts("할인 몇 프로야?", "할인은 10%")
        and counts("며칠 밤 자?", "포르투 5박")
    )
    assert tells("money", "Item: Raffle, Amount: 187") and tells("money", "Basic service 49, full service 95")
    assert not tells("money", "We met 12 people in 2019 by chance")
    assert tells("phone", "총무 루치아 010-0000-7745") and not tells("phone", "2014년에 문을 열었다, 회비 15000원")
    assert tells("clock", "Mediation is 22 May at 10.30 in the annexe.")


def test_a_number_answers_who_asks_for_it(ask: Ask) -> None:
    text = "총무 루치아 010-0000-7745\n반주 세실리아 010-0000-1182\n연습은 토요일이다.\n"
    assert ask(text, "반주자 세실리아 전화번호 알려 주세요").sources[0].sentence.startswith("반주")
    assert not ask("달빛빵집은 2014년에 문을 열었다.", "빵집 전화번호가 뭐야?").sources


def test_another_of_the_same_kind_does_not_answer() -> None:
    hive = "3번 통 여왕은 작년 5월에 태어났다."
    assert is_of_another("7번 통 여왕은 언제 태어났지?", hive, f"{hive} 7번 통은 사납다.")
    assert not is_of_another("3번 통 여왕은 언제 태어났지?", hive, hive)
    assert is_of_another("재작년엔 어디 갔어?", "작년엔 강릉에 갔다.", "작년엔 강릉에 갔다.")
    assert is_of_other_person("준호 씨 보건증은 언제 만료돼요?", "지혜 씨 보건증은 11월 14일에 끝난다")
    assert not is_of_other_person("준호 씨 보건증은 언제 만료돼요?", "보건증은 11월 14일에 끝난다")
    assert tells_of_another_deed("When was the boiler bought?", "bought", "It was repaired in March.")
    assert not tells_of_another_deed("When was the boiler bought?", "boiler", "It was repaired in March.")


def test_a_reason_answers_for_the_sentence_before_it(ask: Ask) -> None:
    text = "교반 속도는 120으로 낮췄다. 150에서는 거품이 많이 생겼기 때문.\n시료는 4도에 보관한다.\n"
    assert "거품" in ask(text, "교반 속도를 왜 낮췄지?").sources[0].sentence
    assert not ask(text, "시료는 왜 4도에 보관해?").sources


def test_a_date_is_no_number_of_days_and_a_due_date_no_amount() -> None:
    assert counts("며칠 동안 쉬어?", "사흘 쉰다") and counts("며칠에 만나?", "12일에 만난다") is None
    assert "day" in asked_in_notes("며칠에 만나?") and "money" not in asked_in_notes("회비는 며칠까지 내야 돼요?")
    assert "money" in asked_in_notes("회비 얼마야?") and "money" not in asked_in_notes("When are the fees due?")
    assert counts("냉장고 몇 번째 칸이야?", "냉장고 둘째 칸") and counts("몇 키로야?", "몸무게 11.8kg")
    assert tells("money", "동백방: 85,000") and not tells("money", "책 12,000권")
