"""Columns with a meaning in published formats. A column that is neither read nor refused is ignored and reported.

`docs/reference/data-columns.md` lists them for each format. The parsers in `rows` and `trees` read columns. This module
refuses columns that change a row's meaning and cannot be followed, and reads marks such as `"weight": 0`.
"""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from malmoi.data.table import BadRow
from malmoi.errors import excerpt

SYSTEM = ("system", "system_prompt", "system_message")
FACTS = ("source", "origin", "tree", "lang", "message_tree_id")
LABELS = ("label", "kto_tag")
# In WEIGHTS, 0 or false excludes a turn or a whole row from training; in MASKS, 1 or true does.
WEIGHTS = ("weight", "train", "training", "trainable", "trained", "loss", "loss_scale", "loss_mask")
MASKS = ("mask", "masked", "masking")

_TEXT_ONLY = "only text is read"
_NO_TOOLS = "tools are not taught"
_PICTURES = dict.fromkeys(("images", "image", "videos", "video", "audios", "audio", "objects"), _TEXT_ONLY)
_THOUGHT = dict.fromkeys(
    ("reasoning_content", "reasoning", "reasoning_details", "thinking"),
    "a thought that is separate from the answer is not taught; put it into the text",
)
REFUSED = {
    **_PICTURES,
    "rejected_images": _TEXT_ONLY,
    "tools": _NO_TOOLS,
    "functions": _NO_TOOLS,
    "chat_template_kwargs": "templates are called without arguments",
    "margin": "pairs are learned from without a margin",
}
REFUSED_IN_TURN = {
    **_PICTURES,
    **_THOUGHT,
    "tools": _NO_TOOLS,
    "functions": _NO_TOOLS,
    "tool_calls": _NO_TOOLS,
    "tool_call_id": _NO_TOOLS,
    "function_call": _NO_TOOLS,
    "refusal": "put it into the text",
    "prefix": "an answer is learned whole",
    "train_detail": 'a turn is learned whole or not at all; split it, or say "train"',
}
# Read by some formats; in others they would change what a row means.
NEEDS_READER = ("history", "input", "context", "documents", "rejected_response", "rejected_messages")
IN_TURN = {"role", "content", "from", "value", "documents", *WEIGHTS, *MASKS}
DOCUMENT_TEXTS = ("text", "contents", "content")
"""Names of a document's text."""
_EMPTY: tuple[Any, ...] = (None, "", [], {}, "[]", "{}", "null", False)


def is_given(value: Any) -> bool:
    """Whether a column holds anything. An empty list of tools may be published as the text "[]"."""
    return not any(type(value) is type(nothing) and value == nothing for nothing in _EMPTY)


def id_of(row: Mapping[str, Any], name: str) -> str | None:
    """An id as text, None if there is none. Any JSON scalar is an id; 1, 1.0 (from tables) and "1" are the same."""
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise BadRow(f'"{name}" is not an id', f" but {excerpt(value)}; an id is a text or a number")
    return value if isinstance(value, str) else str(value)


def is_trained(row: Mapping[str, Any]) -> bool:
    """Whether a turn or row is trained on: True unless one of its marks says no."""
    wanted = True
    for name in (*WEIGHTS, *MASKS):
        value = row.get(name)
        if value is None:
            continue
        if not isinstance(value, bool | int | float) or value not in (0, 1):
            raise BadRow(f'"{name}" is neither 0 nor 1', f" but {excerpt(value)}; a turn is learned from or not")
        wanted &= bool(value) != (name in MASKS)
    return wanted


def check_turn(number: int, turn: Mapping[str, Any]) -> None:
    for name in turn.keys() & REFUSED_IN_TURN.keys():
        if is_given(turn[name]):
            raise BadRow(f'"{name}" of a turn cannot be followed', f" (message {number}): {REFUSED_IN_TURN[name]}")


def label_of(row: Mapping[str, Any]) -> bool:
    """Whether an answer is wanted, as the row's `label` or `kto_tag` says it."""
    said = next((row[name] for name in LABELS if row.get(name) is not None), None)
    if said is None:
        raise BadRow("no vote", f'; "{LABELS[0]}" says whether the answer is wanted, true or false')
    said = said.strip().lower() if isinstance(said, str) else said
    # 1 == True, and 1.0 comes from tables.
    known = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}
    if not isinstance(said, bool | int | float | str) or said not in known:
        raise BadRow(f"no vote: {' or '.join(LABELS)} is neither true nor false", f" but {excerpt(said)}")
    return known[said]


def check_row(row: Mapping[str, Any], reads: Collection[str], *, is_learnt: bool, is_voted: bool = False) -> None:
    """Refuse a row with a column that matters and that its format does not read.

    is_learnt: False for prompts, for which marks do not matter; is_voted: a label that says no is what is wanted
    """
    for name in row.keys() & REFUSED.keys() - set(reads):
        if is_given(row[name]):
            raise BadRow(f'"{name}" cannot be followed', f": {REFUSED[name]}")
    for name in NEEDS_READER:
        if name not in reads and is_given(row.get(name)):
            raise BadRow(f'"{name}" is not read in this form', f", but says {excerpt(row[name])}; empty or remove it")
    if not is_learnt:
        return
    if is_voted:
        label_of(row)
    for name in () if is_voted else LABELS:
        said = row.get(name)  # in many data sets a number is the class of a text
        if said is False or (isinstance(said, str) and said.lower() == "false"):
            raise BadRow(f'"{name}" says that the answer is not wanted', "; leave the row out")
    if not is_trained(row):
        raise BadRow("marked as not to be learned from", harmless=True)


def unused(row: Mapping[str, Any], reads: Collection[str], *, is_voted: bool = False) -> Iterator[str]:
    """Columns that hold something and are ignored; columns of turns as "messages[].name"."""
    read = (name for name in LABELS if is_voted or row.get(name) is True)
    known = {*reads, *FACTS, *SYSTEM, *WEIGHTS, *MASKS, *read}
    for name, value in row.items():
        if not is_given(value):
            continue
        if name not in known and not re.fullmatch(r"annotator\d+|prediction \d+", name):
            yield name
        elif isinstance(value, list):
            keys = _given_keys(value) - {*TURN_EXTRAS.get(name, IN_TURN)}
            yield from (f"{name}[].{key}" for key in sorted(map(str, keys)))
            documents = [turn.get("documents") for turn in value if isinstance(turn, Mapping)]
            keys = {key for found in documents if isinstance(found, list) for key in _given_keys(found)}
            yield from (f"{name}[].documents[].{key}" for key in sorted(map(str, keys - {*TURN_EXTRAS["documents"]})))


def _given_keys(rows: list[Any]) -> set[Any]:
    return {key for row in rows if isinstance(row, Mapping) for key, held in row.items() if is_given(held)}


# Columns that are lists of something other than turns -> the keys that are read.
TURN_EXTRAS = {
    "instances": ("input", "output"),
    "completions": ("response", "overall_score", "fine-grained_score"),
    "documents": ("title", *DOCUMENT_TEXTS),
}
