"""Drawing with a tiny random model: what a request asks for is what is drawn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from malmoi.errors import ConfigError, DataError
from malmoi.image.draw import MOST_PROMPT, Picture, Progress, draw, parse_size, remarks_of, request_for
from malmoi.image.files import Pixels
from malmoi.image.model import PictureModel
from malmoi.image.preview import to_colours
from malmoi.image.samplers import samplers_of
from tests.tiny_pictures import tiny_model

BLACK = np.zeros((32, 32, 3), np.uint8)
pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture(scope="module")
def model() -> PictureModel:
    return tiny_model()


@pytest.fixture
def photo() -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def drawn(model: PictureModel, prompt: str = "red circle", **how: Any) -> list[Picture]:
    return list(draw(model, request_for(model, prompt, **({"steps": 3} | how))))


def unlike(a: Pixels, b: Pixels) -> int:
    return int(np.abs(a.astype(int) - b).max())


@pytest.mark.parametrize("sampler", samplers_of(tiny_model().process))
def test_a_seed_gives_the_same_picture_alone_and_among_others(model: PictureModel, sampler: str) -> None:
    together = drawn(model, n=3, seed=5, sampler=sampler)
    assert [one.seed for one in together] == [5, 6, 7]
    for one in together:
        [alone] = drawn(model, seed=one.seed, sampler=sampler)
        assert unlike(one.pixels, alone.pixels) <= 1  # the last bit of a sum depends on the size of the batch
    assert unlike(together[0].pixels, together[1].pixels) > 10


@pytest.mark.parametrize("strength", [0.5, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_a_seed_changes_a_picture_alike_alone_and_among_others(
    model: PictureModel, photo: Pixels, masked: bool, strength: float
) -> None:
    mask = np.tile(np.arange(32) < 16, (32, 1)) if masked else None
    how: dict[str, Any] = {"start": photo, "mask": mask, "strength": strength, "sampler": "euler_ancestral"}
    for one in drawn(model, n=3, seed=5, **how):
        [alone] = drawn(model, seed=one.seed, **how)
        assert unlike(one.pixels, alone.pixels) <= 1


def test_weights_in_bfloat16_draw_about_the_same(model: PictureModel, photo: Pixels) -> None:
    half = tiny_model()
    networks = (half.denoiser, half.autoencoder, half.text.encoder)  # type: ignore[attr-defined]
    for network in networks:
        network.to(torch.bfloat16)
    mask = np.zeros((32, 32), bool)
    mask[:, 16:] = True
    for how in ({}, {"start": photo}, {"start": photo, "mask": mask}):
        [in_half], [in_full] = drawn(half, **how), drawn(model, **how)
        assert np.abs(in_half.pixels.astype(int) - in_full.pixels).mean() < 4


def test_what_is_given_matters(model: PictureModel) -> None:
    [plain] = drawn(model)
    for other in ({"prompt": "circle"}, {"negative": "red"}, {"guidance": 6.0}, {"steps": 4}, {"sampler": "euler"}):
        assert unlike(drawn(model, **other)[0].pixels, plain.pixels) > 0, other
    assert drawn(model, size=(16, 48))[0].pixels.shape == (16, 48, 3)


def test_guidance_1_asks_the_network_once_and_others_for_both_halves_at_once(model: PictureModel) -> None:
    sizes: list[int] = []
    hook = model.denoiser.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    try:
        drawn(model, n=2, guidance=1.0)
        drawn(model, n=2, guidance=3.0)
    finally:
        hook.remove()
    assert sizes == [2, 2, 2, 4, 4, 4]


def test_the_negative_caption_is_what_guidance_leads_away_from(model: PictureModel) -> None:
    # Away from the caption itself leads nowhere: the same as no guidance.
    assert unlike(drawn(model, negative="red circle")[0].pixels, drawn(model, guidance=1.0)[0].pixels) <= 1


def test_strength_says_how_much_of_a_picture_is_drawn_again(model: PictureModel, photo: Pixels) -> None:
    encoded = torch.from_numpy(photo.astype(np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
    kept = model.decode(model.encode(encoded))[0].permute(1, 2, 0).numpy()
    [little], [much] = (drawn(model, start=photo, strength=share, steps=20, sampler="ddim") for share in (0.05, 0.9))
    far = [np.abs((one.pixels / 127.5 - 1) - kept).mean() for one in (little, much)]
    assert far[0] < 0.5 * far[1]
    request = request_for(model, "", start=photo, strength=0.3, steps=10)
    assert request.n_left_out == 7 and request.kind == "image"


def test_only_the_mask_is_drawn_again(model: PictureModel, photo: Pixels) -> None:
    mask = np.zeros((32, 32), dtype=bool)
    mask[8:20, 4:15] = True
    for strength in (1.0, 0.5):
        [picture] = drawn(model, start=photo, mask=mask, strength=strength)
        assert np.array_equal(picture.pixels[~mask], photo[~mask])
        assert not np.array_equal(picture.pixels[mask], photo[mask])


def test_picture_and_mask_of_other_sizes_are_cut_alike_and_said(model: PictureModel) -> None:
    photo = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    mask = np.zeros((128, 192), dtype=bool)
    mask[:, 96:] = True
    request = request_for(model, "a", start=photo, mask=mask, steps=2)
    assert request.start is not None and request.start.shape == (32, 32, 3)
    assert request.mask is not None and request.mask[:, 16:].all() and not request.mask[:, :16].any()
    [said] = remarks_of(model, request, (64, 96))
    assert said == ("resized", "the picture is 96x64; it is cut and scaled to 32x32")


def test_steps_are_reported_with_previews(model: PictureModel, photo: Pixels) -> None:
    seen: list[Progress] = []
    shapes = []

    def look(progress: Progress) -> None:
        seen.append(progress)
        shapes.append([one.shape for one in progress.preview()])

    list(draw(model, request_for(model, "a", n=2, steps=3), look))
    assert [(one.done, one.of) for one in seen] == [(2, 6), (4, 6), (6, 6)]
    assert shapes == [[(16, 16, 3)] * 2] * 3
    seen.clear()
    list(draw(model, request_for(model, "a", steps=4, start=photo, strength=0.5), look))
    assert [(one.done, one.of) for one in seen] == [(1, 2), (2, 2)]


def test_more_than_fit_into_a_batch_are_drawn_one_batch_after_another(
    model: PictureModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = drawn(model, n=3)
    monkeypatch.setattr("malmoi.image.draw.AT_ONCE_PIXELS", 2 * 32 * 32)
    seen: list[tuple[int, int, int]] = []
    parts = list(
        draw(model, request_for(model, "red circle", n=3, steps=3), lambda p: seen.append((p.done, p.of, p.first)))
    )
    assert [one.seed for one in parts] == [one.seed for one in whole]
    assert all(unlike(a.pixels, b.pixels) <= 1 for a, b in zip(parts, whole, strict=True))
    assert seen == [(2, 9, 0), (4, 9, 0), (6, 9, 0), (7, 9, 2), (8, 9, 2), (9, 9, 2)]


def test_whoever_listens_may_end_the_work(model: PictureModel) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        list(draw(model, request_for(model, "a", steps=5), stop))


@pytest.fixture
def broken() -> Iterator[PictureModel]:
    model = tiny_model(seed=2)
    next(model.denoiser.parameters()).data.fill_(float("nan"))
    yield model


def test_values_that_are_not_numbers_never_become_a_picture(broken: PictureModel) -> None:
    with pytest.raises(DataError, match="seed 4: the model drew values that are not numbers"):
        drawn(broken, seed=4)


def test_the_preview_of_a_model_without_autoencoder_is_what_it_draws() -> None:
    from dataclasses import replace

    model = replace(tiny_model(), autoencoder=None)
    values = torch.tensor([-1.0, 0.0, float("nan")]).reshape(1, 3, 1, 1)
    assert to_colours(model, values)[0].tolist() == [[[0, 128, 0]]]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"prompt": " "}, "prompt: is empty"),
        ({"prompt": "x" * 10_000}, "prompt: has 10,000 characters"),
        ({"prompt": "a\0b"}, "prompt: has characters that are no text"),
        ({"negative": "x" * (MOST_PROMPT + 1)}, "negative: has 2,001 characters"),
        ({"negative": "blue", "guidance": 1.0}, "negative: does nothing at guidance 1"),
        ({"n": 0}, "1 to 100 pictures"),
        ({"steps": 0}, "steps 0"),
        ({"steps": 5000}, "steps 5000"),
        ({"guidance": float("nan")}, "guidance nan"),
        ({"guidance": -1.0}, "guidance -1"),
        ({"sampler": "magic"}, "there is none of this name"),
        ({"sampler": "flow_euler"}, "does not fit this model"),
        ({"size": (33, 47)}, "size 47x33: .* the nearest is 48x32"),
        ({"size": (0, 32)}, "the nearest is 32x2"),
        ({"size": (10**5, 32)}, "the nearest is 32x2048"),
        ({"strength": 0.5}, "strength: is for a picture to begin with"),
        ({"mask": np.ones((32, 32), dtype=bool)}, "mask: is for a picture to begin with"),
        ({"start": BLACK, "strength": 0.0}, "strength 0"),
        ({"start": BLACK, "mask": np.zeros((32, 32), bool)}, "mask: nothing in it is white"),
        (
            {"start": BLACK, "mask": np.eye(600, dtype=bool) & (np.arange(600) == 9)},
            "nothing of what is white .* at 32x32",
        ),
        (
            {"start": BLACK, "mask": np.ones((32, 64), bool)},
            "mask: is 64x32, and the picture",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_drawn_is_one_line(model: PictureModel, how: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        request_for(model, **({"prompt": "red"} | how))
    assert "\n" not in str(caught.value)


def test_a_caption_that_is_cut_is_said(model: PictureModel) -> None:
    [said] = remarks_of(model, request_for(model, "red circle " * 60))
    assert said.text.startswith("the model reads no more than the beginning of the prompt")
    assert remarks_of(model, request_for(model, "red circle")) == []


@pytest.mark.parametrize("text", ["64", "x", "64x", "-1x5", "1e3x5", "64x64x64", "٣x٣", "999999x1"])
def test_what_is_no_size_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="expected width x height"):
        parse_size(text)


def test_sizes_are_width_first() -> None:
    assert parse_size("64x48") == parse_size(" 64 × 48 ".replace(" ", "")) == (48, 64)
