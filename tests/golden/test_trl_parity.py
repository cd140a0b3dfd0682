"""DPO, KTO, GRPO and reward losses, and their gradients, beside TRL's own trainers on the same batch.

TRL has had no PPO since 1.0; PPO's arithmetic is held beside loops over single tokens in test_policy_maths.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from malmoi.algorithms import dpo, grpo, kto, reward
from malmoi.data.batch import pad
from malmoi.data.comparisons import Ranking, collate_rankings, ranking_steps
from malmoi.data.votes import Vote, collate_votes
from malmoi.evals.reward_accuracy import score_gaps
from malmoi.evals.reward_scores import BATCH_SIZE, mean_scores
from malmoi.formats.folder import save_model
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig, Step, fit
from malmoi.train.optim import OptimConfig
from malmoi.train.policy_maths import group_advantages
from malmoi.train.rollouts import Rollouts

trl = pytest.importorskip("trl", reason="TRL is not installed (pip install trl)", exc_type=ImportError)
datasets = pytest.importorskip("datasets", reason="TRL's datasets are not installed", exc_type=ImportError)
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
EXACT: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-5}
SHAPE: dict[str, Any] = {
    "n_layer": 2, "n_embd": 32, "n_head": 2, "n_kv_head": 1, "head_dim": 16, "n_ff": 48, "seq_len": 64,
}  # fmt: skip
PAD = 1
PROMPTS = [[10, 11, 12], [20, 21, 22, 23, 24], [30, 31]]
CHOSEN = [[40, 41, 42, 3], [50, 3], [60, 61, 62, 63, 3]]
REJECTED = [[43, 3], [51, 52, 53, 54, 3], [60, 61, 64, 3]]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No reports to services, and no graphics card."""
    for name, value in {"WANDB_DISABLED": "true", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}.items():
        monkeypatch.setenv(name, value)
    yield


def saved(folder: Path, kind: Any, tokenizer: Tokenizer, seed: int) -> tuple[Any, Any]:
    """Our network with random weights, and transformers' from its folder."""
    torch.manual_seed(seed)
    config = ModelConfig(vocab_size=tokenizer.vocab_size, **SHAPE)
    ours = kind(config)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    save_model(folder, ours, tokenizer, ChatTemplate.default(), {})
    auto = transformers.AutoModelForSequenceClassification if kind is ScalarModel else transformers.AutoModelForCausalLM
    return ours, auto.from_pretrained(folder, dtype=torch.float32)


def settings(tmp_path: Path, **given: Any) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "theirs"), "report_to": [], "use_cpu": True, "bf16": False,
        "gradient_checkpointing": False, "disable_dropout": True, "per_device_train_batch_size": 2, **given,
    }  # fmt: skip


def padded(rows: list[list[int]], left: bool = False) -> tuple[Tensor, Tensor]:
    ids, lengths = pad([row[::-1] for row in rows] if left else rows, PAD)
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    return (ids.flip(1), mask.flip(1)) if left else (ids, mask)


