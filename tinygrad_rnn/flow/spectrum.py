"""How a step stretches and shrinks the state: singular values of its Jacobian, and Lyapunov exponents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..core.arguments import Positive, checked
from ..core.cached import cached
from ..core.tensor import Array, Tensor
from ..core.threads import OneThread
from ..errors import GraphError, InputError
from ..escape import xml
from .credit import as_states
from .held import on_the_path
from .layout import Layout, jacobian
from .structure import State
from .sweep import ToStates

LARGEST = 2048
"""A state of more numbers than this, with its past where the network is of higher order, has no Jacobian here."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The linear maps from each state to the next, for B sequences of a batch and n numbers in a state.

    The numbers below are computed when first asked for.

    Attributes:
        jacobians: J_t = dh_t/dh_(t-1) for t = d .. T - 1, entry [i, j] = dh_t[i] / dh_(t-1)[j]: (T - d, B, n, n). Where
            h_t is made from the states up to h_(t-d), d > 1, the state is (h_t, ..., h_(t-d+1)), n times d numbers (the
            companion system).
        order: d: how many states back a state is made from, directly.
        computed: in which of the steps each sequence was computed, and not kept by a mask as in padding, which counts
            as none: (T - d, B).
    """

    jacobians: Array = field(repr=False)
    order: int
    computed: Array = field(repr=False)

    @cached
    def singular_values(self) -> Array:
        """Of each J_t, descending: (T - d, B, n). The largest bounds how much one step can amplify a gradient."""
        return _singular_values(self.jacobians)

    @cached
    def by_lag(self) -> Array:
        """Of the products J_(T-1) J_(T-2) .. over 1, 2, .. T - d steps, descending: (T - d, B, n).

        Values below 1e-16 times the largest of the same product are rounding.
        """
        with np.errstate(all="ignore"):
            found = [_singular_values(part) * np.exp(scale)[..., None] for part, scale in _products(self.jacobians)]
        return np.stack(found)

    @cached
    def lyapunov(self) -> Array:
        """Lyapunov exponents, descending: mean growth of the log length a step, in n directions: (B, n).

        Of the steps given: over T of them they are off those of the limit by about 1 / T.
        """
        with np.errstate(all="ignore"), OneThread():
            return _lyapunov(self.jacobians) * (len(self.jacobians) / self.computed.sum(0)[:, None])

    @cached
    def gain(self) -> float:
        """exp of the largest Lyapunov exponent, the growth a step in the long run: the geometric mean over sequences.

        Sequences in which nothing at all gets through are left out; it is 0 where that is so in all.
        """
        *_, (product, scale) = _products(self.jacobians)
        with np.errstate(all="ignore"):
            largest = (np.log(_singular_values(product)[:, 0]) + scale) / self.computed.sum(0)
        alive = largest[(largest != -np.inf) & self.computed.any(0)]
        return float(np.exp(alive.mean())) if len(alive) else 0.0

    @property
    def half_life(self) -> float:
        """Steps in which even the best kept direction shrinks to a half; inf if it does not shrink."""
        return float(np.log(0.5) / np.log(self.gain)) if 0 < self.gain < 1 else (0.0 if self.gain == 0 else np.inf)

    def __repr__(self) -> str:
        largest = self.singular_values[self.computed, 0]
        mean = largest.sum() / max(1, largest.size)
        half = "" if self.half_life == np.inf else f", half-life {self.half_life:.1f} steps"
        return (
            f"{len(self.jacobians)} step Jacobians of {self.jacobians.shape[-1]} numbers: growth in the long run "
            f"x{self.gain:.3g} a step{half}; largest singular value {mean:.3g} on average, at most "
            f"{largest.max(initial=0.0):.3g}"
        )

    def _repr_html_(self) -> str:
        return f'<div style="max-width:900px">{xml(str(self))}</div>'


@checked
def spectrum(states: Sequence[Tensor | Sequence[Tensor]], sequences: Positive = 8) -> Spectrum:
    """Step Jacobians of a recurrent network, their products and its Lyapunov exponents.

    Each Jacobian takes one backward pass a number of the state, shared by the sequences of a batch where these do
    not influence each other, which is checked.

    Args:
        states: h_t of one layer and direction, in the order they were computed: (B, H), (H,), (H, B) or (H, 1) where
            columns are multiplied as in W @ h; for an LSTM the tuples (h_t, c_t); what stands for a state in
            `diagnose` does so here.
        sequences: at most so many sequences of the batch are looked at.

    Raises:
        GraphError: fewer than two states; a state does not lead to the next; or more than the given states is handed
            on from step to step.
        InputError: the states are not of the same shape or too large.
    """
    listed = _of_one_shape(on_the_path(_of_one_shape(as_states(states, "spectrum")), "spectrum"))
    if len(listed) < 2:
        raise GraphError("spectrum: got one state, expected at least two, h_(t-1) and h_t")
    found = Layout(listed)
    d = found.farthest
    numbers = d * sum(tensor.size for tensor in listed[0]) // found.sequences
    if numbers > LARGEST:
        raise InputError(
            f"spectrum: a state has {numbers:,} numbers, more than {LARGEST:,}"
            + (f", as h_t is made from h_(t-{d})" if d > 1 else "")
            + ("; the sequences of the batch influence each other, so all count" if found.axis is None else "")
        )
    if len(listed) <= d:
        raise GraphError(
            f"spectrum: h_t is made from h_(t-{d}), and {len(listed)} states were given; pass more of them"
        )
    with np.errstate(all="ignore"):
        jacobians = np.stack([_jacobian(found, k, d, sequences) for k in range(d, len(listed))])
    return Spectrum(jacobians, d, found.moved[:sequences, d:].T)


def _of_one_shape(states: list[State]) -> list[State]:
    """Without the last where a part of it, such as c_T, is in no use and so no part of the graph."""
    alike = states[:-1] if len(states[-1]) < len(states[0]) else states
    shapes = {tuple(tensor.shape for tensor in state) for state in alike}
    if len(shapes) > 1:
        raise InputError(f"spectrum: got states of shapes {sorted(shapes)}, expected one shape, such as (B, H)")
    return alike


def _jacobian(layout: Layout, k: int, d: int, sequences: int) -> Array:
    """(B, n, n): a number of state `k` is seeded in all sequences of the batch at once."""
    after, before = layout.states[k], layout.states[k - d : k][::-1]
    sweep = ToStates(after, before, direct=True)
    if not sweep.nodes:
        raise GraphError(
            f"spectrum: {before[0][0].describe()} does not lead to {after[0].describe()}; pass the states of one layer "
            "and direction in the order they were computed"
        )
    _check_that_all_is_given(after, sweep)
    first = jacobian(layout, sweep, after)
    n = first.shape[1]
    shift = np.broadcast_to(np.eye(n * (d - 1), n * d), (layout.sequences, n * (d - 1), n * d))
    return np.concatenate([first, shift], axis=1)[:sequences]


def _check_that_all_is_given(after: State, sweep: ToStates) -> None:
    """Raise a GraphError if a step hands on something else than the states between them and `after`."""
    own, seen, stack = {tensor.index for tensor in after}, set(sweep.ends), list(after)
    while stack:
        for operand in stack.pop().inputs:
            if type(operand) is not Tensor or operand.index in seen or operand.index not in sweep.nodes:
                continue
            if operand.step is not None and operand.step != after[0].step and operand.index not in own:
                raise GraphError(
                    f"spectrum: {operand.describe()} is handed on to {after[0].describe()} beside the given states; "
                    "pass all that a step hands to the next, such as the tuples (h_t, c_t) of an LSTM"
                )
            seen.add(operand.index)
            stack.append(operand)


def _singular_values(J: Array) -> Array:
    finite = np.all(np.isfinite(J), axis=(-1, -2))
    with OneThread():  # many small matrices: threads would only wait for each other
        values = np.linalg.svd(np.where(finite[..., None, None], J, 0.0), compute_uv=False)
    return np.where(finite[..., None], values, np.nan)


def _products(J: Array) -> list[tuple[Array, Array]]:
    """Products from the last step back, (B, n, n), each with the log of a factor that keeps it from overflowing."""
    product, log_scale, found = np.broadcast_to(np.eye(J.shape[-1]), J.shape[1:]), np.zeros(J.shape[1]), []
    with np.errstate(all="ignore"):
        for step in J[::-1]:
            product = product @ step
            size = np.abs(product).max((-1, -2))
            usual = np.where((size > 0) & np.isfinite(size), size, 1.0)
            product, log_scale = product / usual[:, None, None], log_scale + np.log(usual)
            found.append((product, log_scale))
    return found


def _lyapunov(J: Array) -> Array:
    """By the QR method (Benettin et al. 1980): carry an orthonormal frame along, add up the logs of its stretching.

    The frame starts with the direction that the whole product stretches most, not with the first unit, so that the
    result does not depend on the order of the units.
    """
    if not np.isfinite(J).all():
        return np.full(J.shape[1:3], np.nan)
    _, sizes, directions = np.linalg.svd(_products(J)[-1][0])
    frame = directions.swapaxes(-1, -2)
    logs = np.zeros(J.shape[1:3])
    for step in J:
        frame, R = np.linalg.qr(step @ frame)
        logs += np.log(np.abs(np.diagonal(R, axis1=-2, axis2=-1)))
    logs[sizes[:, 0] == 0] = -np.inf  # the frame is arbitrary once nothing is left of it
    return np.asarray(-np.sort(-logs / len(J), axis=-1))


__all__ = ["Spectrum", "spectrum"]
