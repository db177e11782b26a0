"""Agreement: compare what a compiled program gives with the loss function itself, loss and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from ..core.backprop import grad, no_grad
from ..core.tensor import Array, Tensor
from ..errors import GraphError
from .containers import Arguments, own_tensors, tensors_in
from .randomness import States, rewound
from .signature import forward

_SHAKEN = 3  # times that rounding is imitated, where results differ


class FrozenError(GraphError):
    """A program has kept something for ever that changes from call to call."""

    def __init__(self, wrong: str) -> None:
        super().__init__(
            f"compile: {wrong}: it depends on values in a way that a program cannot follow (a Python if, random "
            "numbers, what other code changes); pass such things as arguments, use where() instead of if, or do not "
            "compile it"
        )


def by_gradients(loss_fn: Callable[..., Any], given: Arguments, found: Sequence[Array], before: States) -> str:
    """In words, what differs by more than rounding from the function and its gradients; empty if nothing does.

    Args:
        loss_fn: what is compiled.
        given: what it is called with.
        found: what the program gave: the loss, what is returned beside it, and the gradients.
        before: the generators that it drew from, and their states when it began.
    """
    tensors, arguments = given.bound()
    weights = tensors[: given.parameters or 0]

    def eager() -> list[Array]:
        if given.parameters is None:
            with no_grad():
                return values(loss_fn(*arguments))
        returned = loss_fn(*arguments)
        loss = returned[0] if isinstance(returned, tuple) else returned
        return [*values(returned), *(g._array for g in grad(loss, weights))]

    names = [weight.name or f"parameter {i}" for i, weight in enumerate(weights)]
    return _difference(eager, arguments, found, names, before)


def by_steps(
    loss_fn: Callable[..., Any],
    given: Arguments,
    found: Sequence[Array],
    before: States,
    known: set[int],
    run: Callable[[Sequence[Array]], Sequence[Array]],
) -> str:
    """The same for a long sequence, in little memory: the steps do what known ones do, and the values are those.

    Where gradients do not follow from that, they are compared too. It is looked at other numbers, where the function
    has a value at them: zeros give zero whichever of them is read, and that is what many weights begin with.

    Args:
        known: signatures of steps.
        run: the program, on other arrays of these shapes.
    """
    other = _elsewhere(given)
    with suppress(Exception):  # whatever the function makes of these numbers
        with rewound(before), np.errstate(all="ignore"):
            results = run(other.leaves)
        if np.isfinite(results[0]).all():
            with np.errstate(all="ignore"):
                return _by_steps(loss_fn, other, results, before, known)
    return _by_steps(loss_fn, given, found, before, known)


def _by_steps(
    loss_fn: Callable[..., Any], given: Arguments, found: Sequence[Array], before: States, known: set[int]
) -> str:
    tensors, arguments = given.bound()
    weights = tensors[: given.parameters or 0]
    with rewound(before):
        returned, signatures = forward(loss_fn, arguments, weights)
    if not known.issuperset(signatures.of_step.values()):
        return "a step does other operations than those of a shorter sequence"
    if signatures.hidden and given.parameters is not None:
        return by_gradients(loss_fn, given, found, before)
    once = [values(returned)]

    def eager() -> list[Array]:
        return once.pop() if once else values(forward(loss_fn, arguments, weights)[0])

    return _difference(eager, arguments, found, None, before)


def _elsewhere(given: Arguments) -> Arguments:
    """The arguments with other floats, of the same signs and somewhat smaller: probabilities remain probabilities.

    Those of modules, which other threads may use, remain.
    """
    rng, leaves = np.random.default_rng(0), []
    for x, own in zip(given.leaves, (own for value in given.values for own in own_tensors(value)), strict=True):
        if own is None and x.dtype.kind == "f":
            x = (np.where(x == 0, 0.3, x) * rng.uniform(0.7, 1, x.shape)).astype(x.dtype)
        leaves.append(x)
    return given._replace(leaves=leaves)


def values(returned: Any) -> list[Array]:
    """The arrays of what a loss function returned, the loss first."""
    return [tensor._array for tensor in tensors_in(returned)]


def _difference(
    eager: Callable[[], list[Array]],
    arguments: Sequence[Any],
    found: Sequence[Array],
    names: Sequence[str] | None,
    before: States,
) -> str:
    """What differs, if anything does.

    Where something differs, the function runs again on tensors changed in their last places: a chaotic network
    turns rounding into differences of any size, and is not accused of more.
    """

    def evaluate() -> list[Array]:
        with rewound(before):
            return eager()

    expected = evaluate()
    if names is None:
        found = found[: len(expected)]
    gaps = [_gap(x, y) for x, y in zip(found, expected, strict=True)]
    if all(gap <= tolerance for gap, tolerance in gaps):
        return ""
    once_more = [_gap(x, y) for x, y in zip(evaluate(), expected, strict=True)]
    if any(gap > tolerance for gap, tolerance in once_more):
        return "with the same arguments the loss function gives another result when it is called again"
    noise = [0.0] * len(gaps)
    for k in range(_SHAKEN):
        with _shaken(list(tensors_in(list(arguments))), np.random.default_rng(k)):
            again = evaluate()
        noise = [max(old, _gap(x, y)[0]) for old, x, y in zip(noise, again, expected, strict=True)]
    for i, ((gap, tolerance), rounding) in enumerate(zip(gaps, noise, strict=True)):
        if not gap <= tolerance + 100 * rounding and not np.isnan(rounding):
            return _words(i, found, expected, names or (), gap)
    return ""


def _words(i: int, found: Sequence[Array], expected: Sequence[Array], names: Sequence[str], gap: float) -> str:
    if found[i].size == 1 and i == 0:
        ours, own = (float(x[0].reshape(-1)[0]) for x in (found, expected))
        return f"the compiled loss is {ours:.8g}, and the loss function itself gives {own:.8g}"
    k = i - len(found) + len(names)
    what = f"the gradient of {names[k]}" if names and k >= 0 else "what is returned"
    return f"{what} differs from the loss function's own by {gap:.3g}"


def _gap(found: Array, expected: Array) -> tuple[float, float]:
    """The largest difference, and what rounding may make of it."""
    if not found.size:
        return 0.0, 0.0
    equal = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(all="ignore"):
        apart = np.where(equal, 0.0, np.abs(np.subtract(found, expected, dtype=np.float64)))
        largest = np.abs(expected).max(where=np.isfinite(expected), initial=0.0)
    precision = 1e-2 if expected.dtype.itemsize < 8 else 1e-6
    return float(apart.max()), precision * float(largest) + 1e-12


@contextmanager
def _shaken(weights: Sequence[Tensor], rng: np.random.Generator) -> Iterator[None]:
    """Run the body on parameters that are changed in their last places."""
    before = [weight._array for weight in weights]
    try:
        for weight in weights:
            x = weight._array
            if x.dtype.kind == "f":
                weight._array = (x + x * rng.uniform(-4, 4, x.shape) * np.finfo(x.dtype).eps).astype(x.dtype)
        yield
    finally:
        for weight, array in zip(weights, before, strict=True):
            weight._array = array
