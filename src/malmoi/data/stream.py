"""Shuffled passes over rows. The batch of step s depends only on the seed and s, so a resumed run only needs s."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Collate = Callable[[int, np.ndarray], Sequence[Any]]


class Shuffled:
    """Optimizer steps of `batch_size` rows out of `n_rows`, reshuffled each pass.

    collate(epoch, rows) makes the micro-batches of one step. rows (batch_size,) may span two passes; `epoch` is that of
    the first row.
    """

    def __init__(self, n_rows: int, batch_size: int, seed: int, collate: Collate) -> None:
        self.n_rows, self.batch_size, self.seed, self.collate = n_rows, batch_size, seed, collate
        self.step = 0

    def __iter__(self) -> Iterator[Sequence[Any]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        while True:
            rows = []
            for position in range(self.step * self.batch_size, (self.step + 1) * self.batch_size):
                if position // self.n_rows != epoch:
                    epoch = position // self.n_rows
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.n_rows)
                rows.append(order[position % self.n_rows])
            first_epoch = self.step * self.batch_size // self.n_rows
            # Counted before the yield: the loop saves the state after it has taken the step.
            self.step += 1
            yield self.collate(first_epoch, np.array(rows))

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = int(state["step"])
