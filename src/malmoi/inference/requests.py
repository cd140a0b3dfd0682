"""A request to the engine: a prompt, its settings, and the answer as it grows."""

from dataclasses import dataclass, field
from typing import Literal

from malmoi.inference.sampling import Sampling, Uniforms
from malmoi.inference.text import TextAssembler

FinishReason = Literal["stop", "length", "cancelled", "error"]


@dataclass(frozen=True)
class Answer:
    """What was generated for one prompt.

    ids: the new tokens, without the token that ended the turn
    finished: whether the model ended its turn; False if `max_tokens` or the context cut the answer
    end_id: the token that ended the turn; None if none did
    """

    ids: list[int]
    finished: bool
    end_id: int | None = None

    @property
    def sampled(self) -> list[int]:
        """Every sampled token, including the end of turn."""
        return self.ids if self.end_id is None else [*self.ids, self.end_id]


@dataclass(frozen=True)
class TopLogprobs:
    """Log-probabilities at one position, in nats: of the sampled token, and of the likeliest tokens."""

    logprob: float
    top: dict[int, float]


@dataclass(eq=False)
class Request:
    """One prompt and its answer. `ids` grows, without the end of turn, until `finish_reason` is set.

    max_new: most tokens that the answer can have, by `max_tokens` and the context
    text: the answer so far in whole characters, if the engine has a tokenizer
    n_cached: tokens of the prompt that were cached and did not have to be read
    end_id: the token that ended the answer
    """

    prompt: list[int]
    sampling: Sampling
    seed: int
    max_new: int
    uniforms: Uniforms
    assembler: TextAssembler | None = None
    ids: list[int] = field(default_factory=list)
    logprobs: list[TopLogprobs] = field(default_factory=list)
    finish_reason: FinishReason | None = None
    n_cached: int = 0
    end_id: int | None = None

    @property
    def tokens(self) -> list[int]:
        """Prompt and answer so far."""
        return self.prompt + self.ids

    @property
    def n_tokens(self) -> int:
        return len(self.prompt) + len(self.ids)

    @property
    def text(self) -> str:
        return self.assembler.text if self.assembler else ""

    @property
    def answer(self) -> Answer:
        return Answer(self.ids, self.finish_reason == "stop", self.end_id)
