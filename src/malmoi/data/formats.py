"""Published data -> conversations, rankings and prompts in one form each.

A row's columns tell its format (`FORMATS`); the user does not have to name it. The result is one of

    conversation  {"messages", "source", "origin", "tree"}
    ranking       {"messages" (ends with the user), "answers", "ranks" (1 is best, equal is a tie), "source", "origin",
                   "tree"}, and if known "annotators", the ranks given by each person, or the one "person",
                   and "simulated" if that is a program
    prompt        {"messages" (ends with the user), "source", "tree"}
    vote          {"messages" (ends with the answer), "label" (whether it is wanted), "source", "origin", "tree"}

Rows of one `tree` must be on the same side of a split; `origin` says who wrote the answers. A row's own columns for
these, and for its "lang", have priority. A user's message may have "documents", each with "title" and "text".
`data/columns.py` handles all other columns that have a meaning.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from malmoi.corpus.folder import EXAMPLES_PER_REASON, Errors
from malmoi.data import rows, trees
from malmoi.data.columns import FACTS, check_row, id_of, is_given, label_of, unused
from malmoi.data.documents import DOCUMENTS, with_documents
from malmoi.data.rows import NumberedRow, Parser, Row, Turns, best_answers, row_by_row
from malmoi.data.table import SUFFIXES, BadRow, iterate_rows
from malmoi.errors import DataError
from malmoi.text import canonical_question, is_blank
from malmoi.tokenizer.chat_template import check_messages

Origin = Literal["human", "generated", "mixed", "unknown"]

EXPECTED = {
    "conversation": '{"messages": [...]} or {"prompt", "completion"}',
    "ranking": '{"messages", "answers", "ranks"} or {"prompt", "chosen", "rejected"}',
    "prompt": '{"messages": [...]} or {"prompt"}',
    "vote": '{"messages": [...], "label": true} or {"prompt", "completion", "label"}',
}


OTHER_NAMES = {
    **dict.fromkeys(
        ("prompt", "inputs", "input", "user", "human", "question", "query", "instruction", "ask"), "prompt"
    ),
    **dict.fromkeys(
        ("completion", "targets", "target", "output", "assistant", "bot", "gpt", "answer", "reply", "response"),
        "completion",
    ),
    **dict.fromkeys(("messages", "conversation", "conversations", "dialog", "dialogue", "chat"), "messages"),
    **dict.fromkeys(("chosen", "better", "preferred", "winner_answer"), "chosen"),
    **dict.fromkeys(("rejected", "worse", "dispreferred"), "rejected"),
}
"""Other names of columns, in lower case -> the name that is read, for the hint in an error."""


@dataclass
class RowReport:
    """What a reader found.

    formats: format -> rows; skipped: reason -> rows; examples: the first few of each reason, with file and line
    unused: ignored column -> rows that hold something there
    n_recognised: rows of a known format, usable or not
    """

    formats: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)
    n_recognised: int = 0

    def skip(self, where: str, problem: BadRow) -> None:
        self.skipped[problem.reason] += 1
        if self.skipped[problem.reason] <= EXAMPLES_PER_REASON:
            self.examples.append(f"{where}: {problem}")


class Format(NamedTuple):
    """One published format.

    columns: required columns
    origin: who wrote its answers, unless a row says
    conversations, rankings: its parsers; None if it holds no such thing
    asks: columns that may hold the prompt; the first that a row has counts
    reads: other columns that are read
    gathers: rows belong together, so the whole file is read first
    takes_documents: whether a row is one conversation, so that its documents belong to its last question
    fits: an additional check on a row
    """

    name: str
    columns: frozenset[str]
    origin: Origin
    conversations: Parser | None = None
    rankings: Parser | None = None
    asks: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    gathers: bool = False
    takes_documents: bool = True
    fits: Callable[[Row], bool] = bool

    def read_of(self, row: Row) -> set[str]:
        """The columns of a row that are read."""
        asked = rows.prompt_column(row, self.asks) if self.asks else None
        found = {*self.columns, *self.reads}
        if asked is not None:
            found |= {asked, *(("history",) if isinstance(row[asked], str) else ())}
        elif self.asks:
            found.add("messages")
        found |= {DOCUMENTS} if self.takes_documents else set()
        return found | ({"input", "context"} if asked == "instruction" else set())


def conversations(
    path: Path, errors: Errors = "strict", report: RowReport | None = None, source: str | None = None
) -> Iterator[NumberedRow]:
    """Line number and conversation, for any format; of a ranking, the conversation with the best answer.

    errors: "strict" raises DataError, which names file and line; "skip" counts unusable rows in `report`
    source: the name of the data; by default the file's
    Raises DataError if there is no conversation at all.
    """
    for number, raw, origin, turns in _parsed_rows(path, "conversation", errors, report):
        yield number, {"messages": turns, **_facts(raw, turns, source or name_of(path), origin)}


def rankings(
    path: Path, errors: Errors = "strict", report: RowReport | None = None, source: str | None = None
) -> Iterator[NumberedRow]:
    """Line number and ranking, for any format that has rankings; arguments and errors as for `conversations`."""
    for number, raw, origin, made in _parsed_rows(path, "ranking", errors, report):
        yield number, {**made, **_facts(raw, made["messages"], source or name_of(path), origin)}


def votes(
    path: Path, errors: Errors = "strict", report: RowReport | None = None, source: str | None = None
) -> Iterator[NumberedRow]:
    """Line number and vote, for any format of conversations whose rows have a `label`: TRL's for KTO, ms-swift's, …"""
    for number, raw, origin, turns in _parsed_rows(path, "vote", errors, report):
        facts = _facts(raw, turns, source or name_of(path), origin)
        yield number, {"messages": turns, "label": label_of(raw), **facts}


def prompts(
    path: Path, errors: Errors = "strict", report: RowReport | None = None, source: str | None = None
) -> Iterator[NumberedRow]:
    """Line number and prompt, for any format: what comes before the last answer."""
    for number, raw, turns in raw_prompts(path, errors, report):
        facts = _facts(raw, turns, source or name_of(path), "unknown")
        yield number, {"messages": turns, **{key: value for key, value in facts.items() if key != "origin"}}


def raw_prompts(
    path: Path, errors: Errors = "strict", report: RowReport | None = None
) -> Iterator[tuple[int, Row, Turns]]:
    """Line number, the row as it is in the file, and the turns of the prompt."""
    for number, raw, _, made in _parsed_rows(path, "prompt", errors, report):
        turns = rows.without_marks(made["messages"] if isinstance(made, dict) else made)
        yield number, raw, turns[:-1] if turns[-1]["role"] == "assistant" else turns


def name_of(path: Path) -> str:
    """The name of the data: the file's name without its suffix."""
    suffix = max((one for one in SUFFIXES if path.name.lower().endswith(one)), key=len, default="")
    return path.name[: len(path.name) - len(suffix)]


