import pytest

from malmoi.synthetic.korean import Asked, ask, has_final, with_particle
from malmoi.synthetic.korean_questions import korean_questions


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("서울", ("서울은", "서울이", "서울을", "서울과", "서울로")),
        ("집", ("집은", "집이", "집을", "집과", "집으로")),
        ("커피", ("커피는", "커피가", "커피를", "커피와", "커피로")),
        ("3", ("3은", "3이", "3을", "3과", "3으로")),
        ("2", ("2는", "2가", "2를", "2와", "2로")),
        ("Python", ("Python은", "Python이", "Python을", "Python과", "Python으로")),
        ("server", ("server는", "server가", "server를", "server와", "server로")),
        ("URL", ("URL은", "URL이", "URL을", "URL과", "URL로")),
        ("JSON", ("JSON은", "JSON이", "JSON을", "JSON과", "JSON으로")),
        ("나무(식물)", ("나무(식물)는", "나무(식물)가", "나무(식물)를", "나무(식물)와", "나무(식물)로")),
    ],
)  # fmt: skip
def test_particles_follow_the_last_sound(word, forms):
    assert tuple(with_particle(word, particle) for particle in ("은", "이", "을", "와", "로")) == forms


def test_a_word_without_sounds_has_no_final():
    assert not has_final("!?") and not has_final("")


@pytest.mark.parametrize(
    ("statement", "asked"),
    [
        ("시작합니다.", ("시작하나요", "시작합니까", "시작하는지")),
        ("엽니다.", ("여나요", "엽니까", "여는지")),
        ("먹었습니다.", ("먹었나요", "먹었습니까", "먹었는지")),
        ("회의실입니다.", ("회의실인가요", "회의실입니까", "회의실인지")),
        ("보입니다.", ("보이나요", "보입니까", "보이는지")),
        ("가능합니다.", ("가능한가요", "가능합니까", "가능한지")),
        ("좋습니다.", ("좋은가요", "좋습니까", "좋은지")),
        ("간다.", ("가나요", "갑니까", "가는지")),
        ("읽는다.", ("읽나요", "읽습니까", "읽는지")),
        ("있다.", ("있나요", "있습니까", "있는지")),
        ("갔다.", ("갔나요", "갔습니까", "갔는지")),
        ("도시이다.", ("도시인가요", "도시입니까", "도시인지")),
        ("크다.", ("큰가요", "큽니까", "큰지")),
        ("모여요.", ("모이나요", "모입니까", "모이는지")),
        ("써요.", ("쓰나요", "씁니까", "쓰는지")),
        ("골라요.", ("고르나요", "고릅니까", "고르는지")),
        ("추천해요.", ("추천하나요", "추천합니까", "추천하는지")),
        ("했어요.", ("했나요", "했습니까", "했는지")),
        ("12명이에요.", ("12명인가요", "12명입니까", "12명인지")),
        ("씨예요.", ("씨인가요", "씨입니까", "씨인지")),
        ("준비함.", ("준비하나요", "준비합니까", "준비하는지")),
        ("없음.", ("없나요", "없습니까", "없는지")),
    ],
)
def test_statements_become_questions(statement, asked):
    assert ask(statement) == Asked(*asked)


@pytest.mark.parametrize("word", ["주세요.", "갑시다.", "할까?", "물과", "가자.", "걸어요.", "A."])
def test_what_is_no_plain_statement_is_not_asked(word):
    assert ask(word) is None


def first_prompts(sentence, topic="달빛빵집 안내"):
    return {found.kind: (found.prompts[0], found.short) for found in korean_questions(sentence, topic)}


@pytest.mark.parametrize(
    ("sentence", "kind", "question", "short"),
    [
        ("여행은 10월 17일 금요일에 시작한다.", "when", "여행은 언제 시작하나요?", "10월 17일 금요일에"),
        ("체크인은 오후 3시부터 할 수 있다.", "when", "체크인은 몇 시부터 할 수 있나요?", "오후 3시부터"),
        ("토요일에는 오전 9시에 엽니다.", "when", "달빛빵집은 토요일에는 몇 시에 여나요?", "오전 9시에"),
        ("평일에는 오전 8시부터 오후 8시까지 엽니다.", "when", "달빛빵집은 평일에는 몇 시부터 몇 시까지 여나요?",
         "오전 8시부터 오후 8시까지"),
        ("1950년에 그 가게는 문을 닫았다.", "when", None, None),
        ("두부는 감자가 익은 다음에 넣는다.", "when", "두부는 언제 넣나요?", "감자가 익은 다음에"),
        ("다음 회의는 3층 회의실에서 합니다.", "where", "다음 회의는 어디에서 하나요?", "3층 회의실에서"),
        ("주차장은 가게 뒤에 있습니다.", "where", "주차장은 어디에 있나요?", "가게 뒤에"),
        ("장소는 시립도서관 2층 세미나실이에요.", "where", "장소는 어디인가요?", "시립도서관 2층 세미나실"),
        ("서버 이전은 박준호 대리가 맡습니다.", "who", "서버 이전은 누가 맡나요?", "박준호 대리"),
        ("총무는 정유진 씨예요.", "who", "총무는 누구인가요?", "정유진 씨"),
        ("회비는 한 달에 만 원이에요.", "how much", "회비는 한 달에 얼마인가요?", "만 원"),
        ("번역 예산은 350만 원입니다.", "how much", "번역 예산은 얼마인가요?", "350만 원"),
        ("정원은 12명이에요.", "how many", "정원은 몇 명인가요?", "12명"),
        ("김치는 배추 세 포기를 씁니다.", "how many", "김치는 배추를 몇 포기 쓰나요?", "세 포기"),
        ("남은 찌개는 냉장고에서 이틀 동안 보관할 수 있다.", "how long",
         "남은 찌개는 냉장고에서 얼마 동안 보관할 수 있나요?", "이틀"),
        ("유산균은 젖산을 만드는 세균이다.", "what", "유산균은 무엇인가요?", ""),
        ("일요일과 월요일은 쉽니다.", "whether", "일요일과 월요일은 쉬나요?", ""),
        ("그녀는 3시에 떠났다.", "when", None, None),
        ("3시에 떠났다고 한다.", "where", None, None),
    ],
)  # fmt: skip
def test_questions_of_a_sentence(sentence, kind, question, short):
    found = first_prompts(sentence).get(kind)
    assert found == ((question, short) if question else None)


def test_a_question_has_several_levels_of_politeness():
    (found,) = korean_questions("여행은 5월 2일에 시작한다.", "여행 계획")
    assert found.prompts == (
        "여행은 언제 시작하나요?", "여행은 언제 시작합니까?", "여행은 언제 시작하는지 알려 주세요.",
        "여행은 언제 시작하는지 알아?",
        "여행은 언제 시작하나요", "여행은 언제 시작하는지 알려 줄래?",
    )  # fmt: skip
