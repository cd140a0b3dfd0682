"""Text <-> ids: a byte-level BPE of our own, or the tokenizer of any Hugging Face folder.

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
from tokenizers import Tokenizer as Engine

from malmoi.errors import CheckpointError, ConfigError, DataError
from malmoi.files import write_json, write_text
from malmoi.tokenizer.jinja import find_template, read_settings, render
from malmoi.tokenizer.pieces import calls, in_pieces, is_cut_at_spaces, learn

END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = "<|end|>"
PAD = "<|pad|>"
ROLES = ("system", "user", "assistant")
SPECIAL_TOKENS = (END_OF_TEXT, PAD, END_OF_TURN, *(f"<|{role}|>" for role in ROLES))
FILE = "tokenizer.json"

# What separates documents, by the names that families give it.
_ENDS_OF_TEXT = (END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>")
_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_ANSWER = "\ue000"
LONGEST_WORD = 1000
_SHORT, _N_SHORT = 200, 4096
_ANCHORS = ("\n", "\x01", "\u200b", "。")


def any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the tokens, the longest that fits."""
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")


class Coded(NamedTuple):
    """A text's ids, and for each where in the text it begins and ends (what a normalizer puts in has no width)."""

    ids: list[int]
    starts: list[int]
    ends: list[int]


