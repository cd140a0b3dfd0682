"""The commands that a command suggests as the next step, quoted so that a shell accepts them."""

import os
import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from malmoi.pipeline.recipe import Recipe

PULL = "beta"
"""The setting that keeps a policy close to the model that it started from."""


typed_workspace: Path | None = None
"""The workspace of the command that runs; None before it is read."""
_SUGGESTED = re.compile(
    r"\bmalmoi (?:improve|(?:versions|jobs|users|keys|runs|models) [a-z]+|data (?!show\b)[a-z]+)\b(?! --help)"
)


def placed(text: str) -> str:
    """A sentence in which the commands that it suggests name the workspace of this one, where it is not the default.

    Such sentences come from everywhere, and only what was typed says which workspace is meant.
    """
    place = shlex.join(_place(typed_workspace)) if typed_workspace is not None else ""
    if not place or " --workspace" in text:
        return text
    return _SUGGESTED.sub(lambda found: f"{found[0]} {place}", text)


def typed(path: Path | str) -> str:
    """A path for a command line: `./` keeps a leading hyphen from being read as an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def after_recipe(
    recipe: "Recipe", done: Collection[str], workspace: Path, again: Sequence[str], assignments: Sequence[str]
) -> list[str]:
    """Chat with the new model, list the runs, and try another beta.

    done: the finished stages
    again, assignments: the words and settings that run the same recipe again
    """
    from malmoi.pipeline.names import last_that_talks  # with PyTorch, for which no other command here should wait

    place = ["--workspace", typed(workspace)]
    commands = [["malmoi", "runs", "list", *place]]
    stages = [stage for stage in recipe.stages if stage in done]
    if (name := last_that_talks(stages)) is not None:
        commands.insert(0, ["malmoi", "chat", name, *place])
    if pulled := [stage for stage in stages if hasattr(recipe[stage], PULL)]:
        key, beta = f"{pulled[0]}.{PULL}", getattr(recipe[pulled[0]], PULL)
        kept = [given for given in assignments if given.partition("=")[0].strip() != key]
        commands.append([*again, *place, *sets([*kept, f"{key}={0.05 if beta != 0.05 else 0.02}"])])
    return [shlex.join(words) for words in commands]


def after_training(model: Path, rankings: Path | None) -> str:
    """Chat with a policy, or evaluate a reward model on its rankings."""
    # A name without a slash would first be looked up in the workspace.
    folder = typed(model if len(model.parts) > 1 else f"./{model}")
    if rankings is not None:
        return shlex.join(["malmoi", "eval", folder, "--preferences", typed(rankings)])
    return shlex.join(["malmoi", "chat", folder])


def after_import(name: str, workspace: Path, draws: bool = False) -> str:
    if draws:
        return " ".join(['malmoi draw "…"', shlex.join([name, "--workspace", str(workspace)])])
    return shlex.join(["malmoi", "chat", name, "--workspace", str(workspace)])


def after_quantising(model: str, workspace: Path, weights: str) -> str:
    """model: the name that the user gave, or the default"""
    return shlex.join(["malmoi", "chat", typed(model), *_place(workspace), "--weights", weights])


def after_index(workspace: Path) -> str:
    """Ask something."""
    return " ".join(['malmoi ask "…"', shlex.join(_place(workspace))]).strip()


def after_corpus(folder: Path) -> str:
    """Train on a corpus."""
    return shlex.join(["malmoi", "run", "web", "--set", f"corpus.text={folder}/data"])


def after_labels(given: Path, labels: Path) -> str:
    """Build a corpus from what was labelled."""
    return shlex.join(["malmoi", "corpus", "build", typed(given), "--out", "CORPUS", "--set", f'labels=["{labels}"]'])


def after_drawing(picture: str, is_recorded: bool, workspace: Path, model: str | None) -> list[str]:
    """Where a picture comes from, and others like it. model: None: the newest"""
    named = [] if model is None else ["", typed(model)]  # without words of one's own, in the place of the prompt
    commands = [["malmoi", "draw", *named, "--from", typed(picture), "--n", "4", *_place(workspace)]]
    if is_recorded:
        commands.insert(0, ["malmoi", "lineage", typed(picture), *_place(workspace)])
    return [shlex.join(words) for words in commands]


def _place(workspace: Path) -> list[str]:
    is_default = workspace == Path("workspace") and "MALMOI_WORKSPACE" not in os.environ
    return [] if is_default else ["--workspace", typed(workspace)]


def sets(assignments: Sequence[str]) -> list[str]:
    """Settings as options of a command line."""
    return [word for assignment in assignments for word in ("--set", assignment)]
