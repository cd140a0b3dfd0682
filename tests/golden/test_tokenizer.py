"""Byte-level BPE beside a naive one written here, GPT-2's own vocabulary, and the bytes of any text."""

import json
import os
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from malmoi.errors import CheckpointError, ConfigError
from malmoi.tokenizer.bpe import SPECIAL_TOKENS, StreamDecoder, Tokenizer, train_bpe
from malmoi.tokenizer.report import gpt2_tokenizer

REPOSITORY = Path(__file__).parents[2]
GPT2 = Path(os.environ.get("MALMOI_DATA", REPOSITORY / "../shared/data")) / "tokenizer"
PIECES = ["말모이", "각", "👩‍👩‍👧", "e\u0301", "\ufffd", "\x00", "\r\n", "  \t", "don't", "١٢", "Ġ", "\ue000"]
texts = st.lists(st.text() | st.sampled_from([*PIECES, *SPECIAL_TOKENS])).map("".join)
MIXED = (
    "Hello, world! I'll   say it's 3.14159\n\n\tdef f(x): return x**2  # naïve café\r\n"
    "말모이는 우리말 사전이다. 日本語も。 Ελληνικά, русский, العربية 👩‍👩‍👧🇰🇷 1234567 <|endoftext|> \u00a0\u2003end "
)


@settings(max_examples=150, deadline=None)
@given(text=texts)
@example(text="<|end|><|assistant|>")
@example(text="")
def test_any_text_comes_back_and_none_of_it_is_special(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not {tokenizer.special_id(token) for token in SPECIAL_TOKENS} & set(ids)
    assert tokenizer.encode_batch([text, "cat"]) == [ids, tokenizer.encode("cat")]


@settings(max_examples=150, deadline=None)
@given(text=texts)
def test_a_stream_gives_the_whole_text_and_never_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    decoder = StreamDecoder(tokenizer)
    parts = [decoder.push(token) for token in tokenizer.encode(text)]
    assert "".join(parts) + decoder.flush() == text
    assert sum(part.count("\ufffd") for part in parts) <= text.count("\ufffd")


@settings(max_examples=150, deadline=None)
@given(ids=st.lists(st.integers(0, 299)))
def test_a_stream_of_any_ids_gives_what_decoding_them_at_once_gives(tokenizer: Tokenizer, ids: list[int]) -> None:
    decoder = StreamDecoder(tokenizer)
    assert "".join(decoder.push(token) for token in ids) + decoder.flush() == tokenizer.decode(ids)


def test_a_cut_character_is_shown_as_broken_at_the_end_only(tokenizer: Tokenizer) -> None:
    *whole, last = tokenizer.encode("a뷁")
    decoder = StreamDecoder(tokenizer)
    assert "".join(decoder.push(token) for token in whole) == "a"
    assert decoder.flush() == "\ufffd"
    assert decoder.push(last) + decoder.flush() == "\ufffd"


def naive_merges(text: str, n_merges: int) -> list[bytes]:
    """Sennrich's algorithm to the letter: merge the most frequent pair; on a tie the one whose tokens are older."""
    words = Counter(as_bytes(w) for w, _ in pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text))
    split = {word: [bytes([value]) for value in word] for word in words}
    age = {as_bytes(char): rank for rank, char in enumerate(sorted(BYTE_OF))}
    merged = []
    for _ in range(n_merges):
        counts: Counter[tuple[bytes, bytes]] = Counter()
        for word, symbols in split.items():
            for pair in pairwise(symbols):
                counts[pair] += words[word]
        best = min(counts, key=lambda pair: (-counts[pair], age[pair[0]], age[pair[1]]))
        split = {word: merge(symbols, best) for word, symbols in split.items()}
        merged.append(b"".join(best))
        age[merged[-1]] = len(age)
    return merged


def merge(symbols: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    merged: list[bytes] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def gpt2_stand_ins() -> dict[str, int]:
    """GPT-2's printable character for each byte: itself where printable, else the next free one from 256 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [value for value in range(256) if value not in printable]
    return {chr(value): value for value in printable} | {chr(256 + i): value for i, value in enumerate(others)}


BYTE_OF = gpt2_stand_ins()


def as_bytes(token: str) -> bytes:
    return bytes(BYTE_OF[char] for char in token)


def test_training_makes_the_merges_of_the_naive_algorithm() -> None:
    text = "low lower lowest newer newest wide wider widest the theme then this that 낱말 낱말을 말을 모으다 모은\n" * 3
    n_merges, first = 50, 256 + len(SPECIAL_TOKENS)
    backend = train_bpe([text], vocab_size=first + n_merges).backend
    assert [as_bytes(backend.id_to_token(first + i)) for i in range(n_merges)] == naive_merges(text, n_merges)


def naive_encode(word: bytes, ranks: dict[tuple[bytes, bytes], int]) -> list[bytes]:
    symbols = [bytes([value]) for value in word]
    while pairs := [pair for pair in pairwise(symbols) if pair in ranks]:
        symbols = merge(symbols, min(pairs, key=ranks.__getitem__))
    return symbols


@pytest.mark.skipif(gpt2_tokenizer(GPT2) is None, reason=f"{GPT2}: GPT-2's vocabulary is not there; set MALMOI_DATA")
@pytest.mark.filterwarnings("default:::transformers.*")
def test_gpt2s_vocabulary_gives_gpt2s_ids() -> None:
    transformers = pytest.importorskip("transformers")
    backend = gpt2_tokenizer(GPT2)
    assert backend is not None
    ids = backend.encode(MIXED, add_special_tokens=False).ids

    model = json.loads(backend.to_str())["model"]
    vocabulary, merges = model["vocab"], [tuple(pair) for pair in model["merges"]]
    theirs = transformers.GPT2Tokenizer(vocab=vocabulary, merges=merges)
    assert theirs.encode(MIXED, split_special_tokens=True) == ids
    assert theirs.decode(ids) == MIXED

    ranks = {(as_bytes(left), as_bytes(right)): rank for rank, (left, right) in enumerate(merges)}
    id_of = {as_bytes(token): i for token, i in vocabulary.items() if token != "<|endoftext|>"}
    words = [as_bytes(word) for word, _ in pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(MIXED)]
    assert b"".join(words).decode() == MIXED
    assert [id_of[token] for word in words for token in naive_encode(word, ranks)] == ids


def test_a_saved_tokenizer_is_the_same_and_still_takes_special_tokens_for_text(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.encode(MIXED) == tokenizer.encode(MIXED)
    assert loaded.decode(loaded.encode(MIXED)) == MIXED


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": "1.0"', b"\xff\xfe"])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizer.load(tmp_path)


def test_a_vocabulary_that_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too small"):
        train_bpe(["text"], vocab_size=100)
    # Bytes, special tokens, and the one join that the text holds.
    assert train_bpe(["a b"], vocab_size=1000).vocab_size == 256 + len(SPECIAL_TOKENS) + 1
    with pytest.raises(CheckpointError, match="no such file"):
        Tokenizer.load(tmp_path)
