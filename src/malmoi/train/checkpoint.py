"""Everything a job needs to go on: weights, optimizer state, stream, random state, in one safetensors file.

Nothing is pickled: tensors are tensors, the rest is JSON in the file's header.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from malmoi import device
from malmoi.errors import CheckpointError
from malmoi.files import write_bytes
from malmoi.train.job import Job
from malmoi.train.optim import full_tensor, shard_like

MEASURED = "measured"
"""Name of the measurements of held-out text in a checkpoint."""


def save(path: Path, step: int, job: Job, optimizers: list[torch.optim.Optimizer]) -> None:
    """Write the job's state after `step`. With several ranks all take part and the first one writes.

    Shards are gathered one tensor at a time, and only the first rank keeps the result, in main memory.
    """
    is_main = device.current().is_main
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for name, value in _state(job, optimizers):
        if not isinstance(value, Tensor):
            plain[name] = value
            continue
        tensor = full_tensor(value.detach())
        if is_main:
            # Tied weights share memory, which safetensors refuses: each name gets its own copy.
            tensors[name] = tensor.to("cpu", copy=True).contiguous()
    if is_main:
        write_bytes(path, to_bytes(tensors, {"step": str(step), "plain": json.dumps(plain)}))
    device.barrier()


def _state(job: Job, optimizers: list[torch.optim.Optimizer]) -> Iterator[tuple[str, Any]]:
    """All that a checkpoint holds, by name, in the same order on every rank."""
    yield "rng", torch.get_rng_state()
    for name, tensor in trainable_state(job.model, job.model).items():
        yield f"model.{name}", tensor
    if job.averaged is not None:
        for name, tensor in trainable_state(job.averaged, job.model).items():
            yield f"averaged.{name}", tensor
    names: dict[Tensor, str] = {parameter: name for name, parameter in job.model.named_parameters()}
    for optimizer in optimizers:
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                yield f"optim.{names[parameter]}.{key}", value
    for key, value in job.steps.state_dict().items():
        yield f"stream.{key}", value
    if job.best is not None:
        weights, measured = job.best.state()
        yield MEASURED, measured
        for name, tensor in weights.items():
            yield f"best.{name}", tensor


class _Header(NamedTuple):
    """What a checkpoint says about itself; its other tensors are read from the file later, one at a time."""

    file: Any
    step: int
    plain: dict[str, Any]
    rng: Tensor


def step_of(path: Path) -> int:
    """The step after which a checkpoint was written. Raises CheckpointError for a broken file."""
    return _opened(path).step


def load(path: Path, job: Job, optimizers: list[torch.optim.Optimizer]) -> int:
    """Restore the job as `save` wrote it, one tensor at a time; returns the step.

    Raises CheckpointError for a broken file and for one of another architecture.
    """
    file, step, plain, rng = _opened(path)
    torch.set_rng_state(rng)
    _load_weights(path, file, "model.", trainable_state(job.model, job.model))
    if job.averaged is not None:
        _load_weights(path, file, "averaged.", trainable_state(job.averaged, job.model))
    parameters = dict(job.model.named_parameters())
    owner = {p: o for o in optimizers for group in o.param_groups for p in group["params"]}
    for key in _names_below(file, "optim."):
        name, _, slot = key.rpartition(".")
        parameter = parameters[name]
        # The step count too: the fused optimizer reads it where the weights are.
        tensor = file.get_tensor(f"optim.{key}").to(parameter.device, copy=True)
        owner[parameter].state[parameter][slot] = shard_like(tensor, parameter) if tensor.ndim else tensor
    tensors = {key: file.get_tensor(f"stream.{key}") for key in _names_below(file, "stream.")}
    plain_values = {key.removeprefix("stream."): value for key, value in plain.items() if key.startswith("stream.")}
    job.steps.load_state_dict(tensors | plain_values)
    if job.best is not None and MEASURED in plain:  # a checkpoint of an earlier version has none
        found = {name: file.get_tensor(f"best.{name}") for name in _names_below(file, "best.")}
        weights = {
            name: shard_like(tensor.to(parameters[name].device), parameters[name]) for name, tensor in found.items()
        }
        job.best.load_state(weights, plain[MEASURED])
    return step


def _opened(path: Path) -> _Header:
    try:
        file: Any = safe_open(path, framework="pt")
        header = file.metadata()
        return _Header(file, int(header["step"]), json.loads(header["plain"]), file.get_tensor("rng"))
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a usable checkpoint ({error}); delete it to start this stage again"
        ) from None


def trainable_state(model: torch.nn.Module, trained: torch.nn.Module) -> dict[str, Tensor]:
    """The state of `model` without the weights that are frozen in `trained`: those are read from its folder again."""
    frozen = {name for name, p in trained.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def _load_weights(path: Path, file: Any, prefix: str, state: dict[str, Tensor]) -> None:
    names = _names_below(file, prefix)
    if state.keys() != set(names) or any(
        tuple(file.get_slice(prefix + name).get_shape()) != state[name].shape for name in names
    ):
        raise CheckpointError(f"{path}: belongs to another architecture; delete it to start this stage again")
    with torch.no_grad():
        for name in names:
            tensor = file.get_tensor(prefix + name)
            state[name].copy_(shard_like(tensor.to(state[name].device), state[name]))


def _names_below(file: Any, prefix: str) -> list[str]:
    """The names that have this prefix, without it, in the file's order, which is the same on every rank."""
    return [name.removeprefix(prefix) for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 (not a dict)
