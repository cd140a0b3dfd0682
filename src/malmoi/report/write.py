"""Gather what a recipe measured, draw it, and write `report.json` and `report.html` into the workspace."""

import json
import math
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata, resources
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malmoi import __version__
from malmoi.files import read_json, read_jsonl, write_json, write_text
from malmoi.report.plots import draw_plots
from malmoi.report.summary import duration, show, show_interval

if TYPE_CHECKING:
    from malmoi.device import Device
    from malmoi.pipeline.recipe import Recipe
    from malmoi.pipeline.run import Done
    from malmoi.workspace.folder import Workspace

RING = ("corpus", "tokenizer", "pretrain", "demonstrations", "sft", "sample", "rank", "reward", "ppo", "chat")
ALIGNING = ("base", "data", "sft", "reward", "judge", "ppo", "dpo", "grpo", "compare", "chat")
"""The ring of a recipe that starts from a model."""

FACTS = {"corpus": "corpus.json", "tokenizer": "report.json", "rank": "labeler.json", "data": "data.json"}


def write_report(
    recipe: "Recipe", workspace: "Workspace", done: Mapping[str, "Done"], wall_seconds: float
) -> dict[str, Any]:
    """Write both files, each at once or not at all; returns what `report.json` holds.

    done: the stages as they stand; what is not among them is left out
    wall_seconds: of this process until now, the stages that it ran included
    """
    from malmoi import device  # imports torch, which `malmoi --help` does without

    began = time.monotonic()
    metrics = {stage: read_jsonl(path) for stage, path in _files(done, "metrics.jsonl")}
    report: dict[str, Any] = {"recipe": recipe.name, "seed": recipe.seed, "command": _command()}
    report |= _sections(done, metrics)
    report["peak_memory_bytes"] = max(device.peak_memory_bytes(), _earlier_peak(workspace.path / "report.json", done))
    report["versions"] = _versions(device.current())
    report["runs"] = {stage: {"run": made.run_id, "sha256": made.sha256} for stage, made in done.items()}
    plots = draw_plots(report, metrics)
    report["seconds"] = _seconds(done, wall_seconds, time.monotonic() - began)
    write_text(workspace.path / "report.html", _render(report, plots, done))
    write_json(workspace.path / "report.json", report)
    return report


def _files(done: Mapping[str, "Done"], name: str) -> Iterator[tuple[str, Path]]:
    """The files of this name in the run folders, by stage."""
    return ((stage, path) for stage, made in done.items() if (path := made.out.parent / name).exists())


def _sections(done: Mapping[str, "Done"], metrics: Mapping[str, list[Any]]) -> dict[str, Any]:
    """pretrain, sft, reward, ppo: what `eval` measured, and what is known without it."""
    measured = read_json(done["eval"].out / "eval.json") if "eval" in done else {}
    known: dict[str, dict[str, Any]] = {}
    if "pretrain" in done:
        about = read_json(done["pretrain"].out / "model" / "malmoi.json")
        known["pretrain"] = {key: about[key] for key in ("bpb_before", "bpb_after") if key in about}
        if rows := metrics.get("pretrain"):
            known["pretrain"]["tokens_per_s"] = sum(r["count"] for r in rows) / sum(r["seconds"] for r in rows)
    if "compare" in done:
        known["compare"] = read_json(done["compare"].out / "compare.json")
    if "ppo" in done:
        known["ppo"] = {"alarms": read_json(done["ppo"].out / "model" / "malmoi.json").get("alarms", {})}
        if rows := metrics.get("ppo"):
            known["ppo"]["kl"] = rows[-1]["kl"]
    return {name: known.get(name, {}) | measured.get(name, {}) for name in [*known, *measured]}


def _seconds(done: Mapping[str, "Done"], wall_seconds: float, report_seconds: float) -> dict[str, float]:
    """Per stage, whenever it ran; `other` is the rest of this process: start, hashing, records. They sum to total."""
    stages = {stage: made.seconds for stage, made in done.items()}
    other = wall_seconds - sum(made.seconds for made in done.values() if not made.skipped)
    spent = {**stages, "other": max(0.0, other), "report": report_seconds}
    return {**spent, "total": sum(spent.values())}


