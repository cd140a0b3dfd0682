"""What people publish -> conversations, rankings and prompts in one form each.

A row's columns tell its format (`FORMATS`); nobody has to name it. What comes out:

    conversation  {"messages", "source", "origin", "tree"}
    ranking       {"messages" (ends with the user), "answers", "ranks" (1 is best, equal is a tie), "source", "origin",
                   "tree"}, and "annotators" where it is known what each person said: their ranks
    prompt        {"messages" (ends with the user), "source", "tree"}

`tree` names what must not stand on both sides of a split; `origin` says who wrote the answers. A row that says one of
these, or its "lang", itself is believed.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple

from malmoi.corpus.folders import EXAMPLES_PER_REASON, Errors
from malmoi.data.table import KINDS, BadRow, each_row
from malmoi.errors import DataError
from malmoi.tokenizer.chat_template import check_messages

Row = dict[str, Any]
Turns = list[dict[str, str]]
Numbered = tuple[int, Row]
Maker = Callable[[Sequence[Numbered]], Iterator[tuple[int, Any]]]
"""Numbered rows -> where each thing stands and the thing, or the BadRow that says why it cannot be made."""
Origin = Literal["human", "generated", "mixed", "unknown"]

ROLE_OF = {"human": "user", "prompter": "user", "gpt": "assistant"}
NAMES = {"chats": "conversation", "ranking": "ranking", "prompt": "prompt"}
EXPECTED = {
    "chats": '{"messages": [...]} or {"prompt", "completion"}',
    "ranking": '{"messages", "answers", "ranks"} or {"prompt", "chosen", "rejected"}',
    "prompt": '{"messages": [...]} or {"prompt"}',
}
DEEPEST = 200  # messages in one conversation of a tree


@dataclass
class Report:
    """What a reader found. formats: their rows; skipped: reason -> rows; examples: the first of each reason, by file
    and line"""

    formats: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def skip(self, where: str, problem: BadRow) -> None:
        self.skipped[problem.reason] += 1
        if self.skipped[problem.reason] <= EXAMPLES_PER_REASON:
            self.examples.append(f"{where}: {problem}")


class Format(NamedTuple):
    """columns: those that a row needs to be of it; origin: of its answers, unless the row says; chats, ranking: what it
    holds; gathers: rows belong together, so that the whole file is read first; fits: what else a row needs"""

    name: str
    columns: frozenset[str]
    origin: Origin
    chats: Maker | None = None
    ranking: Maker | None = None
    gathers: bool = False
    fits: Callable[[Row], bool] = bool


def conversations(
    path: Path, errors: Errors = "strict", report: Report | None = None, source: str | None = None
) -> Iterator[Numbered]:
    """Line number and conversation, for any format; of rankings, the best answer.

    errors: "strict" raises DataError that names file and line, "skip" counts what cannot be used in `report`
    source: the data's name, by default the file's
    Raises DataError when there is none at all.
    """
    for number, raw, origin, turns in _made(path, "chats", errors, report):
        yield number, {"messages": turns, **_facts(raw, turns, source or name_of(path), origin)}


def rankings(
    path: Path, errors: Errors = "strict", report: Report | None = None, source: str | None = None
) -> Iterator[Numbered]:
    """Line number and ranking, for any format that has them; arguments and errors as for `conversations`."""
    for number, raw, origin, made in _made(path, "ranking", errors, report):
        yield number, {**made, **_facts(raw, made["messages"], source or name_of(path), origin)}


def prompts(
    path: Path, errors: Errors = "strict", report: Report | None = None, source: str | None = None
) -> Iterator[Numbered]:
    """Line number and prompt: what stands before the last answer, in any format, or a prompt alone."""
    for number, raw, turns in raw_prompts(path, errors, report):
        facts = _facts(raw, turns, source or name_of(path), "unknown")
        yield number, {"messages": turns, **{key: value for key, value in facts.items() if key != "origin"}}


def raw_prompts(
    path: Path, errors: Errors = "strict", report: Report | None = None
) -> Iterator[tuple[int, Row, Turns]]:
    """Line number, the row as its file has it, and the turns that wait for an answer."""
    for number, raw, _, made in _made(path, "prompt", errors, report):
        turns = made["messages"] if isinstance(made, dict) else made
        yield number, raw, turns[:-1] if turns[-1]["role"] == "assistant" else turns


def name_of(path: Path) -> str:
    """The data's name: the file's, without its kind."""
    kind = max((kind for kind in KINDS if path.name.lower().endswith(kind)), key=len, default="")
    return path.name[: len(path.name) - len(kind)]


def tree_of(messages: Sequence[Mapping[str, str]]) -> str:
    """Conversations that begin with the same question, but for case and white space, are of one tree."""
    first = next(message["content"] for message in messages if message["role"] == "user")
    return hashlib.sha256(" ".join(first.casefold().split()).encode()).hexdigest()[:16]


def _facts(raw: Row, turns: Turns, source: str, origin: Origin) -> Row:
    facts: Row = {"source": source, "origin": origin, "tree": tree_of(turns)}
    if raw.get("message_tree_id"):
        facts["tree"] = raw["message_tree_id"]
    known = {name: raw[name] for name in ("source", "origin", "tree", "lang") if isinstance(raw.get(name), str)}
    return facts | {name: value for name, value in known.items() if value}


def _made(path: Path, wanted: str, errors: Errors, report: Report | None) -> Iterator[tuple[int, Row, Origin, Any]]:
    report = Report() if report is None else report
    n_before = report.formats.total()
    together: dict[Format, list[Numbered]] = defaultdict(list)

    def pieces() -> Iterator[tuple[Format, Sequence[Numbered]]]:
        for number, row in each_row(path):
            found = row if isinstance(row, BadRow) else _recognise(row, wanted)
            if isinstance(found, BadRow):
                _refuse(path, number, found, errors, report)
            elif found.gathers:
                together[found].append((number, row))
            else:
                yield found, [(number, row)]
        yield from together.items()

    for form, rows in pieces():
        maker = form.ranking if wanted == "ranking" else form.chats or form.ranking or _prompts_alone
        assert maker is not None
        by_number = dict(rows)
        for number, made in maker(rows):
            if isinstance(made, BadRow):
                _refuse(path, number, made, errors, report)
                continue
            try:
                _check(made, needs_answer=wanted == "chats")
            except BadRow as problem:
                _refuse(path, number, problem, errors, report)
                continue
            report.formats[form.name] += 1
            yield number, by_number[number], form.origin, made
    if report.formats.total() == n_before:
        said = f"; {report.examples[0]}" if report.examples else ""
        raise DataError(f"{path}: holds no {NAMES[wanted]}{said}")


def _refuse(path: Path, number: int, problem: BadRow, errors: Errors, report: Report) -> None:
    if errors == "strict" and not problem.harmless:
        raise DataError(f"{path}:{number}: {problem}")
    report.skip(f"{path}:{number}", problem)


def _recognise(row: Any, wanted: str) -> "Format | BadRow":
    if not isinstance(row, dict):
        return BadRow("expected an object", f', as in {{"messages": [...]}}; this is a {type(row).__name__}')
    there = {name for name, value in row.items() if value is not None}
    fitting = [form for form in FORMATS if form.columns <= there and form.fits(row)]
    for form in fitting:
        if wanted == "prompt" or (form.ranking if wanted == "ranking" else form.chats):
            return form
    expected = {
        "ranking": '{"messages", "answers", "ranks"} or {"prompt", "chosen", "rejected"}',
        "chats": '{"messages": [...]} or {"prompt", "completion"}',
        "prompt": '{"messages": [...]} or {"prompt"}',
    }[wanted]
    return BadRow(
        f"expected {expected}", f" or another known format; the row has {', '.join(map(str, row)) or 'nothing'}"
    )


def _check(made: Any, needs_answer: bool) -> None:
    """Roles alternate, and every turn says something."""
    turns = made["messages"] if isinstance(made, dict) else made
    try:
        check_messages(turns)
        if isinstance(made, dict):
            check_messages([{"role": "assistant", "content": answer} for answer in made["answers"]])
    except DataError as error:
        raise BadRow("malformed messages", f" ({error})") from None
    spoken = [turn["role"] for turn in turns]
    spoken = spoken[1:] if spoken[0] == "system" else spoken
    for place, role in enumerate(spoken):
        if role != ("user", "assistant")[place % 2]:
            raise BadRow("roles do not alternate", f": {', '.join(spoken)}; user and assistant take turns, user first")
    if not spoken:
        raise BadRow("nobody asks anything", "; a conversation has a user's turn")
    if any(not turn["content"].strip() for turn in turns):
        raise BadRow("an empty turn", "; leave the row out or fill it")
    if needs_answer and "assistant" not in spoken:
        raise BadRow("no assistant turn, so nothing to train on")
    if isinstance(made, dict) and spoken[-1] != "user":
        raise BadRow("the prompt does not end with the user's turn")


# What the columns of a row hold.


def _text(row: Mapping[str, Any], name: str) -> str:
    if not isinstance(row.get(name), str):
        raise BadRow(f'"{name}" is no text', f" but {row.get(name)!r:.60}")
    return row[name]


def _turns(value: Any) -> Turns:
    """Messages under their several names (role and content, from and value), with roles as we call them."""
    if not isinstance(value, list):
        raise BadRow("expected a list of messages", f", got {value!r:.60}")
    turns = []
    for number, turn in enumerate(value):
        if not isinstance(turn, Mapping):
            raise BadRow("malformed messages", f" (message {number}: {turn!r:.60})")
        foreign = turn.get("from")
        role = ROLE_OF.get(foreign, foreign) if isinstance(foreign, str) else turn.get("role")
        turns.append({"role": role, "content": turn.get("content") if foreign is None else turn.get("value")})
    return turns  # type: ignore[return-value]


def _spoken(texts: Any) -> Turns:
    """Texts by turns: the user begins."""
    if not isinstance(texts, list):
        raise BadRow('"turns" is no list', f" but {texts!r:.60}")
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def _transcript(text: str) -> Turns | None:
    """Turns of a transcript ("\\n\\nHuman: … \\n\\nAssistant: …", as in Anthropic's HH), or None if it is not one."""
    parts = _SPEAKER.split(text if text.startswith("\n") else f"\n\n{text}")
    if parts[0].strip() or parts[1:2] != ["Human"]:
        return None
    speakers = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": ROLE_OF.get(name.lower(), "assistant"), "content": said.strip()} for name, said in speakers]


def _asked(row: Row) -> Turns:
    """The prompt: text, transcript or messages, with what else the row puts before the answer."""
    name = next((name for name in ("prompt", "question", "instruction") if row.get(name) is not None), None)
    if name is None:
        return _turns(row["messages"]) if "messages" in row else []
    if not isinstance(row[name], str):
        return _turns(row[name])
    turns = _transcript(row[name])
    if turns is not None:
        return turns[:-1] if turns[-1]["role"] == "assistant" and not turns[-1]["content"] else turns
    given = _text(row, "input") if name == "instruction" and row.get("input") else ""
    system = [{"role": "system", "content": _text(row, "system")}] if row.get("system") else []
    return [*system, {"role": "user", "content": f"{row[name]}\n\n{given}" if given.strip() else row[name]}]


def _answer(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _ranked(messages: Turns, answers: Sequence[Any], ranks: Sequence[int], **more: Any) -> Row:
    """Rankings by others: answers are texts that say something, and who is ranked above whom differs."""
    for answer in answers:
        if not isinstance(answer, str):
            raise BadRow("an answer is no text", f" but {answer!r:.60}")
        if not answer.strip():
            raise BadRow("an empty answer", "; leave the row out or fill it")
    for i, j in combinations(range(len(answers)), 2):
        if answers[i] == answers[j] and ranks[i] != ranks[j]:
            raise BadRow("equal answers ranked apart", f": {answers[i]!r:.60}; leave the row out")
    return {"messages": messages, "answers": list(answers), "ranks": list(ranks), **more}


def _judgements(row: Row) -> Row:
    """A snapshot of judgements. An answer may be empty: the model ended its turn at once, and people ranked that."""
    for name in ("messages", "answers", "ranks"):
        if not isinstance(row[name], list):
            raise BadRow(f'expected "{name}" to be a list', f", got {row[name]!r:.60}")
    answers, ranks = row["answers"], row["ranks"]
    if len(answers) < 2 or len(answers) != len(ranks):
        raise BadRow(
            "answers and ranks do not fit", f": {len(answers)} answers and {len(ranks)} ranks; two or more are needed"
        )
    if not all(type(rank) is int for rank in ranks):
        raise BadRow("ranks are whole numbers, 1 for the best", f"; got {ranks!r:.60}")
    made = {"messages": _turns(row["messages"]), "answers": answers, "ranks": ranks}
    return made | ({"annotators": _annotators(row, len(answers))} if row.get("annotators") else {})


def _annotators(row: Row, n_answers: int) -> list[list[int]]:
    said = row["annotators"]
    if not isinstance(said, list) or not all(isinstance(ranks, list) and len(ranks) == n_answers for ranks in said):
        raise BadRow(f'"annotators" needs a list of {n_answers} ranks for each person', f"; got {said!r:.60}")
    return said


def _pair(row: Row) -> Row:
    """Chosen and rejected, as texts, messages or transcripts, each with or without the prompt before it."""
    prompt = _asked(row) if isinstance(row["chosen"], str) or "prompt" in row else []
    sides = []
    for name in ("chosen", "rejected"):
        if isinstance(row[name], str):
            turns = None if prompt else _transcript(row[name])
            turns = [_answer(row[name])] if turns is None else turns
        else:
            turns = _turns(row[name])
        is_whole = bool(turns) and turns[0]["role"] != "assistant"
        if is_whole and turns[: len(prompt)] != prompt:
            raise BadRow(f'"{name}" does not begin with its prompt')
        sides.append(turns if is_whole else [*prompt, *turns])
    chosen, rejected = sides
    if not chosen or chosen[0]["role"] == "assistant":
        raise BadRow('no prompt: add a column "prompt"', ', or write "\\n\\nHuman: …\\n\\nAssistant: …"')
    if not rejected or chosen[:-1] != rejected[:-1]:
        raise BadRow("chosen and rejected differ before their last turn", "; only the last answer may differ")
    if any(turns[-1]["role"] != "assistant" for turns in sides):
        raise BadRow("chosen and rejected do not end with an answer")
    if chosen == rejected:
        raise BadRow("chosen and rejected are the same", "; leave the row out")
    return _ranked(chosen[:-1], [chosen[-1]["content"], rejected[-1]["content"]], [1, 2])


def _oasst_ranking(row: Row) -> Row:
    if not isinstance(row["ranked"], list) or len(row["ranked"]) < 2:
        raise BadRow('"ranked" needs two answers or more', ", best first")
    return _ranked(_turns(row["messages"]), row["ranked"], range(1, len(row["ranked"]) + 1))


def _pandalm(row: Row) -> Row:
    """Two answers, judged by several people: 1 or 2 for the better one, 0 for a tie; the majority's word counts."""
    votes = [row[name] for name in sorted(row) if re.fullmatch(r"annotator\d+", name)]
    if not all(vote in (0, 1, 2) for vote in votes):
        raise BadRow("annotators say 0, 1 or 2", f"; got {votes}")
    ranks_of = {0: [1, 1], 1: [1, 2], 2: [2, 1]}
    vote, n_votes = Counter(votes).most_common(1)[0]
    said = ranks_of[vote if n_votes > len(votes) / 2 else 0]
    annotators = [ranks_of[vote] for vote in votes]
    return _ranked(_asked(row), [row["response1"], row["response2"]], said, annotators=annotators)


def _fgrlhf(row: Row) -> Row:
    """Four answers and what people said of each pair (1 2, 1 3, 1 4, 2 3, 2 4, 3 4): 1 or 2 for the better, 0 for none.

    Ranked by pairs won, a pair without preference being half won by both.
    """
    names = sorted((name for name in row if re.fullmatch(r"prediction \d+", name)), key=lambda name: int(name[11:]))
    pairs = list(combinations(range(len(names)), 2))
    said = row["preference"]
    if not isinstance(said, list) or len(said) != len(pairs) or not set(map(repr, said)) <= {"0", "1", "2"}:
        raise BadRow(f'"preference" needs 0, 1 or 2 for each of {len(pairs)} pairs', f"; got {said!r:.60}")
    won = [0] * len(names)
    for (i, j), better in zip(pairs, said, strict=True):
        won[i] += (1, 2, 0)[better]
        won[j] += (1, 0, 2)[better]
    return _ranked(_asked(row), [row[name] for name in names], [1 + sum(other > n for other in won) for n in won])


def _completion(*names: str) -> Callable[[Row], Turns]:
    def made(row: Row) -> Turns:
        value = next(row[name] for name in names if name in row)
        turns = [_answer(value)] if isinstance(value, str) else _turns(value)
        return [*_asked(row), *turns]

    return made


def _instances(row: Row) -> Turns:
    """Self-instruct's tasks: an instruction and its examples, of which the first is shown."""
    shown = row["instances"][0] if isinstance(row["instances"], list) and row["instances"] else None
    if not isinstance(shown, dict):
        raise BadRow('"instances" holds no example')
    return [*_asked({"instruction": row["instruction"], "input": shown.get("input")}), _answer(_text(shown, "output"))]


# From one row, and from many.


def _each(make: Callable[[Row], Any]) -> Maker:
    def maker(rows: Sequence[Numbered]) -> Iterator[tuple[int, Any]]:
        for number, row in rows:
            try:
                yield number, make(row)
            except BadRow as problem:
                yield number, problem

    return maker


def _best(ranking: Maker) -> Maker:
    """Conversations of rankings: with the answer that is ranked best."""

    def maker(rows: Sequence[Numbered]) -> Iterator[tuple[int, Any]]:
        for number, made in ranking(rows):
            if isinstance(made, BadRow):
                yield number, made
            else:
                best = made["answers"][made["ranks"].index(min(made["ranks"]))]
                yield number, [*made["messages"], _answer(best)]

    return maker


_prompts_alone = _each(_asked)


class _Node(NamedTuple):
    """A message of a tree. rank: among its siblings, 0 for the best, or None"""

    number: int
    turn: dict[str, str]
    rank: int | None
    replies: "list[_Node]"


def _node(number: int, row: Row) -> _Node:
    role, rank = _text(row, "role"), row.get("rank")
    if rank is not None and type(rank) not in (int, float):
        raise BadRow('"rank" is no number', f" but {rank!r:.60}")
    known = rank if rank == rank else None  # not a number: what some tools write for none
    return _Node(number, {"role": ROLE_OF.get(role, role), "content": _text(row, "text")}, known, [])


def _is_out(row: Any) -> bool:
    """Deleted, or rejected by those who reviewed it; what people replied to it goes with it."""
    return isinstance(row, dict) and (bool(row.get("deleted")) or row.get("review_result") is False)


def _oasst_roots(rows: Sequence[Numbered]) -> Iterator[tuple[int, "_Node | BadRow"]]:
    """The trees of a flat file, whose rows name their parents."""
    nodes: dict[str, _Node] = {}
    parents: dict[str, Any] = {}
    for number, row in rows:
        try:
            if _is_out(row):
                raise BadRow("deleted", harmless=True)
            name = _text(row, "message_id")
            nodes[name], parents[name] = _node(number, row), row.get("parent_id")
        except BadRow as problem:
            yield number, problem
    for name, parent in parents.items():
        if parent is None:
            yield nodes[name].number, nodes[name]
        elif isinstance(parent, str) and parent in nodes:
            nodes[parent].replies.append(nodes[name])
        else:
            yield nodes[name].number, BadRow("its parent is missing or deleted", harmless=True)


def _oasst_nested(rows: Sequence[Numbered]) -> Iterator[tuple[int, "_Node | BadRow"]]:
    for number, row in rows:
        try:
            if _is_out(row["prompt"]):
                raise BadRow("deleted", harmless=True)
            yield number, _nested(number, row["prompt"])
        except BadRow as problem:
            yield number, problem


def _nested(number: int, row: Any, depth: int = 0) -> _Node:
    replies = row.get("replies") or [] if isinstance(row, dict) else None
    if not isinstance(replies, list) or depth > DEEPEST:
        raise BadRow("malformed tree", f" ({row!r:.60})")
    node = _node(number, row)
    node.replies.extend(_nested(number, reply, depth + 1) for reply in replies if not _is_out(reply))
    return node


def _paths(node: _Node, before: Turns) -> Iterator[tuple[int, Any]]:
    """Every conversation down the tree in which the assistant says what people ranked best; trailing questions go."""
    turns = [*before, node.turn]
    asked = node.turn["role"] == "user"
    ranked = sorted(node.replies, key=lambda reply: float("inf") if reply.rank is None else reply.rank)
    if len(turns) > DEEPEST:
        yield node.number, BadRow(f"a conversation of more than {DEEPEST} messages")
        return
    following = [path for reply in (ranked[:1] if asked else ranked) for path in _paths(reply, turns)]
    if following:
        yield from following
    elif not asked:
        yield node.number, turns


def _choices(node: _Node, before: Turns) -> Iterator[tuple[int, Any]]:
    """Every question with its ranked answers, best first."""
    turns = [*before, node.turn]
    ranked = sorted((reply for reply in node.replies if reply.rank is not None), key=lambda reply: reply.rank or 0)
    if node.turn["role"] == "user" and len(ranked) > 1:
        ranks = [1 + sum((other.rank or 0) < (reply.rank or 0) for other in ranked) for reply in ranked]
        try:
            yield node.number, _ranked(turns, [reply.turn["content"] for reply in ranked], ranks)
        except BadRow as problem:
            yield node.number, problem
    for reply in node.replies if len(turns) < DEEPEST else ():
        yield from _choices(reply, turns)


def _from_trees(
    roots: Callable[[Sequence[Numbered]], Iterator[tuple[int, _Node | BadRow]]],
    walk: Callable[[_Node, Turns], Iterator[tuple[int, Any]]],
) -> Maker:
    def maker(rows: Sequence[Numbered]) -> Iterator[tuple[int, Any]]:
        waiting: list[_Node] = []
        for number, root in roots(rows):
            if isinstance(root, BadRow):
                yield number, root
            else:
                waiting.append(root)
        # Only now, since a child may stand before its parent, does every root know its replies.
        for root in waiting:
            yield from walk(root, [])

    return maker


def _acceptable(rows: Sequence[Numbered]) -> Iterator[tuple[int, Any]]:
    """Answers labelled acceptable or not, a row each: those to one question make a ranking with ties."""
    questions: dict[str, list[Numbered]] = defaultdict(list)
    for number, row in rows:
        questions[str(row["question"])].append((number, row))
    for numbered in questions.values():
        labels = [row["acceptable?"] for _, row in numbered]
        ranks = [1 if label == 1 else 2 for label in labels]
        number, first = numbered[0]
        try:
            if not all(label in (0, 1) for label in labels):
                raise BadRow('"acceptable?" is 0 or 1', f"; got {labels!r:.60}")
            if len(set(ranks)) < 2:
                raise BadRow("no ranking: one answer, or all labelled alike", harmless=True)
            yield number, _ranked(_asked(first), [row["response"] for _, row in numbered], ranks)
        except BadRow as problem:
            yield number, problem


def _table(*rows: tuple[str, str, Origin, Maker | None, Maker | None] | Format) -> tuple[Format, ...]:
    return tuple(
        row if isinstance(row, Format) else Format(row[0], frozenset(row[1].split()), *row[2:]) for row in rows
    )


_judged, _oasst, _panda, _fine, _pairs = map(_each, (_judgements, _oasst_ranking, _pandalm, _fgrlhf, _pair))

# The first that fits counts: the more a format asks of a row, the further up it stands.
FORMATS = _table(
    ("judgements", "messages answers ranks", "unknown", _best(_judged), _judged),
    ("OASST rankings", "messages ranked", "human", _best(_oasst), _oasst),
    ("PandaLM", "instruction response1 response2 annotator1", "generated", _best(_panda), _panda),
    Format("FG-RLHF", frozenset(("question", "preference", "prediction 1", "prediction 2")), "generated",
           _best(_fine), _fine),
    Format("SQuARe", frozenset(("question", "response", "acceptable?")), "unknown", _best(_acceptable), _acceptable,
           gathers=True),
    Format("OASST messages", frozenset(("message_id", "role", "text")), "human", _from_trees(_oasst_roots, _paths),
           _from_trees(_oasst_roots, _choices), gathers=True),
    ("OASST trees", "message_tree_id prompt", "human", _from_trees(_oasst_nested, _paths),
     _from_trees(_oasst_nested, _choices)),
    ("messages", "messages", "unknown", _each(lambda row: _turns(row["messages"])), None),
    ("ShareGPT", "conversations", "unknown", _each(lambda row: _turns(row["conversations"])), None),
    ("Alpaca", "instruction output", "unknown", _each(_completion("output")), None),
    ("self-instruct", "instruction instances", "unknown", _each(_instances), None),
    ("prompt and completion", "prompt completion", "unknown", _each(_completion("completion")), None),
    ("prompt and response", "prompt response", "unknown", _each(_completion("response")), None),
    ("question and answer", "question answer", "unknown", _each(_completion("answer")), None),
    ("turns", "turns", "unknown", _each(lambda row: _spoken(row["turns"])), None),
    Format("HH transcripts", frozenset(("chosen", "rejected")), "generated", _best(_pairs), _pairs,
           fits=lambda row: isinstance(row["chosen"], str) and row["chosen"].startswith("\n\nHuman:")),
    ("chosen and rejected", "chosen rejected", "unknown", _best(_pairs), _pairs),
    ("prompts", "prompt", "unknown", None, None),
    ("prompts", "question", "unknown", None, None),
    ("prompts", "instruction", "unknown", None, None),
)  # fmt: skip
