"""What is looked up goes into the prompt, and only what it supports is answered; together as one by one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.corpus.documents import Document
from malmoi.errors import DataError
from malmoi.files import write_json
from malmoi.formats.folder import save_model
from malmoi.formats.inspect import reading_facts, reading_of
from malmoi.inference.grounded import TooLongError, answer_all, fit, prepare, settle
from malmoi.inference.sampling import Sampling
from malmoi.inference.session import ChatSession
from malmoi.inference.voice import Voice
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Lookup
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")
HALL = "# Town hall\n\n## Hours\n\nThe hall opens at noon.\n\n## Library\n\nA library card costs five euros.\n"
TRIP = "# 부산 여행\n\n기차는 아침 8시 10분에 서울역에서 출발한다.\n"
HOURS, MOON = "When does the hall open?", "What is the phone number of the moon?"
SAMPLING = Sampling(temperature=1.0, max_tokens=12)


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Lookup:
    folder = tmp_path_factory.mktemp("index")
    build_index([Document(HALL, "hall.md", line=1), Document(TRIP, "여행.md", line=1)], folder / "index")
    return Lookup(Index.open(folder / "index"))


@pytest.fixture
def voice(shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate) -> Voice:
    """A network of random weights, as if it had been trained to read documents."""
    torch.manual_seed(3)
    network = LanguageModel(shape.model_copy(update={"seq_len": 512}))
    return Voice("ppo", network, tokenizer, template, "trained")


def asked(*turns: str) -> list[dict[str, Any]]:
    """A conversation that ends with the user's turn."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]


def test_what_fits_is_in_the_prompt_of_a_voice_that_reads(voice: Voice, lookup: Lookup) -> None:
    prompt = prepare(voice, lookup, asked(HOURS), 12)
    assert prompt.ids is not None and "opens at noon" in voice.tokenizer.decode(prompt.ids)
    assert "opens at noon" in prompt.asked[-1]["documents"][0]["text"]
    assert prompt.findings is not None and prompt.findings.sources[0].line == 5


def test_earlier_answers_are_read_without_what_the_look_up_added(voice: Voice, lookup: Lookup) -> None:
    said = "json.dumps(obj, indent): Serialize obj to JSON. See also: json.loads, json.dump."
    prompt = prepare(voice, lookup, asked("json.dumps?", said, HOURS), 12)
    assert prompt.ids is not None and prompt.asked[1]["content"] == "json.dumps: Serialize obj to JSON."
    assert "See also" not in voice.tokenizer.decode(prompt.ids)


def test_what_may_answer_is_offered_in_place_of_a_voice_and_is_no_source(voice: Voice, lookup: Lookup) -> None:
    question = "How do I heat the hall?"
    prompt = prepare(voice, lookup, asked(question), 12)
    assert prompt.ids is not None and not prompt.documents  # what it says is ranked under Teach
    for one, said in ((voice, "I do not know."), (voice, ""), (None, "")):
        answered = settle(one, prompt, said)
        assert (answered.sources, answered.supported, answered.declined) == ((), None, True)
        assert "not sure" in answered.text and "“The hall opens at noon.”" in answered.text
        row = answered.to_row()
        assert row["declined"] and row["sources"] == [] and row["nearest"][0]["file"] == "hall.md"
    later = prepare(voice, lookup, asked(question, answered.text, HOURS), 12)
    assert later.asked[1]["content"] == "I am not sure that the documents answer this."


def test_what_is_declined_is_said_to_be_so(lookup: Lookup) -> None:
    declined = [settle(None, prepare(None, lookup, asked(text), 0), "").declined for text in (HOURS, MOON, "Hello!")]
    assert declined == [False, True, False]


@pytest.mark.parametrize(
    ("reading", "question", "speaks"),
    [
        ("trained", HOURS, True), ("untrained", HOURS, True), ("no", HOURS, False),
        ("trained", MOON, True), ("untrained", MOON, False), ("no", MOON, False),
    ],
)  # fmt: skip
def test_who_may_speak(voice: Voice, lookup: Lookup, reading: Any, question: str, speaks: bool) -> None:
    prompt = prepare(replace(voice, reading=reading), lookup, asked(question), 12)
    assert (prompt.ids is not None) == speaks


@pytest.mark.parametrize(
    ("question", "said", "stays"),
    [
        (HOURS, "The town hall opens at noon.", True),
        (HOURS, "The hall opens at 11:45.", False),
        (HOURS, "Ask Mr. Abernathy.", False),
        (HOURS, "I do not know.", False),
        (HOURS, "", False),
        (MOON, "I do not know the phone number of the moon.", True),
        (MOON, "It is 555-0199.", False),
        (MOON, "The moon is the phone number.", False),
    ],
)
def test_only_supported_words_stay(voice: Voice, lookup: Lookup, question: str, said: str, stays: bool) -> None:
    found = settle(voice, prepare(voice, lookup, asked(question), 12), said)
    assert found.quoted == (not stays) and found.voice == "ppo"
    assert found.text == said if stays else found.rejected == said and found.text != said
    if question == HOURS:
        assert "noon" in found.text and found.supported is True and found.sources[0].passage.file == "hall.md"
    else:
        assert (found.sources, found.supported) == ((), None)


def test_without_a_model_it_quotes_in_the_language_of_the_question(lookup: Lookup) -> None:
    (english, korean, unknown) = answer_all(
        None, lookup, [asked(HOURS), asked("기차는 언제 출발해?"), asked(MOON)], SAMPLING, [1, 2, 3]
    )
    assert "The hall opens at noon." in english.text and english.quoted and english.voice == "none"
    assert "8시 10분" in korean.text and korean.sources[0].passage.file == "여행.md"
    assert unknown.sources == () and unknown.supported is None
    with pytest.raises(DataError, match="nothing to look up in"):
        answer_all(None, None, [asked(HOURS)], SAMPLING, [1])


