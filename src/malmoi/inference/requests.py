"""A prompt on its way through the engine, and the answer that comes of it."""

from dataclasses import dataclass, field
from typing import Literal

from malmoi.inference.sampling import Sampling, Uniforms
from malmoi.inference.text import TextAssembler

FinishReason = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True)
class Answer:
    """What was generated for one prompt.

    ids: the new tokens, without the one that ended the turn
    finished: whether the model ended its turn itself; False when `max_tokens` or the context cut it
    end_id: the token that ended it, one of several that can; None where none did
    """

    ids: list[int]
    finished: bool
    end_id: int | None = None

    @property
    def sampled(self) -> list[int]:
        """Every token that was sampled, the end of turn included."""
        return self.ids if self.end_id is None else [*self.ids, self.end_id]


@dataclass(frozen=True)
class Likeliest:
    """Log-probabilities at one position, in nats: of the chosen token, and of the likeliest ones."""

    logprob: float
    top: dict[int, float]


@dataclass(eq=False)
class Request:
    """One prompt on its way. `ids` grow, without the end of turn, until `finish_reason` is set.

    room: most tokens that the answer can have, by `max_tokens` and the context
    text: the answer so far in whole characters, when the engine has a tokenizer
    n_shared: tokens of the prompt that did not have to be read
    end_id: the token that ended the answer
    """

    prompt: list[int]
    sampling: Sampling
    seed: int
    room: int
    uniforms: Uniforms
    assembler: TextAssembler | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: list[Likeliest] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    n_shared: int = 0
    end_id: int | None = None

    @property
    def said(self) -> list[int]:
        """All that is to be read before the next token."""
        return self.prompt + self.ids

    @property
    def n_said(self) -> int:
        return len(self.prompt) + len(self.ids)

    @property
    def text(self) -> str:
        return self.assembler.text if self.assembler else ""

    @property
    def answer(self) -> Answer:
        return Answer(self.ids, self.finish_reason == "stop", self.end_id)
