"""Derivatives beyond the gradient, all by generic backprop: whole Jacobians, and products with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..core.arguments import checked
from ..core.backprop import grad, seed_of
from ..core.tensor import Tensor, numeric, raw
from ..errors import ShapeError


@checked
def jacobian(output: Tensor, inputs: Tensor | Sequence[Tensor], create_graph: bool = False) -> list[Tensor]:
    """Every entry of `output` differentiated by every entry of each of `inputs`.

    One backward pass per entry of `output`. The tensors may be interior, so `jacobian(h[t], h[t - 1])`
    of an unrolled network is d h_t / d h_(t-1).

    Args:
        output: any shape.
        inputs: the tensors to differentiate by, leaves or results.
        create_graph: record the passes, so that the result can be differentiated again.

    Returns:
        One tensor per input, of the shape of `output` followed by that of the input.

    Raises:
        GraphError: `output` has no graph, or an input does not require a gradient.
    """
    targets = _listed(inputs)
    shape, dtype = np.shape(raw(output)), getattr(output, "dtype", None)
    rows = []
    for i in np.ndindex(shape):
        seed = np.zeros(shape, dtype)
        seed[i] = 1
        rows.append(grad(output, targets, create_graph, seed))
    if not rows:
        return [Tensor(np.zeros(shape + target.shape, target.dtype)) for target in targets]
    columns: Any = zip(*rows, strict=True)
    found: list[Any] = [np.reshape(np.stack(c), shape + t.shape) for c, t in zip(columns, targets, strict=True)]
    return found


@checked
def jvp(output: Tensor, inputs: Tensor | Sequence[Tensor], tangents: Any, create_graph: bool = False) -> Tensor:
    """The Jacobian of `output` times `tangents`: how it changes when the inputs move along them.

    Two backward passes and no Jacobian: the first is linear in the gradient it starts from, so
    differentiating it by that gradient gives the transpose of a transpose (Townsend, 2017).

    Args:
        output: any shape.
        inputs: the tensors that move, leaves or results.
        tangents: how each moves: an array of its shape (a list of them for a list of inputs).
        create_graph: record the passes, so that the result can be differentiated again.

    Returns:
        A tensor of the shape of `output`.

    Raises:
        GraphError: `output` has no graph, or an input does not require a gradient.
        ShapeError: a tangent has another shape than its input, or there are more or fewer tangents than inputs.
    """
    targets, directions = _pairs("jvp", inputs, tangents)
    probe = Tensor(np.zeros(np.shape(raw(output)), getattr(output, "dtype", None)), requires_grad=True, name="probe")
    pulled = grad(output, targets, create_graph=True, grad_output=probe)
    return _push(pulled, directions, [probe], create_graph)[0]


@checked
def hvp(output: Tensor, inputs: Tensor | Sequence[Tensor], vectors: Any, create_graph: bool = False) -> list[Tensor]:
    """The Hessian of a scalar `output` times `vectors`, without forming it (Pearlmutter, 1994).

    Args:
        output: a scalar.
        inputs: the tensors to differentiate by, leaves or results.
        vectors: an array of each input's shape (a list of them for a list of inputs).
        create_graph: record the passes, so that the result can be differentiated again.

    Returns:
        One tensor per input, of its shape.

    Raises:
        GraphError: `output` is no scalar or has no graph, or an input does not require a gradient.
        ShapeError: a vector has another shape than its input, or there are more or fewer vectors than inputs.
    """
    targets, directions = _pairs("hvp", inputs, vectors)
    gradients = grad(output, targets, create_graph=True, grad_output=seed_of(output, None, "hvp"))
    return _push(gradients, directions, targets, create_graph)


def _push(gradients: list[Tensor], directions: list[Any], targets: list[Tensor], create_graph: bool) -> list[Tensor]:
    """d <gradients, directions> / d targets; a gradient that depends on no target adds nothing."""
    pairs = [(g, v) for g, v in zip(gradients, directions, strict=True) if g.requires_grad]
    if not pairs:
        return [Tensor(np.zeros_like(target)) for target in targets]
    return grad([g for g, _ in pairs], targets, create_graph, [v for _, v in pairs])


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, Tensor) else [value]


def _pairs(caller: str, inputs: Tensor | Sequence[Tensor], vectors: Any) -> tuple[list[Tensor], list[Any]]:
    targets = _listed(inputs)
    given: list[ArrayLike | Tensor] = [vectors] if isinstance(inputs, Tensor) else _listed(vectors)
    if len(given) != len(targets):
        raise ShapeError(f"{caller}: got {len(given)} vectors for {len(targets)} inputs, expected one each")
    checked = [v if isinstance(v, Tensor) else numeric(v, caller) for v in given]
    for target, vector in zip(targets, checked, strict=True):
        if vector.shape != np.shape(raw(target)):
            raise ShapeError(
                f"{caller}: a vector has shape {vector.shape}, expected {target.shape} as {target.describe()}"
            )
    return targets, checked


__all__ = ["hvp", "jacobian", "jvp"]
