"""A corpus from archives of the web: read, extract, language, quality, duplicates, evaluation sets, personal data.

    OUT/data/00000.jsonl.gz     what is kept, in datatrove's row form: text, id, metadata
    OUT/dropped.jsonl.gz        what was dropped: id, address, step, reason
    OUT/ids.npy                 where each kept page is, sorted by its id
    OUT/index.json              counts, settings, and the SHA-256 of each file; written last

Parts are read by several processes, each into files of its own in OUT/parts, so that a build that was killed goes on;
what depends on all parts follows in their order. The same input and settings give the same bytes, whatever the number
of processes. Every page that was read is kept or counted as dropped: if the sum is wrong, nothing is written.
"""

import gzip
import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from malmoi import config, progress
from malmoi.corpus import clean
from malmoi.corpus.documents import Document
from malmoi.corpus.sources import Source, find_sources, parts_of, read_source
from malmoi.corpus.steps import extract as extraction
from malmoi.corpus.steps import language, near, personal, quality
from malmoi.corpus.steps.archive import Record
from malmoi.corpus.steps.contamination import EvaluationSets
from malmoi.corpus.steps.page import Dropped, Page
from malmoi.errors import DataError, UserError
from malmoi.files import folder_atomic, read_json, sha256_of, to_json, write_bytes, write_json, write_jsonl
from malmoi.text import text_digest

INDEX, PLAN, PARTS, DATA, DROPPED, IDS = (
    "index.json", "plan.json", "parts", "data", "dropped.jsonl.gz", "ids.npy"
)  # fmt: skip
STEPS = ("read", "extract", "language", "quality", "near", "lines", "contamination", "personal")
FORM = 1
SAMPLE_CHARS, N_SAMPLES = 600, 20
SHARD_BYTES = 256 << 20
_EACH = np.dtype([("id", "<u8"), ("shard", "<u4"), ("line", "<u4")])


class Settings(config.Settings):
    """How pages become a corpus. Each step can be switched off."""

    languages: tuple[str, ...] = ("ko", "en")
    """Languages to keep, as ISO 639 codes; empty: all."""
    honour_reservations: bool = True
    """Leave out pages whose owner says noai, or reserves text and data mining (TDM)."""
    min_score: float = Field(0.45, ge=0, le=1)
    """Lowest score of prose, from 0 to 1; 0 keeps everything."""
    rules: tuple[Literal["gopher", "repetition", "c4", "fineweb"], ...] = ("gopher", "repetition", "c4", "fineweb")
    """Published rules to apply."""
    near_from: float = Field(0.5, gt=0, le=1)
    """Share of common 12-character pieces from which two texts are copies; 1 keeps all but exact copies."""
    repeated_lines: bool = True
    """Remove lines that many pages of one site repeat."""
    evaluation_sets: tuple[str, ...] = ()
    """Files of evaluation sets, JSON lines; pages that hold 13 words or 50 characters of them in a row are dropped."""
    personal: Literal["mask", "drop", "keep"] = "mask"
    """What to do with personal data, or with the pages that hold some."""


@dataclass
class Counts:
    """What happened to the pages. dropped: step -> reason -> pages; seconds: step -> processor time"""

    n_read: int = 0
    n_bytes: int = 0
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def drop(self, one: Dropped) -> None:
        self.dropped.setdefault(one.step, Counter())[one.reason] += 1
        kept = self.samples.setdefault(one.step, [])
        if len(kept) < N_SAMPLES and one.text:
            kept.append({"url": one.url, "reason": one.reason, "text": one.text[:SAMPLE_CHARS]})

    @property
    def n_dropped(self) -> int:
        return sum(counts.total() for counts in self.dropped.values())

    def add(self, other: "Counts") -> None:
        self.n_read += other.n_read
        self.n_bytes += other.n_bytes
        for step, counts in other.dropped.items():
            self.dropped.setdefault(step, Counter()).update(counts)
        for name in ("seconds", "masked", "damaged"):
            getattr(self, name).update(getattr(other, name))
        for step, rows in other.samples.items():
            self.samples[step] = (self.samples.get(step, []) + rows)[:N_SAMPLES]

    def to_row(self) -> dict[str, Any]:
        return {**vars(self), "dropped": {step: dict(counts) for step, counts in self.dropped.items()}}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Counts":
        dropped = {step: Counter(counts) for step, counts in row["dropped"].items()}
        counted = {name: Counter(row[name]) for name in ("seconds", "masked", "damaged")}
        return cls(row["n_read"], row["n_bytes"], dropped, **counted, samples=row["samples"])


