"""The tasks of `malmoi eval`: for each its file of rows, how a row becomes a question, and how answers are measured."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from malmoi.data.table import read_table
from malmoi.errors import ConfigError, DataError
from malmoi.evals.answering import Subject
from malmoi.evals.bits_per_byte import measure_text, pieces
from malmoi.evals.choice import ChoiceQuestion, measure_choices, measure_continuations
from malmoi.evals.ifeval import InstructionPrompt, measure_instructions
from malmoi.evals.math_problems import MathProblem, measure_math
from malmoi.files import sha256_of

Row = Mapping[str, Any]
SUFFIXES = (".jsonl.gz", ".jsonl")


class TaskKind(NamedTuple):
    """read: a row and the task's ending -> its questions; measure: figures of all questions"""

    read: Callable[[Row, str], Iterable[Any]]
    measure: Callable[[Subject, Sequence[Any]], dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """kind: one of `KINDS`; ending: text between a row's question and the answer; file: if its name is not `name`"""

    name: str
    kind: str
    ending: str = ""
    file: str = ""


def _choice(row: Row, ending: str) -> Iterator[ChoiceQuestion]:
    context = row["query"].rstrip() + ending
    yield ChoiceQuestion([(context, f" {choice}") for choice in row["choices"]], row["gold"])


def _schema(row: Row, ending: str) -> Iterator[ChoiceQuestion]:
    """Several beginnings with the same ending: the beginning is right that makes it likeliest (Trinh and Le 2018)."""
    yield ChoiceQuestion([(option, f" {row['continuation']}") for option in row["context_options"]], row["gold"])


def _entailment(row: Row, ending: str) -> Iterator[ChoiceQuestion]:
    labels = {"entailment": " 참", "neutral": " 알 수 없음", "contradiction": " 거짓"}
    asked = "전제가 맞다면 가설은 참, 거짓, 알 수 없음 중 무엇인가?"
    context = f"전제: {row['premise']}\n가설: {row['hypothesis']}\n{asked}\n답:"
    yield ChoiceQuestion([(context, label) for label in labels.values()], [*labels].index(row["gold_label"]))


def _same_meaning(row: Row, ending: str) -> Iterator[ChoiceQuestion]:
    context = f"질문 1: {row['q1']}\n질문 2: {row['q2']}\n두 질문은 같은 뜻인가?\n답:"
    yield ChoiceQuestion([(context, " 아니오"), (context, " 예")], int(row["is_duplicate"]))


def _continuation(row: Row, ending: str) -> Iterator[tuple[str, str]]:
    yield row["context"].rstrip(), f" {row['continuation'].strip()}"


def _sum(row: Row, ending: str) -> Iterator[MathProblem]:
    yield MathProblem(row["context"].rstrip(), row["continuation"], is_chat=False)


def _problem(row: Row, ending: str) -> Iterator[MathProblem]:
    yield MathProblem(row["context"] + ending, row["answer"], is_chat=True)


def _instructed(row: Row, ending: str) -> Iterator[InstructionPrompt]:
    yield InstructionPrompt(row["prompt"], list(zip(row["instruction_id_list"], row["kwargs"], strict=True)))


KINDS: dict[str, TaskKind] = {
    "choice": TaskKind(_choice, measure_choices),
    "schema": TaskKind(_schema, measure_choices),
    "entailment": TaskKind(_entailment, measure_choices),
    "same meaning": TaskKind(_same_meaning, measure_choices),
    "continuation": TaskKind(_continuation, measure_continuations),
    "text": TaskKind(lambda row, ending: pieces(row["text"]), measure_text),
    "sum": TaskKind(_sum, measure_math),
    "problem": TaskKind(_problem, measure_math),
    "instructions": TaskKind(_instructed, measure_instructions),
}
_ANSWER, _STEPS = "\nAnswer:", "\n\nThink step by step. End with: The answer is N."
TASKS = {
    task.name: task
    for task in (
        Task("arc_easy", "choice", _ANSWER),
        Task("arc_challenge", "choice", _ANSWER),
        Task("piqa", "choice", _ANSWER),
        Task("copa", "choice"),
        Task("boolq", "choice", _ANSWER),
        Task("openbook_qa", "choice"),
        Task("winogrande", "schema"),
        Task("lambada", "continuation", file="lambada_openai"),
        Task("wikitext2", "text", file="wikitext2_test"),
        Task("arithmetic", "sum", file="simple_arithmetic_withspaces"),
        Task("gsm8k", "problem", _STEPS),
        Task("ifeval", "instructions"),
        Task("winograd_wsc", "schema"),
        Task("commonsense_qa", "choice"),
        Task("math_qa", "choice"),
        Task("strategy_qa", "choice", file="bigbench_strategy_qa"),
        Task("fables", "choice", file="bigbench_understanding_fables"),
        Task("conceptual_combinations", "choice", file="bigbench_conceptual_combinations"),
        Task("operators", "continuation", file="bigbench_operators"),
        Task("arithmetic_nospaces", "sum", file="simple_arithmetic_nospaces"),
        Task("svamp", "problem", _STEPS),
        Task("klue_nli", "entailment", file="ko_klue_nli_dev"),
        Task("ko_question_pair", "same meaning", file="ko_question_pair_test"),
        Task("kowiki", "text", file="kowiki.valid"),
    )
}
DEFAULT_TASKS = tuple(TASKS)[:12]
WHERE_FROM = "docs/reference/evaluation.md says where the files come from"


def tasks_named(names: Sequence[str]) -> list[Task]:
    """Tasks by name. Raises ConfigError that suggests the nearest name."""
    for name in names:
        if name not in TASKS:
            near = get_close_matches(name, TASKS, n=1, cutoff=0.4)
            hint = f'did you mean "{near[0]}"? ' if near else ""
            raise ConfigError(f"tasks: {name}: no such task; {hint}they are {', '.join(TASKS)}")
    return [TASKS[name] for name in names]


def find_file(task: Task, folder: Path | None) -> Path:
    """The file of a task's rows: in `folder`, or else in MALMOI_DATA; there, in its `eval` or its `pretrain` folder.

    Raises DataError if there is no such file, or no folder is given.
    """
    named = os.environ.get("MALMOI_DATA")
    if folder is None and not named:
        raise DataError(f"{task.name}: no folder of tasks; give --data DIR or set MALMOI_DATA; {WHERE_FROM}")
    root = folder or Path(named or "")
    stems = [place / (task.file or task.name) for place in (root, root / "eval", root / "pretrain")]
    found = next((path for stem in stems for suffix in SUFFIXES if (path := Path(f"{stem}{suffix}")).exists()), None)
    if found is None:
        raise DataError(
            f"{root}: has no {stems[0].name}{SUFFIXES[1]} for {task.name}; give its folder with --data; {WHERE_FROM}"
        )
    return found


def measure_task(task: Task, path: Path, subject: Subject, limit: int) -> dict[str, Any]:
    """The task's measures on the first `limit` questions of its file (0: on all), and the file's name and hash.

    Raises DataError with file and line for a row that lacks a column.
    """
    began = time.monotonic()
    asked = list(islice(_asked(task, path), limit or None))
    if not asked:
        raise DataError(f"{path}: has no questions")
    found = KINDS[task.kind].measure(subject, asked)
    return {
        "task": task.name,
        **found,
        "file": path.name,
        "sha256": sha256_of(path),
        "seconds": time.monotonic() - began,
    }


def _asked(task: Task, path: Path) -> Iterator[Any]:
    for number, row in read_table(path):
        try:
            yield from KINDS[task.kind].read(row, task.ending)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}:{number}: not a row of {task.name} ({error!r})") from None
