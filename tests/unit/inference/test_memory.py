"""What an answer takes of memory depends on what is said, not on what the network could read."""

import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from malmoi.inference.engine import Engine
from malmoi.inference.generate import generate
from malmoi.inference.sampling import Sampling
from malmoi.inference.weights import Weights
from malmoi.model.config import ModelConfig
from malmoi.model.transformer import LanguageModel

pytestmark = pytest.mark.usefixtures("float32")
LONG = ModelConfig(
    vocab_size=300, n_layer=4, n_embd=32, n_head=8, n_kv_head=8, head_dim=128, n_ff=32, seq_len=131_072
)  # fmt: skip
HI = [72, 105]


class Peak(TorchDispatchMode):
    """The most bytes that tensors made within hold at a time: tables, keys and values, masks, scratch."""

    def __init__(self) -> None:
        super().__init__()
        self.most = self.now = 0
        self.n_views: Counter[int] = Counter()

    def __torch_dispatch__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.device.type == "cpu":
                self._follow(tensor)
        return made

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, n_bytes = storage.data_ptr(), storage.nbytes()
        if not self.n_views[place]:
            self.now += n_bytes
            self.most = max(self.most, self.now)
        self.n_views[place] += 1
        weakref.finalize(tensor, self._forget, place, n_bytes)

    def _forget(self, place: int, n_bytes: int) -> None:
        self.n_views[place] -= 1
        if not self.n_views[place]:
            self.now -= n_bytes


@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("is_native", [False, True], ids=["by PyTorch", "in C"])
def test_hi_takes_little_memory_in_a_context_of_131_072_tokens(weights: Weights, is_native: bool) -> None:
    torch.manual_seed(1)
    with Peak() as peak:
        model = LanguageModel(LONG)
        made = Engine(model, end_ids=[], weights=weights, n_rows=32)
        if not is_native:
            made.decoder = None
        said = made.submit(HI, Sampling(max_tokens=LONG.seq_len))
        while len(said.ids) < 3:
            made.step()
    assert said.finish_reason is None
    # The weights, 0.6 million, are among what is counted: as they are, and as they are read.
    assert peak.most < 40e6


def test_memory_grows_with_what_is_said() -> None:
    torch.manual_seed(1)
    with Peak() as peak:
        made = Engine(LanguageModel(LONG), end_ids=[], n_rows=32)
        said = made.submit(HI, Sampling(temperature=0, max_tokens=300))
        while said.finish_reason is None:
            made.step()
    n_rows, n_positions = made.rows.cache.capacity
    assert (n_rows, len(said.ids)) == (1, 300) and 302 <= n_positions + 1 <= 1024
    assert peak.most < 80e6


def test_many_short_answers_take_memory_for_short_answers() -> None:
    torch.manual_seed(1)
    model = LanguageModel(LONG)
    with Peak() as peak:
        generate(model, [[6 + i, 7] for i in range(8)], Sampling(max_tokens=4), end_ids=[], seeds=range(8))
    assert peak.most < 60e6


def test_what_memory_is_made_within_is_measured() -> None:
    with Peak() as peak:
        held = torch.zeros(1000)
        for _ in range(3):
            assert (held[:500] + 1).sum() == 500
        del held
    assert 6000 <= peak.most < 7000 and peak.now == 0
