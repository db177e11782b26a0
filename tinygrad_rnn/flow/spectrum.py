"""How a step stretches and shrinks the state: singular values of its Jacobian, and Lyapunov exponents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..core.tensor import Array, Tensor
from ..core.threads import OneThread
from ..errors import GraphError, InputError
from .credit import as_states
from .held import on_the_path
from .structure import State
from .sweep import ToStates


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The linear maps from each state to the next, for B sequences of a batch and n numbers in a state."""

    jacobians: Array
    """J_t = dh_t/dh_(t-1) for t = 2 .. T, entry [i, j] = dh_t[i] / dh_(t-1)[j]: (T - 1, B, n, n)."""
    singular_values: Array
    """Of each J_t, descending: (T - 1, B, n). The largest bounds how much one step can amplify a gradient."""
    by_lag: Array
    """Of the products J_T J_(T-1) .. over 1, 2, .. T - 1 steps, descending: (T - 1, B, n).

    Values below 1e-16 times the largest of the same product are rounding.
    """
    lyapunov: Array
    """Lyapunov exponents, descending: mean growth of the log length a step, in n directions: (B, n)."""

    @property
    def gain(self) -> float:
        """exp of the largest Lyapunov exponent, the growth a step in the long run: the geometric mean over sequences.

        Sequences in which nothing at all gets through are left out; it is 0 where that is so in all.
        """
        largest = self.lyapunov[:, 0]
        alive = largest[largest != -np.inf]
        return float(np.exp(alive.mean())) if len(alive) else 0.0

    @property
    def half_life(self) -> float:
        """Steps in which even the best kept direction shrinks to a half; inf if it does not shrink."""
        return float(np.log(0.5) / np.log(self.gain)) if 0 < self.gain < 1 else (0.0 if self.gain == 0 else np.inf)


def spectrum(states: Sequence[Tensor | Sequence[Tensor]], sequences: int = 8) -> Spectrum:
    """Step Jacobians of a recurrent network, their products and its Lyapunov exponents.

    Each Jacobian takes one backward pass a number of the state, shared by the sequences of a batch where these do
    not influence each other, which is checked.

    Args:
        states: h_t of one layer and direction, (B, H) or (H,), in the order they were computed; for an LSTM the tuples
            (h_t, c_t); what stands for a state in `diagnose` does so here.
        sequences: at most so many sequences of the batch are looked at.

    Raises:
        GraphError: fewer than two states, or a state does not lead to the next.
        InputError: the states are not of the same shape, or `sequences` is below 1.
    """
    listed = as_states(states, "spectrum")
    if len(listed) < 2:
        raise GraphError("spectrum: got one state, expected at least two, h_(t-1) and h_t")
    shapes = {tuple(tensor.shape for tensor in state) for state in listed}
    if len(shapes) == 1:
        listed = on_the_path(listed, "spectrum")
        shapes = {tuple(tensor.shape for tensor in state) for state in listed}
    if len(shapes) > 1 or any(len(shape) not in (1, 2) for shape in next(iter(shapes))):
        raise InputError(f"spectrum: got states of shapes {sorted(shapes)}, expected one shape, (B, H) or (H,)")
    if sequences < 1:
        raise InputError(f"spectrum: got sequences={sequences}, expected 1 or more")
    with np.errstate(all="ignore"), OneThread():  # many small matrices: threads would only wait for each other
        J = np.stack([_jacobian(*pair, sequences) for pair in pairwise(listed)])
        return Spectrum(J, _singular_values(J), _by_lag(J), _lyapunov(J))


def _jacobian(before: State, after: State, sequences: int) -> Array:
    """(B, n, n): a row of `after` is seeded in all sequences of the batch at once."""
    sweep = ToStates(after, [before])
    if not any(tensor.index in sweep.nodes for tensor in after):
        raise GraphError(
            f"spectrum: {before[0].describe()} does not lead to {after[0].describe()}; pass the states of one layer "
            "and direction in the order they were computed"
        )
    seeds = []
    for tensor in after:
        for i in range(_width(tensor)):
            seed = np.zeros(tensor.shape, tensor.dtype)
            seed[..., i] = 1.0
            seeds.append([(tensor, seed)])
    if _batch(before) > 1:
        _check_independence(sweep, after)
    n, blocks = len(seeds), []
    for rows, tensor in zip(sweep.gradients(seeds, until=0)[0], before, strict=True):
        block = np.zeros((n, _batch(before), _width(tensor)))
        block[rows.first : rows.end] = rows.values.reshape(-1, *block.shape[1:])
        blocks.append(block)
    return np.concatenate(blocks, axis=2).swapaxes(0, 1)[:sequences]


def _check_independence(sweep: ToStates, after: State) -> None:
    seeds = []
    for tensor in after:
        seed = np.zeros(tensor.shape, tensor.dtype)
        seed[0] = 1.0
        seeds.append((tensor, seed))
    found = sweep.gradients([seeds], until=0).get(0, [])
    if any(np.any(rows.values[:, 1:]) for rows in found):
        raise GraphError(
            f"spectrum: the sequences of a batch influence each other on the way to {after[0].describe()}, so a single "
            "sequence has no Jacobian of its own; run the network on a batch of one"
        )


def _batch(state: State) -> int:
    return state[0].shape[0] if state[0].ndim == 2 else 1


def _width(tensor: Tensor) -> int:
    return tensor.shape[-1]


def _singular_values(J: Array) -> Array:
    finite = np.all(np.isfinite(J), axis=(-1, -2))
    values = np.linalg.svd(np.where(finite[..., None, None], J, 0.0), compute_uv=False)
    return np.where(finite[..., None], values, np.nan)


def _by_lag(J: Array) -> Array:
    """Products from the last step back, rescaled on the way so that none overflows before its time."""
    product, log_scale, found = np.eye(J.shape[-1]), np.zeros((J.shape[1], 1)), []
    for step in J[::-1]:
        product = product @ step
        size = np.abs(product).max((-1, -2), keepdims=True)
        product = product / np.where(size > 0, size, 1.0)
        log_scale = log_scale + np.log(np.where(size > 0, size, 1.0))[..., 0]
        found.append(_singular_values(product) * np.exp(log_scale))
    return np.stack(found)


def _lyapunov(J: Array) -> Array:
    """By the QR method (Benettin et al. 1980): carry an orthonormal frame along, add up the logs of its stretching.

    The frame starts with the direction that the whole product stretches most, not with the first unit, so that the
    result does not depend on the order of the units.
    """
    if not np.isfinite(J).all():
        return np.full(J.shape[1:3], np.nan)
    product = np.broadcast_to(np.eye(J.shape[-1]), J.shape[1:])
    for step in J:
        product = step @ product
        size = np.abs(product).max((-1, -2), keepdims=True)
        product = product / np.where(size > 0, size, 1.0)
    _, sizes, directions = np.linalg.svd(product)
    frame = directions.swapaxes(-1, -2)
    logs = np.zeros(J.shape[1:3])
    for step in J:
        frame, R = np.linalg.qr(step @ frame)
        logs += np.log(np.abs(np.diagonal(R, axis1=-2, axis2=-1)))
    logs[sizes[:, 0] == 0] = -np.inf  # the frame is arbitrary once nothing is left of it
    return np.asarray(-np.sort(-logs / len(J), axis=-1))


__all__ = ["Spectrum", "spectrum"]
