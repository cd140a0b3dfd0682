"""The oracle reads real drawings right, and sees what is wrong in others."""

from dataclasses import replace

import numpy as np
import pytest

from malmoi.image.oracle import judge, look
from malmoi.synthetic.shapes import OPPOSITE, Placed, Scene, Thing, draw, place, random_scene

RED, BLUE = Thing("red", "circle", "large"), Thing("blue", "square", "small")
LEFT = Scene((RED, BLUE), relation="left", background="grey")


def drawn(scene: Scene, seed: int = 0, size: int = 32) -> np.ndarray:
    return draw(scene, place(scene, np.random.default_rng(seed)), size)


@pytest.mark.parametrize("size", [32, 64])
def test_real_drawings_are_right(size: int) -> None:
    rng = np.random.default_rng(0)
    scenes = [random_scene(rng) for _ in range(150)]
    right = [judge(draw(scene, place(scene, rng), size), scene).all_right for scene in scenes]
    assert np.mean(right) >= 0.97


def test_other_drawings_are_wrong() -> None:
    """Drawings of one scene, held against another one."""
    rng = np.random.default_rng(1)
    scenes = [random_scene(rng) for _ in range(60)]
    others = scenes[1:] + scenes[:1]
    pairs = [(a, b) for a, b in zip(scenes, others, strict=True) if a.composition != b.composition]
    right = [judge(draw(a, place(a, rng), 32), b).all_right for a, b in pairs]
    assert np.mean(right) <= 0.02


def test_swapped_colours_are_not_bound_right() -> None:
    swapped = replace(LEFT, things=(replace(RED, colour="blue"), replace(BLUE, colour="red")))
    verdict = judge(drawn(swapped), LEFT)
    assert (verdict.n_colours, verdict.n_shapes) == (0, 2)
    assert not verdict.all_right


def test_each_mistake_is_told_from_the_others() -> None:
    assert judge(drawn(LEFT), LEFT).all_right
    assert not judge(drawn(replace(LEFT, background="black")), LEFT).background
    larger = replace(LEFT, things=(RED, replace(BLUE, size="large")))
    verdict = judge(drawn(larger), LEFT)
    assert not verdict.sizes and verdict.n_colours == verdict.n_shapes == 2
    other = judge(drawn(replace(LEFT, relation="above")), LEFT)
    assert not other.relation
    assert judge(drawn(replace(LEFT, relation=OPPOSITE["left"])), LEFT).n_colours == 0
    assert not judge(drawn(Scene((RED,), number=2, background="grey")), Scene((RED,), background="grey")).number


def test_an_empty_picture_has_nothing() -> None:
    background, things = look(np.full((32, 32, 3), 16, dtype=np.uint8))
    assert (background, things) == ("black", [])
    assert judge(np.full((32, 32, 3), 16, dtype=np.uint8), LEFT).n_colours == 0


def test_a_ragged_edge_costs_no_shape() -> None:
    rng = np.random.default_rng(5)
    for shape in ("circle", "square", "triangle", "star"):
        thing = Thing("green", shape, "large")
        picture = draw(Scene((thing,)), [Placed(thing, 0.5, 0.5, 0.45)], 32).astype(int)
        noisy = np.clip(picture + rng.normal(0, 18, picture.shape), 0, 255).astype(np.uint8)
        assert [found.shape for found in look(noisy)[1]] == [shape]
