"""How well a tokenizer compresses English, Korean and code, compared with GPT-2's if its files are present."""

import gzip
import json
import os
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from malmoi.tokenizer.bpe import Tokenizer

N_REPORTED = 200
"""Held-out documents that are measured."""
KOREAN = (
    "말모이는 조선어학회가 우리말 사전을 만들려고 온 나라 사람들에게서 낱말을 모으던 일이다. "
    "사람들은 자기 고장의 말을 종이에 적어 보냈고, 그 말들이 모여 큰 사전이 되었다."
)
CODE = (
    "def read(path, encoding='utf-8'):\n    with open(path, encoding=encoding) as file:\n"
    "        return [line.rstrip() for line in file if not line.startswith('#')]\n"
)


def compression_report(tokenizer: Tokenizer, heldout: Sequence[str]) -> dict[str, dict[str, float]]:
    """Bytes per token on held-out text, Korean and code: {text: {"malmoi": …, "gpt2": …}} (gpt2 if present).

    GPT-2's vocabulary is read from `tokenizer/` under the folder that MALMOI_DATA names.
    """
    texts = {"held-out": "\n".join(heldout[:N_REPORTED]), "korean": KOREAN, "code": CODE}
    data = os.environ.get("MALMOI_DATA")
    gpt2 = gpt2_tokenizer(Path(data) / "tokenizer") if data else None
    report = {}
    for name, text in texts.items():
        n_bytes = len(text.encode())
        report[name] = {"malmoi": n_bytes / len(tokenizer.encode(text))}
        if gpt2 is not None:
            report[name]["gpt2"] = n_bytes / len(gpt2.encode(text).ids)
    return report


def gpt2_tokenizer(folder: Path) -> Backend | None:
    """GPT-2's own tokenizer from its published files; None if they are not there."""
    vocabulary, merges = folder / "gpt2_encoder.json.gz", folder / "gpt2_vocab.bpe.gz"
    if not vocabulary.exists() or not merges.exists():
        return None
    lines = gzip.decompress(merges.read_bytes()).decode().splitlines()
    pairs = [(left, right) for left, _, right in (line.partition(" ") for line in lines if not line.startswith("#v"))]
    backend = Backend(models.BPE(json.loads(gzip.decompress(vocabulary.read_bytes())), pairs))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return backend
