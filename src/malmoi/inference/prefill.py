"""Which prompts an engine reads together: what several share is read once, and there is little padding."""

from collections.abc import Iterator
from typing import NamedTuple

from malmoi.inference.requests import Request
from malmoi.inference.rows import SHORTEST_PREFIX, CachedPrefix, Rows
from malmoi.text import common_prefix_length

# Tokens that an extra pass for a shared prefix must save: a pass over all weights costs about as much.
WORTH_A_PASS = 64
LITTLE_PADDING = 64


class Prefill(NamedTuple):
    """A request whose prompt is read now, and the prefix of it that a row already holds."""

    request: Request
    prefix: CachedPrefix

    @property
    def n_new(self) -> int:
        """Tokens to read."""
        return self.request.n_tokens - self.prefix.n_tokens


def split_by_prefix(rows: Rows, requests: list[Request]) -> tuple[list[Prefill], list[Request]]:
    """The requests to read now, ordered by the tokens to read, and those to read after them.

    A request that shares a prefix with one that is read now waits and copies it, if that saves more than another
    pass costs.
    """
    now: list[Prefill] = []
    later: list[Prefill] = []
    texts: list[list[int]] = []  # of the requests in `now`
    n_saved = 0
    for request in sorted(requests, key=lambda request: -request.n_tokens):
        one = Prefill(request, rows.longest_prefix(text := request.tokens))
        n_known = one.prefix.n_tokens
        n_least = n_known + SHORTEST_PREFIX
        alike = [other for other in texts if other[:n_least] == text[:n_least]]
        n_more = max((common_prefix_length(other, text[:-1]) for other in alike), default=0) - n_known
        if n_more >= SHORTEST_PREFIX:
            later.append(one)
            n_saved += n_more
        else:
            now.append(one)
            texts.append(text)
    if n_saved < WORTH_A_PASS:
        now, later = now + later, []
    return sorted(now, key=lambda one: one.n_new), [one.request for one in later]


def groups_by_length(found: list[Prefill]) -> Iterator[list[Prefill]]:
    """Groups with similar numbers of tokens to read, because attention computes padding. found: ordered by `n_new`"""
    start = 0
    while start < len(found):
        most = 2 * found[start].n_new + LITTLE_PADDING
        end = next((at for at in range(start, len(found)) if found[at].n_new > most), len(found))
        yield found[start:end]
        start = end
