"""Parsers of a single row, one for each format in which people publish conversations and rankings."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from malmoi.data.columns import SYSTEM, check_turn, is_given, is_trained
from malmoi.data.documents import of_turn
from malmoi.data.table import BadRow
from malmoi.errors import excerpt
from malmoi.text import canonical, is_blank

Row = dict[str, Any]
Turns = list[dict[str, Any]]
"""Messages: role and content, a user's documents, `"trained": False` for an answer that is not to be learned from."""
NumberedRow = tuple[int, Row]
Parser = Callable[[Sequence[NumberedRow]], Iterator[tuple[int, Any]]]
"""Numbered rows -> (number, conversation or ranking); in place of one that cannot be made, a BadRow that says why."""

ROLE_OF = {"human": "user", "prompter": "user", "gpt": "assistant", "chatgpt": "assistant", "developer": "system"}
PROMPTS = ("prompt", "question", "instruction", "query")


def text_of(row: Mapping[str, Any], name: str) -> str:
    if not isinstance(row.get(name), str):
        raise BadRow(f'"{name}" is not text', f" but {excerpt(row.get(name))}")
    return str(row[name])


def turns_of(value: Any) -> Turns:
    """Messages under any of their names (role and content, from and value), with the roles of `ROLE_OF`."""
    if not isinstance(value, list):
        is_number = isinstance(value, int | float)
        hint = "; write numbers as text" if is_number else "; put it into a list" if isinstance(value, Mapping) else ""
        raise BadRow("expected a list of messages", f" or a text, got {excerpt(value)}{hint}")
    turns = []
    for number, turn in enumerate(value):
        if not isinstance(turn, Mapping):
            raise BadRow("malformed messages", f" (message {number}: {excerpt(turn)})")
        check_turn(number, turn)
        role = turn["from"] if isinstance(turn.get("from"), str) else turn.get("role")
        role = ROLE_OF.get(role, role) if isinstance(role, str) else role
        content = _text_of_parts(number, turn.get("value") if turn.get("from") is not None else turn.get("content"))
        mark = {"trained": False} if role == "assistant" and not is_trained(turn) else {}
        turns.append({"role": role, "content": content, **mark, **of_turn(number, turn, role)})
    return turns


def _text_of_parts(number: int, content: Any) -> Any:
    """The content as one text; it may be given as parts."""
    if content is not None and not isinstance(content, str | list):
        raise BadRow("a message is not text", f" (message {number}: {excerpt(content)}); write it as text")
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        is_text = isinstance(part, Mapping) and part.get("type") in ("text", "input_text", "output_text")
        if not is_text or not isinstance(part.get("text"), str):
            said = f" (message {number}: {excerpt(part)})"
            raise BadRow("a part of a message is not text", said + '; only text is read: {"type": "text", "text": …}')
        texts.append(part["text"])
    return "".join(texts)


def without_marks(turns: Turns) -> Turns:
    """Turns without marks: turns of a prompt are not trained on, so their marks do not matter."""
    return [{name: said for name, said in turn.items() if name != "trained"} for turn in turns]


def same_turns(a: Turns, b: Turns) -> bool:
    """Whether two conversations say the same, except for white space and invisible characters."""
    return len(a) == len(b) and all(
        x["role"] == y["role"]
        and (x["content"] == y["content"] or _key(x) == _key(y))
        and x.get("documents") == y.get("documents")
        for x, y in zip(a, b, strict=True)
    )


def _key(turn: Mapping[str, Any]) -> Any:
    return canonical(turn["content"]) if isinstance(turn["content"], str) else turn["content"]


def alternating_turns(texts: Any) -> Turns:
    """Messages from a list of texts; the user begins."""
    if not isinstance(texts, list):
        raise BadRow('"turns" is not a list', f" but {excerpt(texts)}")
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


_SPEAKER = re.compile(r"\n\n(Human|Assistant):")


