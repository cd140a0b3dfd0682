"""What a stage says of its pace."""

from pathlib import Path

import pytest

from malmoi import progress
from malmoi.cli.console import Console
from malmoi.data.comparisons import Ranking
from malmoi.evals.reward_scores import mean_scores
from malmoi.inference.generate import generate
from malmoi.inference.sampling import Sampling
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.log import RunLog
from malmoi.train.loop import Step

pytestmark = pytest.mark.usefixtures("float32")


def test_paths_and_commands_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console, command = Console(), "malmoi chat '말 모이 [red]/model' " + "x" * 200
    console.line(command)
    console.started("sft → out [1]", "", resumed=False)
    command_line, started = capsys.readouterr().out.splitlines()
    assert command_line == command and started.startswith("sft → out [1]")


def test_the_last_step_says_how_far_how_long_and_how_fast(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    for stage in ("sft", "reward"):  # the clock begins again with each stage
        console.started(stage, "0001", resumed=True)
        for number in (3, 4):  # resumed: only what is done here counts
            console.step(Step(number, 4, {"loss": 1.5}, seconds=10.0, count=1))
        last = capsys.readouterr().out.splitlines()[-1]
        assert "step 4/4  10 s, 0 s left, 0.20 steps/s  loss 1.500" in last


def test_long_work_gets_a_plain_line_every_ten_seconds_and_short_work_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    now = [0.0]
    console, log = Console(clock=lambda: now[0]), RunLog(tmp_path, clock=lambda: now[0])
    console.started("sample", "0001", resumed=False)
    capsys.readouterr()
    with progress.listening(console.progress, log.progress):
        for _ in progress.track(range(200), "answers"):
            now[0] += 0.125
    first, second = capsys.readouterr().out.splitlines()
    assert first == "  80/200 answers  10 s, 15 s left, 8.00 answers/s"
    assert second.startswith("  160/200 answers  20 s, 5 s left")
    assert first.strip() in log.path.read_text("utf-8").splitlines()[0]
    console.started("rank", "0002", resumed=False)
    capsys.readouterr()
    with progress.listening(console.progress):
        for _ in progress.track(range(90), "rankings"):
            now[0] += 0.1
    assert capsys.readouterr().out == ""


def test_answers_and_scores_are_reported(shape: ModelConfig) -> None:
    told: list[tuple[int, int | None, str]] = []
    with progress.listening(lambda *what: told.append(what)):
        generate(LanguageModel(shape), [[1], [2, 3], [4]], Sampling(max_tokens=3), end_ids=[], seeds=[1, 2, 3])
        assert told[0] == (0, 3, "answers") and told[-1] == (3, 3, "answers")
        mean_scores(ScalarModel(shape), [Ranking([[1, 2], [3]], [1, 2])] * 5, pad_id=0)
    assert told[-1] == (5, 5, "rankings")
