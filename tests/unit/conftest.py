"""Small things to test with: a workspace, a tokenizer, text shards, networks and their folders."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from malmoi import device
from malmoi.corpus.shards import ShardWriter
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer, train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.folder import Workspace

TEXT = (
    "The cat sat on the mat and the dog sat on the log. What is a list? A list holds values in order. "
    "말모이는 온 나라 사람들에게서 낱말을 모으던 일이다. 사람들은 낱말을 종이에 적어 보냈다. "
)
SHAPE: dict[str, Any] = {
    "n_layer": 2, "n_embd": 16, "n_head": 2, "n_kv_head": 1, "head_dim": 8, "n_ff": 24, "seq_len": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def float32() -> Iterator[None]:
    """Compute in float32 on one core, whatever this machine is fast at: the networks here are tiny."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MALMOI_DTYPE": "float32", "MALMOI_DEVICE": "cpu", "MALMOI_THREADS": "1"}.items():
            patch.setenv(name, value)
        device.current.cache_clear()
        device.current()
        yield
    device.current.cache_clear()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace."""
    return Workspace.open(tmp_path / "workspace")


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return train_bpe([TEXT], vocab_size=300)


@pytest.fixture(scope="session")
def template() -> ChatTemplate:
    return ChatTemplate.default()


@pytest.fixture(scope="session")
def shape(tokenizer: Tokenizer) -> ModelConfig:
    return ModelConfig(vocab_size=tokenizer.vocab_size, **SHAPE)


@pytest.fixture
def policy(shape: ModelConfig) -> LanguageModel:
    torch.manual_seed(1)
    return LanguageModel(shape)


@pytest.fixture
def reward_model(shape: ModelConfig) -> ScalarModel:
    torch.manual_seed(2)
    return ScalarModel(shape)


@pytest.fixture
def policy_folder(tmp_path: Path, policy: LanguageModel, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    save_model(tmp_path / "policy", policy, tokenizer, template, {})
    return tmp_path / "policy"


@pytest.fixture
def reward_folder(tmp_path: Path, reward_model: ScalarModel, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    save_model(tmp_path / "reward", reward_model, tokenizer, template, {})
    return tmp_path / "reward"


@pytest.fixture
def shards(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """Token shards of the text, as training and as held-out text."""
    ids = tokenizer.encode(TEXT)
    for split in ("train", "heldout"):
        with ShardWriter(tmp_path / "shards", split, tokenizer.vocab_size) as writer:
            for _ in range(2):
                writer.append([tokenizer.end_of_text_id, *ids], len(TEXT.encode()))
    return tmp_path / "shards"