def test_a_users_own_documents_are_used_as_they_are(voice: Voice, lookup: Lookup) -> None:
    own = [{**asked(HOURS)[0], "documents": [{"title": "Note", "text": "It opens at dawn."}]}]
    prompt = prepare(voice, lookup, own, 12)
    assert prompt.findings is None and prompt.ids is not None
    assert "at dawn" in voice.tokenizer.decode(prompt.ids)


def test_what_does_not_fit_the_context_is_quoted(voice: Voice, lookup: Lookup) -> None:
    long = prepare(voice, lookup, asked(f"{HOURS} {'Please tell me. ' * 300}"), 12)
    assert long.ids is None and "noon" in settle(voice, long, "").text
    talk = prepare(voice, lookup, asked(*["The cat sat on the mat." * 8, "cat"] * 6, HOURS), 12)
    assert talk.ids is not None and talk.n_dropped > 0 and talk.n_dropped % 2 == 0


@pytest.mark.parametrize("looks_up", [True, False])
def test_together_as_one_by_one(voice: Voice, lookup: Lookup, looks_up: bool, tmp_path: Path) -> None:
    talks = [
        asked(HOURS), asked("cat"), asked("기차는 언제 출발해?"), asked(MOON), asked("hello"),
        asked(HOURS, "At noon.", "And what does a library card cost?"),
    ]  # fmt: skip
    where, seeds = lookup if looks_up else None, list(range(len(talks)))
    together = answer_all(voice, where, talks, SAMPLING, seeds)
    alone = [answer_all(voice, where, [talk], SAMPLING, [seed])[0] for talk, seed in zip(talks, seeds, strict=True)]
    assert together == alone
    save_model(tmp_path / "ppo", voice.network, voice.tokenizer, voice.template, {"documents": "trained"})
    for talk, seed, expected in zip(talks, seeds, together, strict=True):
        session = ChatSession("ppo", tmp_path / "ppo", SAMPLING, seed, lookup=where)
        session.messages = talk[:-1]
        assert "".join(session.answer(talk[-1]["content"])).strip() == expected.text
        assert session.last == expected


def test_a_session_remembers_what_was_quoted_for_the_next_question(lookup: Lookup) -> None:
    session = ChatSession("none", None, None, lookup=lookup)
    assert "noon" in "".join(session.answer(HOURS))
    assert "five euros" in "".join(session.answer("And what does a library card cost?"))
    assert [message["role"] for message in session.messages] == ["user", "assistant"] * 2
    assert session.last is not None and len(session.asked) == 3


@pytest.fixture
def folders(tmp_path: Path, voice: Voice) -> Iterator[Path]:
    """Model folders that differ in what they say about themselves."""
    told = {"sft": {"run": "0004-sft"}, "reads": {"run": "0004-sft", "documents": "trained"}, "import": {"source": "a"}}
    for name, about in told.items():
        save_model(tmp_path / name, voice.network, voice.tokenizer, voice.template, about)
    save_model(tmp_path / "plain", voice.network, voice.tokenizer, ChatTemplate.plain(), {"source": "a"})
    save_model(tmp_path / "alone", voice.network, voice.tokenizer, voice.template, {})
    (tmp_path / "alone" / "malmoi.json").unlink()
    yield tmp_path


@pytest.mark.parametrize(
    ("name", "reading"),
    [("sft", "no"), ("reads", "trained"), ("import", "untrained"), ("plain", "no"), ("alone", "untrained")],
)
def test_how_a_model_reads_is_said_by_its_folder_and_inherited(folders: Path, name: str, reading: str) -> None:
    assert reading_of(folders / name) == reading
    assert reading_facts(folders / name) == ({} if reading == "no" else {"documents": reading})
    write_json(folders / name / "malmoi.json", {"run": "0005-ppo", **reading_facts(folders / name)})
    assert reading_of(folders / name) == reading


@pytest.mark.parametrize("has_system", [False, True])
@pytest.mark.parametrize("n_turns", [0, 1, 5, 60])
def test_a_long_conversation_is_cut_as_little_as_possible_in_few_tries(
    voice: Voice, n_turns: int, has_system: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [{"role": "system", "content": "Be short."}] if has_system else []
    for turn in range(n_turns):
        said += [{"role": "user", "content": "cat " * (turn % 4)}, {"role": "assistant", "content": "dog"}]
    said.append({"role": "user", "content": "log"})
    n_kept, n_tries = len(said[:has_system]), 0

    def ids(dropped: int) -> list[int]:
        return voice.ids([*said[:n_kept], *said[n_kept + dropped :]])

    longest = voice.seq_len - 4
    wanted = next(dropped for dropped in range(0, len(said), 2) if len(ids(dropped)) <= longest)
    encode = Voice.ids

    def counted(self: Voice, messages: Any) -> list[int]:
        nonlocal n_tries
        n_tries += 1
        return encode(self, messages)

    monkeypatch.setattr(Voice, "ids", counted)
    assert fit(voice, said, 4) == (encode(voice, [*said[:n_kept], *said[n_kept + wanted :]]), wanted)
    assert n_tries <= 9
    with pytest.raises(TooLongError, match="send a shorter message"):
        fit(voice, [*said[:-1], {"role": "user", "content": "log " * 1000}], 4)
