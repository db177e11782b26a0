"""One page to play with: how cell, spectral radius, length and the place of the loss decide how far gradients reach."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np

from ...core.arguments import NotNegative, Seeding, Size, checked
from ...core.steps import steps
from ...core.tensor import Tensor
from ...errors import InputError
from ...escape import script
from ...flow.gradient_flow import gradient_flow
from ...nn.cells import GRUCell, LSTMCell, RNNCell
from ...ops import squared_error
from ..compose import Options, compose
from ..diagram import Diagram
from ..measure import Gradients
from ..style import themes
from ..svg import svg
from .document import Page, filled, packed

CELLS = {"tanh": RNNCell, "lstm": LSTMCell, "gru": GRUCell}
PLACES = {"at every step": True, "at the last step": False}
SHOWN = 5
"""So many steps of the picture are drawn."""


@checked
def explorer(
    cells: Sequence[Literal["tanh", "lstm", "gru"]] = ("tanh", "lstm", "gru"),
    radii: Sequence[NotNegative] = (0.2, 0.5, 0.8, 0.95, 1.1, 1.3, 1.6, 2.0),
    lengths: Sequence[Size] = (5, 12, 25),
    hidden: Size = 8,
    seed: Seeding = 5,
    title: str = "How far does a gradient reach?",
) -> Page:
    """A page with sliders for the spectral radius of W_hh, the number of steps, the cell and the place of the loss.

    Every position is computed here, once, by the engine; the page is one file that needs nothing else.

    Args:
        cells: of "tanh", "lstm" and "gru".
        radii: spectral radii that the recurrent matrices are scaled to (those of each gate, in an LSTM or GRU).
        lengths: numbers of steps.
        hidden: units of the state.
        seed: of inputs, targets and weights, which are the same at all positions.
        title: of the page.

    Raises:
        InputError: an unknown cell, or nothing to choose from.
    """
    if not (len(cells) and len(radii) and len(lengths)):
        raise InputError("explorer: got an empty list, expected at least one cell, radius and length")
    from markupsafe import Markup

    values = {"cell": list(cells), "loss": list(PLACES)}
    values |= {"T": list(map(str, lengths)), "radius": [f"{radius:g}" for radius in radii]}
    heads = ["Cell", "Loss", "Steps", "Radius of W_hh"]
    pictures, found = [], []
    for cell, every, length, radius in product(cells, PLACES.values(), lengths, radii):
        with np.errstate(all="ignore"):
            flow = gradient_flow(_loss(cell, every, length, radius, hidden, seed))
            gradients = Gradients(flow)
            scene = compose(Diagram(flow.structure, "cell", "strip", SHOWN), gradients, Options(title="", legend=False))
        scene.title = f"{cell} network of {length} steps, spectral radius {radius:g}"
        pictures.append(svg(scene, themes["light"], fluid=True).replace("\f", " "))
        curves = {"reach": gradients.layers[0].last, "all": gradients.layers[0].total}  # JSON knows no infinity
        finite = {name: [v if np.isfinite(v) else None for v in curve.tolist()] for name, curve in curves.items()}
        found.append({"verdict": gradients.verdict, **finite})
    start = {"T": len(lengths) - 1, "radius": len(radii) // 2}
    first = start["T"] * len(radii) + start["radius"]
    data = {"keys": list(values), "values": values, "found": found, "pictures": packed("\f".join(pictures))}
    html = filled(
        "explorer.html",
        title=title,
        sliders=[(key, head, values[key]) for key, head in zip(values, heads, strict=True)],
        start=start,
        verdict=found[first]["verdict"],
        picture=Markup(pictures[first]),
        data=Markup(script(data)),
    )
    return Page(html, title)


def _loss(kind: str, every: bool, length: int, radius: float, hidden: int, seed: int) -> Tensor:
    """The loss of a small network, with one recurrent matrix of this spectral radius for each gate."""
    rng = np.random.default_rng(seed)
    cell = CELLS[kind](3, hidden, rng=rng)
    cell.bias_hh = None  # one bias is enough
    for name, parameter in zip(("W_xh", "W_hh", "b_h"), cell.parameters(), strict=True):
        parameter.name = name
    recurrent = cell.weight_hh.data.reshape(-1, hidden, hidden)
    recurrent *= radius / np.abs(np.linalg.eigvals(recurrent)).max(axis=1)[:, None, None]
    if kind == "lstm" and cell.bias_ih is not None:
        cell.bias_ih.data[hidden : 2 * hidden] = 1.0  # the forget gate starts open
    W_hy = Tensor(rng.normal(0, hidden**-0.5, (hidden, 2)), requires_grad=True, name="W_hy")
    targets = rng.normal(size=(length, 1, 2))
    state = cell.zeros((1,))
    L: Tensor | float = 0.0
    for t, x in steps(rng.normal(size=(length, 1, 3))):
        state = cell.step(x, *state)
        if every or t == length - 1:
            l = squared_error(state[0] @ W_hy, targets[t])
            L = L + l
    assert isinstance(L, Tensor)
    return L
