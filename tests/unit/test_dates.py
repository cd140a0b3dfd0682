"""A chat template that writes the date writes the day on which a run began, on whatever day and rank it goes on."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from malmoi.data.comparisons import ranking_ids
from malmoi.errors import ConfigError
from malmoi.files import read_json, read_jsonl, write_json, write_jsonl, write_text
from malmoi.formats.folder import save_model
from malmoi.inference.answer_file import write_answers
from malmoi.inference.sampling import Sampling
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.recipe import Recipe
from malmoi.pipeline.run import run_recipe
from malmoi.pipeline.standalone import train
from malmoi.pipeline.watcher import Watcher
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.tokenizer.template_clock import fixed_time, start_of, template_time
from malmoi.workspace.folder import Workspace

pytestmark = pytest.mark.usefixtures("float32")
MONDAY, TUESDAY = datetime(2001, 2, 5, 23, 59, 59), datetime(2001, 2, 6)
ASKED = [{"role": "user", "content": "What?"}]
RANK = """
import json
import sys
from datetime import datetime
from pathlib import Path
from malmoi import device
from malmoi.pipeline.standalone import train
from malmoi.pipeline.watcher import Watcher
from malmoi.pipeline.ranks import follow, leading
from malmoi.pipeline.recipe import Recipe
from malmoi.pipeline.run import run_recipe
from malmoi.workspace.folder import Workspace
config, out, recipe, workspace, *days = sys.argv[1:]
day = datetime.fromisoformat(days[device.current().rank])
train("sft", Path(config), [], Path(out), day)
if not device.current().is_main:
    sys.exit(follow())
with leading():
    run_recipe(Recipe.of(json.loads(recipe)), Workspace.open(workspace), Watcher(), now=day)
