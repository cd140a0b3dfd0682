"""What a corpus that is built consists of: the settings, the names of its files, and the counts of its steps."""

import bisect
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from malmoi import config
from malmoi.corpus.steps.page import Dropped, Page

INDEX, PLAN, PARTS, DATA, DROPPED, IDS, TIMES, CLASSIFIER = (
    "index.json", "plan.json", "parts", "data", "dropped.jsonl.gz", "ids.npy", "times.json", "classifier.safetensors"
)  # fmt: skip
STEPS = (
    "read", "extract", "language", "quality", "share", "near", "lines", "contamination", "personal", "remove"
)  # fmt: skip
WEB = "web"
"""Folder of the corpus that a recipe's run has built, in the folder of the run."""
FORM = 3
SAMPLE_CHARS, N_SAMPLES = 600, 20


class Settings(config.Settings):
    """How pages become a corpus. Each step can be switched off."""

    languages: tuple[str, ...] = ("ko", "en")
    """Languages to keep, as ISO 639 codes; empty: all."""
    main_text: bool = True
    """Keep the main text of a page; else all that is seen of it, menus too."""
    honour_reservations: bool = True
    """Leave out pages whose owner says noai, or reserves text and data mining (TDM)."""
    min_score: float = Field(0.45, ge=0, le=1)
    """Lowest score of prose, from 0 to 1; 0 keeps everything."""
    rules: tuple[Literal["gopher", "repetition", "c4", "fineweb"], ...] = ("gopher", "repetition", "c4", "fineweb")
    """Published rules to apply."""
    labels: tuple[str, ...] = ()
    """Files of labels, keep and drop, as `malmoi corpus label` writes them: a classifier is trained on them."""
    keep_share: float | None = Field(None, gt=0, le=1)
    """Share of the pages of each language that is kept, the best by the classifier, without labels by the score of
    prose. Without a share, the classifier keeps what it takes to be more likely a page to keep; without labels, all."""
    drop_copies: bool = True
    """Keep the first of several copies."""
    near_from: float = Field(0.5, gt=0, le=1)
    """Share of common 12-character pieces from which two texts are copies; 1 keeps all but exact copies."""
    repeated_lines: bool = True
    """Remove lines that many pages of one site repeat."""
    evaluation_sets: tuple[str, ...] = ()
    """Files of evaluation sets, JSON lines; pages that hold 13 words or 50 characters of them in a row are dropped."""
    personal: Literal["mask", "drop", "keep"] = "mask"
    """What to do with personal data, or with the pages that hold some."""


Samples = dict[str, list[dict[str, str]]]
"""Step -> the pages with the smallest ids, which are hashes: a random part that does not depend on the order."""


@dataclass
class Counts:
    """What happened to the pages.

    dropped: step -> reason -> pages; passed: step -> pages and bytes that came through it, in its own form: records for
        read, text for the others; seconds: step -> processor time; samples: of dropped pages; kept_samples: of passed
    """

    n_read: int = 0
    n_bytes: int = 0
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    passed: dict[str, list[int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))
    masked: Counter[str] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)
    samples: Samples = field(default_factory=dict)
    kept_samples: Samples = field(default_factory=dict)

    def drop(self, one: Dropped) -> None:
        self.dropped.setdefault(one.step, Counter())[one.reason] += 1
        if one.text:
            _sample(self.samples, one.step, one.id, one.url, one.text, reason=one.reason)

    def passing(self, step: str, page: Page) -> None:
        """A page has come through a step."""
        self.passing_bytes(step, len(page.text.encode()))
        url = page.metadata["url"] or page.metadata["archive"]
        _sample(self.kept_samples, step, page.id, url, page.text)

    def passing_bytes(self, step: str, n_bytes: int) -> None:
        counts = self.passed.setdefault(step, [0, 0])
        counts[0] += 1
        counts[1] += n_bytes

    @property
    def n_dropped(self) -> int:
        return sum(counts.total() for counts in self.dropped.values())

    def add(self, other: "Counts") -> None:
        self.n_read += other.n_read
        self.n_bytes += other.n_bytes
        for step, counts in other.dropped.items():
            self.dropped.setdefault(step, Counter()).update(counts)
        for step, (n, n_bytes) in other.passed.items():
            before = self.passed.get(step, [0, 0])
            self.passed[step] = [before[0] + n, before[1] + n_bytes]
        for name in ("masked", "damaged"):
            getattr(self, name).update(getattr(other, name))
        self.seconds = {step: self.seconds[step] + other.seconds[step] for step in STEPS}
        for mine, theirs in ((self.samples, other.samples), (self.kept_samples, other.kept_samples)):
            for step, rows in theirs.items():
                mine[step] = sorted(mine.get(step, []) + rows, key=lambda row: row["id"])[:N_SAMPLES]

    def to_row(self) -> dict[str, Any]:
        return {**vars(self), "dropped": {step: dict(counts) for step, counts in self.dropped.items()}}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Counts":
        dropped = {step: Counter(counts) for step, counts in row["dropped"].items()}
        counted = {name: Counter(row[name]) for name in ("masked", "damaged")}
        return cls(**{**row, "dropped": dropped, **counted})


def _sample(samples: Samples, step: str, id_: str, url: str, text: str, **more: str) -> None:
    rows = samples.setdefault(step, [])
    if len(rows) == N_SAMPLES and id_ >= rows[-1]["id"]:
        return
    row = {"id": id_, "url": url, **more, "text": text[:SAMPLE_CHARS]}
    bisect.insort(rows, row, key=lambda one: one["id"])
    del rows[N_SAMPLES:]
