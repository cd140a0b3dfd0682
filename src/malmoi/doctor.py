"""What this machine is, and what a recipe will need on it: arithmetic for memory and disk, a short trial for time.

Every figure is an estimate and is printed as one. The memory of activations was fitted to measured peaks (two CPUs,
widths 192 to 512, within a quarter); the time is that of optimizer steps of the recipe's own networks, added up.
"""

import os
import platform
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from math import ceil
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from malmoi import __version__, device
from malmoi.algorithms import ppo, pretrain, reward
from malmoi.commands.runs import size
from malmoi.data.batch import Tokens
from malmoi.data.comparisons import Ranking, collate_rankings
from malmoi.errors import ConfigError
from malmoi.generate.engine import MOST_ROWS, generate
from malmoi.generate.sampling import Sampling
from malmoi.model import native
from malmoi.model.config import ModelConfig
from malmoi.model.folder import load_config
from malmoi.model.locate import CONFIG
from malmoi.model.transformer import LanguageModel, ScalarModel
from malmoi.pipeline.recipe import Recipe
from malmoi.report.summary import duration
from malmoi.train.loop import Job, LoopConfig, Loss, fit
from malmoi.train.optim import OptimConfig
from malmoi.train.rollouts import Rollouts

BASE_BYTES = 500_000_000
"""Python, torch and their buffers, before there is a model."""
PROMPT_TOKENS, ANSWER_TOKENS = 20, 16
"""Of a usual demonstration; nobody knows before the tokenizer is trained."""
DOCS_BYTES = 2_500_000
"""The documentation of Python, about."""
TEXT_S_PER_MB = 2.0
"""Reading, cleaning, learning the tokenizer, writing conversations: about, on one core."""
TRIAL_S = 1.5
LARGEST_TRIAL_FLOPS = 3e11
"""A step that costs more is tried with fewer rows and layers, and scaled up."""
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Machine:
    """Where the work would be done. Memory is the GPU's when there is one; a container's limit counts."""

    cpu: str
    n_cores: int
    cpu_flags: tuple[str, ...]
    gpu: str | None
    compute_dtype: str
    memory_bytes: int
    free_memory_bytes: int
    free_disk_bytes: int
    load: float
    """Processes that wait for a core, on average over a minute, when this one began."""
    decodes_in_c: bool = False
    """Whether a C compiler was found: several times faster answers on a CPU."""


@dataclass(frozen=True)
class Work:
    """A training stage in numbers.

    rows, n_tokens: of one micro-batch, as it usually is; longest: tokens of a row at most
    n_micros: micro-batches in the whole stage; n_answers: sampled on the way
    n_trained, n_frozen: networks of the recipe's shape
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


@dataclass(frozen=True)
class Need:
    """What a stage takes, about."""

    stage: str
    memory_bytes: float
    seconds: float


def inspect_machine(folder: Path) -> Machine:
    """This machine; folder: where the disk's free space counts (its nearest parent that exists)."""
    here = device.current()
    folder = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    text = Path("/proc/cpuinfo").read_text("ascii", "ignore") if Path("/proc/cpuinfo").exists() else ""
    lines = dict(line.split(":", 1) for line in text.replace("\t", "").splitlines() if ":" in line)
    on_gpu = here.torch_device.type == "cuda"
    free, total = device.memory_bytes()
    return Machine(
        cpu=lines.get("model name", platform.processor() or platform.machine()).strip(),
        n_cores=device.n_cores(),
        cpu_flags=tuple(flag for flag in FLAGS if flag in lines.get("flags", "").split()),
        gpu=torch.cuda.get_device_name() if on_gpu else None,
        compute_dtype=str(here.compute_dtype).removeprefix("torch."),
        memory_bytes=total,
        free_memory_bytes=free,
        free_disk_bytes=shutil.disk_usage(folder).free,
        load=os.getloadavg()[0],
        decodes_in_c=not on_gpu and native.library() is not None,
    )


def versions() -> dict[str, str]:
    names = ("torch", "numpy", "tokenizers", "safetensors", "pydantic", "typer", "sqlalchemy")
    return {"malmoi": __version__, "python": platform.python_version(), **{n: metadata.version(n) for n in names}}


