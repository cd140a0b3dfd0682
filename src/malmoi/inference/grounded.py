"""Answers that name their sources. One function answers for chat, ask, generate and evaluation alike.

What fits the conversation is looked up, and goes into the prompt as documents. The voice answers; its words are checked
against the documents, and where they are not supported, a quotation takes their place. Where it says that they do not
answer, that comes before the quotation. A voice that never learned to read documents, and the voice `none`, always
quote. Nothing fits: only a voice that was trained to decline may speak, and only if it claims nothing; else the nearest
titles are offered. Where something may fit, but not for sure, the answer says so and quotes it in place of titles.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from malmoi.errors import DataError
from malmoi.inference.best import BestOf, Judge, Words
from malmoi.retrieval.agreement import agreeing_source
from malmoi.retrieval.check import denies, is_supported
from malmoi.retrieval.findings import Findings, Source
from malmoi.retrieval.lookup import Lookup
from malmoi.retrieval.prompt import documents_for
from malmoi.retrieval.question import COMPARISON
from malmoi.retrieval.quote import (
    DECLINES,
    declined,
    is_reply_to,
    quote,
    with_others,
    with_parameters,
    without_additions,
)
from malmoi.tokenizer.chat_template import Message, check_messages

if TYPE_CHECKING:  # torch takes seconds, and quotations need none
    from malmoi.inference.requests import Request
    from malmoi.inference.sampling import Sampling
    from malmoi.inference.voice import Voice

NO_VOICE = "none"
"""The name of the voice that is no model: it quotes."""

N_ROWS = 32
ROOMS = (2, 4)
"""The documents get this share of the context, 1/2, or less if the conversation does not fit with them."""
UNREAD_ROOM = 2000
"""Characters of the documents that are kept where no voice reads them: about three passages."""
_UNKNOWN = re.compile("(?i)do not know|모르겠|모릅니다")
"""That something is not known is no answer to small talk."""


class TooLongError(DataError):
    """A message that does not fit into a voice's context. n_tokens: its tokens, most: those that fit"""

    def __init__(self, name: str, n_tokens: int, most: int) -> None:
        super().__init__(f"message: {n_tokens} tokens; {name} reads at most {most}; send a shorter message")
        self.n_tokens, self.most = n_tokens, most


@dataclass(frozen=True)
class Answered:
    """An answer as a person gets it.

    sources: what it comes from, the best first; empty if nothing was looked up, or nothing fitted
    supported: whether its sources support it; None if it has no sources
    quoted: the words are the look-up's: a quotation, or that nothing fits; not the voice's
    voice: name of the model, or `none`; rejected: its words that the check refused, "" if there are none
    declined: it was looked up, and nothing answers for sure; nearest: what was offered then: no answer, and no source
    """

    text: str
    sources: tuple[Source, ...] = ()
    supported: bool | None = None
    quoted: bool = False
    voice: str = NO_VOICE
    rejected: str = ""
    declined: bool = False
    nearest: tuple[Source, ...] = ()

    def to_row(self) -> dict[str, Any]:
        """Everything but the text, for a JSON line."""
        row = {"sources": [source.to_row() for source in self.sources], "supported": self.supported}
        row |= {"quoted": self.quoted, "declined": self.declined}
        row |= {"nearest": [source.to_row() for source in self.nearest]}
        return row | ({"rejected": self.rejected} if self.rejected else {})


def words_of(request: "Request") -> Words:
    return Words(request.text, request.finish_reason == "stop")


@dataclass(frozen=True)
class Prepared:
    """A conversation that is ready to be answered.

    ids: what the voice reads; None if it does not speak; findings: None if nothing was looked up
    asked: the conversation as the voice reads it, with the documents that were found
    n_dropped: old messages that did not fit into the context
    documents: what was found for the voice to read, or, where none was asked, what one would have read; None: nothing
    was looked up
    """

    asked: Sequence[Message]
    ids: list[int] | None
    findings: Findings | None = None
    n_dropped: int = 0
    documents: Sequence[Mapping[str, str]] | None = None


