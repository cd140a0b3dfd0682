"""What a recipe will need: arithmetic for memory and disk; for time, some steps of its own networks, tried now.

Every figure is an estimate and is printed as one. The memory of activations was fitted to measured peaks (two CPUs,
widths 192 to 512, within a quarter). What other processes take from this one is in the trials.
"""

import argparse
import lzma
import re
import statistics
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import ceil
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from malmoi import device
from malmoi.algorithms import ppo, pretrain, reward
from malmoi.commands.demo import product_speed
from malmoi.data.batch import Tokens
from malmoi.data.comparisons import Ranking, collate_rankings
from malmoi.errors import ConfigError
from malmoi.generate.engine import generate
from malmoi.generate.sampling import Sampling
from malmoi.model.config import ModelConfig
from malmoi.model.folder import load_config
from malmoi.model.locate import CONFIG
from malmoi.model.lora import LoraConfig, add_lora
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.pipeline.recipe import Recipe, StageName
from malmoi.pipeline.run import stages_to_run
from malmoi.train.loop import Job, LoopConfig, Loss, fit
from malmoi.train.optim import OptimConfig
from malmoi.train.rollouts import Rollouts
from malmoi.workspace.folder import Workspace

BASE_BYTES = 500_000_000
"""Python, torch and their buffers, before there is a model."""
PROMPT_TOKENS, ANSWER_TOKENS = 20, 16
"""Of a usual demonstration; nobody knows before the tokenizer is trained."""
TYPICAL_SHARE = 0.6
"""Of the longest conversation, ranked answer or prompt that `data` keeps: the usual one."""
DOCS_BYTES = 2_500_000
"""The documentation of Python, about."""
TEXT_S_PER_MB = {"corpus": 1.6, "tokenizer": 1.1, "demonstrations": 0.4, "eval": 1.2}
"""Reading, cleaning, learning the tokenizer, writing questions, compressing: on one core where `READ_S` is as given."""
RANK_S = 1e-3
"""Of one answer that the simulated labeler ranks."""
DATA_S = 40.0
"""Reading, measuring and splitting sets of some hundred thousand rows: as roughly as it sounds."""
READ_S = 0.030
"""Of the short read, on the core that the figures above were measured on."""
ADAPTERS_SHARE = 0.05
"""Weights that learn, where adapters do."""
TRIAL_S = 0.4
TRIAL_FLOPS_S = 0.2
"""A step is tried with as few rows and layers as take this long at the speed of products, and scaled up."""
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
    n_micros: micro-batches in the whole stage
    n_answers: sampled on the way, of `answer` tokens; n_read: networks that read each of them, or each row of a batch
    n_trained, n_frozen: networks of the recipe's shape; depth: share of its layers; lora: what learns
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


