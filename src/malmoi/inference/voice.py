"""A voice: a model that answers, with what is known about how it may be asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from malmoi.files import sha256_of
from malmoi.formats.folder import load_config, load_model, load_text
from malmoi.formats.inspect import Reading, reading_of, replies_of
from malmoi.inference.generate import engine_of
from malmoi.inference.generator import Generator
from malmoi.inference.memory import check_fits
from malmoi.inference.vllm.weights import Remote, Version
from malmoi.inference.weights import Weights, stored_dtype
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate, Message


@dataclass(frozen=True)
class Voice:
    """A network with its text side.

    network: None if a server has it, and then `remote` and `version` say which
    reading: whether it may be given documents; weights: number format of the weights
    replies: what it was taught to say by heart, without documents
    """

    name: str
    network: LanguageModel | None
    tokenizer: Tokenizer
    template: ChatTemplate
    reading: Reading = "untrained"
    weights: Weights = "auto"
    replies: frozenset[str] = frozenset()
    remote: Remote | None = None
    version: Version | None = None

    @classmethod
    def load(cls, name: str, folder: Path, weights: Weights = "auto", remote: Remote | None = None) -> "Voice":
        """The model of a folder; remote: loaded there. Raises UserError if it cannot be loaded, or cannot write.

        Raises TooLargeError before anything is read.
        """
        if remote is not None:
            version = Version(folder.resolve(), sha256_of(folder), load_config(folder))
            remote.hold(version)
            text, reading, replies = load_text(folder), reading_of(folder), replies_of(folder)
            return cls(name, None, *text, reading, weights, replies, remote, version)
        dtype = stored_dtype(weights)
        check_fits(name, folder, dtype)
        network = load_model(folder, LanguageModel, dtype=dtype)
        return cls(name, network, *load_text(folder), reading_of(folder), weights, replies_of(folder))

    @property
    def config(self) -> ModelConfig:
        known = self.network or self.version
        assert known is not None
        return known.config

    @property
    def seq_len(self) -> int:
        return self.config.seq_len

    def engine(
        self, n_rows: int = 1, *, n_max: int | None = None, n_waiting: int = 1024, join_at: int = 1,
        read_at_once: int | None = None,
    ) -> Generator:  # fmt: skip
        """What answers `n_rows` prompts together, in the fastest way here. options: see `Engine`"""
        end_ids, tokenizer = self.tokenizer.stop_ids, self.tokenizer
        if self.remote is not None and self.version is not None:
            return self.remote.engine(
                self.version, n_max, end_ids=end_ids, tokenizer=tokenizer, n_rows=n_rows, n_waiting=n_waiting,
                streams=True,
            )  # fmt: skip
        assert self.network is not None
        return engine_of(
            self.network, end_ids=end_ids, tokenizer=tokenizer, n_rows=n_rows, n_max=n_max, n_waiting=n_waiting,
            join_at=join_at, read_at_once=read_at_once, weights=self.weights, fastest=True,
        )  # fmt: skip

    def ids(self, messages: Sequence[Message]) -> list[int]:
        """The ids after which it begins to answer a conversation. Raises DataError as `ChatTemplate.encode`."""
        return self.template.encode(self.tokenizer, messages, add_generation_prompt=True)[0]

    def n_tokens(self, text: str) -> int:
        return len(self.tokenizer.encode(text))
