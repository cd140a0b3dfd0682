"""A network that begins with heads that copy."""

import pytest
import torch

from malmoi.model.config import ModelConfig
from malmoi.model.copying import begin_copying, check_copying
from malmoi.model.transformer import LanguageModel, initialise

SHAPE = ModelConfig(
    vocab_size=500, n_layer=2, n_embd=160, n_head=2, n_kv_head=2, head_dim=64, n_ff=64, seq_len=128, rope_theta=1e6
)


def model_of(*, copies: bool) -> LanguageModel:
    model = LanguageModel(SHAPE)
    initialise(model, 1)
    if copies:
        begin_copying(model, 1)
    return model


@torch.no_grad()
def copied(model: LanguageModel, seed: int) -> float:
    """How often the likeliest next token is the right one, in a random text that is said for the second time."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.stack([torch.randperm(SHAPE.vocab_size, generator=generator)[:50] for _ in range(16)])
    gap = torch.randint(0, SHAPE.vocab_size, (16, 7), generator=generator)
    ids = torch.cat((text, gap, text), dim=1)
    said = model(ids)[:, 57:-1].argmax(-1)
    return float((said == text[:, 1:]).float().mean())


def test_an_untrained_network_copies_what_it_reads() -> None:
    assert copied(model_of(copies=True), 1) > 0.95
    assert copied(model_of(copies=False), 1) < 0.05


def test_the_same_seed_gives_the_same_weights_and_all_weights_learn() -> None:
    one, two = model_of(copies=True), model_of(copies=True)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    ids = torch.arange(64).reshape(2, 32)
    one.cross_entropy(ids[:, :-1], ids[:, 1:], torch.ones_like(ids[:, 1:], dtype=torch.bool)).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in one.parameters())


@pytest.mark.parametrize(
    "change",
    [{"tie_embeddings": True}, {"qk_norm": False}, {"n_layer": 1}, {"n_embd": 24}, {"head_dim": 8}, {"seq_len": 2**20},
     {"positions": "learned", "qk_norm": False}],
)  # fmt: skip
def test_a_shape_that_cannot_copy_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="copying: "):
        check_copying(SHAPE.model_copy(update=change))
