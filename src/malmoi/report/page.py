"""`report.html`: one self-contained page."""

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from malmoi.facts import Section, show, show_interval
from malmoi.files import read_json
from malmoi.report.gather import About, arranged
from malmoi.report.plots import Hues, draw, key_of
from malmoi.units import duration

if TYPE_CHECKING:
    from malmoi.pipeline.run import Done

CHAT = "chat"
"""The last node of the ring: the goal of every recipe, not a stage."""
RING_REACH, LETTER = 210, 7.5
"""Half the width of the ring's picture, more for long names; the approximate width of a letter."""


class Drawn(NamedTuple):
    """A plot on the page. key: (label, hue) of its legend; small: a third of the page's width"""

    caption: str
    key: Sequence[tuple[str, str]]
    svg: str
    small: bool


Grids = list[list[Drawn]]


def draw_plots(about: Iterable[About]) -> dict[str, list[Grids]]:
    """Stage -> the plots of each of its sections, in grids."""
    hues, drawn = Hues(), {}
    for one in about:
        drawn[one.stage] = [
            [
                [
                    Drawn(
                        plot.caption,
                        [(label, hues(colour)) for label, colour in key_of(plot)],
                        draw(plot, hues, f"{one.stage} {place} {row} {number}"),
                        plot.small,
                    )
                    for number, plot in enumerate(grid)
                ]
                for row, grid in enumerate(section.grids)
            ]
            for place, section in enumerate(one.sections)
        ]
    return drawn


def render(
    report: Mapping[str, Any], stages: Sequence[str], done: Mapping[str, "Done"], about: Mapping[str, About],
    plots: Mapping[str, Sequence[Grids]], terms: Sequence[str], openings: Sequence[Section] = (), talk: str = "",
) -> str:  # fmt: skip
    """The page.

    stages: all of the recipe, run or not; plots: from `draw_plots`; terms: explanations of terms
    openings: sections of the first screen; talk: the command that talks with the model
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "show": show,
        "interval": show_interval,
        "duration": duration,
        "kind": _kind,
        "base64": _base64,
    }
    here = resources.files(__package__)
    page = environment.from_string((here / "page.html.jinja").read_text(encoding="utf-8"))
    runs = {
        stage: read_json(path) for stage, made in done.items() if (path := made.out.parent / "config.json").exists()
    }
    return page.render(
        css=(here / "page.css").read_text(encoding="utf-8"),
        report=report,
        plots=plots,
        done=done,
        about=about,
        terms=terms,
        openings=arranged(openings),
        talk=talk,
        ring=(ring := _ring([*stages, CHAT], done)),
        reach=max(RING_REACH, *(abs(node["label_x"]) + LETTER * len(node["name"]) for node in ring)),
        inputs={stage: run["inputs"] for stage, run in runs.items()},
        settings={stage: dict(_flat(run["settings"])) for stage, run in runs.items()},
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _kind(block: Any) -> str:
    """The macro of the page that renders a block."""
    return type(block).__name__.lower()


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings with dotted names, as in `--set`."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, json.dumps(value, ensure_ascii=False)


def _ring(names: Sequence[str], done: Mapping[str, "Done"]) -> list[dict[str, Any]]:
    """The stages on a circle of radius 100, clockwise from the top: x, y of each and of its label."""
    nodes = []
    for i, name in enumerate(names):
        sine, cosine = math.sin(2 * math.pi * i / len(names)), -math.cos(2 * math.pi * i / len(names))
        anchor = "middle" if abs(sine) < 0.1 else "start" if sine > 0 else "end"
        place = {"x": 100 * sine, "y": 100 * cosine, "label_x": 113 * sine, "label_y": 116 * cosine + 4}
        nodes.append({"name": name, "made": name in done, "anchor": anchor, **place})
    return nodes
