"""Collect the facts of a recipe's stages, and write `report.json` and `report.html` into the workspace."""

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
    """Write both files, each atomically; returns the content of `report.json`.

    done: the finished stages; other stages are left out
    wall_seconds: wall time of this process so far, including the stages that it ran
    """
    from malmoi import device  # imports torch, which `malmoi --help` does not need

    began = time.monotonic()
    facts_by_stage = _facts(recipe, done)
    about = gather(facts_by_stage)
    report: dict[str, Any] = {"recipe": recipe.name, "seed": recipe.seed, "command": _command()}
    report |= _measured(facts_by_stage.values())
    report["summary"] = [row for one in about.values() for row in _summary(one)]
    report["alarms"] = [alarm for facts in facts_by_stage.values() for alarm in facts.alarms]
    report["peak_memory_bytes"] = max(device.peak_memory_bytes(), _earlier_peak(workspace.path / "report.json", done))
    report["versions"] = _versions(device.current())
    report["runs"] = {stage: {"run": made.run_id, "sha256": made.sha256} for stage, made in done.items()}
    plots = draw_plots(about.values())
    report["seconds"] = _seconds(done, wall_seconds, time.monotonic() - began)
    terms = list(dict.fromkeys(term for facts in facts_by_stage.values() for term in facts.terms))
    openings = [facts.opening for facts in facts_by_stage.values() if facts.opening]
    talk = _talk(recipe, workspace, done)
    page = render(report, recipe.stages, done, about, plots, terms, openings, talk)
    write_text(workspace.path / "report.html", page)
    write_json(workspace.path / "report.json", report)
    return report


def _facts(recipe: "Recipe", done: Mapping[str, "Done"]) -> dict[str, Facts]:
    """Stage -> its facts."""
    from malmoi.stage import Finished
    from malmoi.stages import find_stage

    return {
        stage: find_stage(stage).facts(Finished(stage, made.run_id, made.out.parent, recipe[stage], made.reads))
        for stage, made in done.items()
    }


def _measured(all_facts: Iterable[Facts]) -> dict[str, dict[str, Any]]:
    """Section -> key -> value. If two stages give the same key, the later stage wins."""
    found: dict[str, dict[str, Any]] = {}
    for facts in all_facts:
        for section, values in facts.json.items():
            found.setdefault(section, {}).update(values)
    return found


def _summary(about: About) -> Iterable[tuple[str, str, str]]:
    for row in about.summary.values():
        before = "" if row.before is None else f"{show(row.before)} → "
        yield row.figure, before + show(row.value), show_interval(row.value)


def _seconds(done: Mapping[str, "Done"], wall_seconds: float, report_seconds: float) -> dict[str, float]:
    """Seconds per stage, whenever it ran, of the report, of the rest of this process (`other`), and their sum."""
    stages = {stage: made.seconds for stage, made in done.items()}
    other = wall_seconds - sum(made.seconds for made in done.values() if not made.skipped)
    spent = {**stages, "other": max(0.0, other), "report": report_seconds}
    return {**spent, "total": sum(spent.values())}


def _earlier_peak(path: Path, done: Mapping[str, "Done"]) -> int:
    """The peak memory in an earlier report, if this report shows runs of that one; else 0."""
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


def _talk(recipe: "Recipe", workspace: "Workspace", done: Mapping[str, "Done"]) -> str:
    """The command that chats with the last model that can; "" if there is none."""
    from malmoi.pipeline.names import last_that_talks

    name = last_that_talks(stage for stage in recipe.stages if stage in done)
    place = workspace.path.name or str(workspace.path)
    return "" if name is None else shlex.join(["malmoi", "chat", name, "--workspace", place])


def _command() -> str:
    """The command line, with `python -m malmoi` as `malmoi`."""
    program = Path(sys.argv[0])
    return shlex.join([program.parent.name if program.name == "__main__.py" else program.name, *sys.argv[1:]])
