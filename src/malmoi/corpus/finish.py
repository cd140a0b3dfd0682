"""What depends on all parts: copies, repeated lines, evaluation sets; then personal data, and the shards."""

import gzip
import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from malmoi.corpus import clean
from malmoi.corpus.documents import Document
from malmoi.corpus.form import DATA, DROPPED, IDS, N_SAMPLES, PARTS, SAMPLE_CHARS, Counts, Settings
from malmoi.corpus.part import drop as dropping
from malmoi.corpus.part import dropped_row
from malmoi.corpus.steps import extract as extraction
from malmoi.corpus.steps import near, personal
from malmoi.corpus.steps.contamination import EvaluationSets
from malmoi.corpus.steps.page import Page
from malmoi.errors import DataError
from malmoi.files import folder_atomic, sha256_of, to_json, write_bytes

SHARD_BYTES = 256 << 20
_EACH = np.dtype([("id", "<u8"), ("shard", "<u4"), ("line", "<u4")])


class _Parts:
    """The pages of all parts, by number in their order."""

    def __init__(self, folder: Path, n: int) -> None:
        self.paths = [folder / f"{number:05d}.jsonl" for number in range(n)]
        loaded = [np.load(path.with_suffix(".npz")) for path in self.paths]
        self.starts = [part["starts"] for part in loaded]
        self.bands = np.concatenate([part["bands"] for part in loaded])
        self.digests = [bytes(row) for part in loaded for row in part["digests"]]
        self.first = np.cumsum([0, *(len(starts) - 1 for starts in self.starts)])

    def __len__(self) -> int:
        return int(self.first[-1])

    def __getitem__(self, number: int) -> Page:
        part = int(np.searchsorted(self.first, number, "right")) - 1
        at = number - int(self.first[part])
        start, end = int(self.starts[part][at]), int(self.starts[part][at + 1])
        with self.paths[part].open("rb") as file:
            file.seek(start)
            return Page.from_row(json.loads(file.read(end - start)))


def finish(out: Path, n_parts: int, settings: Settings, counts: Counts) -> dict[str, Any]:
    """Finish a corpus whose parts have been read; returns what its index tells. Raises DataError if nothing is left."""
    parts = _Parts(out / PARTS, n_parts)
    dropped = [row for number in range(n_parts) for row in _read_dropped(out / PARTS / f"{number:05d}.dropped")]
    began = time.process_time()
    copy_of = _copies(parts, settings)
    counts.seconds["near"] += time.process_time() - began

    def drop(page: Page, step: str, reason: str) -> None:
        one = dropping(page, step, reason)
        counts.drop(one)
        dropped.append(dropped_row(one))

    for number, (original, how) in sorted(copy_of.items()):
        drop(parts[number], "near", f"{how} copy of another page")
        dropped[-1]["copy_of"] = parts[original].id
    kept = [number for number in range(len(parts)) if number not in copy_of]
    pages = _cleaned(parts, kept, settings, counts, drop)
    with folder_atomic(out / DATA) as folder:
        shards, where, told = write_shards(folder, pages)
    if counts.n_read != len(where) + counts.n_dropped:
        shutil.rmtree(out / DATA)
        raise RuntimeError(f"{counts.n_read} pages read, but {len(where)} kept and {counts.n_dropped} dropped")
    if not len(where):
        shutil.rmtree(out / DATA)
        raise DataError(f"{out}: no page is left of {counts.n_read:,}: {_most_dropped(counts)}")
    write_gzip(out / DROPPED, (to_json(row).encode() + b"\n" for row in dropped))
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
    every = Counter({f"{step}: {reason}": n for step, found in counts.dropped.items() for reason, n in found.items()})
    return ", ".join(f"{n:,} × {reason}" for reason, n in every.most_common(3))


def _copies(parts: _Parts, settings: Settings) -> dict[int, tuple[int, str]]:
    """Number of a copy -> the page that is kept, and which kind of copy it is."""
    first: dict[bytes, int] = {}
    exact: dict[int, tuple[int, str]] = {}
    for number, digest in enumerate(parts.digests):
        if (original := first.setdefault(digest, number)) != number:
            exact[number] = (original, "an exact")
    if settings.near_from >= 1:
        return exact
    rest = [number for number in range(len(parts)) if number not in exact]
    alike = near.copies(parts.bands[rest], lambda at: parts[rest[at]].text, settings.near_from)
    return exact | {rest[later]: (rest[earlier], "a near") for later, earlier in alike.items()}


