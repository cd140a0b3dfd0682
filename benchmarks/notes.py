"""`python -m benchmarks.notes`: how often plain questions about short notes get the right sentence.

Folders of a few notes each (`notes.json`), written for the development of look-up, in English and Korean. Each question
has its file and a piece of the sentence that answers it; others are answered by nothing there and have to be declined.
Of the folders that are marked unseen only totals were looked at until everything was set; their failures are not
printed. `--all` prints the failures of the others. `--reworded` asks in words that the notes do not have, in Korean
(`notes_reworded.json`).
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from malmoi.corpus.documents import Document
from malmoi.evals.interval import bootstrap
from malmoi.files import read_json
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Findings, Lookup

NOTES = Path(__file__).with_suffix(".json")
REWORDED = NOTES.with_name("notes_reworded.json")


@dataclass(frozen=True)
class Asked:
    """A question with what was found for it. file, sentence: what answers it, "" if nothing does"""

    question: str
    file: str
    sentence: str
    findings: Findings

    @property
    def is_right(self) -> bool:
        sources = self.findings.sources
        if not self.file:
            return not sources
        return bool(sources) and sources[0].passage.file == self.file and self.sentence in sources[0].sentence


def ask(folder: dict[str, Any], path: Path) -> Iterator[Asked]:
    """All questions of a folder of notes. path: where its index is made"""
    build_index([Document(text, file, line=1) for file, text in folder["files"].items()], path)
    lookup = Lookup(Index.open(path))
    nothing = [{"question": question, "file": "", "sentence": ""} for question in folder["unanswered"]]
    for row in (*folder["questions"], *nothing):
        yield Asked(**row, findings=lookup.find([{"role": "user", "content": row["question"]}]))


def shares(asked: Sequence[Asked]) -> str:
    """How many are right and declined, with intervals."""
    answerable, others = ([one for one in asked if bool(one.file) == is_there] for is_there in (True, False))
    right = bootstrap([float(one.is_right) for one in answerable])
    declined = bootstrap([float(not one.findings.sources) for one in answerable])
    kept = bootstrap([float(one.is_right) for one in others])
    return f"right {right} of {right.n}, declined {declined}; not answered by the notes: declined {kept} of {kept.n}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.notes", description=__doc__)
    parser.add_argument("--all", action="store_true", help="print what is wrong in the folders that were looked at")
    parser.add_argument("--reworded", action="store_true", help="ask in words that the notes do not have")
    given = parser.parse_args(arguments)
    prints_all = given.all
    found: dict[tuple[str, bool], list[Asked]] = {}
    with tempfile.TemporaryDirectory() as root:
        for number, folder in enumerate(read_json(REWORDED if given.reworded else NOTES)):
            asked = list(ask(folder, Path(root) / str(number)))
            found.setdefault((folder["language"], folder["unseen"]), []).extend(asked)
            for one in asked if prints_all and not folder["unseen"] else ():
                if not one.is_right:
                    said = [f"{source.score:.2f} {source.sentence}" for source in one.findings.sources]
                    print(f"{folder['name']}: {one.question} | {one.sentence or 'nothing'} | {said}")
    for (language, is_unseen), asked in sorted(found.items()):
        print(f"{language}, {'unseen' if is_unseen else 'looked at'}: {shares(asked)}")


if __name__ == "__main__":
    main()
