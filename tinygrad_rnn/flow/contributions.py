"""What each input of one sequence contributed to an answer, found by putting other inputs in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..core.arguments import checked
from ..core.tensor import Array, raw
from ..errors import InputError
from ..escape import record
from .influence import answers


@dataclass(frozen=True, eq=False)
class Contributions:
    """By how much each input speaks for an answer."""

    __repr__ = record

    values: Array
    """log p(answer), or the answer where it is a number, less its mean with other inputs in this one's place: (T,).
    Above 0 the input speaks for the answer, below 0 against it."""
    tokens: list[str]
    """A text for each input."""
    answer: str
    """Which answer it is."""


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


__all__ = ["Contributions", "contributions"]
