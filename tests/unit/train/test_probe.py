"""A probe learns from few rankings, knows what it does not know, and scores alike in every layout and as a folder."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from malmoi.algorithms import ppo, reward
from malmoi.data.comparisons import Ranking, collate_rankings, read_rankings
from malmoi.errors import CheckpointError, ConfigError, DataError
from malmoi.evals.reward_scores import followed_scores, head_scores, mean_scores
from malmoi.files import read_json, write_json, write_jsonl
from malmoi.formats.folder import load_model, load_reward_model, load_text, save_model
from malmoi.formats.inspect import kind_of
from malmoi.model.config import ModelConfig
from malmoi.model.probe import Probe, ProbeShape, answers_so_far
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.tokenizer.bpe import Tokenizer, train_bpe
from malmoi.tokenizer.chat_template import ChatTemplate
from malmoi.train.bayes import fit_kernel, fit_weights
from malmoi.train.features import Features, answer_features, layers_of
from malmoi.train.loop import Step, fit
from malmoi.train.probe import Fit, continue_probe, fit_probe
from malmoi.train.rollouts import scores_at_end

pytestmark = pytest.mark.usefixtures("float32")
ASKED = [
    Ranking([[4, 5, 6, 7, 8], [4, 5, 6, 9]], [1, 2], n_prompt=3),
    Ranking([[4, 4, 9, 9], [4, 4, 9, 5, 6, 7], [4, 4, 9, 5, 3]], [1, 2, 3], n_prompt=2),
]


@pytest.fixture
def probed(shape: ModelConfig) -> ScalarModel:
    torch.manual_seed(3)
    model = ScalarModel(shape)
    probe = Probe(ProbeShape((1, shape.n_layer), n_answer=5, n_prompt=2, n_factor=4), shape.n_embd)
    for name, tensor in probe.named_parameters():
        tensor.data.normal_(std=0.1 if name == "factor" else 1.0)
    model.take_probe(probe)
    return model


def made_up(n: int, seed: int, noise: float = 0.0) -> tuple[Features, list[list[int]]]:
    """Two answers to each of n prompts: what is preferred is a direction of the first half, turned by the prompt."""
    rng = np.random.default_rng(seed)
    answers, prompts = rng.normal(size=(2 * n, 12)), rng.normal(size=(n, 6))
    truth = answers @ np.linspace(-1, 1, 12) * np.repeat(np.where(prompts[:, 0] > 0, 1, 0.5), 2)
    truth = (truth + noise * rng.normal(size=2 * n)).reshape(n, 2)
    features = Features(answers, rng.integers(1, 20, 2 * n), prompts, np.full(n, 2), (1,))
    return features, [[1, 2] if a > b else [2, 1] for a, b in truth.tolist()]


def fitted(n: int, noise: float = 0.5) -> Fit:
    features, ranks = made_up(n, 1, noise)
    return fit_probe(features, ranks, [str(number) for number in range(n)])


def test_means_are_those_of_the_prompt_and_of_the_answer_so_far() -> None:
    batch = collate_rankings(ASKED, 0)
    x = torch.randn(*batch.ids.shape, 3, generator=torch.Generator().manual_seed(1))
    found = answers_so_far(x, batch.branches.positions, batch.branches.segments, batch.starts)
    at = 0
    for row, ranking in enumerate(ASKED):
        torch.testing.assert_close(found.prompts[row], x[row, : ranking.n_prompt].mean(0))
        for segment, ids in enumerate(ranking.ids, start=1):
            mine = (batch.branches.segments[row] == 0) | (batch.branches.segments[row] == segment)
            own = x[row][mine][ranking.n_prompt :]
            last = int(batch.last[at])
            assert found.lengths[row, last] == len(ids) - ranking.n_prompt == len(own)
            torch.testing.assert_close(found.means[row, last], own.mean(0), rtol=1e-5, atol=1e-6)
            at += 1


def test_an_answer_has_one_score_in_every_layout(probed: ScalarModel) -> None:
    together = [one[:, 0] for one in head_scores(probed, ASKED, 0)]
    for ranking, scores in zip(ASKED, together, strict=True):
        starts = torch.tensor([ranking.n_prompt])
        alone = [probed(torch.tensor([ids]), starts=starts)[0, -1].item() for ids in ranking.ids]
        assert scores.tolist() == pytest.approx(alone, rel=1e-5, abs=1e-5)
        longest = max(map(len, ranking.ids))
        ids = torch.tensor([[*one, *[0] * (longest - len(one))] for one in ranking.ids])
        mask = torch.zeros(ids.shape, dtype=torch.bool)[:, 1:]
        for row, one in enumerate(ranking.ids):
            mask[row, ranking.n_prompt - 1 : len(one) - 1] = True
        assert scores_at_end(probed, ids, mask).tolist() == pytest.approx(alone, rel=1e-5, abs=1e-5)


def test_a_probe_must_know_where_answers_begin(probed: ScalarModel) -> None:
    with pytest.raises(ValueError, match="starts"):
        probed(torch.tensor([[4, 5, 6]]))
    with pytest.raises(ValueError, match="starts"):
        mean_scores(probed, [Ranking([[4, 5, 6]], [1])], 0)


def test_a_folder_keeps_the_scores_and_drops_the_blocks_that_nothing_reads(
    tmp_path: Path, shape: ModelConfig, tokenizer: Tokenizer, template: ChatTemplate
) -> None:
    model = ScalarModel(shape)
    model.take_probe(Probe(ProbeShape((1,), 3, 2, 2), shape.n_embd))
    for tensor in model.probe.parameters():  # type: ignore[union-attr]
        tensor.data.normal_()
    model.score_bias.fill_(0.25)
    save_model(tmp_path / "m", model, tokenizer, template, {})
    assert kind_of(tmp_path / "m") == "reward"
    config = read_json(tmp_path / "m" / "config.json")
    assert (config["num_hidden_layers"], config["probe_layers"]) == (1, [1])
    assert mean_scores(load_reward_model(tmp_path / "m"), ASKED, 0) == mean_scores(model, ASKED, 0)
    with pytest.raises(CheckpointError, match="cannot write"):
        load_model(tmp_path / "m", LanguageModel)
    for layers in ([2], [1, 1], "1"):
        write_json(tmp_path / "m" / "config.json", {**config, "probe_layers": layers})
        with pytest.raises(CheckpointError, match="probe_layers"):
            load_reward_model(tmp_path / "m")


def test_features_are_those_that_the_model_reads_and_are_computed_once(
    tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = answer_features(policy_folder, ASKED, (0.5, 1), tmp_path)
    model = load_model(policy_folder, LanguageModel)
    layers = layers_of(model.config, (0.5, 1))
    model.model.read_after = layers
    states = model.model(torch.tensor([ASKED[0].ids[0]]))[0].detach().numpy()
    assert found.answers[0] == pytest.approx(np.concatenate([states[3:].mean(0), states[-1]]), abs=1e-5)
    assert found.prompts[0] == pytest.approx(states[:3].mean(0), abs=1e-5)
    assert found.lengths.tolist() == [2, 1, 2, 4, 3]
    monkeypatch.setattr("malmoi.train.features._in_files", lambda *_: pytest.fail("computed again"))
    again = answer_features(policy_folder, ASKED[::-1], (0.5, 1), tmp_path)
    assert np.array_equal(again.answers, found.take([1, 0]).answers)


def test_features_are_computed_again_when_their_file_is_damaged(tmp_path: Path, policy_folder: Path) -> None:
    found = answer_features(policy_folder, ASKED, (1,), tmp_path)
    (kept,) = tmp_path.rglob("*.npz")
    kept.write_bytes(kept.read_bytes()[:-100])
    assert np.array_equal(answer_features(policy_folder, ASKED, (1,), tmp_path).answers, found.answers)


def test_it_learns_and_the_more_the_surer() -> None:
    asked, ranks = made_up(200, 2)
    accuracies, deviations = [], []
    for n in (30, 100, 300):
        fit = fitted(n)
        gaps = [scores[0] - scores[1] for scores in fit.scores(asked)]
        accuracies.append(np.mean([(gap > 0) == (rank[0] < rank[1]) for gap, rank in zip(gaps, ranks, strict=True)]))
        deviations.append(np.mean(np.concatenate(fit.deviations(asked))) / np.std(gaps))
    assert accuracies[0] > 0.7
    assert accuracies[-1] > 0.85
    assert all(more < less for less, more in pairwise(deviations))


def test_it_is_unsure_of_answers_unlike_any_that_were_ranked() -> None:
    fit, (asked, _) = fitted(100), made_up(20, 3)
    far = Features(asked.answers * 5, asked.lengths, asked.prompts, asked.sizes, asked.layers)
    assert np.mean(np.concatenate(fit.deviations(far))) > 2 * np.mean(np.concatenate(fit.deviations(asked)))


def test_sources_that_contradict_each_other_get_their_own_parts() -> None:
    features, ranks = made_up(240, 1, noise=0.3)
    kind = np.arange(240) % 2
    prompts = features.prompts.copy()
    prompts[:, 1] += 4 * kind  # what is asked tells the source
    features = Features(features.answers, features.lengths, prompts, features.sizes, features.layers)
    ranks = [rank[::-1] if turned else rank for rank, turned in zip(ranks, kind, strict=True)]
    sources = np.array(["these", "those"])[kind].tolist()
    groups = [str(number) for number in range(240)]
    own, one = fit_probe(features, ranks, groups, sources), fit_probe(features, ranks, groups)
    assert [(found.one, found.other) for found in own.conflicts] == [("these", "those")]
    assert own.conflicts[0].accuracy < 0.4
    assert not one.conflicts
    assert own.accuracy > max(0.75, one.accuracy + 0.1)
    followed = fit_probe(features, ranks, groups, sources, follow="those").scores(features)
    right = [(scores[0] > scores[1]) == (rank[0] < rank[1]) for scores, rank in zip(followed, ranks, strict=True)]
    assert np.mean(np.array(right)[kind == 1]) > 0.8
    assert np.mean(np.array(right)[kind == 0]) < 0.3
    with pytest.raises(DataError, match="follow: 'nobody'"):
        fit_probe(features, ranks, groups, sources, follow="nobody")


def accuracy(fit: Fit, features: Features, ranks: list[list[int]]) -> float:
    scores = fit.scores(features)
    return float(np.mean([(one[0] > one[1]) == (rank[0] < rank[1]) for one, rank in zip(scores, ranks, strict=True)]))


def test_a_probe_starts_from_what_another_one_learned() -> None:
    general, (asked, ranks), (few, said) = fitted(300), made_up(300, 2), made_up(16, 5)
    groups = [str(number) for number in range(16)]
    own, continued = fit_probe(few, said, groups), continue_probe(general.probe, few, said, groups)
    assert continued.choice.start_share > 0
    assert accuracy(continued, asked, ranks) > accuracy(own, asked, ranks) + 0.05
    # Rankings that say the opposite are believed when there are enough of them.
    many, opposite = made_up(300, 6)
    turned = continue_probe(general.probe, many, [rank[::-1] for rank in opposite], [str(i) for i in range(300)])
    assert accuracy(turned, asked, ranks) < 0.3


def test_a_start_that_reads_another_network_is_refused(
    tmp_path: Path, policy_folder: Path, shape: ModelConfig, probed: ScalarModel, tokenizer: Tokenizer,
    template: ChatTemplate, reward_folder: Path,
) -> None:  # fmt: skip
    save_model(tmp_path / "other", probed, tokenizer, template, {})
    save_model(tmp_path / "words", probed, train_bpe(["another text"], vocab_size=270), template, {})
    base = load_model(policy_folder, ScalarModel)
    for folder, said in ((tmp_path / "other", "another network"), (tmp_path / "words", "another tokenizer"),
                         (reward_folder, "no probe")):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            reward.probe_to_start_from(folder, policy_folder, base)
    probe = probed.probe
    assert probe is not None
    base.take_probe(probe)
    save_model(tmp_path / "same", base, tokenizer, template, {})
    found = reward.probe_to_start_from(tmp_path / "same", policy_folder, load_model(policy_folder, ScalarModel))
    assert torch.equal(found.weights, probe.weights)


def test_caution_lowers_scores_by_deviations(probed: ScalarModel, shape: ModelConfig) -> None:
    torch.manual_seed(0)
    for model in (probed, ScalarModel(shape, n_heads=3)):
        plain = followed_scores(model, ASKED, 0)
        for ours, expected in zip(plain, mean_scores(model, ASKED, 0), strict=True):
            assert ours.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-5)
        model.caution = 2.0
        lower = followed_scores(model, ASKED, 0)
        model.caution = 1.0
        half = followed_scores(model, ASKED, 0)
        for a, b, c in zip(plain, half, lower, strict=True):
            assert (b < a).all()
            torch.testing.assert_close(torch.tensor(a - c), torch.tensor(2 * (a - b)), rtol=1e-3, atol=1e-5)


def test_kernel_and_weights_say_the_same() -> None:
    rng = np.random.default_rng(1)
    x, target, weight = rng.normal(size=(30, 8)), rng.choice([0, 0.5, 1], 30), rng.random(30)
    by_weights = fit_weights(x, target, weight)
    assert x @ by_weights.mean == pytest.approx(x @ x.T @ fit_kernel(x @ x.T, target, weight), abs=1e-4)
    wide = np.hstack([x, np.zeros((30, 40))])
    assert fit_weights(wide, target, weight).mean[:8] == pytest.approx(by_weights.mean, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda ranks: ranks[:5], "at least 10"), (lambda ranks: [[1, 1]] * 50, "prefer one answer")],
)
def test_rankings_that_say_too_little_are_refused(
    change: Callable[[list[list[int]]], list[list[int]]], said: str
) -> None:
    features, ranks = made_up(50, 1)
    ranks = change(ranks)
    with pytest.raises(DataError, match=said):
        fit_probe(features.take(range(len(ranks))), ranks, [str(i) for i in range(len(ranks))])


@pytest.mark.parametrize("value_from", ["reward_model", "policy"])
def test_ppo_follows_a_probe(
    tmp_path: Path, policy_folder: Path, probed: ScalarModel, tokenizer: Tokenizer, template: ChatTemplate,
    value_from: str,
) -> None:  # fmt: skip
    save_model(tmp_path / "reward", probed, tokenizer, template, {"caution": 1.0})
    write_jsonl(tmp_path / "prompts.jsonl", [{"messages": [{"role": "user", "content": "cat"}]}] * 3)
    config = ppo.Config.model_validate(
        {"n_iterations": 1, "batch_size": 6, "n_epochs": 1, "max_tokens": 4, "value_from": value_from,
         "lora": {"rank": 2}}
    )  # fmt: skip
    inputs = ppo.Inputs(policy=policy_folder, reward_model=tmp_path / "reward", data=tmp_path / "prompts.jsonl")
    job = ppo.build(config, inputs)
    assert job.steps.reward_model.caution == 1.0  # type: ignore[attr-defined]
    seen: list[Step] = []
    fit(job, config.loop, [seen.append])
    assert np.isfinite([seen[0].metrics["score"], seen[0].metrics["value_loss"]]).all()


def test_auto_trains_from_the_probe_and_keeps_what_is_better(
    tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(reward, "TRAINED_FROM", 40)
    rows = [
        {"messages": [{"role": "user", "content": f"cat {i}?"}], "answers": ["the mat sat", "on " * (i % 5 + 1)],
         "ranks": [1, 2]} for i in range(40)
    ]  # fmt: skip
    write_jsonl(tmp_path / "ranked.jsonl", rows)
    write_jsonl(tmp_path / "fewer.jsonl", rows[:39])
    config = reward.Config.model_validate(
        {"method": "auto", "n_steps": 4, "batch_size": 8, "lora": {"rank": 2}, "loop": {"optim": {"lr": 0.5}}}
    )
    assert reward.build(config, reward.Inputs(model=policy_folder, data=tmp_path / "fewer.jsonl")).n_steps == 0
    job = reward.build(config, reward.Inputs(model=policy_folder, data=tmp_path / "ranked.jsonl"))
    assert job.best is not None
    seen: list[Step] = []
    fit(job, config.loop, [seen.append])
    assert [step for step, _ in job.best.measured] == [0, 1, 2, 3, 4]
    assert job.best.measure() == pytest.approx(job.best.value) == pytest.approx(min(v for _, v in job.best.measured))
    assert len(seen) == 4


def test_training_with_a_probe_leaves_a_job_that_is_done(
    tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = [
        {"messages": [{"role": "user", "content": f"cat {i}?"}], "answers": ["the mat sat", "on " * (i % 5 + 1)],
         "ranks": [1, 2]} for i in range(16)
    ]  # fmt: skip
    write_jsonl(tmp_path / "ranked.jsonl", rows)
    inputs = reward.Inputs(model=policy_folder, data=tmp_path / "ranked.jsonl")
    job = reward.build(reward.Config(method="probe"), inputs)
    assert job.n_steps == 0
    assert job.about["probe"]["n_rankings"] == 16
    assert "probe of 16 rankings" in job.notes[0]
    assert isinstance(job.model, ScalarModel)
    assert job.model.probe is not None


def test_people_of_one_source_who_contradict_each_other_are_named_and_one_can_be_followed(
    tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = [
        {"messages": [{"role": "user", "content": f"cat {i}?"}], "answers": ["the mat sat", "on " * (i % 5 + 1)],
         "ranks": ranks, "person": person} for i in range(20) for person, ranks in (("ada", [1, 2]), ("ben", [2, 1]))
    ]  # fmt: skip
    path = tmp_path / "ranked.jsonl"
    write_jsonl(path, rows)
    inputs = reward.Inputs(model=policy_folder, data=path)
    (said,) = (line for line in reward.build(reward.Config(method="probe"), inputs).notes if "contradict" in line)
    assert "ada and ben" in said and "in common" in said and 'follow = "ada" or "ben"' in said
    job = reward.build(reward.Config(method="probe", follow="ben"), inputs)
    assert isinstance(job.model, ScalarModel)
    scores = mean_scores(job.model, read_rankings(path, *load_text(policy_folder), 64), 0)
    assert np.mean([one[0] < one[1] for one in scores]) > 0.9


@pytest.mark.parametrize("method", ["probe", "train"])
def test_rankings_by_one_person_are_said_to_be_hers(
    tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config, path = reward.Config.model_validate({"method": method}), tmp_path / "ranked.jsonl"

    def notes(people: Sequence[str], **more: object) -> str:
        rows = [
            {"messages": [{"role": "user", "content": f"cat {i}?"}], "answers": ["the mat", "on " * (i % 5 + 1)],
             "ranks": [1, 2], "person": people[i % len(people)], **more} for i in range(20)
        ]  # fmt: skip
        write_jsonl(path, rows)
        return "\n".join(reward.build(config, reward.Inputs(model=policy_folder, data=path)).notes)

    assert "all rankings are by one person, ada" in notes(["ada"])
    assert "one person" not in notes(["ada", "ben"]) and "one person" not in notes(["", "ada"])
    assert "one person" not in notes(["a labeler"], simulated=True)


@pytest.mark.parametrize("method", ["probe", "train"])
def test_an_answer_ranked_above_itself_is_counted_and_alone_teaches_nothing(
    tmp_path: Path, policy_folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rows = [
        {"messages": [{"role": "user", "content": f"cat {i}?"}], "answers": ["the mat", "the mat", "on " * (i % 5 + 1)],
         "ranks": [1, 3, 2]} for i in range(20)
    ]  # fmt: skip
    write_jsonl(tmp_path / "some.jsonl", rows)
    write_jsonl(tmp_path / "all.jsonl", [{**row, "answers": ["mat", "mat"], "ranks": [1, 2]} for row in rows])
    config = reward.Config.model_validate({"method": method})
    job = reward.build(config, reward.Inputs(model=policy_folder, data=tmp_path / "some.jsonl"))
    assert any("20 rankings rank an answer above the same answer" in line for line in job.notes)
    with pytest.raises(DataError, match="rank answers that differ"):
        reward.build(config, reward.Inputs(model=policy_folder, data=tmp_path / "all.jsonl"))


def test_training_refuses_a_probe_to_start_from(tmp_path: Path, policy_folder: Path) -> None:
    write_jsonl(tmp_path / "ranked.jsonl", [])
    inputs = reward.Inputs(model=policy_folder, data=tmp_path / "ranked.jsonl", start=policy_folder)
    with pytest.raises(ConfigError, match=r'start: only a probe goes on from another one; set method = "probe"'):
        reward.build(reward.Config(), inputs)
