"""`malmoi stages`: what recipes are made of."""

from typing import Any

from malmoi.cli.options import Json


def stages(as_json: Json = False) -> None:
    """List the stages that a recipe can name: what each reads and makes.

    A stage reads the latest artefact of a kind that an earlier stage makes, or the source that the recipe names in
    [STAGE.reads]. Brackets mark an optional kind. Of kinds joined by "or", the first available one is read.

    \b
    Example:
      malmoi stages
      malmoi stages --json
    """
    from malmoi.cli.printing import print_json, show, table
    from malmoi.stages import find_stage, stage_names

    rows = [_row(find_stage(name)) for name in stage_names()]
    if as_json:
        print_json(rows)
        return
    shown = ((row["name"], ", ".join(map(_kinds, row["reads"].values())), ", ".join(row["makes"])) for row in rows)
    show(table(("stage", "reads", "makes"), shown))


def _row(stage: Any) -> dict[str, Any]:
    return {
        "name": stage.name,
        "about": stage.about,
        "reads": {
            role: {"kinds": need.kinds, "optional": need.optional, "many": need.many}
            for role, need in stage.reads.items()
        },
        "makes": {kind: dict(parts) for kind, parts in stage.makes.items()},
    }


def _kinds(need: dict[str, Any]) -> str:
    kinds = " or ".join(need["kinds"])
    return f"({kinds})" if need["optional"] else kinds
