"""What a training stage says of its pace."""

import pytest

from malmoi.pipeline.console import Console
from malmoi.train.loop import Step

pytestmark = pytest.mark.usefixtures("float32")


def test_the_last_step_says_how_far_how_long_and_how_fast(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    for stage in ("sft", "reward"):  # the clock begins again with each stage
        console.started(stage, "0001", resumed=True)
        for number in (3, 4):  # resumed: only what is done here counts
            console.step(Step(number, 4, {"loss": 1.5}, seconds=10.0, count=1))
        last = capsys.readouterr().out.splitlines()[-1]
        assert "step 4/4  10 s, 0 s left, 0.20 steps/s  loss 1.500" in last
