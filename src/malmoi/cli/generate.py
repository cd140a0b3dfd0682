"""`malmoi generate`: answers to all prompts of a file."""

from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli.options import MOST_SEED, MaxTokens, Model, Temperature, TopP, Weights, WorkspaceOption, a_path
from malmoi.errors import ConfigError


def generate(
    model: Model,
    prompts: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Prompts: JSON lines, in any known format.", show_default=False, parser=a_path
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="File for the answers: JSON lines.", show_default=False, parser=a_path)
    ],
    temperature: Temperature = 1.0,
    top_p: TopP = 1.0,
    max_tokens: MaxTokens = 256,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=MOST_SEED, help="Seed of sampling.")] = 0,
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, max=10_000, help="Answers to each prompt.")] = 1,
    best_by: Annotated[
        str | None, typer.Option(metavar="REWARD_MODEL", help="Best-of-n: keep the one of N that it scores highest.")
    ] = None,
    weights: Weights = "auto",
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Answer all prompts of a file; each line records the model, how the answer was sampled, and how it ended.

    After a stop or a crash, the same command goes on where it was.

    \b
    Example:
      malmoi generate ppo --workspace demo --prompts prompts.jsonl --out answers.jsonl --n 4 --seed 1
      malmoi generate sft --workspace demo --prompts prompts.jsonl --out best.jsonl --n 16 --best-by reward
    """
    from malmoi.cli.console import watched
    from malmoi.config import parse
    from malmoi.evals.best_of import BestOf
    from malmoi.inference.answer_file import write_answers
    from malmoi.inference.sampling import Sampling
    from malmoi.inference.weights import weights_named
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.models import find_model

    if best_by is not None and n == 1:
        raise ConfigError("--best-by: chooses among several answers; give --n 2 or more, or leave it out")
    given = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    sampling, format_ = parse(Sampling, given, "generate"), weights_named(weights)
    here = Workspace(workspace)
    _, folder = find_model(here, model)
    with watched():
        chooser = BestOf(best_by, find_model(here, best_by)[1]) if best_by is not None else None
        n_answers = write_answers(model, folder, prompts, out, sampling, seed, n, format_, chooser)
    typer.secho(f"{out}: {n_answers:,} answers", err=True, dim=True)
