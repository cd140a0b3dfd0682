"""`malmoi generate`: answers to all prompts of a file."""

from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli.answers import Documents, MaxTokens, NoDocuments, Temperature, TopK, TopP
from malmoi.cli.options import MOST_SEED, Model, Weights, WorkspaceOption, a_path
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
    documents: Documents = None,
    no_documents: NoDocuments = False,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    max_tokens: MaxTokens = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=MOST_SEED, help="Seed of sampling.")] = 0,
    n: Annotated[int, typer.Option("--n", metavar="N", min=1, max=10_000, help="Answers to each prompt.")] = 1,
    best_by: Annotated[
        str | None, typer.Option(metavar="REWARD_MODEL", help="Best-of-n: keep the one of N that it scores highest.")
    ] = None,
    weights: Weights = "auto",
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Answer all prompts of a file; each line records the model, how the answer was sampled, and how it ended.

    Where the workspace has an index, answers are looked up in it, and each line names its sources too. Prompts that
    bring documents along are answered from those. The model `none` quotes.

    After a stop or a crash, the same command goes on where it was.

    \b
    Example:
      malmoi generate ppo --workspace demo --prompts prompts.jsonl --out answers.jsonl --n 4 --seed 1
      malmoi generate sft --workspace demo --prompts prompts.jsonl --out best.jsonl --n 16 --best-by reward
    """
    from malmoi.cli.answers import Answering
    from malmoi.cli.console import watched
    from malmoi.evals.best_of import BestOf
    from malmoi.inference.answer_file import LookedUp, write_answers
    from malmoi.inference.chosen import sampling_of
    from malmoi.inference.sampling import Sampling
    from malmoi.inference.weights import weights_named
    from malmoi.workspace.models import find_model

    if best_by is not None and n == 1:
        raise ConfigError("--best-by: chooses among several answers; give --n 2 or more, or leave it out")
    given = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "max_tokens": max_tokens}
    answering, format_ = Answering.opened(workspace, documents, no_documents, no_record=True), weights_named(weights)
    name, folder = answering.voice_of(model)
    sampling = sampling_of(folder, given, "generate") if folder else Sampling()
    looked_up = LookedUp(answering.lookup, str(answering.sha256_of(answering.index))) if answering.lookup else None
    with watched():
        chooser = BestOf(best_by, find_model(answering.workspace, best_by)[1]) if best_by is not None else None
        n_answers = write_answers(model, folder, prompts, out, sampling, seed, n, format_, chooser, looked_up=looked_up)
    about = f", looked up in {answering.index}" if looked_up else ""
    typer.secho(f"{out}: {n_answers:,} answers by {name}{about}", err=True, dim=True)
