"""Questions with known answers, which demonstrations are made of; and which names are asked about."""

import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from malmoi.synthetic.pydocs import Item

N_ALWAYS_ASKED = 200
PLAIN, SECOND_TURN = "plain", "second turn"
Turn = tuple[str, str]
"""A question and its answer."""
Documents = tuple[Mapping[str, str], ...]
"""Documents of a prompt: {"title", "text"} each."""


class Answerable(NamedTuple):
    """A question that a sentence answers. kind: what it asks; prompts: its phrasings, the last one held out; short: the
    answer's own words"""

    kind: str
    prompts: tuple[str, ...]
    short: str


@dataclass(frozen=True)
class Question:
    """One question in one phrasing.

    kind: what is asked; item: about what; phrasing: number of the kind's phrasing
    answers: every right answer; the first is the one to train on
    heldout: the phrasing is never trained on; unseen: no training question is about the item
    document: id of the document that the answer comes from, "" if none has it; heading: above it
    short: the words of the answer that the question asks for, where they are known
    earlier: the turns before; language: "en" or "ko"; form: "plain", or how it is typed or asked, such as "second turn"
    documents: what is given with it; the answers are those that are right then
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
    earlier: tuple[Turn, ...] = ()
    language: str = "en"
    form: str = PLAIN
    documents: Documents = ()

    def to_row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Question":
        earlier = tuple((asked, answered) for asked, answered in row.get("earlier", ()))
        known = {key: value for key, value in row.items() if key in cls.__dataclass_fields__}
        tuples = {"answers": tuple(row["answers"]), "earlier": earlier, "documents": tuple(row.get("documents", ()))}
        return cls(**{**known, **tuples})


def messages(question: Question) -> list[dict[str, Any]]:
    """The conversation up to the question, with its documents; earlier answers are not trained on."""
    said: list[dict[str, Any]] = []
    for asked, answered in question.earlier:
        said += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered, "trained": False}]
    documents = {"documents": list(question.documents)} if question.documents else {}
    return [*said, {"role": "user", "content": question.prompt, **documents}]


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
