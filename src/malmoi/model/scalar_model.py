"""The reward model and the value network: a backbone and what reads one number per position from it.

Shapes: B batch, T tokens, D width.
"""

import math

import torch
from torch import Tensor, nn

from malmoi.model.config import ModelConfig
from malmoi.model.probe import Answers, Probe, ProbeShape
from malmoi.model.transformer import Backbone, Branches, keep_layers, up_to_last


class ScalarModel(nn.Module):
    """The reward model and the value network: one number per position, in reward units.

    n_heads: several heads on one network are an ensemble (arXiv:2310.02743): the number is their mean, and their spread
    shows how uncertain it is. Each has its own bias: () for one head, else (n_heads,).
    A head's weight starts at N(0, 1/√(D+1)) (arXiv:1909.08593 and its published code). The bias is a buffer; after
    training it is set so that demonstrations score 0 on average.
    probe: if given, it takes the place of the heads, and the number at a position is that of the answer up to there.
    Only then do `starts` (B,) matter, how many tokens of each row are the prompt.
    caution: how many deviations below its score an answer counts for those who follow the model (`lower_bounds`)
    """

    caution = 0.0

    def __init__(self, config: ModelConfig, n_heads: int = 1, probe: ProbeShape | None = None) -> None:
        super().__init__()
        self.config, self.n_heads = config, n_heads
        self.model = Backbone(config)
        self.probe = None if probe is None else Probe(probe, config.n_embd)
        self.score_bias: Tensor
        self.register_buffer("score_bias", torch.zeros(() if n_heads == 1 else (n_heads,)))
        if probe is None:
            self.score = nn.Linear(config.n_embd, n_heads, bias=False)
            self.draw_head()
        else:
            self.model.read_after = probe.layers

    def draw_head(self, generator: torch.Generator | None = None, scale: float = 1.0) -> None:
        """Draw new random heads, `scale` times as large as the published ones."""
        nn.init.normal_(self.score.weight, std=scale / math.sqrt(self.config.n_embd + 1), generator=generator)
        nn.init.zeros_(self.score_bias)

    def take_probe(self, probe: Probe) -> None:
        """Read with this probe in place of the heads, and drop the blocks that it does not need."""
        del self.score
        self.n_heads, self.probe, self.model.read_after = 1, probe, probe.shape.layers
        self.score_bias = torch.zeros((), device=self.score_bias.device)
        keep_layers(self, probe.shape.layers[-1])

    def forward(
        self, ids: Tensor, branches: Branches | None = None, mask: Tensor | None = None, starts: Tensor | None = None
    ) -> Tensor:
        """ids (B, T) -> scalars (B, T), float32: the mean over the heads; with branches zero in padding.

        mask: (B, T), True at the positions whose scalars are used; tokens after the last True of a row are skipped
        """
        return self._scores(ids, branches, mask, starts).mean(dim=-1)

    def scores(self, ids: Tensor, branches: Branches | None = None, starts: Tensor | None = None) -> Tensor:
        """ids (B, T) -> the scalars of each head, (B, T, n_heads), float32; with branches zero in padding."""
        return self._scores(ids, branches, None, starts)

    def lower_bounds(
        self, ids: Tensor, at: Tensor, branches: Branches | None = None, starts: Tensor | None = None
    ) -> Tensor:
        """The scalars less `caution` deviations where `at` (B, T) is True, (N,), in row order, in reward units.

        The deviation is a probe's posterior one, or the standard deviation over the heads.
        """
        if self.probe is None:
            scores = self._scores(ids, branches, at, None)[at]
            return scores.mean(dim=-1) - (self.caution * scores.std(dim=-1, correction=0) if self.caution else 0.0)
        answers = self._answers(self.probe, ids, branches, at, starts)
        found = self.probe.scores(answers)[at] + self.score_bias
        return found - self.caution * self.probe.deviations(answers, at) if self.caution else found

    # Separate from the methods above, which FSDP2 wraps: one wrapped method must not call another.
    def _scores(self, ids: Tensor, branches: Branches | None, mask: Tensor | None, starts: Tensor | None) -> Tensor:
        if self.probe is not None:
            answers = self._answers(self.probe, ids, branches, mask, starts)
            return self.probe.scores(answers)[..., None] + self.score_bias * answers.is_real[..., None]
        real = _read_tokens(branches, mask)
        if real is None or (branches is None and bool(real.all())):
            return self._score(self.model(ids))
        scores = self._score(self.model(ids, real=real, branches=branches))
        return torch.zeros(*ids.shape, self.n_heads, device=ids.device).masked_scatter(real[..., None], scores)

    def _score(self, hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):  # bfloat16 would round scores to three digits
            hidden = hidden.float()
            return torch.stack([hidden @ head for head in self.score.weight.float()], dim=-1) + self.score_bias

    def _answers(
        self, probe: Probe, ids: Tensor, branches: Branches | None, mask: Tensor | None, starts: Tensor | None
    ) -> Answers:
        if starts is None or bool((starts < 1).any()):
            raise ValueError("a probe reads answers only: `starts` must say where they begin")
        real = _read_tokens(branches, mask)
        hidden = self.model(ids) if real is None else self.model(ids, real=real, branches=branches)
        positions = (
            torch.arange(ids.shape[1], device=ids.device).expand_as(ids) if branches is None else branches.positions
        )
        segments = torch.zeros_like(ids) if branches is None else branches.segments
        return probe.answers(hidden, real, positions, segments, starts)


def _read_tokens(branches: Branches | None, mask: Tensor | None) -> Tensor | None:
    """The tokens (B, T) that are not padding, or are before the last one whose scalar is used; None: all."""
    return up_to_last(mask) if mask is not None else None if branches is None else branches.segments >= 0
