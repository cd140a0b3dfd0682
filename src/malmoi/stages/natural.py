"""Natural questions: what people ask, to the look-up alone and to each voice that reads what was looked up."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from malmoi import config
from malmoi.cost import Cost, Sizes
from malmoi.evals.natural import plain, read_questions
from malmoi.evals.natural_names import N_NAMES
from malmoi.evals.natural_voices import ALONE, LOOKUP, Remembering, measure_voices
from malmoi.facts import (
    Bar,
    Bars,
    Block,
    Card,
    Facts,
    Figure,
    Figures,
    Group,
    Judged,
    Note,
    Plot,
    Section,
    Summary,
)
from malmoi.files import iterate_jsonl, read_json, write_json
from malmoi.inference.voice import Voice
from malmoi.retrieval.index import Index
from malmoi.stage import Context, Finished, all_of, optional, required
from malmoi.stages import label_of
from malmoi.workspace.indexes import INDEX

FILE = "natural.json"
N_EXAMPLES = 3
HUES = ("grey", "blue", "rust", "teal", "violet")
DRILLED = "drilled questions, in other words and with their document: exact answers"
SECTION = "natural"
"""Key of the measures in `report.json`."""


class Settings(config.Settings):
    """How much is asked, and how long an answer may be."""

    n_names: int = Field(N_NAMES, ge=0)
    """How many of the most used names of Python are asked about; 0: none."""
    max_tokens: int = Field(96, gt=0)
    """Longest answer."""


READS = {
    "index": required(INDEX),
    "items": optional("items"),
    "policy": optional("policy", "base"),
    "aligned": all_of("aligned policy"),
    "demonstrations": optional("demonstrations"),
    "drilled": optional("measurements"),
}
MAKES = {"natural measurements": FILE}


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Each voice answers all questions, some of them in a second turn, and the names; no question is about own text."""
    if sizes.is_own_text:
        return Cost(holds_model=False)
    n_answers = 400 + settings.n_names
    return Cost(fixed_s=20, answers=((n_answers * (2 + sizes.n_methods), sizes.shape.seq_len // 2, 32),))


def run(context: Context, settings: Settings) -> None:
    """Ask all voices, and count which questions occur word for word in the demonstrations."""
    reads = context.reads
    if reads.find("items") is None:
        context.say("the natural questions are about Python's documentation; of other text nothing is asked")
        write_json(context.out / FILE, {"n": 0})
        return
    made = [*([reads("policy")] if reads.find("policy") else []), *reads["aligned"]]
    networks = {label_of(one.source): Voice.load(label_of(one.source), one.path) for one in made}
    questions = read_questions()
    lookup = Remembering(Index.open(reads("index").path))
    found = measure_voices(questions, networks, lookup, settings.max_tokens, settings.n_names)
    for name, measured in found["voices"].items():
        context.say(f"natural questions right: {measured['right']['mean']:.3f}, {name}")
    demonstrations = reads.find("demonstrations")
    trained = _asked_in(demonstrations.part("train")) if demonstrations else set()
    found["trained_on"] = [one.id for one in questions if _turns(one.messages) in trained]
    write_json(context.out / FILE, found)


def _asked_in(path: Path) -> set[tuple[str, ...]]:
    """What the user says in each conversation that is trained on, up to each of their turns."""
    return {
        _turns(row["messages"][: n + 1])
        for row in iterate_jsonl(path)
        for n, message in enumerate(row["messages"])
        if message["role"] == "user"
    }


def _turns(messages: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(plain(message["content"]).strip(" ?.!~") for message in messages if message["role"] == "user")


def facts(finished: Finished) -> Facts:
    """The first screen: how many natural questions are right; then by kind, language and turn."""
    found = read_json(finished.out / FILE)
    if not found["n"]:
        return Facts()
    talks = [name for name in found["voices"] if name != LOOKUP and not name.endswith(ALONE)]
    shown = talks[-1] if talks else LOOKUP
    drilled = _drilled(finished)
    voices = found["voices"]
    cards = [
        Card(f"natural questions right, {shown}", voices[shown]["right"], note=_interval_and_look_up(found, shown))
    ]
    summary = [Summary(f"natural questions right, {name}", voices[name]["right"]) for name in voices]
    summary += [
        Summary(f"  {name} minus {other}, paired", value)
        for name, others in found["differences"].items()
        for other, value in others.items()
        if other != LOOKUP
    ]
    return Facts(
        _sections(found, finished.stage),
        cards,
        summary,
        json={SECTION: found},
        opening=Section("What people ask", _lead(found), _opening(found, shown, drilled)),
    )


def _interval_and_look_up(found: Mapping[str, Any], shown: str) -> str:
    right = found["voices"][shown]["right"]
    other = f"; look-up alone {found['voices'][LOOKUP]['right']['mean']:.3f}" if shown != LOOKUP else ""
    return f"[{right['low']:.3f}, {right['high']:.3f}]{other}"


def _lead(found: Mapping[str, Any]) -> str:
    n_seen = len(found["trained_on"])
    seen = f" {n_seen} of them also occur in the demonstrations, such as greetings." if n_seen else ""
    return (
        f"{found['n']} questions written by hand as people ask them, in English and Korean: how to do something, "
        f"follow-ups, typing errors, names that do not exist. Right is what holds an accepted answer.{seen}"
    )


def _drilled(finished: Finished) -> Mapping[str, Any] | None:
    """The exact answers to the questions that were drilled, if an earlier stage measured them."""
    drilled = finished.reads.find("drilled")
    if drilled is None or not drilled.path.exists():
        return None
    exact: Mapping[str, Any] | None = read_json(drilled.path).get("sft", {}).get("exact_sft")
    return exact


def _opening(found: Mapping[str, Any], shown: str, drilled: Mapping[str, Any] | None) -> list[Block]:
    rows = [Figure(f"natural questions right, {name}", one["right"]) for name, one in found["voices"].items()]
    if drilled is not None:
        rows.append(Figure(DRILLED, drilled))
    answers = found["voices"][shown]["answers"]
    blocks: list[Block] = [Figures(rows)]
    for is_right in (True, False):
        picked = first_of_each_kind([row for row in answers if row["right"] is is_right])
        blocks += [Judged(row["messages"], row["answer"], is_right, row["reason"]) for row in picked]
    rule = (
        f"The answers of {shown}. Not chosen: of each kind of question the first that is right, and the first that is "
        f"wrong, in the order of the file, until there are {N_EXAMPLES} of both."
    )
    return [*blocks, Note(rule)]


def first_of_each_kind(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first row of each kind, in the rows' order, then the next ones, until there are `N_EXAMPLES`."""
    first: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        first.setdefault(row["kind"], row)
    chosen = [*first.values(), *(row for row in rows if row is not first[row["kind"]])]
    return chosen[:N_EXAMPLES]


def _sections(found: Mapping[str, Any], stage: str) -> list[Section]:
    voices = found["voices"]
    rows = [
        Figure(f"{label}, {name}", value)
        for name, one in voices.items()
        for label, value in (
            ("declined, of what must be declined", one["declined"]["to_decline"]),
            ("declined, of what can be answered", one["declined"]["answerable"]),
            ("supported by its passages", one["grounded"]),
            ("quoted in place of the voice", one["quoted"]),
            ("asked first", one["turns"]["first"]),
            ("the same, asked after another question", one["turns"]["second"]),
        )
        if value["n"]
    ]
    recall = [
        Figure(f"an answer is in the first {n} passages" if n != "1" else "an answer is in the first passage", value)
        for n, value in voices[LOOKUP]["recall"].items()
    ]
    names = [Figure(f"what the most used names do, {name}", one["right"]) for name, one in found["names"].items()]
    notes = [
        Figure(f"{label}, {name}", value)
        for name, one in found["notes"].items()
        for label, value in (
            ("five notes in English: the right sentence and file", one["found"]["en"]),
            ("five notes in Korean: the right sentence and file", one["found"]["ko"]),
            ("of these notes, declined what they do not answer", one["declined"]),
        )
    ]
    differences = [
        Figure(f"{name} minus {other}, right, paired", value)
        for name, others in found["differences"].items()
        for other, value in others.items()
    ]
    lead = "Each voice is asked the same questions, greedily, through the function that answers in chat."
    plot = Plot("Natural questions right, by kind and language:", [Bars(_groups(voices))], x_limits=(0, 1))
    return [
        Section("Natural questions", lead, [Figures([*recall, *differences, *names, *notes, *rows]), plot], about=stage)
    ]


def _groups(voices: Mapping[str, Any]) -> list[Group]:
    hues = dict(zip(voices, HUES * len(voices), strict=False))

    def group(label: str, values: Mapping[str, Any]) -> Group:
        return Group(label, [Bar(name, hues[name], value) for name, value in values.items()])

    groups = [group("all", {name: one["right"] for name, one in voices.items()})]
    for key, names in (("by_lang", {"en": "English", "ko": "Korean"}), ("by_kind", {})):
        labels = dict.fromkeys(label for one in voices.values() for label in one[key])
        groups += [
            group(names.get(label, label), {name: one[key][label] for name, one in voices.items() if label in one[key]})
            for label in labels
        ]
    return groups
