"""The tokenizer of a GGUF file: how it splits text, its tokens and merges. The tables serve `write.py` too.

Source: the GGUF specification of the ggml project, and llama.cpp's code that converts these tokenizers.
"""

import json
from typing import Any, NamedTuple

from tokenizers import Tokenizer as Backend

from malmoi.errors import CheckpointError
from malmoi.formats.gguf.file import GGUF, quote
from malmoi.tokenizer.bpe import Tokenizer

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Values of `tokenizer.ggml.token_type`."""
TOKEN_IDS = {
    "bos_token": "tokenizer.ggml.bos_token_id",
    "eos_token": "tokenizer.ggml.eos_token_id",
    "unk_token": "tokenizer.ggml.unknown_token_id",
    "pad_token": "tokenizer.ggml.padding_token_id",
}
END_OF_TURN_ID = "tokenizer.ggml.eot_token_id"


class TextRules(NamedTuple):
    """How text is split before merging, as in tokenizer.json."""

    pre_tokenizer: dict[str, Any]
    normalizer: dict[str, Any] | None = None
    ignore_merges: bool = False


def _in_order(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _byte_level(use_regex: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


_DIGITS = {"type": "Digits", "individual_digits": True}
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEXT_RULES = {
    "gpt-2": TextRules(_byte_level(True)),
    "smollm": TextRules(_in_order(_DIGITS, _byte_level(True))),
    "llama-bpe": TextRules(_in_order(_split(_WORDS % r"\p{N}{1,3}"), _byte_level(False)), ignore_merges=True),
    "qwen2": TextRules(_in_order(_split(_WORDS % r"\p{N}"), _byte_level(False)), normalizer={"type": "NFC"}),
    "default": TextRules(
        _in_order(
            _split(r"[\p{P}\$\+<=>\^~\|]+"),
            _split(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"),
            _split(r"\p{N}+"),
            _split(r"[0-9][0-9][0-9]"),
            _byte_level(False),
        )
    ),
}
"""`tokenizer.ggml.pre` -> rules; a file without that key means `default`."""
_SAME_RULES = {"llama3": "llama-bpe", "llama-v3": "llama-bpe"}


def read_tokenizer(file: GGUF, n_rows: int, template: str | None) -> Tokenizer:
    """The file's tokenizer. n_rows: of the embedding; template: of chats, if the file has one

    Raises CheckpointError for one that is broken, or of another kind than byte-level BPE.
    """
    if (kind := file.get("tokenizer.ggml.model", str)) != "gpt2":
        raise file.error("tokenizer.ggml.model", f"{quote(kind)} is not supported; gpt2 (byte-level BPE) is")
    pre = file.get("tokenizer.ggml.pre", str, "default")
    rules = TEXT_RULES.get(_SAME_RULES.get(pre, pre))
    if rules is None:
        raise file.error("tokenizer.ggml.pre", f"{quote(pre)} is not supported; {', '.join(TEXT_RULES)} are")
    tokens = file.strings("tokenizer.ggml.tokens")
    types = file.numbers("tokenizer.ggml.token_type") or [NORMAL] * len(tokens)
    if len(set(tokens)) != len(tokens) or len(types) != len(tokens) or len(tokens) > n_rows:
        what = f"{len(tokens)} tokens, {len(set(tokens))} different, {len(types)} types"
        raise file.error("tokenizer.ggml.tokens", f"{what} and {n_rows} rows of the embedding do not match")
    if any(not token and kind in (CONTROL, USER_DEFINED) for token, kind in zip(tokens, types, strict=True)):
        raise file.error("tokenizer.ggml.tokens", "a special token is empty")
    ids = {key: file.get(key, int, -1) for key in (*TOKEN_IDS.values(), END_OF_TURN_ID)}
    for key, token_id in ids.items():
        if key in file.metadata and not 0 <= token_id < len(tokens):
            raise file.error(key, f"{token_id} is not one of {len(tokens)} tokens")
    stops = [ids[key] for key in (TOKEN_IDS["eos_token"], END_OF_TURN_ID) if ids[key] >= 0]
    for token_id in stops:
        types[token_id] = CONTROL
    names = {name: tokens[i] for name, key in TOKEN_IDS.items() if (i := ids[key]) >= 0 and types[i] == CONTROL}
    while types and types[-1] == UNUSED:  # padding of the embedding
        types.pop()
    bos = names.get("bos_token") if file.get("tokenizer.ggml.add_bos_token", bool, rules.ignore_merges) else None
    built = _tokenizer_json(tokens[: len(types)], types, file.strings("tokenizer.ggml.merges"), rules, bos)
    settings = {**names, "chat_template": template, "clean_up_tokenization_spaces": False}
    try:
        return Tokenizer(Backend.from_str(json.dumps(built)), settings, {"eos_token_id": stops})
    except CheckpointError as error:
        raise CheckpointError(f"{file.path}: {error}") from None
    except Exception as error:  # the library raises bare Exception for input that it cannot use
        raise file.error("tokenizer.ggml", f"is not a tokenizer ({quote(str(error))})") from None


def _tokenizer_json(
    tokens: list[str], types: list[int], merges: list[str], rules: TextRules, bos: str | None
) -> dict[str, Any]:
    """tokenizer.json. bos: the token that encoding puts first, or None"""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    first = [{"SpecialToken": {"id": bos, "type_id": 0}}] if bos else []
    a, b = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": token_id, "content": token, "special": types[token_id] == CONTROL, **plain}
            for token_id, token in enumerate(tokens)
            if types[token_id] in (CONTROL, USER_DEFINED)
        ],
        "normalizer": rules.normalizer,
        "pre_tokenizer": rules.pre_tokenizer,
        "post_processor": bos and {
            "type": "TemplateProcessing", "single": [*first, a], "pair": [*first, a, *first, b],
            "special_tokens": {bos: {"id": bos, "ids": [vocab[bos]], "tokens": [bos]}},
        },
        "decoder": _byte_level(True),
        "model": {"type": "BPE", "ignore_merges": rules.ignore_merges, "vocab": vocab, "merges": merges},
    }  # fmt: skip