def shape_of(recipe: Recipe, folder: Path = Path()) -> ModelConfig:
    """The network that the recipe will train. folder: the workspace, where a base model may lie

    Raises ConfigError while the base model is not there.
    """
    if recipe.pretrain is not None and "base" not in recipe.stages:
        shape = recipe.pretrain.model
        return shape if shape.vocab_size else shape.model_copy(update={"vocab_size": recipe.tokenizer.vocab_size})
    places = (Path(recipe.base.model), folder / "models" / recipe.base.model)
    found = next((path for path in places if (path / CONFIG).exists()), None)
    if found is None:
        raise ConfigError(f"base.model: {recipe.base.model} is not here yet; malmoi models pull {recipe.base.model}")
    return load_config(found)


def works_of(recipe: Recipe) -> list[Work]:
    """The training stages of a recipe that starts from nothing. With a base model there are none: how long its rows
    will be is not known before its tokenizer has read them."""
    if recipe.pretrain is None or "base" in recipe.stages:
        return []
    seq_len, chat = recipe.pretrain.model.seq_len, PROMPT_TOKENS + ANSWER_TOKENS
    chat, longest = min(chat, seq_len), min(3 * chat, seq_len)
    works = []
    for stage, config, rows_each, n_tokens in (
        ("pretrain", recipe.pretrain, 1, seq_len),
        ("sft", recipe.sft, 1, chat),
        ("reward", recipe.reward, recipe.sample.n_answers, chat),
    ):
        if config is None or stage not in recipe.stages:
            continue
        rows = min(config.micro_batch_size, config.batch_size)
        n_micros = config.n_steps * ceil(config.batch_size / rows)
        works.append(Work(stage, config.loop.optim, rows * rows_each, n_tokens, max(n_tokens, longest), n_micros))
    learn = recipe.ppo
    if learn is None or "ppo" not in recipe.stages:
        return works
    rows = min(learn.micro_batch_size, ceil(learn.batch_size / learn.n_minibatches))
    n_steps = learn.n_iterations * learn.n_epochs * learn.n_minibatches
    n_micros = n_steps * ceil(learn.batch_size / learn.n_minibatches / rows)
    works.append(
        Work("ppo", learn.loop.optim, rows, chat, min(PROMPT_TOKENS + learn.max_tokens, seq_len), n_micros,
             n_answers=learn.n_iterations * learn.batch_size, n_trained=2, n_frozen=3 if learn.average_decay else 2)
    )  # fmt: skip
    return works


def memory_of(work: Work, shape: ModelConfig, compute_dtype: str) -> float:
    """Bytes at the peak: weights, gradients, optimizer and activations, or a checkpoint on its way to the disk."""
    n, half = shape.n_parameters(), compute_dtype == "bfloat16"
    n_matrices = n - shape.vocab_size * shape.n_embd * (1 if shape.tie_embeddings else 2)
    optimizer = 8 * n - (4 * n_matrices if work.optim.name == "muon" else 0)
    state = work.n_trained * (4 * n + optimizer)
    heads = 28 * (shape.n_head + shape.n_kv_head) * shape.head_dim
    plain = 36 * shape.n_embd + heads + 10 * shape.n_ff
    per_layer = plain + 3 * shape.n_head * work.longest if half else 1.4 * plain
    activations = work.rows * work.longest * shape.n_layer * per_layer * work.n_trained
    logits = (work.rows * work.longest if work.stage == "ppo" else 512) * shape.vocab_size * 12
    step = state + work.n_trained * 4 * n + activations + logits
    # A checkpoint is copied twice before it is written.
    return BASE_BYTES + work.n_frozen * 4 * n + max(step, 3 * state)


def disk_of(recipe: Recipe, shape: ModelConfig) -> float:
    """Bytes that the workspace grows by: the text four times over, four models, and PPO's checkpoint."""
    return 4 * _text_bytes(recipe) + (4 * 4 + 2 * 12) * shape.n_parameters()


