"""What recipes call the models that they make: `models/NAME` in a workspace."""

MODEL_NAMES = ("base", "sft", "reward", "judge", "ppo", "dpo", "grpo")
