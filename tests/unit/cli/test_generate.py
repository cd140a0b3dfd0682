"""`malmoi generate`: every answer with what it takes to make it again; what was written is not written twice."""

import fcntl
import json
import subprocess
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.data.comparisons import ranking_ids
from malmoi.files import read_jsonl, write_jsonl, write_text
from malmoi.formats.folder import load_model, load_text, save_model
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate

pytestmark = pytest.mark.usefixtures("float32")
PROMPTS = [{"prompt": "The cat?"}, {"messages": [{"role": "user", "content": "낱말?"}]}, {"prompt": "The dog sat on?"}]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "prompts.jsonl", PROMPTS)
    return tmp_path / "prompts.jsonl"


def generate(model: Path, prompts: Path, out: Path, *words: object, code: int = 0) -> str:
    command = ["generate", model, "--prompts", prompts, "--out", out, "--max-tokens", 5, *words]
    done = CliRunner().invoke(app, [str(word) for word in command])
    assert done.exit_code == code, done.output + repr(done.exception)
    return done.stderr


def test_every_line_says_how_its_answer_came_to_be(policy_folder: Path, prompts: Path, tmp_path: Path) -> None:
    generate(policy_folder, prompts, tmp_path / "a.jsonl", "--n", 2, "--seed", 7, "--temperature", 0.8, "--top-p", 0.9)
    rows = read_jsonl(tmp_path / "a.jsonl")
    assert [(row["row"], row["sample"]) for row in rows] == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]
    assert rows[2]["messages"] == PROMPTS[1]["messages"]
    for row in rows:
        assert (row["sampling"]["temperature"], row["sampling"]["top_p"], row["sampling"]["max_tokens"]) == (
            0.8,
            0.9,
            5,
        )
        assert row["finish_reason"] in ("stop", "length") and 0 <= row["n_tokens"] <= 5
        assert len(row["model_sha256"]) == 64
    assert len({row["seed"] for row in rows}) == 6
    generate(policy_folder, prompts, tmp_path / "b.jsonl", "--n", 2, "--seed", 7, "--temperature", 0.8, "--top-p", 0.9)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_where_there_is_an_index_every_line_names_its_sources(
    policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate, tmp_path: Path, reward_folder: Path
) -> None:
    policy.config = policy.config.model_copy(update={"seq_len": 512})
    save_model(tmp_path / "reads", policy, tokenizer, template, {"run": "0004-sft", "documents": "trained"})
    write_text(tmp_path / "notes" / "hall.md", "# Town hall\n\nThe boiler was repaired by Okello and Sons.\n")
    own = [{"title": "Note", "text": "The cat sat on the mat."}]
    asked = [{"prompt": "Who repaired the boiler?"}, {"prompt": "The cat?", "documents": own}]
    write_jsonl(tmp_path / "asked.jsonl", asked)
    place = ("--documents", tmp_path / "notes", "--workspace", tmp_path / "w")
    for model in (tmp_path / "reads", "none"):
        out = tmp_path / f"{Path(model).name}.jsonl"
        if model == "none":  # it has nothing to say about documents that are not in the index
            assert "there is no model" in generate(Path("none"), tmp_path / "asked.jsonl", out, *place, code=2)
            write_jsonl(tmp_path / "asked.jsonl", asked[:1])
        generate(Path(model), tmp_path / "asked.jsonl", out, *place)
        row, *others = read_jsonl(out)
        assert row["sources"][0]["sentence"] == "The boiler was repaired by Okello and Sons."
        assert row["sources"][0]["sentence"] in row["answer"] and row["quoted"] and row["supported"]
        assert len(row["index_sha256"]) == 64 and (row["model_sha256"] is None) == (model == "none")
        if model != "none":
            assert "Okello" in row["messages"][-1]["documents"][0]["text"] and row["rejected"] != row["answer"]
            assert others[0]["messages"][-1]["documents"] == own and "sources" not in others[0]


