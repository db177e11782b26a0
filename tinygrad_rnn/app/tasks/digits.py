"""Handwritten digits, read as sequences."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from ...core.arguments import Seeding, Size, checked
from .task import Batch, Task, dataset


class Digits(Task):
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, read row by row or pixel by pixel.

    A random fifth, the same for every seed, is kept for testing.
    """

    metric = "test accuracy"
    higher_is_better = True
    outputs = 10

    @checked
    def __init__(self, pixels: bool, batch: Size, seed: Seeding, dtype: DTypeLike, k2: Size | None = None) -> None:
        super().__init__(batch, seed, dtype, k2)
        data = dataset("sklearn.datasets", "scikit-learn").load_digits()
        images, labels = data.images, data.target
        self.inputs = 1 if pixels else 8
        x = (images / 16).reshape(len(images), -1, self.inputs).swapaxes(0, 1).astype(self.dtype)
        order = np.random.default_rng(0).permutation(len(labels))
        held = len(labels) // 5
        self.train, self.test = (x[:, order[held:]], labels[order[held:]]), (x[:, order[:held]], labels[order[:held]])

    def batch(self, step: int) -> Batch:
        x, labels = self.train
        per_epoch = -(-len(labels) // self.batch_size)
        epoch, i = divmod(step, per_epoch)
        rows = self.rng(epoch).permutation(len(labels))[i * self.batch_size : (i + 1) * self.batch_size]
        return x[:, rows], labels[rows]

    def test_set(self) -> Batch:
        return self.test


__all__ = ["Digits"]
