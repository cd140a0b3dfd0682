"""Sample the answers that people rank: the assistant's own, and what its network says more freely."""

import threading
from dataclasses import replace

from malmoi.feedback.refusals import RefusedError
from malmoi.feedback.service import Service, Turn
from malmoi.feedback.teach_items import N_ANSWERS, Sampled, add_answers, next_to_sample
from malmoi.inference.grounded import as_spoken, with_documents
from malmoi.text import canonical_question
from malmoi.workspace.ledger import Ledger

FREELY = {"temperature": 1.0}
N_TRIES = 2 * N_ANSWERS
"""Answers that are sampled at most: some may be the same."""
WITHIN_S = 300


def sample_next(ledger: Ledger, service: Service) -> bool:
    """Sample the answers of the item that has waited longest; whether there was one. Takes seconds: use a thread."""
    item = next_to_sample(ledger)
    if item is None:
        return False
    answers: list[Sampled] = []
    seen = {canonical_question(text) for text in item["texts"]}
    plain = replace(service, best=None)  # people rank what the policy says, not what a reward model picked
    said = as_spoken(item["messages"])
    documents, is_other = said[-1].get("documents"), False
    asked = [*said[:-1], {name: value for name, value in said[-1].items() if name != "documents"}]
    for number in range(N_TRIES):
        if len(seen) >= N_ANSWERS:
            break
        turn = Turn(plain, asked, {} if number == 0 else FREELY)
        try:
            turn.prepare()
            if documents is None:
                documents = turn.documents
            # All answers to one prompt read the same, also where the index has changed since the first of them.
            if is_other := documents != turn.documents and turn.speaks:
                turn = Turn(plain, with_documents(asked, documents), FREELY)
                turn.prepare()
            answer = _sampled(turn, settles=number == 0 and not is_other)
        except RefusedError as error:
            if error.code == "busy":  # later
                return False
            break  # too long for this model
        if turn.finish == "stopped":  # the server ends: later
            return False
        if (words := canonical_question(answer.text)) and words not in seen:
            seen.add(words)
            answers.append(answer)
        if not turn.speaks:  # only the documents answer, always the same
            break
    add_answers(ledger, item["id"], answers, documents)
    return True


def _sampled(turn: Turn, settles: bool) -> Sampled:
    """settles: the answer as people get it in a chat, checked; else the network's own words"""
    moved = threading.Event()
    if turn.speaks:
        turn.speak(moved.set)
        while not turn.is_over and moved.wait(WITHIN_S):
            moved.clear()
        if not turn.is_over:
            turn.cancel()
    text = turn.settle().text if settles else turn.said
    how = turn.sampling.model_dump(mode="json") if turn.sampling is not None else {}
    ids = turn.speech.request.ids if turn.speech is not None and not settles else []
    return Sampled(text.strip(), ids, turn.finish, turn.service.sha256, {**how, "seed": turn.seed})