def build(
    given: Sequence[str], out: Path, settings: Settings, n_workers: int = 1, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Build a corpus, or go on with it; returns what `index.json` holds. The caller holds the folder's lock.

    Raises DataError if there is nothing to read or nothing is left, UserError if the folder holds another corpus.
    """
    sources, passed = find_sources(given)
    if not sources:
        said = ", ".join(f"{n} × {name}" for name, n in passed.items()) or "empty"
        raise DataError(f"{' '.join(given)}: nothing to read ({said}); give WARC files, or folders of text")
    parts = parts_of(sources)
    plan = {"form": FORM, "settings": settings.model_dump(mode="json"), "sources": [asdict(one) for one in sources],
            "evaluation_sets": [sha256_of(Path(path)) for path in settings.evaluation_sets]}  # fmt: skip
    if _is_built(out, plan):
        say(f"{out}: built already, from the same sources with the same settings")
        return dict(read_json(out / INDEX))
    write_json(out / PLAN, plan)
    began = time.monotonic()
    for name, n in sorted(passed.items()):
        say(f"not read: {n:,} × {name}")
    _read_parts(parts, out, settings, n_workers)
    counts = Counts()
    for number in range(len(parts)):
        counts.add(Counts.from_row(read_json(out / PARTS / f"{number:05d}.json")))
    index = _finish(out, len(parts), settings, counts)
    index |= {"seconds": round(time.monotonic() - began, 1), "not_read": passed, "n_sources": len(sources)}
    write_json(out / INDEX, index | {"plan": plan})
    shutil.rmtree(out / PARTS, ignore_errors=True)
    return index


def _is_built(out: Path, plan: dict[str, Any]) -> bool:
    if not (out / PLAN).exists():
        if out.exists() and any(path.name != ".lock" for path in out.iterdir()):
            raise UserError(f"{out}: holds something else than a corpus; choose an empty folder")
        return False
    if read_json(out / PLAN) != plan:
        raise UserError(f"{out}: holds a corpus of other sources or settings; choose another folder, or remove this one")
    return (out / INDEX).exists()


def _read_parts(parts: Sequence[Sequence[Source]], out: Path, settings: Settings, n_workers: int) -> None:
    folder = out / PARTS
    waiting = [number for number in range(len(parts)) if not (folder / f"{number:05d}.json").exists()]
    done = len(parts) - len(waiting)
    progress.report(done, len(parts), "parts")
    if n_workers <= 1 or len(waiting) <= 1:
        for number in waiting:
            read_part(number, parts[number], folder, settings)
            done += 1
            progress.report(done, len(parts), "parts")
        return
    with ProcessPoolExecutor(min(n_workers, len(waiting)), get_context("spawn")) as pool:
        jobs = {pool.submit(read_part, number, parts[number], folder, settings): number for number in waiting}
        try:
            for job in as_completed(jobs):
                job.result()
                done += 1
                progress.report(done, len(parts), "parts")
        except BrokenProcessPool:
            raise UserError(f"{out}: a process that reads was killed (memory?); run the same command again, with fewer "
                            "--workers") from None  # fmt: skip
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def read_part(number: int, sources: Sequence[Source], folder: Path, settings: Settings) -> None:
    """Read, extract, tell the language and judge one part; its counts are written last."""
    counts, dropped = Counts(), list[Dropped]()
    digests, starts, signed, texts = list[bytes](), [0], list[np.ndarray](), list[str]()
    rows = io.BytesIO()
    for page in _pages(sources, folder, settings, counts, dropped):
        rows.write(to_json(page.to_row()).encode() + b"\n")
        starts.append(rows.tell())
        digests.append(text_digest(page.text))
        texts.append(page.text)
        if len(texts) == 500:
            signed.append(_signed(texts, counts))
    signed.append(_signed(texts, counts))
    stem = folder / f"{number:05d}"
    write_bytes(stem.with_suffix(".jsonl"), rows.getvalue())
    write_jsonl(stem.with_suffix(".dropped"), (_dropped_row(one) for one in dropped))
    buffer = io.BytesIO()
    np.savez(buffer, digests=np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1 if digests else 0),
             starts=np.array(starts, np.int64), bands=np.concatenate(signed))  # fmt: skip
    write_bytes(stem.with_suffix(".npz"), buffer.getvalue())
    write_json(stem.with_suffix(".json"), counts.to_row())


def _signed(texts: list[str], counts: Counts) -> np.ndarray:
    began = time.process_time()
    hashed = near.bands(near.signatures(texts))
    counts.seconds["near"] += time.process_time() - began
    texts.clear()
    return hashed


def _dropped_row(one: Dropped) -> dict[str, str]:
    return {"id": one.id, "url": one.url, "step": one.step, "reason": one.reason}


def _pages(
    sources: Sequence[Source], folder: Path, settings: Settings, counts: Counts, dropped: list[Dropped]
) -> Iterator[Page]:
    """The pages of a part that are kept so far."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        stream = read_source(source, folder)
        counts.n_bytes += source.n_bytes
        while True:
            began = time.process_time()
            found = next(stream, None)
            counts.seconds["read"] += time.process_time() - began
            if found is None:
                break
            if isinstance(found, Dropped) and found.reason == "damaged":
                counts.damaged[source.name] += 1  # not a page: what is lost cannot be counted
                continue
            counts.n_read += 1
            made = found if isinstance(found, Dropped) else _judged(found, source, settings, counts)
            if isinstance(made, Page):
                yield made
            else:
                counts.drop(made)
                dropped.append(made)


def _judged(found: Record | Page, source: Source, settings: Settings, counts: Counts) -> Page | Dropped:
    """Extract, tell the language, judge. Gives the page, or why it is dropped."""
    began = time.process_time()
    page = found if isinstance(found, Page) else _extracted(found, source, settings)
    counts.seconds["extract"] += time.process_time() - began
    if isinstance(page, Dropped):
        return page
    began = time.process_time()
    name, confidence = language.language_of(page.text)
    counts.seconds["language"] += time.process_time() - began
    page = page.knowing(language=name, origin=page.metadata.get("origin", "unknown"))
    page = page.after("language", confidence=round(confidence, 3))
    if settings.languages and name not in settings.languages:
        return _drop(page, "language", f"language {name}")
    began = time.process_time()
    score = quality.score(page.text, name)
    broken = quality.first_broken(page.text, name, settings.rules)
    counts.seconds["quality"] += time.process_time() - began
    if score < settings.min_score:
        return _drop(page, "quality", "score of prose")
    if broken:
        return _drop(page, "quality", broken)
    return page.after("quality", score=round(score, 3))


def _extracted(record: Record, source: Source, settings: Settings) -> Page | Dropped:
    found = extraction.extract(record, honour=settings.honour_reservations)
    page = Page.of("", source.name, record.offset, record.url)
    if isinstance(found, str):
        return _drop(page, "extract", found)
    known = asdict(found)
    text, reader, charset = known.pop("text"), known.pop("reader"), known.pop("charset")
    known["date"] = known["date"] or record.date
    known.pop("language")
    page = Page(text, page.id, page.metadata | {name: value for name, value in known.items() if value})
    return page.after("extract", reader=reader, charset=charset)


def _drop(page: Page, step: str, reason: str) -> Dropped:
    return Dropped(step, reason, page.id, page.metadata["url"] or page.metadata["archive"], page.text[:SAMPLE_CHARS])


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


def _finish(out: Path, n_parts: int, settings: Settings, counts: Counts) -> dict[str, Any]:
    """What depends on all parts: copies, repeated lines, evaluation sets; then personal data, and the shards."""
    parts = _Parts(out / PARTS, n_parts)
    dropped = [row for number in range(n_parts) for row in _read_dropped(out / PARTS / f"{number:05d}.dropped")]
    began = time.process_time()
    copy_of = _copies(parts, settings)
    counts.seconds["near"] += time.process_time() - began

    def drop(page: Page, step: str, reason: str) -> None:
        one = _drop(page, step, reason)
        counts.drop(one)
        dropped.append(_dropped_row(one))

    for number, (original, how) in sorted(copy_of.items()):
        drop(parts[number], "near", f"{how} copy of another page")
        dropped[-1]["copy_of"] = parts[original].id
    kept = [number for number in range(len(parts)) if number not in copy_of]
    pages = _cleaned(parts, kept, settings, counts, drop)
    with folder_atomic(out / DATA) as folder:
        shards, where, told = _write_shards(folder, pages)
    if counts.n_read != len(where) + counts.n_dropped:
        shutil.rmtree(out / DATA)
        raise RuntimeError(f"{counts.n_read} pages read, but {len(where)} kept and {counts.n_dropped} dropped")
    if not len(where):
        shutil.rmtree(out / DATA)
        raise DataError(f"{out}: no page is left of {counts.n_read:,}: {_most_dropped(counts)}")
    _write_gzip(out / DROPPED, (to_json(row).encode() + b"\n" for row in dropped))
    buffer = io.BytesIO()
    np.save(buffer, np.sort(where, order="id"))
    write_bytes(out / IDS, buffer.getvalue())
    return {"n_read": counts.n_read, "n_bytes": counts.n_bytes, "n_kept": len(where), "shards": shards, **told,
            **{key: value for key, value in counts.to_row().items() if key not in ("n_read", "n_bytes", "seconds")},
            "cpu_seconds": {step: round(s, 2) for step, s in counts.seconds.items()}}  # fmt: skip


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


def _write_shards(folder: Path, pages: Iterator[Page]) -> tuple[list[dict[str, Any]], np.ndarray, dict[str, Any]]:
    """Write the pages; returns the shards, where each page is, and what the report tells of them."""
    shards, where = list[dict[str, Any]](), list[tuple[int, int, int]]()
    languages, licenses, domains, lengths = Counter[str](), Counter[str](), Counter[str](), list[int]()
    samples, n_text = list[dict[str, str]](), 0
    rows: list[bytes] = []

    def flush() -> None:
        path = folder / f"{len(shards):05d}.jsonl.gz"
        _write_gzip(path, rows)
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
    told = {"n_text_bytes": n_text, "languages": dict(languages.most_common()), "licenses": dict(licenses.most_common()),
            "domains": dict(domains.most_common(30)), "kept_samples": samples,
            "lengths": [int(x) for x in np.percentile(lengths, (5, 25, 50, 75, 95))] if lengths else []}  # fmt: skip
    return shards, np.array(where, _EACH), told


def _write_gzip(path: Path, rows: Iterator[bytes] | list[bytes]) -> None:
    """Without a time stamp or a name, so that equal rows give equal bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as file:
        for row in rows:
            file.write(row)
    write_bytes(path, buffer.getvalue())

