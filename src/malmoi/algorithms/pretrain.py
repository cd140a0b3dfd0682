"""Pretraining: predict the next token of raw text.

Source: Radford et al. 2019 (GPT-2); Brown et al. 2020 (arXiv:2005.14165).
"""

from pathlib import Path

from pydantic import Field, model_validator
from torch import Tensor

from malmoi import device
from malmoi.config import Seed, Settings
from malmoi.corpus.shards import TokenShards
from malmoi.data.batch import Tokens
from malmoi.data.tokens import window_steps
from malmoi.errors import ConfigError
from malmoi.formats.huggingface import family_of
from malmoi.model.config import ModelConfig
from malmoi.model.copying import begin_copying, check_copying
from malmoi.model.transformer import LanguageModel, initialise
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.unused import OF_OPTIM


class Config(Settings):
    """Settings of pretraining."""

    model: ModelConfig
    """Shape of the network."""
    n_steps: int = Field(gt=0)
    """Optimizer steps."""
    batch_size: int = Field(8, gt=0)
    """Windows of `model.seq_len` tokens in one step, over all ranks."""
    micro_batch_size: int = Field(8, gt=0)
    """Windows in one forward pass."""
    seed: Seed = 1
    """Of the initial weights and of the order of the text."""
    copying: bool = False
    """Begin with attention heads that copy from the text before (see `model/copying.py`): a small network then learns
    to answer from documents in its prompt. `repeated_share` keeps them in use."""
    repeated_share: float = Field(0.0, ge=0, le=1)
    """Share of the windows in which a piece of the text is repeated, instead of going on."""
    loop: LoopConfig = LoopConfig()
    """Optimizer, checkpoints, compilation."""
    added = frozenset({"copying", "repeated_share"})

    @model_validator(mode="after")
    def _heads_can_copy(self) -> "Config":
        if self.copying:
            check_copying(self.model)
        return self


class Inputs(Settings):
    """What pretraining reads."""

    shards: Path = Path()
    """Folder of token shards (made by the tokenizer stage)."""


UNUSED = OF_OPTIM


def loss(model: LanguageModel, batch: Tokens) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of the trained-on tokens, summed, in nats."""
    return model.cross_entropy(batch.ids, batch.targets, batch.mask), {}


def build(config: Config, inputs: Inputs) -> Job:
    """A new network, and the shuffled windows of the text."""
    n_tokens = TokenShards(inputs.shards, "train").vocab_size
    vocab_size = config.model.vocab_size or n_tokens
    if vocab_size < n_tokens:
        raise ConfigError(
            f"pretrain.model.vocab_size: {vocab_size} is less than the tokenizer's {n_tokens}; leave it out"
        )
    shape = config.model.model_copy(update={"vocab_size": vocab_size})
    family_of(shape)  # refuses now what could not be saved in the end
    model = LanguageModel(shape)
    initialise(model, config.seed)
    if config.copying:
        begin_copying(model, config.seed)
    steps = window_steps(
        inputs.shards, config.model.seq_len, config.batch_size, config.micro_batch_size, config.seed,
        config.repeated_share,
    )  # fmt: skip
    return Job(model.to(device.current().torch_device), steps, loss, config.n_steps)
