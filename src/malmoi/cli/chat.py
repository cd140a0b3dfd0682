"""`malmoi chat`: talk with a model on the terminal, and with any other model of the workspace to compare."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malmoi.cli import completion
from malmoi.cli.answers import (
    Answering,
    Documents,
    MaxTokens,
    NoDocuments,
    NoRecord,
    RandomSeed,
    Temperature,
    TopK,
    TopP,
    best_source,
    full_sources,
    remark,
    say,
    taught,
)
from malmoi.cli.options import Weights, WorkspaceOption
from malmoi.errors import ConfigError, UserError

if TYPE_CHECKING:
    from malmoi.inference.session import ChatSession

COMMANDS = {
    "/model": "/model [NAME]: the models to talk with, or another one; the conversation stays",
    "/sources": "/sources: where the last answer comes from, in full",
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
    documents: Documents = None,
    no_documents: NoDocuments = False,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    max_tokens: MaxTokens = None,
    seed: RandomSeed = None,
    prompt: Annotated[str | None, typer.Option(metavar="TEXT", help="Answer this and exit.")] = None,
    no_record: NoRecord = False,
    weights: Weights = "auto",
) -> None:
    """Talk with a model on the terminal. Where the workspace has an index, answers are looked up in it.

    Ctrl-C stops an answer, Ctrl-D leaves. /model sft goes on with another model, /sources shows where the last answer
    comes from, /help lists the commands. Each answer is recorded: `malmoi lineage answer-1` follows it to its sources
    and its model.

    Lines that are pasted on a terminal are one message. Piped lines are one message each, all in one conversation.

    \b
    Example:
      malmoi chat --workspace demo
      malmoi chat smollm2-135m --documents ./notes
      malmoi chat sft --workspace demo --prompt "What does os.getcwd do?" --temperature 0
    """
    if prompt is not None and not prompt.strip():
        raise ConfigError("--prompt: is empty; say something, or leave it out to talk")
    given = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "max_tokens": max_tokens}
    answering = Answering.opened(workspace, documents, no_documents, no_record)
    session = answering.session(model, given, seed, weights, "chat")
    talk = Talk(answering, session, given)
    if prompt is not None:
        talk.converse([" " + prompt], interactive=False)
    elif sys.stdin.isatty():
        remark(f"{answering.introduction(session)}. /help lists the commands, Ctrl-D leaves.")
        talk.converse(typed_lines(), interactive=True)
    else:
        talk.converse((line.rstrip("\r\n") for line in sys.stdin), interactive=False)


LEAVING = ("exit", "quit", "q", ":q", "logout", "종료", "나가기")
"""What people type to leave, and what may also be a question: it is answered, and how to leave is said."""


@dataclass
class Talk:
    """A session on a terminal or in a pipe. given: the sampling options of the command line"""

    answering: Answering
    session: "ChatSession"
    given: Mapping[str, Any]

    def converse(self, lines: Iterable[str], *, interactive: bool) -> None:
        """Answer every line on stdout; lines that begin with a slash are commands. Remarks go to stderr.

        interactive: show who speaks; Ctrl-C only stops the answer and an error is only shown, else both end the program
        """
        for line in lines:
            try:
                if line.startswith("/"):
                    if line.strip() in ("/quit", "/exit"):
                        return
                    remark(self._obey(line))
                elif line.strip():
                    self._answer(line.strip(), label=f"{self.session.name}> " if interactive else "")
                    if interactive and line.strip().lower() in LEAVING:
                        remark("(/quit or Ctrl-D leaves)")
            except KeyboardInterrupt:
                if not interactive:
                    raise
                remark("\n(stopped)")
            except UserError as error:
                if not interactive:
                    raise
                remark(f"error: {error}")

    def _answer(self, text: str, label: str) -> None:
        if self.answering.serving_changed():
            self.answering.follow(self.session, None, self.given)
            remark(f"(now {self.session.name} is in service, and answers)")
            label = label and f"{self.session.name}> "
        say(self.session, text, label)
        if source := best_source(self.session):
            remark(f"  {source}")
        self.answering.remark_on(self.session)
        self.answering.record(self.session)

    def _obey(self, line: str) -> str:
        """Obey a slash command; returns a remark for the user."""
        from malmoi.workspace.models import policy_names

        command, _, argument = line.strip().partition(" ")
        if command == "/help":
            return "\n".join(COMMANDS.values())
        if command == "/reset":
            self.session.messages = []
            self.answering.begin_again()
            return "(the conversation is forgotten)"
        if command == "/sources":
            return "\n".join(full_sources(self.session)) or "(the last answer names no source)"
        if command == "/model":
            if argument:
                return self._use(argument.strip())
            names = ", ".join(policy_names(self.answering.workspace)) or "none here"
            return f"models: {names}; talking with {self.session.name}"
        near = get_close_matches(command, COMMANDS, n=1, cutoff=0.4)
        return f"{command}: unknown command; {f'did you mean {near[0]}? ' if near else ''}/help lists them"

    def _use(self, model: str) -> str:
        """Go on with another model, which samples as it says itself."""
        self.answering.follow(self.session, model, self.given)
        return f"(now {self.session.name}; {taught(self.session, self.answering.lookup is not None)})"


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
            remark("(Ctrl-C again, or Ctrl-D, leaves)")
        else:
            warned = False
            yield line
