"""What a task is: batches that depend on nothing but the seed and the step, a loss, and a score."""

from __future__ import annotations

import csv
import importlib
import io
import itertools
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from ...core import arguments
from ...core.arguments import Seeding, Size, checked
from ...core.tensor import Array, Tensor
from ...errors import InputError
from ...ops import softmax_cross_entropy, squared_error
from ...train import predict
from .model import SequenceModel, run_in_windows

Batch = tuple[Array, Array]
"""Inputs (T, batch, ...) and targets."""


class Task:
    """Base of the tasks: override `batch` and `test_set`, and what else differs.

    Batch number `step` is a function of the seed and the step, so a resumed run reads the same data.

    Attributes:
        metric: what `score` returns, in words.
        higher_is_better: whether a larger score is better.
        inputs, outputs: sizes of a step of x and y for `SequenceModel`.
        classes_in: whether x holds class numbers, which need an embedding.
        classes_out: whether the targets are class numbers, scored by cross-entropy, or numbers.
        last: whether there is one target per sequence, at its end, or one per step.
    """

    metric: ClassVar[str]
    higher_is_better: ClassVar[bool] = False
    classes_in: ClassVar[bool] = False
    classes_out: ClassVar[bool] = True
    last: ClassVar[bool] = True
    inputs: int
    outputs: int

    @checked
    def __init__(self, batch: Size, seed: Seeding, dtype: DTypeLike, k2: Size | None = None) -> None:
        self.batch_size, self.seed, self.k2 = batch, seed, k2
        self.dtype = arguments.dtype(dtype, type(self).__name__)

    def rng(self, step: int, test: bool = False) -> np.random.Generator:
        """The generator of one batch, or of the test set."""
        return np.random.default_rng([self.seed, step, int(test)])

    def batch(self, step: int) -> Batch:
        """Batch number `step` of the training data."""
        raise NotImplementedError

    def test_set(self) -> Batch:
        """Sequences that no training batch holds."""
        raise NotImplementedError

    def answers(self, model: SequenceModel) -> tuple[Array, Array]:
        """For each sequence of the test set what is right, and what the model says: (N, ...)."""
        x, target = self.test_set()
        said = predict(model, x, last=self.last)
        return target, np.argmax(said, axis=-1) if self.classes_out else said

    def score(self, model: SequenceModel) -> float:
        """How well the model does on data that it was not trained on."""
        right, said = self.answers(model)
        return float(np.mean(said == right) if self.classes_out else np.mean((said - right) ** 2))

    def table(self, model: SequenceModel, rows: int) -> str:
        """Some answers beside what is right, as CSV."""
        right, said = self.answers(model)
        return as_csv(("sequence", "right", "model"), zip(itertools.count(), _words(right[:rows]), _words(said[:rows])))

    def about(self) -> str:
        """What is read, where that is not plain."""
        return ""

    def details(self, score: float) -> str:
        """The score in words."""
        return f"{self.metric} {score:.4f}"

    def error(self, y: Tensor, target: Any) -> Tensor:
        """The mean loss of outputs y."""
        return softmax_cross_entropy(y, target) if self.classes_out else squared_error(y, target)

    def objective(self, model: SequenceModel, x: Any, target: Any) -> Any:
        """The loss of a batch."""
        return self.error(run_in_windows(model, x, self.k2, self.last), target)

    carries: Callable[[int], bool] | None = None
    """For a task whose `objective` takes a state too and gives (loss, state): whether a batch goes on with the last."""

    def axes(self) -> tuple[int, int]:
        """Along which axes the sequences of a batch's inputs and targets lie."""
        return (1, 0) if self.last else (1, 1)

    def record(self) -> dict[str, Any]:
        """What a checkpoint must remember of the data, to build the model and to refuse other data."""
        return {}

    def check_record(self, record: dict[str, Any], text: str | None) -> None:
        """Refuse other data than what a checkpoint remembers.

        Args:
            record: from the checkpoint.
            text: where this task's text was read, for the message.

        Raises:
            InputError: this is other data.
        """
        if record != self.record():
            raise InputError(f"{text or 'the data'} is not the text that this run began with; restore it")


def dataset(module: str, package: str) -> Any:
    """A module of an optional package that carries data.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"this task's data comes with {package}, which is not installed: pip install 'tinygrad_rnn[data]'"
        ) from error


def as_csv(names: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table with a row of names."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(itertools.chain([names], rows))
    return text.getvalue()


def _words(rows: Array) -> list[str]:
    """The numbers of each row."""
    return [" ".join(f"{number:.6g}" for number in np.ravel(row)) for row in rows]


__all__ = ["Batch", "Task", "as_csv", "dataset"]
