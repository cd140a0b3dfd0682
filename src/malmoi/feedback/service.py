"""What is in service: a voice, what it looks up in, and how answers come from both, step by step.

An answer is made as `chat` makes it: looked up, spoken, checked, settled. Here these are steps of one `Turn`, so that a
server can make many at once.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from malmoi.errors import UserError
from malmoi.feedback.refusals import RefusedError
from malmoi.inference.best import Words
from malmoi.inference.grounded import (
    NO_VOICE,
    Answered,
    Prepared,
    TooLongError,
    prepare,
    settle,
    settle_best,
)
from malmoi.retrieval.findings import Findings
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.suggestions import suggestions
from malmoi.retrieval.taught import SAME, SIMILAR, Taught, TaughtSource, find_taught
from malmoi.workspace.answers import NewAnswer
from malmoi.workspace.choice import choose
from malmoi.workspace.documents import titles_of
from malmoi.workspace.folder import Workspace
from malmoi.workspace.hashes import sha256_in
from malmoi.workspace.indexes import find_index, index_state
from malmoi.workspace.models import policy_names
from malmoi.workspace.versions import Version

if TYPE_CHECKING:  # torch takes seconds, and the first page shall not wait for it
    from malmoi.inference.best import BestOf
    from malmoi.inference.sampling import Sampling
    from malmoi.inference.speaker import Speaker, Speech
    from malmoi.inference.vllm.weights import Remote
    from malmoi.inference.voice import Voice


@dataclass(frozen=True)
class Service:
    """A voice and a look-up; at least one of them. speaker: the thread in which the voice speaks

    index_place: the folder that is indexed; of an index that a run made, its path in the workspace
    version, best: the version in service, and how it picks the best of n answers; None if a model was named
    """

    name: str
    folder: Path | None = None
    sha256: str | None = None
    voice: "Voice | None" = None
    speaker: "Speaker | None" = None
    lookup: Lookup | None = None
    index_sha256: str | None = None
    index_place: str | None = None
    questions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """To begin with: language -> questions that the documents answer."""
    titles: Sequence[str] = ()
    """What people call the texts that are looked up in."""
    index_state: tuple[str, int] | None = None
    """See `workspace/indexes.py`: an index that is another one, or has changed, is opened again."""
    version: Version | None = None
    best: "BestOf | None" = None
    lock: Lock = field(default_factory=Lock, repr=False)
    """The look-up is used by one caller at a time."""

    @cached_property
    def own(self) -> dict[str, Any]:
        """How the model's folder says that it samples: read once, not for every message."""
        from malmoi.formats.generation import sampling_defaults

        return sampling_defaults(self.folder) if self.folder is not None else {}

    @property
    def defaults(self) -> dict[str, Any]:
        """How the voice samples where a person chose nothing."""
        if self.folder is None:
            return {}
        from malmoi.inference.chosen import sampling_from

        named = ("temperature", "top_p", "top_k", "max_tokens")
        return sampling_from(self.own, {}, "chat").model_dump(include=set(named))

    def sampling(self, chosen: Mapping[str, Any]) -> "Sampling | None":
        """How to sample. chosen: by a person. Raises ConfigError for a value that cannot be used."""
        if self.folder is None:
            return None
        from malmoi.inference.chosen import sampling_from

        return sampling_from(self.own, {name: value for name, value in chosen.items() if name != "seed"}, "chat")

    def close(self) -> None:
        if self.speaker is not None:
            self.speaker.close()


def open_service(workspace: Workspace, model: str | None = None, remote: "Remote | None" = None) -> Service:
    """Load what answers: the model and the workspace's index, if it has one.

    model: a name, `none` quotes; None: the version in service, else the newest
    remote: a server that is given the model's weights, and answers in place of our engine

    Raises UserError if the model cannot be loaded, and RefusedError if there is neither a model nor an index.
    """
    if model == NO_VOICE or (model is None and not policy_names(workspace)):
        quoting = renewed(Service(NO_VOICE), workspace)
        if quoting.lookup is None:
            raise RefusedError("no_model", "there is no model here yet, and nothing to look up in; build or fetch one")
        return quoting
    chosen = choose(workspace, model)
    name, folder, version, best = chosen.name, chosen.folder, chosen.version, best_in(chosen.version)
    from malmoi.inference.speaker import Speaker
    from malmoi.inference.voice import Voice

    voice = Voice.load(name, folder, remote=remote)
    speaker = Speaker.of(voice)
    sha256 = sha256_in(workspace, folder)
    return renewed(Service(name, folder, sha256, voice, speaker, version=version, best=best), workspace)


def best_in(version: Version | None) -> "BestOf | None":
    """How a version picks the best of n answers; None if it does not, or if a model was named."""
    if version is None or version.reward_model is None or version.n is None:
        return None
    from malmoi.evals.best_of import best_of

    return best_of(version.n, version.temperature or 0.0, version.name, version.reward_model)


