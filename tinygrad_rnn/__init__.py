"""A recurrent network written as plain tensor operations, differentiated, drawn and questioned.

import numpy as np
import tinygrad_rnn as tg
"""

__version__ = "0.1.0"

from . import bptt, nn, ops, optim, train, viz
from .compiler import compile
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
from .flow import credit, diagnose, gradient_flow, influence, spectrum
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
