"""`python -m benchmarks.notes`: how often plain questions about short notes get the right sentence.

Folders of a few notes each (`notes.json`), written for the development of look-up, in English and Korean. Each question
has its file and a piece of the sentence that answers it; others are answered by nothing there and have to be declined.
Of the folders that are marked unseen only totals were looked at until everything was set; their failures are not
printed. `--all` prints the failures of the others. `--reworded` asks in words that the notes do not have, in
Korean (`notes_reworded.json`). `--fresh` takes ten Korean folders whose writer had seen nothing of the program
(`notes_fresh.json`); of five of them the failures were read after all had been asked once. `--blind` takes twelve
Korean and four English folders of another such writer (`notes_blind.json`), whose questions are of three kinds: plain,
reworded, and why; of eight of them the failures were read after all had been asked once. `--beside` takes two Korean
and two English folders whose unanswerable questions are about the same things as the others. `--four` takes 33 Korean
and twelve English folders of four more writers who did not see the program, with tables and lists; four of six
unanswerable questions are about the same things as the others. The failures of three writers were read after all had
been asked once. `--elsewhere` asks each folder every third question about the others in its language, which it does not
answer.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from malmoi.corpus.documents import Document
from malmoi.evals.interval import bootstrap
from malmoi.files import read_json
from malmoi.retrieval.findings import Findings, Source
from malmoi.retrieval.index import Index, build_index
from malmoi.retrieval.lookup import Lookup

NOTES = Path(__file__).with_suffix(".json")
EVERY = 3
OTHERS = {name: NOTES.with_name(f"notes_{name}.json") for name in ("reworded", "fresh", "blind", "beside", "four")}


@dataclass(frozen=True)
class Asked:
    """A question with what was found for it.

    file, sentence: what answers it, "" if nothing does
    kind: of question, such as "why", "" where the folder does not say
    """

    question: str
    file: str
    sentence: str
    findings: Findings
    kind: str = ""

    @property
    def is_right(self) -> bool:
        sources = self.findings.sources
        if not self.file:
            return not sources
        return bool(sources) and self._is_it(sources[0])

    @property
    def is_offered(self) -> bool:
        """Whether nothing answers for sure, and a sentence is shown as the nearest: the right one, if there is one."""
        return any(not self.file or self._is_it(source) for source in self.findings.closest)

    def _is_it(self, source: Source) -> bool:
        return source.passage.file == self.file and self.sentence in source.sentence


def ask(folder: dict[str, Any], path: Path) -> Iterator[Asked]:
    """All questions of a folder of notes. path: where its index is made"""
    build_index([Document(text, file, line=1) for file, text in folder["files"].items()], path)
    lookup = Lookup(Index.open(path))
    nothing = [{"question": question, "file": "", "sentence": ""} for question in folder["unanswered"]]
    for row in (*folder["questions"], *nothing):
        yield Asked(**row, findings=lookup.find([{"role": "user", "content": row["question"]}]))


def ask_elsewhere(folders: Sequence[dict[str, Any]], root: Path) -> Iterator[Asked]:
    """Every third question of each folder, asked of the others in its language. root: where indexes are made"""
    for number, here in enumerate(folders):
        others = [one for one in folders if one["language"] == here["language"] and one is not here]
        rows = ([*(row["question"] for row in one["questions"]), *one["unanswered"]][::EVERY] for one in others)
        yield from ask({**here, "questions": [], "unanswered": chain.from_iterable(rows)}, root / str(number))


def shares(asked: Sequence[Asked]) -> str:
    """How many are right, declined, and declined with a sentence as the nearest, with intervals."""
    answerable, others = ([one for one in asked if bool(one.file) == is_there] for is_there in (True, False))
    right = bootstrap([float(one.is_right) for one in answerable])
    declined = bootstrap([float(not one.findings.sources) for one in answerable])
    kept = bootstrap([float(one.is_right) for one in others])
    offered, near = (bootstrap([float(one.is_offered) for one in some]) for some in (answerable, others))
    return (
        f"right {right} of {right.n}, declined {declined}, with the right sentence as the nearest {offered}; "
        f"not answered by the notes: declined {kept} of {kept.n}, with a nearest sentence {near}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.notes", description=__doc__)
    parser.add_argument("--all", action="store_true", help="print what is wrong in the folders that were looked at")
    parser.add_argument("--reworded", action="store_true", help="ask in words that the notes do not have")
    parser.add_argument("--fresh", action="store_true", help="folders of a writer who did not know the program")
    parser.add_argument("--blind", action="store_true", help="folders of another such writer, by kind of question")
    parser.add_argument("--beside", action="store_true", help="what nothing answers is about the same things")
    parser.add_argument("--four", action="store_true", help="folders of four more such writers")
    parser.add_argument("--elsewhere", action="store_true", help="ask each folder what the others answer")
    given = parser.parse_args(arguments)
    if given.elsewhere:
        with tempfile.TemporaryDirectory() as root:
            asked = list(ask_elsewhere([*read_json(NOTES), *read_json(OTHERS["reworded"])], Path(root)))
        answered = bootstrap([float(bool(one.findings.sources)) for one in asked])
        near = bootstrap([float(bool(one.findings.closest)) for one in asked])
        print(f"of {near.n} questions answered {answered}, with a nearest sentence {near}")
        return
    prints_all = given.all
    found: dict[tuple[str, bool], list[Asked]] = {}
    with tempfile.TemporaryDirectory() as root:
        chosen = next((path for name, path in OTHERS.items() if getattr(given, name)), NOTES)
        for number, folder in enumerate(read_json(chosen)):
            asked = list(ask(folder, Path(root) / str(number)))
            found.setdefault((folder["language"], folder["unseen"]), []).extend(asked)
            for one in asked if prints_all and not folder["unseen"] else ():
                if not one.is_right:
                    said = [f"{source.score:.2f} {source.sentence}" for source in one.findings.sources]
                    print(f"{folder['name']}: {one.question} | {one.sentence or 'nothing'} | {said}")
    for (language, is_unseen), asked in sorted(found.items()):
        print(f"{language}, {'unseen' if is_unseen else 'looked at'}: {shares(asked)}")
        for kind in dict.fromkeys(one.kind for one in asked if one.kind):
            right = bootstrap([float(one.is_right) for one in asked if one.kind == kind])
            print(f"  {kind}: right {right} of {right.n}")


if __name__ == "__main__":
    main()
