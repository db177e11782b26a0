"""A plain verdict on a recurrent network's gradient: does it reach the past, fade, or explode, and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..core.arguments import checked
from ..core.backprop import edge_gradients
from ..core.cached import cached
from ..core.indexing import Patch
from ..core.tensor import Array, Tensor
from ..core.threads import OneThread
from ..debug import origin
from ..errors import GraphError
from ..escape import terminal, xml
from ..ops import stack
from .credit import as_losses, as_states, credit
from .findings import findings
from .gradients import Gradients
from .held import on_the_path
from .influence import Influence
from .memory import Finding, Memory, Thresholds, quantile
from .norms import norm, norms
from .reach import Reach, Start, measure, reach, starts_of
from .remedies import Remedy, tried
from .repeated import repeated
from .sentence import MASKED, QUIET, advice, in_words
from .structure import State, paces

WANTING = ("vanishing", "weak", "exploding", "mixed")
"""Verdicts for which remedies are tried."""


@dataclass(frozen=True)
class NonFinite:
    """The first operation, in the order of execution, that made a NaN or an infinity.

    Attributes:
        direction: "forward" if its value is not finite, "backward" if what it sends to an operand is not.
        line: where in the user's code it was called.
    """

    op: str
    direction: str
    step: int | None
    scope: str
    line: str

    def __str__(self) -> str:
        where = "" if self.step is None else f" of step {self.step}"
        where += f" in {terminal(self.scope)}" if self.scope else ""
        return f"{self.op}{where}, {self.direction}, at {self.line}"


@dataclass(frozen=True)
class Clipping:
    """What `clip_grad_norm_(parameters, max_norm)` would do to this gradient.

    Attributes:
        total_norm: of all gradients of all leaves as one vector, before clipping.
        factor: what every gradient would be multiplied by; 1 if it stays as it is.
        dominant: the steps that contribute most to the shared weights' gradients, with their share of the sum over
            steps.
    """

    max_norm: float
    total_norm: float
    factor: float
    dominant: list[tuple[int, float]]

    def __str__(self) -> str:
        steps = ", ".join(f"t = {t} ({share:.0%})" for t, share in self.dominant)
        does = f"multiply it by {self.factor:.3g}" if self.factor < 1 else "leave it as it is"
        text = f"clipping to {self.max_norm:g} would {does}: the total norm is {self.total_norm:.3g}"
        return text + (f", most of it from {steps}" if steps else "")


@dataclass(frozen=True, eq=False)
class Layer:
    """What was found for one layer and direction; `print` it for the sentence.

    Attributes:
        name: its scope.
        verdict: that of more than half of the sequences, as in `Memory`; "mixed" if there is none.
        memory: what the losses of all sequences say together: gain, half-life, horizon, ...
        sequences: the same for each sequence of the batch, within its own length.
        findings: causes and circumstances: cuts, dead units, saturation, a single step that does it all, chaos, ...
        masked: it vanishes, and yet |dL/dh_k| of the total loss looks healthy, because each step has a loss of its own.
        total: |dL/dh_k| of the total loss at every state: (K,), as `states`.
        reach: |dL_t/dh_k| of the losses one by one, for each sequence.
        advice: what can be said without trying.
        remedies: what was tried on a copy of the graph, the best first; None if nothing was.
    """

    name: str
    verdict: str
    memory: Memory
    sequences: list[Memory]
    findings: list[Finding]
    masked: bool
    total: Array
    reach: Reach
    advice: str
    remedies: list[Remedy] | None
    thresholds: Thresholds
    losses: list[Tensor] = field(repr=False)
    states: list[State] = field(repr=False)

    @cached
    def credit(self) -> Array:
        """C[t, k] = |dL_t/dh_k| over the whole batch, computed when first asked for: a backward pass for each loss."""
        return credit(self.losses, self.states)

    @property
    def last(self) -> Array:
        """|dL_T/dh_k| of the loss that looks back farthest, over the whole batch: (K,), as `states`."""
        return self.reach.last[_numbers(self.states)]

    @property
    def called(self) -> str:
        """The names of its tensors: "h", or "c,h" of an LSTM."""
        return ",".join(terminal(tensor.name or "h") for tensor in self.states[0])

    @property
    def pace(self) -> str:
        """In words, how many time steps lie between its states where it is not one, as a slow one has them; else ""."""
        least, most = paces(self.states)
        if most == 1:
            return ""
        return f"one step of this state is {least if least == most else f'{least} to {most}'} time steps"

    @property
    def verdicts(self) -> dict[str, int]:
        """How many sequences have each verdict, the most first."""
        return dict(Counter(memory.verdict for memory in self.sequences).most_common())

    def by_lag(self, quantiles: Sequence[float] = (0.1, 0.5, 0.9)) -> Array:
        """Quantiles over losses and sequences of |dL_t/dh_(t-lag)| relative to lag 0: (quantiles, lags + 1)."""
        return np.array([quantile(self.reach.curves.values, q) for q in quantiles])

    @property
    def measured(self) -> str:
        """The verdict and the numbers that say so."""
        counts = self.verdicts
        text = self.verdict
        if len(counts) > 1:
            others = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if verdict != self.verdict)
            own = f"{counts[self.verdict]} of " if self.verdict in counts else ""
            text += f" in {own}{len(self.sequences)} sequences ({others})"
        said = self.verdict if self.memory.verdict == "weak" else self.memory.verdict
        text += ": " if said == self.verdict else f"; all together {said}: "
        text += in_words(said, self.memory, self.thresholds)
        text += f" ({self.pace})" if self.pace else ""
        return text + (f" ({MASKED})" if self.masked else "")

    def __repr__(self) -> str:
        parts = [self.measured, *map(str, self.findings)]
        if self.remedies is not None:
            helps = [str(remedy) for remedy in self.remedies if remedy.helps][:4]
            parts.append(f"tried on a copy: {'; '.join(helps)}" if helps else "nothing that was tried on a copy helps")
        return "; ".join([*parts, *([self.advice] if self.advice else [])]) + "."


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose` found; `print` it for a sentence for each layer.

    Attributes:
        influence: what was measured by `influence`, if it was given.
    """

    layers: list[Layer]
    first_nonfinite: NonFinite | None
    clipping: Clipping
    influence: Influence | None = None

    @property
    def verdict(self) -> str:
        """Of the only layer; "mixed" where those of several differ."""
        verdicts = {layer.verdict for layer in self.layers}
        return verdicts.pop() if len(verdicts) == 1 else "mixed"

    def __repr__(self) -> str:
        lines = [
            f"{name}: {layer}" if name else str(layer) for name, layer in zip(self._names, self.layers, strict=True)
        ]
        if self.first_nonfinite is not None:
            lines[0] = f"first not finite: {self.first_nonfinite}; {lines[0]}"
        if self.influence is not None:
            lines = [f"does it use its past: {self.influence}.", *(f"can it learn to: {line}" for line in lines)]
        return "\n".join(lines)

    @property
    def _names(self) -> list[str]:
        """What tells the layers apart: the scope; where several share it, the states' names, and then their steps."""
        if len(self.layers) == 1:
            return [""]
        scopes = Counter(layer.name for layer in self.layers)
        names = [
            terminal(layer.name)
            if layer.name and scopes[layer.name] == 1
            else " ".join(filter(None, [terminal(layer.name), layer.called]))
            for layer in self.layers
        ]
        ends = [(layer.states[0][0].step, layer.states[-1][0].step) for layer in self.layers]
        return [
            f"{name} of steps {first} to {last}" if names.count(name) > 1 and first is not None else name
            for name, (first, last) in zip(names, ends, strict=True)
        ]

    def _repr_html_(self) -> str:
        lines = [f"<p style='margin:.3em 0'>{xml(line)}</p>" for line in str(self).split("\n")]
        return f'<div style="max-width:900px"><strong>{xml(self.verdict)}</strong>{"".join(lines)}</div>'


