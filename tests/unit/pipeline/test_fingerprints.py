"""Work that an earlier version has done is found: its fingerprints, as that version computed them."""

from typing import Any

import pytest

from malmoi.pipeline.run import Identity
from malmoi.stage import InputsByRole
from malmoi.stages import find_stage

RECIPE: dict[str, Any] = {
    "pretrain": {
        "n_steps": 3,
        "model": {
            "n_layer": 1, "n_embd": 8, "n_head": 1, "n_kv_head": 1, "head_dim": 8, "n_ff": 8, "seq_len": 8,
            "vocab_size": 300,
        },
    },
    "sft": {"n_steps": 3}, "reward": {"n_steps": 3}, "judge": {"n_steps": 4, "depth": 0.5},
    "ppo": {"n_iterations": 2, "preset": "instructgpt", "ptx_coef": 1.0}, "dpo": {"n_steps": 3},
    "kto": {"n_steps": 3},
    "grpo": {"n_iterations": 2},
}  # fmt: skip
FINGERPRINTS: dict[str, str] = {
    "pretrain": "85675e61fecf29922154bd5df2c7256255c83f79ffe44f49e85e02516509def8",
    "sft": "fa6fdf480d0b257f79db605023363b711d69f19386223c54368963e5ed393a48",
    "reward": "e194c2e25e92748e8c58328461cd64184ba75a67e89a157e6a81e449c902da84",
    "judge": "be40f18932d01e880b5729bf02ed52f5d55618a0d6f29779bde7d0b6aba9f7d1",
    "ppo": "8a1f860e0287f4094e6dd550f2abb5d376f61368472351a5a2394f8139a3a77f",
    "dpo": "bf988be35d7a73a96a7274c9f5ac690741d65cb235251cdd03f0163f52756394",
    "kto": "cb7ce6fc050b9514c85892d0e9ace934acd88e72e881a9bed4b1db3203f78710",
    "grpo": "db7989f3bf303b857cca074506508b96f81ce3d8c8ab4f19ef304a6fa5193f07",
}


@pytest.mark.parametrize("stage", FINGERPRINTS)
def test_a_stage_of_an_earlier_version_is_the_same_work(stage: str) -> None:
    settings = find_stage(stage).Settings.model_validate(RECIPE[stage]).model_dump(mode="json")
    assert Identity(settings, {"sft": "a"}, {}, {}, InputsByRole()).fingerprint(stage) == FINGERPRINTS[stage]
