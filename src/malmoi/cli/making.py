"""Commands that build an assistant: demo, run, train; and doctor, which checks whether this machine can."""

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.cli import completion
from malmoi.cli.options import MOST_SEED, Json, On, Ranks, WorkspaceOption, a_path
from malmoi.cli.ranks import led
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from malmoi.pipeline.own_text import OwnText

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; can be given several times."),
]
OwnTextFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Your own text, such as .txt .md .html .pdf .docx .hwpx .xlsx, in place of Python's.",
        parser=a_path,
    ),
]
Errors = Annotated[
    str | None,
    typer.Option(
        metavar="skip|strict",
        help="What to do with text that cannot be read: pass over and count it, or stop; default: skip.",
    ),
]
Encoding = Annotated[
    str,
    typer.Option(metavar="NAME", help="Encoding of text that is not UTF-8, such as cp949 or euc-kr."),
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, max=MOST_SEED, help="Seed of all random choices; default: the recipe's."),
]
Size = Annotated[
    str,
    typer.Option(
        metavar="small|full|auto",
        help="Size of the demo; auto: by the speed of this machine, once per workspace.",
    ),
]


@led
def demo(
    workspace: WorkspaceOption = Path("demo"),
    text: OwnTextFolder = None,
    errors: Errors = None,
    encoding: Encoding = "utf-8",
    seed: Seed = None,
    size: Size = "auto",
    set_: Set = None,
) -> None:
    """Build a small assistant from scratch, in minutes, and report how good it is.

    Runs the recipe `nano`, or `nano-small` on a slower machine, and says which. After a stop or a crash, the same
    command goes on where it was. With --text, it first says what to expect from your text; five short notes are enough.

    \b
    Example:
      malmoi demo
      malmoi demo --workspace ./stories --text ./my-text
      malmoi demo --size full
    """
    from malmoi.cli import recipes
    from malmoi.pipeline.demo_size import RECIPES, choose_size, size_begun
    from malmoi.pipeline.own_text import fitting, forecast
    from malmoi.pipeline.recipe import find_recipe, read_recipe

    if text is not None and any(one.partition("=")[0].strip() == "corpus.text" for one in set_ or []):
        raise ConfigError("--text and --set corpus.text: give one of them")
    again, given = _typed_again(text, errors, encoding, seed, size)
    own = None if text is None else _look_at_text([*given, *(set_ or [])])
    if own is not None and own.is_small and size == "auto" and size_begun(workspace) is None:
        chosen, why = "small", "enough for so little text; --size full for a larger network"
    else:
        chosen, why = choose_size(size, workspace)
    about = [f"size    {chosen} ({RECIPES[chosen]}): {why}"]
    if own is not None:
        fitted = fitting(own, read_recipe(find_recipe(RECIPES[chosen]), [*given, *(set_ or [])]))
        given = [*given, *fitted]
        about += forecast(own, read_recipe(find_recipe(RECIPES[chosen]), [*given, *(set_ or [])]), fitted)
    recipes.run(RECIPES[chosen], workspace, again, set_ or [], given, "\n".join(about))


def _look_at_text(settings: list[str]) -> "OwnText | None":
    """The person's text, if the recipe trains on questions about it with these settings."""
    from malmoi.pipeline.demo_size import RECIPES
    from malmoi.pipeline.own_text import look_at
    from malmoi.pipeline.recipe import find_recipe, read_recipe

    recipe = read_recipe(find_recipe(RECIPES["small"]), settings)
    if not all(stage in recipe for stage in ("corpus", "demonstrations", "pretrain", "sft", "ppo")):
        return None
    corpus, asked = recipe["corpus"], recipe["demonstrations"]
    return look_at(Path(corpus.text), corpus.errors, corpus.encoding, asked.n_items, asked.seed)


def _typed_again(
    text: Path | None, errors: str | None, encoding: str, seed: int | None, size: str
) -> tuple[list[str], list[str]]:
    """The words that run the same demo once more, and the settings that its options give."""
    from malmoi.cli.next_commands import typed

    again, given = ["malmoi", "demo"], []
    if errors is not None:
        given.append(f"corpus.errors={json.dumps(errors)}")
        again += ["--errors", errors]
    if encoding != "utf-8":
        again += ["--encoding", encoding]
        given.append(f"corpus.encoding={json.dumps(encoding)}")
    if size != "auto":
        again += ["--size", size]
    if seed is not None:
        again += ["--seed", str(seed)]
        given.append(f"seed={seed}")
    if text is not None:
        again += ["--text", typed(text)]
        given.append(f"corpus.text={json.dumps(str(text.resolve()), ensure_ascii=False)}")
        if errors is None:
            given.append('corpus.errors="skip"')  # as `index`, `ask` and `chat` read it
    return again, given


