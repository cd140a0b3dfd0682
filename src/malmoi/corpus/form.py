"""What a corpus that is built consists of: the settings, the names of its files, and the counts of its steps."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from malmoi import config
from malmoi.corpus.steps.page import Dropped

INDEX, PLAN, PARTS, DATA, DROPPED, IDS, TIMES = (
    "index.json", "plan.json", "parts", "data", "dropped.jsonl.gz", "ids.npy", "times.json"
)  # fmt: skip
STEPS = ("read", "extract", "language", "quality", "near", "lines", "contamination", "personal", "remove")
FORM = 1
SAMPLE_CHARS, N_SAMPLES = 600, 20


class Settings(config.Settings):
    """How pages become a corpus. Each step can be switched off."""

    languages: tuple[str, ...] = ("ko", "en")
    """Languages to keep, as ISO 639 codes; empty: all."""
    honour_reservations: bool = True
    """Leave out pages whose owner says noai, or reserves text and data mining (TDM)."""
    min_score: float = Field(0.45, ge=0, le=1)
    """Lowest score of prose, from 0 to 1; 0 keeps everything."""
    rules: tuple[Literal["gopher", "repetition", "c4", "fineweb"], ...] = ("gopher", "repetition", "c4", "fineweb")
    """Published rules to apply."""
    near_from: float = Field(0.5, gt=0, le=1)
    """Share of common 12-character pieces from which two texts are copies; 1 keeps all but exact copies."""
    repeated_lines: bool = True
    """Remove lines that many pages of one site repeat."""
    evaluation_sets: tuple[str, ...] = ()
    """Files of evaluation sets, JSON lines; pages that hold 13 words or 50 characters of them in a row are dropped."""
    personal: Literal["mask", "drop", "keep"] = "mask"
    """What to do with personal data, or with the pages that hold some."""


@dataclass
class Counts:
    """What happened to the pages. dropped: step -> reason -> pages; seconds: step -> processor time"""

    n_read: int = 0
    n_bytes: int = 0
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))
    masked: Counter[str] = field(default_factory=Counter)
    damaged: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def drop(self, one: Dropped) -> None:
        self.dropped.setdefault(one.step, Counter())[one.reason] += 1
        kept = self.samples.setdefault(one.step, [])
        if len(kept) < N_SAMPLES and one.text:
            kept.append({"url": one.url, "reason": one.reason, "text": one.text[:SAMPLE_CHARS]})

    @property
    def n_dropped(self) -> int:
        return sum(counts.total() for counts in self.dropped.values())

    def add(self, other: "Counts") -> None:
        self.n_read += other.n_read
        self.n_bytes += other.n_bytes
        for step, counts in other.dropped.items():
            self.dropped.setdefault(step, Counter()).update(counts)
        for name in ("masked", "damaged"):
            getattr(self, name).update(getattr(other, name))
        self.seconds = {step: self.seconds[step] + other.seconds[step] for step in STEPS}
        for step, rows in other.samples.items():
            self.samples[step] = (self.samples.get(step, []) + rows)[:N_SAMPLES]

    def to_row(self) -> dict[str, Any]:
        return {**vars(self), "dropped": {step: dict(counts) for step, counts in self.dropped.items()}}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Counts":
        dropped = {step: Counter(counts) for step, counts in row["dropped"].items()}
        counted = {name: Counter(row[name]) for name in ("masked", "damaged")}
        return cls(row["n_read"], row["n_bytes"], dropped, row["seconds"], **counted, samples=row["samples"])
