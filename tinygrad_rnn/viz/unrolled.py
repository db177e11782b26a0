"""The unrolled graph as a picture: one column per time step, and the gradient on every edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..core.tensor import Tensor
from ..errors import InputError
from ..flow.gradient_flow import GradientFlow, gradient_flow
from ..flow.structure import Structure, structure
from .compose import compose
from .diagram import diagram
from .measure import Gradients, face
from .recipe import recipe
from .render import Picture


def unrolled(
    loss_or_flow: Tensor | GradientFlow,
    detail: Literal["op", "cell"] = "op",
    weights: Literal["strip", "nodes"] = "strip",
    *,
    max_steps: int | None = 16,
    title: str | None = None,
    tokens: Sequence[str] | None = None,
    shapes: bool = False,
    values: bool = False,
    reference: float | None = None,
    layout: Literal["lanes", "dot"] = "lanes",
) -> Picture:
    """Draw the graph behind a loss, time from left to right, inputs below, losses above.

    Args:
        loss_or_flow: a loss, or `tg.gradient_flow(loss)`. A loss after `backward()` is drawn with its
            gradients; before, they read "not computed".
        detail: "op", a box for each operation; "cell", one for each cell, output and loss of a step.
        weights: "strip", below the lanes what each step contributes to each shared weight; "nodes", each
            shared weight drawn once, with an edge to every operation that uses it.
        max_steps: of longer sequences so many steps are drawn, with a gap after the first; None draws all.
        title: what stands above; by default the number of steps.
        tokens: a text for each step, such as the characters read.
        shapes, values: write the shape, and the values of tensors of up to 6 entries, in the boxes.
        reference: the norm at the middle of the colour scale; by default |dL/dh| of the last state.
        layout: "lanes", laid out here, with or without Graphviz; "dot", Graphviz lays out the graph itself, from DOT
            without coordinates that is pleasant to edit (`source`). It takes minutes from some hundred steps on;
            where it is not there or gives up, the picture comes out in lanes.

    Raises:
        InputError: an unknown `detail`, `weights` or `layout`, or fewer than 4 `max_steps`.
        GraphError: there is no graph behind the loss, or a weight changed since the forward pass.
    """
    if detail not in ("op", "cell"):
        raise InputError(f"unrolled: got detail={detail!r}, expected 'op' or 'cell'")
    if weights not in ("strip", "nodes"):
        raise InputError(f"unrolled: got weights={weights!r}, expected 'strip' or 'nodes'")
    if layout not in ("lanes", "dot"):
        raise InputError(f"unrolled: got layout={layout!r}, expected 'lanes' or 'dot'")
    if max_steps is not None and (not isinstance(max_steps, int) or max_steps < 4):
        raise InputError(f"unrolled: got max_steps={max_steps!r}, expected 4 or more, or None to draw all steps")
    if reference is not None and not 0 < reference < float("inf"):
        raise InputError(f"unrolled: got reference={reference!r}, expected a positive norm")
    graph, flow = resolve(loss_or_flow)
    drawn = diagram(graph, detail, weights, max_steps)
    gradients = Gradients(flow, reference)
    scene = compose(drawn, gradients, title, tokens, shapes, values)
    if layout == "lanes":
        return Picture(scene)
    faces = {box: face(box, gradients, shapes, values) for box in drawn.boxes}
    return Picture(scene, recipe(drawn, faces, gradients, scene.title))


def resolve(loss_or_flow: Tensor | GradientFlow) -> tuple[Structure, GradientFlow | None]:
    """The structure of a graph, and its flow if gradients were computed."""
    if isinstance(loss_or_flow, GradientFlow):
        return loss_or_flow.structure, loss_or_flow
    graph = structure(loss_or_flow)
    if any(leaf.grad is not None for leaf in graph.leaves if leaf.requires_grad):
        flow = gradient_flow(loss_or_flow)
        return flow.structure, flow
    return graph, None


__all__ = ["resolve", "unrolled"]
