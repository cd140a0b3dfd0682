"""Best-of-n in service: n answers are sampled, and a judge picks one. No weights change, at n times the work.

The first answer is sampled as if it were the only one; the others are drawn at a temperature that makes them differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from malmoi.tokenizer.chat_template import Message

if TYPE_CHECKING:  # torch takes seconds, and quotations need none
    from malmoi.inference.sampling import Sampling

STRIDE = 1_000_003
"""Between the seeds of one question's answers: the next question's seed is one more."""


class Words(NamedTuple):
    """What a voice said. finished: whether it ended its turn itself"""

    text: str
    finished: bool = True


class Judge(Protocol):
    """Scores answers."""

    def scores(self, messages: Sequence[Message], said: Sequence[Words]) -> list[float]:
        """One score for each answer to a conversation, the highest for the best."""


@dataclass(frozen=True)
class BestOf:
    """n answers, of which the judge picks one. temperature: of all but the first"""

    n: int
    temperature: float
    judge: Judge

    def draws(self, sampling: "Sampling", seed: int) -> list[tuple["Sampling", int]]:
        """How each of the n answers is sampled, with its seed."""
        warm = sampling.model_copy(update={"temperature": max(sampling.temperature, self.temperature)})
        return [(warm if place else sampling, (seed + place * STRIDE) % 2**63) for place in range(self.n)]
