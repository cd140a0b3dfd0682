"""The work of a recipe in numbers, and what it takes of memory and disk: arithmetic, nothing is tried.

The memory of activations was fitted to measured peaks (two CPUs, widths 192 to 512, within a quarter).
"""

from dataclasses import dataclass, field
from functools import partial
from math import ceil, prod
from pathlib import Path
from typing import cast

from malmoi.algorithms import grpo, ppo
from malmoi.errors import ConfigError
from malmoi.formats.folder import load_config
from malmoi.formats.locate import CONFIG
from malmoi.model.config import ModelConfig
from malmoi.model.lora import LoraConfig
from malmoi.pipeline.recipe import Recipe, StageName
from malmoi.train.optim import OptimConfig

BASE_BYTES = 500_000_000
"""Python, torch and their buffers, before there is a model."""
PROMPT_TOKENS, ANSWER_TOKENS = 20, 16
"""Of a usual demonstration; nobody knows before the tokenizer is trained."""
TYPICAL_SHARE = 0.6
"""Of the longest conversation, ranked answer or prompt that `data` keeps: the usual one."""
DOCS_BYTES = 2_500_000
"""The documentation of Python, about."""
LOGIT_ROWS = 512
"""Tokens whose logits are held at a time."""
SMOLLM2_135M = ModelConfig(
    vocab_size=49152, n_layer=30, n_embd=576, n_head=9, n_kv_head=3, head_dim=64, n_ff=1536, seq_len=8192,
    tie_embeddings=True, qk_norm=False,
)  # fmt: skip
KNOWN_SHAPES = {"smollm2-135m": SMOLLM2_135M}
"""Of base models that need not be here yet."""


@dataclass(frozen=True)
class Work:
    """A training stage in numbers.

    rows, n_tokens: of one micro-batch, as it usually is; longest: tokens of a row at most
    n_micros: micro-batches in the whole stage; n_steps: optimizer steps
    n_answers: sampled on the way, of `answer` tokens; n_read: networks that read each of them, or each row of a batch
    n_trained, n_frozen: networks of the recipe's shape; depth: share of its layers; lora: what learns
    is_averaged: whether the networks that learn have copies, which follow them; ptx: the text that is mixed in
    """

    stage: str
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


def shape_of(recipe: Recipe, folder: Path = Path()) -> ModelConfig:
    """The network that the recipe will train. folder: the workspace, where a base model may lie

    Raises ConfigError while the base model is not there.
    """
    if recipe.pretrain is not None and "base" not in recipe.stages:
        shape = recipe.pretrain.model
        return shape if shape.vocab_size else shape.model_copy(update={"vocab_size": recipe.tokenizer.vocab_size})
    places = (Path(recipe.base.model), folder / "models" / recipe.base.model)
    found = next((path for path in places if (path / CONFIG).exists()), None)
    if found is not None:
        return load_config(found)
    if recipe.base.model in KNOWN_SHAPES:
        return KNOWN_SHAPES[recipe.base.model]
    raise ConfigError(f"base.model: {recipe.base.model} is not here yet; malmoi models pull {recipe.base.model}")


@dataclass(frozen=True)
class Lengths:
    """Usual tokens of a chat, a ranked conversation, a prompt; the longest row of either."""

    chat: int
    ranked: int
    prompt: int
    longest: int


def lengths_of(recipe: Recipe, shape: ModelConfig) -> Lengths:
    """Guessed before any text was read: from what the stage `data` keeps, else as the demo's questions are."""
    if (data := recipe.data) is None or "data" not in recipe.stages:
        chat = min(PROMPT_TOKENS + ANSWER_TOKENS, shape.seq_len)
        return Lengths(chat, chat, min(PROMPT_TOKENS, shape.seq_len), min(3 * chat, shape.seq_len))
    kept = (data.longest_conversation or data.longest, data.longest, data.longest_prompt)
    chat, ranked, prompt = (ceil(TYPICAL_SHARE * min(longest, shape.seq_len)) for longest in kept)
    return Lengths(chat, ranked, prompt, min(data.longest, shape.seq_len))


