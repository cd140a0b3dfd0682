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
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from malmoi.corpus.folders import EXAMPLES_PER_REASON, Errors
from malmoi.data import rows, trees
from malmoi.data.rows import Maker, Numbered, Row, Turns, best, each
from malmoi.data.table import KINDS, BadRow, each_row
from malmoi.errors import DataError
from malmoi.tokenizer.chat_template import check_messages

Origin = Literal["human", "generated", "mixed", "unknown"]

NAMES = {"chats": "conversation", "ranking": "ranking", "prompt": "prompt"}
EXPECTED = {
    "chats": '{"messages": [...]} or {"prompt", "completion"}',
    "ranking": '{"messages", "answers", "ranks"} or {"prompt", "chosen", "rejected"}',
    "prompt": '{"messages": [...]} or {"prompt"}',
}


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

    for form, numbered in pieces():
        maker = form.ranking if wanted == "ranking" else form.chats or form.ranking or each(rows.asked)
        assert maker is not None
        by_number = dict(numbered)
        for number, made in maker(numbered):
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


def _format(name: str, columns: str, origin: Origin, chats: Maker | None, ranking: Maker | None, **more: Any) -> Format:
    return Format(name, frozenset(columns.split(", ")), origin, chats, ranking, **more)


def _is_transcript(row: Row) -> bool:
    return isinstance(row["chosen"], str) and row["chosen"].startswith("\n\nHuman:")


_judged, _listed, _panda, _fine, _pairs = map(
    each, (rows.judgements, rows.best_to_worst, rows.pandalm, rows.fgrlhf, rows.pair)
)

# The first that fits counts: the more a format asks of a row, the further up it stands.
FORMATS = (
    _format("judgements", "messages, answers, ranks", "unknown", best(_judged), _judged),
    _format("OASST rankings", "messages, ranked", "human", best(_listed), _listed),
    _format("PandaLM", "instruction, response1, response2, annotator1", "generated", best(_panda), _panda),
    _format("FG-RLHF", "question, preference, prediction 1, prediction 2", "generated", best(_fine), _fine),
    _format("SQuARe", "question, response, acceptable?", "unknown", best(trees.acceptable), trees.acceptable,
            gathers=True),
    _format("OASST messages", "message_id, role, text", "human", trees.flat_paths, trees.flat_choices, gathers=True),
    _format("OASST trees", "message_tree_id, prompt", "human", trees.nested_paths, trees.nested_choices),
    _format("messages", "messages", "unknown", each(lambda row: rows.turns_of(row["messages"])), None),
    _format("ShareGPT", "conversations", "unknown", each(lambda row: rows.turns_of(row["conversations"])), None),
    _format("Alpaca", "instruction, output", "unknown", each(rows.completion("output")), None),
    _format("self-instruct", "instruction, instances", "unknown", each(rows.first_instance), None),
    _format("prompt and completion", "prompt, completion", "unknown", each(rows.completion("completion")), None),
    _format("prompt and response", "prompt, response", "unknown", each(rows.completion("response")), None),
    _format("question and answer", "question, answer", "unknown", each(rows.completion("answer")), None),
    _format("MT-bench", "question_id, turns", "human", None, None),
    _format("turns", "turns", "unknown", each(lambda row: rows.by_turns(row["turns"])), None,
            fits=lambda row: "question_id" not in row),
    _format("HH transcripts", "chosen, rejected", "generated", best(_pairs), _pairs, fits=_is_transcript),
    _format("chosen and rejected", "chosen, rejected", "unknown", best(_pairs), _pairs),
    _format("prompts", "prompt", "unknown", None, None),
    _format("prompts", "question", "unknown", None, None),
    _format("prompts", "instruction", "unknown", None, None),
)  # fmt: skip
