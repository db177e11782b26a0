"""What every reference is asked, and what it answers: one sequence, its gradients, step by step. NumPy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.arguments import Positive, checked
from ..errors import DTypeError, InputError, ShapeError
from ..escape import record, short
from .losses import LOSSES, Loss

Array = NDArray[Any]
Arrays = dict[str, Array]
Params = Mapping[str, Array]
Sent = tuple[Arrays, Arrays, Arrays]


class Equations(NamedTuple):
    """What a derivation by hand says of one step; states and weights by name."""

    forward: Callable[[Array, Arrays, Params], tuple[Arrays, Arrays]]
    """(x, the states before, W) -> the states after, and what the way back needs again."""
    backward: Callable[[Array, Arrays, Arrays, Arrays, Params], Sent]
    """(x, the states before, what was kept, what comes back to the states after, W) -> dL/d the states after, dL/dW
    for the use in this step, and what goes back to the states before."""


CellName = Literal["rnn", "lstm", "gru"]
LossName = Literal["softmax_cross_entropy", "squared_error"]
Reduction = Literal["mean", "sum"]

READOUT = {"W_hy": ("H", "C"), "b_y": ("C",)}


def _stacked(rows: str) -> dict[str, tuple[str, ...]]:
    """PyTorch's layout: one matrix for all gates."""
    return {"weight_ih_l0": (rows, "I"), "weight_hh_l0": (rows, "H"), "bias_ih_l0": (rows,), "bias_hh_l0": (rows,)}


PARAMETERS: dict[str, dict[str, tuple[str, ...]]] = {
    "rnn": {"W_xh": ("I", "H"), "W_hh": ("H", "H"), "b_h": ("H",), **READOUT},
    "lstm": {**_stacked("4H"), **READOUT},
    "gru": {**_stacked("3H"), **READOUT},
}
"""The parameters of each cell with their shapes: I inputs, H hidden units, C outputs."""

STATES = {"rnn": ("h",), "lstm": ("h", "c"), "gru": ("h",)}
"""What each cell hands to the next step."""


class Window(NamedTuple):
    """Backpropagation from step `end - 1` down to `start`, for the losses of steps `first` to `end - 1`."""

    start: int
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class Problem:
    """One sequence to differentiate; every array float64 and with a batch axis."""

    cell: str
    params: Mapping[str, Array]
    xs: Array
    """Inputs (T, B, I)."""
    targets: Array
    """Class numbers (T, B), or values (T, B, C)."""
    initial: Mapping[str, Array]
    """The state before the first step, by name, each (B, H)."""
    loss: Loss
    scale: float
    """What the sum of all losses is multiplied by: 1, or one over their number."""
    windows: tuple[Window, ...]
    """One over all steps, or several when BPTT is truncated."""

    @property
    def T(self) -> int:
        """The number of time steps."""
        return len(self.xs)


@dataclass(frozen=True, eq=False)
class Gradients:
    """What a reference found for one sequence; a part that it cannot give stays empty.

    A masked entry of a masked array was not computed.
    """

    __repr__ = record

    loss: float
    parameters: dict[str, Array]
    """dL/dW of every parameter."""
    per_step: dict[str, Array] = field(default_factory=dict)
    """The contribution of each step's use of every parameter: (T, *shape); it sums to `parameters`."""
    states: dict[str, Array] = field(default_factory=dict)
    """dL/dh_t of every state: (T, B, H)."""
    initial: dict[str, Array] = field(default_factory=dict)
    """dL/dh_0 of every initial state: (B, H)."""
    final: dict[str, Array] = field(default_factory=dict)
    """The state after the last step, to carry into the next sequence: (B, H)."""


