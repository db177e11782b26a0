"""What rounding may do to each gradient: the derivation by hand once more, with every sum a little off. NumPy only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .by_hand import CELLS, by_hand
from .problem import Array, Arrays, Equations, Gradients, Params, Problem, Sent

OFF = 32 * float(np.finfo(np.float64).eps)
"""By how much, relative to the sum of the absolute values of the terms; about, and at random."""


def shaken(p: Problem) -> Gradients:
    """The gradients of a problem whose losses, their derivatives and what each step sends back are all a little off.

    How far they are from those of `by_hand` is what rounding explains, also where all terms cancel.
    """
    rng, cell, loss = np.random.default_rng(0), CELLS[p.cell], p.loss

    def off(exact: Array, size: Array) -> Any:
        return exact + OFF * rng.uniform(0.5, 1.5, np.shape(exact)) * size  # one way, or it might cancel itself

    def backward(x: Array, before: Arrays, kept: Arrays, d: Arrays, W: Params) -> Sent:
        exact = cell.backward(x, before, kept, d, W)
        named = ({name: abs(array) for name, array in arrays.items()} for arrays in (before, kept, d, W))
        pairs = zip(exact, cell.backward(abs(x), *named), strict=True)
        whole, contributions, sent = ({k: off(g, size[k]) for k, g in part.items()} for part, size in pairs)
        return whole, contributions, sent

    shaky = loss._replace(
        value=lambda y, target: off(loss.value(y, target), loss.value_terms(y, target)),
        derivative=lambda y, target: off(loss.derivative(y, target), loss.derivative_terms(y, target)),
    )
    return by_hand(replace(p, loss=shaky), Equations(cell.forward, backward))
