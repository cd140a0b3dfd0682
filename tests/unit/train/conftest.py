"""Jobs of every algorithm, small enough to train many times over."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from malmoi.algorithms import (
    autoencoder,
    clip,
    consistency,
    denoiser,
    dpo,
    gan,
    grpo,
    kto,
    picture_lora,
    ppo,
    pretrain,
    reward,
    sft,
    vae,
)
from malmoi.data.pictures import TRAIN, write_pictures
from malmoi.files import write_jsonl
from malmoi.formats.own_pictures import load_tower, save_clip, save_own
from malmoi.image.dit import Denoiser, DenoiserConfig
from malmoi.image.model import PictureModel
from malmoi.image.schedule import Process
from malmoi.image.towers import Clip, ClipConfig
from malmoi.model.config import ModelConfig
from malmoi.tokenizer.bpe import train_bpe
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig
from malmoi.train.optim import OptimConfig
from tests.tiny_pictures import write_tiny_pictures

Jobs = dict[str, Callable[[], tuple[Job, LoopConfig]]]
ALGORITHMS: dict[str, Any] = {
    "pretrain": pretrain, "sft": sft, "reward": reward, "ppo": ppo, "ppo mixed": ppo, "dpo": dpo, "dpo lora": dpo,
    "grpo": grpo, "grpo lora": grpo, "sft lora": sft, "reward lora": reward, "ppo lora": ppo,
    "kto": kto, "clip": clip, "denoiser": denoiser, "consistency": consistency, "vae": vae, "gan": gan,
    "autoencoder": autoencoder, "picture_lora": picture_lora,
}  # fmt: skip
WORDS = ("cat", "dog", "mat", "log", "list", "낱말", "order")


class Given(NamedTuple):
    """What an algorithm is built of."""

    config: Any
    inputs: Any


@pytest.fixture
def given(
    tmp_path: Path, shape: ModelConfig, shards: Path, policy_folder: Path, reward_folder: Path
) -> dict[str, Given]:
    """Settings and inputs of every algorithm, over files that are there; every checkpoint is due at once."""
    chats, rankings, prompts, votes = (tmp_path / f"{n}.jsonl" for n in ("chats", "rankings", "prompts", "votes"))
    asked = [{"role": "user", "content": "What?"}]
    pairs = [(better, worse) for better in WORDS[:3] for worse in WORDS[3:5]]
    write_jsonl(chats, ({"messages": [*asked, {"role": "assistant", "content": word * 2}]} for word in WORDS))
    write_jsonl(rankings, ({"messages": asked, "answers": [*pair, "a"], "ranks": [1, 2, 2]} for pair in pairs))
    write_jsonl(prompts, ({"messages": [{"role": "user", "content": word}]} for word in WORDS))
    answers = [{"role": "assistant", "content": word} for word in WORDS]
    write_jsonl(votes, ({"messages": [*asked, said], "label": i % 3 == 0} for i, said in enumerate(answers)))
    muon, adamw = (
        LoopConfig(checkpoint_every_s=0, optim=OptimConfig.model_validate({"warmup_steps": 2, **optim}))
        for optim in ({"name": "muon", "lr": 0.02}, {"lr": 1e-2, "weight_decay": 0.1, "decay": "cosine"})
    )
    rlhf = {"policy": policy_folder, "reward_model": reward_folder, "data": prompts, "max_tokens": 4}
    tables: dict[str, dict[str, Any]] = {
        "pretrain": {"shards": shards, "model": shape, "n_steps": 5, "batch_size": 3, "loop": muon},
        "sft": {"model": policy_folder, "data": chats, "n_steps": 5, "batch_size": 3, "loop": adamw},
        "reward": {"model": policy_folder, "data": rankings, "n_steps": 5, "batch_size": 4, "loop": adamw},
        "ppo": {**rlhf, "n_iterations": 2, "batch_size": 6, "n_epochs": 2, "n_minibatches": 2, "loop": adamw},
        "ppo mixed": {
            **rlhf, "n_iterations": 3, "batch_size": 5, "n_epochs": 1, "n_minibatches": 2, "loop": muon,
            "preset": "ziegler", "kl_target": 1e-3, "average_decay": 0.9, "ptx_coef": 0.5, "ptx_shards": shards,
            "normalise_rewards": 5,
        },
        "dpo": {"policy": policy_folder, "data": rankings, "n_steps": 5, "batch_size": 4, "loop": adamw},
        "dpo lora": {
            "policy": policy_folder, "data": rankings, "n_steps": 4, "batch_size": 4, "lora": {"rank": 2},
            "loop": adamw,
        },
        "kto": {"policy": policy_folder, "data": votes, "n_steps": 5, "batch_size": 5, "loop": adamw},
        "grpo": {
            **rlhf, "n_iterations": 2, "batch_size": 6, "group_size": 3, "n_epochs": 2, "n_minibatches": 2,
            "kl_target": 1e-3, "loop": adamw,
        },
        "sft lora": {
            "model": policy_folder, "data": chats, "n_steps": 5, "batch_size": 3, "lora": {"rank": 2}, "loop": adamw,
        },
        "reward lora": {
            "model": policy_folder, "data": rankings, "n_steps": 4, "batch_size": 4, "lora": {"rank": 2}, "loop": adamw,
            "n_heads": 3,
        },
        "ppo lora": {**rlhf, "n_iterations": 4, "batch_size": 6, "n_epochs": 1, "lora": {"rank": 2}, "loop": muon},
        "grpo lora": {**rlhf, "n_iterations": 4, "batch_size": 6, "group_size": 2, "lora": {"rank": 2}, "loop": adamw},
    }  # fmt: skip
    tables = {name: {"micro_batch_size": 2, **table} for name, table in tables.items()}
    return {name: _given(ALGORITHMS[name], table) for name, table in (tables | _of_pictures(tmp_path, adamw)).items()}


def _of_pictures(folder: Path, loop: LoopConfig) -> dict[str, dict[str, Any]]:
    """Settings and inputs of what learns from pictures, over a few pictures of noise."""
    rng = np.random.default_rng(0)
    rows = [{"captions": {"en": f"a {word}", "ko": f"{word} 하나"}} for word in WORDS]
    write_pictures(folder / "pictures", TRAIN, rng.integers(0, 256, (len(rows), 16, 16, 3), dtype=np.uint8), rows)
    towers = {"vocab_size": 300, "n_embd": 16, "n_head": 2, "n_layer": 1, "channels": [8, 8]}
    of_clip = {"pictures": folder / "pictures", "model": towers, "n_steps": 4, "batch_size": 3, "loop": loop}
    tokenizer = train_bpe((text for row in rows for text in row["captions"].values()), 300)
    shape = ClipConfig.model_validate({**towers, "vocab_size": tokenizer.vocab_size})
    save_clip(folder / "clip", Clip(shape), tokenizer)
    network = {"patch": 4, "n_embd": 16, "n_head": 2, "n_layer": 1, "n_text_layer": 1, "n_local": [8, 8]}
    of_denoiser = {
        "pictures": folder / "pictures", "clip": folder / "clip", "model": network, "n_steps": 5, "batch_size": 3,
        "micro_batch_size": 2, "average_share": 0.5, "loop": loop,
    }  # fmt: skip
    config = DenoiserConfig.model_validate({**network, "n_channels": 3, "size": 16, "n_context": 32, "n_features": 8})
    about = {"en": "", "ko": "", "steps": 2, "guidance": 2.0}
    tower = load_tower(folder / "clip")
    save_own(
        folder / "pictures-model",
        PictureModel(Process("flow", "sample"), Denoiser(config), tower, None, (16, 16), 3, 16, about),
    )
    write_tiny_pictures(folder / "stable-diffusion")
    few = {
        "pictures": folder / "pictures", "model": folder / "pictures-model", "n_steps": 4, "batch_size": 3,
        "micro_batch_size": 2, "average_decay": 0.5, "loop": loop,
    }  # fmt: skip
    plain = {"pictures": folder / "pictures", "n_steps": 3, "batch_size": 3, "loop": loop}
    small = {"model": {"n_code": 4, "n_channels": 8}}
    return {
        "clip": of_clip, "denoiser": of_denoiser, "consistency": few, "vae": plain | small, "gan": plain | small,
        "autoencoder": plain | {"channels": [8, 8], "n_latent": 2},
        "picture_lora": plain | {"model": folder / "stable-diffusion", "rank": 2, "micro_batch_size": 2},
    }  # fmt: skip


def _given(algorithm: Any, table: dict[str, Any]) -> Given:
    paths = {name: table.pop(name) for name in algorithm.Inputs.model_fields if name in table}
    return Given(algorithm.Config(**table), algorithm.Inputs(**paths))


@pytest.fixture
def jobs(given: dict[str, Given]) -> Jobs:
    """Name -> a fresh job and its loop's settings."""

    def make(name: str) -> tuple[Job, LoopConfig]:
        return ALGORITHMS[name].build(*given[name]), given[name].config.loop

    return {name: partial(make, name) for name in given}