@checked
def problem(
    cell: CellName,
    params: Mapping[str, Any],
    xs: Any,
    targets: Any,
    initial: Mapping[str, Any | None],
    loss: LossName = "softmax_cross_entropy",
    reduction: Reduction = "mean",
    k1: Positive | None = None,
    k2: Positive | None = None,
) -> Problem:
    """Check the arguments that all cells share, which `bptt.rnn` explains, and bring them into one form.

    Args:
        cell: "rnn", "lstm" or "gru".
        params: the arrays of `PARAMETERS[cell]`, by name.
        initial: the initial state by name, each (B, H) or (H,); None stands for zeros.
        xs, targets, loss, reduction, k1, k2: see `bptt.rnn`.

    Raises:
        InputError: an unknown cell, loss, reduction, state or parameter name, or k1, k2 below 1, or k2 below k1.
        ShapeError: an array does not fit the others.
    """
    expected = PARAMETERS[cell]
    if set(params) != set(expected):
        missing, unknown = sorted(set(expected) - set(params)), sorted(map(short, set(params) - set(expected)))
        words = [f"without {', '.join(missing)}"] * bool(missing) + [f"with {', '.join(unknown)}"] * bool(unknown)
        raise InputError(f"bptt: got parameters {' and '.join(words)}; a {cell} has {', '.join(expected)}")
    arrays = {name: _float64(params[name], name) for name in expected}

    H, C = arrays["W_hy"].shape if arrays["W_hy"].ndim == 2 else (0, 0)
    into = arrays[next(iter(expected))]
    width = into.shape[0 if cell == "rnn" else -1] if into.ndim else 0
    sizes = {"I": width, "H": H, "C": C, "3H": 3 * H, "4H": 4 * H}
    for name, symbols in expected.items():
        shape = tuple(sizes[symbol] for symbol in symbols)
        if arrays[name].shape != shape:
            raise ShapeError(
                f"bptt: {name} has shape {arrays[name].shape}, expected ({', '.join(symbols)}) = {shape}, "
                f"with I = {width} inputs, H = {H} hidden units and C = {C} outputs"
            )
    inputs = _inputs(xs, width)
    T, B = inputs.shape[:2]
    wanted = _targets(targets, loss, (T, B, C))
    states = {}
    for name in initial.keys() - STATES[cell]:
        if initial[name] is not None:
            raise InputError(f"bptt: got {name}0, and the state of a {cell} is {' and '.join(STATES[cell])}")
    for name in STATES[cell]:
        value = initial.get(name)
        start = np.zeros((B, H)) if value is None else _float64(value, f"{name}0")
        if start.shape not in ((B, H), (H,)):
            raise ShapeError(f"bptt: {name}0 has shape {start.shape}, expected (B, H) = {(B, H)} or (H,)")
        states[name] = np.array(np.broadcast_to(start, (B, H)))
    return Problem(
        cell=cell,
        params=arrays,
        xs=inputs,
        targets=wanted,
        initial=states,
        loss=LOSSES[loss],
        scale=1.0 if reduction == "sum" else 1.0 / wanted.size,
        windows=tuple(windows(T, k1, k2)),
    )


def _array(value: Any, what: str) -> Array:
    """An array of numbers, of another framework's tensor too, as long as nothing is to be differentiated by it."""
    given = getattr(value, "data", value) if not isinstance(value, (np.ndarray, np.generic)) else value
    try:
        array = np.asarray(given)
    except (TypeError, ValueError):
        array = np.array(None)
    if array.dtype.kind not in "biuf" or isinstance(value, np.ma.MaskedArray):
        raise DTypeError(f"bptt: got {what}={short(value)}, expected an array of real numbers")
    return array


def _float64(value: Any, what: str) -> Array:
    return np.array(_array(value, what), np.float64)


def _inputs(xs: Any, width: int) -> Array:
    array = _array(xs, "xs")
    if array.dtype.kind in "iu" and array.ndim in (1, 2):
        if array.size and not (array.min() >= 0 and array.max() < width):
            raise ShapeError(
                f"bptt: the class numbers in xs run from {array.min()} to {array.max()}, expected 0 to {width - 1}"
            )
        array = np.eye(width)[array if array.ndim == 2 else array[:, None]]
    array = np.array(array, np.float64)
    array = array[:, None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[-1] != width or not array.size:
        raise ShapeError(
            f"bptt: xs has shape {np.shape(xs)}, expected (T, B, I), (T, I) or class numbers, with I = {width} inputs"
        )
    return array


def _targets(targets: Any, loss: str, shape: tuple[int, int, int]) -> Array:
    T, B, C = shape
    array = _array(targets, "targets")
    if loss == "squared_error":
        array = np.array(array, np.float64)
        array = array[:, None] if array.ndim == 2 else array
        if array.shape != shape:
            raise ShapeError(f"bptt: targets have shape {np.shape(targets)}, expected (T, B, C) = {shape}")
        return array
    array = array[:, None] if array.ndim == 1 else array
    if array.dtype.kind not in "iu" or array.shape != (T, B) or not (array.min() >= 0 and array.max() < C):
        raise ShapeError(
            f"bptt: targets have shape {np.shape(targets)} and dtype {array.dtype}, "
            f"expected class numbers 0 to {C - 1} of shape (T, B) = {(T, B)}; for values, pass loss='squared_error'"
        )
    return array


@checked
def windows(T: Positive, k1: Positive | None = None, k2: Positive | None = None) -> Sequence[Window]:
    """The stretches that truncated BPTT goes back over; without k1 and k2 one, over all T steps.

    Raises:
        InputError: k1 or k2 is not an integer of at least 1, or k2 is below k1, which would drop losses.
    """
    back = T if k2 is None else k2
    every = (T if k2 is None else k2) if k1 is None else k1
    if back < every:
        raise InputError(f"bptt: got k1={every} and k2={back}; k2 below k1 would drop losses, so choose k2 >= k1")
    ends = [*range(every, T, every), T]
    firsts = [0, *ends[:-1]]
    return [Window(max(0, first - (back - every)), first, end) for first, end in zip(firsts, ends, strict=True)]
