"""A voice: a model that answers, with what is known about how it may be asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from malmoi.formats.folder import load_model, load_text
from malmoi.formats.inspect import Reading, reading_of, replies_of
from malmoi.inference.engine import Engine
from malmoi.inference.fastest import way_of
from malmoi.inference.memory import check_fits
from malmoi.inference.weights import Weights, stored_dtype
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate, Message


@dataclass(frozen=True)
class Voice:
    """A network with its text side.

    reading: whether it may be given documents; weights: number format of the weights
    replies: what it was taught to say by heart, without documents
    """

    name: str
    network: LanguageModel
    tokenizer: Tokenizer
    template: ChatTemplate
    reading: Reading = "untrained"
    weights: Weights = "auto"
    replies: frozenset[str] = frozenset()

    @classmethod
    def load(cls, name: str, folder: Path, weights: Weights = "auto") -> "Voice":
        """The model of a folder. Raises UserError if it cannot be loaded, or cannot write.

        Raises TooLargeError before anything is read.
        """
        dtype = stored_dtype(weights)
        check_fits(name, folder, dtype)
        network = load_model(folder, LanguageModel, dtype=dtype)
        return cls(name, network, *load_text(folder), reading_of(folder), weights, replies_of(folder))

    @property
    def seq_len(self) -> int:
        return self.network.config.seq_len

    def engine(self, n_rows: int = 1, **options: int) -> Engine:
        """An engine that answers `n_rows` prompts together, in the fastest way here. options: see `Engine`"""
        way = way_of(self.network, self.weights, n_rows)
        return Engine(
            self.network, end_ids=self.tokenizer.stop_ids, tokenizer=self.tokenizer, n_rows=n_rows,
            weights=way.weights, in_c=way.in_c, **options,
        )  # fmt: skip

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """The ids after which it begins to answer a conversation. Raises DataError as `ChatTemplate.encode`."""
        return self.template.encode(self.tokenizer, messages, add_generation_prompt=True)[0]

    def n_tokens(self, text: str) -> int:
        return len(self.tokenizer.encode(text))
