"""Two sides, each in a process of its own, in turn: A B A B … That their work is the same is checked, run by run."""

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import FULL, MODULES, QUICK, ROWS, Row
from malmoi.errors import UserError

ROOT = Path(__file__).parents[1]
LONGEST_S = 3600
# The amount of work does not depend on the learning rate. With a rate that changes no weight, every pass over the data
# has the loss of step 0, in whatever order a side takes its batches.
TINY_LR = 1e-9
PRETRAIN_LR = 3e-4
Result = dict[str, Any]


class MissingError(Exception):
    """A side cannot run here; the message says what it needs."""


class WorkError(UserError):
    """A side failed, or the two did not do the same work, so there is no figure."""


@dataclass(frozen=True)
class Options:
    """repeats: pairs of runs; threads: of each side; weights: Malmoi's format when decoding

    model, gguf: None if there is none; tell: is called with a line about progress
    """

    repeats: int
    threads: int
    weights: str | None
    model: Path | None
    gguf: Path | None
    quick: bool
    tell: Callable[[str], None]


def compare(name: str, peer: str | None, options: Options) -> Result:
    """Measure one row against one peer, or only Malmoi. A figure that cannot be measured is None, with the reason."""
    row = ROWS[name]
    found: Result = {
        "row": name, "peer": peer, "unit": row.unit, "malmoi": None, "peer_value": None, "ratio": None, "spread": None,
        "peak_memory_bytes": None, "peer_peak_memory_bytes": None, "n_repeats": options.repeats, "quick": options.quick,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="malmoi-bench-") as folder:
        try:
            work = _prepare(row, peer, options, Path(folder))
            malmoi, theirs, tried = _measure(row, peer, work, options)
        except (MissingError, WorkError) as error:
            return found | {"reason": str(error), "failed": isinstance(error, WorkError)}
    found |= _summary("malmoi", "peak_memory_bytes", malmoi)
    configuration = malmoi[0].get("configuration", _configuration(row, peer, options))
    found |= {"configuration": configuration, "versions": malmoi[0]["versions"]}
    if theirs:
        found |= _summary("peer_value", "peer_peak_memory_bytes", theirs)
        found |= ratio_and_spread(row.unit, [run["value"] for run in malmoi], [run["value"] for run in theirs])
        their_configuration = theirs[0].get("configuration", _fastest(row, tried))
        found |= {"peer_configuration": their_configuration, "tried": tried}
        found["versions"] = theirs[0]["versions"] | found["versions"]
    elif peer is not None:
        found["reason"] = tried["missing"]
    for side, runs in (("malmoi", malmoi), ("peer", theirs)):
        if runs and "prefill_s" in runs[0]:
            found[f"{side}_prefill_s"] = statistics.median(run["prefill_s"] for run in runs)
    return found


