"""A recurrent network written as plain tensor operations, differentiated, drawn and questioned.

import numpy as np
import tinygrad_rnn as tg
"""

__version__ = "0.1.0"

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import nn, ops, optim
from .core.backprop import detect_anomaly, grad, no_grad
from .core.create import ones, zeros
from .core.primitive import primitive
from .core.steps import scope, steps
from .core.tensor import Tensor
from .core.traits import Traits
from .derivatives.checkpoint import checkpoint, checkpoint_steps
from .derivatives.gradcheck import gradcheck
from .derivatives.jacobian import hvp, jacobian, jvp
from .errors import DTypeError, GradientError, GraphError, InputError, ShapeError, TensorError
from .nn.truncation import truncate
from .ops.activations import *
from .ops.comparisons import *
from .ops.einstein import *
from .ops.elementwise import *
from .ops.indexing import *
from .ops.joining import *
from .ops.linalg import *
from .ops.losses import *
from .ops.matrices import *
from .ops.normalization import *
from .ops.norms import *
from .ops.products import *
from .ops.random import *
from .ops.reductions import *
from .ops.shaping import *
from .ops.statistics import *
from .ops.trigonometry import *

if TYPE_CHECKING:
    from . import bptt, train, viz
    from .compiler import compile
    from .flow.credit import credit
    from .flow.diagnose import diagnose
    from .flow.gradient_flow import gradient_flow
    from .flow.influence import influence
    from .flow.spectrum import spectrum

__all__ = [
    "DTypeError",
    "GradientError",
    "GraphError",
    "InputError",
    "ShapeError",
    "Tensor",
    "TensorError",
    "Traits",
    "bptt",
    "checkpoint",
    "checkpoint_steps",
    "compile",
    "credit",
    "detect_anomaly",
    "diagnose",
    "grad",
    "gradcheck",
    "gradient_flow",
    "hvp",
    "influence",
    "jacobian",
    "jvp",
    "nn",
    "no_grad",
    "ones",
    "optim",
    "primitive",
    "scope",
    "spectrum",
    "steps",
    "train",
    "truncate",
    "viz",
    "zeros",
    *ops.names,
]

_LATER = {
    **dict.fromkeys(("bptt", "compiler", "flow", "train", "viz"), ""),
    "compile": "compiler",
    **dict.fromkeys(("credit", "diagnose", "gradient_flow", "influence", "spectrum"), "flow"),
}
"""Rooms that are imported when they are first asked for, and the names in them: two thirds of the time of an import."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = import_module(f"{__name__}.{_LATER[name] or name}")
    globals()[name] = found = getattr(room, name) if _LATER[name] else room
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