def _text_bytes(recipe: Recipe) -> int:
    path = Path(recipe.corpus.text)
    if not recipe.corpus.text or not path.exists():
        return DOCS_BYTES
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def refusals(recipe: Recipe, machine: Machine, *, use_total: bool = False) -> list[str]:
    """Why this recipe cannot be run here, and what to lower; nothing when it can.

    use_total: refuse only what can never fit: all of the memory counts as free, and the disk may be made so
    """
    if "base" in recipe.stages:
        return []
    shape, found = shape_of(recipe), []
    seq_len = shape.seq_len
    for stage in ("sample", "ppo", "eval"):
        longest = getattr(recipe, stage).max_tokens if stage in recipe.stages else 0
        if longest + PROMPT_TOKENS > seq_len:
            found.append(
                f"{stage}.max_tokens: answers of {longest} tokens leave no room for a prompt in pretrain.model.seq_len "
                f"{seq_len}; lower the one or raise the other"
            )
    # Two windows at the least; a token is seldom longer than eight bytes on average.
    if "pretrain" in recipe.stages and (n_text := _text_bytes(recipe)) < 2 * seq_len:
        found.append(
            f"pretrain.model.seq_len: {seq_len} tokens are more than the text of {size(n_text)} gives; lower it"
        )
    room = machine.memory_bytes if use_total else machine.free_memory_bytes
    for work in works_of(recipe):
        need = memory_of(work, shape, machine.compute_dtype)
        if need > room:
            smallest = memory_of(Work(work.stage, work.optim, 1, 1, 1, 1, 0, work.n_trained, work.n_frozen), shape, "")
            lower = "pretrain.model.n_layer or n_embd" if smallest > room else f"{work.stage}.micro_batch_size"
            has = f"has {size(room)}" if use_total else f"has {size(room)} free"
            found.append(f"{work.stage}: needs about {size(need)} of memory, this machine {has}; lower {lower}")
    if not use_total and (need := disk_of(recipe, shape)) > machine.free_disk_bytes:
        found.append(
            f"disk: about {size(need)} are needed, {size(machine.free_disk_bytes)} are free; free some or lower "
            "pretrain.model.n_layer or n_embd"
        )
    return [f"{recipe.name}: {reason}" for reason in found]


def refuse(recipe: Recipe, machine: Machine, *, use_total: bool = False) -> None:
    """Raises ConfigError with the first reason why the recipe cannot be run here."""
    if found := refusals(recipe, machine, use_total=use_total):
        raise ConfigError(found[0])


def estimate(recipe: Recipe, machine: Machine) -> list[Need]:
    """Memory and time of the stages, after trying out some steps of each. Only for a recipe that fits."""
    shape, works = shape_of(recipe), works_of(recipe)
    s_per_answer = _try_answers(shape)
    needs = []
    for work in works:
        seconds = work.n_micros * _try_step(work, shape) + work.n_answers * s_per_answer
        needs.append(Need(work.stage, memory_of(work, shape, machine.compute_dtype), seconds))
    n_prompts = recipe.demonstrations.n_prompts + recipe.demonstrations.n_heldout_prompts
    measured = recipe.eval
    n_asked = 2 * measured.n_questions + measured.n_base_questions
    n_asked += 2 * recipe.demonstrations.n_heldout_prompts * measured.n_answers
    for stage, n_answers in (("sample", n_prompts * recipe.sample.n_answers), ("eval", n_asked)):
        if stage in recipe.stages:
            needs.append(Need(stage, BASE_BYTES + 4 * shape.n_parameters(), n_answers * s_per_answer))
    n_text = _text_bytes(recipe)
    return [*needs, Need("the rest", BASE_BYTES + 4 * n_text, TEXT_S_PER_MB * n_text / 1e6)]


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


def _try_step(work: Work, shape: ModelConfig) -> float:
    """Seconds of one micro-batch, its share of the optimizer step included."""
    row_flops = work.n_tokens * shape.flops_per_token()
    rows = min(work.rows, max(2, int(_trial_flops() / row_flops)))
    n_layer = max(1, min(shape.n_layer, int(shape.n_layer * _trial_flops() / (rows * row_flops))))
    tried = shape.model_copy(update={"n_layer": n_layer})
    model, loss, micro = _trial(work, tried, rows)
    seconds: list[float] = []
    job = Job(model.to(device.current().torch_device), _Again(micro), loss, n_steps=10_000)
    # Small steps cost what large ones do, and do not diverge.
    optim = work.optim.model_copy(update={"lr": 1e-6, "embedding_lr": None, "head_lr": None})
    fit(job, LoopConfig(optim=optim), [lambda step: seconds.append(step.seconds)])
    scale = work.rows * shape.flops_per_token() / (rows * tried.flops_per_token())
    return statistics.median(seconds[1:]) * scale


