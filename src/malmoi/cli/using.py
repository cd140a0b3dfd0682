"""Commands that use one model: eval, generate, quantise."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli.options import MOST_SEED, Json, MaxTokens, Model, Temperature, TopP, Weights, WorkspaceOption, a_path
from malmoi.errors import ConfigError


def evaluate(
    model: Model,
    tasks: Annotated[
        str, typer.Option(metavar="NAMES", help="Tasks with commas between; by default twelve in English.")
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the tasks' files; by default MALMOI_DATA names it.", parser=a_path),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=0, max=10**9, help="Questions of each task, the first ones; 0: all.")
    ] = 100,
    preferences: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="In place of tasks: a reward model on people's rankings, in any known format.",
            parser=a_path,
        ),
    ] = None,
    errors: Annotated[
        str, typer.Option(metavar="skip|strict", help="What to do with rankings that cannot be read.")
    ] = "strict",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the JSON here too.", parser=a_path)] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Measure how good a model is, each figure with its 95 % interval.

    A model that writes is asked tasks: choices and last words by likelihood, sums and instructions by its answers.

    \b
    Example:
      malmoi eval smollm2-135m --tasks arc_easy,piqa,lambada --data ./eval
      malmoi eval reward --workspace demo --preferences rankings.jsonl --json
    """
    from malmoi.cli.printing import print_json, show
    from malmoi.commands import evaluate as evaluation
    from malmoi.files import write_json
    from malmoi.pipeline.console import watched

    if errors not in ("skip", "strict"):
        raise ConfigError(f"--errors {errors}: skip or strict")
    if preferences is None and errors != "strict":
        raise ConfigError("--errors: is about rankings; give --preferences, or leave it out")
    if preferences is not None and (tasks or data):
        raise ConfigError("--preferences: measures a reward model on rankings; leave --tasks and --data out")
    with watched():
        if preferences is not None:
            found = evaluation.evaluate_rewards(workspace, model, preferences, errors)  # type: ignore[arg-type]
        else:
            names = [name.strip() for name in tasks.split(",") if name.strip()]
            say = partial(typer.secho, err=True, dim=True)
            found = evaluation.evaluate_tasks(workspace, model, names, data, limit, say)
    if out is not None:
        write_json(out, found)
    if as_json:
        print_json(found)
    else:
        show((evaluation.tasks_table if preferences is None else evaluation.rewards_table)(found))


def generate(
    model: Model,
    prompts: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Prompts: JSON lines, in any format that is known.", show_default=False, parser=a_path
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where the answers go: JSON lines.", show_default=False, parser=a_path)
    ],
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    max_tokens: MaxTokens = 256,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=MOST_SEED, help="For the same answers again.")] = 0,
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, max=10_000, help="Answers to each prompt.")] = 1,
    best_by: Annotated[
        str | None, typer.Option(metavar="REWARD_MODEL", help="Best-of-n: keep the one of N that it scores highest.")
    ] = None,
    weights: Weights = "auto",
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Answer all prompts of a file; each line says how its answer was sampled, by which model, and how it ended.

    Stopped or killed, the same command goes on where it was.

    \b
    Example:
      malmoi generate ppo --workspace demo --prompts prompts.jsonl --out answers.jsonl --n 4 --seed 1
      malmoi generate sft --workspace demo --prompts prompts.jsonl --out best.jsonl --n 16 --best-by reward
    """
    from malmoi.commands.generate import generate as write_answers
    from malmoi.config import parse
    from malmoi.inference.sampling import Sampling
    from malmoi.inference.weights import weights_named
    from malmoi.pipeline.console import watched

    if best_by is not None and n == 1:
        raise ConfigError("--best-by: chooses among several answers; give --n 2 or more, or leave it out")
    given = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    sampling = parse(Sampling, given, "generate")
    with watched():
        n_answers = write_answers(workspace, model, prompts, out, sampling, seed, n, weights_named(weights), best_by)
    typer.secho(f"{out}: {n_answers:,} answers", err=True, dim=True)


def quantise(
    model: Annotated[
        str | None, typer.Argument(help="A model of the workspace or a model folder; default: its last.")
    ] = None,
    weights: Annotated[
        str, typer.Option(metavar="FORMATS", help="Formats to compare with the usual one, with commas between.")
    ] = "int8,int4",
    text: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Held-out text; default: the newest corpus's, or Python's documentation.",
            parser=a_path,
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Measure what a model loses, and wins, when its weights have 8 or 4 bits.

    Bytes of all weights, tokens per second of one stream, perplexity, and how often the likeliest next token stays.
    Quantising takes a second and is done on loading, by --weights of malmoi chat.

    \b
    Example:
      malmoi quantise smollm2-135m
    """
    from malmoi.cli.printing import print_json, show
    from malmoi.commands.following import after_quantising
    from malmoi.commands.quantise import as_table
    from malmoi.commands.quantise import quantise as measure
    from malmoi.inference.weights import weights_named

    found = measure(workspace, model, ["auto", *map(weights_named, weights.split(","))], text)
    if as_json:
        print_json(found)
        return
    show(as_table(found))
    fastest = max(found["formats"], key=lambda row: row["tokens_per_s"])["weights"]
    command = after_quantising(model or found["model"], workspace, fastest)
    typer.secho(f"{fastest} is the fastest here; next: {command}", err=True, dim=True)
