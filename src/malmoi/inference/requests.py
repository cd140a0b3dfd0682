"""A request to the engine: a prompt, its settings, and the answer as it grows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal

from malmoi.errors import DataError
from malmoi.inference.sampling import Sampling, Uniforms
from malmoi.inference.text import TextAssembler
from malmoi.tokenizer.bpe import Tokenizer

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

    @classmethod
    def of(
        cls, prompt: Sequence[int], sampling: Sampling, seed: int, *, n_max: int, vocab_size: int,
        tokenizer: Tokenizer | None,
    ) -> "Request":  # fmt: skip
        """A new request to a model of `vocab_size` tokens that reads and writes up to `n_max`.

        Raises DataError for a prompt that is empty, too long or has unknown tokens, or for impossible sampling.
        """
        check_prompts([prompt], n_max, vocab_size)
        if bad := [i for i in sampling.logit_bias if not 0 <= i < vocab_size]:
            raise DataError(f"logit_bias: token {bad[0]} is not one of the model's {vocab_size}")
        if sampling.stop and tokenizer is None:
            raise DataError("stop: an engine without a tokenizer cannot stop at a text")
        max_new = min(sampling.max_tokens, n_max - len(prompt))
        assembler = TextAssembler(tokenizer, sampling.stop) if tokenizer else None
        return cls(list(prompt), sampling, seed, max_new, Uniforms(seed), assembler)

    def accept(self, token: int, end_ids: Collection[int]) -> FinishReason | None:
        """Take the answer's next token; returns why the answer ends with it, None if it goes on."""
        reason: FinishReason | None = None
        if token in end_ids:
            reason, self.end_id = "stop", token
        else:
            self.ids.append(token)
            if self.assembler and self.assembler.push(token):
                reason = "stop"
            elif len(self.ids) >= self.max_new:
                reason = "length"
        if reason and self.assembler:
            self.assembler.finish()
        return reason

    @property
    def tokens(self) -> list[int]:
        """Prompt and answer so far."""
        return self.prompt + self.ids

    def tokens_from(self, n: int) -> list[int]:
        """The same without the first n."""
        n_prompt = len(self.prompt)
        return self.ids[n - n_prompt :] if n >= n_prompt else self.prompt[n:] + self.ids

    @property
    def n_tokens(self) -> int:
        return len(self.prompt) + len(self.ids)

    @property
    def text(self) -> str:
        return self.assembler.text if self.assembler else ""

    @property
    def answer(self) -> Answer:
        return Answer(self.ids, self.finish_reason == "stop", self.end_id)


def check_prompts(prompts: Sequence[Sequence[int]], seq_len: int, vocab_size: int) -> None:
    """Raises DataError for a prompt that is empty, leaves no room for an answer, or has unknown tokens."""
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise DataError(f"prompt {number}: is empty")
        if len(prompt) >= seq_len:
            raise DataError(f"prompt {number}: {len(prompt)} tokens leave no room in a context of {seq_len}")
        if not 0 <= min(prompt) <= max(prompt) < vocab_size:
            raise DataError(f"prompt {number}: has a token outside the model's {vocab_size}; is it its tokenizer?")
