"""Which texts are worth keeping: the score of prose and a trained classifier next to length, on people's labels.

The classifier is trained on none of these labels, but on pieces of curated texts (keep) against what pages have around
their main text (drop), both of the same lengths.
"""

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from malmoi.corpus.labels import Label, auc_difference, auc_row, train
from malmoi.corpus.steps import quality
from malmoi.corpus.steps.archive import Record, is_archive, read_archive
from malmoi.corpus.steps.extract import Extracted, decode, extract
from malmoi.corpus.steps.learned import rows_of

N_OF_EACH = 400
LEAST, MOST = 200, 4000
"""Characters of a piece, drawn evenly on a scale of logarithms."""


def piece(text: str, rng: random.Random) -> str:
    """Some lines in a row, from the first line half of the time."""
    lines = [line for line in text.split("\n") if line.strip()]
    want = int(np.exp(rng.uniform(np.log(LEAST), np.log(MOST))))
    at, taken = (0 if rng.random() < 0.5 else rng.randrange(len(lines))), list[str]()
    while at < len(lines) and sum(map(len, taken)) < want:
        taken.append(lines[at])
        at += 1
    return "\n".join(taken)


def around_main_text(archives: Path) -> list[str]:
    """Of each page in a folder of archives, the lines that are not of its main text."""
    from resiliparse.extract.html2text import extract_plain_text

    found = []
    for path in sorted(archives.rglob("*")):
        if not (path.is_file() and is_archive(path.name)):
            continue
        for record in read_archive(path):
            if isinstance(record, Record) and not record.is_text:
                html = decode(record.body, record.charset)[0]
                whole = extract_plain_text(html, main_content=False, alt_texts=False)
                main = extract(record, honour=False)
                inside = {line.strip(" •") for line in main.text.split("\n")} if isinstance(main, Extracted) else set()
                found.append("\n".join(line.strip() for line in whole.split("\n") if line.strip(" •") not in inside))
    return [text for text in dict.fromkeys(found) if len(text) > 100]


def curated(paths: Sequence[Path]) -> list[str]:
    texts = []
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts.append([row["text"] for row in map(json.loads, file) if len(row["text"]) > 600])
    rng = random.Random(1)
    return [text for one in texts for text in rng.sample(one, min(len(one), N_OF_EACH // len(texts)))]


def measure(labels: Path, keep: Sequence[Path], drop: Path | None) -> None:
    with gzip.open(labels, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    texts, said = [row["text"] for row in rows], np.array([float(row["label"]) for row in rows])
    scores = {"length alone": [len(text) for text in texts], "score of prose": [quality.score(text) for text in texts]}
    if keep and drop:
        rng = random.Random(1)
        bad = around_main_text(drop)
        kept = [Label(piece(text, rng), True, "en") for text in curated(keep)]
        dropped = [Label(text, False, "en") for text in {piece(rng.choice(bad), rng) for _ in range(N_OF_EACH)}]
        given = sorted(kept + dropped, key=lambda label: label.text)
        classifier, report = train(given)
        print(f"classifier: trained on {len(kept)} pieces of curated text and {len(dropped)} of {len(bad)} pages' "
              f"surroundings; of those, cross-validated, {report['auc']['mean']:.3f}")  # fmt: skip
        scores["classifier"] = classifier.of_rows(rows_of(texts, ["en"] * len(texts))).tolist()
    for name, values in scores.items():
        row = auc_row(np.array(values, float), said)
        print(f"{name:<16} AUC {row['mean']:.3f} [{row['low']:.3f}, {row['high']:.3f}] on {row['n']} labels")
    rule = np.array(scores.pop("score of prose"))
    for name, values in scores.items():
        row = auc_difference(np.array(values, float), rule, said)
        print(f"{name} less score of prose: {row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}], paired")
