"""The only training loop. Every algorithm (pretraining, SFT, reward, PPO, DPO, GRPO) gives `fit` a `Job`.

A job's stream yields optimizer steps, each a list of micro-batches. The loss returns sums, every batch has a count, and
the loop divides once, over all micro-batches and ranks: never a mean of means. A stream has a `state_dict`, so that a
job that is killed at any moment resumes to the same numbers.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from malmoi import device
from malmoi.config import Settings
from malmoi.errors import ConfigError, DivergedError
from malmoi.train import checkpoint
from malmoi.train.job import Job, Measured
from malmoi.train.optim import OptimConfig, lr_ratio, make_optimizers
from malmoi.train.parallel import prepare, sum_gradients
from malmoi.train.signals import deferring, stop_requested

_KEPT = "lower optim.lr, or look at that batch; the last checkpoint before is kept"


class LoopConfig(Settings):
    """Settings of the loop, the same for every algorithm."""

    optim: OptimConfig = OptimConfig()
    """The optimizer and its schedule."""
    checkpoint_every_s: float = Field(20.0, ge=0)
    """Seconds between checkpoints. If writing one takes long, they are at least 20 times that apart, so that they take
    less than 5 % of the time. 0 writes one after every step."""
    compile: bool = False
    """Compile the model with torch.compile. Its start-up pays off on a GPU or in long runs."""
    recompute: bool = False
    """Keep only the input of each block and recompute the rest in the backward pass: less memory, a third more work
    (arXiv:1604.06174)."""
    fsdp: bool = False
    """Shard weights, gradients and optimizer state over the ranks (FSDP2)."""


@dataclass
class Step:
    """What happened in one optimizer step. `metrics` are means over the step's count."""

    step: int
    n_steps: int
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    count: int = 0


Hook = Callable[[Step], None]


@deferring()
def fit(job: Job, config: LoopConfig, hooks: Sequence[Hook] = (), resume_from: Path | None = None) -> None:
    """Run the job's optimizer steps to the end, from the checkpoint in `resume_from` if there is one.

    The model ends with its last weights, or with the best ones where the job measures held-out text (`Job.best`).
    Raises DivergedError when a loss, the gradient or the weights are not finite (the checkpoint that is kept is from
    before), ConfigError when sharded ranks would have unequal work, and KeyboardInterrupt, after writing a checkpoint,
    when a signal asked to stop.
    """
    here = device.current()
    device.keep_freed_memory()
    model = prepare(job.model, config.fsdp, config.compile, config.recompute)
    optimizers = make_optimizers(job.model, config.optim)
    first = 1
    if resume_from is not None and resume_from.exists():
        first = checkpoint.load(resume_from, job, optimizers) + 1
    saved_at, save_s = time.monotonic(), 0.0
    steps = iter(job.steps)
    for step in range(first, job.n_steps + 1):
        started = time.monotonic()
        micros = next(steps, None)
        if micros is None:  # the stream ended early, as PPO's does over its KL budget
            break
        if config.fsdp and len(micros) % here.world_size:  # sharded ranks wait for each other in every forward pass
            raise ConfigError(
                f"loop.fsdp: {len(micros)} micro-batches do not divide over {here.world_size} ranks; choose batch_size "
                "and micro_batch_size so that they do"
            )
        metrics, losses, count = _accumulate(job, model, micros)
        grad_norm = _update(job, optimizers, config, step, is_finite=math.isfinite(metrics["loss"]))
        if not (math.isfinite(metrics["loss"]) and torch.isfinite(grad_norm)):
            raise DivergedError(f"step {step}: {_what_diverged(losses, len(micros))}; {_KEPT}")
        metrics |= job.steps.info if isinstance(job.steps, Measured) else {}
        metrics |= {"grad_norm": float(grad_norm), "lr": config.optim.lr * lr_ratio(config.optim, step, job.n_steps)}
        record = Step(step, job.n_steps, metrics, time.monotonic() - started, count)
        if job.best is not None:
            job.best.look(step, record.metrics)
        for hook in hooks:
            hook(record)
        stopping = device.any_rank(stop_requested())
        is_due = device.any_rank(time.monotonic() - saved_at >= wait_s(config.checkpoint_every_s, save_s))
        if resume_from is not None and (stopping or is_due):
            if not _are_finite(job.model):
                raise DivergedError(f"step {step}: the update made weights that are not finite; {_KEPT}")
            began = time.monotonic()
            checkpoint.save(resume_from, step, job, optimizers)
            device.release_memory()  # batches of different sizes fragment it more and more as training goes on
            saved_at = time.monotonic()
            save_s = saved_at - began
        if stopping:
            raise KeyboardInterrupt
    if job.best is not None:
        job.best.put_back()


