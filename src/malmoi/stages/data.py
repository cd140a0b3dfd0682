"""Published conversations and rankings, in any known format, as demonstrations, rankings and prompts."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import ceil
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from malmoi import config, progress
from malmoi.config import Seed
from malmoi.cost import Cost, Sizes
from malmoi.data.comparisons import ranking_ids
from malmoi.data.formats import Origin, RowReport, conversations, name_of, prompts, rankings, tree_of
from malmoi.data.rows import Row
from malmoi.errors import ConfigError, DataError, UserError
from malmoi.evals.agreement import pairwise_agreement
from malmoi.facts import Facts, Listing, Section, listed
from malmoi.files import read_json, sha256_of, write_json, write_jsonl
from malmoi.formats.folder import load_text
from malmoi.stage import Context, Finished, required
from malmoi.text import canonical
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.unused import Unused, is_empty
from malmoi.workspace.download import Progress
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import Hashes
from malmoi.workspace.hub import Dataset, Hub, UnreachableError

Text = tuple[Tokenizer, ChatTemplate]
Side = Literal["train", "judge", "heldout"]


TYPICAL_SHARE = 0.6
"""Assumed length of a typical conversation, ranked answer or prompt, as a share of the longest that is kept."""
TYPICAL_RANKINGS = 2000
"""Assumed rankings of a source that is read whole."""


class Settings(config.Settings):
    """People's conversations and rankings.

    A source is a file, relative to the current folder, or OWNER/NAME on the Hugging Face hub. OWNER/NAME/FILES selects
    files of it, such as /helpful-base/train*.
    """

    conversations: tuple[str, ...] = ()
    """Sources to fine-tune on, in any format that `malmoi data show` recognises."""
    rankings: tuple[str, ...] = ()
    """Sources of ranked answers, for reward model, judge and DPO."""
    prompts: tuple[str, ...] = ()
    """Sources of prompts to train policies on; empty: those of the rankings."""
    origins: dict[str, Origin] = Field(default_factory=dict)
    """Source -> who wrote its answers, for rows that do not say. A file's source name has no suffix."""
    languages: tuple[str, ...] = ()
    """Languages to keep, such as en, for rows that state theirs; empty: all."""
    longest: int = Field(256, gt=0)
    """Most tokens of a prompt with any of its answers; longer rows are left out and counted."""
    longest_conversation: int | None = Field(None, gt=0)
    """Most tokens of a conversation; None: `longest`. A model fine-tuned on short answers learns to end its answers."""
    longest_prompt: int = Field(192, gt=0)
    """Most tokens of a prompt to train policies on."""
    n_conversations: int | None = Field(None, gt=0)
    """Most conversations from each source, drawn at random."""
    n_rankings: int | None = Field(None, gt=0)
    """Most rankings from each source, drawn at random."""
    heldout_fraction: float = Field(0.1, gt=0, lt=1)
    """Share of the prompts, with all their rows, that are held out from training."""
    judge_fraction: float = Field(0.5, ge=0, lt=1)
    """Share of the other prompts whose rankings train only the judge."""
    errors: Literal["strict", "skip"] = "skip"
    """For a row that cannot be used: stop (strict), or leave it out and count it (skip)."""
    seed: Seed = 1
    """Seed of the random choices and of the split."""


class Source(NamedTuple):
    """An opened source. name: recorded in its rows; commit: of the hub, or None"""

    name: str
    files: Sequence[Path]
    commit: str | None = None


READS = {"model": required("base", "policy")}
MAKES = {
    "demonstrations": {"train": "train.jsonl", "heldout": "heldout.jsonl"},
    "rankings": {"train": "rankings.train.jsonl", "heldout": "rankings.heldout.jsonl", "facts": "data.json"},
    "judge rankings": "rankings.judge.jsonl",
    "prompts": {"train": "prompts.train.jsonl", "heldout": "prompts.heldout.jsonl"},
}
UNUSED = (
    Unused("n_conversations", "conversations", is_empty, "data.conversations is empty"),
    Unused("longest_conversation", "conversations", is_empty, "data.conversations is empty"),
    Unused("n_rankings", "rankings", is_empty, "data.rankings is empty"),
    Unused("judge_fraction", "rankings", is_empty, "data.rankings is empty"),
)


