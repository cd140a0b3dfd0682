"""`python -m benchmarks.pictures`: drawing and training beside diffusers, and beside a plain loop, in one run.

Each side is a process of its own, so that its peak memory is its own. They take turns, A B A B …; a figure is the
median of the repeats, and the ratio that of the pairs, with its smallest and largest. diffusers is measured with both
layouts of memory; the faster one is the peer. Latents are 32 × 32 (pictures of 256 × 256 pixels), not 64 × 64, so that
it ends.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PICTURES = ("malmoi", "diffusers", "diffusers-last")
SAME = 0.05
"""By what share of the larger number sides may differ in what they computed: bfloat16 rounds."""


@dataclass(frozen=True)
class Row:
    """n: pictures of one repeat, for pictures a second; what: for people; goal: largest ratio of times"""

    name: str
    dtype: str
    what: str
    goal: float
    n: int = 1
    has_same_work: bool = True


ROWS = (
    Row("unet", "float32", "one guided step of the U-Net of Stable Diffusion 1.5, latents 32 × 32", 1.0),
    Row("unet", "bfloat16", "the same in bfloat16", 1.0),
    Row("generation", "float32", "20 guided steps, text encoder and decoder, of a reduced network", 0.9),
    Row("generation", "bfloat16", "the same in bfloat16", 0.9),
    Row("tiny_1", "float32", "a tiny pipeline, 32 × 32 pixels, 20 steps: one picture", 0.5),
    Row("tiny_16", "float32", "the same, 16 pictures at once", 0.5, 16),
    Row("training", "float32", "16 steps of 32 pictures, the recipe's denoiser; peer: a plain loop", 1 / 1.5, 512,
        False),
)  # fmt: skip


class Side:
    """A process that measures when it is told to."""

    def __init__(self, name: str, row: Row, n_threads: int) -> None:
        command = [sys.executable, "-m", "benchmarks.picture_sides", name, row.name, row.dtype, str(n_threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )
        self.name, self.found = name, list[dict[str, Any]]()
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                f"{self.name}: ended with {self.process.wait()}; python -m benchmarks.picture_sides says why"
            )
        found: dict[str, Any] = json.loads(line)
        return found

    def once(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.found.append(self._read())

    def close(self) -> None:
        self.process.communicate()

    @property
    def seconds(self) -> list[float]:
        return [one["seconds"] for one in self.found]

    @property
    def peak_bytes(self) -> int:
        return max(one["peak_bytes"] for one in self.found)


def measured(row: Row, repeats: int, n_threads: int) -> dict[str, Any]:
    """Figures of a row, by side."""
    with ExitStack() as closing:
        sides = []
        for name in PICTURES:
            sides.append(Side(name, row, n_threads))
            closing.callback(sides[-1].close)
        for _ in range(repeats):
            for side in sides:
                side.once()
    computed = [side.found[0]["computed"] for side in sides]
    if row.has_same_work and max(computed) - min(computed) > SAME * max(map(abs, computed)):
        raise SystemExit(f"{row.name}: the sides did other work: {computed}")
    ours, *peers = sides
    peer = min(peers, key=lambda side: statistics.median(side.seconds))
    ratios = [here / there for here, there in zip(ours.seconds, peer.seconds, strict=True)]
    return {
        "row": row.name, "dtype": row.dtype, "what": row.what, "goal": row.goal, "n": row.n, "peer": peer.name,
        "seconds": statistics.median(ours.seconds), "peer_seconds": statistics.median(peer.seconds),
        "ratio": statistics.median(ratios), "least": min(ratios), "most": max(ratios),
        "peak_bytes": ours.peak_bytes, "peer_peak_bytes": min(side.peak_bytes for side in peers),
    }  # fmt: skip


def line(found: dict[str, Any]) -> str:
    times = f"{found['seconds']:.3f} s, peer {found['peer_seconds']:.3f} s ({found['peer']})"
    ratio = f"ratio {found['ratio']:.2f} ({found['least']:.2f} to {found['most']:.2f}), goal {found['goal']:.2f}"
    memory = f"{found['peak_bytes'] / 1e6:,.0f} MB, peer {found['peer_peak_bytes'] / 1e6:,.0f} MB"
    return f"{found['row']:<11} {found['dtype']:<9} {times}; {ratio}; {memory}"


def main(given: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(sorted({row.name for row in ROWS}))}; default: all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args(given)
    unknown = set(options.rows) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    found = []
    for row in ROWS:
        if not options.rows or row.name in options.rows:
            found.append(measured(row, options.repeats, options.threads))
            print(line(found[-1]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
