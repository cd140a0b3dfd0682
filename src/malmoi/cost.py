"""What a stage will cost, estimated from its settings before any data is read or any step is tried."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from malmoi.model.config import ModelConfig
from malmoi.model.lora import LoraConfig
from malmoi.train.optim import OptimConfig

PROMPT_TOKENS, ANSWER_TOKENS = 20, 16
"""Assumed lengths of a typical demonstration; the real ones are known only after the tokenizer is trained."""
DOCS_BYTES = 2_500_000
"""Approximate size of the documentation of Python."""
REFERENCE_FLOPS = 3e10
"""FLOP/s of training on the reference core, the one of `Cost.s_per_mb` and `Cost.fixed_s`."""
Trial = Literal["text", "answers", "rankings", "rollouts"]
"""What a step trains on: all tokens of text, only the answers, ranked answers, or sampled answers with a value
network."""


@dataclass(frozen=True)
class TrainingCost:
    """What training in a stage involves.

    trial: the kind of step by which its time is measured
    rows, n_tokens: rows of a typical micro-batch, tokens of a row; longest: most tokens of a row
    n_micros: micro-batches in the whole stage; n_steps: optimizer steps
    n_answers: answers sampled while training, of `answer` tokens each
    n_read: networks that compute log-probabilities or scores of each answer, or of each row if none is sampled
    n_trained, n_frozen: networks of the recipe's shape; depth: share of its layers; lora: which weights are trained
    is_averaged: whether trained networks have a second copy, averaged or the best so far
    ptx: training on text that is mixed in
    stage: the stage that trains
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
    ptx: "TrainingCost | None" = None
    stage: str = ""


@dataclass(frozen=True)
class Sizes:
    """Expected sizes of what earlier stages make. Each stage updates its part in `expects`.

    folder: the workspace; None if the shape of the networks is known; shape: shape of the networks
    chat, ranked, prompt: tokens of a typical conversation, ranked conversation, prompt; longest: of the longest row
    is_own_text: whether the text is the user's, not documentation; n_ranked: answers to one prompt
    answer_share: length of a typical answer as a share of the longest; 0: short answers
    n_prompts: prompts for training and held out; n_heldout: the held-out ones
    n_unseen: questions about items that are never asked about in training; n_methods: policies to compare
    """

    folder: Path | None
    shape: ModelConfig
    text_bytes: int = DOCS_BYTES
    is_own_text: bool = False
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
        """The same, with all lengths cut to the context of the networks."""
        names = ("chat", "ranked", "prompt", "longest")
        return replace(self, **{name: min(getattr(self, name), self.shape.seq_len) for name in names})


@dataclass(frozen=True)
class Cost:
    """What a stage costs.

    s_per_mb: seconds per megabyte of text; fixed_s: seconds; both as measured on one reference core
    answers: (number, prompt tokens, answer tokens) of answers that are sampled outside of training
    reads: (number, tokens) of rows that one network computes log-probabilities or scores of
    holds_model: whether a network is in memory
    """

    training: TrainingCost | None = None
    s_per_mb: float = 0.0
    fixed_s: float = 0.0
    answers: tuple[tuple[int, int, int], ...] = ()
    reads: tuple[tuple[int, int], ...] = ()
    holds_model: bool = True