def same_gradients(ours: nn.Module, theirs: nn.Module) -> None:
    mine = {name: p.grad for name, p in ours.named_parameters() if p.grad is not None}
    for name, parameter in theirs.named_parameters():
        assert name in mine or parameter.grad is None or name == "lm_head.weight", name
        if name in mine:
            torch.testing.assert_close(mine[name], parameter.grad, msg=name, **EXACT)
    assert len(mine) > 10


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_dpo(tmp_path: Path, tokenizer: Tokenizer, label_smoothing: float) -> None:
    ours, theirs = saved(tmp_path / "policy", LanguageModel, tokenizer, seed=1)
    our_ref, their_ref = saved(tmp_path / "ref", LanguageModel, tokenizer, seed=2)
    rows = datasets.Dataset.from_list([{"prompt": "cat", "chosen": "mat", "rejected": "log"}] * 2)
    loss_type = "robust" if label_smoothing else "sigmoid"
    trainer = trl.DPOTrainer(
        theirs, their_ref, train_dataset=rows,
        args=trl.DPOConfig(**settings(tmp_path, beta=0.3, loss_type=loss_type, label_smoothing=label_smoothing)),
        processing_class=transformers.AutoTokenizer.from_pretrained(tmp_path / "policy"),
    )  # fmt: skip
    answers = [*CHOSEN, *REJECTED]
    ids, attention = padded([[*prompt, *answer] for prompt, answer in zip(PROMPTS * 2, answers, strict=True)])
    position = torch.arange(ids.shape[1])
    completion = attention * (position >= torch.tensor([len(prompt) for prompt in PROMPTS * 2])[:, None])
    inputs = {"input_ids": ids, "attention_mask": attention, "completion_mask": completion}
    expected = trainer._compute_loss(trainer.model, inputs, return_outputs=False)
    expected.backward()
    rankings = [
        Ranking([[*prompt, *worse], [*prompt, *better]], [2, 1])
        for prompt, better, worse in zip(PROMPTS, CHOSEN, REJECTED, strict=True)
    ]
    config = dpo.Config(n_steps=1, beta=0.3, label_smoothing=label_smoothing)
    batch = collate_rankings(rankings, PAD, n_repeated=1)
    found, metrics = dpo.loss(ours, our_ref, batch, config)
    (found / batch.count).backward()
    if label_smoothing:
        # Robust DPO is unbiased where cDPO is not: (1 - ε) L(gap) - ε L(-gap), over 1 - 2ε; written out from ours.
        gaps = implicit_gaps(ours, our_ref, batch, config)
        plain, turned = -nn.functional.logsigmoid(gaps), -nn.functional.logsigmoid(-gaps)
        e = label_smoothing
        torch.testing.assert_close((((1 - e) * plain - e * turned) / (1 - 2 * e)).mean(), expected, **EXACT)
        torch.testing.assert_close(found, ((1 - e) * plain + e * turned).sum(), **EXACT)
        return
    torch.testing.assert_close(found / batch.count, expected, **EXACT)
    same_gradients(ours, theirs)
    logged = {**trainer._metrics["train"], **trainer._metrics["eval"]}
    assert float(metrics["accuracy"]) / 3 == pytest.approx(logged["rewards/accuracies"][0], abs=1e-5)
    assert float(metrics["margin"]) / 3 == pytest.approx(logged["rewards/margins"][0], abs=1e-5)


def implicit_gaps(model: LanguageModel, ref: LanguageModel, batch: Any, config: dpo.Config) -> Tensor:
    rewards = config.beta * (dpo.answer_logps(model, batch) - dpo.answer_logps(ref, batch))
    return rewards[batch.better] - rewards[batch.worse]


def test_kto(tmp_path: Path, tokenizer: Tokenizer) -> None:
    ours, theirs = saved(tmp_path / "policy", LanguageModel, tokenizer, seed=1)
    our_ref, their_ref = saved(tmp_path / "ref", LanguageModel, tokenizer, seed=2)
    prompts, answers = PROMPTS * 2, [*CHOSEN, *REJECTED]
    liked = [True, False, True, False, False, True]
    rows = [{"prompt": "cat", "completion": word, "label": word == "mat"} for word in ("mat", "log")]
    given = {"beta": 0.3, "desirable_weight": 1.5, "undesirable_weight": 0.7}
    trainer = trl.KTOTrainer(
        theirs, their_ref, args=trl.KTOConfig(**settings(tmp_path, train_sampling_strategy="sequential", **given)),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=transformers.AutoTokenizer.from_pretrained(tmp_path / "policy"),
    )  # fmt: skip
    inputs: dict[str, Tensor] = {"label": torch.tensor(liked)}
    for prefix, completions in (("", answers), ("KL_", [answers[-1], *answers[:-1]])):
        ids, attention = padded([[*prompt, *answer] for prompt, answer in zip(prompts, completions, strict=True)])
        is_answer = torch.arange(ids.shape[1]) >= torch.tensor([len(prompt) for prompt in prompts])[:, None]
        inputs |= {f"{prefix}input_ids": ids, f"{prefix}attention_mask": attention}
        inputs[f"{prefix}completion_mask"] = attention * is_answer
    expected = trainer._compute_loss(trainer.model, inputs, return_outputs=False)
    expected.backward()
    votes = [Vote(np.array(p), np.array(a), good) for p, a, good in zip(prompts, answers, liked, strict=True)]
    batch = collate_votes(votes, PAD, SHAPE["seq_len"])
    found, metrics = kto.loss(ours, our_ref, batch, kto.Config(n_steps=1, **given))
    (found / batch.count).backward()
    torch.testing.assert_close(found / batch.count, expected, **EXACT)
    same_gradients(ours, theirs)
    logged = {**trainer._metrics["train"], **trainer._metrics["eval"]}
    assert float(metrics["kl"]) / batch.count == pytest.approx(logged["kl"][0], abs=1e-5)


