"""Optimisers: each is its update rule, with PyTorch's arguments, defaults and order of operations.

    optimiser = tg.optim.Adam(model.parameters(), lr=1e-3)
    loss.backward()
    tg.optim.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad()

A parameter without a gradient is left alone. `state_dict()` is arrays and numbers only, so that it is
saved without pickle, and continuing from it is exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import ClassVar

import numpy as np

from .core.arguments import Bound, Count, NotNegative, Positive, Probability, checked
from .core.tensor import Array, Tensor, writable
from .errors import GraphError, InputError, ShapeError


class Optimizer:
    """Base of the optimisers: holds the parameters, and a state of arrays for each.

    Args:
        parameters: tensors that require a gradient, such as `model.parameters()`.
        lr: the learning rate; `lr` may be changed at any time, as a schedule does.
        weight_decay: adds `weight_decay * p` to each gradient (L2), except where said otherwise.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the arrays that the rule keeps for each parameter, all starting at zero."""
    decoupled: ClassVar[bool] = False
    """Whether the decay is taken off the parameter itself, lr * weight_decay * p, and is no part of the gradient."""

    @checked
    def __init__(self, parameters: Iterable[Tensor], lr: NotNegative, weight_decay: NotNegative = 0.0) -> None:
        self.parameters = list(parameters)
        if not self.parameters:
            raise InputError(
                f"{type(self).__name__}: got no parameters; pass model.parameters() of a model whose attributes "
                "are tensors with requires_grad=True"
            )
        for p in self.parameters:
            if not isinstance(p, Tensor) or not p.requires_grad or not p.is_leaf:
                raise InputError(f"{type(self).__name__}: {p!r:.60} is not a leaf tensor with requires_grad=True")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise InputError(f"{type(self).__name__}: a parameter is given twice, and would be adjusted twice")
        self.lr = lr
        self.weight_decay = weight_decay
        self.steps = 0
        self.state = [{name: np.zeros_like(p.data) for name in self.slots} for p in self.parameters]

    def step(self) -> None:
        """Adjust every parameter that has a gradient, in place."""
        self.steps += 1
        for p, state in zip(self.parameters, self.state, strict=True):
            if p.grad is not None:
                array = writable(p)
                g = p.grad
                if self.weight_decay and self.decoupled:
                    array *= 1 - self.lr * self.weight_decay
                elif self.weight_decay:
                    g = g + self.weight_decay * array
                self.update(array, g, **state)

    def update(self, p: Array, g: Array, **state: Array) -> None:
        """The rule: change the array `p` and its state in place, given its gradient `g`."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Forget the gradients; `backward` adds to what is there."""
        for p in self.parameters:
            p.grad = None

    def state_dict(self) -> dict[str, Array]:
        """Everything that the next step depends on, as arrays: "steps", "lr", "0.velocity", ..."""
        found: dict[str, Array] = {"steps": np.array(self.steps), "lr": np.array(self.lr)}
        for i, state in enumerate(self.state):
            found |= {f"{i}.{name}": array.copy() for name, array in state.items()}
        return found

    @checked
    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Continue where another optimiser of the same kind and parameters stopped.

        Raises:
            InputError: the names do not fit this optimiser.
            ShapeError: an array does not fit its parameter.
        """
        own = self.state_dict()
        if set(own) != set(state):
            odd = ", ".join(sorted(set(own) ^ set(state))[:4])
            raise InputError(f"{type(self).__name__}: the saved state does not fit ({odd}); was it another optimiser?")
        for name, array in own.items():
            if np.shape(state[name]) != array.shape:
                given = np.shape(state[name])
                raise ShapeError(f"{type(self).__name__}: {name} has shape {given}, expected {array.shape}")
        self.steps, self.lr = int(state["steps"]), float(state["lr"])
        for i, slots in enumerate(self.state):
            for name, array in slots.items():
                array[...] = state[f"{i}.{name}"]


class SGD(Optimizer):
    """Gradient descent: p -= lr * g; with momentum m, v = m v + g and p -= lr * v.

    Args:
        momentum: m, 0 for none.
        nesterov: look ahead: p -= lr * (g + m v).
    """

    slots = ("velocity",)

    @checked
    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: NotNegative = 1e-3,
        momentum: Probability = 0.0,
        weight_decay: NotNegative = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        if nesterov and not momentum:
            raise InputError(f"SGD: got momentum={momentum}, nesterov=True; expected a momentum above 0")
        self.momentum = momentum
        self.nesterov = nesterov

    def update(self, p: Array, g: Array, **state: Array) -> None:
        if self.momentum:
            v = state["velocity"]
            v *= self.momentum
            v += g
            g = g + self.momentum * v if self.nesterov else v
        p -= self.lr * g


class Adagrad(Optimizer):
    """Duchi et al., 2011: s += g²; p -= lr * g / (sqrt(s) + eps)."""

    slots = ("squares",)

    @checked
    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: NotNegative = 1e-2,
        weight_decay: NotNegative = 0.0,
        eps: NotNegative = 1e-10,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.eps = eps

    def update(self, p: Array, g: Array, **state: Array) -> None:
        s = state["squares"]
        s += g * g
        p -= self.lr * g / (np.sqrt(s) + self.eps)


class RMSprop(Optimizer):
    """Hinton, 2012: s = a s + (1 - a) g²; p -= lr * g / (sqrt(s) + eps)."""

    slots = ("squares",)

    @checked
    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: NotNegative = 1e-2,
        alpha: Probability = 0.99,
        eps: NotNegative = 1e-8,
        weight_decay: NotNegative = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.alpha = alpha
        self.eps = eps

    def update(self, p: Array, g: Array, **state: Array) -> None:
        s = state["squares"]
        s *= self.alpha
        s += (1 - self.alpha) * g * g
        p -= self.lr * g / (np.sqrt(s) + self.eps)


class Adam(Optimizer):
    """Kingma and Ba, 2015: averages of g and g², each corrected for starting at zero.

    m = b1 m + (1 - b1) g; s = b2 s + (1 - b2) g²; p -= lr * m' / (sqrt(s') + eps). The correction counts the updates
    of each parameter, as one without a gradient is left alone.
    """

    slots = ("mean", "squares")

    @checked
    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: NotNegative = 1e-3,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: NotNegative = 1e-8,
        weight_decay: NotNegative = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.betas = betas
        self.eps = eps
        for state in self.state:
            state["updates"] = np.zeros((), np.int64)

    def update(self, p: Array, g: Array, **state: Array) -> None:
        m, s = state["mean"], state["squares"]
        state["updates"] += 1
        n = int(state["updates"])
        b1, b2 = self.betas
        m *= b1
        m += (1 - b1) * g
        s *= b2
        s += (1 - b2) * g * g
        unbiased = np.sqrt(s) / math.sqrt(1 - b2**n) + self.eps
        p -= self.lr / (1 - b1**n) * (m / unbiased)


class AdamW(Adam):
    """Loshchilov and Hutter, 2019: Adam whose decay, p -= lr * weight_decay * p, bypasses the averages."""

    decoupled = True

    @checked
    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: NotNegative = 1e-3,
        betas: tuple[Probability, Probability] = (0.9, 0.999),
        eps: NotNegative = 1e-8,
        weight_decay: NotNegative = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)


# ---------------------------------------------------------------------- clipping
@checked
def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: Bound) -> float:
    """Scale all gradients together so that their norm, as one vector, is at most `max_norm`.

    Returns:
        The norm before clipping.

    Raises:
        GraphError: the norm is NaN or infinite, and scaling would spread it to every parameter.
    """
    gradients = _gradients(parameters)
    norm = math.sqrt(sum(float(np.sum(np.square(g, dtype=np.float64))) for _, g in gradients))
    if not math.isfinite(norm):
        worst = next((p.describe() for p, g in gradients if not np.isfinite(g).all()), "the sum of their squares")
        raise GraphError(
            f"clip_grad_norm_: the gradients are not finite, first in {worst}; see whether the data hold nan, or "
            "lower the learning rate; detect_anomaly() names the operation"
        )
    scale = max_norm / (norm + 1e-6)
    if scale < 1:
        for _, g in gradients:
            g *= scale
    return norm


@checked
def clip_grad_value_(parameters: Iterable[Tensor], clip_value: Bound) -> None:
    """Cut every entry of every gradient to [-clip_value, clip_value]."""
    for _, g in _gradients(parameters):
        np.clip(g, -clip_value, clip_value, out=g)


def _gradients(parameters: Iterable[Tensor]) -> list[tuple[Tensor, Array]]:
    return [(p, p.grad) for p in parameters if p.grad is not None]


# ---------------------------------------------------------------------- schedules
Schedule = Callable[[int], float]
"""From the number of steps taken so far to a factor for the learning rate. Those made here can be pickled."""


def constant() -> Schedule:
    """Always 1."""
    return partial(_decayed, 1, 1.0)


@checked
def step_decay(every: Positive, factor: NotNegative = 0.1) -> Schedule:
    """Times `factor` after each `every` steps (PyTorch's StepLR)."""
    return partial(_decayed, every, factor)


@checked
def exponential(factor: NotNegative) -> Schedule:
    """Times `factor` at each step."""
    return partial(_decayed, 1, factor)


@checked
def cosine(total: Count, warmup: Count = 0, end: NotNegative = 0.0) -> Schedule:
    """Up from 0 in a straight line over `warmup` steps, then down to `end` along half a cosine."""
    return partial(_cosine, total, warmup, end)


def _decayed(every: int, factor: float, step: int) -> float:
    return float(factor ** (step // every))


def _cosine(total: int, warmup: int, end: float, step: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return end + (1 - end) * 0.5 * (1 + math.cos(math.pi * progress))


__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "Schedule", "clip_grad_norm_", "clip_grad_value_"]
__all__ += ["constant", "cosine", "exponential", "step_decay"]