def _earlier_peak(path: Path, done: Mapping[str, "Done"]) -> int:
    """The peak of an earlier report, when this one shows runs of that time."""
    if not path.exists():
        return 0
    earlier = read_json(path)
    then = earlier.get("runs", {})
    shown = any(made.skipped and then.get(stage, {}).get("run") == made.run_id for stage, made in done.items())
    return int(earlier["peak_memory_bytes"]) if shown else 0


def _versions(here: "Device") -> dict[str, str]:
    number_format = str(here.compute_dtype).removeprefix("torch.")
    versions = {
        "malmoi": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "numpy", "tokenizers")},
        "platform": platform.platform(),
        "cpu": f"{_cpu()}, {here.n_threads} threads, {number_format} on {here.torch_device.type}",
    }
    if here.torch_device.type == "cuda":
        import torch

        versions["gpu"] = torch.cuda.get_device_name(here.torch_device)
    return versions


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _command() -> str:
    """What was typed, `python -m malmoi` as `malmoi`."""
    program = Path(sys.argv[0])
    return shlex.join([program.parent.name if program.name == "__main__.py" else program.name, *sys.argv[1:]])


def _render(report: Mapping[str, Any], plots: Mapping[str, str], done: Mapping[str, "Done"]) -> str:
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"show": show, "interval": show_interval, "duration": duration}
    page = environment.from_string((resources.files(__package__) / "page.html.jinja").read_text(encoding="utf-8"))
    runs = {stage: read_json(path) for stage, path in _files(done, "config.json")}
    return page.render(
        report=report,
        plots=plots,
        done=done,
        ring=_ring(done),
        inputs={stage: run["inputs"] for stage, run in runs.items()},
        settings={stage: dict(_flat(run["settings"])) for stage, run in runs.items()},
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **_details(done),
    )


def _details(done: Mapping[str, "Done"]) -> dict[str, Any]:
    """What the page tells about stages that measure nothing."""
    found: dict[str, Any] = {}
    for stage, name in (
        ("corpus", "corpus.json"),
        ("tokenizer", "report.json"),
        ("rank", "labeler.json"),
        ("data", "data.json"),
    ):
        if stage in done and (path := done[stage].out / name).exists():
            found[f"{stage}_facts"] = read_json(path)
    if "demonstrations" in done:
        rows = read_jsonl(done["demonstrations"].out / "train.jsonl")
        found |= {"n_demonstrations": len(rows), "demonstration": rows[0]["messages"] if rows else []}
    if "rank" in done:
        snapshots = sorted(done["rank"].out.glob("*.jsonl"))
        found["ranking"] = _ranking([row for path in snapshots for row in read_jsonl(path)])
    return found


def _ranking(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Who ranked how much, how often they tied two answers, and the ranking that tells most apart."""
    people = {row["person"]: row["simulated"] for row in rows}
    pairs = [a == b for row in rows for a, b in combinations(row["ranks"], 2)]
    shown = max(rows, key=lambda row: len(set(row["ranks"])), default=None)
    return {
        "n_rankings": len(rows),
        "n_simulated": sum(people.values()),
        "n_people": len(people) - sum(people.values()),
        "tied_share": sum(pairs) / max(1, len(pairs)),
        "prompt": shown and shown["messages"][-1]["content"],
        "answers": shown and sorted(zip(shown["ranks"], shown["answers"], strict=True)),
    }


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings as `--set` names them."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, json.dumps(value, ensure_ascii=False)


def _ring(done: Mapping[str, "Done"]) -> list[dict[str, Any]]:
    """The stages round a circle of radius 100, clockwise from the top: x, y of each and of its label."""
    nodes = []
    ring = ALIGNING if "base" in done else RING
    for i, name in enumerate(ring):
        sine, cosine = math.sin(2 * math.pi * i / len(ring)), -math.cos(2 * math.pi * i / len(ring))
        anchor = "middle" if abs(sine) < 0.1 else "start" if sine > 0 else "end"
        place = {"x": 100 * sine, "y": 100 * cosine, "label_x": 113 * sine, "label_y": 116 * cosine + 4}
        nodes.append({"name": name, "made": name in done, "anchor": anchor, **place})
    return nodes
