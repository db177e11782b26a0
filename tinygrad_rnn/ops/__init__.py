"""Every operation, with its vector-Jacobian products and its traits beside it."""

from __future__ import annotations

from ..core.primitive import transparent
from . import (
    activations,
    comparisons,
    einstein,
    elementwise,
    indexing,
    joining,
    linalg,
    losses,
    matrices,
    normalization,
    norms,
    products,
    random,
    reductions,
    shaping,
    statistics,
    trigonometry,
)
from .activations import *
from .comparisons import *
from .einstein import *
from .elementwise import *
from .indexing import *
from .joining import *
from .linalg import *
from .losses import *
from .matrices import *
from .normalization import *
from .norms import *
from .products import *
from .random import *
from .reductions import *
from .shaping import *
from .statistics import *
from .trigonometry import *

_MODULES = (
    *(elementwise, trigonometry, comparisons, activations, reductions, statistics, norms, normalization),
    *(products, einstein, matrices, linalg, shaping, joining, indexing, random, losses),
)
for _module in _MODULES:
    transparent(vars(_module))

names: list[str] = [name for module in _MODULES for name in module.__all__]
"""Every operation of the table. Type checkers read only lists that are written out: the `__all__` of each module."""
