"""The tokenizer's report: bytes a token on three kinds of text, beside GPT-2's where that is at hand."""

import gzip
import json
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers

from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.report import CODE, KOREAN, compression_report


def test_bytes_per_token_of_each_text(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALMOI_DATA", str(tmp_path))
    heldout = ["The cat sat.", "낱말"]
    text = "\n".join(heldout)
    assert compression_report(tokenizer, heldout) == {
        "held-out": {"malmoi": len(text.encode()) / len(tokenizer.encode(text))},
        "korean": {"malmoi": len(KOREAN.encode()) / len(tokenizer.encode(KOREAN))},
        "code": {"malmoi": len(CODE.encode()) / len(tokenizer.encode(CODE))},
    }


def test_gpt2_is_read_from_its_published_files(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vocabulary in GPT-2's format, all bytes and two merges, `ca` and `cat`: five letters are three tokens."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    vocabulary = {token: i for i, token in enumerate([*pre_tokenizers.ByteLevel.alphabet(), "ca", "cat"])}
    (folder / "gpt2_encoder.json.gz").write_bytes(gzip.compress(json.dumps(vocabulary).encode()))
    (folder / "gpt2_vocab.bpe.gz").write_bytes(gzip.compress(b"#version: 0.2\nc a\nca t\n"))
    monkeypatch.setenv("MALMOI_DATA", str(tmp_path))
    report = compression_report(tokenizer, ["catsa"])
    assert report["held-out"]["gpt2"] == 5 / 3
    assert report["held-out"]["malmoi"] == 5 / len(tokenizer.encode("catsa"))
