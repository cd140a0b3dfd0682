"""Sample answers from the policy and attach what PPO needs: log-probabilities, reference, values, scores."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from malmoi import device
from malmoi.data.batch import pad
from malmoi.generate.engine import Answer, generate
from malmoi.generate.sampling import Sampling
from malmoi.model.lora import WithoutAdapters
from malmoi.model.transformer import LanguageModel, ScalarModel


@dataclass(frozen=True)
class Rollouts:
    """Sampled answers. All (B, T) tensors are aligned: position t chooses token t + 1.

    ids: (B, T + 1) prompt and response, end of turn included when it was sampled
    mask: (B, T), True where the chosen token is of the response
    logps, ref_logps: (B, T) of the chosen tokens at the sampling temperature; values: (B, T)
    advantages, returns: (B, T), zero until they are computed
    scores: (B,) of the reward model, in its units; finished: (B,) whether the turn was ended
    """

    ids: Tensor
    mask: Tensor
    logps: Tensor
    ref_logps: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor
    scores: Tensor
    finished: Tensor

    @property
    def count(self) -> int:
        """Response tokens."""
        return int(self.mask.sum())

    def to(self, device: torch.device) -> "Rollouts":
        return Rollouts(*(getattr(self, f.name).to(device) for f in fields(self)))

    def rows(self, index: Tensor) -> "Rollouts":
        """These rows, without the padding that none of them needs."""
        longest = int(self.mask[index].any(dim=0).nonzero().max()) + 1
        chosen = {f.name: getattr(self, f.name)[index] for f in fields(self)}
        widths = {name: longest + (name == "ids") for name, tensor in chosen.items() if tensor.ndim == 2}
        return Rollouts(**{n: t[:, : widths[n]] if n in widths else t for n, t in chosen.items()})


def sample(
    policy: LanguageModel, prompts: Sequence[Sequence[int]], sampling: Sampling, *, end_id: int, seeds: Sequence[int]
) -> tuple[list[Answer], Tensor, Tensor]:
    """Answers, (B, T + 1) ids of prompt and response, and (B, T) which positions choose a response token."""
    answers = generate(policy, prompts, sampling, end_id=end_id, seeds=seeds)
    responses = [answer.ids + [end_id] * answer.finished for answer in answers]
    ids, lengths = pad([[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)], end_id)
    position = torch.arange(ids.shape[1] - 1)
    first = torch.tensor([len(prompt) - 1 for prompt in prompts])[:, None]
    mask = (position >= first) & (position < lengths[:, None] - 1)
    here = device.current().torch_device
    return answers, ids.to(here), mask.to(here)


@torch.no_grad()
def score_rollouts(
    policy: LanguageModel, ref: LanguageModel | WithoutAdapters, value: ScalarModel, reward_model: ScalarModel,
    ids: Tensor, mask: Tensor, finished: Tensor, temperature: float, micro_batch_size: int,
) -> Rollouts:  # fmt: skip
    """One forward pass of each of the four networks, in the mode that training uses (there is no dropout)."""
    parts = []
    for start in range(0, len(ids), micro_batch_size):
        rows = slice(start, start + micro_batch_size)
        with device.autocast():
            inputs, chosen, responses = ids[rows, :-1], ids[rows, 1:], mask[rows]
            parts.append(
                (
                    policy.logps(inputs, chosen, responses, temperature)[0],
                    ref.logps(inputs, chosen, responses, temperature)[0],
                    value(inputs),
                    scores_at_end(reward_model, ids[rows], mask[rows]),
                )
            )
    logps, ref_logps, values, scores = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    zeros = torch.zeros_like(logps)
    return Rollouts(ids, mask, logps, ref_logps, values * mask, zeros, zeros, scores, finished)


def scores_at_end(reward_model: ScalarModel, ids: Tensor, mask: Tensor) -> Tensor:
    """The reward model's number at the last token of each response, (B,). ids: (B, T + 1); mask: (B, T)."""
    position = torch.arange(1, ids.shape[1], device=ids.device)
    last = (position * mask).amax(dim=1, keepdim=True)
    return reward_model(ids).gather(1, last)[:, 0]
