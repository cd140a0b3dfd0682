"""What depends on all parts: copies, repeated lines, evaluation sets; then personal data, and the shards."""

import contextlib
import gzip
import io
import json
import math
import shutil
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from malmoi.corpus import clean
from malmoi.corpus.documents import Document
from malmoi.corpus.form import DATA, DROPPED, IDS, PARTS, Counts, Settings
from malmoi.corpus.part import drop as dropping
from malmoi.corpus.part import dropped_row
from malmoi.corpus.steps import extract as extraction
from malmoi.corpus.steps import near, personal
from malmoi.corpus.steps.contamination import EvaluationSets
from malmoi.corpus.steps.page import Page
from malmoi.errors import DataError
from malmoi.files import folder_atomic, open_atomic, sha256_of, to_json, write_bytes

SHARD_BYTES = 256 << 20
_EACH = np.dtype([("id", "<u8"), ("shard", "<u4"), ("line", "<u4")])


class _Parts:
    """The pages of all parts, by number in their order. Of each page some numbers are in memory, no text."""

    def __init__(self, folder: Path, n: int) -> None:
        self.paths = [folder / f"{number:05d}.jsonl" for number in range(n)]
        loaded = list[dict[str, np.ndarray]]()
        for path in self.paths:
            with np.load(path.with_suffix(".npz")) as part:
                loaded.append(dict(part))
        self.starts = [part["starts"] for part in loaded]
        self.digests, self.scores, self.languages = (
            np.concatenate([part[name] for part in loaded]) for name in ("digests", "scores", "languages")
        )
        self.first = np.cumsum([0, *(len(starts) - 1 for starts in self.starts)])
        self._open: tuple[Path | None, IO[bytes]] = (None, io.BytesIO())

    def __len__(self) -> int:
        return int(self.first[-1])

    def __getitem__(self, number: int) -> Page:
        part = int(np.searchsorted(self.first, number, "right")) - 1
        at = number - int(self.first[part])
        start, end = int(self.starts[part][at]), int(self.starts[part][at + 1])
        file = self._file(self.paths[part])
        file.seek(start)
        return Page.from_row(json.loads(file.read(end - start)))

    def _file(self, path: Path) -> IO[bytes]:
        """The file of a part; the last one stays open, since pages are mostly asked for in their order."""
        last, file = self._open
        if path != last:
            file.close()
            file = path.open("rb")
            self._open = (path, file)
        return file

    def close(self) -> None:
        self._open[1].close()

    def columns(self, chosen: np.ndarray) -> Iterator[np.ndarray]:
        """The hashes of one band after the other, of some pages; from disk, one in memory at a time."""
        for band in range(near.N_BANDS):
            stored = (np.load(path.with_suffix(".bands"), mmap_mode="r")[band].copy() for path in self.paths)
            yield np.concatenate(list(stored))[chosen]


class NothingLeftError(DataError):
    """No page was worth keeping."""


def finish(out: Path, n_parts: int, settings: Settings, counts: Counts) -> dict[str, Any]:
    """Finish a corpus whose parts have been read; returns what its index tells. Raises NothingLeftError."""
    with contextlib.closing(_Parts(out / PARTS, n_parts)) as parts, _gzipped(out / DROPPED) as gone:
        for number in range(n_parts):
            with (out / PARTS / f"{number:05d}.dropped").open("rb") as file:
                shutil.copyfileobj(file, gone)

        def drop(page: Page, step: str, reason: str, **more: str) -> None:
            one = dropping(page, step, reason)
            counts.drop(one)
            gone.write(to_json(dropped_row(one) | more).encode() + b"\n")

        kept = _without_copies(parts, _best(parts, settings, counts, drop), settings, counts, drop)
        pages = _cleaned(parts, kept.tolist(), settings, counts, drop)
        with folder_atomic(out / DATA) as folder:
            shards, where, told = write_shards(folder, pages)
        if counts.n_read != len(where) + counts.n_dropped:
            shutil.rmtree(out / DATA)
            raise RuntimeError(f"{counts.n_read} pages read, but {len(where)} kept and {counts.n_dropped} dropped")
        if not len(where):
            shutil.rmtree(out / DATA)
            raise NothingLeftError(
                f"{out}: no page is left of {counts.n_read:,} records ({_most_dropped(counts)}); give more pages, or "
                "change a setting with --set"
            )
    buffer = io.BytesIO()
    np.save(buffer, np.sort(where, order="id"))
    write_bytes(out / IDS, buffer.getvalue())
    return {
        "n_read": counts.n_read,
        "n_bytes": counts.n_bytes,
        "n_kept": len(where),
        "shards": shards,
        **told,
        **{name: value for name, value in counts.to_row().items() if name not in ("n_read", "n_bytes", "seconds")},
    }


