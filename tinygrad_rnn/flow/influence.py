"""Memory by intervention: which inputs an answer depends on, and what each speaks for, found by replacing them.

A gradient says what a small change would do. A network that has latched onto a symbol does not move under a small
change and still answers by it, so its gradient vanishes while it remembers. Here x_k of each sequence is replaced by
x_k of another one, and the answers are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..core.arguments import checked
from ..core.backprop import no_grad
from ..core.tensor import Array, raw
from ..errors import InputError
from ..escape import record

LEAST = 0.01
"""An input counts from this share of changed answers on."""

CALLS = 100
"""At most so many inputs are replaced, spread evenly over the sequence."""


@dataclass(frozen=True, eq=False)
class Influence:
    """How many answers change, and by how much, when an input some lags before them is replaced.

    `changed[i]` is the share of the answers that change with the input `lags[i]` steps before, and `moved[i]` how far
    the outputs move. An answer that is a number changes if it moves by more than a hundredth of its spread.

    Attributes:
        lags: how many steps lie between the replaced input and the answer, ascending: (L,).
        changed: the share of the answers that are another class; of answers that are numbers, that move by more than a
            hundredth of their spread: (L,).
        moved: the root mean square change of the outputs, relative to how far two sequences differ: (L,).
        counted: how many answers were compared: (L,).
        classes: whether answers are classes, the largest of several outputs, or numbers.
        per_sequence: the share of changed answers of each sequence: (L, B); nan where nothing was compared.
    """

    lags: Array
    changed: Array
    moved: Array
    counted: Array
    classes: bool
    per_sequence: Array = field(repr=False)

    @property
    def reach(self) -> int | None:
        """The largest lag at which at least 1 % of the answers change; None if there is none."""
        used = self.lags[self.changed >= LEAST]
        return int(used[-1]) if len(used) else None

    def __repr__(self) -> str:
        if self.reach is None:
            return f"less than 1% of its answers change, whichever input up to {self.lags[-1]} steps back is replaced"
        at = int(np.argmax(self.lags == self.reach))
        most = int(np.argmax(self.changed))
        words = f"its answers depend on inputs up to {self.reach} steps back"
        words += f" ({self.changed[at]:.0%} change if that one is replaced"
        words += f", {self.changed[most]:.0%} at {self.lags[most]} steps, the most)" if most != at else ")"
        return words + (
            "" if self.reach < self.lags[-1] else f", the farthest of {len(self.lags)} lags that were tried"
        )


@checked
def influence(
    predict: Callable[[Array], Any],
    xs: ArrayLike,
    lengths: ArrayLike | None = None,
    rng: np.random.Generator | int | None = 0,
) -> Influence:
    """Replace x_k of each sequence by that of another, for each k, and compare the answers.

    Args:
        predict: gives outputs for sequences such as `xs`, as an array or tensor: (B, ...) for an answer at the end of
            each sequence, (T, B, ...) for one at every step. Several outputs in the last axis are scores of classes.
            It must give the same for the same sequences: call `model.eval()` before.
        xs: (T, B, ...) sequences of the task; what replaces an input is taken from the same step of another one.
        lengths: (B,) how long each padded sequence is; by default T.
        rng: generator or seed, for the choice of the other sequence.

    Raises:
        InputError: there are fewer than two sequences or no step at all, the lengths or outputs do not fit, or
            `predict` is random.
    """
    x = np.asarray(raw(xs))
    if x.ndim < 2 or x.shape[0] < 1 or x.shape[1] < 2:
        raise InputError(f"influence: got xs of shape {x.shape}, expected (T, B, ...) with at least two sequences")
    T, B = x.shape[:2]
    n = np.full(B, T) if lengths is None else np.asarray(raw(lengths))
    if n.shape != (B,) or n.dtype.kind not in "iu" or n.min() < 1 or n.max() > T:
        raise InputError(f"influence: got lengths {n!r:.80}, expected {B} integers from 1 to {T}")
    rng = np.random.default_rng(rng)

    base = answers(predict, x, "influence")
    if not np.array_equal(base, answers(predict, x, "influence"), equal_nan=True):
        raise InputError("influence: predict gave different answers for the same sequences; call model.eval() first")
    classes = base.shape[-1] > 1
    spread = base.std(axis=1, keepdims=True)
    scale = np.sqrt(np.mean(spread**2)) * np.sqrt(2) or 1.0
    at = np.arange(T)[:, None] if len(base) == T > 1 else (n - 1)[None, :]  # the step of each answer
    compared, changed, moved = np.zeros((T, B)), np.zeros((T, B)), np.zeros((T, B))
    for k in np.unique(np.linspace(0, T - 1, min(T, CALLS)).round().astype(int)):
        donor = _donors(x[k], n > k, rng)
        if (donor < 0).all():
            continue
        swapped = x.copy()
        swapped[k] = np.where((donor >= 0).reshape(B, *[1] * (x.ndim - 2)), x[k][donor], x[k])
        y = answers(predict, swapped, "influence")
        differs = np.argmax(y, -1) != np.argmax(base, -1) if classes else np.abs(y - base)[..., 0] > LEAST * scale
        size = np.mean(np.square((y - base) / scale), -1)
        counts = (donor >= 0) & (at >= k) & (at < n)
        lag = np.broadcast_to(at - k, counts.shape)
        for values, target in ((np.ones_like(size), compared), (differs, changed), (size, moved)):
            np.add.at(target, (lag[counts], np.nonzero(counts)[1]), np.broadcast_to(values, counts.shape)[counts])
    lags = np.flatnonzero(compared.any(1))
    if not len(lags):
        raise InputError("influence: all sequences are the same, so no input can be replaced by another one")
    counted = compared[lags].sum(1)
    with np.errstate(invalid="ignore"):
        return Influence(
            lags=lags,
            changed=changed[lags].sum(1) / counted,
            moved=np.sqrt(moved[lags].sum(1) / counted),
            counted=counted.astype(int),
            classes=classes,
            per_sequence=changed[lags] / compared[lags],
        )


def answers(predict: Callable[[Array], Any], sequences: Array, caller: str) -> Array:
    """What a model says of sequences (T, B, ...): (T, B, outputs), or (1, B, outputs) at their end.

    Raises:
        InputError: it says something of another shape.
    """
    T, B = sequences.shape[:2]
    with no_grad():
        y = np.asarray(raw(predict(sequences)), np.float64)
    if y.shape[:1] != (B,) and y.shape[:2] != (T, B):
        raise InputError(f"{caller}: predict gave shape {y.shape}, expected ({B}, ...) or ({T}, {B}, ...)")
    every_step = y.shape[:2] == (T, B) and (y.ndim > 2 or T != B)
    return y.reshape(T if every_step else 1, B, -1)


def _donors(x: Array, alive: Array, rng: np.random.Generator) -> Array:
    """For each sequence another one whose input differs; -1 where there is none."""
    found = np.full(len(x), -1)
    flat = x.reshape(len(x), -1)
    for b in np.flatnonzero(alive):
        others = np.flatnonzero(alive & (flat != flat[b]).any(1))
        if len(others):
            found[b] = rng.choice(others)
    return found


# ------------------------------------------------------------------ one sequence
@dataclass(frozen=True, eq=False)
class Contributions:
    """By how much each input speaks for an answer.

    Attributes:
        values: log p(answer), or the answer where it is a number, less its mean with other inputs in this one's place:
            (T,). Above 0 the input speaks for the answer, below 0 against it.
        tokens: a text for each input.
        answer: which answer it is.
    """

    __repr__ = record

    values: Array
    tokens: list[str]
    answer: str


@checked
def contributions(
    predict: Callable[[Array], Any],
    x: ArrayLike,
    others: ArrayLike,
    tokens: Sequence[str] | None = None,
    answer: int | None = None,
    names: Sequence[str] | None = None,
) -> Contributions:
    """Replace each input of a sequence by those of others at the same step, and see what becomes of the last answer.

    Args:
        predict: as for `influence`: scores of classes, or a number, for sequences (T, B, ...); the last step counts.
        x: (T, ...) the sequence.
        others: (T, D, ...) sequences whose inputs take the place of its own, the more the better.
        tokens: a text for each input; by default its number.
        answer: the class that is asked about; by default the one with the highest score.
        names: of the classes.

    Raises:
        InputError: the shapes do not fit, or there is no such class.
    """
    own, other = np.asarray(raw(x)), np.asarray(raw(others))
    if own.ndim < 1 or other.shape[:1] + other.shape[2:] != own.shape or other.shape[1] < 1:
        raise InputError(f"contributions: got x of shape {own.shape} and others of {other.shape}, expected (T, D, ...)")
    T, D = other.shape[:2]
    labels = [str(t) for t in range(T)] if tokens is None else list(tokens)
    if len(labels) != T:
        raise InputError(f"contributions: got {len(labels)} tokens for {T} inputs")

    repeated = np.repeat(own[:, None], D, axis=1)
    base = answers(predict, repeated, "contributions")[-1]
    C = base.shape[1]
    if answer is not None and not 0 <= answer < C:
        raise InputError(f"contributions: got answer {answer}, expected 0 to {C - 1}")
    chosen = int(np.argmax(base[0])) if answer is None else answer

    def said(y: Array) -> float:
        if C == 1:
            return float(y.mean())
        top = y.max(1, keepdims=True)
        return float((y[:, chosen] - top[:, 0] - np.log(np.exp(y - top).sum(1))).mean())

    before, values = said(base), np.zeros(T)
    for k in range(T):
        changed = repeated.copy()
        changed[k] = other[k]
        values[k] = before - said(answers(predict, changed, "contributions")[-1])
    name = "the answer" if C == 1 else str(chosen) if names is None else names[chosen]
    return Contributions(values, labels, name)


__all__ = ["Contributions", "Influence", "contributions", "influence"]
