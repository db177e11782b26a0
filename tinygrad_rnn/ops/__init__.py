"""The table of calculus: every differentiable operation, with its rule beside it."""

from __future__ import annotations

from ..core.primitive import transparent
from . import (
    activations,
    comparisons,
    elementwise,
    indexing,
    linalg,
    losses,
    normalization,
    random,
    reductions,
    shaping,
)
from .activations import *
from .comparisons import *
from .elementwise import *
from .indexing import *
from .linalg import *
from .losses import *
from .normalization import *
from .random import *
from .reductions import *
from .shaping import *

__all__: list[str] = []
for _module in (
    *(elementwise, comparisons, activations, reductions, normalization),
    *(linalg, shaping, indexing, random, losses),
):
    transparent(vars(_module))
    __all__ += _module.__all__
