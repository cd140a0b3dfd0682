"""What a training says to type next fits what was made."""

from pathlib import Path

from malmoi.algorithms import reward, sft
from malmoi.commands.train import next_command


def test_a_policy_is_talked_with_and_a_reward_model_held_against_rankings() -> None:
    model = Path("내 폴더/out [1]/model")
    assert next_command(sft.Config(n_steps=1), model) == "malmoi chat '내 폴더/out [1]/model'"
    judged = reward.Config(n_steps=1, data=Path("rankings.jsonl"))
    assert next_command(judged, model) == "malmoi eval '내 폴더/out [1]/model' --preferences rankings.jsonl"