def ratio_and_spread(unit: str, malmoi: Sequence[float], theirs: Sequence[float]) -> Result:
    """How many times faster Malmoi is: the median over the pairs of runs, the smallest and the largest."""
    pairs = zip(malmoi, theirs, strict=True)
    ratios = [b / a if unit == "s" else a / b for a, b in pairs]
    return {"ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)]}


def check_same(malmoi: Result, theirs: Result) -> None:
    """Raise WorkError unless both sides report the same: integers exactly, losses within 0.5 % + 0.01."""
    if malmoi.keys() != theirs.keys():
        raise WorkError(f"the two sides report different things: {sorted(malmoi)} and {sorted(theirs)}")
    for name, ours in malmoi.items():
        if not _agree(ours, theirs[name]):
            raise WorkError(f"not the same work: {name} is {ours} in Malmoi, {theirs[name]} in the peer")


def _agree(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_agree, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= 0.01 + 0.005 * abs(b)
    return bool(a == b)


def _measure(
    row: Row, peer: str | None, work: Result, options: Options
) -> tuple[list[Result], list[Result], dict[str, Any]]:
    """Runs of Malmoi, runs of the peer in its fastest configuration, and the figure of each configuration."""
    ours = _configuration(row, peer, options)
    if peer is None:
        return [_run("malmoi", ours, work) for _ in range(options.repeats)], [], {}
    options.tell("running Malmoi once, as the reference for the peer")
    reference = _run("malmoi", ours, work)
    try:
        tried = _try_all(row, peer, work, reference["same"], options)
    except MissingError as error:
        more = [_run("malmoi", ours, work) for _ in range(options.repeats - 1)]
        return [reference, *more], [], {"missing": str(error)}
    if peer == "transformers":
        options.tell("checking that both answer with the same tokens in float32")
        check = work | {"check": True}
        check_same(_run("malmoi", "float32", check)["same"], _run(peer, "float32", check)["same"])
    malmoi, theirs = [], []
    for repeat in range(1, options.repeats + 1):
        options.tell(f"run {repeat} of {options.repeats}: Malmoi, then {peer}, {_fastest(row, tried)}")
        malmoi.append(_run("malmoi", ours, work))
        theirs.append(_run(peer, _fastest(row, tried), work))
        check_same(malmoi[-1]["same"], theirs[-1]["same"])
    return malmoi, theirs, tried


def _try_all(row: Row, peer: str, work: Result, same: Result, options: Options) -> dict[str, float | str]:
    """One figure for each configuration of a peer; for one that fails or does other work, the reason."""
    tried: dict[str, float | str] = {}
    for configuration in row.peers[peer]:
        options.tell(f"trying {peer}, {configuration}")
        try:
            run = _run(peer, configuration, work)
            check_same(same, run["same"])
            tried[configuration] = run["value"]
        except WorkError as error:
            options.tell(str(error))
            tried[configuration] = str(error)
    if all(isinstance(value, str) for value in tried.values()):
        raise WorkError(str(next(iter(tried.values()))))
    return tried


def _fastest(row: Row, tried: dict[str, Any]) -> str:
    reached = {name: value for name, value in tried.items() if isinstance(value, float)}
    return (min if row.unit == "s" else max)(reached, key=lambda name: reached[name])


def _configuration(row: Row, peer: str | None, options: Options) -> str:
    """Malmoi's configuration: when decoding against a peer with quantised weights, its own are quantised too."""
    if row.work != "decode":
        return "default"
    return options.weights or ("int8" if peer == "llama.cpp" else "auto")


def _summary(value: str, memory: str, runs: Sequence[Result]) -> Result:
    return {
        value: statistics.median(run["value"] for run in runs),
        memory: int(statistics.median(run["peak_memory_bytes"] for run in runs)),
    }


def _prepare(row: Row, peer: str | None, options: Options, folder: Path) -> Result:
    """Make the input, in a separate process."""
    if options.model is None and not options.quick and row.work != "pretrain":
        raise MissingError("needs a model: `malmoi models pull smollm2-135m`, or name a folder with --model")
    spec = {
        "work": row.work, "peer": peer, "n_streams": row.n_streams, "threads": options.threads, "check": False,
        "sizes": dataclasses.asdict(QUICK if options.quick else FULL), "tiny_lr": TINY_LR, "lr": PRETRAIN_LR,
        "model": str(options.model.resolve()) if options.model else None,
        "gguf": str(options.gguf.resolve()) if options.gguf else None,
    }  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(spec))
    options.tell("making the input")
    _spawn([sys.executable, "-m", "benchmarks.prepare", str(folder / "spec.json")], options.threads)
    work: Result = json.loads((folder / "work.json").read_text())
    return work


def _run(name: str, configuration: str, work: Result) -> Result:
    """Run one side once. Raises MissingError if something that it needs is not installed."""
    if name == "llama.cpp" and not work["gguf"]:
        raise MissingError("needs a GGUF of the model, such as Q4_1: name it with --gguf or MALMOI_BENCH_GGUF")
    folder = Path(work["folder"])
    files = [folder / "run.json", folder / "result.json"]
    files[0].write_text(json.dumps(work | {"started": time.time()}))
    interpreter = os.environ.get("MALMOI_BENCH_LLAMA_PYTHON") if name == "llama.cpp" else None
    command = [interpreter or sys.executable, "-m", "benchmarks.side", MODULES[name], configuration, *map(str, files)]
    _spawn(command, work["threads"])
    result: Result = json.loads(files[1].read_text())
    if "missing" in result:
        raise MissingError(
            f"{name}: {result['missing']}; pip install 'malmoi[bench]', for llama.cpp 'malmoi[bench-llama]'"
        )
    return result


def _spawn(command: list[str], n_threads: int) -> None:
    """Run to the end on the CPU, offline, with this many threads. Raises WorkError with the last line of output."""
    n = str(n_threads)
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
        "MALMOI_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "", "MALMOI_THREADS": n, "OMP_NUM_THREADS": n,
        "MKL_NUM_THREADS": n, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "TQDM_DISABLE": "1",
    }  # fmt: skip
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except FileNotFoundError:
        raise MissingError(f"{command[0]}: no such interpreter") from None
    except subprocess.TimeoutExpired:
        raise WorkError(f"{' '.join(command[2:5])}: took more than {LONGEST_S} s") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise WorkError(f"{' '.join(command[2:5])}: {words[-1] if words else f'ended with {done.returncode}'}")


def machine(n_threads: int) -> Result:
    """The machine that this was measured on."""
    names = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in names)}
    fast = {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"}
    return {
        "cpu": said.get("model name", platform.processor()),
        "instructions": sorted(fast & set(said.get("flags", "").split())),
        "cores": os.cpu_count(),
        "threads": n_threads,
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
        # Above a few tenths, another program was running.
        "load_average": os.getloadavg()[0],
    }
