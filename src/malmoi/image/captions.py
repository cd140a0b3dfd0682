"""Captions -> ids: the tokenizer of CLIP, a byte-level BPE of lower-case words. Run by the `tokenizers` library.

Source: Radford et al. 2021 (arXiv:2103.00020); the numbers are those of transformers' CLIPTokenizer.
"""

import gzip
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers
from torch import Tensor

from malmoi.errors import CheckpointError
from malmoi.files import read_json, write_json, write_text

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77
VOCABULARY, MERGES, FAST, SETTINGS = "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"
_END_OF_WORD = "</w>"
_PRINTED = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_BYTES = (*_PRINTED, *sorted(set(range(0x100)).difference(_PRINTED)))
"""All bytes, in the order of CLIP's vocabulary: those that are printed as they are come first."""
_WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


class Captions:
    """Captions -> ids of one length.

    vocabulary: token -> id; merges: pairs, the most frequent first; pad: the token after the end of a caption
    length: tokens of a caption, with its beginning and its end
    Raises CheckpointError for a vocabulary without CLIP's tokens, or with merges that it has no token for.
    """

    def __init__(
        self, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], pad: str = END, length: int = LENGTH
    ) -> None:
        for token in (BEGIN, END, pad):
            if token not in vocabulary:
                raise CheckpointError(f"tokenizer: no token {token}; it is not that of CLIP")
        self.vocabulary, self.merges, self.pad, self.length = dict(vocabulary), list(merges), pad, length
        try:
            model = models.BPE(self.vocabulary, self.merges, unk_token=END, end_of_word_suffix=_END_OF_WORD)
        except Exception as error:  # the library raises this class
            raise CheckpointError(f"tokenizer: {error}") from None
        backend = Tokenizer(model)
        backend.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        split = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        # Where "!" pads, as in Stable Diffusion 2, transformers takes each one in a caption for padding, too.
        apart = dict.fromkeys((BEGIN, END, pad))
        backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in apart])
        self._backend = backend
        self._begin, self._end, self._pad = (self.vocabulary[token] for token in (BEGIN, END, pad))

    @property
    def n_tokens(self) -> int:
        """How many rows an embedding of the ids needs."""
        return max(self.vocabulary.values()) + 1

    def encode(self, captions: Sequence[str]) -> Tensor:
        """Ids (B, length). What a caption has beyond them is cut off; `n_cut` says how much that is."""
        found = self._backend.encode_batch(list(captions), add_special_tokens=False)
        rows = [[self._begin, *one.ids[: self.length - 2], self._end] for one in found]
        return torch.tensor([row + [self._pad] * (self.length - len(row)) for row in rows])

    def n_cut(self, caption: str) -> int:
        """How many tokens of a caption `encode` cuts off."""
        return max(0, len(self._backend.encode(caption, add_special_tokens=False).ids) - (self.length - 2))

    @classmethod
    @lru_cache(maxsize=2)
    def of_clip(cls, pad: str = END) -> "Captions":
        """With the vocabulary of OpenAI's CLIP, which every Stable Diffusion has: its single files hold none."""
        packed = files("malmoi").joinpath("image/clip_merges.txt.gz").read_bytes()
        lines = gzip.decompress(packed).decode().splitlines()
        merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
        letters = [_letter(byte) for byte in _BYTES]
        tokens = [*letters, *(letter + _END_OF_WORD for letter in letters), *map("".join, merges), BEGIN, END]
        return cls({token: id for id, token in enumerate(tokens)}, merges, pad)

    @classmethod
    def load(cls, folder: Path, length: int = LENGTH) -> "Captions":
        """From `vocab.json` and `merges.txt`, or from `tokenizer.json`. Raises CheckpointError."""
        try:
            if (folder / VOCABULARY).exists() and (folder / MERGES).exists():
                vocabulary = read_json(folder / VOCABULARY)
                lines = (folder / MERGES).read_text(encoding="utf-8").split("\n")
                pairs = [line.split(" ") for line in lines if line.strip() and not line.startswith("#version")]
            elif (folder / FAST).exists():
                model = read_json(folder / FAST)["model"]
                vocabulary = model["vocab"]
                pairs = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
            else:
                raise CheckpointError(f"{folder}: holds no tokenizer ({VOCABULARY} and {MERGES}, or {FAST})")
            if not all(isinstance(id, int) for id in vocabulary.values()):
                raise ValueError("ids must be whole numbers")
            return cls(vocabulary, [(left, right) for left, right in pairs], _pad_of(folder), length)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{folder}: not a tokenizer of CLIP ({error or type(error).__name__})") from None

    def save(self, folder: Path) -> None:
        """As CLIPTokenizer of any version reads it."""
        write_json(folder / VOCABULARY, self.vocabulary)
        write_text(folder / MERGES, "\n".join(["#version: 0.2", *(" ".join(pair) for pair in self.merges), ""]))
        names = {"bos_token": BEGIN, "eos_token": END, "unk_token": END, "pad_token": self.pad}
        extra = {"model_max_length": self.length, "do_lower_case": True, "add_prefix_space": False}
        write_json(folder / SETTINGS, {"tokenizer_class": "CLIPTokenizer", **names, **extra})
        write_json(folder / "special_tokens_map.json", names)


def _pad_of(folder: Path) -> str:
    """The token after the end of a caption: Stable Diffusion 2 pads with "!", 1 with the end itself."""
    for name in (SETTINGS, "special_tokens_map.json"):
        said: Any = read_json(folder / name) if (folder / name).exists() else {}
        token = said.get("pad_token") if isinstance(said, dict) else None
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str):
            return token
    return END


def _letter(byte: int) -> str:
    """The letter that stands for a byte in a byte-level vocabulary."""
    return chr(byte) if byte in _PRINTED else chr(0x100 + _BYTES.index(byte) - len(_PRINTED))