@pytest.mark.parametrize(("loss_per", "loss_type"), [("answer", "grpo"), ("token", "bnpo")])
@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_grpo(tmp_path: Path, tokenizer: Tokenizer, loss_per: Any, loss_type: str, beta: float) -> None:
    ours, theirs = saved(tmp_path / "policy", LanguageModel, tokenizer, seed=1)
    old, _ = saved(tmp_path / "old", LanguageModel, tokenizer, seed=3)
    ref, _ = saved(tmp_path / "ref", LanguageModel, tokenizer, seed=2)
    args = settings(tmp_path, num_generations=2, beta=beta, epsilon=0.15, loss_type=loss_type, max_completion_length=8)
    trainer = trl.GRPOTrainer(
        theirs, reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=trl.GRPOConfig(**args), train_dataset=datasets.Dataset.from_list([{"prompt": "cat"}] * 4),
        processing_class=transformers.AutoTokenizer.from_pretrained(tmp_path / "policy"),
    )  # fmt: skip
    prompts, answers = PROMPTS * 2, [*CHOSEN, *REJECTED]
    scores = torch.tensor([1.0, -0.5, 0.3, 2.0, 0.1, -1.5])
    config = grpo.Config(
        n_iterations=1, batch_size=6, group_size=2, beta=beta, clip_eps=0.15, loss_per=loss_per, missing_eos_penalty=0
    )
    ids, _ = pad([[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)], PAD)
    position = torch.arange(ids.shape[1] - 1)
    first = torch.tensor([len(prompt) - 1 for prompt in prompts])[:, None]
    mask = (position >= first) & (position < first + torch.tensor([len(answer) for answer in answers])[:, None])
    with torch.no_grad():
        old_logps, ref_logps = (model.logps(ids[:, :-1], ids[:, 1:], mask)[0] for model in (old, ref))
    zeros = torch.zeros_like(old_logps)
    done = torch.ones(6, dtype=torch.bool)
    rollouts = Rollouts(ids, mask, old_logps, ref_logps, zeros, zeros, zeros, scores, done)
    batch = grpo.weighted(grpo.with_advantages(rollouts, config), config, beta)
    found, metrics = grpo.loss(ours, batch, config)
    (found / batch.count).backward()

    prompt_ids, prompt_mask = padded(prompts, left=True)
    answer_ids, answer_mask = padded(answers)

    def of_answers(values: Tensor) -> Tensor:
        shown = torch.zeros(answer_ids.shape)
        for row, answer in enumerate(answers):
            shown[row, : len(answer)] = values[row][mask[row]]
        return shown

    inputs = {
        "prompt_ids": prompt_ids, "prompt_mask": prompt_mask, "completion_ids": answer_ids,
        "completion_mask": answer_mask, "advantages": group_advantages(scores, 2, divide_by_std=True),
        "old_per_token_logps": of_answers(old_logps), "ref_per_token_logps": of_answers(ref_logps),
    }  # fmt: skip
    trainer.current_gradient_accumulation_steps = 1
    expected = trainer._compute_loss(trainer.model, inputs)
    expected.backward()
    torch.testing.assert_close(found / batch.count, expected, **EXACT)
    same_gradients(ours, theirs)
    assert float(metrics["clip_fraction"]) > 0  # the clip is at work