def _most_dropped(counts: Counts) -> str:
    # What is no page (requests, warcinfo) is in every archive, and says nothing about why no page is left.
    every = Counter({f"{step}: {reason}": n for step, found in counts.dropped.items() for reason, n in found.items()
                     if not reason.startswith("a record of kind ")})  # fmt: skip
    said = [f"{n:,} × {reason}" for reason, n in every.most_common(5)]
    if counts.damaged:
        some = ", ".join(name for name, _ in counts.damaged.most_common(3))
        said.append(f"{len(counts.damaged):,} × damaged, or not what its name says: {some}")
    return ", ".join(said) or "it has no pages"


class _Drop(Protocol):
    def __call__(self, page: Page, step: str, reason: str, **more: str) -> None: ...


def _best(parts: _Parts, settings: Settings, counts: Counts, drop: _Drop) -> np.ndarray:
    """Numbers of the pages that are kept for their scores: the wanted share of each language, or the likely ones."""
    keep = np.ones(len(parts), bool)
    if settings.keep_share is not None:
        for name in np.unique(parts.languages):
            of_one = np.flatnonzero(parts.languages == name)
            order = of_one[np.argsort(-parts.scores[of_one], kind="stable")]
            keep[order[math.ceil(settings.keep_share * len(order)) :]] = False
        reason = f"below the best {settings.keep_share:.0%}"
    elif settings.labels:
        keep = parts.scores >= 0.5
        reason = "classifier: rather to drop"
    for number in np.flatnonzero(~keep).tolist():
        drop(parts[number], "share", reason)
    if settings.labels or settings.keep_share is not None:
        for number in np.flatnonzero(keep).tolist():
            counts.passing("share", parts[number])
    return np.flatnonzero(keep)


def _without_copies(parts: _Parts, kept: np.ndarray, settings: Settings, counts: Counts, drop: _Drop) -> np.ndarray:
    """Numbers of the pages that are no copy of an earlier one."""
    if not settings.drop_copies:
        return kept
    began = time.process_time()
    _, first, of_text = np.unique(parts.digests[kept], axis=0, return_index=True, return_inverse=True)
    original = kept[first[of_text.reshape(-1)]]
    exact = original != kept
    rest = kept[~exact]
    alike = dict[int, int]()
    if settings.near_from < 1:
        alike = near.copies(parts.columns(rest), lambda at: parts[int(rest[at])].text, settings.near_from)
    counts.seconds["near"] += time.process_time() - began
    found = dict(zip(kept[exact].tolist(), original[exact].tolist(), strict=True))
    near_ones = {int(rest[later]): int(rest[earlier]) for later, earlier in alike.items()}
    for number, earlier in sorted((found | near_ones).items()):
        kind = "an exact" if number in found else "a near"
        drop(parts[number], "near", f"{kind} copy of another page", copy_of=parts[earlier].id)
    return np.array([number for number in rest.tolist() if number not in near_ones], np.int64)


def _cleaned(parts: _Parts, kept: Sequence[int], settings: Settings, counts: Counts, drop: _Drop) -> Iterator[Page]:
    sets = EvaluationSets.read(map(Path, settings.evaluation_sets)) if settings.evaluation_sets else None
    for page in _without_repeated_lines(parts, kept, settings, counts, drop):
        counts.passing("lines", page)
        began = time.process_time()
        found_in = sets.found_in(page.text) if sets is not None else ""
        counts.seconds["contamination"] += time.process_time() - began
        if found_in:
            drop(page, "contamination", f"text of {found_in}")
            continue
        counts.passing("contamination", page)
        if settings.personal == "keep":
            counts.passing("personal", page)
            yield page
            continue
        began = time.process_time()
        text, masked = personal.masked(page.text)
        counts.seconds["personal"] += time.process_time() - began
        if masked and settings.personal == "drop":
            drop(page, "personal", f"{next(iter(masked))} in it")
            continue
        counts.masked.update(masked)
        page = page.after("personal", text, masked=dict(masked)) if masked else page
        counts.passing("personal", page)
        yield page