def tree_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """Conversations with the same first question, except for case, Unicode form and white space, belong to one tree."""
    first = next(message["content"] for message in messages if message["role"] == "user")
    return hashlib.sha256(canonical_question(first).encode()).hexdigest()[:16]


def _facts(raw: Row, turns: Turns, source: str, origin: Origin) -> Row:
    facts: Row = {"source": source, "origin": origin, "tree": tree_of(turns)}
    return facts | _own_facts(raw)


def _own_facts(raw: Row) -> Row:
    """Source, origin, language and tree, as far as the row has them."""
    ids = {name: id_of(raw, name) for name in FACTS}
    said = {name: value for name, value in ids.items() if value is not None and name != "message_tree_id"}
    if ids["message_tree_id"] is not None:
        said.setdefault("tree", ids["message_tree_id"])
    return said


def _parsed_rows(
    path: Path, wanted: str, errors: Errors, report: RowReport | None
) -> Iterator[tuple[int, Row, Origin, Any]]:
    report = RowReport() if report is None else report
    n_before = report.formats.total()
    for form, numbered in _by_format(path, wanted, errors, report):
        conversations_or_prompts = form.conversations or form.rankings or row_by_row(rows.prompt_of)
        parser = form.rankings if wanted == "ranking" else conversations_or_prompts
        assert parser is not None
        by_number = dict(numbered)
        for number, made in parser(numbered):
            raw = by_number[number]
            try:
                if isinstance(made, BadRow):
                    raise made
                if isinstance(made, dict):
                    made["messages"] = _with_columns(form, raw, made["messages"])
                else:
                    made = _with_columns(form, raw, made)
                _check(made, needs_answer=wanted in ("conversation", "vote"))
                if wanted == "vote" and made[-1]["role"] != "assistant":
                    raise BadRow("the conversation does not end with the answer that the vote is about")
            except BadRow as problem:
                _refuse(path, number, problem, errors, report)
                continue
            report.formats[form.name] += 1
            yield number, raw, form.origin, made
    if report.formats.total() == n_before:
        said = f"; {report.examples[0]}" if report.examples else "" if report.n_recognised else "; it has no rows"
        raise DataError(f"{path}: holds no {wanted}{said}")