@checked
def diagnose(
    losses: Tensor | Sequence[Tensor],
    states: Sequence[Tensor | Sequence[Tensor]] | None = None,
    loss: Tensor | None = None,
    max_norm: float = 1.0,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 (frozen)
    influence: Influence | None = None,
    remedies: bool = False,
) -> Diagnosis:
    """Does the gradient of each loss reach the states before it, in every sequence?

    Args:
        losses: a scalar for each step; or one, which is taken apart into what enters at each step.
        states: h_t of one layer and direction, as for `credit`. Slices of stacked outputs, masked outputs and monotone
            functions of a state, such as `out[t]` or `relu(h_t)`, stand for the state that they were made from, and
            h_t of an LSTM for (h_t, c_t). By default every layer and direction behind the loss is diagnosed; a loop
            without `tg.steps` is found by the lines that repeat themselves.
        loss: what is trained on; by default the sum of the losses.
        max_norm: of the clipping whose effect is reported.
        thresholds: where the verdicts begin.
        influence: `influence(predict, xs)`, to be shown beside it: a network may use a past that its gradient does not
            reach, as a latch does.
        remedies: try what may help where the gradient vanishes, explodes or is too weak: the recorded graph is run
            again with other recurrent weights, input weights, gates or cells, about a dozen times, and measured.

    Returns:
        For each layer the verdict with the numbers that say so: medians over the losses and the sequences of a batch.

    Raises:
        GraphError: as `credit`; no loss depends on any state; or what was given for the states is beside the path of
            the gradient through time, and not to be traced to the state of one step; or no states were given, and
            none are behind the loss.
    """
    outputs = as_losses(losses, "diagnose")
    whole = loss if loss is not None else outputs[0] if len(outputs) == 1 else stack(outputs).sum()
    with np.errstate(all="ignore"):  # overflow is an answer here
        flow = Gradients(whole)
    if states is None:
        layers = [layer for layer in flow.structure.layers or repeated(flow.structure) if len(layer) > 1]
    else:
        with np.errstate(all="ignore"):
            layers = [on_the_path(as_states(states, "diagnose"), "diagnose", whole)]
    if not layers:
        is_cut = "leave out the detach or truncate that cuts the path between the steps"
        in_steps = "run the loop within `for t, x in tg.steps(xs)`, hand on the state itself, not its .data"
        in_steps += "; tg.checkpoint_steps keeps no steps to look at"
        steps = flow.structure.steps
        alone = f", but step {steps[0]} alone" if len(steps) == 1 and not flow.structure.cuts else ""
        one = "make each state from the one before it, not from its .data or zeros, and the loss from the last one"
        raise GraphError(
            f"diagnose: got no states, and no layer that hands a state from step to step is behind the loss{alone}; "
            f"{is_cut if flow.structure.cuts else one if alone else in_steps}, or pass the states"
        )
    found = diagnosis(flow, outputs, layers, max_norm, thresholds, remedies)
    if not any(layer.reach.losses for layer in found.layers):
        raise GraphError(
            "diagnose: no loss depends on any of the states with a gradient other than zero; pass the states that "
            "lead to the losses, and losses that are not constant or times zero"
        )
    return found if influence is None else replace(found, influence=influence)