def _transcript(text: str) -> Turns | None:
    """Turns of a transcript ("\\n\\nHuman: … \\n\\nAssistant: …", as in Anthropic's HH), or None if it is not one."""
    parts = _SPEAKER.split(text if text.startswith("\n") else f"\n\n{text}")
    if parts[0].strip() or parts[1:2] != ["Human"]:
        return None
    speakers = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": ROLE_OF.get(name.lower(), "assistant"), "content": said.strip()} for name, said in speakers]


def prompt_column(row: Mapping[str, Any], names: Sequence[str] = PROMPTS) -> str | None:
    return next((name for name in names if row.get(name) is not None), None)


def prompt_of(row: Row, names: Sequence[str] = PROMPTS) -> Turns:
    """The prompt of a row: a text, a transcript or messages, with earlier turns and further input of the row.

    names: columns that may hold the prompt; the first one present counts
    """
    if "question_id" in row and "turns" in row:  # MT-bench: later turns are also the user's
        return alternating_turns(row["turns"])[:1]
    name, before = prompt_column(row, names), _history(row)
    if name is None:
        turns = without_marks(turns_of(row["messages"])) if row.get("messages") is not None else []
    elif not isinstance(row[name], str):
        turns = without_marks(turns_of(row[name]))
    elif (turns := _transcript(row[name]) or []) and turns[-1]["role"] == "assistant" and not turns[-1]["content"]:
        turns = turns[:-1]
    if turns or name is None or not isinstance(row[name], str):
        if before:
            raise BadRow('both "history" and messages', "; give one of them")
        return turns
    below = [text_of(row, given) for given in ("input", "context") if name == "instruction" and row.get(given)]
    return [*before, {"role": "user", "content": "\n\n".join([row[name], *(text for text in below if text.strip())])}]


