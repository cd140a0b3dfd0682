"""The policy that is trained, and its frozen reference: the same model before training."""

from pathlib import Path

from malmoi.formats.folder import frozen, load_model
from malmoi.model.lora import LoraConfig, WithoutAdapters, add_lora
from malmoi.model.transformer import LanguageModel


def policy_and_reference(folder: Path, config: LoraConfig) -> tuple[LanguageModel, LanguageModel | WithoutAdapters]:
    """A language model to train, and its reference: the model with its adapters off, or a frozen copy where all weights
    are trained."""
    policy = load_model(folder, LanguageModel)
    if not config.rank:
        return policy, frozen(load_model(folder, LanguageModel))
    add_lora(policy, config)
    return policy, WithoutAdapters(policy)