class Tokenizer:
    """Text <-> ids. Special tokens that stand in plain text are text: only a chat template writes real ones.

    settings: as in tokenizer_config.json; its `chat_template` tells what ends a turn
    generation: as in generation_config.json; every `eos_token_id` of it ends an answer too

    names: bos_token, eos_token, … -> the token, as a template asks for them
    special, plain_tokens: the added tokens that control, and those that are only whole, such as <think>
    end_of_turn, end_of_turn_id: what the template writes after an answer, else the eos token
    end_of_text_id: what separates documents, else the eos token
    pad_id: the pad token, unless it is missing or is the end of a turn; then another special token, since padding is
        masked everywhere, but whoever finds the end of an answer by what is not padding must find its end of turn
    stop_ids: all that end an answer
    """

    def __init__(
        self, engine: Engine, settings: Mapping[str, Any] | None = None, generation: Mapping[str, Any] | None = None
    ) -> None:
        self.engine = engine
        self.settings, self.generation = dict(settings or {}), dict(generation or {})
        named = {kind: _text_of(self.settings.get(kind)) for kind in _NAMES}
        self.names = {kind: token for kind, token in named.items() if token and engine.token_to_id(token) is not None}
        added = [token for _, token in sorted(engine.get_added_tokens_decoder().items())]
        self.special = {token.content for token in added if token.special}
        stops = [token for id in _ids_of(self.generation.get("eos_token_id")) if (token := engine.id_to_token(id))]
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
        self._build_coder(added)

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
        asked = [{"role": "user", "content": "."}, {"role": "assistant", "content": _ANSWER}]
        try:
            _, mark, after = render(source, asked, self.names).rpartition(_ANSWER)
        except DataError:  # a template that cannot be used says so when it is
            return None
        found = self.any_special.search(after) if mark else None
        return found and found[0]

    def _build_coder(self, added: Sequence[AddedToken]) -> None:
        """An engine that shares the model but knows special tokens under a secret spelling alone.

        So real ones and typed ones can stand in one text, which is encoded at once as the model's makers do, and no
        switch needs to be thrown that threads share.
        """
        secret = f"\ue003{secrets.token_hex(8)}\ue003"
        self.spelling, self.gap = secret + "\ue004", secret + "\ue005"
        self._coder = Engine(self.engine.model)
        for part in ("normalizer", "pre_tokenizer"):
            if (value := getattr(self.engine, part)) is not None:
                setattr(self._coder, part, value)
        if (splits := self.engine.pre_tokenizer) is not None and len(splits.pre_tokenize_str("a b")) > 1:
            self._coder.pre_tokenizer = _cut_long_words(splits)
        tokens = {token.content: token for token in added}
        tokens |= {name: AddedToken(name, normalized=False) for name in sorted(self.special - tokens.keys())}
        spelled = {(self.spelling if name in self.special else "") + name: token for name, token in tokens.items()}
        self._coder.add_tokens(
            [_secret(token, s) if token.content in self.special else token for s, token in spelled.items()]
        )
        self._coder.add_tokens([AddedToken(self.gap, normalized=False)])
        self._real = {self._coder.token_to_id(s): self.engine.token_to_id(t.content) for s, t in spelled.items()}
        self._real[self._coder.token_to_id(self.gap)] = None
        # Some models hold the spelling of a special token as the result of a merge, and would make it of typed text.
        unknown = getattr(self.engine.model, "unk_token", None)
        typed = {self.engine.model.token_to_id(token) for token in self.special - {unknown}}
        self._typed = typed - {None}
        self._short: dict[str, Coded | None] = {}
        self._is_cut_at_spaces = is_cut_at_spaces(self.engine, added)

    @cached_property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        return 1 + max(self.engine.get_vocab(with_added_tokens=True).values())

    def special_id(self, token: str) -> int:
        """Id of a special token; CheckpointError when this tokenizer lacks it."""
        found = self.engine.token_to_id(token)
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
        """Ids of texts in which nothing is special. Raises DataError for one that would become a special token."""
        rows: list[list[int]] = [[] for _ in texts]
        cut = in_pieces if self._is_cut_at_spaces else lambda text: [text]
        for group in calls((number, piece) for number, text in enumerate(texts) for piece in cut(text)):
            coded = self._coder.encode_batch_fast([piece for _, piece in group], add_special_tokens=False)
            for (number, _), row in zip(group, coded, strict=True):
                rows[number] += row.ids
        return [
            ids if self._typed.isdisjoint(ids) and self._real.keys().isdisjoint(ids) else self._apart_ids(text)
            for ids, text in zip(rows, texts, strict=True)
        ]

    def encode_answer(self, text: str) -> list[int]:
        """Ids of an answer as one that continues a prompt: nothing is put before it."""
        lead = self.encode(_ANCHORS[0])
        ids = self.encode(_ANCHORS[0] + text)
        return ids[len(lead) :] if ids[: len(lead)] == lead else self.encode(text)

    def _apart_ids(self, text: str) -> list[int]:
        found = self.code(text) or self.code(self.apart(text, self.special))
        if found is None:
            raise DataError("text: this tokenizer cannot tell it from a special token; leave that out")
        return found.ids

    def code(self, text: str) -> Coded | None:
        """A text in which `spelling` before a special token makes it real, and `gap` in a token makes it plain text.

        None when typed text became a special token. Do not change what comes back: short texts, such as the beginning
        of a turn, are coded once.
        """
        if len(text) > _SHORT:
            return self._code(text)
        if text not in self._short:
            if len(self._short) >= _N_SHORT:
                self._short.clear()
            self._short[text] = self._code(text)
        return self._short[text]

    def _code(self, text: str) -> Coded | None:
        coded = self._coder.encode(text, add_special_tokens=False)
        if not self._typed.isdisjoint(coded.ids):
            return None
        ids: list[int] = coded.ids
        offsets = coded.offsets
        if not self._real.keys().isdisjoint(ids):
            real = [self._real.get(id, id) for id in ids]
            offsets = [span for id, span in zip(real, offsets, strict=True) if id is not None]
            ids = [id for id in real if id is not None]
        starts, ends = map(list, zip(*offsets, strict=True)) if ids else ([], [])
        return Coded(ids, starts, ends)

    def go_on(self, before: Sequence[int], rest: str, whole: Sequence[int]) -> Coded | None:
        """The ids of `rest` where `before` are ids already, so that no token is made of both.

        whole: another way to encode both, which says the same. None where this tokenizer has no way to do it.
        """
        said = self._written(whole)
        # A tokenizer may write a space before all that follows a gap; a character that no merge holds does not draw it.
        for anchor in ("", *_ANCHORS):
            lead = self.code(self.gap + anchor)
            found = self.code(self.gap + anchor + rest)
            if lead is None or found is None or found.ids[: len(lead.ids)] != lead.ids:
                continue
            n, shift = len(lead.ids), len(self.gap) + len(anchor)
            ids = found.ids[n:]
            if self._written([*before, *ids]) == said:
                starts = [max(0, start - shift) for start in found.starts[n:]]
                return Coded(ids, starts, [max(0, end - shift) for end in found.ends[n:]])
        return None

    def _written(self, ids: Sequence[int]) -> str:
        return str(self.engine.decode(list(ids), skip_special_tokens=False))

    def apart(self, text: str, tokens: Iterable[str]) -> str:
        """The text with a gap in these tokens: it is encoded as the same text, but they are not tokens in it."""
        return any_of(tokens).sub(lambda found: found[0][0] + self.gap + found[0][1:], text)

    def decode(self, ids: Iterable[int]) -> str:
        return str(self.engine.decode([id for id in ids if id not in self.special_ids], skip_special_tokens=False))

    def config(self) -> dict[str, Any]:
        """What tokenizer_config.json says; the chat template has its own file, and code that goes with it stays out."""
        kept = {key: value for key, value in self.settings.items() if key not in ("chat_template", "auto_map")}
        return {"tokenizer_class": "PreTrainedTokenizerFast", **kept, **self.names}

    def generation_config(self) -> dict[str, Any]:
        """What generation_config.json says."""
        first, *others = self.end_of_turn_id, *sorted(self.stop_ids - {self.end_of_turn_id})
        return {**self.generation, "eos_token_id": [first, *others] if others else first, "pad_token_id": self.pad_id}

    def save(self, folder: Path, seq_len: int | None = None) -> None:
        """Write tokenizer.json, tokenizer_config.json and generation_config.json. seq_len: of the model."""
        longest = {} if seq_len is None else {"model_max_length": seq_len}
        write_text(folder / FILE, self.engine.to_str(pretty=True))
        write_json(folder / "tokenizer_config.json", self.config() | longest)
        write_json(folder / "generation_config.json", self.generation_config())

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """The tokenizer of a Hugging Face folder. Raises CheckpointError."""
        path = folder / FILE
        try:
            engine = Engine.from_str(path.read_text(encoding="utf-8"))
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
            return cls(engine, settings, generation)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from None


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn `vocab_size` tokens, the special ones included; fewer where the text holds no more to join.

    Raises ConfigError where it is less than bytes and special tokens take.
    """
    smallest = 256 + len(SPECIAL_TOKENS)
    if vocab_size < smallest:
        raise ConfigError(f"tokenizer.vocab_size: {vocab_size} is too small; bytes and special tokens take {smallest}")
    engine = Engine(models.BPE())
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    engine.pre_tokenizer = _cut_long_words(words)
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learn(engine, trainer, texts)
    engine.pre_tokenizer = words  # the cut is not part of what is saved: no family's files have it
    settings = {"eos_token": END_OF_TURN, "pad_token": PAD, "clean_up_tokenization_spaces": False}
    return Tokenizer(engine, settings, {"do_sample": True, "temperature": 1.0})


def _cut_long_words(words: Any) -> Any:
    """The pre-tokenizer, with each word of more than LONGEST_WORD characters (or bytes) cut in parts of that length.

    Merging takes time with the square of a word's length, and cannot be interrupted. Other words stay as they are.
    """
    cut = pre_tokenizers.Split(Regex(f"(?m:.{{{LONGEST_WORD}}})"), "isolated")
    return pre_tokenizers.Sequence([words, cut])


def _text_of(token: Any) -> str | None:
    """A special token as the settings name it: its text, or an object that holds it."""
    found = token.get("content") if isinstance(token, Mapping) else token
    return found if isinstance(found, str) else None


def _ids_of(value: Any) -> list[int]:
    """One id, several or none, as generation_config.json has them."""
    return [id for id in (value if isinstance(value, list) else [value]) if type(id) is int and id >= 0]


def _secret(token: AddedToken, spelling: str) -> AddedToken:
    """The same token under a spelling that is found wherever it is written.

    A file may ask to find a token only in normalized text, where its neighbours can change it, or only as a word of its
    own. A spelling that is not found would be encoded as text.
    """
    strips = {flag: getattr(token, flag) for flag in ("lstrip", "rstrip")}
    return AddedToken(spelling, **strips, single_word=False, normalized=False, special=token.special)


class StreamDecoder:
    """Ids in one by one, text out as soon as its characters are whole: never half of a Korean syllable."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.pending: list[int] = []
        # What was told last. Some tokenizers write a space into a token, unless it is the first.
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
        """What is left at the end, broken characters replaced."""
        text = self._new_text()
        self.before, self.pending = [], []
        return text

    def _new_text(self) -> str:
        told = self.tokenizer.decode(self.before)
        return self.tokenizer.decode([*self.before, *self.pending])[len(told) :]
