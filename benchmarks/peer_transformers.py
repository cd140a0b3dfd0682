"""transformers' side: `generate` as users call it, greedy, with prompts padded on the left."""

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, GenerationConfig, StoppingCriteria

from benchmarks.side import Result, Work, time_decoding

VERSIONS = {"transformers": transformers.__version__}


def decode(work: Work, dtype: str) -> Result:
    torch.set_num_threads(work["threads"])
    model: Any = AutoModelForCausalLM.from_pretrained(work["model"], dtype=getattr(torch, dtype)).eval()
    # The model's own settings must not end an answer early or slow a step down.
    model.generation_config = GenerationConfig(pad_token_id=0)

    def answer(prompts: list[list[int]], n_new: int, on_first: Callable[[], None]) -> list[list[int]]:
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        settings = GenerationConfig(do_sample=False, max_new_tokens=n_new, pad_token_id=0)
        with torch.inference_mode():
            made = model.generate(
                input_ids=ids, attention_mask=mask, generation_config=settings,
                stopping_criteria=[_FirstToken(longest + 1, on_first)],
            )  # fmt: skip
        return [row[longest:] for row in made.tolist()]

    return time_decoding(answer, work)


class _FirstToken(StoppingCriteria):
    """Stops nothing, but reports when the rows have their first new token."""

    def __init__(self, length: int, on_first: Callable[[], None]) -> None:
        self.length, self.on_first = length, on_first

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        if ids.shape[1] == self.length:
            self.on_first()
        return torch.zeros(len(ids), dtype=torch.bool)
