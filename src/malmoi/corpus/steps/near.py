"""Near-duplicates: copies that differ in some words, in spaces, or in what a site puts around them.

A text is the set of its 12-character shingles without spaces (Korean copies often differ in spacing only). Letters of
scripts that write a syllable or a word in one count as two: else a Korean shingle is four words long, an English one
two and a half, and Korean copies in which every tenth word is another are lost. Texts whose MinHash signatures
(Broder 1997) share one of 31 bands of 4 are compared by their true Jaccard similarity.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

SHINGLE, N_BANDS, N_ROWS = 12, 31, 4
N_PERMUTATIONS = N_BANDS * N_ROWS
WIDE_FROM = 0x1100
"""The first code of Hangul; those of kana, Han, and other scripts of syllables come later."""
MAX_HELD = 256 << 20
"""Bytes of sets of shingles that are held in memory while copies are checked."""
_SPACE = re.compile(r"[\W_]+")
_BASE = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(1 << 32)
"""Marks the second half of a wide letter."""


def shingles(text: str) -> np.ndarray:
    """Sorted distinct 64-bit hashes of a text's shingles. Shape (number of shingles,)."""
    letters = _SPACE.sub("", text.lower())
    codes = np.frombuffer(letters.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    if not len(codes):
        return np.zeros(0, np.uint64)
    starts = np.arange(len(codes))
    wide = codes >= WIDE_FROM
    if wide.any():
        width = 1 + wide
        starts = np.cumsum(width) - width
        codes = np.repeat(codes, width)
        codes[starts[wide] + 1] |= _HALF
    n = max(1, len(codes) - SHINGLE + 1)
    hashed = np.zeros(n, np.uint64)
    with np.errstate(over="ignore"):
        for at in range(min(SHINGLE, len(codes))):
            hashed = (hashed ^ codes[at : at + n]) * _BASE
            hashed ^= hashed >> np.uint64(29)
    found = np.sort(hashed[starts[starts < n]])
    return found[np.append(True, found[1:] != found[:-1])]  # twice as fast as np.unique


def signatures(texts: Sequence[str]) -> np.ndarray:
    """MinHash signatures of texts, computed by rensa. Shape (texts, 124), uint32."""
    from rensa import RMinHash

    sets = [shingles(text) for text in texts]
    ends = np.cumsum([0, *map(len, sets)]).astype(np.uint64)
    flat = np.concatenate([np.zeros(0, np.uint64), *sets])
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, ends, N_PERMUTATIONS, 42)
    return np.array(matrix.to_rows(), dtype=np.uint32).reshape(len(texts), N_PERMUTATIONS)


def bands(signature: np.ndarray) -> np.ndarray:
    """One 64-bit hash for each band. (N, 124) -> (N, 31)."""
    parts = signature.reshape(len(signature), N_BANDS, N_ROWS).astype(np.uint64)
    hashed = np.zeros(parts.shape[:2], np.uint64)
    with np.errstate(over="ignore"):
        for row in range(N_ROWS):
            hashed = (hashed ^ parts[:, :, row]) * _BASE
            hashed ^= hashed >> np.uint64(31)
    return hashed


def candidates(columns: Iterable[np.ndarray]) -> np.ndarray:
    """(earlier, later) of texts that share a band with another, sorted by the later, then the earlier. Shape (P, 2).

    columns: the hashes of all texts for one band after the other, each of shape (N,). Of the texts that share one, each
    is paired with the first. At any time one column is in memory, and 8 bytes for each pair.
    """
    found = np.zeros(0, np.uint64)
    for column in columns:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        begins = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
        first = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]]
        later, earlier = order[~begins].astype(np.uint64), first[~begins].astype(np.uint64)
        found = np.union1d(found, (later << np.uint64(32)) | earlier)
    return np.stack([found & np.uint64(0xFFFFFFFF), found >> np.uint64(32)], 1).astype(np.int64)


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Of two sorted sets of hashes."""
    if not len(a) or not len(b):
        return 0.0
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


def copies(columns: Iterable[np.ndarray], text_of: Callable[[int], str], least: float) -> dict[int, int]:
    """Later copy -> the earlier text that it is a copy of, which is kept.

    columns: as for `candidates`, of texts in their order; least: true Jaccard similarity from which two are copies
    The result depends only on the order of the texts.
    """
    kept_of: dict[int, int] = {}
    sets: dict[int, np.ndarray] = {}
    held = 0

    def set_of(number: int) -> np.ndarray:
        nonlocal held
        if number not in sets:
            if held > MAX_HELD:
                sets.clear()
                held = 0
            sets[number] = shingles(text_of(number))
            held += sets[number].nbytes
        return sets[number]

    for earlier, later in map(np.ndarray.tolist, candidates(columns)):
        if later in kept_of:
            continue
        first = kept_of.get(earlier, earlier)
        for other in dict.fromkeys((first, earlier)):
            if other not in kept_of and jaccard(set_of(other), set_of(later)) >= least:
                kept_of[later] = other
                break
    return kept_of
