"""Numerical proof of a gradient: what autodiff says against what the function does when its inputs move.

The numbers come from the complex step, f(x + ih) = f(x) + ih f'(x) + O(h^2), which cancels nothing and
is exact to rounding (Squire and Trapp, 1998), where the function is analytic; else from fourth-order
central differences. A few entries are checked one by one, many by random projections.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.exceptions import ComplexWarning

from ..core.arguments import checked
from ..core.backprop import grad, no_grad
from ..core.context import context
from ..core.tensor import Array, Tensor, numeric, raw
from ..errors import GradientError, InputError

_EACH = 64
"""Inputs of up to so many entries are checked entry by entry."""
_PROJECTIONS = 4
"""Random directions that larger inputs are checked along."""


@dataclass(frozen=True)
class Gradcheck:
    """The outcome of `gradcheck`; true where every gradient agrees.

    Attributes:
        ok: whether all agree within the tolerance.
        order: of the derivative that was checked, 1 or 2.
        method: how the numbers were found.
        checks: how many numbers were compared.
        input, index: the worst entry: which input, and where in it.
        autodiff, numerical: the derivative there, both ways.
        error: |autodiff - numerical| / max(|numerical|, 1), the worst one.
    """

    ok: bool
    order: int
    method: str
    checks: int
    input: str
    index: tuple[int, ...]
    autodiff: float
    numerical: float
    error: float

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        if not self.checks:
            return f"order {self.order}: nothing to compare, every input is empty"
        verdict = "agree" if self.ok else "DISAGREE"
        return (
            f"order {self.order}: {self.checks} derivatives {verdict} ({self.method}); worst at "
            f"{self.input}{list(self.index)}: autodiff {self.autodiff:.12g}, numerical {self.numerical:.12g}, "
            f"error {self.error:.1e}"
        )


@checked
def gradcheck(
    fn: Callable[..., Any], inputs: Any, order: int = 1, tolerance: float = 1e-6, seed: int = 0, raises: bool = True
) -> Gradcheck:
    """Compare the gradients of `fn` with numerical ones, in float64.

    Args:
        fn: takes tensors and gives a tensor (or a tuple or list of them), of any shape.
        inputs: a list of arrays or tensors to call it with (one alone need not be in a list); those that
            are not floating, such as indices, are passed on and not differentiated.
        order: 1, or 2 to check the gradient and the gradient of the gradient.
        tolerance: the largest error, relative for derivatives above 1 and absolute below.
        seed: of the random projections.
        raises: raise if they disagree; False returns the report all the same.

    Returns:
        A report that names the worst entry; of the second order if that was asked for and the first holds.

    Raises:
        GradientError: autodiff and the numbers disagree; it carries the report's text.
        InputError: `fn` gives other values when it is called again, no tensor, or `order` is not 1 or 2.
    """
    if order not in (1, 2):
        raise InputError(f"gradcheck: got order={order!r}, expected 1 or 2")
    given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    arrays = [np.array(numeric(raw(x), "gradcheck")) for x in given]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
    rng = np.random.default_rng(seed)
    first = [_values(y) for y in _outputs(fn, arrays)]
    if any(not np.array_equal(a, _values(b), equal_nan=True) for a, b in zip(first, _outputs(fn, arrays), strict=True)):
        raise InputError("gradcheck: the function gives other values when called again; fix its random numbers")
    weights = [rng.normal(size=y.shape) for y in first]
    names = _names(fn, given)
    scalar = _projected(fn, len(given))
    report = _compare(scalar, [*arrays, *weights], names, 1, tolerance, rng, len(weights), recorded=order == 2)
    if report and order == 2:
        report = _second(fn, arrays, weights, names, tolerance, rng)
    if raises and not report:
        raise GradientError(f"gradcheck: {report}")
    return report


def _second(fn: Any, arrays: list[Array], weights: list[Array], names: list[str], tolerance: float, rng: Any) -> Any:
    """Check the gradient as a function of the inputs and of the gradient that it starts from."""
    scalar = _projected(fn, len(arrays))
    at = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    directions = [rng.normal(size=arrays[i].shape) for i in at]

    def gradient(*args: Tensor) -> Any:
        tensors = [t if t.requires_grad else Tensor(t, requires_grad=t.dtype.kind == "f") for t in args]
        value = scalar(*tensors)
        if not value.requires_grad:
            return value * 0
        found = grad(value, [tensors[i] for i in at], create_graph=True)
        return sum((np.sum(g * v) for g, v in zip(found, directions, strict=True)), value * 0)

    names = [*names, *(f"gradient of output {i}" for i in range(len(weights)))]
    return _compare(gradient, [*arrays, *weights], names, 2, tolerance, rng, 0)


def _projected(fn: Any, n: int) -> Callable[..., Any]:
    """`fn` with its outputs multiplied by fixed weights and added up: one number, that all of them change."""

    def scalar(*args: Any) -> Any:
        outputs = _as_list(fn(*args[:n]))
        return sum(
            (np.sum(y * w) for y, w in zip(outputs[1:], args[n + 1 :], strict=True)), np.sum(outputs[0] * args[n])
        )

    return scalar


def _compare(
    scalar: Callable[..., Any],
    arrays: list[Array],
    names: list[str],
    order: int,
    tolerance: float,
    rng: Any,
    fixed: int,
    recorded: bool = False,
) -> Gradcheck:
    """Differentiate `scalar` both ways by all arrays but the last `fixed` ones.

    A gradient that is wrong consistently agrees with its own derivatives. So what the second order starts from, the
    gradient that records itself, is compared with the numbers, too, if `recorded`.
    """
    at = [i for i, a in enumerate(arrays[: len(arrays) - fixed]) if a.dtype.kind == "f"]
    if not at:
        raise InputError("gradcheck: no input is floating, so there is nothing to differentiate by")
    tensors = [Tensor(a, requires_grad=i in at) for i, a in enumerate(arrays)]
    value = scalar(*tensors)
    ways = [
        [g.data for g in grad(value, [tensors[i] for i in at], create_graph)]
        if value.requires_grad
        else [np.zeros_like(arrays[i]) for i in at]
        for create_graph in (False, True)[: 1 + recorded]
    ]

    slope, method = _slope(scalar, arrays, at, rng, order)
    checks = 0
    worst: tuple[float, str, tuple[int, ...], float, float] = (-1.0, "", (), 0.0, 0.0)
    for i, *found in zip(at, *ways, strict=True):
        size = arrays[i].size
        if size <= _EACH:
            probes = [np.eye(1, size, k).reshape(arrays[i].shape) for k in range(size)]
        else:
            probes = [rng.normal(size=arrays[i].shape) / np.sqrt(size) for _ in range(_PROJECTIONS)]
        for direction in probes:
            measured = slope(i, direction)
            for g in found:
                checks += 1
                probe, analytic, numerical = direction, float(np.sum(g * direction)), measured
                error = _error(analytic, numerical)
                if size > _EACH and not error <= tolerance:
                    probe = _bisect(g, slope, i, probe)
                    analytic, numerical = float(np.sum(g * probe)), slope(i, probe)
                    error = max(error, _error(analytic, numerical))
                if not error <= worst[0]:
                    index = tuple(int(k) for k in np.unravel_index(int(np.argmax(np.abs(probe))), probe.shape))
                    worst = (error, names[i], index, analytic, numerical)
    ok = bool(worst[0] <= tolerance)
    return Gradcheck(ok, order, method, checks, worst[1], worst[2], worst[3], worst[4], worst[0])


def _error(analytic: float, numerical: float) -> float:
    return abs(analytic - numerical) / max(abs(numerical), 1.0)


def _bisect(g: Array, slope: Callable[[int, Array], float], i: int, probe: Array) -> Array:
    """Halve a direction along which the two disagree until one entry of it is left."""
    entries = np.flatnonzero(probe)
    while len(entries) > 1:
        halves = np.array_split(entries, 2)
        gaps = []
        for half in halves:
            part = np.zeros(probe.size)
            part[half] = probe.ravel()[half]
            gaps.append(abs(float(g.ravel() @ part) - slope(i, part.reshape(probe.shape))))
        entries = halves[int(np.argmax(gaps))]
    single = np.zeros(probe.size)
    single[entries] = 1.0
    return single.reshape(probe.shape)


def _slope(scalar: Any, arrays: list[Array], at: list[int], rng: Any, order: int) -> tuple[Callable[..., float], str]:
    """How fast `scalar` changes when array `i` moves along a direction, and the method's name."""

    def value(i: int, moved: Array) -> Any:
        args = [Tensor(moved if j == i else a) for j, a in enumerate(arrays)]
        with context(recording=order > 1):  # the second order differentiates a gradient, which needs a graph
            return raw(scalar(*args))

    def complex_step(i: int, direction: Array) -> float:
        result = value(i, arrays[i] + 1e-30j * direction)
        if result.dtype.kind != "c":
            raise TypeError("the result is not complex")
        return float(result.imag) / 1e-30

    def central(i: int, direction: Array) -> float:
        h = 1e-4
        near = value(i, arrays[i] + h * direction) - value(i, arrays[i] - h * direction)
        far = value(i, arrays[i] + 2 * h * direction) - value(i, arrays[i] - 2 * h * direction)
        return float(8 * near - far) / (12 * h)

    if order == 1:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", ComplexWarning)
                for i in at:
                    direction = rng.normal(size=arrays[i].shape) / max(arrays[i].size, 1) ** 0.5
                    if _error(complex_step(i, direction), central(i, direction)) > 1e-6:
                        return central, "central differences"
            return complex_step, "complex step"
        except Exception:  # whatever it is, the function does not take complex numbers
            pass
    return central, "central differences"


def _outputs(fn: Any, arrays: Sequence[Array]) -> list[Any]:
    with no_grad():
        return _as_list(fn(*map(Tensor, arrays)))


def _as_list(outputs: Any) -> list[Any]:
    listed = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    if not listed or not all(isinstance(y, (Tensor, np.ndarray)) for y in listed):
        raise InputError(f"gradcheck: the function gave {type(outputs).__name__}, expected a Tensor or several")
    return listed


def _values(y: Any) -> Array:
    return np.asarray(raw(y))


def _names(fn: Any, given: list[Any]) -> list[str]:
    parameters: list[str] = []
    with suppress(TypeError, ValueError):  # builtins, and ufuncs of older NumPy, do not tell
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = [p.name for p in inspect.signature(fn).parameters.values() if p.kind in positional]
    parameters += [f"input {i}" for i in range(len(parameters), len(given))]
    return [(x._name if isinstance(x, Tensor) else None) or name for x, name in zip(given, parameters, strict=False)]


__all__ = ["Gradcheck", "gradcheck"]