"""


class Interrupted(Watcher):
    """Stops in the third step."""

    def step(self, step: Any) -> None:
        if step.step == 3:
            raise KeyboardInterrupt


@pytest.fixture
def with_date(template: ChatTemplate) -> ChatTemplate:
    return ChatTemplate("{{ strftime_now('%d') }}" + template.source)


@pytest.fixture
def model(tmp_path: Path, policy: LanguageModel, tokenizer: Tokenizer, with_date: ChatTemplate) -> Path:
    save_model(tmp_path / "dated", policy, tokenizer, with_date, {})
    return tmp_path / "dated"


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    said = ("the cat", "a list", "낱말", "the dog sat", "order", "the mat")
    turns = ((("user", f"{text}?"), ("assistant", text)) for text in said)
    rows = ({"messages": [{"role": role, "content": text} for role, text in turn]} for turn in turns)
    write_jsonl(tmp_path / "chats.jsonl", rows)
    return tmp_path / "chats.jsonl"


@pytest.fixture
def config(tmp_path: Path, model: Path, chats: Path) -> Path:
    settings = {"model": str(model), "data": str(chats), "n_steps": 6, "batch_size": 2, "micro_batch_size": 1}
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    write_text(tmp_path / "sft.toml", "\n".join([*lines, "loop.optim.lr = 1e-2", "loop.checkpoint_every_s = 0"]))
    return tmp_path / "sft.toml"


@pytest.fixture
def recipe(model: Path, chats: Path) -> Recipe:
    loop = {"checkpoint_every_s": 0, "optim": {"lr": 1e-2}}
    sft = {"n_steps": 6, "batch_size": 2, "micro_batch_size": 1, "loop": loop}
    data = {"conversations": [str(chats)], "longest": 32, "longest_prompt": 16, "heldout_fraction": 0.3}
    stages = ["base", "data", "sft"]
    return Recipe.of({"stages": stages, "base": {"model": str(model)}, "data": data, "sft": sft})


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def is_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor], **tolerance: float) -> bool:
    return all(torch.allclose(one[name], other[name], **tolerance) for name in one)


def run(recipe: Recipe, folder: Path, now: datetime, watcher: Watcher | None = None) -> Path:
    done = run_recipe(recipe, Workspace.open(folder), watcher or Watcher(), now=now)
    return done["sft"].out


def test_one_time_is_told_until_all_is_done(tokenizer: Tokenizer, with_date: ChatTemplate, tmp_path: Path) -> None:
    def prompt() -> list[int]:
        return with_date.encode(tokenizer, ASKED, add_generation_prompt=True)[0]

    with fixed_time(MONDAY):
        monday = prompt()
        with fixed_time(TUESDAY):
            assert prompt() != monday and ranking_ids(tokenizer, with_date, ASKED, ["a"])[0][: len(monday)] == prompt()
        with fixed_time():
            assert prompt() == monday and template_time() == MONDAY
    assert start_of(tmp_path / "none", MONDAY) == MONDAY
    for value in ("soon", 3, ["2001-02-05"]):
        write_json(tmp_path / "config.json", {"begun": value})
        with pytest.raises(ConfigError, match=r"config.json: begun: .* is not a time"):
            start_of(tmp_path / "config.json", MONDAY)


def test_a_stage_goes_on_the_next_day_as_if_it_were_the_same(recipe: Recipe, tmp_path: Path) -> None:
    whole = run(recipe, tmp_path / "whole", MONDAY)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "again", MONDAY, Interrupted())
    again = run(recipe, tmp_path / "again", TUESDAY)
    assert read_json(again.parent / "config.json")["begun"] == MONDAY.isoformat()
    assert (again / "model" / "model.safetensors").read_bytes() == (whole / "model" / "model.safetensors").read_bytes()
    assert not is_same(weights(run(recipe, tmp_path / "next", TUESDAY)), weights(whole), rtol=1e-2, atol=1e-3)


def test_a_training_goes_on_the_next_day_as_if_it_were_the_same(config: Path, tmp_path: Path) -> None:
    train("sft", config, [], tmp_path / "out", MONDAY)
    assert read_json(tmp_path / "out" / "config.json")["begun"] == MONDAY.isoformat()
    model = tmp_path / "out" / "model" / "model.safetensors"
    made = model.read_bytes()
    for file in model.parent.iterdir():  # as if it had been stopped before its first checkpoint
        file.unlink()
    model.parent.rmdir()
    train("sft", config, [], tmp_path / "out", TUESDAY)
    assert model.read_bytes() == made
    train("sft", config, [], tmp_path / "next", TUESDAY)
    assert (tmp_path / "next" / "model" / "model.safetensors").read_bytes() != made


def test_answers_go_on_the_next_day_to_the_same_prompts(model: Path, tmp_path: Path, policy_folder: Path) -> None:
    write_jsonl(tmp_path / "prompts.jsonl", [{"prompt": "The cat?"}, {"prompt": "The dog?"}])

    def write(name: str, now: datetime, model: Path = model) -> list[dict[str, Any]]:
        prompts, out = tmp_path / "prompts.jsonl", tmp_path / name
        write_answers("it", model, prompts, out, Sampling(max_tokens=8), 1, 1, "float32", now=now)
        return read_jsonl(out)

    whole = write("whole.jsonl", MONDAY)
    assert {row["begun"] for row in whole} == {MONDAY.isoformat()}
    write_jsonl(tmp_path / "again.jsonl.partial", whole[:1])
    assert write("again.jsonl", TUESDAY) == whole
    assert {row["begun"] for row in write("next.jsonl", TUESDAY)} == {TUESDAY.isoformat()}
    # What does not depend on the day does not say one: the same command makes the same file.
    assert write("a.jsonl", MONDAY, policy_folder) == write("b.jsonl", TUESDAY, policy_folder)


@pytest.mark.slow
def test_all_ranks_are_told_the_time_of_the_first(config: Path, recipe: Recipe, tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    places = [config, tmp_path / "two", json.dumps(recipe.table()), tmp_path / "ring"]
    command = [sys.executable, "-c", RANK, *map(str, places), MONDAY.isoformat(), TUESDAY.isoformat()]
    ranks = [
        subprocess.Popen(command, env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(2)
    ]
    try:
        assert [rank.wait(timeout=600) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    ring = next((tmp_path / "ring" / "runs").glob("*-sft")) / "out"
    for now, is_told in ((MONDAY, True), (TUESDAY, False)):
        train("sft", config, [], tmp_path / now.strftime("%A"), now)
        one = weights(tmp_path / now.strftime("%A"))
        assert is_same(weights(tmp_path / "two"), one, rtol=1e-3, atol=1e-4) is is_told
        one = weights(run(recipe, tmp_path / now.strftime("ring %A"), now))
        assert is_same(weights(ring), one, rtol=1e-3, atol=1e-4) is is_told
