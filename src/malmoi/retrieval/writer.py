"""Passages go into an index and out of it. Nobody sees a change before it is committed."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tantivy

from malmoi.errors import BusyError, UserError
from malmoi.files import disk_errors, read_json, sha256_of, write_json
from malmoi.retrieval.passages import Passage
from malmoi.retrieval.terms import terms

_PROBE = "How does os.path.join(a, b) join 2,000 pathnames in readFile? 경로를 이어 붙이는 방법은 물을 마시며 배운다."
FORMAT = f"2 {hashlib.sha256(' '.join(terms(_PROBE)).encode()).hexdigest()[:8]}"
"""Of the files on disk, and of the terms in them. An index of another format is made again."""
FACTS, SEARCH = "index.json", "search"
"""Names in an index's folder."""
HEAP_BYTES = 128_000_000
"""Memory for terms that are not yet written, used as needed. More is no faster."""
FREE_BYTES = 20_000_000
"""With less room than this on the disk, a writer that stopped is taken to have stopped for that."""


def schema() -> tantivy.Schema:
    """terms: of heading and text; heading: of only the heading; key: of the file, to remove it; row: the passage."""
    fields = tantivy.SchemaBuilder()
    fields.add_text_field("terms", tokenizer_name="terms", index_option="freq")
    fields.add_text_field("heading", tokenizer_name="terms", index_option="freq")
    fields.add_text_field("key", tokenizer_name="raw", index_option="basic")
    fields.add_bytes_field("row", stored=True)
    return fields.build()


class Writer:
    """Adds and removes passages of an index; a context. What was not committed when it ends is dropped.

    There is one at a time: raises BusyError if another process has one for this folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._text = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.whitespace()).build()

    def __enter__(self) -> "Writer":
        with _errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            index = tantivy.Index(schema(), str(self.folder))
            index.register_tokenizer("terms", self._text)
            self._writer = _empty_writer(index)
            self.is_new = index.searcher().num_docs == 0
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        del self._writer
        if kind is not None:
            with contextlib.suppress(ValueError):  # the error that ended it says what is wrong
                _empty_writer(tantivy.Index.open(str(self.folder)))

    def add(self, passage: Passage, key: str) -> None:
        """key: what the passage is removed by"""
        heading = terms(passage.heading)
        found = tantivy.Document()
        found.add_text("terms", " ".join(heading + terms(passage.text)))
        found.add_text("heading", " ".join(heading))
        found.add_text("key", key)
        found.add_bytes("row", json.dumps(list(vars(passage).values()), ensure_ascii=False).encode())
        with _errors(self.folder):
            self._writer.add_document(found)

    def remove(self, key: str) -> None:
        """Remove all passages with this key that were added before."""
        with _errors(self.folder):
            self._writer.delete_documents_by_term("key", key)

    def commit(self) -> None:
        """Let readers that open the index from now on see the changes."""
        with _errors(self.folder):
            self._writer.commit()
            self._writer.wait_merging_threads()
            # tantivy lets only the owner read these; others may share the workspace.
            mode = (self.folder / ".tantivy-writer.lock").stat().st_mode
            for name in ("meta.json", ".managed.json"):
                (self.folder / name).chmod(mode)


def _empty_writer(index: tantivy.Index) -> tantivy.IndexWriter:
    """A writer, after what another one left on the disk without committing it has been removed."""
    writer = index.writer(HEAP_BYTES, 1)
    writer.garbage_collect_files()
    return writer


@contextlib.contextmanager
def _errors(folder: Path) -> Iterator[None]:
    """tantivy's errors as ours. Its threads do not tell why they stopped: a full disk is known by its room."""
    try:
        with disk_errors(folder):
            yield
    except ValueError as error:
        said = str(error)
        if "LockBusy" in said or ("Failed to acquire" in said and "WouldBlock" in said):
            raise BusyError(f"{folder.parent}: another process is writing this index; wait for it") from None
        codes = [code for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES) if f"code: {code}," in said]
        if not codes and shutil.disk_usage(folder).free < FREE_BYTES:
            codes = [errno.ENOSPC]
        with disk_errors(folder):
            if codes:
                raise OSError(codes[0], os.strerror(codes[0]), str(folder)) from None
        raise UserError(f"{folder}: cannot be written ({said}); remove {folder.parent} and make it again") from None


def name_by_contents(folder: Path) -> None:
    """Give the files of a new index names that depend on nothing but what is in it. tantivy names them by chance."""
    meta = read_json(folder / "meta.json")
    segments = [(segment, _files_of(folder, segment)) for segment in meta["segments"]]
    segments.sort(key=lambda found: (-found[0]["max_doc"], [sha256_of(path) for path in found[1]]))
    names = ["meta.json"]
    for number, (segment, files) in enumerate(segments):
        name = uuid.UUID(int=number + 1)
        segment["segment_id"] = str(name)
        for file in files:
            file.rename(folder / f"{name.hex}{file.suffix}")
            names.append(f"{name.hex}{file.suffix}")
    write_json(folder / "meta.json", {**meta, "segments": [segment for segment, _ in segments]})
    write_json(folder / ".managed.json", sorted(names))
    for lock in folder.glob(".tantivy-*.lock"):
        lock.unlink()


def _files_of(folder: Path, segment: dict[str, Any]) -> list[Path]:
    return sorted(folder.glob(f"{uuid.UUID(segment['segment_id']).hex}.*"))
