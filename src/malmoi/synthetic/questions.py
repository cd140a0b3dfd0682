"""Questions about documented names, each with the answer from the documentation.

Every kind has several phrasings. The last two are held out: they are never trained on. Some items are held out too:
pretraining reads their text, but no training question is about them.
"""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from malmoi.synthetic.pydocs import MAX_PARAMETERS, Item

PHRASINGS = {
    "summary": (
        "What does {name} do?",
        "Describe {name} in one sentence.",
        "What is {name} for?",
        "Tell me about {name}.",
        "Explain {name} briefly.",
        "Briefly, what is {name} for?",
        "In one sentence, explain {name}.",
        "Can you tell me what {name} does?",
        "In one sentence, what does {name} do?",
        "Can you explain {name}?",
    ),
    "module": (
        "Which module has {short}?",
        "Where do I find {short}?",
        "In which module is {short}?",
        "Where is {short} defined?",
        "{short} is in which module?",
        "Can you tell me which module has {short}?",
        "Briefly, where do I find {short}?",
        "I need {short}. In which module is it?",
        "Can you tell me where {short} is defined?",
        "Briefly, which module has {short}?",
    ),
    "kind": (
        "Is {name} a function or a class?",
        "What kind of thing is {name}?",
        "Is {name} a class, a function, a method or a module?",
        "Tell me what sort of object {name} is.",
        "{name}: class or function?",
        "Can you tell me what kind of object {name} is?",
        "Briefly, is {name} a class or a function?",
        "What sort of thing is {name}?",
        "Can you tell me what sort of thing {name} is?",
        "Is {name} a class or a function?",
    ),
    "parameters": (
        "What parameters does {name} take?",
        "Which arguments does {name} take?",
        "List the parameters of {name}.",
        "How do I call {name}?",
        "What do I pass to {name}?",
        "Can you list the arguments of {name}?",
        "Tell me the parameters of {name}.",
        "Briefly, which parameters does {name} take?",
        "Which parameters does {name} take?",
        "Can you list the parameters of {name}?",
    ),
    "which": (
        "Which {kind} does this: {summary}",
        "What is the {kind} called that does this: {summary}",
        "Name the {kind} described so: {summary}",
        "Find the {kind} for this: {summary}",
        "I need a {kind}. {summary}",
        "Can you name the {kind} for this: {summary}",
        "Which {kind} is this? {summary}",
        "Tell me the {kind} that does this: {summary}",
        "Can you find the {kind} that does this: {summary}",
        "Which {kind} is described so: {summary}",
    ),
    "example": (
        "Name something {topic}.",
        "What is there {topic}?",
        "Give me one name {topic}.",
        "Show me something {topic}.",
        "Find something {topic}.",
        "Can you name something {topic}?",
        "Tell me one thing {topic}.",
        "I need something {topic}.",
        "Can you show me something {topic}?",
        "Name one thing {topic}.",
    ),
}
N_HELDOUT = 2
N_ALWAYS_ASKED = 200
# Readers of documentation mostly ask what a name does: this kind is trained on in every phrasing, others in four.
N_TRAINED_OF_OTHER_KINDS = 4
TOPIC_MEMBERS = range(4, 30)
COMMON_WORDS = frozenset(
    """return returns this that with from true false none class base function object otherwise given which when used
    specified into than have been does will only also""".split()  # noqa: SIM905 (a list would take a page)
)


@dataclass(frozen=True)
class Question:
    """One question in one phrasing.

    item: what it is about; kind: key of the phrasings; phrasing: which of them
    answers: every right answer; the first is the one to train on
    heldout: the phrasing is never trained on; unseen: no training question is about the item
    document: id of the document that the answer comes from; heading: above it
    short: the words of the answer that the question asks for, where they are known
    """

    kind: str
    item: str
    prompt: str
    answers: tuple[str, ...]
    phrasing: int
    heldout: bool
    unseen: bool
    document: str
    heading: str = ""
    short: str = ""

    def to_row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Question":
        return cls(**{**row, "answers": tuple(row["answers"])})