def prepare(
    voice: "Voice | None", lookup: Lookup | None, messages: Sequence[Message], max_tokens: int, *, cut: bool = True
) -> Prepared:
    """Look up what fits, and write the voice's prompt. messages: the last one is the user's

    Documents that the user's message brings along are used as they are, and nothing is looked up.
    cut: leave out the oldest messages that do not fit into the context
    Raises DataError if the conversation is malformed, or too long for a voice without a look-up.
    """
    if lookup is None or messages[-1].get("documents"):
        if voice is None:
            raise DataError("there is no model, and nothing to look up in")
        if not cut:
            return Prepared(messages, whole(voice, messages))
        ids, n_dropped = fit(voice, messages, max_tokens)
        return Prepared(messages, ids, n_dropped=n_dropped)
    check_messages(messages)
    findings = lookup.find(messages)
    if voice is not None and may_speak(voice, findings):
        for share in ROOMS:
            documents = documents_for(findings, voice.seq_len // share, voice.n_tokens)
            asked = with_documents(as_spoken(messages), documents)
            try:
                ids, n_dropped = fit(voice, asked, max_tokens)
            except DataError:
                continue
            return Prepared(asked, ids, findings, n_dropped, documents)
    return Prepared(messages, None, findings, documents=documents_for(findings, UNREAD_ROOM, len))


def as_spoken(messages: Sequence[Message]) -> list[Message]:
    """A conversation in which earlier answers are without what the look-up added to them: short, and as the voice was
    taught to answer."""
    return [
        {**message, "content": without_additions(message["content"])} if message["role"] == "assistant" else message
        for message in messages
    ]


def with_documents(messages: Sequence[Message], documents: Sequence[Mapping[str, str]] | None) -> list[Message]:
    """A conversation whose last message, the user's, brings documents along, if there are some."""
    if not documents:
        return [*messages]
    return [*messages[:-1], {**messages[-1], "documents": [dict(one) for one in documents]}]


def may_speak(voice: "Voice", findings: Findings) -> bool:
    """Whether the voice is asked: with documents if it reads them; without, if it was trained to decline.

    A comparison is quoted: it takes a sentence of each of two sources, and an answer is held against one.
    """
    if findings.wanted == COMPARISON:
        return False
    return voice.reading != "no" if findings.sources else voice.reading == "trained"


def fit(voice: "Voice", messages: Sequence[Message], max_tokens: int) -> tuple[list[int], int]:
    """Ids of the newest turns that leave room for an answer, and how many old messages are left out.

    Raises TooLongError if not even the last one does.
    """
    longest = longest_prompt(voice.seq_len, max_tokens)
    ids, n_dropped = newest(voice.ids, messages, longest)
    if len(ids) > longest:
        raise TooLongError(voice.name, len(ids), longest)
    return ids, n_dropped


def longest_prompt(seq_len: int, max_tokens: int) -> int:
    """Tokens of a prompt at most, so that room for an answer is left."""
    return seq_len - min(max_tokens, seq_len // 4)


def newest(
    ids_of: Callable[[Sequence[Message]], list[int]], messages: Sequence[Message], longest: int
) -> tuple[list[int], int]:
    """Ids of the newest turns that take at most `longest`, else of the last one, and how many old messages are left
    out.

    A system prompt stays. Of a long conversation few cuts are tried: what is cut off later is never longer.
    """

    def ids_without(n_dropped: int) -> list[int]:
        return ids_of(without_oldest(messages, n_dropped))

    # A question and its answer are left out together.
    cuts = range(0, len(messages) - int(messages[0]["role"] == "system"), 2)
    low, high, found = 0, len(cuts) - 1, None
    if len(ids := ids_without(0)) <= longest:
        return ids, 0
    while low < high:
        middle = (low + high) // 2
        if len(ids := ids_without(cuts[middle])) <= longest:
            high, found = middle, ids
        else:
            low = middle + 1
    return found if found is not None else ids_without(cuts[low]), cuts[low]


def without_oldest(messages: Sequence[Message], n: int) -> list[Message]:
    """A conversation without its first n messages; a system prompt stays."""
    n_kept = int(messages[0]["role"] == "system")
    return [*messages[:n_kept], *messages[n_kept + n :]]


def whole(voice: "Voice", messages: Sequence[Message]) -> list[int]:
    """Ids of a conversation of which nothing may be left out. Raises DataError if no room for an answer is left."""
    ids = voice.ids(messages)
    if len(ids) >= voice.seq_len:
        raise DataError(f"{len(ids)} tokens leave no room for an answer in a context of {voice.seq_len}")
    return ids


def settle(voice: "Voice | None", prepared: Prepared, said: str) -> Answered:
    """The answer, now that the voice has spoken. said: its words, "" if it was not asked"""
    name, findings = voice.name if voice else NO_VOICE, prepared.findings
    said = said.strip()
    if findings is None:
        return Answered(said, voice=name)
    question = prepared.asked[-1]["content"]
    if not findings.sources:
        declined_ = not findings.small_talk
        if said and voice and not findings.closest and _claims_nothing(said, voice, findings, question):
            return Answered(said, voice=name, declined=declined_)
        offered = findings.closest
        return Answered(quote(findings), (), None, True, name, said, declined_, offered)
    if said and (source := _source_of(said, findings, question)):
        others = (one for one in findings.sources if one is not source)
        text = with_others(with_parameters(said, source), findings, source)
        return Answered(text, (source, *others), supported=True, voice=name)
    text = declined(findings) if said in DECLINES.values() else quote(findings)
    return Answered(text, findings.sources, supported=True, quoted=True, voice=name, rejected=said)


def _claims_nothing(said: str, voice: "Voice", findings: Findings, question: str) -> bool:
    """Whether words stay where nothing was found: they say that the voice does not know, and name nothing beyond the
    question; or they answer small talk of this kind as the voice was taught by heart."""
    by_heart = bool(findings.small_talk) and said in voice.replies and not _UNKNOWN.search(said)
    by_heart = by_heart and is_reply_to(said, findings)
    return by_heart or (denies(said) and not is_supported(said, findings, question).unsupported)


def _source_of(said: str, findings: Findings, question: str) -> Source | None:
    """The source that supports the voice's words and agrees with them.

    Words that claim nothing beyond the question ("I do not know.", "Yes.") are no answer where something fits.
    """
    claims = is_supported(said, replace(findings, sources=()), question).unsupported
    if not claims or not is_supported(said, findings, question).is_supported:
        return None
    return agreeing_source(said, findings, question)


def settle_best(voice: "Voice | None", prepared: Prepared, said: Sequence[Words], judge: Judge) -> Answered:
    """The best of several answers: of those that stay, as `settle` decides, the one that the judge scores highest."""
    settled = [settle(voice, prepared, words.text) for words in said]
    kept = [place for place, one in enumerate(settled) if not one.quoted]
    if not kept:
        return settled[0]
    scores = judge.scores(prepared.asked, [said[place] for place in kept])
    return settled[max(zip(scores, kept, strict=True), key=lambda one: (one[0], -one[1]))[1]]


def answer_all(
    voice: "Voice | None", lookup: Lookup | None, conversations: Sequence[Sequence[Message]], sampling: "Sampling",
    seeds: Sequence[int], best: BestOf | None = None,
) -> list[Answered]:  # fmt: skip
    """One answer to each conversation: the same as to each by itself. seeds: one number for each; best: of n answers"""
    prepared = [prepare(voice, lookup, messages, sampling.max_tokens) for messages in conversations]
    if best is None:
        said = speak(voice, prepared, [sampling] * len(prepared), seeds)
        return [settle(voice, one, words.text) for one, words in zip(prepared, said, strict=True)]
    repeated = [one for one in prepared for _ in range(best.n)]
    drawn = [draw for seed in seeds for draw in best.draws(sampling, seed)]
    said = speak(voice, repeated, [how for how, _ in drawn], [seed for _, seed in drawn])
    groups = (said[start : start + best.n] for start in range(0, len(said), best.n))
    return [settle_best(voice, one, group, best.judge) for one, group in zip(prepared, groups, strict=True)]


def speak(
    voice: "Voice | None", prepared: Sequence[Prepared], samplings: Sequence["Sampling"], seeds: Sequence[int]
) -> list[Words]:
    """The voice's words for each prompt, none where it is not asked. Prompts of similar length are read together."""
    asked = sorted((i for i, one in enumerate(prepared) if one.ids), key=lambda i: len(prepared[i].ids or ()))
    if voice is None or not asked:
        return [Words("")] * len(prepared)
    n_rows = min(N_ROWS, len(asked))
    n_max = max(len(prepared[i].ids or ()) + samplings[i].max_tokens for i in asked)
    engine = voice.engine(n_rows, n_max=n_max, n_waiting=len(asked), join_at=max(1, n_rows // 4))
    requests: dict[int, Request] = {i: engine.submit(prepared[i].ids or (), samplings[i], seeds[i]) for i in asked}
    engine.finish()
    return [words_of(requests[i]) if i in requests else Words("") for i in range(len(prepared))]
