"""The framework's own errors: each says what was given, what was expected and what to do.

Every class also inherits the built-in it refines, so `except ValueError` keeps working.
"""

from __future__ import annotations

import numpy as np

from .escape import terminal


class TensorError(Exception):
    """Base of every error that this package raises on purpose."""

    def __str__(self) -> str:
        return terminal(super().__str__(), lines=True)  # it may quote names from a file


class ShapeError(TensorError, ValueError):
    """Operands, axes or indices do not fit each other's shapes."""


class DTypeError(TensorError, TypeError):
    """An operand is of a kind or dtype that the operation cannot take."""


class LinAlgError(ShapeError, np.linalg.LinAlgError):
    """A matrix has no inverse, no factor, or no solution."""


class GraphError(TensorError, RuntimeError):
    """The graph cannot answer: no gradient path, a changed leaf, a non-scalar loss."""


class InputError(TensorError, ValueError):
    """A file, an option or an argument of a public function is unusable."""


class GradientError(TensorError, AssertionError):
    """Gradients that should be the same are not; the message says where, and by how much."""
