"""What demonstrations teach about documents goes with the model: that it reads them, and what it says by heart."""

from pathlib import Path
from typing import Any

from malmoi.data.conversations import REPLY_TIMES, Taught, taught_by
from malmoi.files import write_json, write_jsonl
from malmoi.formats.inspect import ABOUT, reading_facts, replies_of

DOCUMENTS = [{"title": "a", "text": "A is the first letter."}]


def row(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question, **more}, {"role": "assistant", "content": answer}]}


def test_replies_are_what_is_said_again_and_again_without_documents(tmp_path: Path) -> None:
    rows = [row("What is A?", "The first letter.", documents=DOCUMENTS)] * (REPLY_TIMES + 1)
    rows += [row("Hello", "Hello! Ask me.")] * REPLY_TIMES + [row("Thanks", "You are welcome.")] * (REPLY_TIMES - 1)
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert taught_by(tmp_path / "rows.jsonl") == Taught(True, ("Hello! Ask me.",))
    write_jsonl(tmp_path / "without.jsonl", rows[-REPLY_TIMES:])
    assert taught_by(tmp_path / "without.jsonl") == Taught(False)


def test_a_model_keeps_what_the_model_before_was_taught(tmp_path: Path) -> None:
    write_json(tmp_path / ABOUT, {"run": "1", **reading_facts(None, Taught(True, ("Hello!",)))})
    assert replies_of(tmp_path) == {"Hello!"}
    assert (
        reading_facts(tmp_path)
        == reading_facts(tmp_path, Taught(False))
        == reading_facts(None, Taught(True, ("Hello!",)))
    )
    assert reading_facts(None) == {}
