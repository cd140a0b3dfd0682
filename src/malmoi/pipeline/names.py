"""Names that recipes give to their models: `models/NAME` in a workspace."""

from malmoi.stage import BASE, MODEL
from malmoi.stages import find_stage, stage_names


def model_name(stage: str) -> str:
    """The name of a stage's model: `base` for any base model, else the stage's name."""
    return BASE if BASE in find_stage(stage).makes else stage


def recipe_model_names() -> list[str]:
    """All names that recipes can give."""
    stages = (find_stage(name) for name in stage_names())
    makers = (stage.name for stage in stages if any(MODEL in parts.values() for parts in stage.makes.values()))
    return sorted({model_name(name) for name in makers})
