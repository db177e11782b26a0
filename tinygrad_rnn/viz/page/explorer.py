"""One page to play with: how cell, spectral radius, length and the place of the loss decide how far gradients reach."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Sequence
from itertools import product
from typing import Literal

import numpy as np

from ...core.arguments import NotNegative, Seeding, Size, checked
from ...core.steps import steps
from ...core.tensor import Array, Tensor
from ...errors import InputError
from ...escape import script
from ...flow.gradient_flow import GradientFlow, gradient_flow
from ...ops import sigmoid, squared_error, tanh
from ..compose import Options, compose
from ..diagram import diagram
from ..measure import Gradients
from ..style import themes
from ..svg import svg
from .document import Page, environment

Cell = Literal["tanh", "lstm", "gru"]
CELLS: tuple[Cell, ...] = ("tanh", "lstm", "gru")
PLACES = {"at every step": True, "at the last step": False}
SHOWN = 5
"""So many steps of the picture are drawn."""


@checked
def explorer(
    cells: Sequence[Cell] = CELLS,
    radii: Sequence[NotNegative] = (0.2, 0.5, 0.8, 0.95, 1.1, 1.3, 1.6, 2.0),
    lengths: Sequence[Size] = (5, 12, 25),
    hidden: Size = 8,
    seed: Seeding = 0,
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

    values = {
        "cell": list(cells),
        "loss": list(PLACES),
        "T": [str(length) for length in lengths],
        "radius": [f"{radius:g}" for radius in radii],
    }
    heads = {"cell": "Cell", "loss": "Loss", "T": "Steps", "radius": "Radius of W_hh"}
    pictures, found = [], []
    for cell, every, length, radius in product(cells, PLACES.values(), lengths, radii):
        with np.errstate(all="ignore"):
            flow = gradient_flow(_loss(cell, every, length, radius, hidden, seed))
            gradients = Gradients(flow)
            scene = compose(diagram(flow.structure, "cell", "strip", SHOWN), gradients, Options(title="", legend=False))
        scene.title = f"{cell} network of {length} steps, spectral radius {radius:g}"
        pictures.append(svg(scene, themes["light"], fluid=True).replace("\f", " "))
        found.append({"verdict": gradients.verdict, **_curves(flow, gradients)})
    start = {"cell": 0, "loss": 0, "T": len(lengths) - 1, "radius": len(radii) // 2}
    first = (start["T"]) * len(radii) + start["radius"]
    packed = b64encode(gzip.compress("\f".join(pictures).encode(), mtime=0)).decode()
    data = {"keys": list(values), "values": values, "start": start, "found": found, "pictures": packed}
    html = (
        environment()
        .get_template("explorer.html")
        .render(
            title=title,
            sliders=[(key, heads[key], values[key]) for key in values],
            verdict=found[first]["verdict"],
            picture=Markup(pictures[first]),
            data=Markup(script(data)),
        )
    )
    return Page(html, title)


def _curves(flow: GradientFlow, gradients: Gradients) -> dict[str, list[float | None]]:
    """|dL_T/dh_k| and |dL/dh_k| for each step; None where it is not finite, which JSON cannot say."""
    (layer, *_) = gradients.layers
    return {
        name: [float(v) if np.isfinite(v) else None for v in line]
        for name, line in (("reach", layer.last), ("all", layer.total))
    }


def _loss(cell: str, every: bool, length: int, radius: float, hidden: int, seed: int) -> Tensor:
    """The loss of a small network, written as a user would."""
    rng = np.random.default_rng(seed)
    I, H = 3, hidden
    gates = {"tanh": 1, "gru": 3, "lstm": 4}[cell]
    W_xh = Tensor(rng.normal(0, I**-0.5, (I, gates * H)), requires_grad=True, name="W_xh")
    recurrent = [rng.normal(size=(H, H)) for _ in range(gates)]
    W_hh = Tensor(np.concatenate([_scaled(W, radius) for W in recurrent], axis=1), requires_grad=True, name="W_hh")
    b = np.zeros(gates * H)
    if cell == "lstm":
        b[H : 2 * H] = 1.0  # the forget gate starts open
    b_h = Tensor(b, requires_grad=True, name="b_h")
    W_hy = Tensor(rng.normal(0, H**-0.5, (H, 2)), requires_grad=True, name="W_hy")
    xs, targets = rng.normal(size=(length, 1, I)), rng.normal(size=(length, 1, 2))
    h = c = Tensor(np.zeros((1, H)))
    L: Tensor | float = 0.0
    for t, x in steps(xs):
        if cell == "gru":
            z, r = x @ W_xh + b_h, h @ W_hh
            u, f = sigmoid(z[:, :H] + r[:, :H]), sigmoid(z[:, H : 2 * H] + r[:, H : 2 * H])
            h = u * h + (1 - u) * tanh(z[:, 2 * H :] + f * r[:, 2 * H :])
        elif cell == "lstm":
            z = x @ W_xh + h @ W_hh + b_h
            c = sigmoid(z[:, H : 2 * H]) * c + sigmoid(z[:, :H]) * tanh(z[:, 2 * H : 3 * H])
            h = sigmoid(z[:, 3 * H :]) * tanh(c)
        else:
            h = tanh(x @ W_xh + h @ W_hh + b_h)
        if every or t == length - 1:
            y = h @ W_hy
            l = squared_error(y, targets[t])
            L = L + l
    assert isinstance(L, Tensor)
    return L


def _scaled(W: Array, radius: float) -> Array:
    return np.asarray(W * (radius / np.abs(np.linalg.eigvals(W)).max()))


__all__ = ["explorer"]
