"""TRL's side: its trainers as users run them on a CPU, without options that make them slower.

Gradient checkpointing, on by default in TRL, is off: it trades speed for memory. Batches are padded as TRL pads them.
"""

import time
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
from trl import RewardConfig, RewardTrainer, RLOOConfig, RLOOTrainer, SFTConfig, SFTTrainer

from benchmarks.side import Result, Work

VERSIONS = {"trl": trl.__version__, "transformers": transformers.__version__}


def sft(work: Work, configuration: str) -> Result:
    chats = work["chats"]
    rows = {
        "input_ids": [chat["ids"] for chat in chats],
        "labels": [
            [token if trained else -100 for token, trained in zip(chat["ids"], chat["trained"], strict=True)]
            for chat in chats
        ],
    }
    batch_size, more = work["batch_size"], {}
    if configuration.endswith("packed"):
        # One row with about the tokens of a batch, so that an update has the same amount of text.
        n_steps = len(chats) // batch_size
        batch_size = 1
        more = {"packing": True, "max_length": max(-(-work["n_tokens"] // n_steps), *map(len, rows["input_ids"]))}
    args = SFTConfig(**_arguments(work, configuration, batch_size), **more)
    trainer = _Counting(
        SFTTrainer, model=work["model"], args=args, train_dataset=Dataset.from_dict(rows), processing_class=_text(work)
    )
    return trainer.second_epoch(work)


def reward(work: Work, configuration: str) -> Result:
    chosen, rejected = zip(*work["pairs"], strict=True)
    args = RewardConfig(**_arguments(work, configuration, work["batch_size"]))
    trainer = _Counting(
        RewardTrainer, model=work["reward_model"], args=args, processing_class=_text(work),
        train_dataset=Dataset.from_dict({"chosen_ids": list(chosen), "rejected_ids": list(rejected)}),
    )  # fmt: skip
    return trainer.second_epoch(work)


def rl_step(work: Work, configuration: str) -> Result:
    """RLOO has no value network. The reward model is frozen, so it may use the faster format throughout."""
    tokenizer = _text(work)
    for question, ids in zip(work["questions"], work["prompts"], strict=True):
        found = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_dict=False)
        if found != ids:
            raise RuntimeError(f"TRL would read other tokens than Malmoi: {found} instead of {ids}")
    # No answer ends early: the end of turn is replaced by a token that is practically never sampled.
    tokenizer.eos_token = tokenizer.pad_token
    policy: Any = AutoModelForCausalLM.from_pretrained(work["model"], dtype=torch.float32)
    policy.generation_config.eos_token_id = tokenizer.eos_token_id
    n_answers = len(work["prompts"]) * work["n_answers"]
    args = RLOOConfig(
        **_arguments(work, configuration, n_answers) | {"num_train_epochs": 1.0, "max_steps": 1 + work["n_iterations"]},
        num_generations=work["n_answers"], max_completion_length=work["n_new"], beta=0.05, temperature=1.0,
    )  # fmt: skip
    judge = AutoModelForSequenceClassification.from_pretrained(
        work["reward_model"], num_labels=1, dtype=getattr(torch, configuration)
    )
    clock = _Clock()
    trainer = RLOOTrainer(
        model=policy, reward_funcs=judge, reward_processing_classes=_text(work), args=args, callbacks=[clock],
        train_dataset=Dataset.from_dict({"prompt": work["questions"]}), processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    n_new = trainer.state.num_input_tokens_seen // len(clock.steps) - work["n_answers"] * sum(map(len, work["prompts"]))
    return {
        "value": (clock.steps[-1] - clock.steps[0]) / work["n_iterations"],
        "same": {"prompt tokens": work["n_answers"] * sum(map(len, work["prompts"])), "new tokens": n_new},
    }


rl_step_grpo = rl_step


class _Clock(TrainerCallback):
    """Records when each step and each epoch ends."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.epochs: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.steps.append(time.perf_counter())

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.epochs.append(time.perf_counter())


class _Counting:
    """A trainer that records its losses, each with its number of trained tokens or pairs."""

    def __init__(self, kind: Any, **arguments: Any) -> None:
        self.clock = _Clock()
        self.losses: list[tuple[torch.Tensor, int]] = []
        self.trainer = kind(callbacks=[self.clock], **arguments)
        compute_loss = self.trainer.compute_loss

        def counted(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
            labels = inputs.get("labels")
            count = len(inputs["input_ids"]) // 2 if labels is None else int((labels[:, 1:] != -100).sum())
            loss: torch.Tensor = compute_loss(model, inputs, *args, **kwargs)
            self.losses.append((loss.detach(), count))
            return loss

        self.trainer.compute_loss = counted

    def second_epoch(self, work: Work) -> Result:
        """Two passes over the data: the first warms up and gives the loss, the second is timed."""
        self.trainer.train()
        first = self.losses[: len(self.losses) // 2]
        counted = sum(count for _, count in first)
        loss = sum(float(loss) * count for loss, count in first) / counted
        seconds = self.clock.epochs[1] - self.clock.epochs[0]
        return {"value": work["n_tokens"] / seconds, "same": {"counted": counted, "loss at step 0": loss}}


def _text(work: Work) -> Any:
    """The model's tokenizer, with a padding token that does not occur in the input."""
    tokenizer = AutoTokenizer.from_pretrained(work["model"])
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(work["spare_id"])
    return tokenizer


def _arguments(work: Work, configuration: str, batch_size: int) -> dict[str, Any]:
    torch.set_num_threads(work["threads"])
    return {
        "output_dir": f"{work['folder']}/trl",
        "use_cpu": True,
        "bf16": configuration.startswith("bfloat16"),
        "gradient_checkpointing": False,
        "per_device_train_batch_size": batch_size,
        "num_train_epochs": 2.0,
        "learning_rate": work["tiny_lr"],
        "lr_scheduler_type": "constant",
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