def _with_columns(form: Format, raw: Row, turns: Turns) -> Turns:
    """The turns, with what the row's own columns say of the conversation."""
    turns = rows.with_system(raw, turns)
    return with_documents(raw, turns) if form.takes_documents else turns


def _by_format(
    path: Path, wanted: str, errors: Errors, report: RowReport
) -> Iterator[tuple[Format, Sequence[NumberedRow]]]:
    """Rows with their format, all at once if they belong together. Refuses columns that cannot be followed."""
    together: dict[Format, list[NumberedRow]] = defaultdict(list)
    for number, row in iterate_rows(path):
        try:
            form = _recognise(row, wanted)
            report.n_recognised += 1
            reads = form.read_of(row)
            check_row(row, reads, is_learnt=wanted != "prompt", is_voted=wanted == "vote")
            _own_facts(row)
        except BadRow as problem:
            _refuse(path, number, problem, errors, report)
            continue
        report.unused.update(unused(row, reads, is_voted=wanted == "vote"))
        if form.gathers:
            together[form].append((number, row))
        else:
            yield form, [(number, row)]
    yield from together.items()


def _refuse(path: Path, number: int, problem: BadRow, errors: Errors, report: RowReport) -> None:
    if errors == "strict" and not problem.harmless:
        raise DataError(f"{path}:{number}: {problem}")
    report.skip(f"{path}:{number}", problem)


def _recognise(row: Any, wanted: str) -> Format:
    if isinstance(row, BadRow):
        raise row
    if not isinstance(row, dict):
        raise BadRow("expected an object", f', as in {{"messages": [...]}}; this is a {type(row).__name__}')
    there = {name for name, value in row.items() if value is not None}
    able = [
        form for form in FORMATS if wanted == "prompt" or (form.rankings if wanted == "ranking" else form.conversations)
    ]
    for form in able:
        if form.columns <= there and form.fits(row):
            return form
    # Name what is missing in the nearest format if that is clear: "expected … or another" would hide an empty column.
    lacking = [form for form in able if not form.columns <= there]
    nearest = max(lacking, key=lambda form: (form.columns <= row.keys(), len(form.columns & there) / len(form.columns)))
    missing = nearest.columns - there
    if missing <= row.keys() or len(missing) * 2 < len(nearest.columns):
        names = ", ".join(f'"{name}"' for name in sorted(missing))
        problem = "is null" if missing <= row.keys() else "is missing"
        raise BadRow(f"{names} {problem}", f"; it is needed with {', '.join(sorted(nearest.columns & there))}")
    raise BadRow(
        f"expected {EXPECTED[wanted]}",
        f" or another known format; the row has {', '.join(map(str, row)) or 'nothing'}{_suggested_renames(row)}",
    )


def _suggested_renames(row: Row) -> str:
    """A hint how to rename columns whose names tell what they hold."""
    found: dict[str, str] = {}
    for name, value in row.items():
        known = OTHER_NAMES.get(str(name).lower().replace(" ", "_"))
        if known == "messages" and isinstance(value, list) and all(isinstance(turn, str) for turn in value):
            known = "turns"
        if known is not None and known not in found.values() and known != name:
            found[name] = known
    if len(found) < 2 and not {"messages", "turns"} & set(found.values()):
        lists = {name: value for name, value in row.items() if isinstance(value, list) and value}
        within = [name for name, value in lists.items() if all(isinstance(one, dict) for one in value)]
        return f'; if "{within[0]}" holds the rows, give that list as the file' if within else ""
    return "; rename " + ", ".join(f'"{name}" to "{known}"' for name, known in found.items())


def _check(made: Any, needs_answer: bool) -> None:
    """Check that roles alternate and that every turn has text."""
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
        raise BadRow("no question", "; a conversation has a user's turn")
    if any(is_blank(turn["content"]) for turn in turns):
        raise BadRow("an empty turn", "; leave the row out or fill it")
    if needs_answer and "assistant" not in spoken:
        raise BadRow("no assistant turn, so nothing to train on")
    if needs_answer and not any(turn.get("trained", True) for turn in turns if turn["role"] == "assistant"):
        raise BadRow("marked as not to be learned from", harmless=True)
    if isinstance(made, dict) and spoken[-1] != "user":
        raise BadRow("the prompt does not end with the user's turn")


