"""What people publish -> conversations, rankings and prompts in one form each.

A row's columns tell its format (`FORMATS`); nobody has to name it. What comes out:

    conversation  {"messages", "source", "origin", "tree"}
    ranking       {"messages" (ends with the user), "answers", "ranks" (1 is best, equal is a tie), "source", "origin",
                   "tree"}, and "annotators" where it is known what each person said: their ranks
    prompt        {"messages" (ends with the user), "source", "tree"}

`tree` names what must not be on both sides of a split; `origin` says who wrote the answers. A row that says one of
these, or its "lang", itself is believed. No other column that means something is passed over: `data/columns.py`.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from malmoi.corpus.folder import EXAMPLES_PER_REASON, Errors
from malmoi.data import rows, trees
from malmoi.data.columns import FACTS, check_row, id_of, says, unused
from malmoi.data.rows import Maker, Numbered, Row, Turns, best, each
from malmoi.data.table import KINDS, BadRow, each_row
from malmoi.errors import DataError
from malmoi.text import is_empty, same_question
from malmoi.tokenizer.chat_template import check_messages

Origin = Literal["human", "generated", "mixed", "unknown"]

NAMES = {"chats": "conversation", "ranking": "ranking", "prompt": "prompt"}
EXPECTED = {
    "chats": '{"messages": [...]} or {"prompt", "completion"}',
    "ranking": '{"messages", "answers", "ranks"} or {"prompt", "chosen", "rejected"}',
    "prompt": '{"messages": [...]} or {"prompt"}',
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
"""Columns under other names than those that are read, in any case: what to call them."""


@dataclass
class Report:
    """What a reader found. formats: their rows; skipped: reason -> rows; examples: the first of each reason, by file
    and line; unused: column -> rows that say something there which is ignored; n_recognised: rows of a known form,
    usable or not"""

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
    """columns: those that a row needs to be of it; origin: of its answers, unless the row says; chats, ranking: what it
    holds; asks: columns that may hold the prompt, the first that a row has; reads: others that it reads; gathers: rows
    belong together, so that the whole file is read first; fits: what else a row needs"""

    name: str
    columns: frozenset[str]
    origin: Origin
    chats: Maker | None = None
    ranking: Maker | None = None
    asks: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    gathers: bool = False
    fits: Callable[[Row], bool] = bool

    def read_of(self, row: Row) -> set[str]:
        """The columns of a row that are read."""
        asked = rows.prompt_column(row, self.asks) if self.asks else None
        found = {*self.columns, *self.reads}
        if asked is not None:
            found |= {asked, *(("history",) if isinstance(row[asked], str) else ())}
        elif self.asks:
            found.add("messages")
        return found | ({"input", "context"} if asked == "instruction" else set())


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
    """Line number and prompt: what is before the last answer, in any format, or only a prompt."""
    for number, raw, turns in raw_prompts(path, errors, report):
        facts = _facts(raw, turns, source or name_of(path), "unknown")
        yield number, {"messages": turns, **{key: value for key, value in facts.items() if key != "origin"}}


def raw_prompts(
    path: Path, errors: Errors = "strict", report: Report | None = None
) -> Iterator[tuple[int, Row, Turns]]:
    """Line number, the row as its file has it, and the turns that wait for an answer."""
    for number, raw, _, made in _made(path, "prompt", errors, report):
        turns = rows.unmarked(made["messages"] if isinstance(made, dict) else made)
        yield number, raw, turns[:-1] if turns[-1]["role"] == "assistant" else turns


def name_of(path: Path) -> str:
    """The data's name: the file's, without its kind."""
    kind = max((kind for kind in KINDS if path.name.lower().endswith(kind)), key=len, default="")
    return path.name[: len(path.name) - len(kind)]


def tree_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """Conversations that begin with the same question, but for case, spelling and white space, are of one tree."""
    first = next(message["content"] for message in messages if message["role"] == "user")
    return hashlib.sha256(same_question(first).encode()).hexdigest()[:16]


def _facts(raw: Row, turns: Turns, source: str, origin: Origin) -> Row:
    facts: Row = {"source": source, "origin": origin, "tree": tree_of(turns)}
    return facts | _said(raw)


def _said(raw: Row) -> Row:
    """What a row says of itself."""
    ids = {name: id_of(raw, name) for name in FACTS}
    said = {name: value for name, value in ids.items() if value is not None and name != "message_tree_id"}
    if ids["message_tree_id"] is not None:
        said.setdefault("tree", ids["message_tree_id"])
    return said


def _made(path: Path, wanted: str, errors: Errors, report: Report | None) -> Iterator[tuple[int, Row, Origin, Any]]:
    report = Report() if report is None else report
    n_before = report.formats.total()
    for form, numbered in _by_form(path, wanted, errors, report):
        maker = form.ranking if wanted == "ranking" else form.chats or form.ranking or each(rows.asked)
        assert maker is not None
        by_number = dict(numbered)
        for number, made in maker(numbered):
            raw = by_number[number]
            try:
                if isinstance(made, BadRow):
                    raise made
                if isinstance(made, dict):
                    made["messages"] = rows.with_system(raw, made["messages"])
                else:
                    made = rows.with_system(raw, made)
                _check(made, needs_answer=wanted == "chats")
            except BadRow as problem:
                _refuse(path, number, problem, errors, report)
                continue
            report.formats[form.name] += 1
            yield number, raw, form.origin, made
    if report.formats.total() == n_before:
        said = f"; {report.examples[0]}" if report.examples else "" if report.n_recognised else "; it has no rows"
        raise DataError(f"{path}: holds no {NAMES[wanted]}{said}")


def _by_form(path: Path, wanted: str, errors: Errors, report: Report) -> Iterator[tuple[Format, Sequence[Numbered]]]:
    """Rows with their form, those that belong together at once; what cannot be followed is refused."""
    together: dict[Format, list[Numbered]] = defaultdict(list)
    for number, row in each_row(path):
        try:
            form = _recognise(row, wanted)
            report.n_recognised += 1
            reads = form.read_of(row)
            check_row(row, reads, is_learnt=wanted != "prompt")
            _said(row)
        except BadRow as problem:
            _refuse(path, number, problem, errors, report)
            continue
        report.unused.update(unused(row, reads))
        if form.gathers:
            together[form].append((number, row))
        else:
            yield form, [(number, row)]
    yield from together.items()


def _refuse(path: Path, number: int, problem: BadRow, errors: Errors, report: Report) -> None:
    if errors == "strict" and not problem.harmless:
        raise DataError(f"{path}:{number}: {problem}")
    report.skip(f"{path}:{number}", problem)


def _recognise(row: Any, wanted: str) -> Format:
    if isinstance(row, BadRow):
        raise row
    if not isinstance(row, dict):
        raise BadRow("expected an object", f', as in {{"messages": [...]}}; this is a {type(row).__name__}')
    there = {name for name, value in row.items() if value is not None}
    able = [form for form in FORMATS if wanted == "prompt" or (form.ranking if wanted == "ranking" else form.chats)]
    for form in able:
        if form.columns <= there and form.fits(row):
            return form
    # The form of which it has most, where that is clear: "expected … or another" says nothing of a column left empty.
    lacking = [form for form in able if not form.columns <= there]
    nearest = max(lacking, key=lambda form: (form.columns <= row.keys(), len(form.columns & there) / len(form.columns)))
    missing = nearest.columns - there
    if missing <= row.keys() or len(missing) * 2 < len(nearest.columns):
        names = ", ".join(f'"{name}"' for name in sorted(missing))
        problem = "is null" if missing <= row.keys() else "is missing"
        raise BadRow(f"{names} {problem}", f"; it is needed with {', '.join(sorted(nearest.columns & there))}")
    raise BadRow(
        f"expected {EXPECTED[wanted]}",
        f" or another known format; the row has {', '.join(map(str, row)) or 'nothing'}{_renames(row)}",
    )


def _renames(row: Row) -> str:
    """What a row's columns would have to be called, where their names say what they hold."""
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
    if any(is_empty(turn["content"]) for turn in turns):
        raise BadRow("an empty turn", "; leave the row out or fill it")
    if needs_answer and "assistant" not in spoken:
        raise BadRow("no assistant turn, so nothing to train on")
    if needs_answer and not any(turn.get("trained", True) for turn in turns if turn["role"] == "assistant"):
        raise BadRow("marked as not to be learnt from", harmless=True)
    if isinstance(made, dict) and spoken[-1] != "user":
        raise BadRow("the prompt does not end with the user's turn")


