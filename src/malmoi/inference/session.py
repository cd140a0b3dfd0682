"""A conversation with a model over several turns. Answers are streamed, and the model can be changed in between."""

import random
from collections.abc import Generator
from pathlib import Path

from malmoi.errors import DataError
from malmoi.formats.folder import load_model, load_text
from malmoi.inference.engine import Engine
from malmoi.inference.fastest import way_of
from malmoi.inference.sampling import Sampling
from malmoi.inference.weights import Weights, stored_dtype
from malmoi.model.transformer import LanguageModel


class ChatSession:
    """A model and the messages so far.

    name, folder: of the model; seed: of the first answer, one more for each next answer; None: random
    weights: number format of the weights
    n_dropped: number of old messages that were left out of the last prompt, because the context was full
    """

    def __init__(
        self, name: str, folder: Path, sampling: Sampling, seed: int | None = None, weights: Weights = "auto"
    ) -> None:
        self.sampling, self.weights = sampling, weights
        self.seed = random.getrandbits(32) if seed is None else seed
        self.messages: list[dict[str, str]] = []
        self.n_dropped = 0
        self.use(name, folder)

    def use(self, name: str, folder: Path) -> None:
        """Continue with this model. If it cannot be loaded, raises UserError and keeps the old model."""
        model = load_model(folder, LanguageModel, dtype=stored_dtype(self.weights))
        self.tokenizer, self.template = load_text(folder)
        way = way_of(model, self.weights)
        # With one row, the next turn starts from the keys and values of the last one: only new text is read.
        self.engine = Engine(
            model, end_ids=self.tokenizer.stop_ids, tokenizer=self.tokenizer, n_rows=1, weights=way.weights,
            in_c=way.in_c,
        )  # fmt: skip
        self.seq_len, self.name = model.config.seq_len, name

    def answer(self, text: str) -> Generator[str]:
        """Send a message and stream the answer. Closing the iterator stops the answer and keeps what was streamed.

        Raises DataError if the message is too long for the context.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"message: not UTF-8 at character {error.start}; nothing was sent") from None
        messages = [*self.messages, {"role": "user", "content": text}]
        ids, self.n_dropped = self._fit(messages)
        request, n_given, said = self.engine.submit(ids, self.sampling, self.seed), 0, ""
        try:
            while request.finish_reason is None:
                self.engine.step()
                piece, n_given = request.text[n_given:], len(request.text)
                if piece := piece if said else piece.lstrip():
                    said += piece
                    yield piece
        finally:
            self.engine.cancel(request)
            self.seed += 1
            if said:
                self.messages = [*messages[self.n_dropped :], {"role": "assistant", "content": said.rstrip()}]

    def _fit(self, messages: list[dict[str, str]]) -> tuple[list[int], int]:
        """Ids of the newest turns that leave room for an answer, and how many old messages are left out."""
        longest = self.seq_len - min(self.sampling.max_tokens, self.seq_len // 4)
        # A question and its answer are left out together.
        for n_dropped in range(0, len(messages), 2):
            ids, _ = self.template.encode(self.tokenizer, messages[n_dropped:], add_generation_prompt=True)
            if len(ids) <= longest:
                return ids, n_dropped
        raise DataError(f"message: {len(ids)} tokens; {self.name} reads at most {longest}; send a shorter message")