@led
def run(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe file, or the name of one that comes with Malmoi.", autocompletion=completion.recipe_names
        ),
    ],
    only: Annotated[
        str | None,
        typer.Option(
            metavar="STAGE",
            help="Run only this stage, even if nothing has changed.",
            autocompletion=completion.stage_names,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="STAGE",
            help="Run this stage and all later ones, even if nothing has changed.",
            autocompletion=completion.stage_names,
        ),
    ] = None,
    set_: Set = None,
    on: On = None,
    ranks: Ranks = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:  # fmt: skip
    """Run a recipe's stages in order, into a workspace.

    A stage whose settings and inputs are unchanged is not run again; an interrupted stage goes on where it was.

    \b
    Example:
      malmoi run nano --set ppo.beta=0.02
      malmoi run recipes/nano.toml --from reward --workspace demo
      torchrun --nproc-per-node 2 -m malmoi run nano
      malmoi run nano --on ray://10.0.0.1:6379 --ranks 8
    """
    from malmoi.cli import recipes

    if only and start:
        raise ConfigError("--only and --from: give one of them")
    recipes.run(recipe, workspace, ["malmoi", "run", recipe], set_ or [], only=only, start=start, on=on, n_ranks=ranks)


def train(
    algorithm: Annotated[
        str, typer.Argument(help="pretrain, sft, reward, ppo, dpo, kto, grpo: a module of malmoi.algorithms.")
    ],
    config: Annotated[
        Path,
        typer.Argument(help="Its settings (.toml); paths are relative to the current folder.", parser=a_path),
    ],
    set_: Set = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the model; default: named like the config.", parser=a_path),
    ] = None,
) -> None:
    """Train one algorithm on model folders and data files, outside of any workspace.

    Writes DIR/metrics.jsonl and DIR/model. The same command with the same settings goes on where it stopped.

    \b
    Example:
      malmoi train sft sft.toml --set n_steps=200
      torchrun --nproc-per-node 2 -m malmoi train pretrain big.toml --out big
    """
    from malmoi.cli.console import Console
    from malmoi.cli.next_commands import after_training
    from malmoi.pipeline import standalone

    with closing(Console()) as console:
        made = standalone.train(algorithm, config, set_ or [], out, watcher=console)
        if made.is_new:
            console.line(f"made {made.model}; next: {after_training(made.model, made.rankings)}")
        else:
            console.line(f"{made.model} is done with these settings; not trained again")


def doctor(
    recipe: Annotated[
        str | None,
        typer.Argument(help="Also estimate what this recipe needs.", autocompletion=completion.recipe_names),
    ] = None,
    set_: Set = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Check this machine and, for a recipe, estimate memory and time; refuse a recipe that cannot fit.

    A few seconds of trial steps and answers with the recipe's own networks give the times; other load on this machine
    is included. The recipe smollm works too, before its model is downloaded.

    \b
    Example:
      malmoi doctor
      malmoi doctor nano --set pretrain.model.n_layer=8
    """
    from malmoi.cli.plan import show_examination
    from malmoi.cli.printing import print_json
    from malmoi.pipeline.doctor import examine
    from malmoi.pipeline.recipe import find_recipe, read_recipe

    found = examine(read_recipe(find_recipe(recipe), set_ or []) if recipe else None, workspace)
    print_json(found) if as_json else show_examination(found)
    if found["refused"]:
        raise ConfigError(found["refused"][0])


def plan(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe file, or the name of one that comes with Malmoi.", autocompletion=completion.recipe_names
        ),
    ],
    machines: Annotated[
        str, typer.Option(metavar="NxKIND", help="Such as 8xH100; here: this machine, measured.", show_default=False)
    ],
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your own table of machines (.toml); default: Malmoi's.", parser=a_path),
    ] = None,
    set_: Set = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Estimate what a recipe needs on other machines: memory of each rank, steps, hours and cost.

    Nothing is tried there: the speed is about a third of the rated speed, which training usually reaches. The
    table has a date: prices change.

    \b
    Example:
      malmoi plan nano --machines 8xH100
      malmoi plan big.toml --machines 16xA100 --set pretrain.loop.fsdp=true
    """
    from malmoi.cli.plan import show_elsewhere
    from malmoi.cli.printing import print_json
    from malmoi.pipeline.machines import find_machines, plan_on
    from malmoi.pipeline.memory import shape_of
    from malmoi.pipeline.recipe import find_recipe, read_recipe

    wanted = find_machines(machines, table)
    found = read_recipe(find_recipe(recipe), set_ or [])
    made = plan_on(found, shape_of(found, workspace), wanted)
    print_json(made) if as_json else show_elsewhere(made)