def _format(
    name: str, columns: str, origin: Origin, chats: Parser | None, ranking: Parser | None, **more: Any
) -> Format:
    return Format(name, frozenset(columns.split(", ")), origin, chats, ranking, **more)


def _is_transcript(row: Row) -> bool:
    return isinstance(row["chosen"], str) and row["chosen"].startswith("\n\nHuman:")


_judged, _listed, _panda, _fine, _pairs, _swift, _scored = map(
    row_by_row,
    (
        rows.judgements, rows.best_to_worst, rows.pandalm, rows.fgrlhf, rows.pair, rows.swift_pair, rows.ultrafeedback,
    ),
)  # fmt: skip


def _prompt_and_answer(name: str, asks: str, answer: str, origin: Origin = "unknown") -> Format:
    """A format of two columns: prompt and answer, each text or messages."""
    return _format(name, f"{asks}, {answer}", origin, row_by_row(rows.completion(answer, asks)), None, asks=(asks,))


def _with_rejected(columns: str, rejected: str, **more: Any) -> Format:
    """A format of ms-swift: a conversation, and a worse end of it in a column that may be empty."""
    name = "ms-swift rankings" + " of messages" * (columns == "messages")
    more["reads"] = ("rejected_messages", "rejected_response")[: 2 * (columns == "messages")]
    columns = f"{columns}, {rejected}"
    return _format(
        name, columns, "unknown", best_answers(_swift), _swift, fits=lambda row: is_given(row[rejected]), **more
    )


# The first that fits counts, so formats with more requirements come first.
FORMATS = (
    _format("judgements", "messages, answers, ranks", "unknown", best_answers(_judged), _judged,
            reads=("annotators", "person", "simulated")),
    _format("OASST rankings", "messages, ranked", "human", best_answers(_listed), _listed),
    _format("PandaLM", "instruction, response1, response2, annotator1", "generated", best_answers(_panda), _panda,
            asks=("instruction",)),
    _format("FG-RLHF", "question, preference, prediction 1, prediction 2", "generated", best_answers(_fine), _fine,
            asks=("question",)),
    _format("UltraFeedback", "instruction, completions", "generated", best_answers(_scored), _scored,
            asks=("instruction",)),
    _format("SQuARe", "question, response, acceptable?", "unknown", best_answers(trees.acceptability_rankings),
            trees.acceptability_rankings, asks=("question",), gathers=True, takes_documents=False),
    _format("OASST messages", "message_id, role, text", "human", trees.flat_conversations, trees.flat_rankings,
            reads=("parent_id", "rank", "deleted", "review_result"), gathers=True, takes_documents=False),
    _format("OASST trees", "message_tree_id, prompt", "human", trees.nested_conversations, trees.nested_rankings,
            takes_documents=False),
    _with_rejected("messages", "rejected_messages"),
    _with_rejected("messages", "rejected_response"),
    *(_with_rejected(f"{asks}, response", "rejected_response", asks=(asks,)) for asks in ("query", "prompt")),
    _format("messages", "messages", "unknown", row_by_row(lambda row: rows.turns_of(row["messages"])), None),
    _format("ShareGPT", "conversations", "unknown", row_by_row(lambda row: rows.turns_of(row["conversations"])), None),
    _prompt_and_answer("Alpaca", "instruction", "output"),
    _prompt_and_answer("Dolly", "instruction", "response"),
    _format("self-instruct", "instruction, instances", "unknown", row_by_row(rows.first_instance), None,
            asks=("instruction",)),
    _prompt_and_answer("prompt and completion", "prompt", "completion"),
    _prompt_and_answer("prompt and response", "prompt", "response"),
    _prompt_and_answer("question and answer", "question", "answer"),
    _prompt_and_answer("question and response", "question", "response"),
    _prompt_and_answer("query and response", "query", "response"),
    _format("MT-bench", "question_id, turns", "human", None, None),
    _format("turns", "turns", "unknown", row_by_row(lambda row: rows.alternating_turns(row["turns"])), None,
            fits=lambda row: "question_id" not in row),
    _format("HH transcripts", "chosen, rejected", "generated", best_answers(_pairs), _pairs, asks=rows.PROMPTS,
            fits=_is_transcript),
    _format("chosen and rejected", "chosen, rejected", "unknown", best_answers(_pairs), _pairs, asks=rows.PROMPTS),
    *(_format("prompts", name, "unknown", None, None, asks=rows.PROMPTS) for name in rows.PROMPTS),
)  # fmt: skip
