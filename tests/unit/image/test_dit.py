"""The diffusion transformer: what it reads of a caption, and what its places are at the start."""

import pytest
import torch

from malmoi.image.dit import Denoiser, DenoiserConfig, DenoiserShape
from malmoi.image.positions import smooth_places, smooth_positions
from malmoi.image.reader import STROKE
from tests.tiny_pictures import randomise


def network(*n_local: int) -> Denoiser:
    """A network with random weights. n_local: channels of its convolutions"""
    made = Denoiser(
        DenoiserConfig(
            patch=4, n_embd=16, n_layer=1, n_head=2, n_text_layer=1, n_channels=3, size=8, n_context=16, n_caption=5,
            n_features=6, n_local=n_local,
        )
    )  # fmt: skip
    randomise(made, 1)
    return made


def captions() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Noise, times, and what is known of five words in each of two captions."""
    generator = torch.Generator().manual_seed(2)
    x, known = (torch.randn(shape, generator=generator) for shape in ((2, 3, 8, 8), (2, 5, 16)))
    return x, torch.tensor([0.3, 1.0]), known


WITH_AND_WITHOUT = pytest.mark.parametrize("n_local", [(), (8,), (8, 16)])


@WITH_AND_WITHOUT
def test_the_order_of_words_counts_even_if_nothing_of_a_word_says_where_it_is(n_local: tuple[int, ...]) -> None:
    made, (x, t, known) = network(*n_local), captions()
    turned = known[:, [4, 1, 2, 3, 0]]
    assert not torch.allclose(made(x, t, known), made(x, t, turned), atol=1e-2)
    assert not torch.allclose(made.sketch(known)[0], made.sketch(turned)[0], atol=1e-2)


@WITH_AND_WITHOUT
def test_what_is_no_token_is_not_read(n_local: tuple[int, ...]) -> None:
    made, (x, t, known) = network(*n_local), captions()
    mask = torch.tensor([[True, True, True, False, False]] * 2)
    other = torch.where(mask[:, :, None], known, 7.0)
    torch.testing.assert_close(made(x, t, known, mask), made(x, t, other, mask))
    torch.testing.assert_close(made(x, t, known, mask), made(x, t, known[:, :3]), rtol=1e-4, atol=1e-5)
    for masked, short in zip(made.sketch(known, mask), made.sketch(known[:, :3]), strict=True):
        torch.testing.assert_close(masked, short, rtol=1e-4, atol=1e-5)


@WITH_AND_WITHOUT
def test_patches_are_where_they_were(n_local: tuple[int, ...]) -> None:
    made = network(*n_local)
    n, side = (n_local or (3,))[-1], 8 // 2 ** len(n_local)
    x = torch.arange(2 * n * side**2).view(2, n, side, side)
    patches = made._to_patches(x)
    assert patches.shape[1] == made.config.n_tokens
    assert patches[0, 1].sort().values.tolist() == x[0, :, : side // 2, side // 2 :].flatten().sort().values.tolist()
    assert torch.equal(made._to_grid(patches), x)


def test_convolutions_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="2 need a patch that divides by 4"):
        DenoiserShape(patch=2, n_local=(8, 8))
    with pytest.raises(ValueError, match="numbers that divide by 8"):
        DenoiserShape(patch=8, n_local=(12,))


def test_a_sketch_is_of_the_places_of_the_picture() -> None:
    """What is asked at a place is drawn at that place, row by row."""
    made, (_, _, known) = network(), captions()
    drawn, seen = made.sketch(known)
    assert drawn.shape == (2, 3, 2 * STROKE, 2 * STROKE) and seen.shape == (2, 6, 2, 2)
    with torch.no_grad():
        made.reader.around.out.weight.zero_()  # places do not tell each other
        before = made.sketch(known)
        made.reader.embed_places[1] += torch.arange(16) / 4  # the upper right one
        changed = [
            (after - one).abs().sum((0, 1)) > 1e-6 for after, one in zip(made.sketch(known), before, strict=True)
        ]
    for each, side in zip(changed, (STROKE, 1), strict=True):
        assert each[:side, side:].all() and each.sum() == side**2


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
