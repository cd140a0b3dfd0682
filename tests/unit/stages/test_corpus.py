"""Text becomes a corpus and shards without ever being in memory as a whole."""

import json
import random
import tracemalloc
from pathlib import Path
from typing import Any, cast

import pytest

from malmoi.corpus.build import build
from malmoi.corpus.built import trace
from malmoi.corpus.shards import TokenShards
from malmoi.errors import ConfigError
from malmoi.files import read_json, read_jsonl
from malmoi.stage import Context, Finished, InputsByRole
from malmoi.stages import corpus, find_stage, tokenizer
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes

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


def test_pages_of_the_web_become_the_text_of_a_recipe_as_by_two_commands(tmp_path: Path) -> None:
    pytest.importorskip("fastwarc", reason="pip install 'malmoi[corpus]'")
    sentence = "The {} of the town was quiet in the morning, and the people who lived there had {} to do before noon. "
    rows = [{"text": sentence.format(a, b) * 3 + f"Write to {a}@example.org."} for a in WORDS for b in WORDS]
    (tmp_path / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *rows[:7]]))
    how = corpus.PageSettings(min_score=0, rules=(), near_from=1, repeated_lines=False)
    made = context(tmp_path, "corpus")
    own = corpus.Settings(sources=(str(tmp_path / "pages.jsonl"),), web=how)
    corpus.run(made, own)
    found = read_json(made.out / "corpus.json")
    assert found["pages"] == {"n_read": 107, "n_kept": 100, "dropped": {"near": 7}, "masked": {"e-mail": 100}}
    (section,) = corpus.facts(Finished("corpus", "corpus", made.folder, own, made.reads)).sections
    assert any("near" in said for block in section.blocks for label, said in block.rows if label == "dropped by step")
    build([str(tmp_path / "pages.jsonl")], tmp_path / "web", how, say=lambda line: None)
    twice = context(tmp_path / "twice", "corpus")
    corpus.run(twice, corpus.Settings(text=str(tmp_path / "web" / "data")))
    for side in ("train", "heldout"):
        assert (made.out / f"{side}.jsonl").read_bytes() == (twice.out / f"{side}.jsonl").read_bytes()
    page = read_jsonl(made.out / "train.jsonl")[0]
    assert trace(made.folder / "web", page["id"])["text"] == page["text"]


def test_other_pages_and_other_steps_are_other_work_and_text_as_before_is_the_same(tmp_path: Path) -> None:
    workspace, pages = Workspace.open(tmp_path / "w"), tmp_path / "pages.jsonl"
    pages.write_text("one")

    def known(**given: Any) -> Any:
        settings = corpus.Settings(**given)
        hashes = Hashes(tmp_path / "w" / ".hashes.json")
        return settings.under_first_names(settings.model_dump(mode="json")), corpus.external_hashes(
            settings, workspace, hashes
        )

    first = known(sources=(str(pages),))
    assert first == known(sources=(str(pages),)) != known(sources=(str(pages),), web={"min_score": 0.1})
    (tmp_path / "a.jsonl").write_text("label")
    assert known(sources=(str(pages),), web={"labels": (str(tmp_path / "a.jsonl"),)})[1] != first[1]
    pages.write_text("two and more")
    assert known(sources=(str(pages),))[1] != first[1]
    assert not {"sources", "web"} & known(text=str(pages))[0].keys()  # work of earlier versions is found
    with pytest.raises(ConfigError, match="a password or a signature"):
        corpus.check(corpus.Settings(sources=("https://ann:secret@example.org/a.warc.gz",)), {})


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
