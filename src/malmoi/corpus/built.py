"""A corpus that was built: what is in it, where a page came from, and a next version without some pages."""

import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from malmoi.corpus.addresses import public
from malmoi.corpus.finish import write_gzip, write_shards
from malmoi.corpus.form import DATA, DROPPED, IDS, INDEX, PLAN
from malmoi.corpus.steps.page import Page
from malmoi.errors import DataError, UserError
from malmoi.files import folder_atomic, read_json, to_json, write_bytes, write_json


def open_built(folder: Path) -> dict[str, Any]:
    """What `index.json` holds. Raises DataError if the folder holds no complete corpus."""
    if not (folder / INDEX).exists():
        unfinished = "is not finished; run the same malmoi corpus build again"
        raise DataError(f"{folder}: {unfinished if (folder / PLAN).exists() else 'no corpus in it'}")
    return dict(read_json(folder / INDEX))


def pages_of(folder: Path) -> Iterator[Page]:
    """Every page that was kept, in order."""
    for shard in open_built(folder)["shards"]:
        yield from rows_of_shard(folder / shard["file"])


def rows_of_shard(path: Path) -> Iterator[Page]:
    """The pages of one shard. Raises DataError if it is missing or damaged."""
    try:
        with gzip.open(path, "rb") as file:
            yield from (Page.from_row(json.loads(line)) for line in file)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: missing or damaged ({error}); build the corpus again") from None


def _dropped(folder: Path) -> Iterator[dict[str, str]]:
    with gzip.open(folder / DROPPED, "rb") as file:
        yield from map(json.loads, file)


def trace(folder: Path, id_or_url: str) -> dict[str, Any]:
    """A page by its id or its address: the page with all that is known of it, or which step dropped it and why.

    Raises DataError if nothing of this name was read.
    """
    if not (folder / INDEX).exists() and (Path(id_or_url) / INDEX).exists():
        raise UserError(f"{id_or_url}: is a corpus; the id or the address comes first, then the corpus")
    index, id_or_url = open_built(folder), public(id_or_url)
    page = _by_id(folder, index, id_or_url) or next(
        (page for page in pages_of(folder) if page.metadata["url"] == id_or_url), None
    )
    if page is not None:
        return {"kept": True, **page.to_row()}
    gone = next((row for row in _dropped(folder) if id_or_url in (row["id"], row["url"])), None)
    if gone is None:
        raise DataError(f"{id_or_url}: no page of this id or address was read for {folder}")
    return {"kept": False, **gone}


def _by_id(folder: Path, index: dict[str, Any], name: str) -> Page | None:
    try:
        number = int(name, 16)
    except ValueError:
        return None
    if len(name) != 16:
        return None
    known = np.load(folder / IDS, mmap_mode="r")
    at = int(np.searchsorted(known["id"], np.uint64(number)))
    if at == len(known) or int(known["id"][at]) != number:
        return None
    shard, line = int(known["shard"][at]), int(known["line"][at])
    return next(page for i, page in enumerate(rows_of_shard(folder / index["shards"][shard]["file"])) if i == line)


def remove(
    folder: Path, out: Path, domains: Sequence[str] = (), urls: Sequence[str] = (), ids: Sequence[str] = ()
) -> dict[str, Any]:
    """Write the next version of a corpus into `out`, without the pages of these domains, addresses or ids.

    The old one stays as it is. Returns the new index. Raises DataError if no page fits, UserError if `out` is in use.
    """
    index, urls = open_built(folder), [public(url) for url in urls]
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out}: is not empty; choose another folder for the next version")
    gone: list[dict[str, str]] = []
    found: Counter[str] = Counter()

    def kept() -> Iterator[Page]:
        for page in pages_of(folder):
            name = _named(page.id, page.metadata["url"], domains, urls, ids)
            if not name:
                yield page
                continue
            found[name] += 1
            gone.append({"id": page.id, "url": page.metadata["url"], "step": "remove", "reason": f"removed: {name}"})

    asked = (*domains, *urls, *ids)
    with folder_atomic(out) as new:
        shards, where, told = write_shards(new / DATA, kept())
        if not gone:
            raise DataError(f"{', '.join(asked)}: no page of {folder} fits; nothing was written")
        write_gzip(new / DROPPED, [to_json(row).encode() + b"\n" for row in [*_dropped(folder), *gone]])
        buffer = io.BytesIO()
        np.save(buffer, np.sort(where, order="id"))
        write_bytes(new / IDS, buffer.getvalue())
        dropped = {**index["dropped"], "remove": {f"removed: {name}": n for name, n in found.items()}}
        # A sample of a page that is removed, whether it was kept or dropped then, is removed too.
        samples = {name: {step: [row for row in rows if not _named(row["id"], row["url"], domains, urls, ids)]
                          for step, rows in index[name].items()} for name in ("samples", "kept_samples")}  # fmt: skip
        made = index | told | samples | {"n_kept": len(where), "shards": shards, "dropped": dropped}
        made["removed_from"] = str(folder)
        write_json(new / PLAN, index["plan"] | {"removed": list(asked)})
        write_json(new / INDEX, made)
    return made


def _named(id_: str, url: str, domains: Sequence[str], urls: Sequence[str], ids: Sequence[str]) -> str:
    """Which of the given names fits a page; a domain fits its subdomains too."""
    host = urlsplit(url).hostname or "" if "://" in url else ""
    domain = next((one for one in domains if host == one or host.endswith(f".{one}")), "")
    return domain or (url if url in urls else "") or (id_ if id_ in ids else "")
