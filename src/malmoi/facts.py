"""What there is to show of a finished stage, as data: the report draws it and knows no stage by name.

A stage may speak about another (`about`): what an evaluation measured on a model is shown in the section of the stage
that trained it. Where two stages say something about the same stage under the same label, the later one is shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = float | Mapping[str, Any] | None
"""A figure, or the row of an interval: mean, low, high (all None where there was nothing to measure) and n."""
Points = Sequence[tuple[float, float]]
Range = tuple[float | None, float | None]
HUES = ("ink", "muted", "rule", "grey", "blue", "green", "gold", "rust", "violet", "teal", "rose", "olive")
"""The page's own colours: each is lighter on dark paper."""
FREE_HUES = ("rust", "violet", "teal", "rose", "olive")
"""Given out, in this order, to colours that are no hue but the name of something, such as a stage: wherever a page
shows this thing, it has the same hue."""


@dataclass(frozen=True)
class Curve:
    """Values of steps, drawn faint, with their moving average. label: in the key of the plot; colour: hue or name"""

    points: Points
    colour: str
    label: str = ""


@dataclass(frozen=True)
class Line:
    """Points with markers, joined. intervals: (low, high) of each point; ringed: the numbers of points to point out"""

    points: Points
    colour: str
    label: str = ""
    intervals: Sequence[tuple[float, float]] = ()
    ringed: Sequence[int] = ()


@dataclass(frozen=True)
class Trail:
    """Points from pale to dark, in the order in which they came about."""

    points: Points
    colour: str


@dataclass(frozen=True)
class Level:
    """A dashed line across the plot, with its label at the right end."""

    value: float
    colour: str
    label: str = ""


@dataclass(frozen=True)
class Diagonal:
    """Where both axes say the same."""

    low: float
    high: float


@dataclass(frozen=True)
class Bar:
    """label: in the key of the plot; colour: hue or name; value: the row of an interval"""

    label: str
    colour: str
    value: Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Bars under one label. mark: a line across them"""

    label: str
    bars: Sequence[Bar]
    mark: float | None = None


@dataclass(frozen=True)
class Bars:
    """Horizontal bars with intervals. level: a dashed line through all of them"""

    groups: Sequence[Group]
    level: float | None = None


Layer = Curve | Line | Trail | Level | Diagonal | Bars


@dataclass(frozen=True)
class Plot:
    """Layers on the same axes.

    name: plots of one name in one section share their axes; the first gives caption, labels and limits
    small: a third of the page's width, not half of it
    """

    caption: str
    layers: Sequence[Layer]
    name: str = ""
    small: bool = False
    x_label: str = ""
    y_label: str = ""
    x_limits: Range | None = None
    y_limits: Range | None = None


@dataclass(frozen=True)
class Figure:
    """note: what is said next to a figure that has no interval"""

    label: str
    value: Value
    note: str = ""


@dataclass(frozen=True)
class Figures:
    rows: Sequence[Figure]


@dataclass(frozen=True)
class Listing:
    """What is said in words: (label, text)."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Cell:
    """aside: what is printed after the text, less boldly"""

    text: str
    aside: str = ""


@dataclass(frozen=True)
class Table:
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Chat:
    messages: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Ranked:
    """Answers to one prompt, each with its rank. scores: of each answer, by the rule that ranked them"""

    answers: Sequence[tuple[int, str]]
    scores: Sequence[float] = ()


@dataclass(frozen=True)
class Sample:
    """Answers to one prompt: of each model one or several. reference: a right answer; source: of the prompt"""

    messages: Sequence[Mapping[str, Any]]
    answers: Sequence[Sequence[str]]
    reference: str = ""
    source: str = ""


@dataclass(frozen=True)
class Samples:
    """names: of the models that answered; folded: if given, the rows are hidden under this line until it is clicked"""

    names: Sequence[str]
    rows: Sequence[Sample]
    folded: str = ""


@dataclass(frozen=True)
class Judged:
    """An answer to the end of a conversation, with the verdict. note: why other answers are right or wrong"""

    messages: Sequence[Mapping[str, Any]]
    answer: str
    is_right: bool
    note: str = ""


@dataclass(frozen=True)
class SheetRow:
    """Pictures next to each other. pictures: PNG files; labels: what each shows, for those who cannot see it"""

    name: str
    pictures: Sequence[bytes]
    labels: Sequence[str]


@dataclass(frozen=True)
class Sheet:
    """Rows of small pictures, one below the other. head: over the columns"""

    caption: str
    rows: Sequence[SheetRow]
    head: Sequence[str] = ()


@dataclass(frozen=True)
class Note:
    text: str


Block = Figures | Listing | Table | Chat | Ranked | Samples | Judged | Sheet | Note | Plot


@dataclass(frozen=True)
class Section:
    """In each section figures come first and plots last, whatever the order of the blocks.

    title: the first of a stage is the heading of its section, each further one that of a part; without one, this is
        added to the section of `about`
    about: the stage that this is about; none: the stage that says it
    """

    title: str = ""
    lead: str = ""
    blocks: Sequence[Block] = ()
    about: str = ""


@dataclass(frozen=True)
class Card:
    """A figure at the top of the page. note: by default the interval of the value"""

    title: str
    value: Value
    before: Value = None
    note: str = ""
    about: str = ""


@dataclass(frozen=True)
class Summary:
    """A row of the table that ends a run on the terminal."""

    figure: str
    value: Value
    before: Value = None
    about: str = ""


@dataclass(frozen=True)
class Facts:
    """All that a stage has to show.

    alarms: shown on top, each a sentence; terms: sentences that explain words which the page uses
    json: section -> key -> value, for `report.json`
    opening: the first screen of the page
    """

    sections: Sequence[Section] = ()
    cards: Sequence[Card] = ()
    summary: Sequence[Summary] = ()
    alarms: Sequence[str] = ()
    terms: Sequence[str] = ()
    json: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    opening: Section | None = None


def figures(found: Mapping[str, Any], labels: Mapping[str, str]) -> Figures:
    """A row for each key that was measured. labels: key -> label"""
    return Figures([Figure(label, found[key]) for key, label in labels.items() if key in found])


def points(rows: Sequence[Mapping[str, Any]], key: str, x: str = "step") -> Points:
    """(x, key) of all rows that have the key."""
    return [(row[x], row[key]) for row in rows if key in row]


def listed(counts: Mapping[str, int]) -> str:
    """Names with how many of each there are: "MIT 1,200, BSD 3"."""
    return ", ".join(f"{name} {n:,}" for name, n in counts.items())


def show(value: Value) -> str:
    """A figure for people: the mean of an interval, three decimals, thousands with commas."""
    number = value["mean"] if isinstance(value, Mapping) else value
    if number is None:
        return "–"
    return f"{number:,}" if isinstance(number, int) else f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3f}"


def show_interval(value: Value) -> str:
    """[low, high], or nothing for a plain number."""
    if not isinstance(value, Mapping):
        return ""
    return f"[{value['low']:.3f}, {value['high']:.3f}]" if value["n"] else "nothing to measure"
