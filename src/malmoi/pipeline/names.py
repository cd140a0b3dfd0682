"""Names that recipes give to their models: `models/NAME` in a workspace."""

from collections.abc import Iterable

from malmoi.stage import BASE, MODEL
from malmoi.stages import find_stage, stage_names

TALKS = ("base", "policy", "aligned policy")
"""Kinds of models that can chat."""


def model_name(stage: str) -> str:
    """The name of a stage's model: `base` for any base model, else the stage's name."""
    return BASE if BASE in find_stage(stage).makes else stage


def last_that_talks(stages: Iterable[str]) -> str | None:
    """The name of the model of the last of the stages that makes one which can chat; None if there is none."""
    talks = [stage for stage in stages if not find_stage(stage).makes.keys().isdisjoint(TALKS)]
    return model_name(talks[-1]) if talks else None


def recipe_model_names() -> list[str]:
    """All names that recipes can give."""
    stages = (find_stage(name) for name in stage_names())
    makers = (stage.name for stage in stages if any(MODEL in parts.values() for parts in stage.makes.values()))
    return sorted({model_name(name) for name in makers})
