"""Parsers for formats whose rows belong together: trees of messages, and answers labelled one by one."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from malmoi.data.columns import id_of
from malmoi.data.rows import ROLE_OF, NumberedRow, Parser, Row, Turns, prompt_of, ranking, text_of
from malmoi.data.table import BadRow
from malmoi.errors import excerpt
from malmoi.text import canonical

MAX_MESSAGES = 200  # messages in one conversation


class _Node(NamedTuple):
    """A message of a tree. rank: among its siblings, 0 for the best; None if unranked."""

    number: int
    turn: dict[str, str]
    rank: int | None
    replies: "list[_Node]"


def _node(number: int, row: Row) -> _Node:
    role, rank = ROLE_OF.get(text_of(row, "role"), row["role"]), row.get("rank")
    if role not in ("user", "assistant"):
        raise BadRow("a role that no tree has", f" ({excerpt(role)}); prompter and assistant speak")
    if rank is not None and type(rank) not in (int, float):
        raise BadRow('"rank" is not a number', f" but {excerpt(rank)}")
    known = rank if rank == rank else None  # some tools write NaN for none
    return _Node(number, {"role": role, "content": text_of(row, "text")}, known, [])


def _is_out(row: Any) -> bool:
    """Whether a message was deleted, or rejected in review; its replies are dropped with it."""
    return isinstance(row, dict) and (bool(row.get("deleted")) or row.get("review_result") is False)


def _flat_roots(rows: Sequence[NumberedRow]) -> Iterator[tuple[int, "_Node | BadRow"]]:
    """The trees of a flat file, in which each row names its parent."""
    nodes: dict[str, _Node] = {}
    parents: dict[str, str | None] = {}
    for number, row in rows:
        try:
            if _is_out(row):
                raise BadRow("deleted", harmless=True)
            name, parent = id_of(row, "message_id"), id_of(row, "parent_id")
            if name is None or name in nodes:
                raise BadRow('"message_id" is empty' if name is None else '"message_id" of an earlier row')
            nodes[name], parents[name] = _node(number, row), parent
        except BadRow as problem:
            yield number, problem
    reached: list[_Node] = []
    for name, parent in parents.items():
        if parent in nodes:
            nodes[parent].replies.append(nodes[name])
            continue
        reached.append(nodes[name])
        lost = BadRow("its parent is missing or deleted", harmless=True)
        yield nodes[name].number, nodes[name] if parent is None else lost
    for node in reached:  # which grows meanwhile
        reached += node.replies
    numbers = {node.number for node in reached}
    for number in (node.number for node in nodes.values() if node.number not in numbers):
        yield number, BadRow("it answers itself, by way of the answers to it")


def _nested_roots(rows: Sequence[NumberedRow]) -> Iterator[tuple[int, "_Node | BadRow"]]:
    for number, row in rows:
        try:
            if _is_out(row["prompt"]):
                raise BadRow("deleted", harmless=True)
            yield number, _nested(number, row["prompt"])
        except BadRow as problem:
            yield number, problem


def _nested(number: int, row: Any, depth: int = 0) -> _Node:
    replies = row.get("replies") or [] if isinstance(row, dict) else None
    if not isinstance(replies, list) or depth > MAX_MESSAGES:
        raise BadRow("malformed tree", f" ({excerpt(row)})")
    node = _node(number, row)
    node.replies.extend(_nested(number, reply, depth + 1) for reply in replies if not _is_out(reply))
    return node


def _best_paths(node: _Node, before: Turns) -> Iterator[tuple[int, Any]]:
    """Every conversation of a tree with the best-ranked answer to each question; cuts a question without an answer."""
    turns = [*before, node.turn]
    is_question = node.turn["role"] == "user"
    by_rank = sorted(node.replies, key=lambda reply: float("inf") if reply.rank is None else reply.rank)
    if len(turns) > MAX_MESSAGES:
        yield node.number, BadRow(f"a conversation of more than {MAX_MESSAGES} messages")
        return
    following = [path for reply in (by_rank[:1] if is_question else by_rank) for path in _best_paths(reply, turns)]
    if following:
        yield from following
    elif not is_question:
        yield node.number, turns


def _ranked_answers(node: _Node, before: Turns) -> Iterator[tuple[int, Any]]:
    """Every question with its ranked answers, best first."""
    turns = [*before, node.turn]
    judged = sorted((reply for reply in node.replies if reply.rank is not None), key=lambda reply: reply.rank or 0)
    if node.turn["role"] == "user" and len(judged) > 1:
        ranks = [1 + sum((other.rank or 0) < (reply.rank or 0) for other in judged) for reply in judged]
        try:
            yield node.number, ranking(turns, [reply.turn["content"] for reply in judged], ranks)
        except BadRow as problem:
            yield node.number, problem
    for reply in node.replies if len(turns) < MAX_MESSAGES else ():
        yield from _ranked_answers(reply, turns)


def _from_trees(
    roots: Callable[[Sequence[NumberedRow]], Iterator[tuple[int, _Node | BadRow]]],
    walk: Callable[[_Node, Turns], Iterator[tuple[int, Any]]],
) -> Parser:
    def parser(rows: Sequence[NumberedRow]) -> Iterator[tuple[int, Any]]:
        waiting: list[_Node] = []
        for number, root in roots(rows):
            if isinstance(root, BadRow):
                yield number, root
            else:
                waiting.append(root)
        # A child may come before its parent, so the trees are complete only now.
        for root in waiting:
            yield from walk(root, [])

    return parser


def acceptability_rankings(rows: Sequence[NumberedRow]) -> Iterator[tuple[int, Any]]:
    """Answers labelled as acceptable or not, one in each row: the answers to one question make a ranking with ties."""
    questions: dict[str, list[NumberedRow]] = defaultdict(list)
    for number, row in rows:
        try:
            questions[canonical(text_of(row, "question"))].append((number, row))
        except BadRow as problem:
            yield number, problem
    for numbered in questions.values():
        labels = [row["acceptable?"] for _, row in numbered]
        ranks = [1 if label == 1 else 2 for label in labels]
        number, first = numbered[0]
        try:
            if not all(label in (0, 1) for label in labels):
                raise BadRow('"acceptable?" is 0 or 1', f"; got {excerpt(labels)}")
            if len(set(ranks)) < 2:
                raise BadRow("no ranking: one answer, or all have the same label", harmless=True)
            yield number, ranking(prompt_of(first, ("question",)), [row["response"] for _, row in numbered], ranks)
        except BadRow as problem:
            yield number, problem


flat_conversations = _from_trees(_flat_roots, _best_paths)
flat_rankings = _from_trees(_flat_roots, _ranked_answers)
nested_conversations = _from_trees(_nested_roots, _best_paths)
nested_rankings = _from_trees(_nested_roots, _ranked_answers)
