"""The policy that learns, and the reference that it is held near: the same model as it was."""

from pathlib import Path

from malmoi.formats.folder import frozen, load_model
from malmoi.model.lora import LoraConfig, WithoutAdapters, add_lora
from malmoi.model.transformer import LanguageModel


def policy_and_reference(folder: Path, config: LoraConfig) -> tuple[LanguageModel, LanguageModel | WithoutAdapters]:
    """A language model to train, and itself as it is now: with its adapters off, or, where all weights are trained, as
    a second copy."""
    policy = load_model(folder, LanguageModel)
    if not config.rank:
        return policy, frozen(load_model(folder, LanguageModel))
    add_lora(policy, config)
    return policy, WithoutAdapters(policy)
