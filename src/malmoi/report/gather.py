"""What all stages of a recipe have to show, put together by the stage that it is about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from malmoi.facts import Block, Card, Facts, Figures, Plot, Section, Summary


@dataclass(frozen=True)
class Arranged:
    """A section as it is shown. grids: plots of one size, next to each other"""

    title: str
    lead: str
    blocks: Sequence[Block]
    grids: Sequence[Sequence[Plot]]


@dataclass
class About:
    """All that is said about one stage, by itself and by stages after it."""

    stage: str
    title: str = ""
    said: list[Section] = field(default_factory=list)
    parts: list[Section] = field(default_factory=list)
    cards: dict[str, Card] = field(default_factory=dict)
    summary: dict[str, Summary] = field(default_factory=dict)

    def add(self, section: Section, by: str) -> None:
        """Under the stage's heading, or as a part with a heading of its own."""
        if not section.title:
            self.said.append(section)
        elif by == self.stage and section.about in ("", self.stage) and not self.title:
            self.title = section.title
            self.said.append(section)
        else:
            self.parts.append(section)

    @property
    def sections(self) -> list[Arranged]:
        """First what is under the stage's heading; nothing where nobody said anything."""
        if not self.said and not self.parts:
            return []
        blocks = [block for section in self.said for block in section.blocks]
        leads = " ".join(section.lead for section in self.said if section.lead)
        first = _arranged(self.title or self.stage, leads, blocks)
        return [first, *(_arranged(part.title, part.lead, part.blocks) for part in self.parts)]


def gather(told: Mapping[str, Facts]) -> dict[str, About]:
    """told: stage -> its facts, in the order of the recipe. What is about a stage that is not among them stays with the
    stage that says it."""
    found = {stage: About(stage) for stage in told}
    for stage, facts in told.items():
        for section in facts.sections:
            found.get(section.about, found[stage]).add(section, stage)
        for card in facts.cards:
            found.get(card.about, found[stage]).cards[card.title] = card
        for row in facts.summary:
            found.get(row.about, found[stage]).summary[row.figure] = row
    return found


def _arranged(title: str, lead: str, blocks: Iterable[Block]) -> Arranged:
    blocks = list(blocks)
    rows = {row.label: row for block in blocks if isinstance(block, Figures) for row in block.rows}
    first: list[Block] = [Figures(list(rows.values()))] if rows else []
    others: list[Block] = [block for block in blocks if not isinstance(block, Figures | Plot)]
    plots = _sharing_axes(block for block in blocks if isinstance(block, Plot))
    return Arranged(title, lead, first + others, [list(same) for _, same in groupby(plots, lambda plot: plot.small)])


def _sharing_axes(plots: Iterable[Plot]) -> list[Plot]:
    """Plots of one name as one plot."""
    found: dict[str, Plot] = {}
    for number, plot in enumerate(plots):
        name = plot.name or f" {number}"
        first = found.get(name)
        found[name] = replace(first, layers=[*first.layers, *plot.layers]) if first else plot
    return list(found.values())