def expects(settings: Settings, sizes: Sizes) -> Sizes:
    """Lengths and the number of rankings, guessed from the limits; answers to people's prompts are long."""
    seq_len = sizes.shape.seq_len
    kept = (settings.longest_conversation or settings.longest, settings.longest, settings.longest_prompt)
    chat, ranked, prompt = (ceil(TYPICAL_SHARE * min(longest, seq_len)) for longest in kept)
    n_rankings = len(settings.rankings) * (settings.n_rankings or TYPICAL_RANKINGS)
    return replace(
        sizes, chat=chat, ranked=ranked, prompt=prompt, longest=settings.longest, n_ranked=2, answer_share=0.9,
        n_prompts=round(n_rankings * (1 - settings.judge_fraction)),
    )  # fmt: skip


def cost(settings: Settings, sizes: Sizes) -> Cost:
    """Reading, measuring and splitting a few hundred thousand rows: a rough guess."""
    return Cost(fixed_s=40.0)


def kinds(settings: Settings) -> Collection[str]:
    """Only the kinds that have sources. Prompts come from `prompts`, or else from the rankings."""
    makes = {
        "demonstrations": settings.conversations,
        "rankings": settings.rankings,
        "judge rankings": settings.rankings and settings.judge_fraction,
        "prompts": settings.rankings or settings.prompts,
    }
    return [kind for kind, sources in makes.items() if sources]


def external_hashes(settings: Settings, workspace: Workspace, hashes: Hashes) -> dict[str, str]:
    """The hashes of the sources that are files."""
    with hashes.keeping() as of_file:
        return data_identity(settings, of_file)


def run(context: Context, settings: Settings) -> None:
    """Read, measure, sample and split. Rows that share a prompt or a tree are on the same side, across all sources."""
    if not settings.conversations and not settings.rankings:
        raise ConfigError(
            'data: no sources; name files or hub sets as data.conversations = ["…"], data.rankings = ["…"]'
        )
    _check_origins(settings)
    text = load_text(context.reads("model").path)
    reader = _Reader(settings, text, context.workspace.path / "data", context.say)
    chats = _unique(reader.read("conversations", settings.conversations, conversations, settings.n_conversations))
    ranked = reader.read("rankings", settings.rankings, rankings, settings.n_rankings)
    if settings.prompts:
        asked = reader.read("prompts", settings.prompts, prompts, None)
    else:
        asked = [{key: row[key] for key in ("messages", "source", "tree")} for row in ranked]
        asked = [row for row in asked if reader.n_tokens(row) <= settings.longest_prompt]
    asked = _unique(asked)
    side_of = _sides([*chats, *ranked, *asked], settings)
    made = {
        "train": [row for row in chats if side_of(row) != "heldout"],
        "heldout": [row for row in chats if side_of(row) == "heldout"],
        **{
            f"rankings.{side}": [row for row in ranked if side_of(row) == side]
            for side in ("train", "judge", "heldout")
        },
        "prompts.train": [row for row in asked if side_of(row) != "heldout"],
        "prompts.heldout": [row for row in asked if side_of(row) == "heldout"],
    }
    _check_sides(made, bool(chats), bool(ranked), settings)
    for name, rows in made.items():
        write_jsonl(context.out / f"{name}.jsonl", rows)
    facts = {
        "sources": reader.facts,
        "rows": {name: len(rows) for name, rows in made.items()},
        "by_source": {name: dict(Counter(row["source"] for row in rows)) for name, rows in made.items()},
        "origins": {
            name: dict(Counter(row["origin"] for row in rows)) for name, rows in made.items() if "prompts" not in name
        },
        "n_trees": len({row["tree"] for rows in made.values() for row in rows}),
        "agreement": _agreement(ranked),
    }
    write_json(context.out / "data.json", facts)
    for name, rows in made.items():
        context.say(f"{name}: {len(rows):,}")


def facts(finished: Finished) -> Facts:
    """The number of rows of each source on each side."""
    found = read_json(finished.out / "data.json")
    rows = [
        (name, f"{found['rows'][name]:,}: {listed(sources)}") for name, sources in found["by_source"].items() if sources
    ]
    lead = (
        "Split by prompt: rows with the same prompt are all used for training, all kept for the judge, or all held out."
    )
    return Facts([Section("People’s conversations and rankings", lead, [Listing(rows)])])


