"""Byte-level BPE: any UTF-8 text in, ids out, and back to the same bytes.

Source: Sennrich et al. 2016 (arXiv:1508.07909), on bytes as in GPT-2; trained and run by the `tokenizers` library.
The pre-tokenizer is GPT-2's, which llama.cpp and vLLM know.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, pre_tokenizers, trainers

from malmoi.errors import CheckpointError, ConfigError, DataError
from malmoi.files import write_text

END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = "<|end|>"
PAD = "<|pad|>"
ROLES = ("system", "user", "assistant")
SPECIAL_TOKENS = (END_OF_TEXT, PAD, END_OF_TURN, *(f"<|{role}|>" for role in ROLES))
FILE = "tokenizer.json"


class Tokenizer:
    """Text <-> ids. Special tokens that stand in plain text are text: only the chat template writes real ones."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        engine.encode_special_tokens = True
        self.end_of_text_id = self.special_id(END_OF_TEXT)
        self.end_of_turn_id = self.special_id(END_OF_TURN)
        self.pad_id = self.special_id(PAD)

    @property
    def vocab_size(self) -> int:
        return int(self.engine.get_vocab_size(with_added_tokens=True))

    def special_id(self, token: str) -> int:
        """Id of a special token; CheckpointError when this tokenizer lacks it."""
        found = self.engine.token_to_id(token)
        if found is None:
            raise CheckpointError(f"tokenizer: lacks the special token {token}; train one with `malmoi run`")
        return int(found)

    def encode(self, text: str) -> list[int]:
        return list(self.engine.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(e.ids) for e in self.engine.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        return str(self.engine.decode(list(ids), skip_special_tokens=True))

    def save(self, folder: Path) -> None:
        write_text(folder / FILE, self.engine.to_str(pretty=True))

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        path = folder / FILE
        try:
            return cls(Engine.from_str(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise CheckpointError(f"{path}: no such file; a model folder holds its tokenizer") from None
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None
        except Exception as error:  # the library raises bare Exception for a file it cannot parse
            raise CheckpointError(f"{path}: not a tokenizer ({error})") from None


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn `vocab_size` tokens, the special ones included. Raises ConfigError or DataError when that cannot be."""
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise ConfigError(f"tokenizer.vocab_size: {vocab_size} is too small; bytes and special tokens take {smallest}")
    engine = Engine(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer)
    tokenizer = Tokenizer(engine)
    if tokenizer.vocab_size < vocab_size:
        raise DataError(
            f"tokenizer.vocab_size: {vocab_size} is more than the text supports ({tokenizer.vocab_size} tokens); "
            "set it lower or give more text"
        )
    return tokenizer


class StreamDecoder:
    """Ids in one by one, text out as soon as its characters are whole: never half of a Korean syllable."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.pending: list[int] = []

    def push(self, token_id: int) -> str:
        self.pending.append(token_id)
        text = self.tokenizer.decode(self.pending)
        if text.endswith("\ufffd"):
            return ""
        self.pending.clear()
        return text

    def flush(self) -> str:
        """What is left at the end, broken characters replaced."""
        text = self.tokenizer.decode(self.pending)
        self.pending.clear()
        return text