def renewed(service: Service, workspace: Workspace) -> Service:
    """The same voice, with the workspace's index as it is now."""
    state, index = index_state(workspace), find_index(workspace)
    if index is None:
        nothing: dict[str, Any] = {"lookup": None, "index_sha256": None, "index_place": None, "index_state": state}
        return replace(service, **nothing, questions={}, titles=())
    from malmoi.retrieval.index import Index

    lookup = Lookup(Index.open(index))
    return replace(
        service, lookup=lookup, index_sha256=sha256_in(workspace, index), index_state=state,
        index_place=place_of(workspace, lookup, index), questions=suggestions(lookup),
        titles=titles_of(workspace, index),
    )  # fmt: skip


def place_of(workspace: Workspace, lookup: Lookup, index: Path) -> str:
    """The folder that an index is of; of an index that a run made, its path in the workspace."""
    made, here = index.resolve(), workspace.path.resolve()
    return str(lookup.index.facts.get("source") or (made.relative_to(here) if here in made.parents else made))


@dataclass(eq=False)
class Turn:
    """One answer in the making. Call `prepare`, `speak` if `speaks`, wait until `is_over`, then `settle`.

    messages: the conversation, the last message is the person's; chosen: how to sample, of which seed
    looks_up: whether the documents, and what people taught, may be used
    taught: answers that people wrote; known: the one of them that answers this question
    """

    service: Service
    messages: Sequence[Mapping[str, Any]]
    chosen: Mapping[str, Any] = field(default_factory=dict)
    looks_up: bool = True
    prepared: Prepared | None = None
    speeches: "list[Speech]" = field(default_factory=list)
    taught: Sequence[Taught] = ()
    known: Taught | None = None
    is_cancelled: bool = False
    asked_at: float = field(default_factory=time.monotonic)
    began_at: float | None = None

    def __post_init__(self) -> None:
        seed = self.chosen.get("seed")
        self.seed = random.getrandbits(32) if seed is None else int(seed)
        self.sampling = self.service.sampling(self.chosen)

    def again(self, n: int) -> "Turn":
        """Another answer to the same prompt, with the seed n further on."""
        chosen = {**self.chosen, "seed": (self.seed + n) % 2**63}
        return replace(self, chosen=chosen, speeches=[])

    @property
    def documents(self) -> Sequence[Mapping[str, str]] | None:
        """See `Prepared.documents`."""
        return self.prepared.documents if self.prepared is not None else None

    @property
    def is_checked(self) -> bool:
        """Whether the answer is shown only when it is whole: it is held against documents, or is the best of n."""
        return self.prepared is not None and (self.prepared.findings is not None or self.service.best is not None)

    @property
    def speaks(self) -> bool:
        """Whether the voice is asked."""
        return self.prepared is not None and self.prepared.ids is not None and not self.is_cancelled

    def prepare(self) -> None:
        """Look up, and write the prompt. Takes some hundredths of a second.

        Raises RefusedError if the message is too long, or if nothing can answer.
        """
        max_tokens = self.sampling.max_tokens if self.sampling is not None else 0
        lookup = self.service.lookup if self.looks_up else None
        found = find_taught(self.taught, self.messages, least=SIMILAR) if self.looks_up else None
        similar = None if found is None else found[0].source(found[1])
        if found is not None and similar is not None and found[1] >= SAME:
            self.known = found[0]
            findings = Findings((similar,), question=str(self.messages[-1]["content"]))
            self.prepared = Prepared(self.messages, None, findings, documents=self._unread(lookup, max_tokens))
            return
        try:
            with self.service.lock:
                prepared = prepare(self.service.voice, lookup, self.messages, max_tokens)
        except TooLongError as error:
            raise RefusedError("too_long", str(error), "text", n_tokens=error.n_tokens, most=error.most) from None
        except UserError as error:
            raise RefusedError("invalid", str(error), "text") from None
        self.prepared = prepared if similar is None else _with_similar(prepared, similar)

    def _unread(self, lookup: Lookup | None, max_tokens: int) -> Sequence[Mapping[str, str]] | None:
        """What would have been read if nobody had taught the answer."""
        if lookup is None:
            return None
        with self.service.lock, suppress(UserError):
            return prepare(self.service.voice, lookup, self.messages, max_tokens).documents
        return None

    def speak(self, wake: Callable[[], None]) -> None:
        """Queue the prompt. wake: called, from another thread, when the answer went on. Raises RefusedError if busy."""
        from malmoi.errors import BusyError

        assert self.prepared is not None and self.prepared.ids is not None
        assert self.service.speaker is not None and self.sampling is not None
        best = self.service.best
        drawn = [(self.sampling, self.seed)] if best is None else best.draws(self.sampling, self.seed)
        try:
            for how, seed in drawn:
                self.speeches.append(self.service.speaker.submit(self.prepared.ids, how, seed, wake))
        except BusyError as error:
            self._end_speeches()
            raise RefusedError("busy", str(error)) from None
        if self.is_cancelled:
            self._end_speeches()

    def cancel(self) -> None:
        """Stop. May be called at any time, from any thread, more than once."""
        self.is_cancelled = True
        self._end_speeches()

    def _end_speeches(self) -> None:
        for speech in list(self.speeches):
            if self.service.speaker is not None:
                self.service.speaker.cancel(speech)

    @property
    def speech(self) -> "Speech | None":
        """The answer in the making; of several, one that broke off, else the first."""
        failed = (one for one in self.speeches if one.error or one.request.finish_reason == "error")
        return next(failed, self.speeches[0] if self.speeches else None)

    @property
    def is_over(self) -> bool:
        return self.is_cancelled or all(speech.is_over for speech in self.speeches)

    @property
    def place(self) -> int:
        """In the queue, from 1; 0: being answered."""
        if self.service.speaker is None:
            return 0
        return max((self.service.speaker.place(speech) for speech in self.speeches), default=0)

    @property
    def n_tokens(self) -> int:
        n_tokens = sum(len(speech.request.ids) for speech in self.speeches)
        if n_tokens and self.began_at is None:
            self.began_at = time.monotonic()
        return n_tokens

    @property
    def said(self) -> str:
        """The voice's words so far."""
        return self.speech.request.text.lstrip() if self.speech is not None else ""

    @property
    def finish(self) -> str:
        """Why the answer ended: stop | length | stopped | error."""
        if self.speech is not None and (self.speech.error or self.speech.request.finish_reason == "error"):
            return "error"
        reason = self.speech.request.finish_reason if self.speech is not None else None
        if reason in ("stop", "length"):
            return str(reason)
        return "stopped" if self.is_cancelled or reason == "cancelled" else "stop"

    @property
    def settles_at_once(self) -> bool:
        """Whether `settle` neither computes nor waits."""
        return self.finish in ("stopped", "error") or not self.is_checked

    def settle(self) -> Answered:
        """The answer as a person gets it. Of one that was stopped, what was shown."""
        assert self.prepared is not None
        if self.finish in ("stopped", "error"):
            return Answered("" if self.is_checked else self.said.rstrip(), voice=self.service.name)
        if self.known is not None and self.prepared.findings is not None:
            sources = self.prepared.findings.sources
            return Answered(self.known.answer, sources, supported=True, quoted=True, voice=self.service.name)
        if not self.is_checked:
            return settle(self.service.voice, self.prepared, self.said)
        with self.service.lock:
            if self.service.best is not None and len(self.speeches) > 1:
                said = [Words(one.request.text.lstrip(), one.request.finish_reason == "stop") for one in self.speeches]
                return settle_best(self.service.voice, self.prepared, said, self.service.best.judge)
            return settle(self.service.voice, self.prepared, self.said)

    def record(self, answered: Answered) -> NewAnswer:
        """What the ledger keeps of the answer."""
        service, how = self.service, {}
        if self.sampling is not None:
            how = {**self.sampling.model_dump(mode="json", exclude={"logprobs"}), "seed": self.seed}
        if service.version is not None and service.version.n is not None:
            how |= service.version.picking()
        return NewAnswer(
            [dict(message) for message in self.messages], answered.text, answered.voice, service.sha256,
            service.index_sha256, service.index_place, answered.to_row()["sources"], answered.supported,
            answered.quoted, how, self.documents,
        )  # fmt: skip

    def figures(self, answered: Answered) -> dict[str, Any]:
        """Counts of tokens and seconds, the passages of the sources, and what was offered in place of an answer."""
        ended = time.monotonic()
        began = self.began_at if self.began_at is not None else ended
        return {
            "n_tokens": self.n_tokens,
            "n_prompt_tokens": len(self.prepared.ids or ()) if self.prepared is not None else 0,
            "n_dropped": self.prepared.n_dropped if self.prepared is not None else 0,
            "wait_s": round(began - self.asked_at, 3),
            "seconds": round(ended - began, 3),
            "passages": [source.passage.text for source in answered.sources],
            "declined": answered.declined,
            "nearest": [source.to_row() | {"passage": source.passage.text} for source in answered.nearest],
        }


def _with_similar(prepared: Prepared, similar: TaughtSource) -> Prepared:
    """The same, with the taught answer to a similar question, if nothing was found that answers for sure."""
    findings = prepared.findings
    if findings is None or findings.sources or findings.small_talk:
        return prepared
    return replace(prepared, findings=replace(findings, closest=(similar, *findings.closest)))
