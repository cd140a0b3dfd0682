"""Whole records that are found in damaged archives, beside one library alone, and what no reader could find.

300 mutations of an archive, a quarter each: cut off, a bit turned, up to 300 bytes deleted, up to 300 inserted. A
record counts if it comes out exactly as from the undamaged archive.
"""

import contextlib
import io
import random
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from malmoi.corpus.steps.archive import GZIP, Record, read_archive

N_MUTATIONS = 300
KINDS = ("cut", "flip", "delete", "insert")
Key = tuple[str, bytes]


def mutated(data: bytes, number: int) -> bytes:
    rng, changed = random.Random(number), bytearray(data)
    at, how = rng.randrange(len(data)), number % 4
    if how == 0:
        del changed[at:]
    elif how == 1:
        changed[at] ^= 1 << rng.randrange(8)
    elif how == 2:
        del changed[at : at + rng.randrange(1, 300)]
    else:
        changed[at:at] = rng.randbytes(rng.randrange(1, 300))
    return bytes(changed)


def ours(path: Path) -> list[Key]:
    """What is passed over for its kind counts as well: it was read."""
    keys = []
    for found in read_archive(path):
        if isinstance(found, Record):
            keys.append((found.url, found.body))
        elif found.reason not in ("damaged", "cut short", "not a web archive"):
            keys.append((found.url, found.reason.encode()))
    return keys


def fastwarc_alone(path: Path) -> list[Key]:
    from fastwarc.warc import ArchiveIterator

    found = []
    try:
        with path.open("rb") as file:
            for record in ArchiveIterator(file, parse_http=False):
                body = record.reader.read()
                if len(body) == record.content_length:
                    found.append((record.headers.get("WARC-Target-URI") or "", body))
    except Exception:  # it stops at the first damage
        pass
    return found


def warcio_alone(path: Path) -> list[Key]:
    from warcio.archiveiterator import ArchiveIterator

    found = []
    try:
        with contextlib.redirect_stderr(io.StringIO()), path.open("rb") as file:
            for record in ArchiveIterator(file, no_record_parse=True):
                body = record.raw_stream.read()
                if len(body) == int(record.rec_headers.get_header("Content-Length") or record.length):
                    found.append(
                        (
                            record.rec_headers.get_header("WARC-Target-URI")
                            or record.rec_headers.get_header("uri")
                            or "",
                            body,
                        )
                    )
    except Exception:
        pass
    return found


def members_left(data: bytes, changed: bytes) -> int:
    """Gzip members of the archive, a record each, whose bytes are still there."""
    ends = [at for at in range(len(data)) if data.startswith(GZIP, at)] + [len(data)]
    return sum(data[a:b] in changed for a, b in pairwise(ends))


def measure(archive: Path) -> None:
    data = archive.read_bytes()
    zipped = data.startswith(GZIP)
    readers: dict[str, Callable[[Path], list[Key]]] = {"malmoi": ours}
    readers["warcio alone" if ".arc" in archive.name else "fastwarc alone"] = (
        warcio_alone if ".arc" in archive.name else fastwarc_alone
    )
    whole = {name: set(read(archive)) for name, read in readers.items()}
    shares: dict[str, list[float]] = {name: [] for name in readers}
    left = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / archive.name
        for number in range(N_MUTATIONS):
            path.write_bytes(changed := mutated(data, number))
            for name, read in readers.items():
                shares[name].append(len(whole[name] & set(read(path))) / len(whole[name]))
            if zipped:
                left.append(members_left(data, changed))
    rng = np.random.default_rng(1)
    print(f"{archive.name}: {len(whole['malmoi'])} records, {N_MUTATIONS} mutations; share of whole records found")
    for name, values in shares.items():
        low, high = np.quantile(rng.choice(values, (2000, len(values))).mean(1), (0.025, 0.975))
        by_kind = " ".join(
            f"{kind} {np.mean(values[at::4]):.3f}" for at, kind in enumerate(("cut", "flip", "delete", "insert"))
        )
        print(f"  {name:<15} {np.mean(values):.3f} [{low:.3f}, {high:.3f}]  {by_kind}")
    if zipped:
        n = sum(data.startswith(GZIP, at) for at in range(len(data)))
        print(f"  {'still there':<15} {np.mean(left) / n:.3f} (gzip members whose bytes are all there)")


if __name__ == "__main__":
    import sys

    for given in sys.argv[1:]:
        measure(Path(given))
