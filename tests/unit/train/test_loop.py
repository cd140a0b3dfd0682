"""The loop divides once: however a step is cut into micro-batches, it makes the same update."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from malmoi.algorithms import pretrain, reward, sft
from malmoi.data.batch import Tokens, pad, shift
from malmoi.data.comparisons import Ranking, collate_rankings
from malmoi.errors import DivergedError
from malmoi.model.config import ModelConfig
from malmoi.model.scalar_model import ScalarModel
from malmoi.model.transformer import LanguageModel
from malmoi.train.job import Job
from malmoi.train.loop import LoopConfig, Step, fit, wait_s
from malmoi.train.optim import OptimConfig

pytestmark = pytest.mark.usefixtures("float32")
# Adam divides by the gradient's own size, which makes rounding errors of tiny gradients large; this eps does not.
LOOP = LoopConfig(optim=OptimConfig(lr=0.1, eps=0.1, max_grad_norm=0.5))
SPLITS = [[8], [1, 7], [5, 3], [2, 2, 4], [1] * 8]


class Given:
    """A stream of steps that are there already."""

    def __init__(self, steps: Sequence[Sequence[Any]]) -> None:
        self.steps = steps

    def __iter__(self) -> Iterator[Sequence[Any]]:
        return iter(self.steps)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def numbers(n: int, seed: int) -> list[int]:
    return torch.randint(1, 200, (n,), generator=torch.Generator().manual_seed(seed)).tolist()


def windows(rows: range) -> Tokens:
    ids = torch.tensor([numbers(20, row) for row in rows])
    return shift(ids, torch.ones_like(ids, dtype=torch.bool))


def chats(rows: range) -> Tokens:
    """Row r has r + 2 tokens, and all but its first are trained on."""
    ids, lengths = pad([numbers(row + 2, row) for row in rows], 0)
    position = torch.arange(ids.shape[1])
    return shift(ids, (position > 0) & (position < lengths[:, None]))


def rankings(rows: range) -> Any:
    """Row r has two to five answers of unlike lengths, some of them tied."""
    made = []
    for row in rows:
        k = 2 + row % 4
        answers = [numbers(1 + (row + i) % 5, 10 * row + i) for i in range(k)]
        made.append(Ranking(answers, [1 + i // 2 for i in range(k)]))
    return collate_rankings(made, 0)


CASES: dict[str, tuple[Any, Callable[[range], Any], Callable[..., Any]]] = {
    "pretrain": (LanguageModel, windows, pretrain.loss),
    "sft": (LanguageModel, chats, sft.loss),
    "reward": (ScalarModel, rankings, reward.loss),
}


def after_one_update(case: str, shape: ModelConfig, split: list[int]) -> tuple[dict[str, Tensor], Step]:
    kind, collate, loss = CASES[case]
    torch.manual_seed(0)
    model = kind(shape)
    ends = torch.tensor(split).cumsum(0).tolist()
    micros = [collate(range(end - n, end)) for n, end in zip(split, ends, strict=True)]
    seen: list[Step] = []
    fit(Job(model, Given([micros]), loss, n_steps=1), LOOP, [seen.append])
    return dict(model.state_dict()), seen[0]


@pytest.mark.parametrize("case", CASES)
def test_an_update_does_not_depend_on_the_micro_batches(case: str, shape: ModelConfig) -> None:
    expected, whole = after_one_update(case, shape, SPLITS[0])
    torch.manual_seed(0)
    assert any(not torch.equal(t, expected[name]) for name, t in CASES[case][0](shape).state_dict().items())
    for split in SPLITS[1:]:
        found, step = after_one_update(case, shape, split)
        for name, tensor in found.items():
            torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=0, msg=f"{split}: {name}")
        assert step.count == whole.count
        assert step.metrics == pytest.approx(whole.metrics, rel=1e-5)


def test_the_loss_that_is_reported_is_the_mean_over_trained_tokens(shape: ModelConfig) -> None:
    _, step = after_one_update("sft", shape, [3, 5])
    torch.manual_seed(0)
    model, batch = LanguageModel(shape), chats(range(8))
    expected = nn.functional.cross_entropy(model(batch.ids)[batch.mask], batch.targets[batch.mask])
    assert step.metrics["loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert step.count == sum(row + 1 for row in range(8))


class Line(nn.Module):
    """One weight whose gradient is the batch itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))


