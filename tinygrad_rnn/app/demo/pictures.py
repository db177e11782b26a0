"""What the demo draws of its gradient, each picture with the sentence that says what to see in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ... import viz
from ...core.tensor import Tensor
from ...flow import Diagnosis, GradientFlow, diagnose, spectrum
from ...viz import plots


@dataclass(frozen=True)
class Picture:
    """A file in the demo's folder, and how the report presents it."""

    file: str
    title: str
    sentence: str
    wide: bool = False
    """Shown at its own size, to be scrolled, and not fitted to the page."""


def draw_losses(folder: Path, losses: Sequence[float]) -> Picture:
    """The training curve."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    ax = figure.subplots()
    window = max(1, len(losses) // 100)
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    ax.plot(losses, color="#c3cad2", linewidth=0.6, label="each update")
    ax.plot(np.arange(len(smooth)) + window - 1, smooth, color="#0b5cad", label=f"mean of {window}")
    ax.set(xlabel="update", ylabel="bits per character", xlim=(0, len(losses)), ylim=(0, None))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    figure.savefig(folder / "training.svg")
    return Picture(
        "training.svg",
        "It learns",
        f"The loss of each update, in bits per character: {losses[0]:.2f} at the start, which is about what guessing "
        f"costs, and {np.mean(losses[-max(1, len(losses) // 20) :]):.2f} over the last updates.",
    )


def draw_graphs(folder: Path, flow: GradientFlow, tokens: Sequence[str]) -> list[Picture]:
    """The unrolled graph in both details, and the loop that it came from."""
    drawn = {  # none wider than 900 px
        "rolled": viz.rolled(flow),
        "unrolled_cell": viz.unrolled(flow, detail="cell", tokens=tokens, max_steps=3),
        "unrolled_op": viz.unrolled(flow, detail="op", tokens=tokens, max_steps=2),
    }
    for name, picture in drawn.items():
        picture.save(folder / f"{name}.svg")
        picture.save(folder / f"{name}.dot")
    return [
        Picture(
            "rolled.svg",
            "The network as a loop",
            "One cell, fed with its own state: the loop says by how much the gradient changes on its way back.",
            wide=True,
        ),
        Picture(
            "unrolled_cell.svg",
            "The unrolled graph, cell by cell",
            "One column for each time step, time to the right, all of them using the same weights. Arrows point the "
            "way the gradient runs. The wider, the larger: blue is less than a step's own loss injects, orange more.",
            wide=True,
        ),
        Picture(
            "unrolled_op.svg",
            "The unrolled graph, operation by operation",
            "The same graph as backprop sees it: every operation of every step. Under the lanes, each cell is one "
            "step's contribution to a shared weight's gradient; the whole gradient is the sum along the strip.",
            wide=True,
        ),
    ]


def draw_flow(
    folder: Path,
    flow: GradientFlow,
    before: Diagnosis,
    after: Diagnosis,
    W_hh: Tensor,
    tokens: Sequence[str],
) -> list[Picture]:
    """How far the gradient reaches, before and after training; nothing where there is one step and so no past."""
    if len(tokens) < 2:
        return []
    in_the_loss = diagnose(flow.loss)  # the last loss as a part of the whole, which is a mean: on one scale with all
    seen = spectrum(after.layers[0].states[-min(len(tokens), 12) :])
    return [
        _plot(
            folder / "gradient_flow.svg",
            (9, 5.5),
            lambda figure: plots.profile(flow, in_the_loss, W_hh=W_hh, axes=figure.subplots(2, sharex=True)),
            "How far the gradient reaches",
            str(after),
        ),
        _plot(
            folder / "shares.svg",
            (9, 3.6),
            lambda figure: plots.shares(flow, figure.subplots()),
            "What each step contributes",
            "dL/dW is a sum over the steps; here is each step's share of it, weight by weight. The legend says how "
            "much is left once the steps have cancelled each other.",
        ),
        _plot(
            folder / "credit.svg",
            (7.5, 6.5),
            lambda figure: plots.credit(after, figure.subplots(), tokens=tokens if len(tokens) <= 40 else None),
            "Which loss reaches which state",
            "Row t is the loss of step t, column k the state of step k: how strongly that loss asks that state to "
            "change. Left of the black line less than 0.1 % is left.",
        ),
        _plot(
            folder / "before_after.svg",
            (10, 7.2),
            lambda figure: plots.compare(
                before, after, ("before training", "after training"), figure.subplots(2, 2, height_ratios=[3, 2])
            ),
            "Before and after training",
            f"The same text through the untrained and the trained network, on one scale. Before: "
            f"{before.layers[0].measured}. After: {after.layers[0].measured}.",
        ),
        _plot(
            folder / "spectrum.svg",
            (9, 3.6),
            lambda figure: plots.spectrum(seen, figure.subplots(), start=max(len(tokens) - 12, 0) + 1),
            "The Jacobian of a step",
            "The singular values of dh_t/dh_(t-1) in the last steps: directions above 1 grow, those below fade.",
        ),
    ]


def _plot(
    path: Path, size: tuple[float, float], draw: Callable[[Figure], object], title: str, sentence: str
) -> Picture:
    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    figure.savefig(path)
    return Picture(path.name, title, sentence)