def diagnosis(
    flow: Gradients,
    losses: list[Tensor],
    layers: Sequence[list[State]],
    max_norm: float = 1.0,
    thresholds: Thresholds = Thresholds(),  # noqa: B008
    remedies: bool = False,
) -> Diagnosis:
    """As `diagnose`, from the flow of the total loss and states that are on the path."""
    with np.errstate(all="ignore"), OneThread():
        starts = starts_of(flow, losses)
        bad = first_nonfinite(flow)
        found = [_layer(layer, starts, losses, flow, thresholds, bad is not None, remedies) for layer in layers]
        return Diagnosis(found, bad, clipping(flow, max_norm))


def _layer(
    states: list[State],
    starts: Sequence[Start],
    losses: list[Tensor],
    flow: Gradients,
    thresholds: Thresholds,
    broken: bool,
    remedies: bool,
) -> Layer:
    own = {tensor.index for state in states for tensor in state}
    layers = [{tensor.index for state in layer for tensor in state} for layer in flow.structure.layers]
    others = set().union(*(layer for layer in layers if own.isdisjoint(layer)))
    found, together = measure(states, starts, others, thresholds)
    shape = found.layout
    curves = found.curves
    each = [Memory.of(curves.values[curves.sequence == b], thresholds, shape.farthest) for b in range(shape.sequences)]
    verdict = _majority(each) if found.losses else "vanishing"
    whole = reach([(None, [(flow.loss, np.ones(flow.loss.shape, flow.loss.dtype))])], shape)
    total = norms(whole.norms, (0, 1)) if whole.losses else np.zeros(len(states))
    looks = Memory.of(whole.curves.values, thresholds).verdict
    special = findings(found, together, flow.structure, thresholds, whole=len(losses) == 1)
    return Layer(
        name=states[0][0].scope,
        verdict=verdict,
        memory=together,
        sequences=each,
        findings=special,
        masked=verdict == "vanishing" and looks == "healthy",
        total=total[_numbers(states)],
        reach=found,
        advice=advice(verdict, together, special, broken, all(own.verdict in (verdict, *QUIET) for own in each)),
        remedies=tried(flow, losses, shape, together, thresholds)
        if remedies and not broken and verdict in WANTING
        else None,
        thresholds=thresholds,
        losses=losses,
        states=states,
    )


