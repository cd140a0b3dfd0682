"""A recipe's index holds all documents, and equal documents give equal bytes."""

from pathlib import Path
from typing import Any, cast

from malmoi.corpus.documents import Document
from malmoi.files import sha256_of, write_jsonl
from malmoi.retrieval.index import Index
from malmoi.retrieval.terms import terms
from malmoi.stage import Context, Finished, InputsByRole
from malmoi.stages import find_stage, index
from malmoi.workspace.folder import Workspace


def run(tmp_path: Path, name: str) -> Context:
    folder = tmp_path / "runs" / name
    (folder / "out").mkdir(parents=True)
    reads = InputsByRole({"documents": (find_stage("corpus").output("documents", tmp_path),)})
    context = Context(name, folder, reads, {}, cast(Any, None), Workspace.open(tmp_path / "w"))
    index.run(context, index.Settings())
    return context


def test_both_sides_are_looked_up_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    texts = {
        "train": [Document(f"Note {n}: the word is w{n * 7}.", f"{n % 50}.txt", line=1) for n in range(3000)],
        "heldout": [Document("# 회의\n\n다음 회의는 부산에서 열린다.", "회의.md", line=1)],
    }
    for side, documents in texts.items():
        write_jsonl(tmp_path / f"{side}.jsonl", (document.to_row() for document in documents))
    made, again = run(tmp_path, "a"), run(tmp_path, "b")
    assert sha256_of(made.out) == sha256_of(again.out)
    opened = Index.open(made.out / "index")
    assert opened.candidates(["w7000"], 1)[0][0].text == "Note 1000: the word is w7000."
    (passage, _, _), *_ = opened.candidates(terms("부산에서 하는 회의"), 1)
    assert (passage.file, passage.heading, passage.line) == ("회의.md", "회의", 3)
    assert sha256_of(made.out) == sha256_of(again.out), "searching changes nothing"
    shown = index.facts(Finished("index", "0001-index", made.folder, index.Settings(), made.reads))
    assert (shown.sections[0].blocks[0].rows[0].value) == 3001  # type: ignore[union-attr]