def _check_origins(settings: Settings) -> None:
    entries = (*settings.conversations, *settings.rankings, *settings.prompts)
    names = {name_of(Path(entry)) if Path(entry).exists() else entry for entry in entries}
    if unknown := sorted(settings.origins.keys() - names):
        raise ConfigError(f"data.origins: {unknown[0]}: no source has this name; they are {', '.join(sorted(names))}")


def data_identity(settings: Settings, of_file: Callable[[Path], str] = sha256_of) -> dict[str, str]:
    """Source -> SHA-256 of its file, for the fingerprint. A hub source is identified by its name, in the settings.

    of_file: returns a file's SHA-256; by default it reads the file
    """
    found = {}
    for entry in (*settings.conversations, *settings.rankings, *settings.prompts):
        path = Path(entry)
        if path.is_file():
            found[entry] = of_file(path)
        elif Dataset.parse(entry) is None:
            raise DataError(
                f"{entry}: no such file, nor a name on the hub (OWNER/NAME); paths are relative to {Path.cwd()}"
            )
    return found


class _Reader:
    """Reads sources, and counts the rows that it keeps and leaves out."""

    def __init__(self, settings: Settings, text: Text, folder: Path, say: Callable[[str], None]) -> None:
        self.settings, self.text, self.folder, self.say = settings, text, folder, say
        self.facts: dict[str, Any] = {}

    def read(
        self, kind: str, entries: Sequence[str], read: Callable[..., Iterator[tuple[int, Row]]], n_most: int | None
    ) -> list[Row]:
        return [row for entry in entries for row in self._read_source(kind, entry, read, n_most)]

    def n_tokens(self, row: Row) -> int:
        """Tokens of the longest conversation in a row; of a prompt without answers, up to where the answer begins."""
        tokenizer, template = self.text
        messages = row["messages"]
        if "answers" in row:
            return max(map(len, ranking_ids(tokenizer, template, messages, row["answers"])))
        waits = messages[-1]["role"] == "user"
        return len(template.encode(tokenizer, messages, add_generation_prompt=waits)[0])

    def _read_source(
        self, kind: str, entry: str, read: Callable[..., Iterator[tuple[int, Row]]], n_most: int | None
    ) -> list[Row]:
        try:
            source = open_source(entry, self.folder)
        except UnreachableError as error:
            raise UnreachableError(f"{error}; files do as well: --set 'data.{kind}=[\"FILE\"]'") from None
        report = RowReport()
        given = (row for file in source.files for _, row in read(file, self.settings.errors, report, source.name))
        rows = list(progress.track(given, "rows read"))
        left_out: Counter[str] = Counter(report.skipped)
        if self.settings.languages:
            spoken = [row for row in rows if row.get("lang") in (None, *self.settings.languages)]
            left_out["another language"] += len(rows) - len(spoken)
            rows = spoken
        limit, longest = self._limit(kind)
        # In random order until there are enough, so that the other rows need not be measured.
        order = list(range(len(rows)))
        random.Random(f"{self.settings.seed} {source.name}").shuffle(order)
        taken: list[int] = []
        for n_seen, place in enumerate(progress.track(order, "rows measured")):
            if n_most is not None and len(taken) == n_most:
                left_out["more than wanted"] += len(order) - n_seen
                break
            if self._fits(rows[place], longest, left_out):
                taken.append(place)
        kept = [self._with_origin(rows[place], source.name) for place in sorted(taken)]
        if not kept:
            raise DataError(f"{entry}: no row is left ({_listed(left_out)}); data.{limit} is {longest} tokens")
        self.facts.setdefault(kind, {})[entry] = {
            "name": source.name, "format": list(report.formats), "commit": source.commit, "n_rows": len(kept),
            "left_out": dict(left_out), "unused": dict(report.unused), "examples": report.examples,
        }  # fmt: skip
        self.say(f"{kind} of {source.name}: {len(kept):,}; left out: {_listed(left_out) or 'none'}")
        if report.unused:
            self.say(f"{kind} of {source.name}: columns not used: {', '.join(report.unused)}")
        return kept

    def _limit(self, kind: str) -> tuple[str, int]:
        """The setting that limits the tokens of a row: its name and its value."""
        if kind == "prompts":
            return "longest_prompt", self.settings.longest_prompt
        if kind == "conversations" and self.settings.longest_conversation is not None:
            return "longest_conversation", self.settings.longest_conversation
        return "longest", self.settings.longest

    def _fits(self, row: Row, longest: int, left_out: Counter[str]) -> bool:
        try:
            fits = self.n_tokens(row) <= longest
        except DataError as error:  # the model's chat template refuses it
            if self.settings.errors == "strict":
                raise DataError(f"{row['source']}: {error}") from None
            left_out["refused by the chat template"] += 1
            return False
        left_out["too long"] += not fits
        return fits

    def _with_origin(self, row: Row, name: str) -> Row:
        known = self.settings.origins.get(name)
        return {**row, "origin": known} if known and row.get("origin") == "unknown" else row


