"""Chat templates of Hugging Face folders: where to find them, and how to render them.

A template may use what transformers offers: `trim_blocks`, `lstrip_blocks`, loop controls, `tojson`, `raise_exception`,
`strftime_now`, `{% generation %}` and the names of special tokens. A template is code from strangers, so it runs in
Jinja's sandbox, with an end: a loop in a loop would keep the service busy for ever.
"""

import json
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from malmoi.errors import CheckpointError, DataError
from malmoi.files import read_json
from malmoi.tokenizer.message_loop import find_message_loop, without_documents
from malmoi.tokenizer.tagged_text import ASSISTANT, TaggedText, untag
from malmoi.tokenizer.template_clock import template_time

FILE = "chat_template.jinja"
# Private-use characters that mark where `{% generation %}` begins and ends.
BEGIN, END = "\ue001", "\ue002"
# Marks where each message begins, in templates that have a `message_loop`.
NEXT = "\ue006"
LONGEST_S, LONGEST, LOOK_EVERY = 10.0, 10_000_000, 1000
"""Most seconds that loops may take, and most characters or items of a product. Templates of published models take
thousandths of a second."""
MOST_BITS = 4096
"""Most bits of a number that two numbers make."""
TICK = "malmoi_tick"


def find_template(folder: Path) -> str | None:
    """A folder's chat template: its own file, else the one in tokenizer_config.json (of several, `default`)."""
    if (folder / FILE).exists():
        try:
            return (folder / FILE).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{folder / FILE}: not UTF-8 at byte {error.start}") from None
    found = read_settings(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):
        named = {entry.get("name"): entry.get("template") for entry in found if isinstance(entry, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def read_settings(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no such file."""
    settings = read_json(path) if path.exists() else {}
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(settings).__name__}")
    return settings


def render(
    source: str, messages: Sequence[Mapping[str, str]], names: Mapping[str, str], *,
    add_generation_prompt: bool = False, marked: bool = False, documents: Sequence[Mapping[str, str]] | None = None,
) -> str:  # fmt: skip
    """A conversation as the template writes it. names: bos_token, eos_token, … -> the token.

    marked: put BEGIN and END around each `{% generation %}` block, and without documents NEXT before each message (see
        `message_loop`)
    documents: each with `title` and `text`; None: there are none
    Raises DataError if the template refuses the conversation or fails.
    """
    given = {TICK: _Clock(), "tools": None, "documents": documents, "add_generation_prompt": add_generation_prompt}
    try:
        return _compile(source, marked, documents is not None).render(messages=messages, **given, **names)
    except TemplateError as error:
        raise DataError(f"chat template: {error}") from None
    except Exception as error:  # a mistake in the template: None + "text", a missing key
        raise DataError(f"chat template: {type(error).__name__}: {error}") from None


class _Clock:
    """Called at every turn of a template's loops. Raises TemplateError once they have taken too long."""

    def __init__(self) -> None:
        self.n_turns, self.ends_at = 0, time.monotonic() + LONGEST_S

    def __call__(self) -> str:
        self.n_turns += 1
        if self.n_turns % LOOK_EVERY == 0 and time.monotonic() > self.ends_at:
            raise TemplateError(f"its loops take longer than {LONGEST_S:g} s")
        return ""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Products and powers are as long as a text may be, or as a number may be."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        is_long = operator == "*" and any(
            isinstance(one, str | list | tuple) and isinstance(n, int) and len(one) * n > LONGEST
            for one, n in ((left, right), (right, left))
        )
        is_large = operator == "**" and not (isinstance(right, int | float) and abs(right) <= 64)
        if isinstance(left, int) and isinstance(right, int) and not is_large:
            n_bits = left.bit_length() * abs(right) if operator == "**" else left.bit_length() + right.bit_length()
            is_large = n_bits > MOST_BITS
        if is_long or is_large:
            raise TemplateError(f"a result of {operator} is too large")
        return super().call_binop(context, operator, left, right)


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}`: what the assistant says."""

    tags = {"generation"}  # noqa: RUF012 (jinja2's own interface)

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Any) -> str:
        return str(caller())


class _MarkedGeneration(_Generation):
    def _mark(self, caller: Any) -> str:
        return f"{BEGIN}{caller()}{END}"


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return template_time().strftime(form)


def _to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    """JSON without the HTML escapes of Jinja's own filter."""
    written = json.dumps(_ready(value, ensure_ascii), ensure_ascii=False, **options)
    if not ensure_ascii:
        return written
    return "".join(c if c.isascii() or ord(c) >= ASSISTANT else json.dumps(c)[1:-1] for c in written)


def _ready(value: Any, ensure_ascii: bool) -> Any:
    """The value with tagged texts escaped for JSON, so that they can be written as they are."""
    if isinstance(value, TaggedText):
        return value.as_json(ensure_ascii)
    if isinstance(value, Mapping):
        return {key: _ready(item, ensure_ascii) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_ready(item, ensure_ascii) for item in value]
    return value


class _TemplateDict:
    """`dict(…)` and `dict.fromkeys(…)`, and nothing else of the type."""

    def __call__(self, *values: Any, **more: Any) -> dict[Any, Any]:
        return dict(*values, **more)

    def fromkeys(self, *values: Any) -> dict[Any, Any]:
        return dict.fromkeys(*values)


@lru_cache(maxsize=64)
def _compile(source: str, marked: bool, has_documents: bool) -> Template:
    environment = _Sandbox(
        trim_blocks=True, lstrip_blocks=True, extensions=[_MarkedGeneration if marked else _Generation, loopcontrols]
    )
    environment.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now, "dict": _TemplateDict()}
    count_words = environment.filters["wordcount"]
    environment.filters |= {"tojson": _to_json, "wordcount": lambda text: count_words(untag(text))}
    tree = environment.parse(source)
    if marked and not has_documents and (loop := find_message_loop(without_documents(tree))) is not None:
        loop.body.insert(0, nodes.Output([nodes.TemplateData(NEXT)]))
    for each in list(tree.find_all(nodes.For)):
        each.body.insert(0, nodes.ExprStmt(nodes.Call(nodes.Name(TICK, "load"), [], [], None, None)))
    return environment.from_string(tree)


@lru_cache(maxsize=32)
def generation_prompt(source: str, names: tuple[tuple[str, str], ...]) -> str | None:
    """What a template with a `message_loop` writes after any message to ask for an answer; None if not known."""
    example = [{"role": "user", "content": "a"}]
    try:
        without, prompt = (
            render(source, example, dict(names), add_generation_prompt=wanted) for wanted in (False, True)
        )
    except DataError:
        return None
    return prompt[len(without) :] if prompt.startswith(without) else None
