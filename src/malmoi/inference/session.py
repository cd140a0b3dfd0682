"""A conversation over several turns. Answers are streamed where nothing checks them; the model can be changed."""

import random
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from malmoi.errors import DataError
from malmoi.inference.grounded import Answered, Prepared, prepare, settle, settle_best, words_of
from malmoi.retrieval.lookup import Lookup

if TYPE_CHECKING:
    from malmoi.inference.best import BestOf
    from malmoi.inference.requests import Request
    from malmoi.inference.sampling import Sampling
    from malmoi.inference.weights import Weights


class ChatSession:
    """A voice and the messages so far.

    name, folder, sampling: of the model; none of the last two: no model, so answers are quotations
    seed: of the first answer, one more for each next answer; None: random
    weights: number format of the weights; lookup: where answers are looked up; None: the model answers by itself
    best: answers are the best of n, and come in one piece
    last: the last answer, None if it was stopped; asked: the conversation that it answers; documents: of its prompt
    n_dropped: number of old messages that were left out of the last prompt, because the context was full
    """

    def __init__(
        self, name: str, folder: Path | None, sampling: "Sampling | None", seed: int | None = None,
        weights: "Weights" = "auto", lookup: Lookup | None = None, best: "BestOf | None" = None,
    ) -> None:  # fmt: skip
        self.weights, self.lookup = weights, lookup
        self.seed = random.getrandbits(32) if seed is None else seed
        self.messages: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.last: Answered | None = None
        self.documents: Sequence[Mapping[str, str]] | None = None
        self.n_dropped = 0
        self.use(name, folder, sampling, best)

    def use(self, name: str, folder: Path | None, sampling: "Sampling | None", best: "BestOf | None" = None) -> None:
        """Continue with this model. If it cannot be loaded, raises UserError and keeps the old model.

        best: answers are the best of n
        """
        voice = None
        if folder is not None:
            from malmoi.inference.voice import Voice  # with torch, which takes seconds

            voice = Voice.load(name, folder, self.weights)
        # With one row, the next turn starts from the keys and values of the last one: only new text is read.
        self.engine = None if voice is None else voice.engine(1 if best is None else best.n)
        self.voice, self.name, self.folder, self.sampling, self.best = voice, name, folder, sampling, best

    def answer(self, text: str) -> Generator[str]:
        """Send a message and stream the answer; an answer that is checked comes in one piece.

        Closing the iterator stops the answer and keeps what was streamed.
        Raises DataError if the message is too long for the context, and nothing can be quoted.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"message: not UTF-8 at character {error.start}; nothing was sent") from None
        self.last = None
        messages = [*self.messages, {"role": "user", "content": text}]
        prepared = prepare(self.voice, self.lookup, messages, self.sampling.max_tokens if self.sampling else 0)
        self.n_dropped, said, is_whole = prepared.n_dropped, "", False
        try:
            if self.best is not None and prepared.ids is not None:
                answered = self._best(prepared, self.best)
                said = answered.text
                yield said
            elif prepared.findings is None:
                for piece in self._stream(prepared):
                    said += piece
                    yield piece
                answered = settle(self.voice, prepared, said)
            else:
                answered = settle(self.voice, prepared, "".join(self._stream(prepared)))
                said = answered.text
                yield said
            is_whole = True
        finally:
            self.seed += 1
            if said:
                self.messages = [*messages[self.n_dropped :], {"role": "assistant", "content": said.rstrip()}]
            if is_whole:
                self.last, self.asked, self.documents = answered, messages, prepared.documents

    def _best(self, prepared: Prepared, best: "BestOf") -> Answered:
        """The best of n answers."""
        assert self.engine is not None and self.sampling is not None
        asked: list[Request] = []
        try:
            for how, seed in best.draws(self.sampling, self.seed):
                asked.append(self.engine.submit(prepared.ids or (), how, seed))
            self.engine.finish()
            return settle_best(self.voice, prepared, [words_of(request) for request in asked], best.judge)
        finally:
            for request in asked:
                self.engine.cancel(request)

    def _stream(self, prepared: Prepared) -> Generator[str]:
        """The voice's words; nothing if it is not asked."""
        if self.engine is None or self.sampling is None or prepared.ids is None:
            return
        request, n_given, has_begun = self.engine.submit(prepared.ids, self.sampling, self.seed), 0, False
        try:
            while request.finish_reason is None:
                self.engine.step()
                piece, n_given = request.text[n_given:], len(request.text)
                if piece := piece if has_begun else piece.lstrip():
                    has_begun = True
                    yield piece
        finally:
            self.engine.cancel(request)
