"""Text becomes a corpus and shards without ever being in memory as a whole."""

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any, cast

import pytest

from malmoi.corpus.shards import TokenShards
from malmoi.files import read_json, read_jsonl
from malmoi.stage import Context, InputsByRole
from malmoi.stages import corpus, find_stage, tokenizer
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.workspace.folder import Workspace

N_ROWS, ROW_CHARS = 400, 10_000
WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Four million characters in rows, a tenth of them copies."""
    rng = random.Random(0)
    path = tmp_path / "rows.jsonl"
    with path.open("w") as file:
        for n in range(N_ROWS):
            number = n - 1 if n % 10 == 9 else n
            words = " ".join(random.Random(number).choices(WORDS, k=ROW_CHARS // 5))
            file.write(
                json.dumps({"text": f"Row {number}. {words}.", "license": rng.choice(["MIT", "CC0-1.0"])}) + "\n"
            )
    return path


def context(tmp_path: Path, stage: str, documents: Path | None = None) -> Context:
    folder = tmp_path / "runs" / stage
    (folder / "out").mkdir(parents=True)
    given = {"documents": (find_stage("corpus").output("documents", documents),)} if documents else {}
    return Context(stage, folder, InputsByRole(given), {}, cast(Any, None), Workspace.open(tmp_path / "w"))


def test_memory_holds_no_more_than_a_part_of_the_text(tmp_path: Path, text: Path) -> None:
    made = context(tmp_path, "corpus")
    tracemalloc.start()
    try:
        corpus.run(made, corpus.Settings(text=str(text)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < text.stat().st_size / 2
    assert read_json(made.out / "corpus.json")["dropped"] == {"duplicate": N_ROWS // 10}
    assert sorted(path.name for path in made.folder.iterdir()) == ["out"]  # nothing is left of what lay on the disk


def test_shards_hold_the_documents_in_an_order_that_the_seed_decides(tmp_path: Path, text: Path) -> None:
    read, made = (
        context(tmp_path, "corpus"),
        context(tmp_path, "tokenizer", tmp_path / "runs/corpus/out"),
    )
    corpus.run(read, corpus.Settings(text=str(text)))
    tokenizer.run(made, tokenizer.Settings(vocab_size=280, seed=3))
    learned = Tokenizer.load(made.out)
    for side in ("train", "heldout"):
        texts = [row["text"] for row in read_jsonl(read.out / f"{side}.jsonl")]
        if side == "train":
            random.Random(3).shuffle(texts)
        shards = TokenShards(made.out, side)
        assert shards.n_documents == len(texts)
        for number in (0, len(texts) // 2, len(texts) - 1):
            assert shards.document(number).tolist() == [learned.end_of_text_id, *learned.encode(texts[number])]
