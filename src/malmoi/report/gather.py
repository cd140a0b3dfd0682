"""The facts of all stages of a recipe, grouped by the stage that they are about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from malmoi.facts import Block, Card, Facts, Figures, Plot, Section, Summary


@dataclass(frozen=True)
class Arranged:
    """A section ready to render. grids: groups of plots of one size, shown side by side"""

    title: str
    lead: str
    blocks: Sequence[Block]
    grids: Sequence[Sequence[Plot]]


@dataclass
class About:
    """All facts about one stage, from itself and from later stages.

    own: sections under the stage's heading; parts: sections with headings of their own
    """

    stage: str
    title: str = ""
    own: list[Section] = field(default_factory=list)
    parts: list[Section] = field(default_factory=list)
    cards: dict[str, Card] = field(default_factory=dict)
    summary: dict[str, Summary] = field(default_factory=dict)

    def add(self, section: Section, by: str) -> None:
        """Add a section under the stage's heading, or as a part with its own heading. by: the stage that made it"""
        if not section.title:
            self.own.append(section)
        elif by == self.stage and section.about in ("", self.stage) and not self.title:
            self.title = section.title
            self.own.append(section)
        else:
            self.parts.append(section)

    @property
    def sections(self) -> list[Arranged]:
        """First the section under the stage's heading, then the parts; empty if there are none."""
        if not self.own and not self.parts:
            return []
        blocks = [block for section in self.own for block in section.blocks]
        leads = " ".join(section.lead for section in self.own if section.lead)
        return arranged([Section(self.title or self.stage, leads, blocks), *self.parts])


def gather(facts_by_stage: Mapping[str, Facts]) -> dict[str, About]:
    """Stage -> all facts about it. facts_by_stage: in recipe order

    Facts about a stage that is not in `facts_by_stage` are shown with the stage that made them.
    """
    found = {stage: About(stage) for stage in facts_by_stage}
    for stage, facts in facts_by_stage.items():
        for section in facts.sections:
            found.get(section.about, found[stage]).add(section, stage)
        for card in facts.cards:
            found.get(card.about, found[stage]).cards[card.title] = card
        for row in facts.summary:
            found.get(row.about, found[stage]).summary[row.figure] = row
    return found


def arranged(sections: Iterable[Section]) -> list[Arranged]:
    """In each, figures come first and plots last."""
    return [_arranged(section.title, section.lead, section.blocks) for section in sections]


def _arranged(title: str, lead: str, blocks: Iterable[Block]) -> Arranged:
    blocks = list(blocks)
    rows = {row.label: row for block in blocks if isinstance(block, Figures) for row in block.rows}
    first: list[Block] = [Figures(list(rows.values()))] if rows else []
    others: list[Block] = [block for block in blocks if not isinstance(block, Figures | Plot)]
    plots = _sharing_axes(block for block in blocks if isinstance(block, Plot))
    return Arranged(title, lead, first + others, [list(same) for _, same in groupby(plots, lambda plot: plot.small)])


def _sharing_axes(plots: Iterable[Plot]) -> list[Plot]:
    """Merge plots with the same name into one."""
    found: dict[str, Plot] = {}
    for number, plot in enumerate(plots):
        name = plot.name or f" {number}"
        first = found.get(name)
        found[name] = replace(first, layers=[*first.layers, *plot.layers]) if first else plot
    return list(found.values())
