"""Three classic problems that a network solves only by remembering over a lag (Hochreiter and Schmidhuber, 1997)."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import DTypeLike

from ...core.arguments import LARGEST, Range, Seeding, Size, checked
from ...core.tensor import Array
from .model import SequenceModel
from .task import Batch, Task

TEST_SIZE = 1000


class Synthetic(Task):
    """A problem of sequences made from a generator; `lag` sets how far apart cause and effect are."""

    @checked
    def __init__(
        self,
        lag: Annotated[int, Range(10, LARGEST + 1)],
        batch: Size,
        seed: Seeding,
        dtype: DTypeLike,
        k2: Size | None = None,
    ) -> None:
        super().__init__(batch, seed, dtype, k2)
        self.lag = lag

    def sequences(self, n: int, rng: np.random.Generator) -> Batch:
        """n sequences with their targets."""
        raise NotImplementedError

    def batch(self, step: int) -> Batch:
        return self.sequences(self.batch_size, self.rng(step))

    def test_set(self) -> Batch:
        return self.sequences(TEST_SIZE, self.rng(0, test=True))


class Adding(Synthetic):
    """Each step shows a number in [0, 1) and a mark; the target is the sum of the two marked numbers.

    One mark lies in the first half of the `lag` steps, one in the second. Always answering 1 has a
    mean squared error of 1/6.
    """

    metric = "mean squared error"
    classes_out = False
    inputs, outputs = 2, 1

    def sequences(self, n: int, rng: np.random.Generator) -> Batch:
        T, rows = self.lag, np.arange(n)
        x = np.zeros((T, n, 2), self.dtype)
        x[:, :, 0] = rng.random((T, n))
        first, second = rng.integers(0, T // 2, n), rng.integers(T // 2, T, n)
        x[first, rows, 1] = x[second, rows, 1] = 1
        return x, (x[first, rows, 0] + x[second, rows, 0])[:, None]


class Copying(Synthetic):
    """Ten symbols, then `lag` blanks, then a signal upon which the symbols are to be repeated in order."""

    metric = "accuracy on the copied symbols"
    higher_is_better = True
    last = False
    symbols, length = 8, 10
    inputs = outputs = symbols + 2  # and blank, and the signal

    def sequences(self, n: int, rng: np.random.Generator) -> Batch:
        blank, signal = self.symbols, self.symbols + 1
        T = self.lag + 2 * self.length
        shown = rng.integers(0, self.symbols, (self.length, n))
        classes, target = np.full((T, n), blank), np.full((T, n), blank)
        classes[: self.length], target[-self.length :] = shown, shown
        classes[-self.length - 1] = signal
        return np.eye(self.inputs, dtype=self.dtype)[classes], target

    def answers(self, model: SequenceModel) -> tuple[Array, Array]:
        right, said = super().answers(model)
        return right[-self.length :].T, said[-self.length :].T


class TemporalOrder(Synthetic):
    """Two signals, each X or Y, among distractors; the class is their order: XX, XY, YX or YY.

    The first comes at 10 to 20 %, the second at 50 to 60 % of the `lag` steps.
    """

    metric = "accuracy"
    higher_is_better = True
    inputs, outputs = 6, 4  # X, Y and four distractors

    def sequences(self, n: int, rng: np.random.Generator) -> Batch:
        T, rows = self.lag, np.arange(n)
        classes = rng.integers(2, 6, (T, n))
        first, second = rng.integers(0, 2, n), rng.integers(0, 2, n)
        classes[rng.integers(T // 10, 2 * T // 10, n), rows] = first
        classes[rng.integers(5 * T // 10, 6 * T // 10, n), rows] = second
        return np.eye(self.inputs, dtype=self.dtype)[classes], 2 * first + second


__all__ = ["Adding", "Copying", "Synthetic", "TemporalOrder"]
