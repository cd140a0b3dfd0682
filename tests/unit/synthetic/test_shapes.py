"""Coloured shapes: pictures and captions say the same, in English and in Korean."""

import numpy as np
import pytest

from malmoi.synthetic.shapes import (
    BACKGROUNDS,
    COLOURS,
    SHAPES,
    Scene,
    Thing,
    caption,
    coverage,
    draw,
    place,
    random_scene,
)

RED, BLUE = Thing("red", "circle"), Thing("blue", "square")


@pytest.mark.parametrize("relation, axis, is_less", [("left", 1, True), ("right", 1, False), ("above", 0, True), ("below", 0, False)])  # fmt: skip  # noqa: E501
def test_the_first_thing_is_where_the_relation_says(relation: str, axis: int, is_less: bool) -> None:
    scene = Scene((RED, BLUE), relation=relation)  # type: ignore[arg-type]
    for seed in range(20):
        picture = draw(scene, place(scene, np.random.default_rng(seed)), 32).astype(int)
        at = [np.argwhere((abs(picture - COLOURS[name])).sum(2) < 30).mean(0)[axis] for name in ("red", "blue")]
        assert (at[0] < at[1]) == is_less


def test_things_never_touch() -> None:
    """Each in its own colour of a number, so that a pixel of two would be seen."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        scene = random_scene(rng)
        covers = [coverage(one.thing.shape, one.x, one.y, one.side, 32) > 0 for one in place(scene, rng)]
        assert np.sum(covers, axis=0).max() == 1


def test_a_picture_has_as_many_things_as_its_caption_says() -> None:
    scene = Scene((Thing("green", "star"),), number=3)
    assert len(place(scene, np.random.default_rng(1))) == 3


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_fills_its_box_and_nothing_outside(shape: str) -> None:
    cover = coverage(shape, 0.5, 0.5, 0.5, 64)
    rows, columns = np.nonzero(cover > 0)
    assert rows.min() >= 15 and rows.max() <= 48 and columns.min() >= 15 and columns.max() <= 48
    assert rows.max() - rows.min() >= 26 and columns.max() - columns.min() >= 26


def test_mirrored_captions_are_one_composition() -> None:
    assert Scene((RED, BLUE), relation="left").composition == Scene((BLUE, RED), relation="right").composition
    assert Scene((RED, BLUE), relation="left").composition != Scene((BLUE, RED), relation="left").composition
    sized = Scene((Thing("red", "circle", "large"), BLUE), relation="left", background="black")
    assert sized.composition == Scene((RED, BLUE), relation="left").composition


@pytest.mark.parametrize(
    "scene, english, korean",
    [
        (
            Scene((RED, BLUE), relation="left"),
            {"a red circle left of a blue square", "a red circle to the left of a blue square"},
            {"파란 네모 왼쪽에 있는 빨간 원", "빨간 원이 파란 네모 왼쪽에 있는 그림"},
        ),
        (
            Scene((BLUE, RED), relation="below"),
            {"a blue square below a red circle"},
            {"빨간 동그라미 아래에 있는 파란 네모", "파란 네모가 빨간 동그라미 아래에 있는 그림"},
        ),
        (
            Scene((Thing("orange", "star", "small"),), number=2, background="black"),
            {"two small orange stars on a black background"},
            {"검은 배경에 작은 주황색 별 두 개"},
        ),
        (Scene((Thing("orange", "triangle"),)), {"an orange triangle"}, {"주황색 세모", "주황색 삼각형"}),
    ],
    ids=["left", "below", "counted", "one"],
)
def test_captions_are_worded_as_people_do(scene: Scene, english: set[str], korean: set[str]) -> None:
    rng = np.random.default_rng(0)
    assert english <= {caption(scene, "en", rng) for _ in range(60)}
    assert korean <= {caption(scene, "ko", rng) for _ in range(400)}


def test_every_word_of_a_scene_is_in_its_english_caption() -> None:
    rng = np.random.default_rng(3)
    for _ in range(100):
        scene = random_scene(rng)
        words = caption(scene, "en", rng).replace("stars", "star").replace("s ", " ")
        for thing in scene.things:
            assert thing.colour in words and thing.shape in words and thing.size in words
        assert scene.background in words
        assert scene.background in ("", *BACKGROUNDS)
