"""The unrolled graph as a picture: one column per time step, and the gradient on every edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from ..core.arguments import NotNegative, Range, checked
from ..core.tensor import Tensor
from ..errors import InputError
from ..flow.gradient_flow import GradientFlow, gradient_flow
from ..flow.structure import Structure, structure
from .compose import Options, compose
from .diagram import Diagram
from .measure import FEW, Gradients, Values
from .render import DPI, Picture
from .scene import Scene
from .style import Theme

WIDTH = 830.0
"""Pictures fit in so many px unless told otherwise: the column of a README, and less than that of a notebook."""
FEWEST = 2

Detail = Literal["op", "cell", "fit"]
Limit = Annotated[int, Range(FEWEST)] | Literal["fit"] | None


@checked
def unrolled(
    loss_or_flow: Tensor | GradientFlow,
    detail: Detail = "fit",
    weights: Literal["strip", "nodes"] = "strip",
    *,
    max_steps: Limit = "fit",
    of: Tensor | None = None,
    title: str | None = None,
    tokens: Sequence[str] | None = None,
    shapes: bool = False,
    values: Values | None = None,
    reference: NotNegative | None = None,
    labels: bool = True,
    legend: bool = True,
    theme: str | Theme = "light",
    dpi: NotNegative = DPI,
    layout: Literal["lanes", "dot"] = "lanes",
) -> Picture:
    """Draw the graph behind a loss, time from left to right, inputs below, losses above.

    Args:
        loss_or_flow: a loss, or `tg.gradient_flow(loss)`. A loss is drawn with its gradients if any
            of its weights has a `grad`, of whichever `backward()`; without, they read "not computed".
        detail: "op", a box for each operation, where a state's edge turns down to those that read it; "cell", one for
            each cell, output and loss of a step, where states run straight on; "fit", operations where they fit in
            830 px, else cells.
        weights: "strip", below the lanes what each step contributes to each shared weight; "nodes", each
            shared weight drawn once, with an edge to every operation that uses it.
        max_steps: of longer sequences so many steps are drawn, with a gap after the first; None draws all; "fit", 16,
            or with `detail="fit"` as many as fit in 830 px.
        of: the loss whose gradient is drawn, such as `losses[t]`, one term of the whole; by default the whole.
        title: what stands above; by default the verdict, as `tg.diagnose` says it.
        tokens: a text for each step, such as the characters read.
        shapes: write the shapes in the boxes.
        values: write the values of tensors of up to 6 entries in the boxes, and those of their gradients; by default
            in graphs without steps of which all tensors are so small; "gaps", for a worksheet: the values, a gap to
            write in for each entry of a gradient, and no gradient anywhere, whether it was computed or not.
        reference: the norm at the middle of the colour scale; by default the median of what the steps' own losses
            inject.
        labels: whether there are numbers on the edges, and `legend`: whether a legend explains what occurs.
        theme: "light", "dark", "print", or a `viz.Theme`.
        dpi: dots per inch of PNG and GIF; a px is 1/96 inch.
        layout: "lanes", laid out here; "dot", laid out by Graphviz (`picture.engine`), from DOT without coordinates
            that is pleasant to edit (`source`), by default in "op" detail. It takes minutes from some hundred steps on.

    Raises:
        InputError: an unknown `detail`, `weights`, `layout` or `theme`, or fewer than 2 `max_steps`.
        GraphError: there is no graph behind the loss, or a weight changed since the forward pass.
    """
    if reference == 0:
        raise InputError("unrolled: got reference=0, expected a norm above 0")
    graph, flow = resolve(loss_or_flow)
    if values == "gaps":
        flow = None
    elif of is not None:
        if not any(node is of for node in graph.nodes):
            raise InputError("unrolled: `of` is no part of the graph; pass a loss that was added into the one drawn")
        flow = gradient_flow(of)
    gradients = Gradients(flow, reference)
    shown = _is_small(graph) if values is None else values
    options = Options(title, tokens, shapes, shown, labels, legend)
    if layout == "dot" and detail == "fit":
        detail = "op"  # of cells `dot` would not keep the steps in order
    _, scene = fitted(graph, gradients, options, detail, weights, max_steps)
    return Picture(scene, theme, dpi, "dot" if layout == "dot" else None)


def fitted(
    graph: Structure, gradients: Gradients, options: Options, detail: Detail, weights: str, max_steps: Limit
) -> tuple[Diagram, Scene]:
    """What is drawn, and the picture, in as much detail and with as many steps as fit."""

    def draw(detail: str, limit: int | None) -> tuple[Diagram, Scene]:
        drawn = Diagram(graph, detail, weights, limit)
        return drawn, compose(drawn, gradients, options)

    count = len(graph.steps)
    limit = min(count, 16) if max_steps == "fit" else max_steps
    drawn, scene = draw("op" if detail == "fit" else detail, limit if count else None)
    if detail != "fit" or scene.width <= WIDTH or not count:
        return drawn, scene
    drawn, scene = draw("cell", limit)
    while max_steps == "fit" and scene.width > WIDTH and limit is not None and limit > FEWEST:
        pitch = max((b.x - a.x for a, b in zip(scene.lanes, scene.lanes[1:], strict=False)), default=WIDTH)
        limit = max(FEWEST, min(limit - 1, limit - int((scene.width - WIDTH) // pitch)))
        limit -= limit == count - 1  # a gap that hides one step would save nothing
        if limit < FEWEST:
            break
        drawn, scene = draw("cell", limit)
    return drawn, scene


def _is_small(graph: Structure) -> bool:
    """Whether values can be written into every box of a graph without steps."""
    tensors = [*graph.nodes, *graph.leaves]
    return not graph.steps and len(tensors) <= 60 and all(tensor.size <= FEW for tensor in tensors)


def resolve(loss_or_flow: Tensor | GradientFlow) -> tuple[Structure, GradientFlow | None]:
    """The structure of a graph, and its flow if gradients were computed."""
    if not isinstance(loss_or_flow, GradientFlow):
        graph = structure(loss_or_flow)
        if all(leaf.grad is None for leaf in graph.leaves if leaf.requires_grad):
            return graph, None
        loss_or_flow = gradient_flow(loss_or_flow)
    return loss_or_flow.structure, loss_or_flow
