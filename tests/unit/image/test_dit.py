"""The diffusion transformer: what its caption and its places are at the start, and what a caption's order changes."""

import pytest
import torch

from malmoi.image.dit import Denoiser, DenoiserConfig, TextBlock
from malmoi.image.positions import smooth_places, smooth_positions
from tests.tiny_pictures import randomise


def drawn(n_caption: int, order: list[int]) -> torch.Tensor:
    """What a network with random weights returns for the same words in another order."""
    config = DenoiserConfig(
        patch=4, n_embd=16, n_layer=1, n_head=2, n_text_layer=1, n_channels=3, size=8, n_context=8, n_caption=n_caption
    )
    network = Denoiser(config)
    randomise(network, 1)
    generator = torch.Generator().manual_seed(2)
    x, words = torch.randn(2, 3, 8, 8, generator=generator), torch.randn(2, 5, 8, generator=generator)
    return network(x, torch.tensor([0.3, 1.0]), words[:, order])


def test_the_order_of_words_counts_even_if_nothing_of_a_word_says_where_it_is() -> None:
    asked, turned = [0, 1, 2, 3, 4], [4, 1, 2, 3, 0]
    assert not torch.allclose(drawn(5, asked), drawn(5, turned), atol=1e-2)
    torch.testing.assert_close(drawn(0, asked), drawn(0, turned), rtol=1e-4, atol=1e-5)


def test_layers_that_read_begin_as_if_they_were_not_there() -> None:
    block, states = TextBlock(16, 2), torch.randn(2, 5, 16)
    assert not torch.allclose(block(states, None), states, atol=1e-2)
    block.begin_as_nothing()
    assert torch.equal(block(states, None), states)
    network = Denoiser(DenoiserConfig(patch=4, n_embd=16, n_layer=1, n_head=2, n_text_layer=2))
    assert all(torch.equal(layer(states, None), states) for layer in network.text_layers)


def test_positions_begin_so_that_near_ones_are_alike() -> None:
    torch.manual_seed(0)
    places, positions = smooth_places(4, 256), smooth_positions(40, 256)
    assert places.square().mean() == pytest.approx(1, rel=0.3)
    assert positions[:24].square().mean() == pytest.approx(1, rel=0.3)
    likeness = torch.nn.functional.normalize(places, dim=1) @ torch.nn.functional.normalize(places, dim=1).T
    assert likeness[0, 1] > likeness[0, 2] > likeness[0, 3]  # along a row
    assert likeness[0, 4] > likeness[0, 8] > likeness[0, 12]  # down a column
    first = torch.nn.functional.cosine_similarity(positions[:1], positions)
    assert first[1] > 0.7 > first[4] > first[20]


@pytest.mark.parametrize("side", [1, 2, 8])
def test_positions_are_different_numbers_for_any_side(side: int) -> None:
    places = smooth_places(side, 64)
    assert places.isfinite().all() and len(torch.unique(places, dim=0)) == side**2