def _accumulate(job: Job, model: nn.Module, micros: Sequence[Any]) -> tuple[dict[str, float], list[Tensor], int]:
    """Add up the gradients of a step's micro-batches. Returns the metrics, each a mean over the step's count; the
    losses of this rank's micro-batches; and the count."""
    here = device.current()
    count = sum(batch.count for batch in micros)
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=here.torch_device))
    losses: list[Tensor] = []
    # What a loss draws depends only on the step and the micro-batch: not on the rank that computes it, nor on the
    # state of a GPU's random numbers, which no checkpoint keeps.
    drawn = int(torch.randint(2**62, ()))
    with torch.random.fork_rng(devices=[]):
        for number in range(here.rank, len(micros), here.world_size):
            device.seed_draws(drawn + number)
            with device.autocast():
                loss_sum, metric_sums = job.loss(model, micros[number].to(here.torch_device))
            (loss_sum / count).backward()
            losses.append(loss_sum.detach())
            for name, value in {"loss": loss_sum, **metric_sums}.items():
                sums[name] += value.detach().float()
    # A rank without a micro-batch, or without one of some term, has no sums to add, but must take part.
    names = device.union_over_ranks(sums)
    totals = device.sum_over_ranks(torch.stack([sums[name] for name in names])).tolist()
    return {name: total / count for name, total in zip(names, totals, strict=True)}, losses, count


def _what_diverged(losses: list[Tensor], n_micros: int) -> str:
    """Names the micro-batches, counted from 1 over all ranks, whose loss is not finite, or else the gradient."""
    here = device.current()
    wrong = [here.rank + i * here.world_size + 1 for i, loss in enumerate(losses) if not torch.isfinite(loss)]
    if not wrong:
        return "the gradient is not finite"
    return f"the loss of micro-batch {', '.join(map(str, wrong))} of {n_micros} is not finite"


def wait_s(checkpoint_every_s: float, save_s: float) -> float:
    """Seconds from one checkpoint to the next, where the last one took `save_s` to write."""
    return max(checkpoint_every_s, 20 * save_s) if checkpoint_every_s else 0.0


def _are_finite(model: nn.Module) -> bool:
    """Each rank checks its own shards."""
    trained = (p.to_local() if isinstance(p, DTensor) else p for p in model.parameters() if p.requires_grad)
    return not device.any_rank(not all(bool(torch.isfinite(tensor).all()) for tensor in trained))


def _update(
    job: Job, optimizers: list[torch.optim.Optimizer], config: LoopConfig, step: int, is_finite: bool
) -> Tensor:
    """Sum gradients over ranks, clip, update the weights if the loss is finite. Returns the norm before clipping."""
    parameters = [p for p in job.model.parameters() if p.requires_grad]
    sum_gradients(parameters)
    norm = torch.nn.utils.clip_grad_norm_(parameters, config.optim.max_grad_norm)
    ratio = lr_ratio(config.optim, step, job.n_steps)
    if is_finite and torch.isfinite(norm):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * ratio
            optimizer.step()
        if job.averaged is not None:
            with torch.no_grad():
                averaged = dict(job.averaged.named_parameters())
                for name, parameter in job.model.named_parameters():
                    if parameter.requires_grad:
                        averaged[name].lerp_(parameter, 1 - job.average_decay)
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    return norm