@dataclass(frozen=True)
class Need:
    """What a stage takes, about."""

    stage: str
    memory_bytes: float
    seconds: float


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
    chat = data.longest_conversation or data.longest
    chat, ranked, prompt = (ceil(TYPICAL_SHARE * longest) for longest in (chat, data.longest, data.longest_prompt))
    return Lengths(chat, ranked, prompt, data.longest)


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
        rows = min(config.micro_batch_size, config.batch_size)
        works.append(
            Work(
                stage, config.loop.optim, rows * rows_each, n_tokens, max(n_tokens, usual.longest),
                n_micros=config.n_steps * ceil(config.batch_size / rows), n_frozen=int(stage == "dpo"),
                n_read=int(stage == "dpo"), depth=getattr(config, "depth", 1.0),
                lora=getattr(config, "lora", LoraConfig()),
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
        n_frozen = (3 if getattr(learn, "average_decay", 0) else 2) - bool(learn.lora.rank)
        works.append(
            Work(
                stage, learn.loop.optim, rows, min(usual.prompt + answer, shape.seq_len),
                min(usual.longest + learn.max_tokens, shape.seq_len),
                n_micros=n_steps * ceil(learn.batch_size / learn.n_minibatches / rows),
                n_answers=learn.n_iterations * learn.batch_size + learn.normalise_rewards, n_trained=n_trained,
                n_frozen=n_frozen, answer=answer, n_read=2 + n_trained,
                lora=learn.lora,
            )
        )  # fmt: skip
    return sorted(works, key=lambda work: recipe.stages.index(cast(StageName, work.stage)))


def memory_of(work: Work, shape: ModelConfig, compute_dtype: str) -> float:
    """Bytes at the peak: weights, gradients, optimizer and activations, or a checkpoint on its way to the disk."""
    n, half = shape.n_parameters(), compute_dtype == "bfloat16"
    n_matrices = n - shape.vocab_size * shape.n_embd * (1 if shape.tie_embeddings else 2)
    n_learned = int(n * ADAPTERS_SHARE) if work.lora.rank else n
    optimizer = 8 * n_learned - (4 * n_matrices if work.optim.name == "muon" and not work.lora.rank else 0)
    state = work.n_trained * (4 * n_learned + optimizer)
    heads = 28 * (shape.n_head + shape.n_kv_head) * shape.head_dim
    plain = 36 * shape.n_embd + heads + 10 * shape.n_ff
    per_layer = plain + 3 * shape.n_head * work.longest if half else 1.4 * plain
    n_layer = shape.n_layer * work.depth * (1 - work.lora.frozen_share * bool(work.lora.rank))
    activations = work.rows * work.longest * n_layer * per_layer * work.n_trained
    logits = (work.rows * work.longest if work.stage == "ppo" else 512) * shape.vocab_size * 12
    step = state + work.n_trained * 4 * n_learned + activations + logits
    base = work.n_trained * 4 * n if work.lora.rank else 0
    # A checkpoint is copied twice before it is written.
    return BASE_BYTES + base + work.n_frozen * 4 * n + max(step, 3 * state)


def disk_of(recipe: Recipe, shape: ModelConfig) -> float:
    """Bytes that the workspace grows by: the text four times over, four models, and PPO's checkpoint."""
    return 4 * text_bytes(recipe) + (4 * 4 + 2 * 12) * shape.n_parameters()


def text_bytes(recipe: Recipe) -> int:
    path = Path(recipe.corpus.text)
    if not recipe.corpus.text or not path.exists():
        return DOCS_BYTES
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def estimate(
    recipe: Recipe, shape: ModelConfig, compute_dtype: str, stages: Collection[StageName] | None = None
) -> list[Need]:
    """Memory and time of these stages (all), in order, after trying out some steps. Only for a recipe that fits."""
    stages = recipe.stages if stages is None else stages
    trials = Trials(shape)
    needs = {}
    for work in (work for work in works_of(recipe, shape) if work.stage in stages):
        seconds = work.n_micros * trials.step(work)
        seconds += work.n_answers * trials.answer(work.n_tokens - work.answer, work.answer)
        n_rows = work.n_answers or work.n_micros * work.rows
        seconds += n_rows * work.n_read * trials.read(work.n_tokens)
        needs[work.stage] = Need(work.stage, memory_of(work, shape, compute_dtype), seconds)
    n_text, plain = text_bytes(recipe), BASE_BYTES + 4 * shape.n_parameters()
    reading = _short_read() / READ_S
    for stage in stages:
        if stage in needs:
            continue
        seconds = reading * TEXT_S_PER_MB.get(stage, 0) * n_text / 1e6
        seconds += reading * DATA_S * (stage == "data") + _answering(recipe, shape, stage, trials)
        if stage == "rank":
            seconds += reading * RANK_S * _n_prompts(recipe) * recipe.sample.n_answers
        needs[stage] = Need(stage, (BASE_BYTES if stage in TEXT_S_PER_MB else plain) + 4 * n_text, seconds)
    return [needs[stage] for stage in stages]


def estimate_rest(
    recipe: Recipe, workspace: Workspace, compute_dtype: str, *, only: str | None = None, start: str | None = None
) -> list[Need]:
    """Memory and time of the stages that are still to be run in a workspace; nothing is tried when there are none."""
    stages = stages_to_run(recipe, workspace, only=only, start=start)
    if not stages:
        return []
    needs = estimate(recipe, shape_of(recipe, workspace.path), compute_dtype, stages)
    return [need for need in needs if need.stage in stages]


def _n_prompts(recipe: Recipe) -> int:
    return recipe.demonstrations.n_prompts + recipe.demonstrations.n_heldout_prompts


def _answering(recipe: Recipe, shape: ModelConfig, stage: str, trials: "Trials") -> float:
    """Seconds of the answers that a stage samples besides training, and of reading them for scores."""
    usual = lengths_of(recipe, shape)
    short = partial(trials.answer, usual.prompt, ANSWER_TOKENS)
    if stage == "sample":
        return _n_prompts(recipe) * recipe.sample.n_answers * short()
    if stage == "eval":
        asked = recipe.eval
        n_sampled = recipe.demonstrations.n_heldout_prompts * asked.n_answers
        # SFT is asked all, PPO some, both what nobody asked in training; the base model seldom ends its answers.
        n_short = asked.n_questions + asked.n_base_questions + recipe.demonstrations.n_unseen + 2 * n_sampled
        base = asked.n_base_questions * trials.answer(usual.prompt, asked.max_tokens)
        return n_short * short() + base + 3 * n_sampled * trials.read(usual.chat)
    if stage == "compare":
        n_trained = len({"ppo", "dpo", "grpo"} & {*recipe.stages})
        n_each = recipe.compare.n_best + n_trained * recipe.compare.n_answers
        n_answers, answer = recipe.compare.n_prompts * n_each, ceil(0.9 * recipe.compare.max_tokens)
        return n_answers * (trials.answer(usual.prompt, answer) + 3 * trials.read(usual.prompt + answer))
    return 0.0


def _short_read() -> float:
    """Seconds that one core takes for a short piece of work on text: words counted, and packed."""
    text = Path(argparse.__file__).read_text("utf-8")
    best = float("inf")
    for _ in range(3):
        began = time.monotonic()
        sorted(Counter(re.findall(r"\w+", text)).items())
        lzma.compress(text[:50_000].encode(), preset=6)
        best = min(best, time.monotonic() - began)
    return best


class _Again:
    """The same micro-batch as every step, until the time is over: two steps at the least, the first to warm up."""

    def __init__(self, micro: Any) -> None:
        self.micro = micro

    def __iter__(self) -> Iterator[Sequence[Any]]:
        until = time.monotonic() + TRIAL_S
        yield [self.micro]
        yield [self.micro]
        while time.monotonic() < until:
            yield [self.micro]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class Trials:
    """Short trials with parts of the recipe's networks; what was tried once is scaled, not tried again.

    flops: most of one trial; by default what takes `TRIAL_FLOPS_S` at the speed of products
    """

    def __init__(self, shape: ModelConfig, flops: float | None = None) -> None:
        # Rows here are short: the longest context would count as attention that nobody computes.
        self.shape = shape.model_copy(update={"seq_len": min(shape.seq_len, 512)})
        self.given_flops = flops
        self.tried: dict[Any, float] = {}

    @cached_property
    def flops(self) -> float:
        return TRIAL_FLOPS_S * product_speed() if self.given_flops is None else self.given_flops

    def part_of(self, n_tokens: float, least_rows: int, most_rows: int) -> tuple[ModelConfig, int]:
        """As many layers and rows of so many tokens as a trial may cost."""
        row_flops = n_tokens * self.shape.flops_per_token()
        rows = max(least_rows, min(most_rows, int(self.flops / row_flops)))
        n_layer = max(1, min(self.shape.n_layer, int(self.shape.n_layer * self.flops / (rows * row_flops))))
        return self.shape.model_copy(update={"n_layer": n_layer}), rows

    def step(self, work: Work) -> float:
        """Seconds of one micro-batch, its share of the optimizer step included."""
        kind = work.stage if work.stage in ("pretrain", "ppo") else "reward" if work.stage == "judge" else "text"
        n_tokens = work.rows * work.n_tokens
        key = (kind if work.stage != "reward" else "reward", work.lora.rank, work.lora.frozen_share)
        if key not in self.tried:
            part, rows = self.part_of(work.n_tokens, min(2, work.rows), work.rows)
            seconds = _try_step(work, part, rows)
            self.tried[key] = seconds / (rows * work.n_tokens * part.flops_per_token())
        return self.tried[key] * n_tokens * self.shape.flops_per_token() * work.depth

    def read(self, n_tokens: int) -> float:
        """Seconds that one network takes to read one row and give the log-probabilities of its tokens."""
        if "read" not in self.tried:
            part, rows = self.part_of(n_tokens / 3, 2, 64)
            model = LanguageModel(part).to(device.current().torch_device)
            ids = torch.randint(part.vocab_size, (rows, n_tokens + 1), device=device.current().torch_device)
            mask = torch.ones(rows, n_tokens, dtype=torch.bool, device=ids.device)
            seconds = []
            for _ in range(3):
                began = time.monotonic()
                with torch.no_grad(), device.autocast():
                    float(model.logps(ids[:, :-1], ids[:, 1:], mask)[0].sum())
                seconds.append(time.monotonic() - began)
            self.tried["read"] = min(seconds) / (rows * n_tokens * part.flops_per_token())
        return self.tried["read"] * n_tokens * self.shape.flops_per_token()

    def answer(self, n_prompt: int, n_answer: int) -> float:
        """Seconds of one sampled answer among many."""
        n_prompt = max(1, min(n_prompt, self.shape.seq_len - 2))
        if "answer" not in self.tried:
            room = max(1, min(ANSWER_TOKENS, self.shape.seq_len - n_prompt - 1))
            part, rows = self.part_of((n_prompt + room) / 3, 16, 96)
            model = LanguageModel(part).to(device.current().torch_device)
            prompts = torch.randint(part.vocab_size, (rows, n_prompt)).tolist()
            taken = []
            for asked, n_new in ((prompts[:1], 1), (prompts[:1], 1), (prompts, room)):
                began = time.monotonic()
                generate(model, asked, Sampling(max_tokens=n_new), end_ids=[], seeds=list(range(len(asked))))
                taken.append(time.monotonic() - began)
            # Weights are made ready once, however many answers follow.
            seconds = max(taken[2] - taken[1], taken[2] / 4) / rows
            self.tried["answer"] = seconds / ((n_prompt / 2 + room) * part.flops_per_token())
        return self.tried["answer"] * (n_prompt / 2 + n_answer) * self.shape.flops_per_token()


def _try_step(work: Work, shape: ModelConfig, rows: int) -> float:
    """Seconds of a step with so many rows."""
    model, loss, micro = _trial(work, shape, rows)
    for network in (getattr(model, "policy", model), getattr(model, "value", None)):
        if network is not None:
            add_lora(network, work.lora)
    seconds: list[float] = []
    job = Job(model.to(device.current().torch_device), _Again(micro), loss, n_steps=10_000)
    # Small steps cost what large ones do, and do not diverge.
    optim = work.optim.model_copy(update={"lr": 1e-6, "embedding_lr": None, "head_lr": None})
    fit(job, LoopConfig(optim=optim), [lambda step: seconds.append(step.seconds)])
    return statistics.median(seconds[1:])


def _trial(work: Work, shape: ModelConfig, rows: int) -> tuple[nn.Module, Loss, Any]:
    """The stage's networks and loss, and a micro-batch of random tokens."""
    ids = torch.randint(shape.vocab_size, (rows, work.n_tokens + 1))
    answer = torch.arange(work.n_tokens).expand(rows, -1) >= max(0, work.n_tokens - ANSWER_TOKENS)
    if work.stage in ("reward", "judge"):
        rows = max(2, rows)
        rankings = [Ranking(part.tolist(), [1, 2]) for part in torch.chunk(ids[: rows // 2 * 2, :-1], rows // 2)]
        return ScalarModel(shape), reward.loss, collate_rankings(rankings, 0)
    if work.stage == "ppo":
        zeros = torch.zeros(answer.shape)
        batch = Rollouts(ids, answer, *(zeros,) * 5, torch.zeros(rows), torch.ones(rows, dtype=torch.bool))
        return (
            ppo.Actors(LanguageModel(shape), ScalarModel(shape)),
            partial(ppo.loss, config=ppo.Config(n_iterations=1)),
            batch,
        )
    trained = torch.ones_like(answer) if work.stage == "pretrain" else answer
    return LanguageModel(shape), pretrain.loss, Tokens(ids[:, :-1], ids[:, 1:], trained)
