"""Memory and time of the search for copies: made-up pages of which a tenth are copies, their bands on disk.

    python -m benchmarks.corpus_memory [--pages 200000] [--folder FOLDER]

As a build does, one band at a time is read from disk (248 bytes a page in all). Pairs that share a band are only
counted: to check them, a build reads their texts, whose size is that of the pages.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from malmoi.corpus.steps import near

SHARED = 0.7
"""Share of the bands that a copy has in common with its page: that of copies with 0.9 of their pieces in common."""


def made_up(path: Path, n: int, seed: int = 1) -> np.ndarray:
    """Write the bands of n pages, the last tenth copies of earlier ones; returns of which. Shape (n / 10,)."""
    rng = np.random.default_rng(seed)
    n_copies = n // 10
    of = rng.integers(0, n - n_copies, n_copies)
    columns = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint64, shape=(near.N_BANDS, n))
    for band in range(near.N_BANDS):
        column = rng.integers(0, 1 << 63, n, dtype=np.uint64)
        shared = rng.random(n_copies) < SHARED
        column[n - n_copies :][shared] = column[of[shared]]
        columns[band] = column
        columns.flush()
    return of


def measure(n: int, folder: Path) -> None:
    path = folder / "bands.npy"
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # whose memory is not counted
        of = pool.submit(made_up, path, n).result()
    first_copy = n - len(of)
    numbers = np.arange(n)
    numbers[first_copy:] = of

    def columns() -> Iterator[np.ndarray]:
        for band in range(near.N_BANDS):
            yield np.load(path, mmap_mode="r")[band].copy()

    before = _peak()
    began, on_clock = time.process_time(), time.monotonic()
    pairs = near.candidates(columns())
    right = int((numbers[pairs[:, 0]] == numbers[pairs[:, 1]]).sum())
    found = len(np.unique(pairs[:, 1][numbers[pairs[:, 0]] == numbers[pairs[:, 1]]]))
    print(f"{n:,} pages, {path.stat().st_size / 1e9:.2f} GB of bands on disk: {len(pairs):,} pairs that share a band, "
          f"{right:,} of them copies; {found:,} of {len(of):,} copies found")  # fmt: skip
    print(f"{time.process_time() - began:.0f} s of processor time, {time.monotonic() - on_clock:.0f} s; largest memory "
          f"{_peak():,.0f} MB, of which {before:,.0f} MB were there before")  # fmt: skip


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="for the bands: 2.5 GB for ten million pages")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        measure(given.pages, Path(scratch))
