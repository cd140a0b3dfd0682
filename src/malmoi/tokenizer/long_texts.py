"""Long texts in pieces, so that Ctrl-C works: the tokenizers library cannot be interrupted within a call."""

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from queue import Full, Queue
from threading import Thread
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

CALL_CHARS = 1 << 18
"""Characters in one call, which takes well under a second."""
PIECE_CHARS = 1 << 15
_PLACE = re.compile(r"\S(?=[ \n])")
_POLL_S = 0.1


def can_cut_at_spaces(backend: Backend, added: Iterable[AddedToken]) -> bool:
    """Whether cutting a text before white space never changes its ids.

    This holds for the pre-tokenizer of GPT-2 (also ours and SmolLM2's): white space only begins a word, and no token
    and no rule spans a character and the white space after it.
    """
    if backend.normalizer is not None or backend.pre_tokenizer is None:
        return False
    splits = json.loads(backend.pre_tokenizer.__getstate__())
    byte_level = [part for part in splits.get("pretokenizers", [splits]) if part["type"] != "Digits"]
    return (
        [part["type"] for part in byte_level] == ["ByteLevel"]
        and (byte_level[0]["add_prefix_space"], byte_level[0]["use_regex"]) == (False, True)
        and not any(token.lstrip or token.rstrip or re.search(r"\s", token.content) for token in added)
    )


def cut_in_pieces(text: str) -> Iterator[str]:
    """The text in pieces of about PIECE_CHARS characters, cut before a space or line break after a word; a text without
    any is one piece."""
    begin = 0
    while len(text) - begin > PIECE_CHARS and (found := _PLACE.search(text, begin + PIECE_CHARS)):
        yield text[begin : found.end()]
        begin = found.end()
    yield text[begin:]


def groups_for_one_call(pieces: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Numbered pieces in groups of at most CALL_CHARS characters, or of one longer piece."""
    group: list[tuple[int, str]] = []
    n_characters = 0
    for number, piece in pieces:
        if group and n_characters + len(piece) > CALL_CHARS:
            yield group
            group, n_characters = [], 0
        group.append((number, piece))
        n_characters += len(piece)
    if group:
        yield group


def train_interruptibly(backend: Backend, trainer: Any, texts: Iterable[str]) -> None:
    """Train on the texts in another thread. This thread feeds it and hears Ctrl-C; it then abandons the other."""
    given: Queue[str | None] = Queue(maxsize=64)
    failed: list[BaseException] = []
    is_abandoned = False

    def feed() -> Iterator[str]:
        while (text := given.get()) is not None and not is_abandoned:
            yield text
        if is_abandoned:
            raise RuntimeError("training was interrupted")

    def work() -> None:
        try:
            backend.train_from_iterator(feed(), trainer)
        except BaseException as error:
            failed.append(error)

    worker = Thread(target=work, daemon=True)
    worker.start()
    try:
        for piece in (piece for text in texts for piece in cut_in_pieces(text)):
            _put(given, piece, worker)
        _put(given, None, worker)
        while worker.is_alive():
            worker.join(_POLL_S)
    except BaseException:
        is_abandoned = True
        with contextlib.suppress(Full):  # it waits for the next text, or has one
            given.put_nowait(None)
        raise
    if failed:
        raise failed[0]


def _put(queue: "Queue[str | None]", item: str | None, worker: Thread) -> None:
    while worker.is_alive():
        try:
            queue.put(item, timeout=_POLL_S)
            return
        except Full:
            continue
