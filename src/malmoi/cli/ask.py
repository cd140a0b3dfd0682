"""`malmoi ask`: one question, one answer, with its sources."""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from malmoi.cli import completion
from malmoi.cli.answers import (
    Documents,
    MaxTokens,
    NoDocuments,
    NoRecord,
    RandomSeed,
    Temperature,
    TopK,
    TopP,
    remark,
)
from malmoi.cli.options import Json, Weights, WorkspaceOption
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from malmoi.cli.answers import Answering
    from malmoi.inference.session import ChatSession


def ask(
    question: Annotated[
        str | None,
        typer.Argument(metavar="QUESTION", help="The question; `-`, or nothing in a pipe: each line is one."),
    ] = None,
    documents: Documents = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.voices,
            help="A model of the workspace, a model folder, or none, which quotes; default: the newest, else none.",
        ),
    ] = None,
    no_documents: NoDocuments = False,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    max_tokens: MaxTokens = None,
    seed: RandomSeed = None,
    no_record: NoRecord = False,
    weights: Weights = "auto",
    workspace: WorkspaceOption = Path("workspace"),
    as_json: Json = False,
) -> None:
    """Answer a question, with the file, the line and the sentence that the answer comes from.

    Looks up in the workspace's index, or in the documents of any folder at once. What the model says is checked; where
    the documents do not support it, they are quoted instead. Each answer is recorded: `malmoi lineage answer-1` follows
    it to its sources and its model.

    Piped lines are questions, each answered by itself, without the ones before; a question with line breaks in it has
    to be given as the argument. With --json, each answer is a line.

    \b
    Example:
      malmoi ask "When does the hall open?" --documents ./notes
      malmoi ask "What does os.path.join do?" --workspace demo --model ppo
      cat questions.txt | malmoi ask --documents ./notes --model none --json
    """
    from malmoi.cli.answers import Answering

    given = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "max_tokens": max_tokens}
    answering, session = None, None
    for asked in _questions(question):
        is_first = answering is None
        if answering is None or session is None:
            answering = Answering.opened(workspace, documents, no_documents, no_record)
            session = answering.session(model, given, seed, weights, "ask")
        elif not as_json:
            print()
        session.messages = []
        _answer(answering, session, asked, as_json)
        if is_first:  # after the answer: an error stays the only line
            remark(answering.introduction(session))


def _questions(question: str | None) -> Iterator[str]:
    """The argument, or the lines of a pipe. Raises ConfigError if there is nothing to answer."""
    if question not in (None, "-"):
        lines: Iterable[str] = [_checked(str(question))]
    elif sys.stdin.isatty() and question is None:
        raise ConfigError('question: is missing; give one, such as malmoi ask "What is …?", or pipe some in')
    else:
        lines = sys.stdin
    is_empty = True
    for line in lines:
        if asked := line.strip():
            is_empty = False
            yield asked
    if is_empty:
        raise ConfigError("question: is empty; ask something")


def _checked(question: str) -> str:
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"question: not UTF-8 at character {error.start}; give it in UTF-8") from None
    return question


def _answer(answering: "Answering", session: "ChatSession", asked: str, as_json: bool) -> None:
    """Answer one question: the answer, then a line for each source; or all of it as a line of JSON."""
    from malmoi.cli.answers import say, sources_of
    from malmoi.files import to_json

    if not as_json:
        say(session, asked)
        for line in sources_of(session):
            print(f"  {line}")
        answering.remark_on(session)
        sys.stdout.flush()
        answering.record(session)
        return
    with contextlib.closing(session.answer(asked)) as pieces:
        text = "".join(pieces).rstrip()
    assert session.last is not None
    row = {"id": answering.record(session), "question": asked, "answer": text, **session.last.to_row()}
    row |= {"voice": session.name, "model_sha256": answering.sha256_of(session.folder)}
    row |= {"index_sha256": answering.sha256_of(answering.index), "sampling": answering.how(session)}
    print(to_json(row), flush=True)
