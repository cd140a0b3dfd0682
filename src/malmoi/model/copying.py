"""Initial weights with which a new network copies from what it reads, before its first training step.

A transformer copies by two heads in two layers (Olsson et al. 2022, "In-context learning and induction heads",
arXiv:2209.11895): the first tells every token which token was before it; the second looks for the place whose token
before is the current one, and says what is there. Training from random weights finds such heads only after many
millions of tokens, far more than a small recipe reads. Here they are written into the initial weights, as Trockman and
Kolter 2023 (arXiv:2305.09828) do with other patterns of trained networks. All weights are trained on as usual.

The residual stream is divided: one constant, the token before, what is to be said, and the rest, which holds the token.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from malmoi.model.config import ModelConfig
from malmoi.model.transformer import Attention, Block, LanguageModel

FAST = 0.15
"""Radians per position: rotations as fast as this distinguish neighbours."""
SLOW = 0.8
"""Radians over the whole context: rotations as slow as this leave a match a match, however far it is."""
CONSTANT = 4.0
SHARPNESS = 2.0
"""Factor of normalised queries and of keys, so that attention falls on one place."""
HEAD_SCALE = 0.15


@dataclass(frozen=True)
class _Layout:
    """Which rotations and which parts of the residual stream the heads use.

    fast, slow: numbers of pairs of the rotary embedding; before, said, token: parts of the residual stream
    """

    fast: list[int]
    slow: list[int]
    before: slice
    said: slice
    token: slice

    @property
    def n_token(self) -> int:
        return self.token.stop - self.token.start


def check_copying(config: ModelConfig) -> None:
    """Raises ValueError, which says what helps, if a network of this shape cannot begin with heads that copy."""
    _layout(config)


@torch.no_grad()
def begin_copying(model: LanguageModel, seed: int) -> None:
    """Write the heads that copy into the weights that `initialise` gave; the other heads stay as they are.

    The first query head of the first two layers is used. Raises ValueError if the shape does not allow it.
    """
    config, backbone = model.config, model.model
    layout = _layout(config)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(config.vocab_size, layout.n_token, generator=generator)
    embedding = torch.zeros(config.vocab_size, config.n_embd)
    embedding[:, 0], embedding[:, layout.token] = CONSTANT, tokens
    backbone.embed_tokens.weight.copy_(embedding)
    n_match, n_said = 2 * len(layout.slow), layout.said.stop - layout.said.start
    match, said = _directions(layout.n_token, n_match, generator), _directions(layout.n_token, n_said, generator)
    first, second = (_attention(backbone.layers[layer]) for layer in (0, 1))
    _look_at_token_before(first, layout, match)
    _look_after_same_token(second, layout, match, said)
    head = torch.zeros_like(embedding)
    head[:, layout.said] = HEAD_SCALE * tokens @ said.T
    model.lm_head.weight.copy_(head)


def _look_at_token_before(attention: Attention, layout: _Layout, match: Tensor) -> None:
    """The head attends to the position before and writes that token, as seen in the directions of `match`."""
    config = attention.config
    width, head, half = config.n_embd, config.head_dim, config.head_dim // 2
    query, key, value, out = (torch.zeros(head, width) for _ in range(4))
    for pair in layout.fast:  # the key is one position ahead, so that it agrees with the query one position later
        angle = torch.tensor(_frequency(config, pair))
        query[pair, 0] = 1.0
        key[pair, 0], key[pair + half, 0] = angle.cos(), angle.sin()
    n_match = len(match)
    value[:n_match, layout.token] = match
    out[:n_match, layout.before] = torch.eye(n_match)
    _set_head(attention, query, key, value, out.T, layout.fast)


def _look_after_same_token(attention: Attention, layout: _Layout, match: Tensor, said: Tensor) -> None:
    """The head attends to positions whose token before is the current token, and says the token that is there."""
    config = attention.config
    width, head, half = config.n_embd, config.head_dim, config.head_dim // 2
    query, key, value, out = (torch.zeros(head, width) for _ in range(4))
    rows = [*layout.slow, *(pair + half for pair in layout.slow)]
    query[rows, layout.token] = match
    key[rows, layout.before] = torch.eye(len(match))
    value[: len(said), layout.token] = said
    out[: len(said), layout.said] = torch.eye(len(said))
    _set_head(attention, query, key, value, out.T, layout.slow)


def _set_head(attention: Attention, query: Tensor, key: Tensor, value: Tensor, out: Tensor, pairs: list[int]) -> None:
    """Set the first head. query, key, value: (K, D); out: (D, K); pairs: the rotations whose queries are sharpened"""
    head = len(query)
    for projection, weight in ((attention.q_proj, query), (attention.k_proj, key), (attention.v_proj, value)):
        projection.weight[:head] = weight
    attention.o_proj.weight[:, :head] = out
    sharp = torch.ones(head)
    sharp[[*pairs, *(pair + head // 2 for pair in pairs)]] = SHARPNESS
    attention.q_norm.weight.copy_(sharp)
    attention.k_norm.weight.copy_(sharp)


def _attention(block: torch.nn.Module) -> Attention:
    assert isinstance(block, Block)
    return block.self_attn


def _directions(width: int, n: int, generator: torch.Generator) -> Tensor:
    """n random directions at right angles, (n, width)."""
    return torch.linalg.qr(torch.randn(width, width, generator=generator))[0][:n]


def _frequency(config: ModelConfig, pair: int) -> float:
    return config.rope_theta ** (-2 * pair / config.head_dim)


def _layout(config: ModelConfig) -> _Layout:
    if config.positions != "rope" or not config.qk_norm or config.tie_embeddings or config.rope_scaling:
        raise ValueError(
            "copying: needs rotated positions without scaling, qk_norm and an output head of its own (tie_embeddings "
            "false); change model, or leave copying out"
        )
    if config.n_layer < 2 or config.norm != "rms" or {0, 1} & set(config.no_rope_layers):
        raise ValueError("copying: needs two layers with rotated positions and RMSNorm; change model, or leave it out")
    pairs = range(config.head_dim // 2)
    fast = [pair for pair in pairs if _frequency(config, pair) >= FAST]
    slow = [pair for pair in pairs if _frequency(config, pair) * config.seq_len <= SLOW][-(config.n_embd // 8) :]
    n_match, n_said = 2 * len(slow), min(config.head_dim, config.n_embd // 3)
    token = 1 + n_match + n_said
    if len(fast) < 2 or len(slow) < 4 or config.n_embd - token < max(n_match, n_said):
        raise ValueError(
            "copying: the heads or the network are too narrow for this context; a larger rope_theta, head_dim or "
            "n_embd helps, or leave it out"
        )
    before, said = slice(1, 1 + n_match), slice(1 + n_match, token)
    return _Layout(fast, slow, before, said, slice(token, config.n_embd))