def _format(name: str, columns: str, origin: Origin, chats: Maker | None, ranking: Maker | None, **more: Any) -> Format:
    return Format(name, frozenset(columns.split(", ")), origin, chats, ranking, **more)


def _is_transcript(row: Row) -> bool:
    return isinstance(row["chosen"], str) and row["chosen"].startswith("\n\nHuman:")


_judged, _listed, _panda, _fine, _pairs, _swift, _scored = map(
    each,
    (
        rows.judgements, rows.best_to_worst, rows.pandalm, rows.fgrlhf, rows.pair, rows.swift_pair, rows.ultrafeedback,
    ),
)  # fmt: skip


def _answered(name: str, asks: str, answer: str, origin: Origin = "unknown") -> Format:
    """A text or messages that ask, and what answers them."""
    return _format(name, f"{asks}, {answer}", origin, each(rows.completion(answer, asks)), None, asks=(asks,))


def _rejecting(columns: str, rejected: str, **more: Any) -> Format:
    """A conversation and, in a column that may be empty, the worse end of it."""
    name = "ms-swift rankings" + " of messages" * (columns == "messages")
    more["reads"] = ("rejected_messages", "rejected_response")[: 2 * (columns == "messages")]
    columns = f"{columns}, {rejected}"
    return _format(name, columns, "unknown", best(_swift), _swift, fits=lambda row: says(row[rejected]), **more)


