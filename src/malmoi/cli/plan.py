"""The findings of doctor and the plan of a recipe, in lines for people."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rich.console import Console

from malmoi.pipeline.doctor import Machine
from malmoi.units import duration, size


def show_plan(plan: Mapping[str, Any], machine: Machine, say: Callable[[str], None]) -> None:
    """Print a line for each stage, the total, and a remark if the machine was busy."""
    for stage, need in plan["stages"].items():
        say(f"  {stage:<15} about {duration(need['seconds']):>11}, {size(need['memory_bytes']):>7} of memory")
    say(f"  {'in all':<15} about {duration(plan['seconds']):>11}, {size(plan['peak_memory_bytes']):>7} of memory")
    if machine.load > machine.n_cores / 2:
        say(f"  measured while other processes ran (load {machine.load:.1f}); without them it takes less time")


def show_examination(found: dict[str, Any]) -> None:
    """Print what `examine` found."""
    say = partial(Console(highlight=False, soft_wrap=True).print, markup=False)
    here = found["machine"]
    say(f"machine   {here['cpu']}, {here['n_cores']} cores ({', '.join(here['cpu_flags']) or 'no vector extensions'})")
    say(f"computes  in {here['compute_dtype']} on {here['gpu'] or 'the CPU; no GPU'}")
    if here["gpu"] is None:
        say(f"answers   {here['answers']}")
    say(f"memory    {size(here['free_memory_bytes'])} free of {size(here['memory_bytes'])}")
    say(f"disk      {size(here['free_disk_bytes'])} free")
    say("versions  " + ", ".join(f"{name} {version}" for name, version in found["versions"].items()))
    if (recipe := found.get("recipe")) is not None:
        weights = f"{recipe['n_parameters'] / 1e6:.1f} million weights"
        disk = f", about {size(recipe['disk_bytes'])} of disk" if "disk_bytes" in recipe else ""
        say(f"\n{recipe['name']}: {weights}{disk}")
        if "stages" in recipe:
            show_plan(recipe, Machine(**here), say)


def show_elsewhere(made: Mapping[str, Any]) -> None:
    """Print what `plan_on` found: a line for each stage, then the total."""
    say = partial(Console(highlight=False, soft_wrap=True).print, markup=False)
    on = f"{made['n_ranks']} × {made['machines']}"
    say(f"{made['recipe']} on {on}: {made['n_parameters'] / 1e6:.1f} million weights; estimates")
    for stage, need in made["stages"].items():
        steps = (
            f", {need['n_steps']:,} steps on {need['n_ranks']} of {made['n_ranks']} ranks" if need["n_steps"] else ""
        )
        say(f"  {stage:<15} about {duration(need['seconds']):>11}, {size(need['memory_bytes']):>7} each{steps}")
    cost = "" if made["usd"] is None else f", {made['usd']:,.2f} USD"
    say(f"  {'in all':<15} about {duration(made['seconds']):>11}{cost}; each has {size(made['memory_of_each_bytes'])}")
    idle = [stage for stage, need in made["stages"].items() if need["n_steps"] and need["n_ranks"] < made["n_ranks"]]
    if idle:
        say(f"ranks without work: lower the micro_batch_size, or raise the batch_size, of {', '.join(idle)}")
    if rough := [stage for stage, need in made["stages"].items() if need["on_reference_s"] > need["seconds"] / 2]:
        say(f"of one CPU core, not of {made['machines']}: the time of {', '.join(rough)}")
    for stage in made["too_large"]:
        say(f"{stage} does not fit: lower {stage}.micro_batch_size, or set {stage}.loop.fsdp=true")
