"""Initial weights: each function returns a new array of `shape`, drawn from an explicit generator.

    lstm.weight_hh_l0.data[...] = init.orthogonal((4 * H, H), rng)

A weight of shape (out, in) maps `in` numbers to `out`, as in PyTorch. `rng` is a NumPy generator or a
seed. For a recurrent matrix the spectrum decides how far gradients travel: see `spectral_radius`.
"""

from __future__ import annotations

import math

import numpy as np

from ..core import arguments
from ..core.arguments import Finite, NotNegative, checked
from ..core.tensor import Array
from ..errors import InputError, ShapeError
from .module import Seed

Shape = tuple[int, ...]

RELU_GAIN = math.sqrt(2)
"""It makes up for what relu takes away."""


@checked
def uniform(shape: Shape, bound: NotNegative, rng: Seed = None) -> Array:
    """Evenly from [-bound, bound)."""
    return arguments.generator(rng, "uniform").uniform(-bound, bound, arguments.shape(shape, "uniform"))


@checked
def normal(shape: Shape, std: NotNegative = 1.0, rng: Seed = None) -> Array:
    """From a normal distribution with mean 0."""
    return std * arguments.generator(rng, "normal").standard_normal(arguments.shape(shape, "normal"))


@checked
def xavier_uniform(shape: Shape, rng: Seed = None, gain: NotNegative = 1.0) -> Array:
    """Variance 2 gain² / (in + out): keeps activations and gradients level (Glorot and Bengio, 2010)."""
    fan_in, fan_out = _fans(shape)
    return uniform(shape, gain * math.sqrt(6 / (fan_in + fan_out)), rng)


@checked
def xavier_normal(shape: Shape, rng: Seed = None, gain: NotNegative = 1.0) -> Array:
    """As `xavier_uniform`, from a normal distribution."""
    fan_in, fan_out = _fans(shape)
    return normal(shape, gain * math.sqrt(2 / (fan_in + fan_out)), rng)


@checked
def he_uniform(shape: Shape, rng: Seed = None, gain: NotNegative = RELU_GAIN) -> Array:
    """Variance gain² / in: keeps activations level through relu (He et al., 2015)."""
    return uniform(shape, gain * math.sqrt(3 / _fans(shape)[0]), rng)


@checked
def he_normal(shape: Shape, rng: Seed = None, gain: NotNegative = RELU_GAIN) -> Array:
    """As `he_uniform`, from a normal distribution."""
    return normal(shape, gain / math.sqrt(_fans(shape)[0]), rng)


@checked
def orthogonal(shape: Shape, rng: Seed = None, gain: Finite = 1.0) -> Array:
    """A random matrix whose singular values all equal `gain` (Saxe et al., 2013).

    The QR decomposition of a Gaussian matrix, with R's diagonal made positive so that Q is uniform.
    """
    rows, columns = _matrix(shape)
    q, r = np.linalg.qr(normal((max(rows, columns), min(rows, columns)), 1.0, rng))
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)
    return gain * (q if rows >= columns else q.T)


@checked
def identity(shape: Shape, gain: Finite = 1.0) -> Array:
    """`gain` on the diagonal, zero elsewhere: a relu RNN starts by remembering all (Le et al., 2015)."""
    return gain * np.eye(*_matrix(shape))


@checked
def spectral_radius(shape: Shape, radius: NotNegative, rng: Seed = None) -> Array:
    """A random square matrix whose largest |eigenvalue| is `radius`.

    In a linear RNN h_t = W h_(t-1), gradients shrink or grow by about this factor a step.
    """
    rows, columns = _matrix(shape)
    if rows != columns:
        raise ShapeError(f"spectral_radius: got shape {shape}, expected a square matrix, which has eigenvalues")
    matrix = normal(shape, 1.0, rng)
    largest = float(np.max(np.abs(np.linalg.eigvals(matrix)))) if matrix.size else 1.0
    return matrix * (radius / largest)


def _fans(shape: Shape) -> tuple[int, int]:
    fan_out, fan_in = _matrix(shape)
    if not fan_in or not fan_out:
        raise InputError(f"init: got shape {shape}, which holds no weights")
    return fan_in, fan_out


def _matrix(shape: Shape) -> tuple[int, int]:
    sizes = arguments.shape(shape, "init")
    if len(sizes) != 2:
        raise ShapeError(f"init: got shape {shape}, expected a matrix (out, in)")
    return sizes[0], sizes[1]


__all__ = ["he_normal", "he_uniform", "identity", "normal", "orthogonal", "spectral_radius", "uniform", "xavier_normal"]
__all__ += ["xavier_uniform"]
