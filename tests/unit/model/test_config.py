"""Features of a network that cannot stand together are refused; those that can have the shapes that they say."""

import tomllib
from typing import Any

import pytest
import torch

from malmoi.config import parse
from malmoi.errors import ConfigError
from malmoi.model.config import LinearRope, Llama3Rope, ModelConfig, YarnRope
from malmoi.model.transformer import LanguageModel, initialise, rotary_tables

SIZES = {"vocab_size": 11, "n_layer": 2, "n_embd": 12, "n_head": 2, "n_kv_head": 1, "head_dim": 6, "n_ff": 10}


@pytest.mark.parametrize("norm", ["rms", "layer"])
@pytest.mark.parametrize("ff", ["swiglu", "gelu"])
@pytest.mark.parametrize("positions", ["rope", "learned"])
@pytest.mark.parametrize("given", [True, False])
def test_shapes_are_those_of_the_network(norm: Any, ff: Any, positions: Any, given: bool) -> None:
    config = ModelConfig(
        **SIZES, seq_len=7, norm=norm, ff=ff, positions=positions, qkv_bias=given, o_bias=not given, ff_bias=given,
        qk_norm=not given, tie_embeddings=given,
    )  # fmt: skip
    model = LanguageModel(config)
    assert dict(config.shapes()) == {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert config.n_parameters() == sum(p.numel() for p in model.parameters())
    initialise(model, 0)
    # A new network's blocks change nothing, whatever their features are.
    hidden = model.model(torch.arange(7)[None])
    first = model.model.embed_tokens(torch.arange(7)[None])
    if positions == "learned":
        first = first + model.model.embed_positions.weight
    torch.testing.assert_close(hidden, model.model.norm(first))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ('rope_scaling = {kind = "linear"}', "factor"),
        ('rope_scaling = {kind = "dynamic", factor = 2.0}', "does not match any of the expected tags"),
        (
            'rope_scaling = {kind = "yarn", factor = 2.0, original_seq_len = 8, low_freq_factor = 1.0}',
            "unknown setting",
        ),
        (
            'rope_scaling = {kind = "llama3", factor = 2.0, original_seq_len = 8, low_freq_factor = 4.0, '
            "high_freq_factor = 4.0}",
            "low_freq_factor 4.0 is not below high_freq_factor",
        ),
        ("no_rope_layers = [4]", "layers are numbered 0 to 3"),
        ('positions = "learned"\nno_rope_layers = [1]', "neither rope_scaling nor no_rope_layers"),
        ("seq_len = 100_000_000", "less than or equal to"),
        ("n_layer = 0", "greater than 0"),
        ("rope_theta = 1", "greater than 1"),
    ],
)
def test_features_that_cannot_be_are_refused(wrong: str, says: str) -> None:
    with pytest.raises(ConfigError, match=rf"r\.toml: .*{says}"):
        parse(ModelConfig, tomllib.loads(wrong), "r.toml")


def test_a_scaled_table_is_the_plain_one_where_frequencies_stay_and_slower_where_not() -> None:
    plain_cos, plain_sin = rotary_tables(64, 16, 100.0)
    linear = rotary_tables(64, 16, 100.0, LinearRope(factor=4.0))
    torch.testing.assert_close(linear[0][::4], plain_cos[:16])
    torch.testing.assert_close(linear[1][::4], plain_sin[:16])
    slow = {"factor": 4.0, "original_seq_len": 16}
    llama3 = rotary_tables(64, 16, 100.0, Llama3Rope(**slow, low_freq_factor=1.0, high_freq_factor=2.0))
    yarn = rotary_tables(64, 16, 100.0, YarnRope(**slow, attention_factor=2.0, beta_fast=2.0))
    for (cos, _), amplitude in ((llama3, 1), (yarn, 2)):
        torch.testing.assert_close(cos[:, 0, 0], amplitude * plain_cos[:, 0, 0])
        torch.testing.assert_close(cos[::4, 0, 7], amplitude * plain_cos[:16, 0, 7])
