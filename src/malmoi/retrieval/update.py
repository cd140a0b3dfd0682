"""An index of a folder of files, updated in place: only files that have changed are read again."""

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from malmoi import progress
from malmoi.corpus.documents import Document
from malmoi.corpus.encodings import UTF8
from malmoi.corpus.folder import ReadReport, find_files, read_files
from malmoi.errors import DataError, printable
from malmoi.files import iterate_jsonl, read_json, write_json, write_jsonl
from malmoi.retrieval.contents import Counted, facts_of
from malmoi.retrieval.index import Index
from malmoi.retrieval.passages import passages
from malmoi.retrieval.writer import FACTS, FORMAT, SEARCH, Writer

FILES = "files.jsonl"
"""What is known of each file: its size and time of change, what is in it, and what of it could not be read."""
UNREAD: dict[str, Any] = {**Counted().to_row(), "skipped": {}, "examples": []}
"""What is known of a file that was not read yet."""
DAMAGED = "index that was damaged, and was made again"
SETTLED_NS = 2_000_000_000
"""A file that changed less than this before it was read could change again without getting a later time."""


@dataclass
class Updated:
    """What an update did.

    facts: of the index
    n_changing: files that changed while they were read; the next update reads them again
    report: what was read now, and all that is passed over
    """

    facts: dict[str, Any]
    n_read: int = 0
    n_unchanged: int = 0
    n_removed: int = 0
    n_changing: int = 0
    report: ReadReport = field(default_factory=ReadReport)


def update_index(source: Path, folder: Path, encoding: str | None = None) -> Updated:
    """Make the index of a file or a folder of files, or bring it up to date.

    What cannot be read is passed over and counted. If this is killed, the index stays as it was. Hold a lock: only one
    process may do it.
    encoding: of files that have no byte-order mark and are not UTF-8; None: as the index was made before, else UTF-8
    Raises DataError if there is nothing to read, UserError if the disk is full.
    """
    done = Updated({})
    encoding = _encoding_before(folder) if encoding is None else encoding
    paths = find_files(source, "skip", done.report)
    about = {"format": FORMAT, "source": str(source.resolve()), "encoding": encoding}
    known = _known(folder, about, done.report)
    with Writer(folder / SEARCH) as writer:
        found = {_key(source, path): path for path in paths}
        changed = {key: path for key, path in found.items() if not _is_same(known.get(key), path)}
        gone = known.keys() - found.keys()
        done.n_read, done.n_unchanged, done.n_removed = len(changed), len(found) - len(changed), len(gone)
        if changed or gone or not (folder / FACTS).exists():
            # Whatever stops this: each file of which the index may then have passages is listed, and is read again or
            # removed by the next update.
            unread = {key: {**known.get(key, UNREAD), "changed_ns": None} for key in changed}
            _write_known(folder, known | unread)
            for key in () if writer.is_new else (*changed, *sorted(gone)):
                writer.remove(key)
            rows = known | _read(source, changed, writer, done, encoding)
            known = {key: rows[key] for key in found}
            facts = facts_of(known.items())
            if not facts["passages"]:
                said = ", ".join(f"{n} {reason}" for reason, n in done.report.skipped.items())
                raise DataError(f"{source}: no text in it ({said or 'nothing to read'}); give files with text")
            writer.commit()
            _write_known(folder, known)
            write_json(folder / FACTS, about | facts)
    done.facts = read_json(folder / FACTS)
    for key in (key for key in found if key not in changed):
        done.report.skipped.update(known[key]["skipped"])
        done.report.examples += known[key]["examples"]
    return done


def _encoding_before(folder: Path) -> str:
    with contextlib.suppress(DataError):
        return str(read_json(folder / FACTS).get("encoding", UTF8))
    return UTF8


def _known(folder: Path, about: dict[str, Any], report: ReadReport) -> dict[str, dict[str, Any]]:
    """What is known of the files of an index. An index of another format, or a damaged one, is removed."""
    facts: dict[str, Any] = {}
    with contextlib.suppress(DataError):
        facts = read_json(folder / FACTS)
        if facts["format"] == FORMAT:
            report.notes[DAMAGED] += 1  # unless all of it can be read
            Index.open(folder)
            rows = {row.pop("file"): row for row in iterate_jsonl(folder / FILES)}
            del report.notes[DAMAGED]
            if facts["encoding"] == about["encoding"]:
                return rows
            return {key: {**row, "changed_ns": None} for key, row in rows.items()}
    (folder / FACTS).unlink(missing_ok=True)
    shutil.rmtree(folder / SEARCH, ignore_errors=True)
    return {}


def _write_known(folder: Path, known: dict[str, dict[str, Any]]) -> None:
    write_jsonl(folder / FILES, ({"file": key, **row} for key, row in known.items()))


def _key(root: Path, path: Path) -> str:
    """A file's name below the folder, as passages have it."""
    return printable(path.name if path == root else path.relative_to(root).as_posix())


def _state(path: Path) -> dict[str, int]:
    """What changes when a file is written; {} if there is none."""
    with contextlib.suppress(OSError):
        status = path.stat()
        return {"bytes": status.st_size, "changed_ns": status.st_mtime_ns, "inode": status.st_ino}
    return {}


def _is_same(row: dict[str, Any] | None, path: Path) -> bool:
    return row is not None and bool(state := _state(path)) and state.items() <= row.items()


def _read(
    root: Path, files: dict[str, Path], writer: Writer, done: Updated, encoding: str
) -> dict[str, dict[str, Any]]:
    """Add the passages of the files. Returns what is known of each of them."""
    rows: dict[str, dict[str, Any]] = {}
    counted = {key: Counted() for key in files}
    report, now = done.report, ""

    def each() -> Iterator[Path]:
        """The files, one at a time; when the next one is asked for, all of the last has been read."""
        nonlocal now
        for now, path in files.items():
            before, skipped, n_examples = _state(path), Counter(report.skipped), len(report.examples)
            began = time.time_ns()
            yield path
            after = _state(path)
            is_settled = before == after and began - before.get("changed_ns", began) > SETTLED_NS
            rows[now] = {
                **(before if is_settled else {}),
                **counted[now].to_row(),
                "skipped": dict(report.skipped - skipped),
                "examples": report.examples[n_examples:],
            }
            done.n_changing += after != before
            progress.report(len(rows), len(files), "files")

    def documents() -> Iterator[Document]:
        yield from read_files(root, each(), "skip", report, encoding)

    progress.report(0, len(files), "files")
    for n, passage in enumerate(passages(documents()), start=1):
        writer.add(passage, now)
        counted[now].add(passage)
        if len(files) == 1:  # it may be as large as a hundred thousand others
            progress.report(n, None, "passages")
    return rows
