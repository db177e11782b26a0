"""The table of calculus: every differentiable operation, with its rule beside it."""

from __future__ import annotations

import sys

from ..primitive import transparent
from .elementwise import (
    absolute,
    add,
    astype,
    divide,
    exp,
    log,
    maximum,
    multiply,
    negative,
    power,
    relu,
    sigmoid,
    sign,
    sqrt,
    subtract,
    tanh,
    where,
)
from .linalg import matmul
from .losses import softmax_cross_entropy, squared_error
from .reductions import max, mean, sum
from .shaping import broadcast_to, concatenate, expand_dims, getitem, reshape, stack, swapaxes, transpose

for _name in ("elementwise", "linalg", "losses", "reductions", "shaping"):
    transparent(vars(sys.modules[f"{__name__}.{_name}"]))

__all__ = [
    "absolute",
    "add",
    "astype",
    "broadcast_to",
    "concatenate",
    "divide",
    "exp",
    "expand_dims",
    "getitem",
    "log",
    "matmul",
    "max",
    "maximum",
    "mean",
    "multiply",
    "negative",
    "power",
    "relu",
    "reshape",
    "sigmoid",
    "sign",
    "softmax_cross_entropy",
    "sqrt",
    "squared_error",
    "stack",
    "subtract",
    "sum",
    "swapaxes",
    "tanh",
    "transpose",
    "where",
]
