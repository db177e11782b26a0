"""Real sequences: handwritten digits read as sequences, and the yearly number of sunspots."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...core.tensor import Array
from ...errors import InputError
from ...train import predict
from .model import SequenceModel
from .task import Batch, Task


class Digits(Task):
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, read row by row or pixel by pixel.

    A random fifth, the same for every seed, is kept for testing.
    """

    metric = "test accuracy"
    higher_is_better = True
    outputs = 10

    def __init__(self, pixels: bool, batch: int, seed: int, dtype: DTypeLike, k2: int | None = None) -> None:
        super().__init__(batch, seed, dtype, k2)
        images, labels = _digits()
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

    def score(self, model: SequenceModel) -> float:
        x, labels = self.test
        return float(np.mean(np.argmax(predict(model, x, last=self.last), axis=-1) == labels))


class Sunspots(Task):
    """The yearly number of sunspots from 1700 on, one step ahead; the last fifth of the years is held out.

    The score is the root mean squared error in sunspots over the years held out; `details` compares it
    with always answering this year's number.
    """

    metric = "error in sunspots"
    classes_out = False
    last = False
    inputs = outputs = 1

    def __init__(self, seed: int, dtype: DTypeLike, k2: int | None = None) -> None:
        super().__init__(1, seed, dtype, k2)
        self.numbers = _sunspots()
        self.split = len(self.numbers) * 4 // 5
        known = self.numbers[: self.split]
        self.mean, self.std = float(known.mean()), float(known.std())
        self.series = ((self.numbers - self.mean) / self.std).astype(self.dtype)[:, None, None]

    def batch(self, step: int) -> Batch:
        known = self.series[: self.split]
        return known[:-1], known[1:]

    def score(self, model: SequenceModel) -> float:
        guessed = predict(model, self.series[:-1], last=self.last)[self.split - 1 :, 0, 0] * self.std + self.mean
        return float(np.sqrt(np.mean((guessed - self.numbers[self.split :]) ** 2)))

    def details(self, score: float) -> str:
        same = np.sqrt(np.mean((self.numbers[self.split - 1 : -1] - self.numbers[self.split :]) ** 2))
        return f"{self.metric} {score:.1f} (this year's number as the guess: {same:.1f})"


def _digits() -> tuple[Array, Array]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise _missing("scikit-learn") from error
    data: Any = load_digits()
    return data.images, data.target


def _sunspots() -> Array:
    try:
        from statsmodels.datasets import sunspots
    except ImportError as error:
        raise _missing("statsmodels") from error
    return np.asarray(sunspots.load_pandas().data["SUNACTIVITY"], np.float64)


def _missing(package: str) -> InputError:
    return InputError(
        f"this task's data comes with {package}, which is not installed: pip install 'tinygrad_rnn[data]'"
    )


__all__ = ["Digits", "Sunspots"]
