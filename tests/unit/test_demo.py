"""The demo's size: measured once, kept by its workspace."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.commands import demo
from malmoi.errors import ConfigError
from malmoi.files import write_text
from malmoi.pipeline.recipe import find_recipe, read_recipe

pytestmark = pytest.mark.usefixtures("float32")
ONE_STAGE = ["--set", 'stages=["corpus"]', "--text"]


@pytest.fixture
def text(tmp_path: Path) -> str:
    for n in range(60):
        write_text(tmp_path / "text" / f"{n}.txt", f"Cat number {n} sat on the mat, and dog number {n} ran home. " * 3)
    return str(tmp_path / "text")


def run(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["demo", *words])
    assert done.exit_code == code, done.output
    return done.output


def test_the_size_follows_the_speed_and_says_what_it_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "FULL_FROM", 0.0)
    assert demo.choose_size("auto", tmp_path)[0] == "full"
    monkeypatch.setattr(demo, "FULL_FROM", float("inf"))
    size, why = demo.choose_size("auto", tmp_path)
    assert size == "small"
    assert "TFLOP/s" in why and "gives up" in why and "--size full" in why and "\n" not in why
    assert demo.choose_size("full", tmp_path)[0] == "full"
    with pytest.raises(ConfigError, match="--size huge: expected auto, small, full"):
        demo.choose_size("huge", tmp_path)


@pytest.mark.parametrize(("begun", "limit"), [("small", 0.0), ("full", float("inf"))])
def test_a_workspace_keeps_its_size(
    tmp_path: Path, text: str, begun: str, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*ONE_STAGE, text, "--workspace", str(tmp_path / "w")]
    monkeypatch.setattr(demo, "FULL_FROM", limit)  # by its speed the machine would get the other
    assert f"size    {begun}" in run(*words, "--size", begun)
    assert f"size    {begun} ({demo.RECIPES[begun]}): as this workspace was begun" in run(*words)
    other = "full" if begun == "small" else "small"
    run(*words, "--size", other, "--from", "corpus", code=2)  # of `run`, not of `demo`
    assert f"size    {other}" in run(*words, "--size", other, "--set", "corpus.seed=9")
    assert f"size    {other}" in run(*words)


def test_the_small_recipe_is_smaller_in_everything_that_takes_time() -> None:
    small, full = (read_recipe(find_recipe(demo.RECIPES[size])) for size in ("small", "full"))
    assert small.stages == full.stages
    assert small.pretrain and full.pretrain and small.sft and full.sft and small.ppo and full.ppo
    assert small.pretrain.n_steps < full.pretrain.n_steps and small.sft.n_steps < full.sft.n_steps
    assert small.ppo.n_iterations < full.ppo.n_iterations
    assert small.demonstrations.n_items < full.demonstrations.n_items == 1500
    assert small.eval.n_questions < full.eval.n_questions
    assert f"{small.demonstrations.n_items} topics of {full.demonstrations.n_items}" in demo.GIVES_UP
