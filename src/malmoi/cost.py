"""What a stage will take, in numbers that its settings give before anything was read or tried."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from malmoi.model.config import ModelConfig
from malmoi.model.lora import LoraConfig
from malmoi.train.optim import OptimConfig

PROMPT_TOKENS, ANSWER_TOKENS = 20, 16
"""Of a usual demonstration; nobody knows before the tokenizer is trained."""
DOCS_BYTES = 2_500_000
"""The documentation of Python, about."""
Trial = Literal["text", "answers", "rankings", "rollouts"]
"""What a step learns from: all tokens of text, the answers in it, ranked answers, or sampled ones with a value
network."""


@dataclass(frozen=True)
class Work:
    """What a stage that trains does.

    trial: by which kind of step its time is measured
    rows, n_tokens: of one micro-batch, as it usually is; longest: tokens of a row at most
    n_micros: micro-batches in the whole stage; n_steps: optimizer steps
    n_answers: sampled on the way, of `answer` tokens; n_read: networks that read each of them, or each row of a batch
    n_trained, n_frozen: networks of the recipe's shape; depth: share of its layers; lora: what learns
    is_averaged: whether the networks that learn have copies, which follow them; ptx: the text that is mixed in
    stage: whose work it is
    """

    trial: Trial
    optim: OptimConfig
    rows: int
    n_tokens: int
    longest: int
    n_micros: int
    n_answers: int = 0
    n_trained: int = 1
    n_frozen: int = 0
    answer: int = ANSWER_TOKENS
    n_read: int = 0
    depth: float = 1.0
    lora: LoraConfig = field(default_factory=LoraConfig)
    n_steps: int = 1
    is_averaged: bool = False
    ptx: "Work | None" = None
    stage: str = ""


@dataclass(frozen=True)
class Sizes:
    """What the stages before are expected to make. A stage that makes some of it says how much with `expects`.

    folder: the workspace; None where the shape of the networks is known; shape: of the networks
    chat, ranked, prompt: usual tokens of a conversation, a ranked conversation, a prompt; longest: of the longest row
    n_ranked: answers to one prompt; answer_share: how much of the longest answer a usual one takes, 0 for short ones
    n_prompts: to train on and held out; n_heldout: of these; n_unseen: questions about what nobody asked before
    """

    folder: Path | None
    shape: ModelConfig
    text_bytes: int = DOCS_BYTES
    chat: int = PROMPT_TOKENS + ANSWER_TOKENS
    ranked: int = PROMPT_TOKENS + ANSWER_TOKENS
    prompt: int = PROMPT_TOKENS
    longest: int = 3 * (PROMPT_TOKENS + ANSWER_TOKENS)
    n_ranked: int = 4
    answer_share: float = 0.0
    n_prompts: int = 0
    n_heldout: int = 0
    n_unseen: int = 0
    n_methods: int = 0

    def fitted(self) -> "Sizes":
        """No longer than the context of the networks."""
        names = ("chat", "ranked", "prompt", "longest")
        return replace(self, **{name: min(getattr(self, name), self.shape.seq_len) for name in names})


@dataclass(frozen=True)
class Cost:
    """What a stage takes besides what it trains.

    s_per_mb: seconds for a megabyte of text, fixed_s: seconds, both on the core that they were measured on
    answers: (how many, tokens of the prompt, tokens of the answer) that are sampled, not for training
    reads: (how many, tokens) of rows that one network reads
    holds_model: whether a network is in memory
    """

    work: Work | None = None
    s_per_mb: float = 0.0
    fixed_s: float = 0.0
    answers: tuple[tuple[int, int, int], ...] = ()
    reads: tuple[tuple[int, int], ...] = ()
    holds_model: bool = True