def choose_items(items: Iterable[Item], n_items: int, n_unseen: int, seed: int) -> tuple[list[Item], list[Item]]:
    """Items for training questions, and unseen items: those that real code uses most, then those with short names.

    The `N_ALWAYS_ASKED` most used are never unseen.
    """
    usable = sorted((item for item in items if item.summary), key=_usefulness)[: n_items + n_unseen]
    always, others = usable[:N_ALWAYS_ASKED], usable[N_ALWAYS_ASKED:]
    random.Random(seed).shuffle(others)
    n_others = max(0, n_items - len(always))
    return always[:n_items] + others[:n_others], always[n_items:] + others[n_others:]


def _usefulness(item: Item) -> tuple[int, int, int, str]:
    return -item.used, item.name.count("."), len(item.name) + len(item.summary), item.name


def make_questions(items: Sequence[Item], unseen: Sequence[Item], seed: int) -> Iterator[Question]:
    """For each item the question what it does, and one more; for each topic a question with many right answers."""
    short_names = Counter(_short(item) for item in (*items, *unseen))
    summaries = Counter(item.summary for item in (*items, *unseen))
    unseen_names = {item.name for item in unseen}
    rng = random.Random(seed)
    for item in (*items, *unseen):
        kind = rng.choice(_other_kinds(item, short_names, summaries))
        for chosen, n_trained in (("summary", len(PHRASINGS["summary"])), (kind, N_TRAINED_OF_OTHER_KINDS)):
            yield from _phrased(chosen, item, item.name in unseen_names, n_trained, rng)
    for topic, members in sorted(topics(items).items()):
        yield from _examples(topic, members, rng)


def topics(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Topics with several items: modules, and words that appear in several summaries."""
    found: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.kind in ("function", "class"):
            found[f"in the module {item.module}"].append(item)
        for word in sorted(set(re.findall(r"[a-z]{4,}", item.summary.lower())) - COMMON_WORDS):
            found[f"about {word}"].append(item)
    return {topic: members for topic, members in found.items() if len(members) in TOPIC_MEMBERS}


def _other_kinds(item: Item, short_names: Counter[str], summaries: Counter[str]) -> list[str]:
    kinds = ["kind"]
    if summaries[item.summary] == 1:
        kinds.append("which")
    if item.parameters is not None and len(item.parameters) <= MAX_PARAMETERS:
        kinds.append("parameters")
    if item.kind in ("function", "class") and short_names[_short(item)] == 1:
        kinds.append("module")
    return kinds


def _phrased(kind: str, item: Item, is_unseen: bool, n_trained: int, rng: random.Random) -> Iterator[Question]:
    """The item's question in `n_trained` training phrasings and in one held-out phrasing."""
    trained, heldout = _phrasings(kind)
    words = {"name": item.name, "short": _short(item), "kind": item.kind, "summary": item.summary}
    chosen = [*rng.sample(trained, min(n_trained, len(trained))), rng.choice(heldout)]
    for number in chosen:
        prompt = PHRASINGS[kind][number].format(**words)
        answers = (_answer(kind, item),)
        yield Question(kind, item.name, prompt, answers, number, number in heldout, is_unseen, item.document)


def _examples(topic: str, members: Sequence[Item], rng: random.Random) -> Iterator[Question]:
    """One training question for some members each, to show several right answers, and the held-out phrasings."""
    trained, heldout = _phrasings("example")
    shown = rng.sample(members, min(len(members), len(trained)))
    for number, member in [*zip(trained, shown, strict=False), *((number, shown[0]) for number in heldout)]:
        others = (other for other in members if other is not member)
        answers = tuple(f"{one.name}: {one.summary}" for one in (member, *others))
        prompt = PHRASINGS["example"][number].format(topic=topic)
        yield Question("example", topic, prompt, answers, number, number in heldout, False, member.document)


def _phrasings(kind: str) -> tuple[list[int], list[int]]:
    numbers = list(range(len(PHRASINGS[kind])))
    return numbers[:-N_HELDOUT], numbers[-N_HELDOUT:]


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
