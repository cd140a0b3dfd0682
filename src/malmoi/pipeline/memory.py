"""Memory and disk that a recipe needs, computed without trials.

The memory of activations is fitted to measured peaks (two CPUs, widths 192 to 512; error below 25 %).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, prod
from pathlib import Path

from malmoi.cost import Cost, Sizes, TrainingCost
from malmoi.formats.folder import load_config
from malmoi.formats.locate import CONFIG
from malmoi.model.config import ModelConfig
from malmoi.model.lora import LoraConfig
from malmoi.pipeline.plan import find_external
from malmoi.pipeline.recipe import Recipe
from malmoi.stages import find_stage
from malmoi.workspace.folder import Workspace
from malmoi.workspace.ledger import Ledger

BASE_BYTES = 500_000_000
"""Python, torch and their buffers, without a model."""
LOGIT_ROWS = 512
"""Tokens whose logits are in memory at a time."""


def shape_of(recipe: Recipe, folder: Path = Path()) -> ModelConfig:
    """The network that the recipe will train. folder: the workspace, which may hold a base model

    Raises ConfigError if the base model, or a model that the recipe names in `reads`, is missing.
    """
    sizes = Sizes(folder, ModelConfig())
    for stage in recipe.stages:
        sizes = find_stage(stage).expects(recipe[stage], sizes)
    return sizes.shape if sizes.shape.vocab_size else _shape_of_named(recipe, folder)


def _shape_of_named(recipe: Recipe, folder: Path) -> ModelConfig:
    """The network of the first model that the recipe names in `reads`; without one, the default."""
    named = [
        (stage, role, binding)
        for stage, bindings in recipe.bindings.items()
        for role, bound in bindings.items()
        for binding in bound
        if binding.name
    ]
    if not named:
        return ModelConfig()
    workspace = Workspace.open(folder, create=False)
    with Ledger.open(workspace, only_read=True) as ledger:
        inputs = [find_external(*one, workspace, ledger).input for one in named]
    found = (path for one in inputs for path in one.parts.values() if (path / CONFIG).exists())
    return next(map(load_config, found), ModelConfig())


def costs_of(recipe: Recipe, shape: ModelConfig) -> dict[str, Cost]:
    """Stage -> its cost, in recipe order."""
    return {stage: find_stage(stage).cost(recipe[stage], sizes) for stage, sizes in _sizes(recipe, shape)}


def text_bytes(recipe: Recipe) -> int:
    """Bytes of text that the recipe reads."""
    sizes = Sizes(None, ModelConfig())
    for stage in recipe.stages:
        sizes = find_stage(stage).expects(recipe[stage], sizes)
    return sizes.text_bytes


def _sizes(recipe: Recipe, shape: ModelConfig) -> Iterator[tuple[str, Sizes]]:
    """Each stage with the sizes expected after it."""
    sizes = Sizes(None, shape)
    for stage in recipe.stages:
        sizes = replace(find_stage(stage).expects(recipe[stage], sizes), shape=shape)
        yield stage, sizes.fitted()


def training_costs_of(recipe: Recipe, shape: ModelConfig) -> list[TrainingCost]:
    """The costs of the stages that train, in recipe order."""
    return [replace(cost.training, stage=stage) for stage, cost in costs_of(recipe, shape).items() if cost.training]


def memory_of(training: TrainingCost, shape: ModelConfig, compute_dtype: str, n_shards: int = 1) -> float:
    """Bytes at the peak: weights and optimizer, plus gradients and activations or, if larger, a checkpoint to write.

    n_shards: ranks over which FSDP2 shards what is trained; the first rank gathers all of it for a checkpoint
    """
    half, n_whole = compute_dtype == "bfloat16", shape.n_parameters()
    kept = shape.model_copy(update={"n_layer": ceil(training.depth * shape.n_layer)})
    learned = learned_of(kept, training.lora)
    of_matrix = 4 if training.optim.name == "muon" else 8
    optimizer = of_matrix * learned.n_matrices + 8 * learned.n_others
    n_learned = learned.n_matrices + learned.n_others
    frozen = (4 * kept.n_parameters() - 2 * learned.n_adapted * half) if training.lora.rank else 0
    averaged = 4 * n_learned * training.is_averaged
    state = training.n_trained * (4 * n_learned + optimizer + averaged)
    idle = training.n_trained * frozen * (1 + training.is_averaged) + training.n_frozen * 4 * n_whole
    step = training.n_trained * 4 * n_learned / n_shards + max(
        map(partial(_activations, shape=shape, half=half), parts_of(training))
    )
    # A checkpoint is copied twice before it is written.
    return BASE_BYTES + idle + state / n_shards + max(step, 2 * state)


def parts_of(training: TrainingCost) -> list[TrainingCost]:
    """The training on a stage's own rows, and on text that is mixed in."""
    return [training] if training.ptx is None else [training, training.ptx]


def _activations(training: TrainingCost, shape: ModelConfig, half: bool) -> float:
    """Bytes kept from forward to backward for one micro-batch and one network; networks are trained one at a time."""
    heads = 28 * (shape.n_head + shape.n_kv_head) * shape.head_dim
    plain = 36 * shape.n_embd + heads + 10 * shape.n_ff
    per_layer = plain + 3 * shape.n_head * training.longest if half else 1.4 * plain
    n_layer = shape.n_layer * training.depth * (1 - training.lora.frozen_share * bool(training.lora.rank))
    return training.rows * training.longest * n_layer * per_layer + LOGIT_ROWS * shape.vocab_size * 12


@dataclass(frozen=True)
class Learned:
    """Trained weights of one network: matrices in its blocks, and others. n_adapted: weights that have adapters"""

    n_matrices: int
    n_others: int
    n_adapted: int = 0


def learned_of(shape: ModelConfig, lora: LoraConfig) -> Learned:
    """All weights, or only the adapters that `add_lora` makes."""
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
    """Bytes that the workspace grows by: four copies of the text, four models, and PPO's checkpoint."""
    return 4 * text_bytes(recipe) + (4 * 4 + 2 * 12) * shape.n_parameters()
