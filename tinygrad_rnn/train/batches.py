"""Where batches come from: arrays, ragged or not, an iterable of batches, or a function of the update's number."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..core.arguments import Seeding, Size, checked
from ..core.backprop import no_grad
from ..core.tensor import Array, raw
from ..errors import InputError, ShapeError
from ..nn import Module
from ..ops.losses import squared_error

Batch = tuple[Any, ...]
"""What the loss function gets after the model: most often inputs (T, B, ...) and targets."""

Source = Callable[[int], Batch]
"""From the number of an update to its batch."""


class Batches:
    """Batches of given sequences; in each epoch every sequence comes once, in another order.

    Sequences of one length come as arrays with time first, batches are (x, y). Ragged ones come as lists of arrays:
    a batch is padded with zeros to its longest sequence, and batches are (x, y, lengths). The recurrent layers take
    `lengths`; a loss with an answer for each step must leave out the padded ones.

    Args:
        x: (T, N, ...), N sequences of T steps, or a list of N arrays (T_i, ...).
        y: an answer for each step, (T, N, ...) or a list of N arrays (T_i, ...); or one for each sequence, (N, ...).
            None: batches are without targets.
        size: sequences in a batch; the last one of an epoch may have fewer.
        seed: of the orders.
        shuffle: False leaves the sequences in their order.

    Raises:
        ShapeError: x and y do not fit, or there are no sequences.
    """

    @checked
    def __init__(self, x: Any, y: Any = None, *, size: Size = 32, seed: Seeding = 0, shuffle: bool = True) -> None:
        self.size, self.seed, self.shuffle = size, seed, shuffle
        self.ragged = isinstance(x, list)
        if isinstance(x, tuple) or isinstance(y, tuple):  # such as two batches, given where arrays are expected
            raise InputError("Batches: got a tuple, expected arrays, or lists of arrays if sequences differ in length")
        self.x: Any = _arrays(x)
        if not self.ragged and self.x.ndim < 2:
            raise ShapeError(f"Batches: x has shape {self.x.shape}, expected (T, N, ...), time first")
        self.n = len(self.x) if self.ragged else self.x.shape[1]
        if not self.n or (self.ragged and any(one.ndim < 1 or not len(one) for one in self.x)):
            raise ShapeError("Batches: there are no sequences in x, or one without steps; leave those out")
        self.per_step = self.ragged and isinstance(y, list) and all(np.ndim(raw(one)) for one in y)
        self.y: Any = None if y is None else _arrays(y) if self.per_step else _answers(y)
        self.axes = self._check()

    def _check(self) -> tuple[int, ...]:
        """The axes of a batch's arrays along which its sequences lie."""
        if self.y is None:
            return (1, 0) if self.ragged else (1,)
        if self.per_step:
            if [len(one) for one in self.x] != [len(one) for one in self.y]:
                raise ShapeError("Batches: the lists x and y differ in their lengths, or in those of their sequences")
            return (1, 1, 0)
        if self.ragged:
            if self.y.shape[:1] != (self.n,):
                raise ShapeError(f"Batches: y has shape {self.y.shape}, expected ({self.n}, ...) or a list of arrays")
            return (1, 0, 0)
        axes = batch_axes((self.x, self.y), "Batches")
        if axes[1] is None:
            either = f"({len(self.x)}, {self.n}, ...) or ({self.n}, ...)"
            raise ShapeError(
                f"Batches: x has shape {self.x.shape} and y {self.y.shape}, expected {either}; for answers of another "
                "length, give a function from the number of an update to its batch"
            )
        return axes  # type: ignore[return-value]

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-self.n // self.size)

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the first epoch."""
        return map(self, range(len(self)))

    def __call__(self, update: int) -> Batch:
        """The batch of an update: a function of nothing but its number and the seed."""
        epoch, i = divmod(update, len(self))
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n) if self.shuffle else np.arange(self.n)
        rows = order[i * self.size : (i + 1) * self.size]
        if not self.ragged:
            x = self.x[:, rows]
            return (x,) if self.y is None else (x, self.y[:, rows] if self.axes[1] else self.y[rows])
        lengths = np.array([len(self.x[row]) for row in rows])
        x = padded([self.x[row] for row in rows])
        if self.y is None:
            return x, lengths
        return x, padded([self.y[row] for row in rows]) if self.per_step else self.y[rows], lengths

    def weigh(self, batch: Batch) -> float:
        """What a batch's mean loss counts beside others: its steps if ragged and answered by step, else its rows."""
        return float(np.sum(batch[-1]) if self.per_step else batch[0].shape[1])


