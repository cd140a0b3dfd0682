"""`python -m benchmarks ROW [--peer NAME]`: one row of the table; `all` measures every row and writes bench.json."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.compare import Options, compare, machine
from benchmarks.rows import MODULES, ROWS
from malmoi.errors import UserError
from malmoi.files import write_json

ALONE = "malmoi-only"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: each row has a figure, or a reason why not; 1: a side failed or did other work; 2: wrong usage."""
    given = _parser().parse_args(arguments)
    try:
        pairs, options = _pairs(given.row, given.peer), _options(given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    begun: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(options.threads),
    }
    rows: list[dict[str, Any]] = []
    for name, peer in pairs:
        rows.append(compare(name, peer, options))
        if not given.json:
            print(line(rows[-1]), flush=True)
        if given.out:
            # After every row, so that a failure of the last row does not lose an hour's work.
            write_json(given.out, document(rows, begun))
    if given.json:
        print(json.dumps(document(rows, begun), indent=2))
    return int(any(row.get("failed") for row in rows))


def document(rows: Sequence[dict[str, Any]], begun: dict[str, Any]) -> dict[str, Any]:
    """bench.json: the rows, the machine, the date, and the versions of all programs."""
    versions: dict[str, str] = {}
    for row in rows:
        versions |= row.get("versions", {})
    return {"rows": [{k: v for k, v in row.items() if k != "versions"} for row in rows], "versions": versions, **begun}


def line(row: dict[str, Any]) -> str:
    """One row for people: both figures, how many times faster Malmoi is, its spread, and the memory of both."""
    parts = ["quick, not a measurement:"] if row["quick"] else []
    parts.append(f"{row['row']:<12}")
    if row["malmoi"] is not None:
        parts.append(f"malmoi {_figure(row, 'malmoi', 'configuration', 'peak_memory_bytes')}")
    if row["ratio"] is not None:
        parts.append(f"| {row['peer']} {_figure(row, 'peer_value', 'peer_configuration', 'peer_peak_memory_bytes')}")
        low, high = row["spread"]
        parts.append(f"| {row['ratio']:.2f}x [{low:.2f}, {high:.2f}]")
    if "reason" in row:
        parts.append(f"| {row['peer'] or 'malmoi'}: no figure: {row['reason']}")
    return " ".join(parts)


def _figure(row: dict[str, Any], value: str, configuration: str, memory: str) -> str:
    return f"{row[value]:,.4g} {row['unit']} ({row[configuration]}, {row[memory] / 2**30:.2f} GiB)"


def _pairs(row: str, peer: str | None) -> list[tuple[str, str | None]]:
    """The rows and their peers. Raises UserError for a peer that does not do this work."""
    names = list(ROWS) if row == "all" else [row]
    if peer == ALONE:
        return [(name, None) for name in names]
    pairs = [(name, other) for name in names for other in ROWS[name].peers if peer in (None, other)]
    if not pairs:
        raise UserError(f"{row}: has no peer {peer}; it has {', '.join(ROWS[row].peers)}")
    return [*pairs]


def _options(given: argparse.Namespace) -> Options:
    workspace = Path(os.environ.get("MALMOI_WORKSPACE", "workspace"))
    default = workspace / "models" / "smollm2-135m"
    named = given.model or (None if given.quick else os.environ.get("MALMOI_BENCH_MODEL"))
    model = Path(named) if named else default if default.is_dir() and not given.quick else None
    if model is not None and not (model / "config.json").is_file():
        raise UserError(f"{model}: is not a model folder (no config.json)")
    gguf = given.gguf or os.environ.get("MALMOI_BENCH_GGUF")
    if gguf and not Path(gguf).is_file():
        raise UserError(f"{gguf}: no such file")
    if given.repeats < 1:
        raise UserError(f"--repeats {given.repeats}: must be at least 1; use 5 for a figure to quote")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Options(
        repeats=given.repeats, threads=given.threads or cores, weights=given.weights, model=model,
        gguf=Path(gguf) if gguf else None, quick=given.quick,
        tell=lambda text: print(f"  {text}", file=sys.stderr, flush=True),
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    rows = "\n".join(f"  {name:<12} {row.what}; peers: {', '.join(row.peers)}" for name, row in ROWS.items())
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"rows:\n{rows}\n\nTo quote a figure: a quiet machine, 5 repeats; see benchmarks/README.md.",
    )  # fmt: skip
    parser.add_argument("row", choices=["all", *ROWS], metavar="ROW", help="a row of the table, or all")
    peers = [name for name in MODULES if name != "malmoi"]
    parser.add_argument(
        "--peer", choices=[*peers, ALONE], help="compare with this peer only (default: with each peer of the row)"
    )
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="pairs of runs (default 5)")
    parser.add_argument(
        "--weights", choices=["auto", "float32", "bfloat16", "int8", "int4"],
        help="Malmoi's format when decoding (default: auto; int8 against llama.cpp)",
    )  # fmt: skip
    parser.add_argument("--model", metavar="DIR", help="Hugging Face folder (default: MALMOI_BENCH_MODEL, or smollm2-135m of the workspace)")  # fmt: skip # noqa: E501
    parser.add_argument("--gguf", metavar="FILE", help="the same model for llama.cpp (default: MALMOI_BENCH_GGUF)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of each side (default: the number of cores)")
    parser.add_argument("--quick", action="store_true", help="take seconds on a random network: tests the code, measures nothing")  # fmt: skip # noqa: E501
    parser.add_argument("--json", action="store_true", help="print the content of bench.json")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write bench.json there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
