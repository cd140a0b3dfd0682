"""Who answers natural questions, through the function that answers in chat: the look-up alone, a network that reads
what was looked up, a network alone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from malmoi.errors import UserError
from malmoi.evals.natural import Answer, Given, Message, NaturalQuestion, measure, paired_difference, read_questions
from malmoi.evals.natural_names import N_NAMES, measure_names
from malmoi.evals.natural_notes import measure_notes
from malmoi.files import sha256_of
from malmoi.inference.grounded import Answered, answer_all
from malmoi.inference.sampling import Sampling
from malmoi.inference.voice import Voice
from malmoi.retrieval.check import is_supported
from malmoi.retrieval.findings import Findings
from malmoi.retrieval.index import Index
from malmoi.retrieval.lookup import Lookup

N_PASSAGES = 5
"""Passages that recall is measured on, at most."""
MAX_TOKENS = 96
"""Longest answer."""
LOOKUP, ALONE = "look-up alone", "without look-up"
"""The voice that quotes; what is added to the name of a network that reads nothing."""


class Remembering(Lookup):
    """A look-up that looks up each conversation once, however many voices are asked."""

    def __init__(self, index: Index) -> None:
        super().__init__(index)
        self._found: dict[tuple[tuple[str, str], ...], Findings] = {}

    def find(self, messages: Sequence[Mapping[str, Any]], n: int = 3) -> Findings:
        talk = tuple((message["role"], message["content"]) for message in messages)
        if talk not in self._found:
            self._found[talk] = super().find(messages, N_PASSAGES)
        found = self._found[talk]
        return replace(found, sources=found.sources[:n])


def voice(network: Voice | None, lookup: Lookup | None, max_tokens: int) -> Answer:
    """Answers greedily. network: None: the look-up alone, which quotes; lookup: None: the network alone"""
    greedy = Sampling(temperature=0, max_tokens=max_tokens)

    def answer(talks: Sequence[Sequence[Message]]) -> list[Given]:
        answered = answer_all(network, lookup, talks, greedy, range(len(talks)))
        return [_given(one, talk, lookup) for one, talk in zip(answered, talks, strict=True)]

    return answer


def _given(answered: Answered, talk: Sequence[Message], lookup: Lookup | None) -> Given:
    if lookup is None:
        return Given(answered.text)
    found = lookup.find(talk, N_PASSAGES)
    passages = tuple(f"{source.passage.heading}\n{source.passage.text}" for source in found.sources)
    if not found.sources:
        return Given(answered.text, quoted=answered.quoted)
    support = answered.quoted or is_supported(answered.text, found, str(talk[-1]["content"])).is_supported
    return Given(answered.text, passages, float(support), answered.quoted)


def measure_voices(
    questions: Sequence[NaturalQuestion], networks: Mapping[str, Voice], lookup: Lookup | None, max_tokens: int,
    n_names: int,
) -> dict[str, Any]:  # fmt: skip
    """Measures of the look-up alone, of each network with it, and of the last network without it.

    networks: name -> network, the one that the others began as first
    n_names: how many of the most used names are asked about; 0: none
    notes: what was found in five short notes, by each voice that looks up
    differences: share right of each network minus that of the look-up alone, and of the first network
    """
    asked: dict[str, Answer] = {} if lookup is None else {LOOKUP: voice(None, lookup, max_tokens)}
    asked |= {} if lookup is None else {name: voice(one, lookup, max_tokens) for name, one in networks.items()}
    if networks:
        name, last = list(networks.items())[-1]
        asked[f"{name} {ALONE}"] = voice(last, None, max_tokens)
    voices = {name: measure(questions, answer) for name, answer in asked.items()}
    names = {name: measure_names(answer, n_names) for name, answer in asked.items() if n_names}
    reading: dict[str, Voice | None] = {} if lookup is None else {LOOKUP: None, **networks}
    return {
        "n": len(questions),
        "voices": voices,
        "names": names,
        "notes": {name: measure_notes(one, max_tokens) for name, one in reading.items()},
        "differences": _differences(voices, [*networks]),
    }


def evaluate_natural(model: str, folder: Path | None, index: Path | None) -> dict[str, Any]:
    """Measure a model on natural questions, and the look-up alone.

    model: its name in what is returned; folder: None: only the look-up; index: None: only the model
    Raises UserError if there is neither, if the model scores, or if the index has another format.
    """
    if folder is None and index is None:
        raise UserError("there is no index to look up in; make one with malmoi index FOLDER, or name a model")
    lookup = None if index is None else Remembering(Index.open(index))
    networks = {} if folder is None else {model: Voice.load(model, folder)}
    found = measure_voices(read_questions(), networks, lookup, MAX_TOKENS, N_NAMES)
    hashes = {"model_sha256": folder and sha256_of(folder), "index_sha256": index and sha256_of(index)}
    return {"model": model, **hashes, **found}


def _differences(voices: Mapping[str, Mapping[str, Any]], networks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Voice -> the voice that it is compared with -> paired difference of the share right, with its interval."""
    read = [name for name in networks if name in voices]
    others = {name: [LOOKUP, *([read[0]] if name != read[0] else [])] for name in read}
    return {
        name: {other: paired_difference(voices[name], voices[other]) for other in with_}
        for name, with_ in others.items()
    }