class Slope:
    """A batch of `count` examples whose losses have this slope each."""

    def __init__(self, slope: float, count: int = 1) -> None:
        self.slope, self.count = slope, count

    def to(self, device: torch.device) -> "Slope":
        return self


def slope_loss(model: Line, batch: Slope) -> tuple[Tensor, dict[str, Tensor]]:
    return batch.slope * batch.count * model.weight.sum(), {}


def test_gradients_are_clipped_by_their_norm_and_the_norm_before_is_reported() -> None:
    seen: list[Step] = []
    steps = Given([[Slope(6.0, 2), Slope(2.0, 2)], [Slope(0.1)]])
    fit(Job(Line(), steps, slope_loss, n_steps=2), LoopConfig(), [seen.append])
    assert [step.metrics["grad_norm"] for step in seen] == pytest.approx([4.0, 0.1])


def test_averaged_weights_follow_slowly() -> None:
    model, slow = Line(), Line().requires_grad_(False)
    path = []
    loop = LoopConfig(optim=OptimConfig(lr=0.1, decay="constant"))
    steps = Given([[Slope(1.0)]] * 3)
    fit(Job(model, steps, slope_loss, 3, slow, 0.9), loop, [lambda step: path.append(model.weight.item())])
    expected = 1.0
    for weight in path:
        expected = 0.9 * expected + 0.1 * weight
    assert path == sorted(path, reverse=True) and slow.weight.item() == pytest.approx(expected)


@pytest.mark.parametrize("slope", [float("nan"), float("inf")])
def test_what_is_not_finite_stops_the_run_and_moves_nothing(slope: float) -> None:
    model, seen = Line(), list[float]()
    job = Job(model, Given([[Slope(1.0)], [Slope(slope)], [Slope(1.0)]]), slope_loss, n_steps=3)
    with pytest.raises(DivergedError, match=r"step 2: the loss of micro-batch 1 of 1 is not finite; lower optim\.lr"):
        fit(job, LoopConfig(), [lambda step: seen.append(model.weight.item())])
    assert len(seen) == 1 and model.weight.item() == seen[0] and model.weight.grad is None


def test_the_micro_batch_that_is_not_finite_is_named_and_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    good, bad = [Slope(1.0)] * 3, [Slope(1.0), Slope(float("nan")), Slope(1.0)]
    loop = LoopConfig(checkpoint_every_s=0)
    with pytest.raises(DivergedError, match=r"step 3: the loss of micro-batch 2 of 3 .* the last checkpoint"):
        fit(Job(Line(), Given([good, good, bad]), slope_loss, n_steps=4), loop, resume_from=tmp_path / "checkpoint")
    model, seen = Line(), list[int]()
    fit(Job(model, Given([good, good]), slope_loss, n_steps=4), loop, [lambda step: seen.append(step.step)],
        tmp_path / "checkpoint")  # fmt: skip
    assert seen == [3, 4] and 0 < model.weight.item() < 1


def test_a_gradient_without_bounds_is_named() -> None:
    def root(model: Line, batch: Slope) -> tuple[Tensor, dict[str, Tensor]]:
        return (model.weight - 1).sqrt().sum(), {}

    with pytest.raises(DivergedError, match="step 1: the gradient is not finite"):
        fit(Job(Line(), Given([[Slope(1.0)]]), root, n_steps=1), LoopConfig())


def test_weights_that_are_not_finite_are_never_a_checkpoint(tmp_path: Path) -> None:
    loop = LoopConfig(checkpoint_every_s=0, optim=OptimConfig(lr=1e39, decay="constant"))
    with pytest.raises(DivergedError, match="step 1: the update made weights that are not finite"):
        fit(Job(Line(), Given([[Slope(1.0)]]), slope_loss, n_steps=1), loop, resume_from=tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_checkpoints_take_a_twentieth_of_the_time_at_most() -> None:
    assert wait_s(20.0, 0.5) == 20.0
    assert wait_s(20.0, 12.0) == 240.0
    assert wait_s(0.0, 12.0) == 0.0


def test_a_stream_that_ends_early_ends_the_run() -> None:
    seen: list[Step] = []
    fit(Job(Line(), Given([[Slope(1.0)]] * 2), slope_loss, n_steps=5), LoopConfig(), [seen.append])
    assert [step.step for step in seen] == [1, 2]
