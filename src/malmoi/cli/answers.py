"""What commands that answer share: how they sample, where they look up, how they show sources, what they record."""

import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from malmoi.cli.options import MOST_SEED, a_path
from malmoi.errors import ConfigError

if TYPE_CHECKING:
    from malmoi.inference.session import ChatSession
    from malmoi.retrieval.findings import Source
    from malmoi.retrieval.lookup import Lookup
    from malmoi.workspace.answers import Recorder
    from malmoi.workspace.choice import Choice
    from malmoi.workspace.folder import Workspace
    from malmoi.workspace.versions import Version

OWN = "default: the model's generation_config.json, else"
Temperature = Annotated[
    float | None,
    typer.Option(metavar="T", help=f"0 takes the likeliest token; higher is more random; {OWN} 0.7 (generate: 1)."),
]
TopP = Annotated[
    float | None,
    typer.Option(metavar="P", help=f"Sample from the likeliest tokens of this total probability; {OWN} 1."),
]
TopK = Annotated[int | None, typer.Option(metavar="K", help=f"Sample from the K likeliest tokens; 0: all; {OWN} 0.")]
MaxTokens = Annotated[
    int | None, typer.Option(metavar="N", help=f"Most tokens of an answer; {OWN} 128 (generate: 256).")
]
RandomSeed = Annotated[
    int | None, typer.Option(metavar="N", min=0, max=MOST_SEED, help="Seed of sampling, to repeat answers.")
]
Documents = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH", parser=a_path,
        help="Look up in this folder or file, whose index is made or updated first; default: the workspace's index.",
    ),
]  # fmt: skip
NoDocuments = Annotated[bool, typer.Option("--no-documents", help="Look nothing up: the model answers by itself.")]
NoRecord = Annotated[bool, typer.Option("--no-record", help="Do not record the answers in the workspace's ledger.")]
SHOWN = 100
"""Characters of a heading or a sentence in a line about a source."""


def remark(text: str) -> None:
    typer.secho(text, err=True, dim=True)


def index_for(workspace: "Workspace", documents: Path | None, no_documents: bool) -> Path | None:
    """The folder of the index to look up in: of the documents, else of the workspace; None if there is none."""
    if no_documents:
        if documents is not None:
            raise ConfigError("--documents and --no-documents: give one of them")
        return None
    from malmoi.cli.console import watched
    from malmoi.cli.printing import printable
    from malmoi.workspace.indexes import find_index, index_folder

    if documents is None:
        return find_index(workspace)
    with watched():
        made = index_folder(workspace, documents)
    if passed_over := made.updated.report.skipped:
        said = ", ".join(f"{n:,} × {reason}" for reason, n in passed_over.items())
        remark(printable(f"(passed over: {said}; `malmoi index` of that folder shows which)"))
    return made.folder


def open_lookup(index: Path) -> "Lookup":
    from malmoi.retrieval.index import Index
    from malmoi.retrieval.lookup import Lookup

    return Lookup(Index.open(index))


def source_line(source: "Source", *, whole: bool = False) -> str:
    """A source on one line. whole: do not shorten heading and sentence"""
    from malmoi.cli.printing import printable, source_text

    return printable(source_text(source.to_row(), None if whole else SHOWN))


