"""What this machine has, and whether a recipe can run on it; `estimate.py` estimates what the recipe needs."""

import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from malmoi import __version__, device
from malmoi.cost import PROMPT_TOKENS, TrainingCost
from malmoi.errors import ConfigError
from malmoi.inference.fastest import ways_summary
from malmoi.inference.weights import training_format
from malmoi.model.config import ModelConfig
from malmoi.pipeline.estimate import StageEstimate, estimate
from malmoi.pipeline.memory import disk_of, memory_of, shape_of, text_bytes, training_costs_of
from malmoi.pipeline.recipe import Recipe
from malmoi.stage import BASE
from malmoi.stages import find_stage
from malmoi.units import size

SIZES = ("n_layer", "n_embd", "n_head", "n_kv_head", "head_dim", "n_ff", "seq_len")
USUAL_VOCABULARY = 4096
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Machine:
    """The machine that would run a recipe. Memory is the GPU's, if there is one; a container's limit is respected."""

    cpu: str
    n_cores: int
    cpu_flags: tuple[str, ...]
    gpu: str | None
    compute_dtype: str
    memory_bytes: int
    free_memory_bytes: int
    free_disk_bytes: int
    load: float
    """Load average over the last minute: running processes and those that wait for a core."""
    answers: str = ""
    """The number format of weights for answers, and whether C code computes them (several times faster) or why not."""


def inspect_machine(folder: Path) -> Machine:
    """This machine. folder: whose disk's free space is reported; it need not exist yet"""
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
        answers=f"{training_format()} weights, by PyTorch" if on_gpu else ways_summary(),
    )


def versions() -> dict[str, str]:
    names = ("torch", "numpy", "tokenizers", "safetensors", "pydantic", "typer", "sqlalchemy")
    return {"malmoi": __version__, "python": platform.python_version(), **{n: metadata.version(n) for n in names}}


def refusals(recipe: Recipe, machine: Machine, *, use_total: bool = False) -> list[str]:
    """Reasons why this recipe cannot run here, each with a setting to lower; empty if it can.

    use_total: refuse only what can never fit: count all memory as free, and ignore the disk
    """
    trained = _maker(recipe, BASE)
    if trained is None or not find_stage(trained).trains:  # a pretrained base model is not checked
        return []
    shape, found = shape_of(recipe), []
    for stage in recipe.stages:
        longest = getattr(recipe[stage], "max_tokens", 0)
        if longest + PROMPT_TOKENS > shape.seq_len:
            found.append(
                f"{stage}.max_tokens: answers of {longest} tokens leave no room for a prompt in "
                f"{trained}.model.seq_len {shape.seq_len}; lower the first or raise the second"
            )
    if not text_bytes(recipe):
        found.append(f"{_text_of(recipe)}: holds no text; give a file or folder with text")
    room = machine.memory_bytes if use_total else machine.free_memory_bytes
    for training in training_costs_of(recipe, shape):
        need = memory_of(training, shape, machine.compute_dtype)
        if need > room:
            lower = _to_lower(training, recipe, shape, partial(_exceeds, room, shape, machine.compute_dtype))
            has = f"has {size(room)}" if use_total else f"has {size(room)} free"
            found.append(f"{training.stage}: needs about {size(need)} of memory, this machine {has}; lower {lower}")
    if not use_total and (need := disk_of(recipe, shape)) > machine.free_disk_bytes:
        found.append(
            f"disk: about {size(need)} are needed, {size(machine.free_disk_bytes)} are free; free some or lower "
            + _largest(recipe, shape)
        )
    return [f"{recipe.name}: {reason}" for reason in found]


def _exceeds(room: float, shape: ModelConfig, compute_dtype: str, training: TrainingCost) -> bool:
    return memory_of(training, shape, compute_dtype) > room


def _to_lower(
    training: TrainingCost, recipe: Recipe, shape: ModelConfig, exceeds: Callable[[TrainingCost], bool]
) -> str:
    """The setting to lower: the shape if even one row of one token does not fit, else the rows or their length."""
    ptx = training.ptx and replace(training.ptx, rows=1)
    if exceeds(replace(training, rows=1, longest=1, ptx=None)):
        return _largest(recipe, shape)
    if not exceeds(replace(training, rows=1, ptx=ptx)):
        return f"{training.stage}.micro_batch_size"
    answers_fit = not exceeds(replace(training, rows=1, ptx=None))
    is_context = answers_fit or not training.n_answers
    return f"{_maker(recipe, BASE)}.model.seq_len" if is_context else f"{training.stage}.max_tokens"


def _largest(recipe: Recipe, shape: ModelConfig) -> str:
    """The setting that adds the most weights: lowering it to its usual value leaves the fewest."""
    trained, learned = _maker(recipe, BASE), _maker(recipe, "tokenizer")
    given = recipe[trained].model.vocab_size if trained else 0
    of_words = f"{trained}.model" if given or learned is None else learned
    usual = {name: getattr(ModelConfig(), name) for name in SIZES} | {"vocab_size": USUAL_VOCABULARY}

    def n_left(name: str) -> int:
        lowered = min(getattr(shape, name), usual[name])
        return shape.model_copy(update={name: lowered, "no_rope_layers": ()}).n_parameters()

    name = min(usual, key=n_left)
    return f"{of_words}.vocab_size" if name == "vocab_size" else f"{trained}.model.{name}"


def _text_of(recipe: Recipe) -> str:
    """Path of the user's own text in the recipe."""
    return next((text for stage in recipe.stages if (text := getattr(recipe[stage], "text", ""))), "text")


def _maker(recipe: Recipe, kind: str) -> str | None:
    """The last stage of the recipe that makes a kind."""
    return next((stage for stage in reversed(recipe.stages) if kind in find_stage(stage).makes), None)


def refuse(recipe: Recipe, machine: Machine, *, use_total: bool = False) -> None:
    """Raises ConfigError with the first reason why the recipe cannot run here."""
    if found := refusals(recipe, machine, use_total=use_total):
        raise ConfigError(found[0])


def examine(recipe: Recipe | None, folder: Path) -> dict[str, Any]:
    """Everything that doctor reports, as plain values. No trial steps are run for a recipe that cannot fit."""
    machine = inspect_machine(folder)
    found: dict[str, Any] = {"machine": asdict(machine), "versions": versions(), "refused": []}
    if recipe is not None:
        found["refused"] = refusals(recipe, machine)
        shape = shape_of(recipe, folder)
        found["recipe"] = {"name": recipe.name, "n_parameters": shape.n_parameters()}
        if (trained := _maker(recipe, BASE)) is not None and find_stage(trained).trains:
            found["recipe"]["disk_bytes"] = disk_of(recipe, shape)
        if not found["refused"]:
            found["recipe"] |= plan_of(estimate(recipe, shape, machine.compute_dtype))
        found["recipe"]["settings"] = recipe.table()
    return found


def plan_of(estimates: Sequence[StageEstimate]) -> dict[str, Any]:
    """Estimates of each stage and of all together, as plain values."""
    return {
        "stages": {need.stage: {"memory_bytes": need.memory_bytes, "seconds": need.seconds} for need in estimates},
        "peak_memory_bytes": max((need.memory_bytes for need in estimates), default=0),
        "seconds": sum(need.seconds for need in estimates),
    }
