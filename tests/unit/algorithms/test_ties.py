"""What has nothing to learn from is refused in a line."""

from pathlib import Path

import pytest

from malmoi.algorithms import reward
from malmoi.errors import DataError
from malmoi.files import write_jsonl

pytestmark = pytest.mark.usefixtures("float32")


def test_rankings_that_are_all_ties_are_refused(tmp_path: Path, policy_folder: Path) -> None:
    asked, data = [{"role": "user", "content": "cat"}], tmp_path / "rankings.jsonl"
    write_jsonl(data, [{"messages": asked, "answers": ["the mat", "the log"], "ranks": [1, 1]}])
    with pytest.raises(DataError, match=r"every ranking is a tie.*rank\.tie_margin"):
        reward.build(reward.Config(n_steps=1), reward.Inputs(model=policy_folder, data=data))
