"""The steps of `malmoi corpus` on real pages: main text next to trafilatura's default, score of prose and length.

    python -m benchmarks.corpus --pages FOLDER --labels labels.jsonl.gz [--keep texts.jsonl.gz... --drop FOLDER]

FOLDER: `ground-truth.json` ({name: {"url", "articleBody"}}) and `html/NAME.html.gz`, as in Scrapinghub's benchmark of
articles; labels: JSON lines {"text", "label"} (1: keep), as of DCLM. Nothing is trained on either.
"""

import argparse
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks import (
    corpus_personal,
    corpus_personal_fifth,
    corpus_personal_forms,
    corpus_personal_fourth,
    corpus_personal_rules,
    corpus_personal_third,
    corpus_quality,
    corpus_steps,
)
from malmoi.corpus.steps.archive import Record
from malmoi.corpus.steps.extract import Extracted, extract
from malmoi.corpus.steps.personal import find_personal


def f1(found: str, right: str) -> float:
    """Of the words that both have."""
    a, b = (Counter(re.findall(r"\w+", text)) for text in (found, right))
    both = (a & b).total()
    return 2 * both / (a.total() + b.total()) if both else 0.0


def interval(values: Sequence[float], seed: int = 1) -> tuple[float, float, float]:
    """(mean, low, high): bootstrap over pages, 95 %."""
    drawn = np.random.default_rng(seed).choice(np.array(values), (2000, len(values))).mean(1)
    return float(np.mean(values)), *map(float, np.quantile(drawn, (0.025, 0.975)))  # type: ignore[return-value]


def main_text(folder: Path) -> None:
    import trafilatura

    pages = json.loads((folder / "ground-truth.json").read_text("utf-8"))
    ours, theirs, seconds, n_bytes = list[float](), list[float](), 0.0, 0
    for name, page in pages.items():
        html = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes())
        began = time.process_time()
        found = extract(Record(page.get("url", ""), 0, html))
        seconds += time.process_time() - began
        n_bytes += len(html)
        ours.append(f1(found.text if isinstance(found, Extracted) else "", page["articleBody"]))
        theirs.append(f1(trafilatura.extract(html, include_comments=False) or "", page["articleBody"]))
    paired = [a - b for a, b in zip(ours, theirs, strict=True)]
    for title, values in (("malmoi", ours), ("trafilatura, default", theirs), ("difference", paired)):
        print("{:<22} {:.3f} [{:.3f}, {:.3f}]".format(title, *interval(values)))
    print(f"below .1: {sum(value < 0.1 for value in ours)} of {len(ours)} pages")
    print(f"{n_bytes / 1e6 / seconds:.1f} MB/s, {len(ours) / seconds:.0f} pages/s of processor time")


def rows_of(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument(
        "--keep", type=Path, nargs="*", default=[], help="curated texts to train on, JSON lines, gzipped"
    )
    parser.add_argument("--drop", type=Path, help="folder of archives; what is around their pages' main text")
    parser.add_argument("--sentences", type=Path, help='gzipped JSON lines {"en", "ko"}: language, personal data')
    parser.add_argument("--english", type=Path, help="gzipped JSON lines of texts: near-duplicates, speed")
    parser.add_argument("--korean", type=Path, help="the same")
    parser.add_argument("--seed", type=int, default=1, help="of the planted copies and personal data")
    parser.add_argument(
        "--archives",
        type=Path,
        nargs="*",
        default=[],
        help="a whole build, 1 and 2 processes: archives, or a folder of pages",
    )
    given = parser.parse_args()
    if given.pages:
        main_text(given.pages)
    if given.labels:
        corpus_quality.measure(given.labels, given.keep, given.drop)
    if given.sentences:
        both = rows_of(given.sentences)
        english, korean = ([row[name] for row in both] for name in ("en", "ko"))
        corpus_steps.languages(english, korean)
        sets = {"second": corpus_personal_forms, "third": corpus_personal_third}
        corpus_personal.measure(corpus_steps.wilson)
        for name, one in sets.items():
            corpus_personal.measure(corpus_steps.wilson, name, one.KINDS, one.NONE, one.CARRIERS)
        if find_spec("phonenumbers") and find_spec("stdnum"):
            carriers = tuple(one for name in sets for one in sets[name].CARRIERS if "문의" not in one)
            rules = corpus_personal_rules
            corpus_personal.measure(corpus_steps.wilson, "sixth", rules.KINDS, rules.NONE, carriers)
        else:
            print("personal data, sixth set: not measured; pip install phonenumbers python-stdnum")
        by_others = {"fourth": ("faker", corpus_personal_fourth), "fifth": ("mimesis", corpus_personal_fifth)}
        for name, (library, other) in by_others.items():
            if find_spec(library):
                corpus_personal.measure(corpus_steps.wilson, name, other.KINDS, other.NONE, other.carriers())
            else:
                print(f"personal data, {name} set: not measured; pip install {library}")
        n = sum(bool(find_personal(text)) for text in english + korean)
        print(f"of {len(english + korean):,} clean sentences {n} are taken to hold some")
    if given.english and given.korean:
        texts, others = ([row["text"] for row in rows_of(path)[:400]] for path in (given.english, given.korean))
        corpus_steps.near_duplicates(texts, others, seed=given.seed)
        corpus_steps.speeds(texts + others, texts[:50])
    if given.archives:
        corpus_steps.chain(given.archives)
