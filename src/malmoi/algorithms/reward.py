"""The reward model: learn from people's rankings which answer is better.

Source: Ouyang et al. 2022 (arXiv:2203.02155), eq. 1: all C(K, 2) pairs of a prompt in one batch element, divided by
their number. A tie is used as a pair whose target is one half.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from malmoi.config import Settings
from malmoi.data.comparisons import Comparisons, ranking_steps, read_rankings
from malmoi.model.folder import load_model, load_text
from malmoi.model.lora import LoraConfig, add_lora
from malmoi.model.transformer import ScalarModel
from malmoi.train.loop import Job, LoopConfig


class Config(Settings):
    """Settings of reward training."""

    model: Path = Path()
    """Model folder to start from: the SFT model."""
    data: Path = Path()
    """Rankings, JSON lines {"messages", "answers", "ranks"}: a snapshot of judgements."""
    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(16, gt=0)
    """Prompts, each with all its answers, in one step, over all ranks."""
    micro_batch_size: int = Field(16, gt=0)
    """Prompts in one forward pass."""
    seed: int = 1
    """Of the new head and of the order of the prompts."""
    lora: LoraConfig = LoraConfig()
    """Adapters to train in place of all weights."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""


def loss(model: ScalarModel, batch: Comparisons) -> tuple[Tensor, dict[str, Tensor]]:
    """K-wise loss, summed over prompts, in nats; accuracy is of pairs, per prompt, a tie counting one half."""
    scores = model(batch.ids, batch.branches)[batch.row, batch.last]
    gap = scores[batch.better] - scores[batch.worse]
    losses = -(batch.target * F.logsigmoid(gap) + (1 - batch.target) * F.logsigmoid(-gap))
    is_right = torch.where(batch.target == 1, (gap > 0).float(), 0.5)
    sums = {"accuracy": (is_right * batch.weight).sum(), "gap": (gap * batch.weight).sum().detach()}
    return (losses * batch.weight).sum(), sums


def build(config: Config) -> Job:
    """The SFT model with a scalar head, and the shuffled rankings."""
    model = load_model(config.model, ScalarModel, seed=config.seed)
    add_lora(model, config.lora)
    tokenizer, template = load_text(config.model)
    rankings = read_rankings(config.data, tokenizer, template, model.config.seq_len)
    steps = ranking_steps(rankings, tokenizer.pad_id, config.batch_size, config.micro_batch_size, config.seed)
    return Job(model, steps, loss, config.n_steps)
