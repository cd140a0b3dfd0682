"""What is in an index: counted for each file, and together."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from malmoi.retrieval.passages import Passage

_HANGUL = re.compile("[가-힣]+")
N_TITLES = 1000
"""Titles that an index's facts keep, at most; of one file at most a fiftieth of them."""


@dataclass
class Counted:
    """What is in an index or a file of it. titles: headings in their order; documents: their names: a file of rows
    holds as many as its rows name, any other file is one"""

    n_passages: int = 0
    documents: set[str] = field(default_factory=set)
    languages: Counter[str] = field(default_factory=Counter)
    titles: dict[str, None] = field(default_factory=dict)

    def add(self, passage: Passage) -> None:
        self.n_passages += 1
        self.documents.add(passage.file)
        self.languages[main_language(passage.text)] += 1
        if passage.heading and len(self.titles) < N_TITLES // 50:
            self.titles.setdefault(passage.heading)

    def to_row(self) -> dict[str, Any]:
        counts = {"passages": self.n_passages, "documents": len(self.documents)}
        return {**counts, "languages": dict(self.languages), "titles": list(self.titles)}


def main_language(text: str) -> str:
    """ "ko" if at least a third of the letters are Hangul, else "en"."""
    n_hangul = sum(map(len, _HANGUL.findall(text)))
    is_korean = n_hangul * 3 >= len(text) or n_hangul * 3 >= sum(map(str.isalpha, text))
    return "ko" if n_hangul and is_korean else "en"


def facts_of(rows: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """An index's facts. rows: (file, `Counted.to_row()`) of each file

    "files" are documents, whether each is a file or a row of one: a text counts the same before and after it is linked
    """
    facts: dict[str, Any] = {"files": 0, "passages": 0}
    languages, endings, titles = Counter[str](), Counter[str](), dict[str, None]()
    for file, row in rows:
        facts["files"] += row.get("documents", row["passages"] > 0)
        facts["passages"] += row["passages"]
        languages.update(row["languages"])
        endings[Path(file).suffix.lower()] += row["passages"] > 0
        titles.update(dict.fromkeys(row["titles"]))
    shown = {"languages": dict(languages.most_common()), "endings": dict((+endings).most_common(20))}
    return {**facts, **shown, "titles": list(titles)[:N_TITLES]}