def _arrays(given: Any) -> Any:
    return [np.asarray(raw(one)) for one in given] if isinstance(given, list) else np.asarray(raw(given))


def _answers(y: Any) -> Array:
    try:
        return np.asarray(raw(y))
    except ValueError as error:
        raise ShapeError(
            "Batches: y is a list of several shapes, expected one array, or, where x is a list of arrays (T_i, ...), "
            "a list of such arrays"
        ) from error


class NoMoreBatches(Exception):  # noqa: N818 - it is no error
    """An iterable that cannot begin anew has come to its end."""


def as_batch(found: Any) -> Batch:
    """What a user gives as a batch, in which an array may stand alone."""
    return tuple(found) if isinstance(found, tuple | list) else (found,)


class Stream:
    """The batches of an iterable, one after the other; an iterable that can begin anew, as a list can, does."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.batches = batches
        self.iterator = iter(batches)
        self.count = 0
        self.last: Batch = ()

    def __call__(self, update: int) -> Batch:
        """The batch of an update; those before it are passed over.

        Raises:
            NoMoreBatches: there are no more.
            InputError: it has gone by.
        """
        if update < self.count - 1:
            raise InputError(f"batches: the batch of update {update} has gone by; give an iterable that begins anew")
        while self.count <= update:
            found = next(self.iterator, None)
            if found is None:
                self.iterator = iter(self.batches)
                found = next(self.iterator, None)
            if found is None:
                raise NoMoreBatches
            self.last = as_batch(found)
            self.count += 1
        return self.last


def source(data: Any) -> Source:
    """What gives batches, from what a user may hold.

    Args:
        data: `Batches`, or (x, y) for those; an array; an iterable of batches; or a function of the update's number.

    Raises:
        InputError: it is none of these.
    """
    if callable(data):
        return data
    if isinstance(data, tuple):
        if len(data) > 2:
            raise InputError(f"data: got a tuple of {len(data)}, expected arrays (x, y); put batches into a list")
        return Batches(*data)
    if isinstance(data, np.ndarray):
        return Batches(data)
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | dict):
        return Stream(data)
    raise InputError(
        f"data: got {type(data).__name__}, expected arrays (x, y), an iterable of batches, or a function that gives "
        "the batch of an update"
    )


def finite(data: Any) -> Iterable[Batch] | None:
    """Batches to score a model on, all of them in every evaluation; None for a function, which scores it itself."""
    if data is None or (callable(data) and not isinstance(data, Batches)):
        return None
    if isinstance(data, tuple | np.ndarray):
        return Batches(*as_batch(data), size=256, shuffle=False)
    return data if isinstance(data, Batches) else list(map(as_batch, data))


def padded(sequences: Sequence[Array]) -> Array:
    """Sequences (T_i, ...) side by side, (max T_i, B, ...), zeros after the end of each."""
    first = sequences[0]
    if len({one.shape[1:] for one in sequences}) > 1:
        raise ShapeError(f"a step of one sequence has shape {first.shape[1:]}, and of another one another shape")
    found = np.zeros((max(map(len, sequences)), len(sequences), *first.shape[1:]), np.result_type(*sequences))
    for i, one in enumerate(sequences):
        found[: len(one), i] = one
    return found


def batch_axes(batch: Batch, what: str) -> tuple[int | None, ...]:
    """Along which axis of each array the sequences of a batch lie, None where along none.

    The first array is (T, B, ...); others are (T, B, ...) too, or (B, ...).

    Raises:
        InputError: an array could be either.
    """
    T, B = np.shape(batch[0])[:2]
    axes: list[int | None] = [1]
    for array in batch[1:]:
        shape = np.shape(array)
        stepwise, rowwise = shape[:2] == (T, B), shape[:1] == (B,)
        if stepwise and rowwise and len(shape) > 1:
            raise InputError(
                f"{what}: with {T} steps of {B} sequences, an array of shape {shape} may have them along either "
                "axis; take another batch size, or give `axes`"
            )
        axes.append(1 if stepwise else 0 if rowwise else None)
    return tuple(axes)


def count_of(batch: Batch, axes: Sequence[int | None]) -> int:
    """How many sequences there are in a batch; one where its arrays have no such axis."""
    for array, axis in zip(batch, axes, strict=False):
        if axis is not None:
            return int(np.shape(array)[axis]) if axis < np.ndim(array) else 1
    return 1


def rows_of(batch: Batch, axes: Sequence[int | None], rows: slice) -> Batch:
    """Some sequences of a batch."""
    return tuple(a if axis is None else a[:, rows] if axis else a[rows] for a, axis in zip(batch, axes, strict=True))


def check_takes(loss: Callable[..., Any], count: int, before: Collection[int] = ()) -> None:
    """Whether a loss function can be called with the model and so many arguments after it.

    `before` are other numbers of arguments that data of the same trainer gave it.

    Raises:
        InputError: it cannot; or it is one like `squared_error`, which takes answers where the model would come.
    """
    if getattr(loss, "__module__", None) == squared_error.__module__:
        name = loss.__name__
        raise InputError(
            f"Trainer: got loss={name}, expected a function of the model and a batch; write "
            f"lambda model, x, y: {name}(model(x), y)"
        )
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):  # such as of a function in C
        return
    try:
        signature.bind(*[None] * (count + 1))
    except TypeError as error:
        other = ""
        if before:
            other = f"; other data gave it {max(before)}, so bring training and validation data into one form"
        raise InputError(
            f"Trainer: the loss function is called with the model and {count} more ({error}): with what a batch has, "
            "which is (x, y) for a tuple of arrays, (x, y, lengths) for a tuple of lists of arrays, x alone without y, "
            "and an element of any other data, such as a list, and with the state if there is `carry`; write a "
            f"function that takes these{other}"
        ) from error


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Without dropout in here."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@checked
def predict(model: Module, x: Any, rows: Size = 256, **options: Any) -> Any:
    """What a model answers in evaluation mode, without recording a graph.

    Args:
        model: gives its answers, or a tuple that begins with them.
        x: (T, N, ...); or a list of sequences (T_i, ...) of different lengths, each of which is then run by itself.
        rows: so many sequences are run together.
        options: passed on to the model.

    Returns:
        An array, (steps, N, ...) or (N, ...) as the model has it; for a list, a list of arrays without the batch axis.

    Raises:
        ShapeError: x has no axis of sequences, or none of them.
    """
    with evaluating(model), no_grad():
        if isinstance(x, list):
            alone = [np.asarray(one)[:, None] for one in x]
            axis = _axis(model, alone[0], options) if alone else 0
            return [np.take(_answer(model, one, options), 0, axis) for one in alone]
        array = np.asarray(raw(x))
        if array.ndim < 2 or not array.shape[1]:
            raise ShapeError(
                f"predict: x has shape {array.shape}, expected (T, N, ...), time first, with one sequence or more"
            )
        ys = [_answer(model, array[:, i : i + rows], options) for i in range(0, array.shape[1], rows)]
        if len(ys) == 1:
            return ys[0]
        return np.concatenate(ys, _axis(model, array, options))


def _axis(model: Module, x: Array, options: dict[str, Any]) -> int:
    """Along which axis of the answers the sequences lie: the one that grows with their number."""
    one, two = (_answer(model, np.repeat(x[:, :1], n, axis=1), options).shape for n in (1, 2))
    return int(one[:1] == two[:1])


def _answer(model: Module, x: Array, options: dict[str, Any]) -> Array:
    y = model(x, **options)
    return raw(y[0] if isinstance(y, tuple) else y)


__all__ = ["Batch", "Batches", "NoMoreBatches", "Source", "Stream", "as_batch", "batch_axes", "check_takes"]
__all__ += ["count_of", "evaluating", "finite", "padded", "predict", "rows_of", "source"]
