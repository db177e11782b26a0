"""A recurrent network written as plain tensor operations, differentiated, drawn and questioned.

import numpy as np
import tinygrad_rnn as tg
"""

from . import bptt, nn, ops, optim
from .autodiff import grad, no_grad
from .errors import DTypeError, GraphError, InputError, MismatchError, ShapeError, TensorError
from .flow import gradient_flow
from .ops import *
from .primitive import primitive
from .tensor import Tensor
from .timeline import scope, steps

__version__ = "0.1.0"

__all__ = [
    "DTypeError",
    "GraphError",
    "InputError",
    "MismatchError",
    "ShapeError",
    "Tensor",
    "TensorError",
    "bptt",
    "grad",
    "gradient_flow",
    "nn",
    "no_grad",
    "optim",
    "primitive",
    "scope",
    "steps",
    *ops.__all__,
]
