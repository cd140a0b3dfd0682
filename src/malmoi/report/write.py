"""Gather what a recipe's stages have to show, and write `report.json` and `report.html` into the workspace."""

import platform
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malmoi import __version__
from malmoi.facts import Facts, show, show_interval
from malmoi.files import read_json, write_json, write_text
from malmoi.report.gather import About, gather
from malmoi.report.page import draw_plots, render

if TYPE_CHECKING:
    from malmoi.device import Device
    from malmoi.pipeline.recipe import Recipe
    from malmoi.pipeline.run import Done
    from malmoi.workspace.folder import Workspace


def write_report(
    recipe: "Recipe", workspace: "Workspace", done: Mapping[str, "Done"], wall_seconds: float
) -> dict[str, Any]:
    """Write both files, each at once or not at all; returns what `report.json` holds.

    done: the stages that have been run; what is not among them is left out
    wall_seconds: of this process until now, the stages that it ran included
    """
    from malmoi import device  # imports torch, which `malmoi --help` does without

    began = time.monotonic()
    told = _told(recipe, done)
    about = gather(told)
    report: dict[str, Any] = {"recipe": recipe.name, "seed": recipe.seed, "command": _command()}
    report |= _measured(told.values())
    report["summary"] = [row for one in about.values() for row in _summary(one)]
    report["alarms"] = [alarm for facts in told.values() for alarm in facts.alarms]
    report["peak_memory_bytes"] = max(device.peak_memory_bytes(), _earlier_peak(workspace.path / "report.json", done))
    report["versions"] = _versions(device.current())
    report["runs"] = {stage: {"run": made.run_id, "sha256": made.sha256} for stage, made in done.items()}
    plots = draw_plots(about.values())
    report["seconds"] = _seconds(done, wall_seconds, time.monotonic() - began)
    terms = list(dict.fromkeys(term for facts in told.values() for term in facts.terms))
    write_text(workspace.path / "report.html", render(report, recipe.stages, done, about, plots, terms))
    write_json(workspace.path / "report.json", report)
    return report


def _told(recipe: "Recipe", done: Mapping[str, "Done"]) -> dict[str, Facts]:
    """What each stage has to show."""
    from malmoi.stage import Finished
    from malmoi.stages import find_stage

    return {
        stage: find_stage(stage).facts(Finished(stage, made.run_id, made.out.parent, recipe[stage], made.reads))
        for stage, made in done.items()
    }


def _measured(told: Iterable[Facts]) -> dict[str, dict[str, Any]]:
    """Section -> key -> value; of a key that two stages give, the later counts."""
    found: dict[str, dict[str, Any]] = {}
    for facts in told:
        for section, values in facts.json.items():
            found.setdefault(section, {}).update(values)
    return found


def _summary(about: About) -> Iterable[tuple[str, str, str]]:
    for row in about.summary.values():
        before = "" if row.before is None else f"{show(row.before)} → "
        yield row.figure, before + show(row.value), show_interval(row.value)


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