def _history(row: Row) -> Turns:
    """Earlier turns, from pairs of question and answer."""
    pairs = row.get("history")
    if not is_given(pairs):
        return []
    is_list = isinstance(pairs, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
    if not isinstance(pairs, list) or not is_list or not all(isinstance(text, str) for pair in pairs for text in pair):
        raise BadRow('"history" needs pairs of texts, [[question, answer], …]', f"; got {excerpt(pairs)}")
    return alternating_turns([text for pair in pairs for text in pair])


def with_system(row: Row, turns: Turns) -> Turns:
    """The turns, with the row's system text before them."""
    given = {name: text_of(row, name) for name in SYSTEM if is_given(row.get(name))}
    first = [turns[0]["content"]] if turns and turns[0]["role"] == "system" else []
    said = [*given.values(), *first]
    if len({canonical(text) for text in said if isinstance(text, str)}) > 1:
        raise BadRow("two different system texts", f" ({', '.join(given)} and others); give one of them")
    if first or not given:
        return turns
    return [{"role": "system", "content": said[0]}, *turns]


def answer_turn(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def ranking(messages: Turns, answers: Sequence[Any], ranks: Sequence[int], **more: Any) -> Row:
    """A ranking. Refuses answers that are not text or are blank, and equal answers with different ranks."""
    for answer in answers:
        if not isinstance(answer, str):
            raise BadRow("an answer is not text", f" but {excerpt(answer)}")
        if is_blank(answer):
            raise BadRow("an empty answer", "; leave the row out or fill it")
    for i, j in combinations(range(len(answers)), 2):
        if ranks[i] != ranks[j] and canonical(answers[i]) == canonical(answers[j]):
            raise BadRow("equal answers with different ranks", f": {excerpt(answers[i])}; leave the row out")
    return {"messages": without_marks(messages), "answers": list(answers), "ranks": list(ranks), **more}


def judgements(row: Row) -> Row:
    """A ranking in Malmoi's own format. An answer may be empty: the model ended its turn at once."""
    for name in ("messages", "answers", "ranks"):
        if not isinstance(row[name], list):
            raise BadRow(f'expected "{name}" to be a list', f", got {excerpt(row[name])}")
    answers, ranks = row["answers"], row["ranks"]
    if len(answers) < 2 or len(answers) != len(ranks):
        raise BadRow(
            "answers and ranks do not fit", f": {len(answers)} answers and {len(ranks)} ranks; two or more are needed"
        )
    if not all(type(rank) is int for rank in ranks):
        raise BadRow("ranks are whole numbers, 1 for the best", f"; got {excerpt(ranks)}")
    made = {"messages": without_marks(turns_of(row["messages"])), "answers": answers, "ranks": ranks}
    made |= {"person": row["person"]} if isinstance(row.get("person"), str) and row["person"] else {}
    made |= {"simulated": True} if row.get("simulated") is True else {}
    return made | ({"annotators": _annotators(row, len(answers))} if row.get("annotators") else {})


def _annotators(row: Row, n_answers: int) -> list[list[int]]:
    said = row["annotators"]
    are_ranks = isinstance(said, list) and all(
        isinstance(ranks, list) and len(ranks) == n_answers and all(type(rank) is int for rank in ranks)
        for ranks in said
    )
    if not isinstance(said, list) or not are_ranks:
        raise BadRow(f'"annotators" needs a list of {n_answers} ranks for each person', f"; got {excerpt(said)}")
    return said


def pair(row: Row) -> Row:
    """Chosen and rejected as texts, messages or transcripts, each with or without the prompt before it."""
    prompt = prompt_of(row) if isinstance(row["chosen"], str) or prompt_column(row) else []
    chosen, rejected = (_side(row, name, prompt) for name in ("chosen", "rejected"))
    if not chosen or chosen[0]["role"] == "assistant":
        raise BadRow('no prompt: add a column "prompt"', ', or write "\\n\\nHuman: …\\n\\nAssistant: …"')
    return _ranking_of_two(chosen, rejected)


def _side(row: Row, name: str, prompt: Turns) -> Turns:
    """The whole conversation that ends with this answer."""
    if isinstance(row[name], str):
        turns = None if prompt else _transcript(row[name])
        turns = [answer_turn(row[name])] if turns is None else turns
    else:
        turns = turns_of(row[name])
    if not turns or turns[0]["role"] == "assistant":
        return [*prompt, *turns]
    has_system = turns[0]["role"] == "system" and bool(prompt) and prompt[0]["role"] != "system"
    if not same_turns(turns[int(has_system) :][: len(prompt)], prompt):
        raise BadRow(f'"{name}" does not begin with its prompt')
    return turns


def _ranking_of_two(chosen: Turns, rejected: Turns) -> Row:
    """A ranking of two conversations that differ in their last turn."""
    if not chosen or not rejected or not same_turns(chosen[:-1], rejected[:-1]):
        raise BadRow("chosen and rejected differ before their last turn", "; only the last answer may differ")
    last = (chosen[-1], rejected[-1])
    if any(turn["role"] != "assistant" for turn in last):
        raise BadRow("chosen and rejected do not end with an answer")
    if not all(turn.get("trained", True) for turn in last):
        raise BadRow("marked as not to be learned from", harmless=True)
    if same_turns(chosen, rejected):
        raise BadRow("chosen and rejected are the same", "; leave the row out")
    return ranking(chosen[:-1], [turn["content"] for turn in last], [1, 2])


def swift_pair(row: Row) -> Row:
    """A conversation, and a worse end for it in "rejected_response" or "rejected_messages"."""
    if is_given(row.get("messages")):
        chosen = turns_of(row["messages"])
    else:
        chosen = [*prompt_of(row), answer_turn(text_of(row, "response"))]
    if is_given(row.get("rejected_messages")):
        return _ranking_of_two(chosen, turns_of(row["rejected_messages"]))
    return _ranking_of_two(chosen, [*chosen[:-1], answer_turn(text_of(row, "rejected_response"))])


def ultrafeedback(row: Row) -> Row:
    """Several answers with scores, higher is better. If an answer has two scores, the finer one counts."""
    if not isinstance(row["completions"], list) or not all(isinstance(x, Mapping) for x in row["completions"]):
        raise BadRow('"completions" is not a list of answers', f" but {excerpt(row['completions'])}")
    scores = []
    for one in row["completions"]:
        score = one.get("fine-grained_score", one.get("overall_score"))
        if isinstance(score, bool) or not isinstance(score, int | float) or score != score:
            raise BadRow("an answer has no score", f" but {excerpt(score)}")
        scores.append(score)
    if len(scores) < 2:
        raise BadRow("no ranking: one answer", harmless=True)
    answers = [one.get("response") for one in row["completions"]]
    return ranking(
        prompt_of(row, ("instruction",)), answers, [1 + sum(other > score for other in scores) for score in scores]
    )


def best_to_worst(row: Row) -> Row:
    if not isinstance(row["ranked"], list) or len(row["ranked"]) < 2:
        raise BadRow('"ranked" needs two answers or more', ", best first")
    return ranking(turns_of(row["messages"]), row["ranked"], range(1, len(row["ranked"]) + 1))


def pandalm(row: Row) -> Row:
    """Two answers judged by several people (1 or 2 for the better one, 0 for a tie); the majority decides."""
    votes = [row[name] for name in sorted(row) if re.fullmatch(r"annotator\d+", name)]
    if not all(vote in (0, 1, 2) for vote in votes):
        raise BadRow("annotators say 0, 1 or 2", f"; got {excerpt(votes)}")
    ranks_of = {0: [1, 1], 1: [1, 2], 2: [2, 1]}
    vote, n_votes = Counter(votes).most_common(1)[0]
    said = ranks_of[vote if n_votes > len(votes) / 2 else 0]
    annotators = [ranks_of[vote] for vote in votes]
    prompt = prompt_of(row, ("instruction",))
    return ranking(prompt, [row["response1"], row["response2"]], said, annotators=annotators)


def fgrlhf(row: Row) -> Row:
    """Four answers and a preference for each pair (1 2, 1 3, 1 4, 2 3, 2 4, 3 4): 1 or 2 for the better, 0 for neither.

    Answers are ranked by the number of pairs won; a pair without a preference counts half for each.
    """
    names = sorted((name for name in row if re.fullmatch(r"prediction \d+", name)), key=lambda name: int(name[11:]))
    pairs = list(combinations(range(len(names)), 2))
    said = row["preference"]
    if not isinstance(said, list) or len(said) != len(pairs) or not set(map(repr, said)) <= {"0", "1", "2"}:
        raise BadRow(f'"preference" needs 0, 1 or 2 for each of {len(pairs)} pairs', f"; got {excerpt(said)}")
    won = [0] * len(names)
    for (i, j), better in zip(pairs, said, strict=True):
        won[i] += (1, 2, 0)[better]
        won[j] += (1, 0, 2)[better]
    ranks = [1 + sum(other > n for other in won) for n in won]
    return ranking(prompt_of(row, ("question",)), [row[name] for name in names], ranks)


def completion(name: str, asks: str) -> Callable[[Row], Turns]:
    """A parser of two columns. name: the column of the answer, text or messages; asks: that of the prompt."""

    def made(row: Row) -> Turns:
        turns = [answer_turn(row[name])] if isinstance(row[name], str) else turns_of(row[name])
        return [*prompt_of(row, (asks,)), *turns]

    return made


def first_instance(row: Row) -> Turns:
    """A task of self-instruct: an instruction and examples, of which the first is taken."""
    shown = row["instances"][0] if isinstance(row["instances"], list) and row["instances"] else None
    if not isinstance(shown, dict):
        raise BadRow('"instances" holds no example')
    return [
        *prompt_of({**row, "input": shown.get("input")}, ("instruction",)),
        answer_turn(text_of(shown, "output")),
    ]


def row_by_row(make: Callable[[Row], Any]) -> Parser:
    def parser(rows: Sequence[NumberedRow]) -> Iterator[tuple[int, Any]]:
        for number, row in rows:
            try:
                yield number, make(row)
            except BadRow as problem:
                yield number, problem

    return parser


def best_answers(rankings: Parser) -> Parser:
    """A parser of conversations from one of rankings: each with the answer that is ranked best."""

    def parser(rows: Sequence[NumberedRow]) -> Iterator[tuple[int, Any]]:
        for number, made in rankings(rows):
            if isinstance(made, BadRow):
                yield number, made
            else:
                best = made["answers"][made["ranks"].index(min(made["ranks"]))]
                yield number, [*made["messages"], answer_turn(best)]

    return parser
