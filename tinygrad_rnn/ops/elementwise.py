"""Elementwise operations: any shapes that broadcast; the result has the broadcast shape.

In the rules `g` is the gradient of the output `y`; the engine sums it back over broadcast axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import primitive
from ..tensor import Array, registry

add = primitive(np.add, vjps=[lambda g, y, a, b: g, lambda g, y, a, b: g], doc="a + b.")

subtract = primitive(np.subtract, vjps=[lambda g, y, a, b: g, lambda g, y, a, b: -g], doc="a - b.")

multiply = primitive(np.multiply, vjps=[lambda g, y, a, b: g * b, lambda g, y, a, b: g * a], doc="a * b.")

divide = primitive(np.divide, vjps=[lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b], doc="a / b.")

negative = primitive(np.negative, vjps=[lambda g, y, x: -g], doc="-x.")

power = primitive(
    np.power,
    vjps=[
        lambda g, y, a, b: g * b * a ** np.where(b == 0, 1.0, b - 1.0),
        lambda g, y, a, b: g * y * np.log(np.where(a > 0, a, 1.0)),
    ],
    doc="a to the power b. The gradient with respect to b is 0 where a <= 0, as the logarithm is not defined there.",
)

exp = primitive(np.exp, vjps=[lambda g, y, x: g * y], doc="e to the power x.")

log = primitive(np.log, vjps=[lambda g, y, x: g / x], doc="The natural logarithm of x.")

sqrt = primitive(np.sqrt, vjps=[lambda g, y, x: g * 0.5 / y], doc="The square root of x.")

tanh = primitive(np.tanh, vjps=[lambda g, y, x: g * (1 - y * y)], doc="The hyperbolic tangent of x.")


@primitive(vjps=[lambda g, y, x: g * y * (1 - y)])
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow for any x."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


@primitive(vjps=[lambda g, y, x: g * (x > 0)])
def relu(x: Array) -> Array:
    """max(x, 0); the gradient at 0 is 0."""
    return np.maximum(x, 0)


absolute = primitive(np.absolute, vjps=[lambda g, y, x: g * np.sign(x)], name="abs", doc="|x|; the gradient at 0 is 0.")

sign = primitive(np.sign, vjps=[None], doc="-1, 0 or 1; no gradient flows.")

maximum = primitive(
    np.maximum,
    vjps=[lambda g, y, a, b: g * _share(a, b), lambda g, y, a, b: g * _share(b, a)],
    doc="The larger of a and b; equal values share the gradient evenly.",
)


def _share(a: Any, b: Any) -> Any:
    return (a > b) + 0.5 * (a == b)


@primitive(
    vjps=[None, lambda g, y, mask, a, b: np.where(mask, g, 0.0), lambda g, y, mask, a, b: np.where(mask, 0.0, g)],
    of=np.where,
)
def where(mask: Array, a: Array, b: Array) -> Array:
    """a where the mask is true, else b."""
    return np.where(mask, a, b)


@primitive(vjps=[lambda g, y, x, dtype: g], of=np.astype)
def astype(x: Array, dtype: Any) -> Array:
    """x in another dtype; its gradient comes back in x's own."""
    return np.array(x, dtype=dtype)


registry[np.abs] = absolute