def _without_repeated_lines(
    parts: _Parts, kept: Sequence[int], settings: Settings, counts: Counts, drop: _Drop
) -> Iterator[Page]:
    if not settings.repeated_lines:
        for number in kept:
            counts.passing("near", page := parts[number])
            yield page
        return

    def documents() -> Iterator[Document]:
        return (parts[number].to_document() for number in kept)

    cleaned = clean.drop_boilerplate(documents, extraction.MIN_CHARS)
    following = next(cleaned, None)
    for number in kept:
        page = parts[number]
        counts.passing("near", page)
        if following is None or following.id != page.id:
            drop(page, "lines", "little but lines that the site repeats")
            continue
        n_lines = page.text.count("\n") - following.text.count("\n")
        yield page.after("lines", following.text, removed=n_lines) if following.text != page.text else page
        following = next(cleaned, None)


def write_shards(folder: Path, pages: Iterator[Page]) -> tuple[list[dict[str, Any]], np.ndarray, dict[str, Any]]:
    """Write the pages into a folder; returns the shards, where each page is, and what the report tells of them."""
    shards, where = list[dict[str, Any]](), array("Q")
    languages, licenses, domains = Counter[str](), Counter[str](), Counter[str]()
    lengths, n_text = array("I"), 0
    following = iter(pages)
    while (first := next(following, None)) is not None:
        path = folder / f"{len(shards):05d}.jsonl.gz"
        held = n_rows = 0
        with _gzipped(path) as file:
            for page in chain([first], following):
                row = to_json(page.to_row()).encode() + b"\n"
                file.write(row)
                where.extend((int(page.id, 16), n_rows << 32 | len(shards)))
                held, n_rows = held + len(row), n_rows + 1
                known = page.metadata
                languages[known["language"]] += 1
                licenses[known.get("license", "unknown")] += 1
                domains[clean.family(known["url"]) if "://" in known["url"] else known["archive"]] += 1
                lengths.append(len(page.text))
                n_text += len(page.text.encode())
                if held > SHARD_BYTES:
                    break
        shards.append({"file": f"{DATA}/{path.name}", "rows": n_rows, "sha256": sha256_of(path)})
    told = {"n_text_bytes": n_text, "languages": dict(languages.most_common()),
            "licenses": dict(licenses.most_common()),
            "domains": dict(domains.most_common(30)), "n_domains": len(domains),
            "lengths": [int(x) for x in np.percentile(lengths, (5, 25, 50, 75, 95))] if lengths else [],
            "lengths_by_power": _by_power(np.array(lengths))}  # fmt: skip
    return shards, np.frombuffer(where, _EACH) if where else np.zeros(0, _EACH), told


def _by_power(lengths: np.ndarray) -> dict[str, int]:
    """Least length, a power of two -> pages of this length and less than twice as much."""
    powers = np.floor(np.log2(np.maximum(lengths, 1))).astype(int)
    return {
        str(1 << power): int((powers == power).sum())
        for power in range(powers.min(initial=99), powers.max(initial=0) + 1)
    }


@contextlib.contextmanager
def _gzipped(path: Path) -> Iterator[IO[bytes]]:
    """A gzipped file to write, which appears when the block ends; equal rows give equal bytes."""
    with open_atomic(path) as raw, gzip.GzipFile("", "wb", 6, raw, 0) as file:
        yield file  # type: ignore[misc]


def write_gzip(path: Path, rows: Iterable[bytes]) -> None:
    """Without a time stamp or a name, so that equal rows give equal bytes."""
    with _gzipped(path) as file:
        for row in rows:
            file.write(row)