# The first that fits counts: the more a format asks of a row, the further up it is.
FORMATS = (
    _format("judgements", "messages, answers, ranks", "unknown", best(_judged), _judged, reads=("annotators",)),
    _format("OASST rankings", "messages, ranked", "human", best(_listed), _listed),
    _format("PandaLM", "instruction, response1, response2, annotator1", "generated", best(_panda), _panda,
            asks=("instruction",)),
    _format("FG-RLHF", "question, preference, prediction 1, prediction 2", "generated", best(_fine), _fine,
            asks=("question",)),
    _format("UltraFeedback", "instruction, completions", "generated", best(_scored), _scored, asks=("instruction",)),
    _format("SQuARe", "question, response, acceptable?", "unknown", best(trees.acceptable), trees.acceptable,
            asks=("question",), gathers=True),
    _format("OASST messages", "message_id, role, text", "human", trees.flat_paths, trees.flat_choices,
            reads=("parent_id", "rank", "deleted", "review_result"), gathers=True),
    _format("OASST trees", "message_tree_id, prompt", "human", trees.nested_paths, trees.nested_choices),
    _rejecting("messages", "rejected_messages"),
    _rejecting("messages", "rejected_response"),
    *(_rejecting(f"{asks}, response", "rejected_response", asks=(asks,)) for asks in ("query", "prompt")),
    _format("messages", "messages", "unknown", each(lambda row: rows.turns_of(row["messages"])), None),
    _format("ShareGPT", "conversations", "unknown", each(lambda row: rows.turns_of(row["conversations"])), None),
    _answered("Alpaca", "instruction", "output"),
    _answered("Dolly", "instruction", "response"),
    _format("self-instruct", "instruction, instances", "unknown", each(rows.first_instance), None,
            asks=("instruction",)),
    _answered("prompt and completion", "prompt", "completion"),
    _answered("prompt and response", "prompt", "response"),
    _answered("question and answer", "question", "answer"),
    _answered("question and response", "question", "response"),
    _answered("query and response", "query", "response"),
    _format("MT-bench", "question_id, turns", "human", None, None),
    _format("turns", "turns", "unknown", each(lambda row: rows.by_turns(row["turns"])), None,
            fits=lambda row: "question_id" not in row),
    _format("HH transcripts", "chosen, rejected", "generated", best(_pairs), _pairs, asks=rows.PROMPTS,
            fits=_is_transcript),
    _format("chosen and rejected", "chosen, rejected", "unknown", best(_pairs), _pairs, asks=rows.PROMPTS),
    *(_format("prompts", name, "unknown", None, None, asks=rows.PROMPTS) for name in rows.PROMPTS),
)  # fmt: skip