def _cleaned(
    parts: _Parts, kept: Sequence[int], settings: Settings, counts: Counts, drop: Callable[[Page, str, str], None]
) -> Iterator[Page]:
    sets = EvaluationSets.read(map(Path, settings.evaluation_sets)) if settings.evaluation_sets else None
    for page in _without_repeated_lines(parts, kept, settings, drop):
        began = time.process_time()
        found_in = sets.found_in(page.text) if sets is not None else ""
        counts.seconds["contamination"] += time.process_time() - began
        if found_in:
            drop(page, "contamination", f"text of {found_in}")
            continue
        if settings.personal == "keep":
            yield page
            continue
        began = time.process_time()
        text, masked = personal.masked(page.text)
        counts.seconds["personal"] += time.process_time() - began
        if masked and settings.personal == "drop":
            drop(page, "personal", f"{next(iter(masked))} in it")
            continue
        counts.masked.update(masked)
        yield page.after("personal", text, masked=dict(masked)) if masked else page


def _without_repeated_lines(
    parts: _Parts, kept: Sequence[int], settings: Settings, drop: Callable[[Page, str, str], None]
) -> Iterator[Page]:
    if not settings.repeated_lines:
        yield from (parts[number] for number in kept)
        return

    def documents() -> Iterator[Document]:
        return (parts[number].to_document() for number in kept)

    cleaned = clean.drop_boilerplate(documents, extraction.MIN_CHARS)
    following = next(cleaned, None)
    for number in kept:
        page = parts[number]
        if following is None or following.id != page.id:
            drop(page, "lines", "little but lines that the site repeats")
            continue
        n_lines = page.text.count("\n") - following.text.count("\n")
        yield page.after("lines", following.text, removed=n_lines) if following.text != page.text else page
        following = next(cleaned, None)


def _read_dropped(path: Path) -> Iterator[dict[str, str]]:
    with path.open("rb") as file:
        yield from map(json.loads, file)


def write_shards(folder: Path, pages: Iterator[Page]) -> tuple[list[dict[str, Any]], np.ndarray, dict[str, Any]]:
    """Write the pages into a folder; returns the shards, where each page is, and what the report tells of them."""
    shards, where = list[dict[str, Any]](), list[tuple[int, int, int]]()
    languages, licenses, domains, lengths = Counter[str](), Counter[str](), Counter[str](), list[int]()
    samples, n_text = list[dict[str, str]](), 0
    rows: list[bytes] = []

    def flush() -> None:
        path = folder / f"{len(shards):05d}.jsonl.gz"
        write_gzip(path, rows)
        shards.append({"file": f"{DATA}/{path.name}", "rows": len(rows), "sha256": sha256_of(path)})
        rows.clear()

    held = 0
    for page in pages:
        row = to_json(page.to_row()).encode() + b"\n"
        where.append((int(page.id, 16), len(shards), len(rows)))
        rows.append(row)
        held += len(row)
        known = page.metadata
        languages[known["language"]] += 1
        licenses[known.get("license", "unknown")] += 1
        domains[clean.family(known["url"]) if "://" in known["url"] else known["archive"]] += 1
        lengths.append(len(page.text))
        n_text += len(page.text.encode())
        if len(samples) < N_SAMPLES:
            samples.append({"url": known["url"] or known["archive"], "text": page.text[:SAMPLE_CHARS]})
        if held > SHARD_BYTES:
            flush()
            held = 0
    if rows:
        flush()
    told = {"n_text_bytes": n_text, "languages": dict(languages.most_common()),
            "licenses": dict(licenses.most_common()),
            "domains": dict(domains.most_common(30)), "kept_samples": samples,
            "lengths": [int(x) for x in np.percentile(lengths, (5, 25, 50, 75, 95))] if lengths else []}  # fmt: skip
    return shards, np.array(where, _EACH), told


def write_gzip(path: Path, rows: Iterable[bytes]) -> None:
    """Without a time stamp or a name, so that equal rows give equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as file:
        for row in rows:
            file.write(row)
    write_bytes(path, buffer.getvalue())
