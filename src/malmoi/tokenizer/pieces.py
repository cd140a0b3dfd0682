"""Long texts in pieces, so that Ctrl-C is heard between two calls of the library, which hears nothing itself."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from queue import Full, Queue
from threading import Thread
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Engine

AT_ONCE = 1 << 18
"""Characters in one call: well under a second."""
PIECE = 1 << 15
_PLACE = re.compile(r"\S(?=[ \n])")
_LOOK_EVERY_S = 0.1


def is_cut_at_spaces(engine: Engine, added: Iterable[AddedToken]) -> bool:
    """Whether no token holds a character and the white space after it, and nothing looks across that place.

    So it is with the pre-tokenizer of GPT-2 (ours and SmolLM2's too): a space may only begin a word.
    """
    if engine.normalizer is not None or engine.pre_tokenizer is None:
        return False
    splits = json.loads(engine.pre_tokenizer.__getstate__())
    byte_level = [part for part in splits.get("pretokenizers", [splits]) if part["type"] != "Digits"]
    return (
        [part["type"] for part in byte_level] == ["ByteLevel"]
        and (byte_level[0]["add_prefix_space"], byte_level[0]["use_regex"]) == (False, True)
        and not any(token.lstrip or token.rstrip or re.search(r"\s", token.content) for token in added)
    )


def in_pieces(text: str) -> Iterator[str]:
    """The text in pieces of about PIECE characters, each but the first beginning with the space or line break after a
    word; a text without any is one piece."""
    begin = 0
    while len(text) - begin > PIECE and (found := _PLACE.search(text, begin + PIECE)):
        yield text[begin : found.end()]
        begin = found.end()
    yield text[begin:]


def calls(pieces: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Numbered pieces in groups of at most AT_ONCE characters, or of one piece."""
    group: list[tuple[int, str]] = []
    n_characters = 0
    for number, piece in pieces:
        if group and n_characters + len(piece) > AT_ONCE:
            yield group
            group, n_characters = [], 0
        group.append((number, piece))
        n_characters += len(piece)
    if group:
        yield group


def learn(engine: Engine, trainer: Any, texts: Iterable[str]) -> None:
    """Train on the texts in a thread of its own, which this one feeds: here Ctrl-C is heard, and the thread is left."""
    given: Queue[str | None] = Queue(maxsize=64)
    failed: list[BaseException] = []
    is_left = False

    def feed() -> Iterator[str]:
        while (text := given.get()) is not None and not is_left:
            yield text
        if is_left:
            raise RuntimeError("nobody waits for what is learned")

    def work() -> None:
        try:
            engine.train_from_iterator(feed(), trainer)
        except BaseException as error:
            failed.append(error)

    worker = Thread(target=work, daemon=True)
    worker.start()
    try:
        for piece in (piece for text in texts for piece in in_pieces(text)):
            _put(given, piece, worker)
        _put(given, None, worker)
        while worker.is_alive():
            worker.join(_LOOK_EVERY_S)
    except BaseException:
        is_left = True
        with contextlib.suppress(Full):  # it waits for the next text, or has one
            given.put_nowait(None)
        raise
    if failed:
        raise failed[0]


def _put(queue: "Queue[str | None]", item: str | None, worker: Thread) -> None:
    while worker.is_alive():
        try:
            queue.put(item, timeout=_LOOK_EVERY_S)
            return
        except Full:
            continue
