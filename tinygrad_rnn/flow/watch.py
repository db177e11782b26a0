"""Memory over training: a look every so many updates, as rows to log and to draw."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arguments import Count, checked
from ..core.tensor import Tensor
from ..core.threads import OneThread
from ..escape import terminal
from .findings import activations
from .gradients import Gradients
from .inside import numbered
from .memory import Thresholds, median
from .norms import norm
from .reach import measure, starts_of
from .remedies import gates_of, radius_of

LAGS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""The lags whose reach is noted, and the largest."""

LOSSES = 8
"""So many losses are followed back, spread evenly over the sequence."""

SHRUNK = 0.5
"""A horizon below this fraction of the largest so far is worth a warning."""


@dataclass(frozen=True)
class LayerLook:
    """One layer at one update.

    Attributes:
        gain: none where no one factor a step describes what was measured.
        horizon: none where more is left at all lags.
        reach: the median over losses and sequences of |dL_t/dh_(t-lag)| relative to lag 0, for some lags.
        radius: the largest spectral radius of a recurrent weight matrix, of a gate's block each; None where none was
            found.
        saturated: for each gate by name the share of its outputs below 0.05 or above 0.95.
        dead: the share of dead units.
    """

    verdict: str
    gain: float | None
    horizon: int | None
    lags: int
    reach: dict[int, float]
    radius: float | None
    saturated: dict[str, float]
    dead: float


@dataclass(frozen=True)
class Look:
    """All layers at one update.

    Attributes:
        norm: |dL/dW| of all parameters as one vector.
        layers: by scope; of several in one scope the second is called "scope #2".
        warning: what has become worse since an earlier look.
    """

    update: int
    norm: float
    layers: dict[str, LayerLook]
    warning: str | None = None

    def record(self) -> dict[str, Any]:
        """Plain values by name, for JSON."""
        return {"update": self.update, "norm": self.norm, "layers": {name: vars(x) for name, x in self.layers.items()}}

    @staticmethod
    def of(record: dict[str, Any]) -> Look:
        """What `record` gave."""
        layers = {
            name: LayerLook(**{**values, "reach": {int(lag): value for lag, value in values["reach"].items()}})
            for name, values in record["layers"].items()
        }
        return Look(record["update"], record["norm"], layers)

    def __str__(self) -> str:
        parts = []
        for name, layer in self.layers.items():
            reach = f"horizon {layer.horizon}" if layer.horizon is not None else f"in reach at all {layer.lags} lags"
            far = max(layer.reach, default=0)
            gain = "" if layer.gain is None else f", gain {layer.gain:.2f}"
            words = f"{layer.verdict}, {reach}{gain}, {layer.reach.get(far, 1.0):.1e} at lag {far}"
            words += "" if layer.radius is None else f", spectral radius {layer.radius:.2f}"
            words += "".join(
                f", {gate} {share:.0%} saturated" for gate, share in layer.saturated.items() if share >= 0.5
            )
            words += f", {layer.dead:.0%} of the units dead" if layer.dead else ""
            parts.append(f"{terminal(name)}: {words}" if name else words)
        return f"update {self.update}: {'; '.join(parts)}"


class Watch:
    """Looks at the memory of a model while it is trained.

        watch = tg.flow.Watch()
        for update in range(1000):
            loss = ...
            if update % 100 == 0:
                print(watch(loss, update))
            loss.backward()

    Attributes:
        looks: all so far; `tg.viz.plots.watch(watch.looks)` draws them.
    """

    @checked
    def __init__(self, looks: Iterable[Look] = ()) -> None:
        self.looks = list(looks)

    @checked
    def __call__(self, loss: Tensor, update: Count) -> Look:
        """A look at the graph behind a loss, before its `backward` or after it; no `.grad` is touched.

        Raises:
            GraphError: as `gradient_flow`.
        """
        thresholds = Thresholds()
        with np.errstate(all="ignore"), OneThread():
            flow = Gradients(loss)
            starts = starts_of(flow, [loss])
            lasting = [states for states in flow.structure.layers if len(states) > 1]
            layers = {}
            for name, states in zip(numbered((None, each[0][0].scope) for each in lasting), lasting, strict=True):
                found, memory = measure(states, starts, set(), thresholds, LOSSES)
                typical = median(found.curves.values)
                noted = [lag for lag in LAGS if lag < memory.lags] + [memory.lags] * (memory.lags > 0)
                special = activations(found.layout)
                layers[name] = LayerLook(
                    verdict=memory.verdict,
                    gain=None if np.isnan(memory.gain) else memory.gain,
                    horizon=memory.horizon,
                    lags=memory.lags,
                    reach={lag: float(typical[lag]) for lag in noted},
                    radius=radius_of(flow.structure, found.layout),
                    saturated={
                        gate: float(np.mean([(np.abs(node.data - 0.5) > 0.45).mean() for node in nodes]))
                        for gate, nodes in gates_of(flow.structure, found.layout).items()
                    },
                    dead=max((finding.value for finding in special if finding.kind == "dead units"), default=0.0),
                )
            parameters = [
                g for leaf in flow.structure.leaves if leaf.requires_grad and (g := flow.gradient(leaf)) is not None
            ]
            look = Look(update, norm(*parameters), layers, self._warning(update, layers))
        self.looks.append(look)
        return look

    def _warning(self, update: int, layers: dict[str, LayerLook]) -> str | None:
        for name, layer in layers.items():
            before = [(_steps(look.layers[name]), look.update) for look in self.looks if name in look.layers]
            most, at = max(before, default=(0, 0))
            if layer.horizon is not None and layer.horizon < SHRUNK * most:
                where = f"{terminal(name)}: " if name else ""
                return f"warning: {where}the horizon has shrunk from {most} steps at update {at} to {layer.horizon}"
        return None


def _steps(layer: LayerLook) -> int:
    return layer.lags + 1 if layer.horizon is None else layer.horizon


__all__ = ["LayerLook", "Look", "Watch"]
