"""The demo's size: measured once, kept by its workspace."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from malmoi.cli import app
from malmoi.errors import ConfigError
from malmoi.files import write_text
from malmoi.pipeline import demo_size as demo
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
    for stage, name in (("pretrain", "n_steps"), ("sft", "n_steps"), ("ppo", "n_iterations"), ("eval", "n_questions")):
        assert getattr(small[stage], name) < getattr(full[stage], name)
    n_small, n_full = small["demonstrations"].n_items, full["demonstrations"].n_items
    assert n_small < n_full == 1500
    assert f"{n_small} topics of {n_full}" in demo.GIVES_UP


def test_korean_of_older_windows_is_passed_over_with_its_remedy_and_read_with_it(tmp_path: Path) -> None:
    text, workspace = tmp_path / "text", str(tmp_path / "w")
    write_text(text / "a.txt", "비가 온다. 길이 젖었다. 우산을 쓴다.")
    (text / "b.txt").write_bytes("말모이는 우리말 사전이다. 사람들이 낱말을 보냈다.".encode("cp949"))
    words = ["--size", "small", "--workspace", workspace, *ONE_STAGE, str(text)]
    left = run(*words)
    assert "passed over: 1 × not UTF-8" in left and "1 document," in left
    assert "b.txt: not UTF-8 at byte 0" in left and "--encoding cp949" in left and "iconv -f CP949" in left
    read = run(*words, "--encoding", "cp949")
    assert "2 documents" in read and "1 file read as cp949" in read
    assert "corpus.encoding: not a known encoding" in run(*words, "--encoding", "klingon", code=2)


def test_text_under_names_that_are_not_utf8(tmp_path: Path) -> None:
    text = tmp_path / "text"
    folder = os.fsencode(text) + b"/\xb1\xdb"
    try:
        os.makedirs(folder)
    except OSError:
        pytest.skip("this disk takes names in UTF-8 alone")
    for n in range(3):
        (Path(os.fsdecode(folder)) / f"{n}.txt").write_text(f"Cat number {n} sat. It saw dog number {n}. It ran. " * 3)
    words = ["--size", "small", "--workspace", str(tmp_path / "w"), *ONE_STAGE]
    assert "3 documents" in run(*words, str(text))
    refused = run(*words, os.fsdecode(folder), code=2)
    assert r"\xb1\xdb is not UTF-8; rename the file or folder, such as by convmv " in refused
    assert r"--notest $'" in refused and refused.isascii()
    setting = f"corpus.text={os.fsdecode(folder)}"
    assert "not UTF-8; if it names a file, rename it" in run(*words[:-1], "--set", setting, code=2)
