"""A probe: a reward that is read from an answer's hidden states, as the network has them already.

A reward model usually reads the last layer at the last token, after training. On a frozen network the mean over the
answer's tokens, together with the last, after some five eighths of the blocks orders answers better. What is preferred
may depend on what was asked, so the answer's coordinates are multiplied by those of its prompt:

    score = Σ_ij weights_ij c_i z_j,   z = (mean and last states of the answer, log length),   c = (1, tanh of the
                                                                                                    prompt's mean)

Both are projected so that the weights have the prior N(0, 1). `factor` (V) holds what rankings say about them: their
posterior covariance is I - V Vᵀ. Shapes: B batch, T tokens, D states at one position, Z coordinates of an answer, C of
a prompt, M columns of V.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ProbeShape:
    """Sizes of a probe.

    layers: after how many blocks the states are read, rising
    n_answer: coordinates of an answer without its length (Z - 1); n_prompt: of a prompt without the 1 (C - 1)
    n_factor: M
    """

    layers: tuple[int, ...]
    n_answer: int
    n_prompt: int
    n_factor: int

    def shapes(self, n_embd: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the tensors, in a network of this width."""
        n_state, n_weights = len(self.layers) * n_embd, (1 + self.n_prompt) * (1 + self.n_answer)
        return {
            "probe.answer": (2 * n_state, self.n_answer), "probe.answer_shift": (self.n_answer,), "probe.length": (2,),
            "probe.prompt": (n_state, self.n_prompt), "probe.prompt_shift": (self.n_prompt,),
            "probe.prompt_scale": (self.n_prompt,), "probe.factor": (n_weights, self.n_factor),
            "probe.weights": (n_weights,),
        }  # fmt: skip


class Probe(nn.Module):
    """The scores of answers, and how certain they are; see the module."""

    answer: Tensor
    answer_shift: Tensor
    length: Tensor
    prompt: Tensor
    prompt_shift: Tensor
    prompt_scale: Tensor
    factor: Tensor
    weights: nn.Parameter

    def __init__(self, shape: ProbeShape, n_embd: int) -> None:
        super().__init__()
        self.shape = shape
        for name, size in shape.shapes(n_embd).items():
            setattr(self, name.removeprefix("probe."), nn.Parameter(torch.zeros(size), requires_grad=False))
        self.weights.requires_grad_(True)

    def answers(
        self, hidden: Tensor, real: Tensor | None, positions: Tensor, segments: Tensor, starts: Tensor
    ) -> "Answers":
        """Coordinates of the answers up to every token, from hidden states of all tokens, (B, T, D), or of the N tokens
        where `real` (B, T) is True, (N, D). The others: as for `answers_so_far`."""
        with torch.autocast(hidden.device.type, enabled=False):
            x = self.project(hidden)
        if real is None:
            real = torch.ones_like(segments, dtype=torch.bool)
        elif x.ndim == 2:
            x = x.new_zeros(*real.shape, x.shape[-1]).masked_scatter(real[..., None], x)
        n_answer, segments = self.shape.n_answer, torch.where(real, segments, -1)
        found = answers_so_far(x[..., n_answer:], positions, segments, starts)
        means = found.means[..., :n_answer] + x[..., :n_answer] - self.answer_shift
        return replace(found, means=means, prompts=found.prompts[..., n_answer:] - self.prompt_shift)

    def project(self, states: Tensor) -> Tensor:
        """States (…, D) -> what they add to coordinates (…, 2 (Z - 1) + C - 1): as the last of an answer, as one of
        an answer's that are averaged, as one of a prompt's that are averaged."""
        states = states.float()
        mean, last = self.answer.chunk(2)
        return torch.cat((states @ last, states @ mean, states @ self.prompt), dim=-1)

    def scores(self, answers: "Answers") -> Tensor:
        """The score of the answer up to each token, (B, T), in nats; 0 in padding."""
        z, c = self._own(answers), self._asked(answers)
        by_row = torch.einsum("bc,cz->bz", c, self.weights.view(c.shape[-1], z.shape[-1]))
        return torch.einsum("btz,bz->bt", z, by_row) * answers.is_real

    def deviations(self, answers: "Answers", at: Tensor) -> Tensor:
        """The posterior standard deviations of the scores where `at` (B, T) is True, (N,)."""
        joint = self.joint(answers, at)
        return ((joint**2).sum(-1) - ((joint @ self.factor) ** 2).sum(-1)).clamp(min=0).sqrt()

    def joint(self, answers: "Answers", at: Tensor) -> Tensor:
        """c ⊗ z where `at` (B, T) is True, (N, C Z): the score is its product with the weights."""
        row = at.nonzero()[:, 0]
        return (self._asked(answers)[row][:, :, None] * self._own(answers)[at][:, None, :]).flatten(1)

    def parts(self, answers: "Answers") -> tuple[Tensor, Tensor]:
        """z, (B, T, Z), and c, (B, C)."""
        return self._own(answers), self._asked(answers)

    def _own(self, answers: "Answers") -> Tensor:
        """z, (B, T, Z)."""
        scale, shift = self.length
        length = (answers.lengths.float().log() * scale - shift)[..., None]
        return torch.cat((answers.means, length), dim=-1)

    def _asked(self, answers: "Answers") -> Tensor:
        """c, (B, C)."""
        c = answers.prompts.tanh() * self.prompt_scale
        return torch.cat((c.new_ones(*c.shape[:-1], 1), c), dim=-1)


@dataclass(frozen=True)
class Answers:
    """Coordinates of each row's prompt (B, F), and of its answer up to each token (B, T, F): means, or made of them.

    lengths: (B, T), how many tokens of the answer these are, at least 1; is_real: (B, T), False in padding
    """

    prompts: Tensor
    means: Tensor
    lengths: Tensor
    is_real: Tensor


def answers_so_far(x: Tensor, positions: Tensor, segments: Tensor, starts: Tensor) -> Answers:
    """Means of x (B, T, F) over the prompt and over the answer up to each token.

    positions, segments: (B, T), as in `Branches`: segments after the first (0) are continuations of it; -1 is padding
    starts: (B,), the tokens of each row's prompt; every later position belongs to the answer
    """
    real = segments >= 0
    in_answer = real & (positions >= starts[:, None])
    # Branches may each repeat the last token of the prompt, which counts once.
    in_prompt = (real & ~in_answer & (segments <= 1)).to(x.dtype)[..., None]
    prompts = (x * in_prompt).sum(1) / in_prompt.sum(1).clamp(min=1)
    totals = (x * in_answer.to(x.dtype)[..., None]).cumsum(1)
    totals_before = torch.cat((torch.zeros_like(totals[:, :1]), totals), dim=1)
    # A branch continues the shared beginning: what the branches between the two added is taken away.
    begins = torch.ones_like(real)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    column = torch.arange(x.shape[1], device=x.device).expand_as(segments)
    first = torch.where(begins, column, 0).cummax(1).values
    n_shared = (segments == 0).sum(1, keepdim=True)
    between = _at(totals_before, first) - _at(totals_before, n_shared)
    lengths = (positions - starts[:, None] + 1).clamp(min=1)
    means = (totals - between * (segments > 0)[..., None].to(x.dtype)) / lengths[..., None].to(x.dtype)
    return Answers(prompts, means, lengths, real)


def _at(x: Tensor, columns: Tensor) -> Tensor:
    """x (B, T, F) at these columns (B, N) -> (B, N, F)."""
    return x.gather(1, columns[..., None].expand(-1, -1, x.shape[2]))
