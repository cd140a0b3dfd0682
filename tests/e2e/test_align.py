"""A model that others pretrained, people's rankings, and every method beside SFT: it runs, and goes on where it was."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi.files import read_json, read_jsonl, write_jsonl
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate

RECIPE = Path(__file__).with_name("align.toml")
STAGES = ("base", "data", "sft", "reward", "judge", "ppo", "dpo", "grpo", "compare")
WORDS = ["red", "blue", "green", "grey", "white", "black", "brown", "pink", "gold", "silver"]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model, conversations and rankings."""
    folder = tmp_path_factory.mktemp("given")
    asked = [f"Is {a} like {b}?" for a in WORDS for b in WORDS]
    tokenizer = train_bpe([*asked, "Yes, it is. No, it is not. I do not know."], vocab_size=300)
    torch.manual_seed(1)
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, n_layer=2, n_embd=16, n_head=2, n_kv_head=1, head_dim=8, n_ff=24, seq_len=128
    )
    save_model(folder / "model", LanguageModel(shape), tokenizer, ChatTemplate.default(), {"source": "by chance"})
    turns = [[{"role": "user", "content": prompt}] for prompt in asked]
    write_jsonl(
        folder / "chats.jsonl",
        ({"messages": [*turn, {"role": "assistant", "content": "Yes, it is."}]} for turn in turns),
    )
    write_jsonl(
        folder / "ranked.jsonl",
        (
            {"messages": turn, "answers": ["Yes, it is.", "No, it is not.", "I do not know."], "ranks": [1, 2, 2],
             "source": "offensive" if number % 2 else "calm", "annotators": [[1, 2, 3], [1, 3, 2]]}
            for number, turn in enumerate(turns)
        ),
    )  # fmt: skip
    return folder


def command(given: Path, workspace: Path, *words: object, recipe: Path = RECIPE) -> list[str]:
    assignments = [
        f"base.model={given / 'model'}", f'data.conversations=["{given / "chats.jsonl"}"]',
        f'data.rankings=["{given / "ranked.jsonl"}"]',
    ]  # fmt: skip
    assignments += ['compare.not_shown=["offensive"]'] if recipe == RECIPE else []
    sets = [word for assignment in assignments for word in ("--set", assignment)]
    return [sys.executable, "-m", "malmoi", "run", str(recipe), "--workspace", str(workspace), *sets, *map(str, words)]


