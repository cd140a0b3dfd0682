"""Text <-> ids: our own byte-level BPE, or the tokenizer of any Hugging Face folder.

Source: Sennrich et al. 2016 (arXiv:1508.07909), on bytes as in GPT-2; trained and run by the `tokenizers` library.
Our pre-tokenizer is GPT-2's, which llama.cpp and vLLM know.
"""

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from malmoi.errors import CheckpointError, ConfigError, DataError
from malmoi.files import write_json, write_text
from malmoi.tokenizer.jinja import find_template, read_settings, render
from malmoi.tokenizer.long_texts import can_cut_at_spaces, cut_in_pieces, groups_for_one_call, train_interruptibly

END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = "<|end|>"
PAD = "<|pad|>"
ROLES = ("system", "user", "assistant")
SPECIAL_TOKENS = (END_OF_TEXT, PAD, END_OF_TURN, *(f"<|{role}|>" for role in ROLES))
FILE = "tokenizer.json"

# What separates documents: the names that different model families give it.
_ENDS_OF_TEXT = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>")
_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
UNCHOSEN_SAMPLING = {"do_sample": True, "temperature": 1.0}
"""As generation_config.json of a new tokenizer says it: a base model's own probabilities."""
_ANSWER = "\ue000"
MAX_WORD_CHARS = 1000
_SHORT, _N_SHORT = 200, 4096
_ANCHORS = ("\n", "\x01", "\u200b", "。")


