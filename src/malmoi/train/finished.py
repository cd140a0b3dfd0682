"""The model that a finished job saves."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from malmoi import device
from malmoi.model.lora import LoraLinear, merged, merged_weight
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.train.job import Job
from malmoi.train.optim import full_tensor


def finished(job: Job) -> LanguageModel | ScalarModel | None:
    """The averaged weights if there are any, and only the policy for PPO; adapters are merged and shards gathered.

    All ranks take part. Where weights are sharded only the first rank gets the model, on the CPU; the others get None.
    """
    trained: Any = job.averaged if job.averaged is not None else job.model
    trained = getattr(trained, "policy", trained)
    if not any(isinstance(parameter, DTensor) for parameter in trained.parameters()):
        plain: LanguageModel | ScalarModel = merged(trained)
        return plain
    state = _gathered(trained)
    if not device.current().is_main:
        return None
    for name, module in trained.named_modules():
        if isinstance(module, LoraLinear):
            weight, lora_a, lora_b = (state.pop(f"{name}.{part}") for part in ("weight", "lora_A", "lora_B"))
            state[f"{name}.weight"] = merged_weight(weight, lora_a, lora_b, module.scale)
    is_scalar = isinstance(trained, ScalarModel)
    probe = trained.probe.shape if is_scalar and trained.probe is not None else None
    found = ScalarModel(trained.config, trained.n_heads, probe) if is_scalar else LanguageModel(trained.config)
    found.load_state_dict(state)
    return found


@torch.no_grad()
def _gathered(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor in full, gathered one at a time; only the first rank keeps them."""
    state = {}
    for name, tensor in model.state_dict().items():
        full = full_tensor(tensor.detach())
        if device.current().is_main:
            state[name] = full.cpu()
    return state
