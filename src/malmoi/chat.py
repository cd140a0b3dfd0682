"""Talking with a model on a terminal: streaming, several turns, and any model of the workspace to compare.

`Chat` holds a model and a conversation; `converse` reads lines and writes answers.
"""

import contextlib
import random
import sys
import unicodedata
from collections.abc import Generator, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path

import typer

from malmoi.errors import DataError, UserError
from malmoi.formats.folder import load_model, load_text
from malmoi.inference.engine import Engine
from malmoi.inference.fastest import way_of
from malmoi.inference.sampling import Sampling
from malmoi.inference.weights import Weights, stored_dtype
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.jinja import read_settings

ORDER = ("base", "sft", "ppo")
COMMANDS = {
    "/model": "/model [NAME]: the models to talk with, or another one; the conversation stays",
    "/reset": "/reset: forget the conversation",
    "/help": "/help: this list (to say a line that begins with a slash, put a space before it; pasted lines "
    "are one message)",
    "/quit": "/quit: leave, as Ctrl-D does; Ctrl-C stops an answer",
}
# These turn the direction of what follows, and can make a line read as another.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """The text without what could steer a terminal: escape and other control characters, direction overrides."""
    return "".join(c for c in text if c in "\n\t" or (unicodedata.category(c) != "Cc" and c not in _DIRECTIONS))


def find_model(name: str | None, models: Path) -> tuple[str, Path]:
    """A model's name and folder. name: one of the workspace's `models`, or any folder; None: its newest.

    Raises UserError that names the nearest.
    """
    names = model_names(models)
    if name is None and not names:
        raise UserError(f"{models}: no model here yet; make one with `malmoi demo`, or give a folder or --workspace")
    name = name or names[-1]
    if name in (folder.name for folder in models.glob("*")):
        return name, models / name
    if Path(name).is_dir():
        return Path(name).resolve().name, Path(name)
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    known = f"it has {', '.join(names)}" if names else "it has none"
    hint = f'did you mean "{near[0]}"? ' if near else ""
    raise UserError(f"{name}: no such model folder, nor a model in {models}; {hint}{known}")


def model_names(models: Path) -> list[str]:
    """The workspace's models that can write, the one to talk with by default last."""
    found = {path.parent for path in models.glob("*/config.json")}
    names = {folder.name for folder in found if read_settings(folder / "malmoi.json").get("kind") != "reward"}
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else -1, name))


class Chat:
    """A model and the conversation with it.

    models: folder of the models by name; seed: of the first answer, the following ones count on
    weights: number format to answer in
    n_dropped: turns that the last answer had to do without, since the context is full
    """

    def __init__(
        self, model: str | None, models: Path, sampling: Sampling, seed: int | None = None, weights: Weights = "auto"
    ) -> None:
        self.models, self.sampling, self.weights = models, sampling, weights
        self.seed = random.getrandbits(32) if seed is None else seed
        self.messages: list[dict[str, str]] = []
        self.n_dropped = 0
        self.use(model)

    def use(self, name: str | None) -> None:
        """Talk with this model from here on. Raises UserError, and stays with the old one, when it cannot."""
        found, folder = find_model(name, self.models)
        model = load_model(folder, LanguageModel, dtype=stored_dtype(self.weights))
        self.tokenizer, self.template = load_text(folder)
        way = way_of(model, self.weights)
        # One row: the next turn goes on where the last one ended, and only what is new is read.
        self.engine = Engine(
            model, end_ids=self.tokenizer.stop_ids, tokenizer=self.tokenizer, n_rows=1, weights=way.weights,
            in_c=way.in_c,
        )  # fmt: skip
        self.seq_len, self.name = model.config.seq_len, found

    def answer(self, text: str) -> Generator[str]:
        """Say something; the answer comes piece by piece. Closing the iterator stops it and keeps what was said.

        Raises DataError when the text alone is longer than the model can read.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"message: not UTF-8 at character {error.start}; nothing was sent") from None
        messages = [*self.messages, {"role": "user", "content": text}]
        ids, self.n_dropped = self._fitting(messages)
        request, n_shown, said = self.engine.submit(ids, self.sampling, self.seed), 0, ""
        try:
            while request.finish_reason is None:
                self.engine.step()
                piece, n_shown = self._piece(request.text[n_shown:], said), len(request.text)
                if piece:
                    said += piece
                    yield piece
        finally:
            self.engine.cancel(request)
            self.seed += 1
            if said:
                self.messages = [*messages[self.n_dropped :], {"role": "assistant", "content": said.rstrip()}]

    def _piece(self, text: str, said: str) -> str:
        return printable(text if said else text.lstrip())

    def _fitting(self, messages: list[dict[str, str]]) -> tuple[list[int], int]:
        """Ids of the newest turns that leave room for an answer, and how many old messages that leaves out."""
        longest = self.seq_len - min(self.sampling.max_tokens, self.seq_len // 4)
        # A question and its answer go together.
        for n_dropped in range(0, len(messages), 2):
            ids, _ = self.template.encode(self.tokenizer, messages[n_dropped:], add_generation_prompt=True)
            if len(ids) <= longest:
                return ids, n_dropped
        raise DataError(f"message: {len(ids)} tokens; {self.name} reads at most {longest} at once, so say less")


def converse(chat: Chat, lines: Iterable[str], *, interactive: bool) -> None:
    """Answer every line on stdout; lines that begin with a slash are commands. Remarks go to stderr.

    interactive: show who speaks; Ctrl-C stops an answer and an error costs one line; else both end the program
    """
    for line in lines:
        try:
            if line.startswith("/"):
                if line.strip() in ("/quit", "/exit"):
                    return
                _remark(_obey(chat, line))
            elif line.strip():
                _answer(chat, line.strip(), label=f"{chat.name}> " if interactive else "")
        except KeyboardInterrupt:
            if not interactive:
                raise
            _remark("\n(stopped)")
        except UserError as error:
            if not interactive:
                raise
            _remark(f"error: {error}")


def _answer(chat: Chat, text: str, label: str) -> None:
    spoken = False
    with contextlib.closing(chat.answer(text)) as pieces:
        for piece in pieces:
            if not spoken and chat.n_dropped:
                _remark(f"(the oldest {chat.n_dropped} messages no longer fit {chat.name}'s context and were dropped)")
            sys.stdout.write(piece if spoken else label + piece)
            sys.stdout.flush()
            spoken = True
    print(flush=True)
    if not spoken:
        _remark(f"({chat.name} ended its turn without a word)")


def _obey(chat: Chat, line: str) -> str:
    """Do what a slash command says; returns what to tell."""
    command, _, argument = line.strip().partition(" ")
    if command == "/help":
        return "\n".join(COMMANDS.values())
    if command == "/reset":
        chat.messages = []
        return "(the conversation is forgotten)"
    if command == "/model":
        if argument:
            chat.use(argument.strip())
            return f"(now {chat.name}; {describe(chat)})"
        return f"models: {', '.join(model_names(chat.models)) or 'none here'}; talking with {chat.name}"
    near = get_close_matches(command, COMMANDS, n=1, cutoff=0.4)
    return f"{command}: unknown command; {f'did you mean {near[0]}? ' if near else ''}/help lists them"


def describe(chat: Chat) -> str:
    """What one should know about the model before talking."""
    taught = "it continues text and was never taught to chat" if chat.name == "base" else "ask it something"
    return f"context {chat.seq_len} tokens; {taught}"


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