def any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """A pattern that matches any of the tokens; of several that fit, the longest."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")


class EncodedText(NamedTuple):
    """The ids of a text, and where each begins and ends in it. What a normalizer inserts has no width."""

    ids: list[int]
    starts: list[int]
    ends: list[int]


class Tokenizer:
    """Text <-> ids. A special token that is typed in plain text is text: only a chat template writes real ones.

    settings: as in tokenizer_config.json; its `chat_template` determines what ends a turn
    generation: as in generation_config.json; each `eos_token_id` in it ends an answer too

    names: bos_token, eos_token, … -> the token, as a template asks for them
    special: the added tokens that control the model; plain_tokens: those that are only kept whole, such as <think>
    end_of_turn, end_of_turn_id: what the template writes after an answer, else the eos token
    end_of_text_id: what separates documents, else the eos token
    pad_id: the pad token. If it is missing, or is the end of a turn, another special token: code that finds the end of
        an answer by its last non-padding token must find the end of its turn
    stop_ids: all tokens that end an answer
    """

    def __init__(
        self, backend: Backend, settings: Mapping[str, Any] | None = None, generation: Mapping[str, Any] | None = None
    ) -> None:
        self.backend = backend
        self.settings, self.generation = dict(settings or {}), dict(generation or {})
        named = {kind: _content_of(self.settings.get(kind)) for kind in _NAMES}
        self.names = {kind: token for kind, token in named.items() if token and backend.token_to_id(token) is not None}
        added = [token for _, token in sorted(backend.get_added_tokens_decoder().items())]
        self.special = {token.content for token in added if token.special}
        stops = [token for id in _ids_of(self.generation.get("eos_token_id")) if (token := backend.id_to_token(id))]
        eos = named["eos_token"] or self._find_eos(stops)
        self.special |= {*self.names.values(), *stops}
        self.plain_tokens = [token.content for token in added if token.content not in self.special]
        self.any_special = any_of(self.special)
        self.end_of_turn = self._find_end_of_turn() or eos
        text = next((token for token in _ENDS_OF_TEXT if token in self.special), eos)
        pads = (self.names.get("pad_token"), text, self.names.get("unk_token"))
        pad = next((token for token in pads if token in self.special and token != self.end_of_turn), None)
        self.end_of_turn_id, self.end_of_text_id = self.special_id(self.end_of_turn), self.special_id(text)
        self.pad_id = self.special_id(pad) if pad else self.end_of_turn_id
        self.names |= {"eos_token": eos, "pad_token": pad or self.end_of_turn}
        self.stop_ids = frozenset(map(self.special_id, {self.end_of_turn, eos, *stops}))
        self._build_marked_backend(added)

    def _find_eos(self, stops: Sequence[str]) -> str:
        found = next((token for token in (*stops, END_OF_TURN, *_ENDS_OF_TEXT) if token in self.special), None)
        if found is None:
            raise CheckpointError("tokenizer: no end-of-text token; name it as eos_token in tokenizer_config.json")
        return found

    def _find_end_of_turn(self) -> str | None:
        """The special token that the template writes first after an answer."""
        source = self.settings.get("chat_template")
        if not isinstance(source, str):
            return None
        example = [{"role": "user", "content": "."}, {"role": "assistant", "content": _ANSWER}]
        try:
            _, mark, after = render(source, example, self.names).rpartition(_ANSWER)
        except DataError:  # the code that uses the template gets the error
            return None
        found = self.any_special.search(after) if mark else None
        return found and found[0]

    def _build_marked_backend(self, added: Sequence[AddedToken]) -> None:
        """A second backend with the same model that knows special tokens only with a secret mark before them.

        So one text can contain both real and typed special tokens. It is encoded in one call, as the model's makers do,
        without a switch that threads would share.
        """
        secret = f"\ue003{secrets.token_hex(8)}\ue003"
        self.real_mark, self.break_mark = secret + "\ue004", secret + "\ue005"
        self._marked_backend = Backend(self.backend.model)
        for part in ("normalizer", "pre_tokenizer"):
            if (value := getattr(self.backend, part)) is not None:
                setattr(self._marked_backend, part, value)
        if (splits := self.backend.pre_tokenizer) is not None and len(splits.pre_tokenize_str("a b")) > 1:
            self._marked_backend.pre_tokenizer = _cut_long_words(splits)
        tokens = {token.content: token for token in added}
        tokens |= {name: AddedToken(name, normalized=False) for name in sorted(self.special - tokens.keys())}
        marked = {(self.real_mark if name in self.special else "") + name: token for name, token in tokens.items()}
        self._marked_backend.add_tokens(
            [_secret(token, name) if token.content in self.special else token for name, token in marked.items()]
        )
        self._marked_backend.add_tokens([AddedToken(self.break_mark, normalized=False)])
        marked_id = self._marked_backend.token_to_id
        self._real_ids = {marked_id(name): self.backend.token_to_id(token.content) for name, token in marked.items()}
        self._real_ids[marked_id(self.break_mark)] = None
        # In some models merges produce a special token, so typed text would become one.
        unknown = getattr(self.backend.model, "unk_token", None)
        typed = {self.backend.model.token_to_id(token) for token in self.special - {unknown}}
        self._typed_ids = typed - {None}
        self._short_texts: dict[str, EncodedText | None] = {}
        self._can_cut_at_spaces = can_cut_at_spaces(self.backend, added)

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=True).values())

    def special_id(self, token: str) -> int:
        """Id of a special token. Raises CheckpointError if this tokenizer lacks it."""
        found = self.backend.token_to_id(token)
        if found is None:
            raise CheckpointError(
                f"tokenizer: lacks the special token {token}; does tokenizer_config.json belong to it?"
            )
        return int(found)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        return frozenset(map(self.special_id, self.special))

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts in which nothing is special. Raises DataError for a text that would become a special token."""
        rows: list[list[int]] = [[] for _ in texts]
        cut = cut_in_pieces if self._can_cut_at_spaces else lambda text: [text]
        for group in groups_for_one_call((number, piece) for number, text in enumerate(texts) for piece in cut(text)):
            coded = self._marked_backend.encode_batch_fast([piece for _, piece in group], add_special_tokens=False)
            for (number, _), row in zip(group, coded, strict=True):
                rows[number] += row.ids
        special = self._typed_ids | self._real_ids.keys()
        return [
            ids if special.isdisjoint(ids) else self._escaped_ids(text) for ids, text in zip(rows, texts, strict=True)
        ]

    def encode_answer(self, text: str) -> list[int]:
        """Ids of an answer that continues a prompt: the tokenizer puts nothing before it."""
        lead = self.encode(_ANCHORS[0])
        ids = self.encode(_ANCHORS[0] + text)
        return ids[len(lead) :] if ids[: len(lead)] == lead else self.encode(text)

    def _escaped_ids(self, text: str) -> list[int]:
        found = self.encode_marked(text) or self.encode_marked(self.escape(text, self.special))
        if found is None:
            raise DataError("text: this tokenizer cannot tell it from a special token; remove that token")
        return found.ids

    def encode_marked(self, text: str) -> EncodedText | None:
        """Ids of a marked text: `real_mark` before a special token makes it real, `break_mark` inside it makes it text.

        None if typed text became a special token. Do not change the result: it is cached for short texts, such as the
        beginning of a turn.
        """
        if len(text) > _SHORT:
            return self._encode_marked(text)
        if text not in self._short_texts:
            if len(self._short_texts) >= _N_SHORT:
                self._short_texts.clear()
            self._short_texts[text] = self._encode_marked(text)
        return self._short_texts[text]

    def _encode_marked(self, text: str) -> EncodedText | None:
        coded = self._marked_backend.encode(text, add_special_tokens=False)
        if not self._typed_ids.isdisjoint(coded.ids):
            return None
        ids: list[int] = coded.ids
        offsets = coded.offsets
        if not self._real_ids.keys().isdisjoint(ids):
            real = [self._real_ids.get(id, id) for id in ids]
            offsets = [span for id, span in zip(real, offsets, strict=True) if id is not None]
            ids = [id for id in real if id is not None]
        starts, ends = map(list, zip(*offsets, strict=True)) if ids else ([], [])
        return EncodedText(ids, starts, ends)

    def encode_continuation(self, before: Sequence[int], rest: str, whole: Sequence[int]) -> EncodedText | None:
        """The ids of `rest` after the ids `before`, so that no token spans both; None if this tokenizer cannot do it.

        whole: another encoding of both texts together, which decodes to the same text
        """
        text = self._decoded(whole)
        # A tokenizer may put a space after a break mark, but not before a character that no merge contains.
        for anchor in ("", *_ANCHORS):
            lead = self.encode_marked(self.break_mark + anchor)
            found = self.encode_marked(self.break_mark + anchor + rest)
            if lead is None or found is None or found.ids[: len(lead.ids)] != lead.ids:
                continue
            n, shift = len(lead.ids), len(self.break_mark) + len(anchor)
            ids = found.ids[n:]
            if self._decoded([*before, *ids]) == text:
                starts = [max(0, start - shift) for start in found.starts[n:]]
                return EncodedText(ids, starts, [max(0, end - shift) for end in found.ends[n:]])
        return None

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self.backend.decode(list(ids), skip_special_tokens=False))

    def escape(self, text: str, tokens: Iterable[str]) -> str:
        """The text with a break mark inside each of these tokens, so that they are encoded as plain text."""
        return any_of(tokens).sub(lambda found: found[0][0] + self.break_mark + found[0][1:], text)

    def decode(self, ids: Iterable[int]) -> str:
        return str(self.backend.decode([id for id in ids if id not in self.special_ids], skip_special_tokens=False))

    def config(self) -> dict[str, Any]:
        """The content of tokenizer_config.json, without the chat template, which has its own file, and without code."""
        kept = {key: value for key, value in self.settings.items() if key not in ("chat_template", "auto_map")}
        return {"tokenizer_class": "PreTrainedTokenizerFast", **kept, **self.names}

    def generation_config(self) -> dict[str, Any]:
        """The content of generation_config.json."""
        first, *others = self.end_of_turn_id, *sorted(self.stop_ids - {self.end_of_turn_id})
        return {**self.generation, "eos_token_id": [first, *others] if others else first, "pad_token_id": self.pad_id}

    def save(self, folder: Path, seq_len: int | None = None) -> None:
        """Write tokenizer.json, tokenizer_config.json and generation_config.json. seq_len: the model's context."""
        longest = {} if seq_len is None else {"model_max_length": seq_len}
        write_text(folder / FILE, self.backend.to_str(pretty=True))
        write_json(folder / "tokenizer_config.json", self.config() | longest)
        write_json(folder / "generation_config.json", self.generation_config())

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """The tokenizer of a Hugging Face folder. Raises CheckpointError."""
        path = folder / FILE
        try:
            backend = Backend.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"{path}: no such file; a model folder holds its tokenizer") from None
        except Exception as error:  # the library raises bare Exception for a file it cannot parse
            raise CheckpointError(f"{path}: not a tokenizer ({error})") from None
        settings = {
            **read_settings(folder / "special_tokens_map.json"),
            **read_settings(folder / "tokenizer_config.json"),
            "chat_template": find_template(folder),
        }
        generation = read_settings(folder / "generation_config.json")
        if "eos_token_id" not in generation:
            generation["eos_token_id"] = read_settings(folder / "config.json").get("eos_token_id")
        try:
            return cls(backend, settings, generation)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn `vocab_size` tokens, the special ones included; fewer if the text has no more pairs to merge.

    Raises ConfigError if `vocab_size` is less than bytes and special tokens take.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise ConfigError(f"tokenizer.vocab_size: {vocab_size} is too small; bytes and special tokens take {smallest}")
    backend = Backend(models.BPE())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.pre_tokenizer = _cut_long_words(words)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    train_interruptibly(backend, trainer, texts)
    backend.pre_tokenizer = words  # the cut is not saved: no family's files have it
    settings = {"eos_token": END_OF_TURN, "pad_token": PAD, "clean_up_tokenization_spaces": False}
    return Tokenizer(backend, settings, UNCHOSEN_SAMPLING)


