"""The stage `reading` makes demonstrations of its text alone, and equal work gives equal files."""

from pathlib import Path
from typing import Any, cast

import pytest

from malmoi.corpus.documents import Document
from malmoi.errors import DataError
from malmoi.files import read_jsonl, sha256_of, write_jsonl
from malmoi.retrieval.quote import DECLINES
from malmoi.stage import Context, Finished, InputsByRole
from malmoi.stages import find_stage, reading
from malmoi.synthetic.questions import Question
from malmoi.tokenizer.bpe import train_bpe
from malmoi.workspace.folder import Workspace
from tests.unit.retrieval.test_readings import TEXTS


def run(tmp_path: Path, texts: list[str], name: str, **settings: Any) -> tuple[Context, list[str]]:
    folder, said = tmp_path / "runs" / name, list[str]()
    (folder / "out").mkdir(parents=True)
    rows = (Document(text, f"{n}.md", line=1).to_row() for n, text in enumerate(texts))
    write_jsonl(tmp_path / "train.jsonl", rows)
    train_bpe(TEXTS, vocab_size=300).save(tmp_path / "model")
    sources = {"documents": find_stage("corpus").output("documents", tmp_path)}
    sources["model"] = find_stage("base").output("base", tmp_path)
    reads = InputsByRole({role: (found,) for role, found in sources.items()})
    context = Context(name, folder, reads, {}, cast(Any, None), Workspace.open(tmp_path / "w"), said.append)
    reading.run(context, reading.Settings(**settings))
    return context, said


def test_equal_work_gives_equal_files_and_no_index_is_left(tmp_path: Path) -> None:
    (made, said), (again, _) = (run(tmp_path, TEXTS, name, room=400) for name in "ab")
    assert sha256_of(made.out) == sha256_of(again.out)
    assert {path.name for path in made.out.iterdir()} == {"train.jsonl", "heldout.jsonl"}
    assert {path.name for path in made.folder.iterdir()} == {"out"}
    train, heldout = (read_jsonl(made.out / f"{side}.jsonl") for side in ("train", "heldout"))
    assert not {row["item"] for row in train} & {row["item"] for row in heldout}
    n_declined = sum(row["messages"][-1]["content"] in DECLINES.values() for row in train)
    assert f"{len(train):,} demonstrations of reading, {n_declined:,} of them" in said[0]
    (section,) = reading.facts(Finished("reading", "1", made.folder, reading.Settings(), made.reads)).sections
    assert section.blocks[0].messages == train[0]["messages"]  # type: ignore[union-attr]


def test_text_without_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="reading: no questions can be made of this text"):
        run(tmp_path, ["x = 1\ny = 2\n"], "a")


def test_a_room_that_no_passage_fits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"reading: no question's answer is found in a passage of at most 3 tokens"):
        run(tmp_path, TEXTS, "a", room=3)


def test_sections_are_a_quarter_unless_there_is_nothing_else() -> None:
    def asked(kind: str, n: int) -> list[Question]:
        return [Question(kind, f"{kind}{i}", f"{kind} {i}?", ("A.",), 0, False, False, "d") for i in range(n)]

    chosen = reading.chosen([*asked("section", 50), *asked("when", 50)], 40)
    assert [sum(one.kind == kind for one in chosen) for kind in ("section", "when")] == [10, 30]
    assert len(reading.chosen([*asked("section", 50), *asked("when", 5)], 40)) == 40
    assert len(reading.chosen(asked("section", 7), 40)) == 7
