"""Plain PyTorch's side: a usual training loop around the Llama of transformers."""

import time
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import LlamaForCausalLM

from benchmarks.side import Result, Work

VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__}
N_COMPARED = 8


def pretrain(work: Work, configuration: str) -> Result:
    """Train with the same windows, weights and AdamW as Malmoi's side, until the time is up."""
    torch.set_num_threads(work["threads"])
    dtype = getattr(torch, configuration)
    windows = np.load(work["windows"], mmap_mode="r")
    model: Any = LlamaForCausalLM.from_pretrained(work["initial"], dtype=torch.float32).train()
    if work["peer"] == "torch.compile":
        model = torch.compile(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=work["lr"], betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    losses: list[float] = []
    n_tokens = 0
    while len(losses) < N_COMPARED or time.time() - work["started"] < work["seconds"]:
        tokens = torch.from_numpy(windows[len(losses) % len(windows)].astype(np.int64))
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
            loss = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        n_tokens += tokens[:, 1:].numel()
    seconds = time.time() - work["started"]
    return {"value": n_tokens / seconds, "same": {"loss of the first steps": losses[:N_COMPARED]}}
