"""A recurrent network written as plain tensor operations, differentiated, drawn and questioned.

import numpy as np
import tinygrad_rnn as tg
"""

from . import bptt, nn, ops, optim, viz
from .anomaly import detect_anomaly
from .autodiff import grad, no_grad
from .checkpoint import checkpoint, checkpoint_steps
from .compiler import compile
from .errors import DTypeError, GradientError, GraphError, InputError, ShapeError, TensorError
from .flow import credit, diagnose, gradient_flow, spectrum
from .gradcheck import gradcheck
from .jacobian import hvp, jacobian, jvp
from .ops import *
from .primitive import primitive
from .tensor import Tensor
from .timeline import scope, steps
from .truncation import truncate

__version__ = "0.1.0"

__all__ = [
    "DTypeError",
    "GradientError",
    "GraphError",
    "InputError",
    "ShapeError",
    "Tensor",
    "TensorError",
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
    "jacobian",
    "jvp",
    "nn",
    "no_grad",
    "optim",
    "primitive",
    "scope",
    "spectrum",
    "steps",
    "truncate",
    "viz",
    *ops.__all__,
]