def run(given: Path, workspace: Path, *words: object, code: int = 0, recipe: Path = RECIPE) -> str:
    done = subprocess.run(
        command(given, workspace, *words, recipe=recipe), capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def whole(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = tmp_path_factory.mktemp("whole")
    run(given, workspace)
    return workspace


def made(workspace: Path, stage: str) -> Path:
    return sorted((workspace / "runs").glob(f"*-{stage}"))[0] / "out"


def compared(workspace: Path) -> Any:
    return read_json(made(workspace, "compare") / "compare.json")


def test_every_method_stands_beside_sft_with_its_interval(whole: Path) -> None:
    methods = compared(whole)["methods"]
    assert list(methods) == ["sft", "ppo", "dpo", "grpo", "best of 1", "best of 2", "best of 4", "longer of 2"]
    for name, row in methods.items():
        for key in ("win_rate", "judge", "reward", "gain"):
            assert row[key]["low"] <= row[key]["mean"] <= row[key]["high"], (name, key)
        assert row["win_rate"]["low"] >= 0 and row["win_rate"]["high"] <= 1
    assert methods["sft"]["win_rate"]["mean"] == methods["best of 1"]["win_rate"]["mean"] == 0.5
    assert methods["sft"]["kl"] == methods["best of 1"]["kl"] == 0
    assert methods["longer of 2"]["tokens"] >= methods["sft"]["tokens"]
    # Eighteen held-out prompts do not show that the judge knows more than length.
    for row in methods.values():
        assert row["corrected"] == row["against_longer_corrected"]
        assert (row["corrected"]["mean"], row["corrected"]["verdict"]) == (None, "not known yet")
        assert row["by_words"]["corrected"] == row["corrected"]
    assert methods["sft"]["by_words"]["win_rate"]["mean"] == 0.5
    assert "18 held-out prompts are too few" in compared(whole)["other_judge"]["alarm"]
    # What best-of-n maximises cannot fall with n; the last bits differ with how many answers are scored at once.
    rewards = [methods[f"best of {n}"]["reward"]["mean"] for n in (1, 2, 4)]
    assert rewards[0] == pytest.approx(methods["sft"]["reward"]["mean"])
    assert rewards[0] - 1e-6 <= rewards[1] <= rewards[2] + 1e-6


def test_people_rank_what_was_compared(given: Path, whole: Path, tmp_path: Path) -> None:
    rows = read_jsonl(made(whole, "compare") / "to_rank.jsonl")
    assert all(set(row) == {"messages", "answers", "ranks"} and row["ranks"] is None for row in rows)
    ranked = [{**row, "ranks": [1, 2]} for row in rows[:5]] + rows[5:]
    other = {**rows[0], "answers": ["A.", "B."], "ranks": [1, 2]}
    write_jsonl(tmp_path / "people.jsonl", [*ranked, other])
    said = run(given, whole, "--set", f"compare.reads.people={tmp_path / 'people.jsonl'}")
    assert said.count("unchanged, not run again") == len(STAGES) - 1
    assert "people.jsonl: 1 rankings are of other answers" in said
    assert "of its pairs; 20 are needed" in said


def test_curves_begin_at_sft_and_leave_it(whole: Path) -> None:
    for method in ("ppo", "grpo"):
        points = compared(whole)["curves"][method]["points"]
        assert points[0]["step"] == points[0]["judge"]["mean"] == points[0]["words"]["mean"] == 0
        assert points[0]["kl"] == pytest.approx(0, abs=1e-2)
        assert abs(points[-1]["kl"]) > 1e-3
        assert points[-1]["step"] == read_jsonl(made(whole, method).parent / "metrics.jsonl")[-1]["step"]


def test_models_are_judged_on_rankings_that_neither_saw(whole: Path) -> None:
    found, data = compared(whole), made(whole, "data")
    trees = {side: {row["tree"] for row in read_jsonl(data / f"rankings.{side}.jsonl")} for side in ("train", "judge")}
    held_out = read_jsonl(data / "rankings.heldout.jsonl")
    assert trees["train"].isdisjoint(trees["judge"])
    assert (trees["train"] | trees["judge"]).isdisjoint(row["tree"] for row in held_out)
    for model in found["models"].values():
        assert model["n_pairs"] == 2 * len(held_out)  # of three pairs one is a tie
        assert set(model["by_source"]) == {"offensive", "calm"}
    assert found["models"]["reward"]["disagreement"]["std"] > 0
    assert found["annotators"]["calm"]["without_ties"] == pytest.approx(2 / 3)


def test_a_reward_model_is_shown_next_to_what_it_must_beat(whole: Path) -> None:
    found = read_json(made(whole, "reward") / "heldout.json")
    # "No, it is not." and "I do not know." are longer than the best answer, and its words tell.
    names = ["the longer answer", "the shorter answer", "counted words"]
    assert [found["baselines"][name]["accuracy"]["mean"] for name in names] == [0, 1, 1]
    for row in found["baselines"].values():
        assert row["ahead"]["mean"] == pytest.approx(found["accuracy"]["mean"] - row["accuracy"]["mean"])
    assert found["people"]["mean"] == pytest.approx(2 / 3)
    assert "18 held-out prompts are too few" in found["alarm"]
    measured = subprocess.run(
        [sys.executable, "-m", "malmoi", "eval", "reward", "--workspace", str(whole), "--json", "--preferences",
         str(made(whole, "data") / "rankings.heldout.jsonl")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert json.loads(measured)["baselines"] == found["baselines"]
    page = (whole / "report.html").read_text(encoding="utf-8")
    assert "counted words" in page and "18 held-out prompts are too few" in page


def test_a_probe_is_shown_with_its_curve(given: Path, tmp_path: Path) -> None:
    sft = RECIPE.read_text(encoding="utf-8").partition("[reward]")[0]
    stages = 'stages = ["base", "data", "sft", "reward"]'
    recipe = tmp_path / "probe.toml"
    recipe.write_text(
        "\n".join([*(stages if line.startswith("stages") else line for line in sft.splitlines()), "[reward]",
                   'method = "probe"']),
        encoding="utf-8",
    )  # fmt: skip
    said = run(given, tmp_path / "made", recipe=recipe)
    found = read_json(made(tmp_path / "made", "reward") / "heldout.json")
    n = len(read_jsonl(made(tmp_path / "made", "data") / "rankings.train.jsonl"))
    assert [point["n"] for point in found["curve"]["points"]] == [size for size in (25, 50, 100) if size < n] + [n]
    assert found["curve"]["points"][-1]["probe"] == found["accuracy"]
    assert "100 more rankings" in said
    assert "by what was learned from: 25" in (tmp_path / "made" / "report.html").read_text(encoding="utf-8")


def test_report_shows_the_answers_but_not_of_sources_left_out(whole: Path) -> None:
    page = (whole / "report.html").read_text(encoding="utf-8")
    samples = compared(whole)["samples"]
    assert samples and {sample["source"] for sample in samples} == {"calm"}
    assert set(samples[0]["answers"]) == {"sft", "ppo", "dpo", "grpo", "best of 4"}
    assert samples[0]["messages"][-1]["content"] in page
    for anchor in STAGES:
        assert f'id="{anchor}"' in page, anchor
    assert "√KL" in page and "simulated" not in page
    assert json.loads((whole / "report.json").read_text())["compare"]["n_prompts"] == 8


def test_a_reward_model_is_no_base(given: Path, whole: Path, tmp_path: Path) -> None:
    said = run(given, tmp_path, "--set", f"base.model={made(whole, 'reward') / 'model'}", code=2)
    assert "is a reward model; name a model that writes text" in said and "-data" not in said


def test_unchanged_is_not_run_again_and_lineage_walks_to_the_base_model(given: Path, whole: Path) -> None:
    assert run(given, whole).count("unchanged, not run again") == len(STAGES)
    told = subprocess.run(
        [sys.executable, "-m", "malmoi", "lineage", made(whole, "grpo").parent.name, "--workspace", str(whole)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert all(stage in told for stage in ("sft", "base", "import", "data", "reward"))
    assert (whole / "models" / "judge" / "model.safetensors").exists()


def test_a_parent_that_is_missing_is_named(given: Path, tmp_path: Path) -> None:
    said = run(given, tmp_path, "--set", 'stages=["base","data","reward","compare"]', code=2)
    assert "compare needs judge before it, which judge makes" in said
    assert "nowhere: no such model" in run(given, tmp_path, "--set", "base.model=nowhere", code=2)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["ppo", "grpo"])
def test_killed_on_the_way_it_ends_with_the_same_policy_and_curve(
    given: Path, whole: Path, tmp_path: Path, stage: str
) -> None:
    process = subprocess.Popen(command(given, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 1800
    while time.monotonic() < deadline and process.poll() is None:
        if any(path.read_bytes().count(b"\n") >= 3 for path in tmp_path.glob(f"runs/*-{stage}/metrics.jsonl")):
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait(timeout=600) == -signal.SIGKILL
    run(given, tmp_path)
    for name in ("model/model.safetensors", "curve.jsonl"):
        assert (made(tmp_path, stage) / name).read_bytes() == (made(whole, stage) / name).read_bytes(), name
