"""A version is taken elsewhere, and what that costs is said."""

from pathlib import Path

import pytest
import torch

from malmoi.errors import ConfigError, UserError
from malmoi.formats.folder import load_model, save_model
from malmoi.formats.gguf.read import import_gguf
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel
from malmoi.pipeline.export import export_version
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.workspace.ledger import Ledger
from malmoi.workspace.versions import begin_versions


@pytest.fixture
def serving(ledger: Ledger, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate) -> Ledger:
    """A ledger whose v1 is a tiny network."""
    torch.manual_seed(3)
    wide = shape.model_copy(update={"n_embd": 32, "n_ff": 32})  # eight bits need rows of 32
    save_model(ledger.root / "models" / "sft", LanguageModel(wide), tokenizer, template, {})
    begin_versions(ledger)
    return ledger


def test_eight_bits_are_written_once_and_cost_little(serving: Ledger) -> None:
    made = export_version(serving, "v1", "gguf-q8_0")
    path = Path(made["path"])
    assert path.parent == serving.root / "exports" and path.name.endswith(".q8_0.gguf") and not made["alone"]
    assert made["cost"]["bits_per_byte"] == pytest.approx(made["cost"]["bits_per_byte_before"], rel=0.02)
    assert 0.5 < made["cost"]["agreement"] <= 1 and made["n_bytes"] == path.stat().st_size
    before = path.stat().st_mtime_ns
    assert export_version(serving, "v1", "gguf-q8_0") == made and path.stat().st_mtime_ns == before


def test_a_folder_and_a_file_with_all_digits_lose_nothing(serving: Ledger, tmp_path: Path) -> None:
    weights = load_model(serving.root / "models" / "sft", LanguageModel).state_dict()
    for form in ("hf", "gguf"):
        made = export_version(serving, "v1", form, tmp_path / form)
        assert made["cost"] is None
        found = (load_model(tmp_path / form) if form == "hf" else import_gguf(tmp_path / form).network()).state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
        with pytest.raises(UserError, match="exists already"):
            export_version(serving, "v1", form, tmp_path / form)


def test_what_cannot_be_exported_is_named(serving: Ledger) -> None:
    with pytest.raises(ConfigError, match="tar: expected hf, gguf, gguf-q8_0"):
        export_version(serving, "v1", "tar")