def _trial_flops() -> float:
    return LARGEST_TRIAL_FLOPS * (100 if device.current().torch_device.type == "cuda" else 1)


def _trial(work: Work, shape: ModelConfig, rows: int) -> tuple[nn.Module, Loss, Any]:
    """The stage's networks and loss, and a micro-batch of random tokens."""
    ids = torch.randint(shape.vocab_size, (rows, work.n_tokens + 1))
    answer = torch.arange(work.n_tokens).expand(rows, -1) >= max(0, work.n_tokens - ANSWER_TOKENS)
    if work.stage == "reward":
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


def _try_answers(shape: ModelConfig) -> float:
    """Seconds for one sampled answer among many, and for the scores that it gets."""
    here, n_prompt = device.current().torch_device, min(PROMPT_TOKENS, shape.seq_len // 2)
    n_rows = max(1, min(MOST_ROWS // 2, int(_trial_flops() / (shape.flops_per_token() * n_prompt))))
    model = LanguageModel(shape).to(here)
    prompts = torch.randint(shape.vocab_size, (n_rows, n_prompt)).tolist()
    sampling = Sampling(max_tokens=min(2 * ANSWER_TOKENS, shape.seq_len - n_prompt))
    generate(model, prompts[:1], sampling, end_ids=[], seeds=[0])
    began = time.monotonic()
    generate(model, prompts, sampling, end_ids=[], seeds=list(range(n_rows)))
    return (time.monotonic() - began) / n_rows


def examine(recipe: Recipe | None, folder: Path) -> dict[str, Any]:
    """Everything that doctor says, as plain values; a recipe that cannot fit is not tried out."""
    machine = inspect_machine(folder)
    found: dict[str, Any] = {"machine": asdict(machine), "versions": versions(), "refused": []}
    if recipe is not None:
        found["refused"] = refusals(recipe, machine)
        shape = shape_of(recipe, folder)
        found["recipe"] = {"name": recipe.name, "n_parameters": shape.n_parameters()}
        if "base" not in recipe.stages:
            found["recipe"]["disk_bytes"] = disk_of(recipe, shape)
        if "base" not in recipe.stages and not found["refused"]:
            needs = estimate(recipe, machine)
            found["recipe"] |= {
                "stages": {need.stage: {"memory_bytes": need.memory_bytes, "seconds": need.seconds} for need in needs},
                "peak_memory_bytes": max(need.memory_bytes for need in needs),
                "seconds": sum(need.seconds for need in needs),
            }
        found["recipe"]["settings"] = recipe.model_dump(mode="json")
    return found


def show_examination(found: dict[str, Any]) -> None:
    """The same for people."""
    say = partial(Console(highlight=False, soft_wrap=True).print, markup=False)
    here = found["machine"]
    say(f"machine   {here['cpu']}, {here['n_cores']} cores ({', '.join(here['cpu_flags']) or 'no vector extensions'})")
    say(f"computes  in {here['compute_dtype']} on {here['gpu'] or 'the CPU; no GPU'}")
    if here["gpu"] is None:
        say(f"answers   {'in C' if here['decodes_in_c'] else 'by PyTorch; a C compiler (cc) makes it faster'}")
    say(f"memory    {size(here['free_memory_bytes'])} free of {size(here['memory_bytes'])}")
    say(f"disk      {size(here['free_disk_bytes'])} free")
    say("versions  " + ", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    if (recipe := found.get("recipe")) is not None:
        weights = f"{recipe['n_parameters'] / 1e6:.1f} million weights"
        disk = f", about {size(recipe['disk_bytes'])} of disk" if "disk_bytes" in recipe else ""
        say(f"\n{recipe['name']}: {weights}{disk}")
        for stage, need in recipe.get("stages", {}).items():
            say(f"  {stage:<10} about {size(need['memory_bytes']):>7} of memory, {duration(need['seconds'])}")
        if here["load"] > here["n_cores"] / 2:
            say(f"  others use this machine (load {here['load']:.1f}); alone, it would take less time")
        if "stages" in recipe:
            say(f"  in all     about {size(recipe['peak_memory_bytes']):>7} of memory, {duration(recipe['seconds'])}")
