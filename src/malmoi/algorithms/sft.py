"""Supervised fine-tuning: learn to answer from people's demonstrations; only the assistant's turns are trained on.

Source: Ouyang et al. 2022 (InstructGPT, arXiv:2203.02155), step 1.
"""

from pathlib import Path

from pydantic import Field
from torch import Tensor

from malmoi.config import Seed, Settings
from malmoi.data.batch import Tokens
from malmoi.data.conversations import conversation_steps, read_conversations
from malmoi.formats.folder import load_model, load_text
from malmoi.model.lora import LoraConfig, add_lora
from malmoi.model.transformer import LanguageModel
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.unused import OF_LORA, OF_LORA_WITH_HEAD, OF_OPTIM


class Config(Settings):
    """Settings of supervised fine-tuning."""

    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(32, gt=0)
    """Conversations in one step, over all ranks."""
    micro_batch_size: int = Field(32, gt=0)
    """Conversations in one forward pass."""
    seed: Seed = 1
    """Of the order of the conversations."""
    lora: LoraConfig = LoraConfig()
    """Adapters to train instead of all weights."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""


class Inputs(Settings):
    """What supervised fine-tuning reads."""

    model: Path = Path()
    """Model folder to start from."""
    data: Path = Path()
    """Conversations, JSON lines {"messages": [...]}."""


UNUSED = (*OF_OPTIM, *OF_LORA, *OF_LORA_WITH_HEAD)


def loss(model: LanguageModel, batch: Tokens) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the assistant's tokens, end of turn included, summed, in nats."""
    return model.cross_entropy(batch.ids, batch.targets, batch.mask), {}


def build(config: Config, inputs: Inputs) -> Job:
    """The model to start from and the shuffled conversations."""
    model = load_model(inputs.model, LanguageModel)
    add_lora(model, config.lora)
    tokenizer, template = load_text(inputs.model)
    chats = read_conversations(inputs.data, tokenizer, template, model.config.seq_len)
    steps = conversation_steps(chats, tokenizer.pad_id, config.batch_size, config.micro_batch_size, config.seed)
    return Job(model, steps, loss, config.n_steps)