def _numbers(states: list[State]) -> Array:
    """The place of each state in the order of running."""
    return np.argsort(np.argsort([state[0].index for state in states]))


def _majority(each: list[Memory]) -> str:
    if any(memory.verdict == "not finite" for memory in each):  # one spoils the sum
        return "not finite"
    told = [memory.verdict for memory in each if memory.verdict != "too short to tell"]
    if not told:
        return "too short to tell"
    verdict, n = Counter(told).most_common(1)[0]
    return verdict if n > len(told) / 2 else "mixed"


def first_nonfinite(flow: Gradients) -> NonFinite | None:
    """The first operation whose value, or else whose message backwards, is not finite."""
    nodes, leaves = flow.structure.nodes, flow.structure.leaves
    bad, direction = next((node for node in nodes if not np.isfinite(node.data).all()), None), "forward"
    if bad is None and not all(_finite(flow.gradient(tensor)) for tensor in (*nodes, *leaves)):
        direction, known = "backward", ((node, flow.gradient(node)) for node in reversed(nodes))
        sent = ((node, edge_gradients(node, g)) for node, g in known if g is not None)
        bad = next((node for node, messages in sent if not all(map(_finite, messages))), None)
    if bad is None or bad.primitive is None:
        return None
    line = str(origin.line(bad.origin)) if bad.origin is not None else "?"
    return NonFinite(bad.primitive.name, direction, bad.step, bad.scope, line)


def _finite(message: Array | Patch | None) -> bool:
    return message is None or bool(np.isfinite(message.value if isinstance(message, Patch) else message).all())


def clipping(flow: Gradients, max_norm: float, top: int = 3) -> Clipping:
    """The effect of clipping by norm, as PyTorch does it: factor = max_norm / (norm + 1e-6), if that is below 1."""
    size = norm(*(g for leaf in flow.structure.leaves if (g := flow.gradient(leaf)) is not None))
    shares = flow.step_norms()
    largest = [i for i in np.argsort(-shares, kind="stable")[:top] if shares[i] > 0]
    dominant = [(flow.structure.steps[i], float(shares[i] / shares.sum())) for i in largest]
    return Clipping(max_norm, size, min(1.0, max_norm / (size + 1e-6)), dominant)


__all__ = ["Clipping", "Diagnosis", "Layer", "NonFinite", "clipping", "diagnose", "first_nonfinite"]
