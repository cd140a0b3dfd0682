"""`malmoi serve`: the assistant in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli import completion
from malmoi.cli.options import Ranks, WorkspaceOption
from malmoi.errors import ConfigError

Backend = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="vllm URL", help="Let a vLLM server answer, such as vllm http://127.0.0.1:8001; default: Malmoi."
    ),
]


def serve(
    workspace: WorkspaceOption = Path("workspace"),
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0: any free one.")] = 8000,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; others reach this machine by its own.")
    ] = "127.0.0.1",
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.voices,
            help="A model of the workspace, a model folder, or none, which quotes; default: the newest, else none.",
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(
            "--public-url", metavar="URL", help="https://NAME, where a server with TLS in front passes requests on."
        ),
    ] = None,
    backend: Backend = None,
    on: Annotated[
        str | None,
        typer.Option(metavar="ray[://HOST:PORT]", help="Let jobs that begin on these pages train on a Ray cluster."),
    ] = None,
    ranks: Ranks = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Serve the assistant: pages in a browser, and an API in OpenAI's form. Ctrl-C ends it.

    The first start prints a link that makes the owner's account. Nothing is sent to any other machine but that of
    --backend. On another address than this machine's own it starts only once there are accounts: `malmoi users add`.

    \b
    Example:
      malmoi serve --workspace demo
      malmoi serve --workspace demo --host 192.168.0.12 --no-open
      malmoi serve --workspace demo --backend vllm http://127.0.0.1:8001
      malmoi serve --workspace demo --on ray://10.0.0.1:6379 --ranks 8
    """  # fmt: skip
    import logging

    from malmoi.serve.start import Options
    from malmoi.serve.start import serve as run

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)

    def show(address: str) -> None:
        if open_page:
            import webbrowser

            webbrowser.open(address)

    if backend is not None and backend[0] != "vllm":
        raise ConfigError(f"--backend {backend[0]}: no such backend; use vllm URL, or leave it out")
    vllm = backend and backend[1]
    options = Options(workspace, host, port, model, public_url, vllm, on, ranks)
    run(options, lambda line: print(line, flush=True), show)
