"""What a recipe takes of memory and disk: arithmetic, nothing is tried.

The memory of activations was fitted to measured peaks (two CPUs, widths 192 to 512, within a quarter).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, prod
from pathlib import Path

from malmoi.cost import Cost, Sizes, Work
from malmoi.formats.folder import load_config
from malmoi.formats.locate import CONFIG
from malmoi.model.config import ModelConfig
from malmoi.model.lora import LoraConfig
from malmoi.pipeline.plan import bring
from malmoi.pipeline.recipe import Recipe
from malmoi.stages import find_stage
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

BASE_BYTES = 500_000_000
"""Python, torch and their buffers, before there is a model."""
LOGIT_ROWS = 512
"""Tokens whose logits are held at a time."""


def shape_of(recipe: Recipe, folder: Path = Path()) -> ModelConfig:
    """The network that the recipe will train. folder: the workspace, where a base model may be

    Raises ConfigError while the base model is not there, or a model that the recipe names.
    """
    sizes = Sizes(folder, ModelConfig())
    for stage in recipe.stages:
        sizes = find_stage(stage).expects(recipe[stage], sizes)
    return sizes.shape if sizes.shape.vocab_size else _shape_of_named(recipe, folder)


def _shape_of_named(recipe: Recipe, folder: Path) -> ModelConfig:
    """The network of the first model that the recipe names in `reads`; without one, the default."""
    named = [
        (stage, role, source)
        for stage, bound in recipe.bound.items()
        for role, sources in bound.items()
        for source in sources
        if source.name
    ]
    if not named:
        return ModelConfig()
    workspace = Workspace.open(folder, create=False)
    with Ledger.open(workspace, only_read=True) as ledger:
        brought = [bring(*one, workspace, ledger).given for one in named]
    found = (path for given in brought for path in given.parts.values() if (path / CONFIG).exists())
    return next(map(load_config, found), ModelConfig())


def costs_of(recipe: Recipe, shape: ModelConfig) -> dict[str, Cost]:
    """What each stage takes, in the order of the recipe."""
    return {stage: find_stage(stage).cost(recipe[stage], sizes) for stage, sizes in _sizes(recipe, shape)}


def text_bytes(recipe: Recipe) -> int:
    """Bytes of the text that the recipe reads."""
    sizes = Sizes(None, ModelConfig())
    for stage in recipe.stages:
        sizes = find_stage(stage).expects(recipe[stage], sizes)
    return sizes.text_bytes


def _sizes(recipe: Recipe, shape: ModelConfig) -> Iterator[tuple[str, Sizes]]:
    """Each stage with what is expected of those before it, and of itself."""
    sizes = Sizes(None, shape)
    for stage in recipe.stages:
        sizes = replace(find_stage(stage).expects(recipe[stage], sizes), shape=shape)
        yield stage, sizes.fitted()


def works_of(recipe: Recipe, shape: ModelConfig) -> list[Work]:
    """The work of the stages that train, in the order of the recipe."""
    return [replace(cost.work, stage=stage) for stage, cost in costs_of(recipe, shape).items() if cost.work]


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
