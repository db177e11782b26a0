"""What `gradient_flow` gives: the gradients of a loss, which print themselves as a table."""

from __future__ import annotations

from ..core.arguments import checked
from ..core.tensor import Tensor
from ..escape import preformatted
from .gradients import Gradients, StateFlow, WeightFlow
from .table import table


class GradientFlow(Gradients):
    """The gradients of one loss, as data; `print` it for a line per step and a verdict per layer."""

    def __repr__(self) -> str:
        return table(self)

    def _repr_html_(self) -> str:
        return preformatted(str(self))


@checked
def gradient_flow(loss: Tensor) -> GradientFlow:
    """Backpropagate from `loss` once and keep the gradient of every node; no `.grad` is touched.

    Args:
        loss: a scalar tensor with a graph behind it.

    Returns:
        The flow: `gradient(h)`, `edge(consumer, i)`, `per_step(W)`, `outside(W)`, `states()`, `weights()`, `cuts` and
        `structure`.

    Raises:
        GraphError: there is no graph, `loss` is not a scalar, or a leaf was changed since the forward pass.
    """
    return GradientFlow(loss)


__all__ = ["GradientFlow", "StateFlow", "WeightFlow", "gradient_flow"]
