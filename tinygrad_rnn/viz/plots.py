"""Plots of gradient flow with Matplotlib.

Every function draws on the axes that it is given, by default on those of a new figure, and returns them, to be
restyled at will.

They draw what `tg.credit`, `tg.diagnose`, `tg.gradient_flow` and `tg.spectrum` computed, and compute no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.arguments import checked
from ..core.tensor import Array, Tensor
from ..errors import DTypeError, InputError
from ..escape import plot_label, short
from ..flow.diagnose import Diagnosis, Layer
from ..flow.gradient_flow import GradientFlow
from ..flow.inside import Inside
from ..flow.memory import Thresholds
from ..flow.norms import norm as norm_of
from ..flow.spectrum import Spectrum
from ..flow.structure import State, paces
from ..flow.watch import Look
from . import style
from .measure import followed, names_of, verdict_of
from .text import number, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

CREDIT_DECADES = 6.0
"""A scale of credit never spans more powers of ten, either way."""
HORIZON = Thresholds().low
_LIGHT = style.themes["light"]
_TOTAL, _LAST = "#8A8A8A", "#0072B2"
_ALL_LOSSES: dict[str, Any] = {"color": _TOTAL, "lw": 2, "label": "|∂L/∂h_k|, all losses"}
_LAST_LOSS: dict[str, Any] = {"color": _LAST, "lw": 2, "marker": "o", "ms": 3, "label": "|∂L_T/∂h_k|, the last loss"}
_WEIGHTS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
_MARKS = "os^DvPX*"


def colormap() -> Colormap:
    """The scale of all pictures: blue below the reference, grey at it, orange above; magenta for not finite."""
    from matplotlib.colors import LinearSegmentedColormap

    levels = np.linspace(-style.DECADES, style.DECADES, 61)
    made = LinearSegmentedColormap.from_list("gradient", [_LIGHT.colour(float(level)) for level in levels])
    return made.with_extremes(bad=_LIGHT("not finite"))


@checked
def credit(
    matrix: Array | Diagnosis,
    ax: Axes | None = None,
    tokens: Sequence[str] | None = None,
    title: str | None = None,
    decades: float | None = None,
) -> Axes:
    """How much the loss of each step depends on the state of each step: log10(C[t, k] / C[t, t]).

    The black line is the horizon: to its left less than 0.1 % is left. White: no gradient flows.

    Args:
        matrix: `tg.credit(losses, states)`, of shape (losses, states), or a diagnosis, which holds it.
        tokens: a text for each step, such as the characters read, written along both axes.
        title: by default the verdict of a diagnosis.
        decades: powers of ten, either way, that the scale spans; by default as many as the data, 6 at most.

    Raises:
        InputError: the matrix does not have two axes.
    """
    from matplotlib.collections import LineCollection

    C = _matrix(matrix)
    ax = _axes("credit", ax, (1, 1), (5.4, 4.8))[0, 0]
    relative = relative_credit(C)
    with np.errstate(all="ignore"):
        levels = np.where(np.isfinite(C), np.log10(relative), np.nan)
    decades = _decades(relative) if decades is None else decades
    shown = np.where(relative == 0, -2 * decades, np.clip(levels, -decades, decades))
    look = colormap().with_extremes(under="white")
    image = ax.imshow(shown, look, vmin=-decades, vmax=decades, origin="lower", aspect="auto", interpolation="nearest")
    horizon = _outline(relative >= HORIZON, relative != 0)
    if horizon:
        words = f"horizon: {100 * HORIZON:g} % of C[t, t] is left"
        ax.add_collection(LineCollection(horizon, colors="black", linewidths=1.4, label=words))
        ax.legend(fontsize="small", loc="lower right")
    words = verdict_of(matrix.layers, matrix.layers[0]) if isinstance(matrix, Diagnosis) else ""
    _dress(ax, "k: step receiving the gradient", "t: loss step", words if title is None else title, whole=ax.yaxis)
    texts = [plot_label(shorten(repr(each)[1:-1] if each.isspace() or not each else each, 8)) for each in tokens or ()]
    every = max(1, len(texts) // 40)
    for axis, count in ((ax.yaxis, len(C)), (ax.xaxis, C.shape[1])):
        if len(texts) == count:
            axis.set_ticks(range(0, count, every), texts[::every])
    if len(C) == 1:
        ax.set_yticks([0])
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.02)
    ticks = np.arange(-decades, decades + 1, 2 if decades > 3 and decades % 2 == 0 else 1)
    bar.set_ticks(list(ticks), labels=["1" if tick == 0 else f"1e{tick:+.0f}" for tick in ticks])
    bar.set_label("C[t, k] / C[t, t]")
    return ax


@checked
def relative_credit(C: Array) -> Array:
    """C[t, k] / C[t, t]; where losses and states do not pair up, relative to the last state a loss depends on."""
    reference = np.empty(len(C))
    for t, row in enumerate(C):
        reached = np.flatnonzero(row)
        own = row[t] if C.shape[0] == C.shape[1] else 0.0
        reference[t] = own if own else (row[reached[-1]] if len(reached) else 1.0)
    with np.errstate(all="ignore"):
        return np.asarray(np.where(C == 0, 0.0, C / reference[:, None]))


def _decades(relative: Array) -> float:
    with np.errstate(all="ignore"):
        levels = np.abs(np.log10(np.where(relative == 0, 1.0, relative)))
    return min(CREDIT_DECADES, max(1.0, float(np.ceil(np.max(levels, initial=0.0, where=np.isfinite(levels))))))


@checked
def profile(
    flow: GradientFlow,
    last: Array | Diagnosis | None = None,
    spectrum: Spectrum | None = None,
    W_hh: Any = None,
    axes: Sequence[Axes] | None = None,
    row: int = 0,
) -> tuple[Axes, Axes]:
    """The gradient along time: of all losses, of the last loss alone, and the gain from step to step.

    Args:
        flow: whose |dL/dh_k|, injected parts and gains are drawn.
        last: C[-1], the row |dL_T/dh_k| of the credit matrix, or a diagnosis, which holds it and its sentence; of the
            losses as they enter `flow.loss` (a mean divides them), such as `diagnose(flow.loss)`.
        spectrum: gives the mean of the largest singular value of dh_t/dh_(t-1), drawn as a bound.
        W_hh: the recurrent weight, a tensor or array; gives its largest singular value, drawn as a bound.
        axes: two, for norms and gains.
        row: which layer or direction, as in `flow.structure.rows`.

    Raises:
        InputError: there is no such row of states.
    """
    rows = flow.structure.rows
    if not 0 <= row < len(rows):
        raise InputError(f"profile: got row={row}, expected one of the {len(rows)} rows of states, from 0")
    upper, lower = _axes("profile", axes, (2, 1), (7, 5.4), sharex=True, height_ratios=[3, 2])[:, 0]
    wanted = {state.index for state in rows[row]}
    records = sorted((s for s in flow.states() if s.tensor.index in wanted), key=lambda s: s.step)
    steps = [record.step for record in records]
    injected = [norm_of(record.injected) for record in records]
    own = [(record.tensor,) for record in records]
    upper.plot(steps, _positive([r.norm for r in records]), **_called(_ALL_LOSSES, own))
    upper.plot(steps, _positive(injected), color=_TOTAL, ls="--", lw=1.2, label="of it injected at step k")
    words, line = "", None if isinstance(last, Diagnosis) else last
    found = _layer_of(last, rows[row]) if isinstance(last, Diagnosis) else None
    if isinstance(last, Diagnosis) and found is not None:
        words, line = verdict_of(last.layers, found), found.last
    if line is not None and np.size(line) == len(steps):
        upper.plot(steps, _positive(line).ravel(), **_called(_LAST_LOSS, own if found is None else found.states))
    _dress(upper, "", "gradient norm", words, log=True, columns=2)
    gains = [(record.step, record.gain) for record in records if record.gain is not None]
    slow = paces(own)[1] > 1
    top = _gains(lower, gains, *(["gain from the next state to k"] if slow else []))
    lower.axhline(1.0, color="black", lw=0.8)
    if W_hh is not None:
        bound = float(np.linalg.norm(np.asarray(getattr(W_hh, "_array", W_hh)), 2))
        above = "" if bound <= top else ", above this axis"
        lower.axhline(bound, color="#D55E00", ls="--", lw=1, label=f"σ_max(W_hh) = {number(bound)}{above}")
    if spectrum is not None:
        mean = float(spectrum.singular_values[..., 0].mean())
        lower.axhline(mean, color="#009E73", ls=":", lw=1.4, label=f"mean σ_max(J_t) = {number(mean)}")
    lower.set_ylim(0, top)
    _dress(lower, "k: time step", "gain", columns=3)
    return upper, lower


def _called(look: dict[str, Any], states: Sequence[State]) -> dict[str, Any]:
    """A line's look, with the states' own name in its label."""
    return look | {"label": look["label"].replace("h_k", f"{plot_label(names_of(states))}_k")}


def _gains(ax: Axes, gains: Sequence[tuple[int, float]], label: str = "gain from k + 1 to k") -> float:
    """Draw gains; the y that the axis ends at. A few that are far above all others are arrows with their number."""
    values = np.array([gain for _, gain in gains])
    known = values[np.isfinite(values)]
    if not len(known):
        return 1.2
    usual = 3 * float(np.quantile(known, 0.75))
    top = 1.1 * max(1.0, float(known.max()) if np.sum(known > usual) > 5 else float(known[known <= usual].max()))
    shown = np.where(values <= top, values, np.nan)
    steps = [step for step, _ in gains]
    ax.plot(steps, shown, color=_LAST, marker="s", ms=3, lw=1.2, label=label)
    for step, gain in gains:
        if not gain <= top:
            words = f"×{number(gain)}"
            ax.annotate(words, (step, top), (0, -11), textcoords="offset points", ha="center", fontsize="small")
            ax.plot([step], [top * 0.985], color=_LAST, marker="^", ms=6)
    return top


@checked
def shares(flow: GradientFlow, ax: Axes | None = None) -> Axes:
    """What each step contributes to each shared weight's gradient: |G_t| as a share of the sum over the steps.

    The legend gives |sum G_t| / sum |G_t|: how much is left after the steps have cancelled each other. More than
    eight weights are rows of a heat map.

    Raises:
        InputError: the graph has no shared weights.
    """
    weights = flow.weights()
    if not weights:
        raise InputError("shares: no weight is used in several steps; write the loop with tg.steps")
    ax = _axes("shares", ax, (1, 1), (7.0, 3.4))[0, 0]
    steps = flow.structure.steps
    names = [f"{plot_label(shorten(weight.name, 14))}: {weight.cancellation:.0%} left" for weight in weights]
    if len(weights) > len(_WEIGHTS):
        shares = np.array([weight.shares for weight in weights])
        _heat(ax, shares, steps, "{x:.0%}", cmap="Blues", vmin=0).colorbar.set_label("share of Σ |G_t|")
        ax.set_yticks(range(len(names)), names, fontsize="small")
        _dress(ax, "t: time step")
        return ax
    for at, weight in enumerate(weights):
        size = 4 if len(steps) <= 60 else 0
        ax.plot(steps, weight.shares, color=_WEIGHTS[at], marker=_MARKS[at], ms=size, lw=1.2, label=names[at])
    ax.set_ylim(bottom=0)
    ax.yaxis.set_major_formatter("{x:.0%}")
    _dress(ax, "t: time step", "share of Σ |G_t|", columns=3)
    return ax


@checked
def spectrum(found: Spectrum, ax: Axes | None = None, start: int = 1) -> Axes:
    """The singular values of the step Jacobians dh_t/dh_(t-1) over time, with a line at 1.

    Args:
        found: `tg.spectrum(states)`.
        start: the number of the second state's step.
    """
    ax = _axes("spectrum", ax, (1, 1), (7.0, 3.4))[0, 0]
    values = found.singular_values.mean(axis=1)
    steps = np.arange(start, start + len(values))
    quarter, middle, three = map(_positive, np.quantile(values, [0.25, 0.5, 0.75], axis=1))
    low, high = _positive(values[:, -1]), _positive(values[:, 0])
    ax.fill_between(steps, low, high, color="#D5E4F0", label="all singular values")
    ax.fill_between(steps, quarter, three, color="#8FB9D9", label="the middle half")
    ax.plot(steps, middle, color="#053061", lw=1.4, label="median")
    ax.plot(steps, high, color="#D55E00", lw=1.6, label="largest")
    ax.axhline(1.0, color="black", lw=0.8)
    title = f"growth in the long run ×{number(found.gain)} a step (Lyapunov)"
    _dress(ax, "t: time step", "singular values of ∂h_t/∂h_(t−1)", title, log=True, columns=2)
    return ax


@checked
def compare(a: Diagnosis, b: Diagnosis, labels: tuple[str, str] = ("a", "b"), axes: Any = None) -> Any:
    """Two models side by side on one scale: credit above, the last loss's gradient along time below.

    Args:
        a, b: what `tg.diagnose` found for each, such as a tanh RNN and an LSTM, or before and after training.
        labels: their names.
        axes: (2, 2), a column for each model.
    """
    axes = _axes("compare", axes, (2, 2), (10, 7.2), height_ratios=[3, 2])
    decades = max(_decades(relative_credit(_matrix(each))) for each in (a, b))
    firsts = [each.layers[0] for each in (a, b)]
    drawn = np.concatenate([_positive(values) for each in firsts for values in (each.total, each.last)])
    known = drawn[np.isfinite(drawn)]
    for diagnosis, found, name, (upper, ax) in zip((a, b), firsts, labels, axes.T, strict=True):
        credit(diagnosis, upper, title=f"{name}\n{verdict_of(diagnosis.layers, found)}", decades=decades)
        ax.plot(_positive(found.total), **_ALL_LOSSES)
        ax.plot(_positive(found.last), **_LAST_LOSS)
        ax.set_yscale("log")
        if len(known):
            ax.set_ylim(known.min() / 2, known.max() * 2)
        _dress(ax, "k: step receiving the gradient", "gradient norm", columns=1)
    return axes


@checked
def inside(found: Inside, axes: Any = None, sequence: int = 0) -> Any:
    """Units by steps: a layer's h (or first state), its gradient, and the histogram of every gate, on three axes.

    Args:
        found: `tg.flow.inside(flow)`.
        sequence: which one of the batch.

    Raises:
        InputError: there is no such sequence.
    """
    name = "h" if "h" in found.states else next(iter(found.states))
    values = found.states[name]
    if not 0 <= sequence < values.shape[1]:
        raise InputError(f"inside: got sequence {sequence}, expected 0 to {values.shape[1] - 1}")
    axes = _axes("inside", axes, (3, 1), (8, 8))[:, 0]
    largest = float(np.abs(values[:, sequence]).max()) or 1.0
    with np.errstate(divide="ignore"):
        levels = np.log10(np.abs(found.gradients[name][:, sequence].T))
    shown = plot_label(shorten(name, 14))
    _heat(axes[0], values[:, sequence].T, found.steps, cmap="RdBu_r", vmin=-largest, vmax=largest)
    _heat(axes[1], np.where(np.isfinite(levels), levels, np.nan), found.steps, cmap="viridis")
    _dress(axes[0], "", "unit", f"{shown}_t", whole=axes[0].yaxis)
    _dress(axes[1], "t: time step", "unit", f"log10 |∂L/∂{shown}_t|", whole=axes[1].yaxis)
    for at, gate in enumerate(found.gates):
        shares = found.histogram(gate)
        centres = (np.arange(len(shares)) + 0.5) / len(shares)
        label, color = plot_label(f"gate {shorten(gate, 14)}"), _WEIGHTS[at % len(_WEIGHTS)]
        axes[2].plot(centres, shares, color=color, marker=_MARKS[at % len(_MARKS)], ms=3, label=label)
    axes[2].set(xlabel="output of the gate", ylabel="share", xlim=(0, 1))
    if found.gates:
        axes[2].legend(fontsize="small")
    return axes


@checked
def watch(looks: Sequence[Look], axes: Any = None, layer: str | None = None) -> Any:
    """Memory over training, on three axes: the reach by lag, gain and spectral radius, and what is saturated or dead.

    Args:
        looks: `tg.flow.Watch().looks`.
        layer: which one, by its scope; by default the first.

    Raises:
        InputError: there is no look, or no such layer.
    """

    names = list(looks[0].layers) if looks else []
    name = layer if layer is not None else names[0] if names else ""
    rows = [look.layers[name] for look in looks if name in look.layers]
    if not rows:
        known = ", ".join(names) or "none"
        raise InputError(f"watch: got {len(looks)} looks and layer {layer!r}, expected one of {known}")
    updates = [look.update for look in looks if name in look.layers]
    axes = _axes("watch", axes, (3, 1), (8, 7), sharex=True)[:, 0]
    reach, gain, states = axes
    for at, lag in enumerate(sorted({lag for row in rows for lag in row.reach})):
        values = _positive([row.reach.get(lag, 0.0) for row in rows])
        reach.plot(updates, values, marker=_MARKS[at % len(_MARKS)], ms=3, lw=1.2, label=f"lag {lag}")
    reach.axhline(HORIZON, color="black", lw=0.8)
    reach.set_title(plot_label(name), fontsize="medium")
    reach.set(yscale="log", ylabel="|∂L_t/∂h_(t−lag)|, lag 0 = 1")
    gains, radii = np.array([(row.gain, row.radius) for row in rows], np.float64).T  # None is nan
    gain.plot(updates, gains, color=_LAST, marker="o", ms=3, label="gain a step")
    gain.plot(updates, radii, color="#D55E00", marker="s", ms=3, label="spectral radius of W_hh")
    gain.axhline(1.0, color="black", lw=0.8)
    for gate in sorted({gate for row in rows for gate in row.saturated}):
        shares = [row.saturated.get(gate, np.nan) for row in rows]
        states.plot(updates, shares, marker=".", label=plot_label(f"{shorten(gate, 14)} saturated"))
    states.plot(updates, [row.dead for row in rows], color="black", ls="--", lw=1, label="units dead")
    states.set(ylim=(-0.02, 1.02), xlabel="update")
    states.yaxis.set_major_formatter("{x:.0%}")
    for ax in (reach, gain, states):
        ax.legend(fontsize="small", ncols=3)
    return axes


# ---------------------------------------------------------------------- helpers
def _matrix(matrix: Array | Diagnosis) -> Array:
    """The credit matrix; of a single loss that enters at many steps, one row for each of them."""
    if isinstance(matrix, Diagnosis):
        layer = matrix.layers[0]
        matrix = layer.credit if len(layer.losses) > 1 or len(layer.reach.losses) < 2 else followed(layer)
    C = np.asarray(matrix, np.float64)
    if C.ndim != 2 or not C.size:
        raise InputError(f"credit: got an array of shape {C.shape}, expected (losses, states) as tg.credit gives it")
    return C


def _layer_of(found: Diagnosis, row: list[Tensor]) -> Layer | None:
    """The layer that a row of states belongs to, also if the graph was diagnosed in another run."""
    what = attrgetter("name", "scope", "step")
    return next((each for each in found.layers if what(row[0]) in map(what, each.states[0])), None)


def _axes(caller: str, given: Any, shape: tuple[int, int], size: tuple[float, float], **options: Any) -> Array:
    """Axes to draw on, (rows, columns): those given, or of a new figure."""
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes

    if given is None:
        return plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained", **options)[1]
    listed = np.array(given, object).ravel()
    if listed.size != shape[0] * shape[1] or not all(isinstance(one, Axes) for one in listed):
        raise DTypeError(f"{caller}: got {short(given)}, expected {shape[0] * shape[1]} axes of Matplotlib")
    return listed.reshape(shape)


def _positive(values: Any) -> Array:
    """For a logarithmic axis: what is zero or not finite leaves a gap."""
    array = np.asarray(values, np.float64)
    return np.where(np.isfinite(array) & (array > 0), array, np.nan)


def _dress(
    ax: Axes, x: str = "", y: str = "", title: str = "", *, log: bool = False, columns: int = 0, whole: Any = None
) -> None:
    """Labels, a title as wide as the axes, whole steps along x (and `whole`), a legend of so many columns."""
    from matplotlib.ticker import MaxNLocator

    for axis in (ax.xaxis, *([] if whole is None else [whole])):
        axis.set_major_locator(MaxNLocator(integer=True))  # there is no step 2.5
    ax.set(xlabel=x, ylabel=y, **({"yscale": "log"} if log else {}))
    width = round(11 * ax.get_position().width * ax.figure.bbox.width / ax.figure.dpi)
    ax.set_title("\n".join(plot_label(fill(part, width)) for part in title.split("\n")), fontsize="medium")
    entries = len(ax.get_legend_handles_labels()[1])
    if not columns or not entries:
        return
    # The axis is made longer until nothing is under the legend. In inches; labels and titles take some of the height.
    height = 0.75 * ax.get_position().height * ax.figure.bbox.height / ax.figure.dpi
    rest = 1 - min(0.6, (0.14 + 0.19 * -(-entries // columns)) / height)
    low, high = ax.get_ylim()
    ax.set_ylim(low, low * (high / low) ** (1 / rest) if ax.get_yscale() == "log" else low + (high - low) / rest)
    ax.legend(fontsize="small", loc="upper left", ncols=columns)


def _heat(ax: Axes, values: Array, steps: Sequence[int], ticks: str | None = None, **look: Any) -> Any:
    """Steps across, a row for each unit or weight, with a colour bar; the image is returned."""
    extent = (steps[0] - 0.5, steps[-1] + 0.5, len(values) - 0.5, -0.5)
    image = ax.imshow(values, aspect="auto", extent=extent, interpolation="nearest", **look)
    ax.figure.colorbar(image, ax=ax, pad=0.01, format=ticks)
    return image


def _outline(inside: Array, known: Array) -> list[list[tuple[float, float]]]:
    """The edges between cells of which one is inside and the other, known too, is not."""
    beside = known[:, 1:] & known[:, :-1] & (inside[:, 1:] != inside[:, :-1])
    above = known[1:] & known[:-1] & (inside[1:] != inside[:-1])
    lines = [[(k + 0.5, t - 0.5), (k + 0.5, t + 0.5)] for t, k in np.argwhere(beside)]
    return lines + [[(k - 0.5, t + 0.5), (k + 0.5, t + 0.5)] for t, k in np.argwhere(above)]


__all__ = ["colormap", "compare", "credit", "inside", "profile", "relative_credit", "shares", "spectrum", "watch"]
