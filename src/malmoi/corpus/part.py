"""One part of a corpus: its files are read, and each page is extracted, told its language and judged."""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from malmoi.corpus.form import CLASSIFIER, SAMPLE_CHARS, Counts, Settings
from malmoi.corpus.sources import Source, read_source
from malmoi.corpus.steps import extract as extraction
from malmoi.corpus.steps import language, near, quality
from malmoi.corpus.steps.archive import Record
from malmoi.corpus.steps.learned import Classifier
from malmoi.corpus.steps.page import Dropped, Page
from malmoi.files import open_atomic, to_json, write_bytes, write_json
from malmoi.text import text_digest


def read_part(number: int, sources: Sequence[Source], folder: Path, settings: Settings) -> None:
    """Read, extract, tell the language and judge one part; its counts are written last."""
    counts, stem = Counts(), folder / f"{number:05d}"
    digests, starts, signed, texts = list[bytes](), [0], list[np.ndarray](), list[str]()
    scores, languages = list[float](), list[str]()
    path = folder.parent / CLASSIFIER
    classifier = Classifier.load(path) if settings.labels else None
    # Texts go to the disk one by one: an archive may be larger than memory.
    with open_atomic(stem.with_suffix(".jsonl")) as rows, open_atomic(stem.with_suffix(".dropped")) as gone:

        def drop(one: Dropped) -> None:
            gone.write(to_json(dropped_row(one)).encode() + b"\n")

        for page in pages_in(sources, folder, settings, classifier, counts, drop):
            rows.write(to_json(page.to_row()).encode() + b"\n")
            starts.append(rows.tell())
            digests.append(text_digest(page.text))
            scores.append(page.metadata["steps"][-1]["score"])
            languages.append(page.metadata["language"])
            texts.append(page.text)
            if len(texts) == 500:
                signed.append(_signed(texts, counts))
        signed.append(_signed(texts, counts))
    _write_array(stem.with_suffix(".bands"), np.ascontiguousarray(np.concatenate(signed).T))
    buffer = io.BytesIO()
    np.savez(buffer, digests=np.frombuffer(b"".join(digests), np.uint64).reshape(-1, 2), scores=np.array(scores),
             starts=np.array(starts, np.int64), languages=np.array(languages, "U8"))  # fmt: skip
    write_bytes(stem.with_suffix(".npz"), buffer.getvalue())
    write_json(stem.with_suffix(".json"), counts.to_row())


def _write_array(path: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_bytes(path, buffer.getvalue())


def _signed(texts: list[str], counts: Counts) -> np.ndarray:
    began = time.process_time()
    hashed = near.bands(near.signatures(texts))
    counts.seconds["near"] += time.process_time() - began
    texts.clear()
    return hashed


def dropped_row(one: Dropped) -> dict[str, str]:
    return {"id": one.id, "url": one.url, "step": one.step, "reason": one.reason}


def pages_in(
    sources: Sequence[Source], folder: Path, settings: Settings, classifier: Classifier | None, counts: Counts,
    drop: Callable[[Dropped], None],
) -> Iterator[Page]:  # fmt: skip
    """The pages of files that are kept so far; `drop` is called with the others. folder: for files that are fetched"""
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
            made = found if isinstance(found, Dropped) else _judged(found, source, settings, classifier, counts)
            if isinstance(made, Page):
                yield made
            else:
                counts.drop(made)
                drop(made)


def _judged(
    found: Record | Page, source: Source, settings: Settings, classifier: Classifier | None, counts: Counts
) -> Page | Dropped:
    """Extract, tell the language, judge. Gives the page, or why it is dropped."""
    counts.passing_bytes("read", len(found.body) if isinstance(found, Record) else len(found.text.encode()))
    began = time.process_time()
    page = found if isinstance(found, Page) else _extracted(found, source, settings)
    counts.seconds["extract"] += time.process_time() - began
    if isinstance(page, Dropped):
        return page
    counts.passing("extract", page)
    began = time.process_time()
    name, confidence = language.language_of(page.text)
    counts.seconds["language"] += time.process_time() - began
    page = page.knowing(language=name, origin=page.metadata.get("origin", "unknown"))
    page = page.after("language", confidence=round(confidence, 3))
    if settings.languages and name not in settings.languages:
        return drop(page, "language", f"language {name}")
    counts.passing("language", page)
    began = time.process_time()
    score = quality.score(page.text, name)
    broken = quality.first_broken(page.text, name, settings.rules)
    counts.seconds["quality"] += time.process_time() - began
    if score < settings.min_score:
        return drop(page, "quality", "score of prose")
    if broken:
        return drop(page, "quality", broken)
    page = page.after("quality", score=round(score, 3))
    counts.passing("quality", page)
    if classifier is None:
        return page
    began = time.process_time()
    likely = classifier.of(page.text, name)
    counts.seconds["share"] += time.process_time() - began
    return page.after("classifier", score=round(likely, 4))


def _extracted(record: Record, source: Source, settings: Settings) -> Page | Dropped:
    found = extraction.extract(record, honour=settings.honour_reservations, main=settings.main_text)
    page = Page.of("", source.name, record.offset, record.url)
    if isinstance(found, str):
        return drop(page, "extract", found)
    known = asdict(found)
    text, reader, charset = known.pop("text"), known.pop("reader"), known.pop("charset")
    known["date"] = known["date"] or record.date
    known.pop("language")
    page = Page(text, page.id, page.metadata | {name: value for name, value in known.items() if value})
    return page.after("extract", reader=reader, charset=charset)


def drop(page: Page, step: str, reason: str) -> Dropped:
    return Dropped(step, reason, page.id, page.metadata["url"] or page.metadata["archive"], page.text[:SAMPLE_CHARS])