@dataclass
class Answering:
    """Everything around a session: what it looks up in, and where its answers are recorded.

    lookup, index: where answers are looked up, and the folder of its index; None if nothing is looked up
    recorder: None if the user wants no record
    chosen: the model that answers, None if none does; follows_service: it is the version in service, and remains so
    """

    workspace: "Workspace"
    lookup: "Lookup | None"
    index: Path | None
    recorder: "Recorder | None"
    chosen: "Choice | None" = None
    follows_service: bool = False
    _hashes: dict[Path, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    @classmethod
    def opened(cls, workspace: Path, documents: Path | None, no_documents: bool, no_record: bool) -> "Answering":
        """Open the workspace's index, or make or update that of `documents`."""
        from malmoi.workspace.answers import Recorder
        from malmoi.workspace.folder import Workspace

        here = Workspace(workspace)
        index = index_for(here, documents, no_documents)
        lookup = open_lookup(index) if index is not None else None
        return cls(here, lookup, index, None if no_record else Recorder(here))

    def session(
        self, model: str | None, given: Mapping[str, Any], seed: int | None, weights: str, command: str
    ) -> "ChatSession":
        """A session with a model; see `voice_of`. given: options of sampling, None if they were not given"""
        from malmoi.inference.grounded import NO_VOICE
        from malmoi.inference.session import ChatSession

        chosen = self.choose(model)
        name, folder = (NO_VOICE, None) if chosen is None else (chosen.name, chosen.folder)
        if folder is None:
            for option, value in {**given, "seed": seed}.items():
                if value is not None:
                    said = option.replace("_", "-")
                    raise ConfigError(f"--{said}: does nothing, since no model answers here; leave it out")
            return ChatSession(name, None, None, seed, lookup=self.lookup)
        from malmoi.feedback.service import best_in
        from malmoi.inference.chosen import sampling_of  # with torch, which takes seconds
        from malmoi.inference.weights import weights_named

        sampling = sampling_of(folder, given, command)
        best = best_in(self._version)
        return ChatSession(name, folder, sampling, seed, weights_named(weights), self.lookup, best)

    def follow(self, session: "ChatSession", model: str | None, given: Mapping[str, Any]) -> None:
        """Go on with another model, which samples as it says itself; None: with the version that is in service now."""
        from malmoi.feedback.service import best_in
        from malmoi.inference.chosen import sampling_of  # with torch, which takes seconds
        from malmoi.inference.grounded import NO_VOICE

        chosen = self.choose(model)
        if chosen is None:
            session.use(NO_VOICE, None, None)
        else:
            session.use(chosen.name, chosen.folder, sampling_of(chosen.folder, given, "chat"), best_in(self._version))
        self.begin_again()

    def choose(self, model: str | None) -> "Choice | None":
        """The model or version to talk with; by default the version in service, else as `voice_of`. None: no model."""
        from malmoi.workspace.choice import Choice, choose
        from malmoi.workspace.models import policy_names
        from malmoi.workspace.versions import NAME

        is_version = model is None and bool(policy_names(self.workspace))
        if is_version or (model is not None and NAME.fullmatch(model)):
            chosen: Choice | None = choose(self.workspace, model)
        else:
            name, folder = self.voice_of(model)
            chosen = None if folder is None else Choice(name, folder)
        self.chosen, self.follows_service = chosen, model is None and chosen is not None and chosen.version is not None
        return chosen

    def serving_changed(self) -> bool:
        """Whether another version has been put in service than the one that answers by default."""
        from malmoi.workspace.ledger import Ledger
        from malmoi.workspace.versions import serving_number

        if not self.follows_service or self.chosen is None or self.chosen.version is None:
            return False
        with Ledger.open(self.workspace, only_read=True) as ledger:
            return serving_number(ledger) != self.chosen.version.number

    def voice_of(self, model: str | None) -> tuple[str, Path | None]:
        """Name and folder of a model, or "none" and no folder; by default the newest model, or none if there is none.

        Raises UserError as `find_model`, and ConfigError if there is neither a model nor anything to look up in.
        """
        from malmoi.inference.grounded import NO_VOICE
        from malmoi.workspace.models import find_model, policy_names

        if model == NO_VOICE or (model is None and not policy_names(self.workspace)):
            if self.lookup is not None:
                return NO_VOICE, None
            if model is None:
                raise ConfigError(
                    f"{self.workspace.path}: no model here yet, and no index to look up in; give --documents FOLDER or "
                    "--workspace, or make a model with `malmoi demo`"
                )
            raise ConfigError("none: quotes what it finds, and there is nothing to look up in; give --documents FOLDER")
        return find_model(self.workspace, model)

    def record(self, session: "ChatSession") -> str | None:
        """Record the session's last answer; returns its name. None if it is not recorded."""
        from malmoi.workspace.answers import NewAnswer

        last = session.last
        if self.recorder is None or last is None:
            return None
        if self.recorder.problem:
            self._tell_problem()
            return None
        made_by = self.sha256_of(session.folder), self.sha256_of(self.index), self._index_place()
        sources, how = last.to_row()["sources"], self.how(session)
        given = NewAnswer(
            session.asked, last.text, last.voice, *made_by, sources, last.supported, last.quoted, how, session.documents
        )
        name = self.recorder.record(given)
        self._tell_problem()
        return name

    def _tell_problem(self) -> None:
        """Say once why nothing is recorded. Outside of a workspace nobody expects it."""
        assert self.recorder is not None
        if self.recorder.problem and self.workspace.exists and self._is_first("problem"):
            remark(f"(answers are not recorded: {self.recorder.problem})")

    def remark_on(self, session: "ChatSession") -> None:
        """What to know about the last answer. What holds for the rest of the conversation is said once."""
        last = session.last
        if last is not None and last.rejected and last.sources:
            why = f": the documents do not support what {last.voice} said" if self._is_first("quoted") else ""
            remark(f"(quoted{why})")
        if session.n_dropped and self._is_first("dropped"):
            remark(f"(the oldest messages no longer fit {session.name}'s context, and are left out from here on)")

    def begin_again(self) -> None:
        """Another conversation or another model: what was said of the last one does not hold."""
        self._told -= {"quoted", "dropped"}

    def _is_first(self, key: str) -> bool:
        """Whether this is to be told for the first time."""
        is_first = key not in self._told
        self._told.add(key)
        return is_first

    @property
    def _version(self) -> "Version | None":
        return None if self.chosen is None else self.chosen.version

    def _index_place(self) -> str | None:
        from malmoi.feedback.service import place_of

        return None if self.lookup is None or self.index is None else place_of(self.workspace, self.lookup, self.index)

    def how(self, session: "ChatSession") -> dict[str, Any]:
        """What it takes to make the last answer again; empty if no model was asked."""
        if session.sampling is None:
            return {}
        how = {**session.sampling.model_dump(mode="json", exclude={"logprobs"}), "seed": session.seed - 1}
        if session.best is not None and self.chosen is not None and (version := self.chosen.version) is not None:
            how |= version.picking()
        return how

    def sha256_of(self, made: Path | None) -> str | None:
        """The hash of a model or an index; files that have not changed are not read again."""
        from malmoi.workspace.hashes import sha256_in

        if made is None:
            return None
        if made not in self._hashes:
            self._hashes[made] = sha256_in(self.workspace, made)
        return self._hashes[made]

    def introduction(self, session: "ChatSession") -> str:
        """What to know first: who answers, what it looks up in, what is recorded, and how to leave that out."""
        parts, without = [taught(session, self.lookup is not None)], []
        if self.lookup is not None and self.index is not None:
            from malmoi.workspace.documents import titles_of

            facts = self.lookup.index.facts
            size = f"{facts['files']:,} documents, {facts['passages']:,} passages"
            texts = facts.get("source") or ", ".join(titles_of(self.workspace, self.index))
            parts.append(f"looks up in {texts} ({size})")
            without.append("--no-documents")
        if self.recorder is not None and self.recorder.problem:
            parts.append(f"answers are not recorded: {self.recorder.problem}")
            self._told.add("problem")
        elif self.recorder is not None:
            parts.append("answers are recorded in the workspace")
            without.append("--no-record")
        leave = f" ({' and '.join(without)} leave{'s' * (len(without) == 1)} that out)" if without else ""
        return f"{session.name}: {'; '.join(parts)}{leave}"


def taught(session: "ChatSession", looks_up: bool) -> str:
    """What to know about the model."""
    if session.voice is None:
        return "no model; it quotes"
    from malmoi.stage import BASE

    context = f"context {session.voice.seq_len} tokens"
    if looks_up and session.voice.reading == "no":
        return f"{context}; it was not trained to read documents, so they are quoted"
    if session.name == BASE:
        return f"{context}; it continues text and was never taught to chat"
    return context


def say(session: "ChatSession", text: str, label: str = "") -> None:
    """Answer on stdout, as the words come."""
    from malmoi.cli.printing import printable

    spoken = False
    with contextlib.closing(session.answer(text)) as pieces:
        for piece in filter(None, map(printable, pieces)):
            sys.stdout.write(piece if spoken else label + piece)
            sys.stdout.flush()
            spoken = True
    print(flush=True)
    if not spoken:
        remark(f"({session.name} ended its turn without a word)")


def sources_of(session: "ChatSession") -> list[str]:
    """A line for each source of the last answer, the best first; of one that only offers what is nearest, its place."""
    from malmoi.cli.printing import printable, source_place

    if session.last is None:
        return []
    places = [f"nearest: {printable(source_place(source.to_row()))}" for source in session.last.nearest]
    return [source_line(source) for source in session.last.sources] + places


def best_source(session: "ChatSession") -> str:
    """A line for the best source of the last answer, "" if there is none; only its place where the answer quotes it."""
    from malmoi.cli.printing import printable, source_place

    if session.last is None or not session.last.sources:
        return "\n  ".join(sources_of(session))
    best, *others = session.last.sources
    is_whole = best.sentence in session.last.text and best.passage.heading in session.last.text
    shown = printable(source_place(best.to_row())) if is_whole else source_line(best)
    return shown + (f"  (and {len(others)} more: /sources)" if others else "")


def full_sources(session: "ChatSession") -> list[str]:
    """Each source of the last answer with its whole passage."""
    from malmoi.cli.printing import printable

    lines = []
    for source in (*session.last.sources, *session.last.nearest) if session.last else ():
        passage = source.passage
        lines.append(f"{source_line(source, whole=True)}  (fits {source.score:.2f})")
        lines += [f"    {printable(line)}" for line in passage.text.splitlines()]
    return lines