def works_of(recipe: Recipe, shape: ModelConfig) -> list[Work]:
    """The training stages of a recipe, in its order."""
    usual, works = lengths_of(recipe, shape), []
    from_data = "data" in recipe.stages
    n_ranked = 2 if from_data else recipe.sample.n_answers
    for stage, config, rows_each, n_tokens in (
        ("pretrain", recipe.pretrain, 1, shape.seq_len),
        ("sft", recipe.sft, 1, usual.chat),
        ("reward", recipe.reward, n_ranked, usual.ranked),
        ("judge", recipe.judge, n_ranked, usual.ranked),
        ("dpo", recipe.dpo, n_ranked, usual.ranked),
    ):
        if config is None or stage not in recipe.stages:
            continue
        rows, lora = min(config.micro_batch_size, config.batch_size), getattr(config, "lora", LoraConfig())
        works.append(
            Work(
                stage, config.loop.optim, rows * rows_each, n_tokens, max(n_tokens, usual.longest),
                n_micros=config.n_steps * ceil(config.batch_size / rows), n_read=int(stage == "dpo"),
                n_frozen=int(stage == "dpo" and not lora.rank), depth=getattr(config, "depth", 1.0), lora=lora,
                n_steps=config.n_steps,
            )
        )  # fmt: skip
    for stage, learn in (("ppo", recipe.ppo), ("grpo", recipe.grpo)):
        if learn is None or stage not in recipe.stages:
            continue
        rows = min(learn.micro_batch_size, ceil(learn.batch_size / learn.n_minibatches))
        n_steps = learn.n_iterations * learn.n_epochs * learn.n_minibatches
        # People's prompts are answered at length; questions of the demo are not.
        answer = ceil(0.9 * learn.max_tokens) if from_data else min(ANSWER_TOKENS, learn.max_tokens)
        n_trained = 2 if stage == "ppo" else 1
        # With adapters the reference is the policy without them.
        n_frozen = 2 - bool(learn.lora.rank)
        works.append(
            Work(
                stage, learn.loop.optim, rows, min(usual.prompt + answer, shape.seq_len),
                min(usual.longest + learn.max_tokens, shape.seq_len),
                n_micros=n_steps * ceil(learn.batch_size / learn.n_minibatches / rows),
                n_answers=learn.n_iterations * learn.batch_size + learn.normalise_rewards, n_trained=n_trained,
                n_frozen=n_frozen, answer=answer, n_read=2 + n_trained, lora=learn.lora, n_steps=n_steps,
                is_averaged=bool(getattr(learn, "average_decay", 0)), ptx=_ptx_of(learn, shape, n_steps),
            )
        )  # fmt: skip
    return sorted(works, key=lambda work: recipe.stages.index(cast(StageName, work.stage)))


def _ptx_of(config: ppo.Config | grpo.Config, shape: ModelConfig, n_steps: int) -> Work | None:
    """The windows of pretraining text in all steps of PPO; None where it mixes in none."""
    if not isinstance(config, ppo.Config) or not config.ptx_coef:
        return None
    n_windows = ppo.ptx_windows(config)
    rows = min(n_windows, config.micro_batch_size)
    n_micros = n_steps * ceil(n_windows / rows)
    return Work("pretrain", config.loop.optim, rows, shape.seq_len, shape.seq_len, n_micros, lora=config.lora)


def memory_of(work: Work, shape: ModelConfig, compute_dtype: str) -> float:
    """Bytes at the peak: weights, gradients, optimizer and activations, or a checkpoint on its way to the disk."""
    half, n_whole = compute_dtype == "bfloat16", shape.n_parameters()
    kept = shape.model_copy(update={"n_layer": ceil(work.depth * shape.n_layer)})
    learned = learned_of(kept, work.lora)
    of_matrix = 4 if work.optim.name == "muon" else 8
    optimizer = of_matrix * learned.n_matrices + 8 * learned.n_others
    n_learned = learned.n_matrices + learned.n_others
    frozen = (4 * kept.n_parameters() - 2 * learned.n_adapted * half) if work.lora.rank else 0
    averaged = 4 * n_learned * work.is_averaged
    state = work.n_trained * (4 * n_learned + optimizer + averaged)
    idle = work.n_trained * frozen * (1 + work.is_averaged) + work.n_frozen * 4 * n_whole
    step = work.n_trained * 4 * n_learned + max(map(partial(_activations, shape=shape, half=half), parts_of(work)))
    # A checkpoint is copied twice before it is written.
    return BASE_BYTES + idle + state + max(step, 2 * state)


def parts_of(work: Work) -> list[Work]:
    """What is learned from in a stage's steps: its own rows, and the text that is mixed in."""
    return [work] if work.ptx is None else [work, work.ptx]


def _activations(work: Work, shape: ModelConfig, half: bool) -> float:
    """Bytes that a micro-batch leaves between its way forward and back, in one network: only one learns at a time."""
    heads = 28 * (shape.n_head + shape.n_kv_head) * shape.head_dim
    plain = 36 * shape.n_embd + heads + 10 * shape.n_ff
    per_layer = plain + 3 * shape.n_head * work.longest if half else 1.4 * plain
    n_layer = shape.n_layer * work.depth * (1 - work.lora.frozen_share * bool(work.lora.rank))
    return work.rows * work.longest * n_layer * per_layer + LOGIT_ROWS * shape.vocab_size * 12


@dataclass(frozen=True)
class Learned:
    """Weights of one network that learn: matrices inside its blocks, and others. n_adapted: of those with adapters."""

    n_matrices: int
    n_others: int
    n_adapted: int = 0


def learned_of(shape: ModelConfig, lora: LoraConfig) -> Learned:
    """All weights, or the adapters that `add_lora` makes."""
    first = int(lora.frozen_share * shape.n_layer)
    n_matrices = n_adapted = 0
    for name, dims in shape.shapes():
        if ".layers." not in name or len(dims) < 2:
            continue
        _, _, layer, *_, projection, _ = name.split(".")
        if not lora.rank:
            n_matrices += prod(dims)
        elif int(layer) >= first and projection in lora.projections:
            n_matrices += lora.rank * sum(dims)
            n_adapted += prod(dims)
    return Learned(n_matrices, 0 if lora.rank else shape.n_parameters() - n_matrices, n_adapted)


def disk_of(recipe: Recipe, shape: ModelConfig) -> float:
    """Bytes that the workspace grows by: the text four times over, four models, and PPO's checkpoint."""
    return 4 * text_bytes(recipe) + (4 * 4 + 2 * 12) * shape.n_parameters()


def text_bytes(recipe: Recipe) -> int:
    path = Path(recipe.corpus.text)
    if not recipe.corpus.text or not path.exists():
        return DOCS_BYTES
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())