def test_stopped_it_goes_on_and_ends_with_the_same_lines(policy_folder: Path, prompts: Path, tmp_path: Path) -> None:
    generate(policy_folder, prompts, tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = lines[1].replace('"answer": "', '"answer": "kept ', 1)
    (tmp_path / "again.jsonl.partial").write_text(kept + lines[0][:40], encoding="utf-8")
    generate(policy_folder, prompts, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_text(encoding="utf-8").splitlines(keepends=True) == [
        lines[0],
        kept,
        lines[2],
    ]
    assert not (tmp_path / "again.jsonl.partial").exists()


def test_a_prompt_has_the_same_answer_in_any_company(policy_folder: Path, prompts: Path, tmp_path: Path) -> None:
    generate(policy_folder, prompts, tmp_path / "all.jsonl")
    write_jsonl(tmp_path / "one.jsonl", PROMPTS[:1])
    generate(policy_folder, tmp_path / "one.jsonl", tmp_path / "alone.jsonl")
    (alone,) = read_jsonl(tmp_path / "alone.jsonl")
    assert alone["answer"] == read_jsonl(tmp_path / "all.jsonl")[0]["answer"]


def test_best_of_n_keeps_the_answer_that_the_reward_model_scores_highest(
    policy_folder: Path, reward_folder: Path, prompts: Path, tmp_path: Path
) -> None:
    words = ("--n", 4, "--seed", 3)
    generate(policy_folder, prompts, tmp_path / "all.jsonl", *words)
    generate(policy_folder, prompts, tmp_path / "best.jsonl", *words, "--best-by", reward_folder)
    every, kept = read_jsonl(tmp_path / "all.jsonl"), read_jsonl(tmp_path / "best.jsonl")
    model, (tokenizer, template) = load_model(reward_folder, ScalarModel), load_text(reward_folder)
    for place, row in enumerate(kept):
        group = every[4 * place : 4 * place + 4]
        ids = [ranking_ids(tokenizer, template, one["messages"], [one["answer"]])[0] for one in group]
        scores = [model(torch.tensor([one]))[0, -1].item() for one in ids]
        assert row["scores"] == pytest.approx(scores, abs=1e-4)
        ended = [score for one, score in zip(group, scores, strict=True) if one["finish_reason"] == "stop"]
        assert row["score"] == pytest.approx(max(ended or scores), abs=1e-4)
        assert group[row["sample"]].items() <= row.items() and row["n"] == 4
        assert len(row["reward_model_sha256"]) == 64
    assert not (tmp_path / "best.jsonl.partial").exists()


def test_bad_input_is_one_line(policy_folder: Path, reward_folder: Path, prompts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert "is a reward model" in generate(reward_folder, prompts, out, code=2)
    assert "name a reward model" in generate(policy_folder, prompts, out, "--n", 2, "--best-by", policy_folder, code=2)
    assert not list(tmp_path.glob("out*"))
    generate(policy_folder, prompts, out)
    written = out.read_bytes()
    assert "exists already" in generate(policy_folder, prompts, out, code=2)
    assert out.read_bytes() == written
    out.rename(tmp_path / "other.jsonl.partial")
    said = generate(policy_folder, prompts, tmp_path / "other.jsonl", "--seed", 3, code=2)
    assert "was begun with another" in said and (tmp_path / "other.jsonl.partial").exists()
    write_jsonl(prompts, [*PROMPTS, {"prompt": "The cat sat on the mat. " * 20}])
    assert "prompts.jsonl:4:" in generate(policy_folder, prompts, tmp_path / "long.jsonl", code=2)
    prompts.write_text(json.dumps(PROMPTS[0]) + "\n{", encoding="utf-8")
    assert "prompts.jsonl:2: not valid JSON" in generate(policy_folder, prompts, tmp_path / "broken.jsonl", code=2)
    assert "top_p" in generate(policy_folder, prompts, tmp_path / "p.jsonl", "--top-p", 0, code=2)


def test_a_second_one_waits_and_what_killed_ones_left_is_swept(
    policy_folder: Path, prompts: Path, tmp_path: Path
) -> None:
    out, dead = tmp_path / "out.jsonl", subprocess.Popen(["true"])
    dead.wait()
    left = tmp_path / f".out.jsonl.{dead.pid}.partial"
    left.write_text("half", encoding="utf-8")
    with (tmp_path / "out.jsonl.partial").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        said = generate(policy_folder, prompts, out, code=2)
        assert "another process is writing it; wait" in said and said.count("\n") == 1 and not out.exists()
    generate(policy_folder, prompts, out)
    assert len(read_jsonl(out)) == 3 and not left.exists()
