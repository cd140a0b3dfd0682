"""Plots in the colours of the page: one hue a name, every layer drawn, noise as small as it is."""

import re

import pytest

from malmoi.facts import Bar, Bars, Curve, Diagonal, Group, Level, Line, Plot, Trail
from malmoi.report.plots import PLACEHOLDERS, Hues, draw, key_of, wide_enough
from malmoi.workspace.folder import Workspace
from tests.unit.report.finished_recipe import page_of


def test_plots_are_drawn_in_the_colours_of_the_page(whole: Workspace) -> None:
    captions = re.findall(r"<figcaption>([^<]+?)\s*(?:<|$)", page_of(whole))
    assert captions == [
        "Training loss, nats per token", "Held-out bits per byte", "Training loss, nats per answer token",
        "Exact answers by kind of question:", "Training loss, nats per pair",
        "Training pairs ordered as the simulated labeler said; a tie counts half",
        "Held out: how sure it is, how often it is right", "Score by the reward model",
        "Gold, by the rule of the simulated labeler", "Reward against gold, pale to dark as it learns",
        "KL to the SFT model, nats per answer", "Entropy, nats per token", "Length of the answers, tokens",
        "Share of the sampled answers that differ",
    ]  # fmt: skip
    drawings = re.findall(r"<svg viewBox.*?</svg>", page_of(whole), re.DOTALL)
    assert len(drawings) == len(captions)
    for svg in drawings:
        assert not any(placeholder in svg for placeholder in PLACEHOLDERS.values())
        assert "font-family" not in svg
        # What is left in a colour of its own would vanish on dark paper.
        assert not re.search(r"#[0-9a-f]{6}", svg)
    by_caption = dict(zip(captions, drawings, strict=True))
    assert "var(--rust)" in by_caption["Exact answers by kind of question:"]
    # What the evaluation measured is drawn into the plots of the stages that it is about.
    assert "the simulated labeler itself 0.75" in by_caption[captions[5]]
    assert "xz -9, primed 1.60" in by_caption["Held-out bits per byte"]


def test_every_layer_is_drawn() -> None:
    points, value = [(1.0, 0.5), (2.0, 0.7), (4.0, 0.6)], {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 3}
    for layer, drawn in (
        (Curve(points, "blue"), ("var(--blue)", 2)),
        (Line(points, "green", "a", [(0.4, 0.6)] * 3, [1]), ("var(--green)", 5)),
        (Trail(points, "rust"), ("var(--rust)", 3)),
        (Level(0.5, "gold", "the ceiling"), ("the ceiling", 1)),
        (Diagonal(0.5, 1), ("var(--grey)", 1)),
        (Bars([Group("kind", [Bar("a", "violet", value), Bar("b", "teal", value)], 0.3)], 0.5), ("var(--teal)", 1)),
    ):
        svg = draw(Plot("", [layer]), Hues(), "salt")
        assert svg.count(drawn[0]) >= drawn[1], layer


def test_a_name_has_one_hue_on_a_page_and_two_names_have_two() -> None:
    hues = Hues()
    assert [hues("ppo"), hues("kto"), hues("ppo"), hues("gold")] == ["rust", "violet", "rust", "gold"]
    plot = Plot("", [Line([(0, 0)], "kto", "KTO"), Level(0, "blue", "SFT"), Line([(1, 1)], "gold", "best of n")])
    assert [(label, hues(colour)) for label, colour in key_of(plot)] == [("KTO", "violet"), ("best of n", "gold")]


def test_long_runs_draw_no_more_than_short_ones() -> None:
    points = [(n, 1 / n) for n in range(1, 20_001)]
    assert len(draw(Plot("", [Curve(points, "ink")]), Hues(), "")) < 30_000


def test_noise_is_drawn_as_small_as_it_is() -> None:
    assert wide_enough(0.0, 1.0) == (0.0, 1.0)
    low, high = wide_enough(0.50, 0.51)
    assert low < 0.45 and high > 0.56 and (low + high) / 2 == pytest.approx(0.505)
    assert wide_enough(-2.01, -2.0)[1] > -1.8
    assert wide_enough(0.0, 0.0) == (0.0, 0.0)
