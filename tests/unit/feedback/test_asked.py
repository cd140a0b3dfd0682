"""What is learned from an answer was asked in service: prompts of training rows are those that the voice read, with the
documents that were looked up, in long conversations too."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch

from malmoi.feedback import chat_files, chats, comparing, signals, teach_items, teaching
from malmoi.feedback.accounts import add_member
from malmoi.feedback.asked import N_DROPPED
from malmoi.feedback.chats import NewMessage, new_id
from malmoi.feedback.item_answers import sample_next
from malmoi.feedback.learning import is_held_out, lesson
from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.service import Service, Turn, open_service
from malmoi.feedback.snapshots import rows_now
from malmoi.formats.folder import save_model
from malmoi.inference.grounded import Answered
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.stages._as_read import NAME, readable
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import index_folder
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.schema import Answer, now

NOTES = {
    "hours.md": "# Opening hours\n\nThe museum opens at noon.\n\n# Price\n\nA library card costs five euros.\n",
    "train.md": "# 기차\n\n기차는 아침 아홉 시에 출발합니다.\n",
}
HOURS = "When does the museum open?"
SEQ_LEN = 320


def not_held_out(text: str) -> str:
    """The question in words that are not of the share that is held out."""
    said = (text + "?" * i for i in range(99))
    return next(one for one in said if not is_held_out([{"role": "user", "content": one}]))


@pytest.fixture
def service(ledger: Ledger, float32: None, tokenizer: Tokenizer, shape: ModelConfig) -> Iterator[Service]:
    """A tiny voice that reads documents, and notes to look up in."""
    workspace = Workspace(ledger.root)
    torch.manual_seed(1)
    policy = LanguageModel(shape.model_copy(update={"seq_len": SEQ_LEN}))
    save_model(workspace.models / "tiny", policy, tokenizer, ChatTemplate.default(), {"documents": "trained"})
    write_notes(ledger, NOTES)
    opened = open_service(workspace, "tiny")
    yield opened
    opened.close()


def write_notes(ledger: Ledger, notes: Mapping[str, str]) -> None:
    folder = ledger.root / "notes"
    folder.mkdir(exist_ok=True)
    for name, text in notes.items():
        (folder / name).write_text(text)
    index_folder(Workspace(ledger.root), folder)


@pytest.fixture
def mina(ledger: Ledger) -> str:
    return add_member(ledger, "Mina", "correct horse", "owner").id


class Asker:
    """A chat of one person. ids: what the voice read for each answer, by the id of its message"""

    def __init__(self, ledger: Ledger, service: Service, who: str, **about: Any) -> None:
        self.ledger, self.service, self.who = ledger, service, who
        self.chat = str(chats.create_chat(ledger, who, may_teach=True, **about)[0]["id"])
        self.ids: dict[str, list[int]] = {}

    def turn(self, question: str, **options: Any) -> Turn:
        said = chats.conversation(self.ledger, self.who, self.chat, question)
        turn = Turn(self.service, said, **options)
        turn.prepare()
        return turn

    def message(self, turn: Turn, parent: str, text: str) -> NewMessage:
        answered = Answered(text, voice="tiny")
        assert turn.prepared is not None and turn.prepared.ids is not None
        message = NewMessage(
            new_id(), parent, "assistant", text, "stop", None, turn.figures(answered), turn.record(answered)
        )
        self.ids[message.id] = turn.prepared.ids
        return message

    def ask(self, text: str, parent: str | None = None) -> str:
        asked = NewMessage(new_id(), parent, "user", text)
        return str(chats.add_message(self.ledger, self.who, self.chat, asked)[0]["id"])

    def answer(self, question: str, text: str) -> str:
        message = self.message(self.turn(question), question, text)
        return str(chats.add_message(self.ledger, self.who, self.chat, message)[0]["id"])


def prompt_ids(ledger: Ledger, tokenizer: Tokenizer, row: Mapping[str, Any]) -> list[int]:
    """The prompt of a row as training encodes it."""
    messages = row["messages"][:-1] if row["messages"][-1]["role"] == "assistant" else row["messages"]
    return ChatTemplate.default().encode(tokenizer, messages, add_generation_prompt=True)[0]


def read_rows(ledger: Ledger, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return readable(Workspace(ledger.root).models / "tiny", rows)


@pytest.mark.parametrize("first", [HOURS, "기차는 언제 출발해?"])
def test_the_prompt_of_a_training_row_is_what_the_voice_read(
    ledger: Ledger, service: Service, mina: str, tokenizer: Tokenizer, first: str
) -> None:
    asker = Asker(ledger, service, mina, system="Be short.")
    question, answers = asker.ask(not_held_out(first)), []
    for number in range(6):
        # An earlier answer with what the look-up adds is read without it.
        answers.append(asker.answer(question, f"It opens {number} hours later. See also: train.md."))
        question = asker.ask("What does a library card cost?", answers[-1])
    figures = [one["answer"][N_DROPPED] for one in chats.messages_of(ledger, mina, asker.chat) if one["answer"]]
    assert figures[0] == 0 and figures[-1] > 0, "some turns shall not fit"
    for number, answer in enumerate(answers):
        signals.write_better(ledger, mina, answer, f"At noon, says number {number}.")
        signals.vote(ledger, mina, answer, "up" if number % 2 else "down")
    compared = new_id()
    turns = [asker.turn(question), asker.turn(question, chosen={"temperature": 1.0})]
    pair = [asker.message(turn, question, f"number {place}") for place, turn in enumerate(turns)]
    comparing.add_comparison(ledger, mina, asker.chat, compared, question, pair)
    comparing.judge(ledger, mina, compared, "a")

    found = lesson(ledger, "people", now())
    by_row = {f"compared-{compared}": asker.ids[pair[0].id]}
    by_row |= {f"vote-{answer}": asker.ids[answer] for answer in answers}
    for row in [*found.rows, *found.demonstrations]:
        if row["prompt_id"].startswith("better-"):
            number = int((row.get("answers") or [row["messages"][-1]["content"]])[0].split()[-1].strip("."))
            by_row[row["prompt_id"]] = asker.ids[answers[number]]
    read = [read_rows(ledger, rows) for rows in (found.rows, found.demonstrations, found.votes)]
    assert [len(rows) for rows in read] == [7, 6, 6]
    for row in (row for rows in read for row in rows):
        assert prompt_ids(ledger, tokenizer, row) == by_row[row["prompt_id"]], row
    asked = [one for rows in read for row in rows for one in row["messages"] if one.get("documents")]
    assert len(asked) == 19 and any(NAME in row for row in read[1])


def test_all_answers_to_one_prompt_under_teach_read_the_same(
    ledger: Ledger, service: Service, mina: str, tokenizer: Tokenizer
) -> None:
    asker = Asker(ledger, service, mina)
    answer = asker.answer(asker.ask(HOURS), "Never.")
    signals.vote(ledger, mina, answer, "down")
    write_notes(ledger, {"hours.md": "# Opening hours\n\nThe museum opens at midnight, and closes at dawn.\n"})
    newer = open_service(Workspace(ledger.root), "tiny")
    teach_items.add_question(ledger, mina, "What does a library card cost?")
    try:
        assert sample_next(ledger, newer) and sample_next(ledger, service)
    finally:
        newer.close()
    ann = add_member(ledger, "Ann", "correct horse", "labeler").id
    for _ in range(2):
        item = teaching.next_item(ledger, ann, "rank")
        assert item is not None and all(one.keys() == {"role", "content"} for one in item["messages"])
        teaching.save_ranks(ledger, ann, item["id"], [*range(1, len(item["answers"]) + 1)])
    rows = {row["messages"][-1]["content"]: row for row in rows_now(ledger, "rankings")}
    disliked, asked = rows[HOURS], rows["What does a library card cost?"]
    assert "noon" in disliked["messages"][-1]["documents"][0]["text"]
    assert prompt_ids(ledger, tokenizer, disliked) == asker.ids[answer]
    assert "five euros" in asked["messages"][-1]["documents"][0]["text"]


def test_documents_go_with_a_chat_into_a_file_and_back(ledger: Ledger, service: Service, mina: str) -> None:
    asker = Asker(ledger, service, mina)
    answer = asker.answer(asker.ask(not_held_out(HOURS)), "Never.")
    signals.write_better(ledger, mina, answer, "At noon.")
    file = chat_files.export_chats(ledger, mina)
    assert "documents" not in chats.messages_of(ledger, mina, asker.chat)[-1]["answer"]
    chats.delete_chat(ledger, mina, asker.chat)
    with ledger.engine.connect() as connection:
        assert connection.execute(Answer.__table__.select()).all() == []
    chat_files.import_chats(ledger, mina, file["chats"])
    (chat,), _ = chats.list_chats(ledger, mina)
    again = chats.messages_of(ledger, mina, chat["id"])[-1]
    chats.change_chat(ledger, mina, chat["id"], {"may_teach": True})
    signals.write_better(ledger, mina, again["id"], "At noon.")
    (row,) = lesson(ledger, "people", now()).demonstrations
    documents = file["chats"][0]["messages"][-1]["answer"]["documents"]
    assert "noon" in documents[0]["text"] and row["messages"][0]["documents"] == documents
    (exported,) = rows_now(ledger, "answers")
    assert exported["messages"][0]["documents"] == documents
    chats.change_chat(ledger, mina, chat["id"], {"may_teach": False})
    assert rows_now(ledger, "answers") == []


@pytest.mark.parametrize(
    "documents", ["noon", [{"title": "a"}], [{"title": "a", "text": ""}], [{"text": "a"}] * 9, [{"text": "a" * 30_000}]]
)
def test_documents_of_a_file_that_no_prompt_had_are_refused(
    ledger: Ledger, service: Service, mina: str, documents: Any
) -> None:
    asker = Asker(ledger, service, mina)
    asker.answer(asker.ask(HOURS), "Never.")
    file = chat_files.export_chats(ledger, mina)
    file["chats"][0]["messages"][-1]["answer"]["documents"] = documents
    with pytest.raises(RefusedError, match=r"chats\.0\.messages\.1\.answer\.documents"):
        chat_files.import_chats(ledger, mina, file["chats"])


def test_what_was_quoted_without_a_voice_teaches_with_what_a_voice_would_have_read(
    ledger: Ledger, service: Service, mina: str
) -> None:
    asker = Asker(ledger, Service("none", lookup=service.lookup), mina)
    question = asker.ask(not_held_out(HOURS))
    turn = asker.turn(question)
    message = NewMessage(new_id(), question, "assistant", "x", "stop", None, {}, turn.record(turn.settle()))
    chats.add_message(ledger, mina, asker.chat, message)
    signals.write_better(ledger, mina, message.id, "At noon.")
    rows = lesson(ledger, "people", now()).demonstrations
    assert "noon" in rows[0]["messages"][0]["documents"][0]["text"]
    (Workspace(ledger.root).models / "tiny" / "malmoi.json").write_text('{"run": "0001-sft"}')
    assert "documents" not in read_rows(ledger, rows)[0]["messages"][0], "a policy that is never given documents"
