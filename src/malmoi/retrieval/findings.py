"""What look-up finds: passages that answer, each with the sentence that does, and what to offer where none does."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from malmoi.retrieval.names import name_of
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.sentences import sentences

_PYTHON = re.compile(r"python(?:-[\d.]+)?:")


@dataclass(frozen=True)
class Source:
    """A passage that answers. sentence: the one of it that does; line: where that begins in the file, or 0;
    score: fitted probability that the passage answers, from 0 to 1"""

    passage: Passage
    sentence: str
    line: int
    score: float

    @property
    def told(self) -> str:
        """The sentence as it is read: of a row of a table each cell after the name of its column."""
        return (
            next((one.read for one in sentences(self.passage.text) if one.text == self.sentence), "") or self.sentence
        )

    def to_row(self) -> dict[str, Any]:
        passage = self.passage
        return {
            "file": passage.file,
            "heading": passage.heading,
            "line": self.line,
            "place": passage.place,
            "sentence": self.sentence,
            "score": round(self.score, 4),
            "document": passage.document,
        }


@dataclass(frozen=True)
class Findings:
    """What look-up found for a conversation.

    sources: that answer, best first; none if nothing does; of a comparison, the two names in its order
    nearest: titles to offer then
    small_talk: its kind, such as greeting, or "" for a question
    language: of the question, "en" or "ko"
    wanted: what is asked of a name: "parameters", "module", "example", …, of two a "comparison", or ""
    facts: of the index
    closest: what may answer, but not for sure, to offer in place of the titles
    """

    sources: tuple[Source, ...] = ()
    nearest: tuple[str, ...] = ()
    small_talk: str = ""
    language: str = "en"
    wanted: str = ""
    question: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    closest: tuple[Source, ...] = ()


def is_note(passage: Passage) -> bool:
    """Whether a passage is of a text without names of programs, and not of Python's documentation."""
    return name_of(passage.heading) is None and _PYTHON.match(passage.file) is None


def title_of(passage: Passage) -> str:
    """What a passage is offered as: its name as programs write it, its heading, or its file."""
    name = name_of(passage.heading)
    return name.written if name else passage.heading or passage.file