def _cut_long_words(words: Any) -> Any:
    """The pre-tokenizer, which also cuts each word of more than MAX_WORD_CHARS characters (or bytes) into parts.

    The time to merge grows with the square of a word's length, and cannot be interrupted.
    """
    cut = pre_tokenizers.Split(Regex(f"(?m:.{{{MAX_WORD_CHARS}}})"), "isolated")
    return pre_tokenizers.Sequence([words, cut])


def _content_of(token: Any) -> str | None:
    """A special token in the settings is its text, or an object with its text."""
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) else None


def _ids_of(value: Any) -> list[int]:
    """The ids in a value of generation_config.json: one, several or none."""
    return [id for id in (value if isinstance(value, list) else [value]) if type(id) is int and id >= 0]


def _secret(token: AddedToken, name: str) -> AddedToken:
    """The same token under a name that is found wherever it is written.

    A file may allow a token only in normalized text, where its neighbours can change it, or only as a separate word. A
    token that is not found would be encoded as text.
    """
    strips = {flag: getattr(token, flag) for flag in ("lstrip", "rstrip")}
    return AddedToken(name, **strips, single_word=False, normalized=False, special=token.special)


class StreamDecoder:
    """Takes ids one by one and returns text as soon as its characters are complete: never half of a Korean syllable."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.pending: list[int] = []
        # The ids returned last. Some tokenizers write a space into a token, unless it is the first.
        self.before: list[int] = []

    def push(self, token_id: int) -> str:
        self.pending.append(token_id)
        text = self._new_text()
        if text.endswith("\ufffd"):
            return ""
        self.before = self.pending if text else [*self.before, *self.pending]
        self.pending = []
        return text

    def flush(self) -> str:
        """The text that is left at the end; broken characters are replaced."""
        text = self._new_text()
        self.before, self.pending = [], []
        return text

    def _new_text(self) -> str:
        returned = self.tokenizer.decode(self.before)
        return self.tokenizer.decode([*self.before, *self.pending])[len(returned) :]
