"""Questions about documented names, each with the answer that the documentation gives.

Every kind has several phrasings, of which the last is held out: it is never trained on. Some items are held out too:
their text is read in pretraining, but nobody asks about them.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from malmoi.corpus.pydocs import MOST_PARAMETERS, Item

PHRASINGS = {
    "summary": (
        "What does {name} do?",
        "Describe {name} in one sentence.",
        "What is {name} for?",
        "Tell me about {name}.",
        "Explain {name} briefly.",
        "In one sentence, what does {name} do?",
    ),
    "module": (
        "Which module has {short}?",
        "Where do I find {short}?",
        "In which module is {short}?",
        "Where is {short} defined?",
        "{short} is in which module?",
        "What module is {short} in?",
    ),
    "kind": (
        "Is {name} a function or a class?",
        "What kind of thing is {name}?",
        "Is {name} a class, a function, a method or a module?",
        "Tell me what sort of object {name} is.",
        "{name}: class or function?",
        "What sort of thing is {name}?",
    ),
    "parameters": (
        "What parameters does {name} take?",
        "Which arguments does {name} take?",
        "List the parameters of {name}.",
        "How do I call {name}?",
        "What do I pass to {name}?",
        "What are the parameters of {name}?",
    ),
    "which": (
        "Which {kind} does this: {summary}",
        "What is the {kind} called that does this: {summary}",
        "Name the {kind} described so: {summary}",
        "Find the {kind} for this: {summary}",
        "I need a {kind}. {summary}",
        "Which {kind} is described so: {summary}",
    ),
    "example": (
        "Name something in {module}.",
        "What is there in {module}?",
        "Give me one name from {module}.",
        "Show me something from {module}.",
        "What can I use from {module}?",
        "Name one thing in {module}.",
    ),
}
FEWEST_MEMBERS = 6


@dataclass(frozen=True)
class Question:
    """One question in one phrasing.

    item: what it is about; kind: key of the phrasings; phrasing: which of them
    answers: every right answer, the one to learn from first
    heldout: the phrasing is never trained on; unseen: the item is never asked about in training
    document: id of the document that the answer comes from
    """

    kind: str
    item: str
    prompt: str
    answers: tuple[str, ...]
    phrasing: int
    heldout: bool
    unseen: bool
    document: str

    def to_row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Question":
        return cls(**{**row, "answers": tuple(row["answers"])})


def choose_items(items: Iterable[Item], n_items: int, n_unseen: int, seed: int) -> tuple[list[Item], list[Item]]:
    """Items to ask about in training, and others never asked about; each has a summary that no other shares."""
    usable = [item for item in items if item.summary]
    times_used = Counter(item.summary for item in usable)
    usable = [item for item in usable if times_used[item.summary] == 1]
    usable.sort(key=lambda item: (item.name.count("."), len(item.name) + len(item.summary), item.name))
    chosen = usable[: n_items + n_unseen]
    random.Random(seed).shuffle(chosen)
    return chosen[:n_items], chosen[n_items:]


def ask(items: Sequence[Item], unseen: Sequence[Item], seed: int) -> Iterator[Question]:
    """For each item what it does, and one more question; for each larger module an example from it."""
    everything = [*items, *unseen]
    unseen_names = {item.name for item in unseen}
    short_names = Counter(_short(item) for item in everything)
    rng = random.Random(seed)
    for item in everything:
        other = rng.choice(_other_kinds(item, short_names))
        for kind in ("summary", other):
            yield from _phrased(kind, item, item.name in unseen_names)
    by_module: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.kind in ("function", "class"):
            by_module[item.module].append(item)
    for module, members in sorted(by_module.items()):
        if len(members) >= FEWEST_MEMBERS:
            yield from _examples(module, members, rng)


def _other_kinds(item: Item, short_names: Counter[str]) -> list[str]:
    kinds = ["kind", "which"]
    if item.parameters is not None and len(item.parameters) <= MOST_PARAMETERS:
        kinds.append("parameters")
    if item.kind in ("function", "class") and short_names[_short(item)] == 1:
        kinds.append("module")
    return kinds


def _phrased(kind: str, item: Item, is_unseen: bool) -> Iterator[Question]:
    phrasings = PHRASINGS[kind]
    answer = _answer(kind, item)
    for number, phrasing in enumerate(phrasings):
        prompt = phrasing.format(
            name=item.name, short=_short(item), kind=item.kind, summary=item.summary, module=item.module
        )
        is_heldout = number == len(phrasings) - 1
        yield Question(kind, item.name, prompt, (answer,), number, is_heldout, is_unseen, item.document)


def _examples(module: str, members: Sequence[Item], rng: random.Random) -> Iterator[Question]:
    """One training question for each member, so that every one of them is a right answer that was shown."""
    phrasings = PHRASINGS["example"]
    answers = [f"One is {member.name}." for member in members]
    for number in range(len(phrasings)):
        is_heldout = number == len(phrasings) - 1
        first = rng.randrange(len(answers))
        for shift in range(1 if is_heldout else min(len(answers), 8)):
            start = (first + shift) % len(answers)
            turned = (*answers[start:], *answers[:start])
            prompt = phrasings[number].format(module=module)
            yield Question("example", module, prompt, turned, number, is_heldout, False, members[start].document)


def _answer(kind: str, item: Item) -> str:
    if kind == "summary":
        return item.summary
    if kind == "module":
        return f"It is in {item.module}."
    if kind == "kind":
        return f"It is a {item.kind}."
    if kind == "which":
        return f"That is {item.name}."
    if not item.parameters:
        return "It takes no parameters."
    return f"It takes {', '.join(item.parameters)}."


def _short(item: Item) -> str:
    return item.name.rpartition(".")[2]
