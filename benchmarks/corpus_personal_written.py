"""Personal data planted by others, who saw no pattern of ours.

    python -m benchmarks.corpus_personal_written [seventh | eighth]

Each set is 1,500 texts with values as pages, mails, tables and logs have them, made from the published rules of their
formats in Korean and English templates (seventh: 3,214 values, 167 templates; eighth: 1,826 values, 182 templates),
and 1,500 texts of what only looks alike: numbers of parts, editions, versions, bar codes. Some of these have the
registration number of a company, which is masked on purpose: they are counted apart. The patterns were mended by the
seventh, and nothing by the eighth.
"""

import gzip
import json
import re
import sys
from collections import Counter
from pathlib import Path

from benchmarks.corpus_steps import wilson
from malmoi.corpus.steps.personal import find_personal

SETS = ("seventh", "eighth")
CORPORATE = re.compile("법인|corporate reg", re.I)


def measure(name: str) -> None:
    """Recall by kind: a value counts as found if a mask covers all of it. name: one of SETS"""
    hits, of, n_right, n_wrong, taken = Counter[str](), Counter[str](), 0, 0, list[str]()
    n_clean = 0
    with gzip.open(Path(__file__).with_name(f"corpus_personal_{name}.jsonl.gz"), "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            text, values = row["text"], row["values"]
            found = find_personal(text)
            n_clean += not values
            taken += [text] if found and not values else []
            for start, end, kind in values:
                of[kind] += 1
                hits[kind] += any(a <= start and b >= end for a, b, _ in found)
            for a, b, _ in found if values else []:
                right = any(a < end and b > start for start, end, _ in values)
                n_right += right
                n_wrong += not right
    n = sum(CORPORATE.search(text) is not None for text in taken)
    precision = wilson(n_right, n_right + n_wrong)
    print(f"{name} set: {of.total()} values, recall {wilson(hits.total(), of.total())}; precision {precision}; "
          f"of {n_clean} texts without any {len(taken)} are taken, {n} of them for a company's number")  # fmt: skip
    for kind in sorted(of):
        print(f"  {kind:<18} {wilson(hits[kind], of[kind])} of {of[kind]}")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or SETS:
        measure(chosen)
