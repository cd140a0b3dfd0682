"""Everything a job needs to go on: weights, optimizer state, stream, random state. One safetensors file, written whole.

Nothing is pickled: tensors are tensors, the rest is JSON in the file's header.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from malmoi import device
from malmoi.errors import CheckpointError
from malmoi.files import write_bytes
from malmoi.train.optim import placed_like, whole

if TYPE_CHECKING:
    from malmoi.train.loop import Job


def save(path: Path, step: int, job: "Job", optimizers: list[torch.optim.Optimizer]) -> None:
    """Write the job's state after `step`. With several ranks all take part and the first one writes.

    Shards are put together one tensor after the other, and only the first rank keeps them, outside its accelerator.
    """
    is_main = device.current().is_main
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for name, value in _state(job, optimizers):
        if not isinstance(value, Tensor):
            plain[name] = value
            continue
        tensor = whole(value.detach())
        if is_main:
            # Tied weights share memory, which safetensors refuses: each name gets its own copy.
            tensors[name] = tensor.to("cpu", copy=True).contiguous()
    if is_main:
        write_bytes(path, to_bytes(tensors, {"step": str(step), "plain": json.dumps(plain)}))
    device.barrier()


def _state(job: "Job", optimizers: list[torch.optim.Optimizer]) -> Iterator[tuple[str, Any]]:
    """All that a checkpoint holds, by name, in the same order on every rank."""
    yield "rng", torch.get_rng_state()
    for name, tensor in moving(job.model, job.model).items():
        yield f"model.{name}", tensor
    if job.averaged is not None:
        for name, tensor in moving(job.averaged, job.model).items():
            yield f"averaged.{name}", tensor
    names: dict[Tensor, str] = {parameter: name for name, parameter in job.model.named_parameters()}
    for optimizer in optimizers:
        for parameter, state in optimizer.state.items():
            for key, value in state.items():
                yield f"optim.{names[parameter]}.{key}", value
    for key, value in job.steps.state_dict().items():
        yield f"stream.{key}", value


def load(path: Path, job: "Job", optimizers: list[torch.optim.Optimizer]) -> int:
    """Put the job back to where `save` saw it; returns the step. Raises CheckpointError for a broken file."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            header = file.metadata()
        plain = json.loads(header["plain"])
        step = int(header["step"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a usable checkpoint ({error}); delete it to start this stage anew"
        ) from None
    torch.set_rng_state(tensors.pop("rng"))
    _load_weights(path, moving(job.model, job.model), _under(tensors, "model."))
    if job.averaged is not None:
        _load_weights(path, moving(job.averaged, job.model), _under(tensors, "averaged."))
    parameters = dict(job.model.named_parameters())
    owner = {p: o for o in optimizers for group in o.param_groups for p in group["params"]}
    for key, tensor in _under(tensors, "optim.").items():
        name, _, slot = key.rpartition(".")
        parameter = parameters[name]
        like = tensor.to(parameter.device)
        # The step count too: the fused optimizer reads it where the weights are.
        owner[parameter].state[parameter][slot] = placed_like(like, parameter) if tensor.ndim else like
    job.steps.load_state_dict(_under(tensors, "stream.") | _under(plain, "stream."))
    return step


def moving(model: torch.nn.Module, trained: torch.nn.Module) -> dict[str, Tensor]:
    """The state of `model` but for the weights that are frozen in `trained`, which come from its folder each time."""
    frozen = {name for name, p in trained.named_parameters(remove_duplicate=False) if not p.requires_grad}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}


def _load_weights(path: Path, state: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    if state.keys() != tensors.keys() or any(state[n].shape != t.shape for n, t in tensors.items()):
        raise CheckpointError(f"{path}: is of another architecture; delete it to start this stage anew")
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(placed_like(tensor.to(state[name].device), state[name]))


def _under(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
