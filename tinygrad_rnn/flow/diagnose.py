"""A plain verdict on a recurrent network's gradient: does it reach the past, fade, or explode, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..core.backprop import backprop
from ..core.context import context
from ..core.tensor import Array, Tensor
from ..debug import origin
from ..errors import GraphError
from ..escape import terminal
from ..ops import stack
from .cached import cached
from .credit import as_losses, as_states, credit
from .decay import MASKED, Decay
from .gradient_flow import GradientFlow
from .held import on_the_path
from .structure import State, structure
from .sweep import ToStates, norm


@dataclass(frozen=True)
class NonFinite:
    """The first operation, in the order of execution, that made a NaN or an infinity."""

    op: str
    direction: str
    """"forward" if its value is not finite, "backward" if what it sends to an operand is not."""
    step: int | None
    scope: str
    line: str
    """Where in the user's code it was called."""

    def __str__(self) -> str:
        where = "" if self.step is None else f" of step {self.step}"
        where += f" in {terminal(self.scope)}" if self.scope else ""
        return f"{self.op}{where}, {self.direction}, at {self.line}"


@dataclass(frozen=True)
class Clipping:
    """What `clip_grad_norm_(parameters, max_norm)` would do to this gradient."""

    max_norm: float
    total_norm: float
    """Of all gradients of all leaves as one vector, before clipping."""
    factor: float
    """What every gradient would be multiplied by; 1 if it stays as it is."""
    dominant: list[tuple[int, float]]
    """The steps that contribute most to the shared weights' gradients, with their share of the sum over steps."""

    def __str__(self) -> str:
        steps = ", ".join(f"t = {t} ({share:.0%})" for t, share in self.dominant)
        does = f"multiply it by {self.factor:.3g}" if self.factor < 1 else "leave it as it is"
        text = f"clipping to {self.max_norm:g} would {does}: the total norm is {self.total_norm:.3g}"
        return text + (f", most of it from {steps}" if steps else "")


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose` found; `print` it for the sentence."""

    verdict: str
    """"vanishing", "healthy" or "exploding"."""
    masked: bool
    """It vanishes, and yet |dL/dh_t| looks healthy at every step, because each step's own loss hides it."""
    gain: float
    half_life: float
    horizon: int | None
    decay: Decay
    node_norms: Array
    """|dL/dh_k| of the loss as a whole: (len(states),)."""
    first_nonfinite: NonFinite | None
    clipping: Clipping
    cuts: int
    """How often the flow was cut by detach or truncation on the way."""
    silent: int
    """How many losses at the end have no gradient at any state, and were passed over."""
    gated: bool
    """Whether the steps use a sigmoid, as the gates of an LSTM or GRU do."""
    losses: list[Tensor] = field(repr=False)
    states: list[State] = field(repr=False)

    @cached
    def credit(self) -> Array:
        """C[t, k] = |dL_t/dh_k|, computed when first asked for: it takes a backward pass for each loss."""
        return credit(self.losses, self.states)

    @property
    def remedy(self) -> str:
        """What usually helps."""
        if self.first_nonfinite is not None:
            return "lower the learning rate, clip the gradient, and look at that operation first"
        if self.verdict == "exploding":
            return "clip the gradient norm, or start W_hh at a spectral radius of 1 or below (orthogonal)"
        if self.verdict == "vanishing" and self.cuts:
            return "the gradient is cut on the way: truncate less often (a larger k2) if the task needs more past"
        if self.verdict == "vanishing":
            return f"{self._keep}; more steps will not make it remember more"
        if self.horizon is not None:
            return f"if the task needs more than {self.horizon} steps of past, {self._keep}"
        return "nothing to do"

    @property
    def _keep(self) -> str:
        if self.gated:
            return "start with the gates open, by a larger bias of the forget gate (LSTM) or update gate (GRU)"
        return "use an LSTM or GRU, or start W_hh orthogonal"

    @property
    def summary(self) -> str:
        """One sentence: the verdict, its numbers and a remedy."""
        text = f"{self.verdict}: {self.decay}" + (f" ({MASKED})" if self.masked else "")
        if self.silent:
            text += f"; judged from the last loss that has a gradient, {self.silent} before the end"
        if self.first_nonfinite is not None:
            text += f"; first not finite: {self.first_nonfinite}"
        return f"{text}; {self.remedy}."

    def __str__(self) -> str:
        return self.summary


def diagnose(
    losses: Tensor | Sequence[Tensor],
    states: Sequence[Tensor | Sequence[Tensor]] | None = None,
    loss: Tensor | None = None,
    max_norm: float = 1.0,
) -> Diagnosis:
    """Does the gradient of the last loss that has one reach the first state? In time linear in the number of steps.

    Args:
        losses: a scalar for each step, in the order of the steps; or one, of the last step or of the whole sequence.
        states: h_t of one layer and direction, as for `credit`; for an LSTM best the tuples (h_t, c_t). Every layer
            of `gradient_flow(loss).structure.layers` will do. Slices of stacked outputs, masked outputs and monotone
            functions of a state, such as `out[t]` or `relu(h_t)`, stand for the state that they were made from.
            By default those of the only layer and direction behind the loss.
        loss: what is trained on; by default the sum of the losses.
        max_norm: of the clipping whose effect is reported.

    Returns:
        The verdict with the numbers that say so.

    Raises:
        GraphError: as `credit`; no loss depends on any state; or what was given for the states is beside the path of
            the gradient through time, and not to be traced to the state of one step; or no states were given, and the
            loss has none or those of several layers behind it.
    """
    outputs = as_losses(losses, "diagnose")
    whole = loss if loss is not None else outputs[0] if len(outputs) == 1 else stack(outputs).sum()
    targets = _only_layer(whole) if states is None else as_states(states, "diagnose")
    with np.errstate(all="ignore"):
        targets = on_the_path(targets, "diagnose", whole)
        flow = GradientFlow(whole)
        norms, silent = _last_credit(outputs, targets, flow if whole is outputs[0] else None)
        decay = Decay.of(norms)
        node_norms = ToStates([whole], targets).norms([[(whole, np.ones(whole.shape, whole.dtype))]])[0]
        order = np.argsort([state[0].index for state in targets])[::-1]
        looks = Decay.of(node_norms[order])
        return Diagnosis(
            verdict=decay.verdict,
            masked=decay.masked_by(looks),
            gain=decay.gain,
            half_life=decay.half_life,
            horizon=decay.horizon,
            decay=decay,
            node_norms=node_norms,
            first_nonfinite=first_nonfinite(flow),
            clipping=clipping(flow, max_norm),
            cuts=len(flow.cuts),
            silent=silent,
            gated=any(_is_gate(node) for node in flow.structure.nodes),
            losses=outputs,
            states=targets,
        )


def _only_layer(loss: Tensor) -> list[State]:
    layers = structure(loss).layers
    if len(layers) != 1:
        raise GraphError(
            f"diagnose: got no states, and {len(layers)} layers and directions are behind the loss, expected one; pass "
            "the states of one, such as one of gradient_flow(loss).structure.layers"
            + ("" if layers else ", and run the loop within tg.steps(xs)")
        )
    return layers[0]


def _last_credit(losses: list[Tensor], states: list[State], flow: GradientFlow | None) -> tuple[Array, int]:
    """What the last loss says to each state, from the last it depends on backwards in the order of running.

    With a loss for every state it is that of the step in which the last state was made, which is step 0 for a layer
    that reads the sequence backwards. Of a single loss it is the part that enters at the last step. Otherwise it is the
    first or the last loss, whichever looks back further. Losses at the end without any gradient are passed over; the
    second result is how many.
    """
    running = sorted(states, key=lambda state: state[0].index)
    if len(losses) == 1:
        norms = (flow or GradientFlow(losses[0])).last_credit(running)
        if norms.any():
            return norms[::-1], 0
    candidates = [len(losses) - 1, 0]
    if len(losses) == len(states):
        steps = [state[0].step or 0 for state in states]
        candidates.insert(0, sorted(steps).index(running[-1][0].step or 0))
    rows = credit([losses[at] for at in candidates], running)
    chosen = int(np.argmax((rows != 0).sum(1)))
    if not rows[0].any():  # the last loss says nothing, as it does beyond the end of a sequence: ask those before
        backwards = range(len(losses))[:: 1 if candidates[0] == 0 < len(losses) - 1 else -1]
        for at in backwards:
            norms = credit([losses[at]], running)[0]
            if norms.any():
                return norms[::-1], backwards.index(at)
        raise GraphError(
            "diagnose: no loss depends on any of the states with a gradient other than zero; pass the states that "
            "lead to the losses, and losses that are not constant or times zero"
        )
    return np.asarray(rows[chosen, ::-1]), 0


def _is_gate(node: Tensor) -> bool:
    if node.step is None or node.primitive is None:
        return False
    return node.primitive.traits.elementwise and node.primitive.traits.bounds == (0, 1)


def first_nonfinite(flow: GradientFlow) -> NonFinite | None:
    """The first operation whose value, or else whose message backwards, is not finite."""
    for node in flow.structure.nodes:
        if not np.isfinite(node.data).all():
            return _name(node, "forward")
    culprits: list[Tensor] = []

    def watch(op: str, node: Tensor, message: Array | Tensor | None) -> None:
        if message is not None and not culprits and not np.isfinite(message).all():
            culprits.append(node)

    with context(watch=watch):
        backprop([flow.loss], [np.ones(flow.loss.shape, flow.loss.dtype)])
    return _name(culprits[0], "backward") if culprits else None


def _name(node: Tensor, direction: str) -> NonFinite:
    op = node.primitive.name if node.primitive is not None else "?"
    line = str(origin.line(node.origin)) if node.origin is not None else "?"
    return NonFinite(op, direction, node.step, node.scope, line)


def clipping(flow: GradientFlow, max_norm: float, top: int = 3) -> Clipping:
    """The effect of clipping by norm, as PyTorch does it: factor = max_norm / (norm + 1e-6), if that is below 1."""
    leaves = [g for leaf in flow.structure.leaves if (g := flow.gradient(leaf)) is not None]
    size = norm(*leaves)
    shares = flow.step_norms()
    largest = [i for i in np.argsort(-shares, kind="stable")[:top] if shares[i] > 0]
    dominant = [(flow.structure.steps[i], float(shares[i] / shares.sum())) for i in largest]
    return Clipping(max_norm, size, min(1.0, max_norm / (size + 1e-6)), dominant)


__all__ = ["Clipping", "Diagnosis", "NonFinite", "clipping", "diagnose", "first_nonfinite"]
