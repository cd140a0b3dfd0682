"""`malmoi chat`: talk with a model on the terminal, and with any other model of the workspace to compare."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.cli import completion
from malmoi.cli.options import MOST_SEED, MaxTokens, Temperature, TopP, Weights, WorkspaceOption
from malmoi.errors import UserError

if TYPE_CHECKING:
    from malmoi.inference.session import ChatSession
    from malmoi.workspace.folder import Workspace

COMMANDS = {
    "/model": "/model [NAME]: the models to talk with, or another one; the conversation stays",
    "/reset": "/reset: forget the conversation",
    "/help": "/help: this list (to say a line that begins with a slash, put a space before it; pasted lines "
    "are one message)",
    "/quit": "/quit: leave, as Ctrl-D does; Ctrl-C stops an answer",
}


def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model of the workspace (base, sft, ppo) or a model folder; default: the newest.",
            autocompletion=completion.model_names,
        ),
    ] = None,
    workspace: WorkspaceOption = Path("workspace"),
    temperature: Temperature = 0.7,
    top_p: TopP = 1.0,
    top_k: Annotated[int, typer.Option(metavar="K", help="Sample from the K likeliest tokens; 0: all.")] = 0,
    max_tokens: MaxTokens = 128,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=MOST_SEED, help="Seed of sampling, to repeat answers."),
    ] = None,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Answer this and exit.")] = None,
    weights: Weights = "auto",
) -> None:
    """Talk with a model on the terminal.

    Ctrl-C stops an answer, Ctrl-D leaves. /model sft goes on with another model, /help lists the commands.

    \b
    Example:
      malmoi chat --workspace demo
      malmoi chat sft --workspace demo --prompt "What does os.getcwd do?" --temperature 0
    """
    from malmoi.config import parse
    from malmoi.inference.sampling import Sampling
    from malmoi.inference.session import ChatSession
    from malmoi.inference.weights import weights_named
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.models import find_model

    given = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "max_tokens": max_tokens}
    sampling, here = parse(Sampling, given, "chat"), Workspace(workspace)
    session = ChatSession(*find_model(here, model), sampling, seed, weights_named(weights))
    if prompt is not None:
        converse(session, here, [" " + prompt], interactive=False)
    elif sys.stdin.isatty():
        _remark(f"{session.name}: {introduction(session)}. /help lists the commands, Ctrl-D leaves.")
        converse(session, here, typed_lines(), interactive=True)
    else:
        converse(session, here, (line.rstrip("\r\n") for line in sys.stdin), interactive=False)


def converse(session: "ChatSession", workspace: "Workspace", lines: Iterable[str], *, interactive: bool) -> None:
    """Answer every line on stdout; lines that begin with a slash are commands. Remarks go to stderr.

    interactive: show who speaks; Ctrl-C only stops the answer and an error is only shown, else both end the program
    """
    for line in lines:
        try:
            if line.startswith("/"):
                if line.strip() in ("/quit", "/exit"):
                    return
                _remark(_obey(session, workspace, line))
            elif line.strip():
                _answer(session, line.strip(), label=f"{session.name}> " if interactive else "")
        except KeyboardInterrupt:
            if not interactive:
                raise
            _remark("\n(stopped)")
        except UserError as error:
            if not interactive:
                raise
            _remark(f"error: {error}")


def _answer(session: "ChatSession", text: str, label: str) -> None:
    from malmoi.cli.printing import printable

    spoken = False
    with contextlib.closing(session.answer(text)) as pieces:
        for piece in filter(None, map(printable, pieces)):
            if not spoken and session.n_dropped:
                dropped = f"the oldest {session.n_dropped} messages no longer fit {session.name}'s context"
                _remark(f"({dropped} and were dropped)")
            sys.stdout.write(piece if spoken else label + piece)
            sys.stdout.flush()
            spoken = True
    print(flush=True)
    if not spoken:
        _remark(f"({session.name} ended its turn without a word)")


def _obey(session: "ChatSession", workspace: "Workspace", line: str) -> str:
    """Obey a slash command; returns a remark for the user."""
    from malmoi.workspace.models import find_model, policy_names

    command, _, argument = line.strip().partition(" ")
    if command == "/help":
        return "\n".join(COMMANDS.values())
    if command == "/reset":
        session.messages = []
        return "(the conversation is forgotten)"
    if command == "/model":
        if argument:
            session.use(*find_model(workspace, argument.strip()))
            return f"(now {session.name}; {introduction(session)})"
        return f"models: {', '.join(policy_names(workspace)) or 'none here'}; talking with {session.name}"
    near = get_close_matches(command, COMMANDS, n=1, cutoff=0.4)
    return f"{command}: unknown command; {f'did you mean {near[0]}? ' if near else ''}/help lists them"


def introduction(session: "ChatSession") -> str:
    """What to know about the model before talking with it."""
    from malmoi.stage import BASE

    taught = "it continues text and was never taught to chat" if session.name == BASE else "ask it something"
    return f"context {session.seq_len} tokens; {taught}"


def typed_lines() -> Iterator[str]:
    """Lines from the terminal. Ctrl-D, or Ctrl-C twice in a row, ends them."""
    with contextlib.suppress(ImportError):
        import readline  # gives `input` arrow keys and a history

        readline.parse_and_bind("set enable-bracketed-paste on")  # pasted lines are one message
    warned = False
    while True:
        try:
            line = input("you> ")
        except (EOFError, KeyboardInterrupt) as end:
            print()
            if warned or isinstance(end, EOFError):
                return
            warned = True
            _remark("(Ctrl-C again, or Ctrl-D, leaves)")
        else:
            warned = False
            yield line


def _remark(text: str) -> None:
    typer.secho(text, err=True, dim=True)
