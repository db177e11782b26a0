"""The page in which one steps through BPTT: one file, offline, readable with scripts off."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated

from ...bptt import Gradients as ByHand
from ...core.arguments import Range, checked
from ...core.tensor import Array, Tensor
from ...errors import InputError
from ...escape import script
from ...flow.diagnose import Diagnosis
from ...flow.gradient_flow import GradientFlow, gradient_flow
from ...flow.influence import Contributions
from ..coloured import coloured
from ..compose import Options, compose
from ..diagram import Diagram
from ..measure import Gradients, followed
from ..strips import LAYERS
from ..style import on_scale, text_on, themes
from ..svg import svg
from ..text import clean, number, shorten
from .charts import credit_chart, profile_chart
from .document import Page, filled, packed
from .events import story
from .explorer import explorer


@checked
def page(
    loss_or_flow: Tensor | GradientFlow,
    diagnosis: Diagnosis | None = None,
    hand: ByHand | Mapping[str, Array] | None = None,
    *,
    title: str | None = None,
    tokens: Sequence[str] | None = None,
    contributions: Contributions | None = None,
    max_steps: Annotated[int, Range(4)] | None = 100,
) -> Page:
    """A page in which one steps through the forward pass and then, backwards in time, through the backward pass.

    The active operation is lit and explained with its actual shapes (and numbers, where they are few); messages
    arrive at states; dL/dW fills up as the sum over the steps that it is.

    Args:
        loss_or_flow: a loss, or `tg.gradient_flow(loss)`.
        diagnosis: adds its sentence and the credit matrix, and the last loss's gradient to the profile.
        hand: the same gradients derived by hand, written beside: what `tg.bptt.rnn(...)` returns, or a mapping from a
            weight's name to its contribution of every step, (T, *weight.shape), or to its whole gradient.
        title: of the page.
        tokens: a text for each step, such as the characters read.
        contributions: adds the text, coloured by what each input contributed to an answer.
        max_steps: of more steps than that the middle ones are passed over in one go; None shows all.

    Raises:
        InputError: an array in `hand` has another shape than its weight, or fewer than 4 `max_steps`.
        GraphError: there is no graph behind the loss, or a weight changed since the forward pass.
    """
    from markupsafe import Markup  # with Jinja2 a tenth of a second, which only this page should cost

    flow = loss_or_flow if isinstance(loss_or_flow, GradientFlow) else gradient_flow(loss_or_flow)
    drawn = Diagram(flow.structure, "op", "strip", max_steps)
    gradients = Gradients(flow)
    scene = compose(drawn, gradients, Options(title="", tokens=tokens, edge_numbers=False))
    scene.title = "The unrolled graph"
    events, weights = story(drawn, flow, scene, _by_hand(hand, flow))
    count = len(flow.structure.steps)
    words = clean(title) if title is not None else f"Backpropagation through {count} time step{'s' * (count != 1)}"
    picture = svg(scene)
    data = {"events": events, "weights": weights, "reach": _reach_of_losses(drawn, flow, gradients)}
    html = filled(
        "page.html",
        title=shorten(words, 160),
        picture=Markup(picture[picture.index("<svg") :]),
        data=Markup(script(packed(script(data)))),
        diagnosis=gradients.verdict if diagnosis is None else str(diagnosis),
        profile=Markup(profile_chart(flow, gradients)),
        credit=Markup(credit_chart(gradients)),
        coloured="" if contributions is None else Markup(coloured(contributions).html()),
        weights=weights,
        states=flow.states()[:400],
        number=number,
        count=len(events),
        natural=round(scene.width),
    )
    return Page(html, words)


def _reach_of_losses(drawn: Diagram, flow: GradientFlow, gradients: Gradients) -> dict[str, list[list[str]]]:
    """For the box of each step's loss what its gradient is at every state: cells of the strip with text and colours."""
    light, entries = themes["light"], list(flow.entries())
    found: dict[str, list[list[str]]] = defaultdict(list)
    losses = {box.step: box.id for box in drawn.boxes if box.kind == "loss" and box.zone == "lane"}
    for at, layer in enumerate(gradients.layers[:LAYERS]):
        for loss, norms in zip(layer.reach.losses, followed(layer), strict=True):
            for state, norm in zip(layer.states, norms.tolist(), strict=True):
                step, fill = state[0].step, on_scale("scale", norm, gradients.reference)
                if entries[loss] in losses and step in drawn.steps:
                    cell = [f"reach{at}_{step}", number(norm), light(fill), light(text_on(fill))]
                    found[losses[entries[loss]]].append(cell)
    return found


def _by_hand(hand: ByHand | Mapping[str, Array] | None, flow: GradientFlow) -> dict[int, Array]:
    """By the creation number of the weight."""
    if hand is None:
        return {}
    given: Mapping[str, Array] = (hand.per_step or hand.parameters) if isinstance(hand, ByHand) else hand
    found = {}
    count = len(flow.structure.steps)
    for weight in flow.structure.shared_weights:
        name = flow.structure.weight_name(weight)
        array = given.get(name)
        if array is None:
            continue
        if array.shape not in (weight.shape, (count, *weight.shape)):
            raise InputError(
                f"page: hand[{name!r}] has shape {array.shape}, expected {(count, *weight.shape)}, "
                f"the contribution of every step, or {weight.shape}, their sum"
            )
        found[weight.index] = array
    return found


__all__ = ["Page", "explorer", "page"]