def test_reward(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """One batch to 1e-5, then twelve steps with the same optimizer and order: the same scores of unseen answers."""
    ours, theirs = saved(tmp_path / "reward", ScalarModel, tokenizer, seed=1)
    rows = datasets.Dataset.from_list([{"chosen": "mat", "rejected": "log"}] * 2)
    trainer = trl.RewardTrainer(
        theirs, train_dataset=rows, args=trl.RewardConfig(**settings(tmp_path)),
        processing_class=transformers.AutoTokenizer.from_pretrained(tmp_path / "reward"),
    )  # fmt: skip
    theirs.config.pad_token_id = PAD

    def their_loss(rankings: list[Ranking]) -> Tensor:
        ids, attention = padded([ranking.ids[i] for i in (0, 1) for ranking in rankings])
        return trainer.compute_loss(theirs, {"input_ids": ids, "attention_mask": attention})

    batch = [
        Ranking([[*prompt, *better], [*prompt, *worse]], [1, 2])
        for prompt, better, worse in zip(PROMPTS, CHOSEN, REJECTED, strict=True)
    ]
    found, _ = reward.loss(ours, collate_rankings(batch, PAD))
    expected = their_loss(batch)
    torch.testing.assert_close(found / 3, expected, **EXACT)
    (found / 3).backward()
    expected.backward()
    same_gradients(ours, theirs)
    ours.zero_grad()
    theirs.zero_grad()

    generator = torch.Generator().manual_seed(5)

    def drawn() -> Ranking:
        """The answer with the larger first token is better, one time in five not."""
        prompt, one, other = (torch.randint(10, 290, (n,), generator=generator).tolist() for n in (3, 4, 2))
        turned = torch.rand(1, generator=generator).item() < 0.2
        return Ranking([[*prompt, *one], [*prompt, *other]], [1, 2] if (one[0] > other[0]) != turned else [2, 1])

    train, heldout = [drawn() for _ in range(48)], [drawn() for _ in range(200)]
    seen: list[Step] = []
    loop = LoopConfig(optim=OptimConfig(lr=1e-3, decay="constant", beta2=0.999, max_grad_norm=1.0))
    fit(Job(ours, ranking_steps(train, PAD, 8, 8, seed=0), reward.loss, n_steps=12), loop, [seen.append])
    adam = torch.optim.AdamW(theirs.parameters(), lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0)
    order = ranking_steps(train, PAD, 8, 8, seed=0)
    order.collate = lambda _, chosen: [train[row] for row in chosen]
    for step, chosen in zip(seen, order, strict=False):
        better_first = [Ranking(r.ids if r.ranks[0] == 1 else r.ids[::-1], [1, 2]) for r in chosen]
        loss = their_loss(better_first)
        assert step.metrics["loss"] == pytest.approx(float(loss.detach()), abs=1e-4)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        adam.step()
        adam.zero_grad()
    mine = mean_scores(ours, heldout, PAD, BATCH_SIZE)
    with torch.no_grad():
        scored = [[theirs(torch.tensor([ids])).logits.item() for ids in ranking.ids] for ranking in heldout]
    torch.testing.assert_close(torch.tensor(mine), torch.tensor(scored), atol=2e-3, rtol=1e-3)
    ranks = [ranking.ranks for ranking in heldout]
    one, other = (score_gaps(scores, ranks).accuracy() for scores in (mine, scored))
    assert one.low <= other.mean <= one.high and one.mean == pytest.approx(other.mean, abs=0.011)
