"""Versions that answer questions for a blind comparison, and the questions that they are asked.

Questions are what people asked the assistant here, then prompts that were held out from training. None of them is one
that the candidate learned from.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select

from malmoi.evals.best_of import RewardJudge
from malmoi.feedback.asked import IMPORTED
from malmoi.feedback.gate import Compared, verdict
from malmoi.feedback.gate_comparisons import Spoken, compared_prompts, record_comparison, waiting_comparisons
from malmoi.feedback.learning import withheld_prompts
from malmoi.feedback.pinned import messages_of, record_pinned, unasked
from malmoi.feedback.service import best_in
from malmoi.inference.best import Words
from malmoi.inference.chosen import sampling_of
from malmoi.inference.grounded import answer_all
from malmoi.inference.voice import Voice
from malmoi.retrieval.index import Index
from malmoi.retrieval.lookup import Lookup
from malmoi.workspace.database import writing
from malmoi.workspace.folder import Workspace
from malmoi.workspace.indexes import find_index
from malmoi.workspace.ledger import Ledger, digest_of
from malmoi.workspace.ring_schema import GateCheck
from malmoi.workspace.schema import Answer, Prompt
from malmoi.workspace.service_schema import Chat, ChatMessage
from malmoi.workspace.versions import JUDGE_PROMPTS, PROMPTS, Version, prompt_name

Messages = Sequence[Mapping[str, Any]]
N_JUDGED = 24
"""Questions that both versions answer for the judge."""


class Contender:
    """A version with its network and its judge in memory. Raises UserError if they cannot be loaded."""

    def __init__(self, version: Version, lookup: Lookup | None) -> None:
        self.version, self.lookup = version, lookup
        self.voice = Voice.load(version.name, version.policy)
        self.sampling = sampling_of(version.policy, {}, "chat")
        self.best = best_in(version)

    def answer(self, messages: Messages) -> Spoken:
        """As chat answers. The seed is the question's: the same question is answered alike again."""
        seed = int(digest_of([prompt_name(messages), self.version.number])[:12], 16)
        said = answer_all(self.voice, self.lookup, [[dict(one) for one in messages]], self.sampling, [seed], self.best)
        return Spoken(self.version, said[0].text, said[0].quoted, seed)


class Match:
    """A candidate and the version in service, which answer the same questions. questions: to ask before all others"""

    def __init__(
        self, ledger: Ledger, candidate: Version, against: Version, questions: Sequence[Messages] = ()
    ) -> None:  # fmt: skip
        self.ledger, self.questions = ledger, questions
        index = find_index(Workspace(ledger.root))
        lookup = None if index is None else Lookup(Index.open(Path(index)))
        self.candidate, self.against = (Contender(version, lookup) for version in (candidate, against))
        self.names = candidate.name, against.name

    def next_pair(self, person_id: str) -> dict[str, Any] | None:
        """The next comparison for a person: one that waits for the answer, else a new one; None if nothing is left.

        Questions that both answer alike are recorded, and passed over.
        """
        candidate, against = self.candidate.version, self.against.version
        if (waiting := self._waiting(person_id)) is not None:
            return waiting
        known = compared_prompts(self.ledger, candidate, against) | set((candidate.learned or {}).get(PROMPTS, []))
        for messages in self._asked():
            if prompt_name(messages) in known:
                continue
            known.add(prompt_name(messages))
            said = self.candidate.answer(messages), self.against.answer(messages)
            row = record_comparison(self.ledger, messages, *said, person_id)
            if not row["alike"]:
                return row
        return None

    def _waiting(self, person_id: str) -> dict[str, Any] | None:
        """What this person was shown and has not answered; not of a chat that may teach no more."""
        waiting = waiting_comparisons(self.ledger, self.candidate.version, self.against.version, person_id)
        allowed = {prompt_name(messages) for messages in self._asked()} if waiting else set()
        return next((row for row in waiting if row["prompt"] in allowed), None)

    def check(self) -> None:
        """Ask both the pinned questions that they have not been asked, and the judge what it says of the candidate."""
        for contender in (self.candidate, self.against):
            said = [
                (one["id"], contender.answer(messages_of(one)).text) for one in unasked(self.ledger, contender.version)
            ]
            record_pinned(self.ledger, contender.version, said)
        candidate, against = self.candidate.version, self.against.version
        about = (candidate.report or {}).get("judge")
        if about and (folder := self.ledger.root / about["path"]).is_dir():
            row = {"candidate": candidate.number, "against": against.number, "judge": self._judged(folder)}
            with writing(self.ledger.engine) as connection:
                connection.execute(insert(GateCheck), row)

    def _judged(self, folder: Path) -> dict[str, Any]:
        """How often the judge finds the candidate's answer better: {"n", "alike", "win_rate", "low", "high"}.

        The interval is the gate's own: a bootstrap of one comparison, or of ten that agree, has no width.
        """
        judge, n_alike = RewardJudge("judge", folder), 0
        compared: list[Compared] = []
        known = self.candidate.version.learned or {}
        learned = {*known.get(PROMPTS, []), *known.get(JUDGE_PROMPTS, [])}
        for messages in self._asked():
            if len(compared) + n_alike == N_JUDGED:
                break
            if (name := prompt_name(messages)) in learned:
                continue
            learned.add(name)
            ours, theirs = (one.answer(messages).text for one in (self.candidate, self.against))
            if ours.strip() == theirs.strip():
                n_alike += 1
                continue
            one, other = judge.scores(messages, [Words(ours), Words(theirs)])
            compared.append(Compared(name, float(one > other) + 0.5 * (one == other)))
        found = verdict(compared).to_row()
        return {
            "n": len(compared), "alike": n_alike, "win_rate": found["win_rate"],
            **{end: found[end] if compared else None for end in ("low", "high")},
        }  # fmt: skip

    def _asked(self) -> Iterator[Messages]:
        yield from self.questions
        yield from asked_here(self.ledger)


def asked_here(ledger: Ledger) -> Iterator[Messages]:
    """Questions that people asked here, the latest first, then prompts that were held out, in a fixed random order.

    None is of a chat that may not teach, or was asked elsewhere.
    """
    is_withheld = (
        select(ChatMessage.id)
        .join(Chat, Chat.id == ChatMessage.chat_id)
        .where(ChatMessage.answer_id == Answer.id, Chat.may_teach.is_(False))
    )
    asked = select(Answer.messages).where(~is_withheld.exists(), Answer.voice.not_like(f"%{IMPORTED}"))
    held_out = select(Prompt.id, Prompt.messages).where(Prompt.split == "heldout")
    withheld = withheld_prompts(ledger)
    with ledger.engine.connect() as connection:
        conversations = list(connection.scalars(asked.order_by(Answer.id.desc())))
        rows = [row for row in connection.execute(held_out) if row.id not in withheld]
        prompts = sorted(rows, key=lambda row: digest_of(row.id))
    for messages in [*conversations, *(messages for _, messages in prompts)]:
        # What was looked up belongs to the answer of then: each version looks up by itself.
        yield [{"role": one["role"], "content": one["content"]} for one in messages]