def open_source(entry: str, folder: Path, hub: Hub | None = None, progress: Progress = lambda *_: None) -> Source:
    """A file, or a data set of the hub, downloaded to `folder` if it is not there yet.

    Raises DataError if it is neither, and what `Hub.fetch_data` raises.
    """
    if Path(entry).exists():
        return Source(name_of(Path(entry)), [Path(entry)])
    dataset = Dataset.parse(entry)
    if dataset is None:
        raise DataError(
            f"{entry}: no such file, nor a name on the hub (OWNER/NAME); paths are relative to {Path.cwd()}"
        )
    try:
        commit, files = (hub or Hub()).fetch_data(dataset, folder, progress)
    except UserError as error:
        raise type(error)(f"{entry}: is no file here, and as a name on the hub: {error}") from None
    return Source(entry, files, commit)


def _unique(rows: Iterable[Row]) -> list[Row]:
    """Remove duplicate conversations; the first one is kept."""
    found: dict[str, Row] = {}
    for row in rows:
        said = [
            [turn["role"], canonical(turn["content"]), turn.get("trained", True), turn.get("documents")]
            for turn in row["messages"]
        ]
        found.setdefault(json.dumps(said), row)
    return list(found.values())


def _sides(rows: Sequence[Row], settings: Settings) -> Callable[[Row], Side]:
    """A function that gives a row's side. Rows connected by a tree or a first question, even indirectly, share a side.

    The seed and the alphabetically first name of a group decide, so a new source moves only rows whose groups it joins.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for row in rows:
        first, second = sorted((root(row["tree"]), root(tree_of(row["messages"]))))
        parent[second] = first

    def side(row: Row) -> Side:
        digest = hashlib.sha256(f"{settings.seed} {root(row['tree'])}".encode()).digest()
        place = int.from_bytes(digest[:8], "big") / 2**64
        if place < settings.heldout_fraction:
            return "heldout"
        place = (place - settings.heldout_fraction) / (1 - settings.heldout_fraction)
        return "judge" if place < settings.judge_fraction else "train"

    return side


def _check_sides(made: Mapping[str, Sequence[Row]], chats: bool, ranked: bool, settings: Settings) -> None:
    needed = {"train": chats, "heldout": chats, "rankings.judge": ranked and settings.judge_fraction > 0}
    needed |= dict.fromkeys(("rankings.train", "rankings.heldout", "prompts.train", "prompts.heldout"), ranked)
    empty = [name for name, rows in made.items() if needed[name] and not rows]
    if empty:
        raise DataError(f"data: nothing is left for {', '.join(empty)}; give more rows or another heldout_fraction")


def _agreement(rows: Iterable[Row]) -> dict[str, dict[str, float | int | None]]:
    """Source -> how often two people order two answers alike, for rows that record each person's ranking."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for a, b in combinations(row.get("annotators", ()), 2):
            found = pairwise_agreement(a, b)
            counts.setdefault(row["source"], Counter()).update(found._asdict())
    return {
        source: {
            "with_ties": n["n_agree"] / n["n_pairs"],
            "without_ties": n["n_agree_untied"] / n["n_untied"] if n["n_untied"] else None,
            "n_pairs": n["n_pairs"],
        }
        for source, n in counts.items()
    }


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {reason}" for reason, n in counts.items() if n)
