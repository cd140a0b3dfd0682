"""What the columns of one row say, for each way in which people publish conversations and rankings."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from malmoi.data.table import BadRow

Row = dict[str, Any]
Turns = list[dict[str, str]]
Numbered = tuple[int, Row]
Maker = Callable[[Sequence[Numbered]], Iterator[tuple[int, Any]]]
"""Numbered rows -> where each thing stands and the thing, or the BadRow that says why it cannot be made."""

ROLE_OF = {"human": "user", "prompter": "user", "gpt": "assistant"}


def text_of(row: Mapping[str, Any], name: str) -> str:
    if not isinstance(row.get(name), str):
        raise BadRow(f'"{name}" is no text', f" but {row.get(name)!r:.60}")
    return row[name]


def turns_of(value: Any) -> Turns:
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


def by_turns(texts: Any) -> Turns:
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


def asked(row: Row) -> Turns:
    """The prompt: text, transcript or messages, with what else the row puts before the answer."""
    if "question_id" in row and "turns" in row:  # MT-bench: the later turns are the user's too
        return by_turns(row["turns"])[:1]
    name = next((name for name in ("prompt", "question", "instruction") if row.get(name) is not None), None)
    if name is None:
        return turns_of(row["messages"]) if "messages" in row else []
    if not isinstance(row[name], str):
        return turns_of(row[name])
    turns = _transcript(row[name])
    if turns is not None:
        return turns[:-1] if turns[-1]["role"] == "assistant" and not turns[-1]["content"] else turns
    given = text_of(row, "input") if name == "instruction" and row.get("input") else ""
    system = [{"role": "system", "content": text_of(row, "system")}] if row.get("system") else []
    return [*system, {"role": "user", "content": f"{row[name]}\n\n{given}" if given.strip() else row[name]}]


def answer_turn(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def ranked(messages: Turns, answers: Sequence[Any], ranks: Sequence[int], **more: Any) -> Row:
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


def judgements(row: Row) -> Row:
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
    made = {"messages": turns_of(row["messages"]), "answers": answers, "ranks": ranks}
    return made | ({"annotators": _annotators(row, len(answers))} if row.get("annotators") else {})


def _annotators(row: Row, n_answers: int) -> list[list[int]]:
    said = row["annotators"]
    if not isinstance(said, list) or not all(isinstance(ranks, list) and len(ranks) == n_answers for ranks in said):
        raise BadRow(f'"annotators" needs a list of {n_answers} ranks for each person', f"; got {said!r:.60}")
    return said


def pair(row: Row) -> Row:
    """Chosen and rejected, as texts, messages or transcripts, each with or without the prompt before it."""
    prompt = asked(row) if isinstance(row["chosen"], str) or "prompt" in row else []
    sides = []
    for name in ("chosen", "rejected"):
        if isinstance(row[name], str):
            turns = None if prompt else _transcript(row[name])
            turns = [answer_turn(row[name])] if turns is None else turns
        else:
            turns = turns_of(row[name])
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
    return ranked(chosen[:-1], [chosen[-1]["content"], rejected[-1]["content"]], [1, 2])


def best_to_worst(row: Row) -> Row:
    if not isinstance(row["ranked"], list) or len(row["ranked"]) < 2:
        raise BadRow('"ranked" needs two answers or more', ", best first")
    return ranked(turns_of(row["messages"]), row["ranked"], range(1, len(row["ranked"]) + 1))


def pandalm(row: Row) -> Row:
    """Two answers, judged by several people: 1 or 2 for the better one, 0 for a tie; the majority's word counts."""
    votes = [row[name] for name in sorted(row) if re.fullmatch(r"annotator\d+", name)]
    if not all(vote in (0, 1, 2) for vote in votes):
        raise BadRow("annotators say 0, 1 or 2", f"; got {votes}")
    ranks_of = {0: [1, 1], 1: [1, 2], 2: [2, 1]}
    vote, n_votes = Counter(votes).most_common(1)[0]
    said = ranks_of[vote if n_votes > len(votes) / 2 else 0]
    annotators = [ranks_of[vote] for vote in votes]
    return ranked(asked(row), [row["response1"], row["response2"]], said, annotators=annotators)


def fgrlhf(row: Row) -> Row:
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
    return ranked(asked(row), [row[name] for name in names], [1 + sum(other > n for other in won) for n in won])


def completion(name: str) -> Callable[[Row], Turns]:
    """Of the column that holds what answers the prompt: text or messages."""

    def made(row: Row) -> Turns:
        turns = [answer_turn(row[name])] if isinstance(row[name], str) else turns_of(row[name])
        return [*asked(row), *turns]

    return made


def first_instance(row: Row) -> Turns:
    """Self-instruct's tasks: an instruction and its examples, of which the first is shown."""
    shown = row["instances"][0] if isinstance(row["instances"], list) and row["instances"] else None
    if not isinstance(shown, dict):
        raise BadRow('"instances" holds no example')
    return [
        *asked({"instruction": row["instruction"], "input": shown.get("input")}),
        answer_turn(text_of(shown, "output")),
    ]


def each(make: Callable[[Row], Any]) -> Maker:
    def maker(rows: Sequence[Numbered]) -> Iterator[tuple[int, Any]]:
        for number, row in rows:
            try:
                yield number, make(row)
            except BadRow as problem:
                yield number, problem

    return maker


def best(ranking: Maker) -> Maker:
    """Conversations of rankings: with the answer that is ranked best."""

    def maker(rows: Sequence[Numbered]) -> Iterator[tuple[int, Any]]:
        for number, made in ranking(rows):
            if isinstance(made, BadRow):
                yield number, made
            else:
                best = made["answers"][made["ranks"].index(min(made["ranks"]))]
                yield number, [*made["messages"], answer_turn(best)]

    return maker
