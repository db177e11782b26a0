"""Primitive: a NumPy function and, for each input, its vector-Jacobian product (vjp).

A vjp is written once, in NumPy, in terms of the gradient `g` of the output, the output `y` and the
inputs, followed by the parameters by name:

    tanh = primitive(np.tanh, vjps=[lambda g, y, x: g * (1 - y * y)])

On arrays that line is the backward pass; on tensors it records itself, which is double backward;
and traced it is what the compiler optimises. Summing a gradient back over broadcast axes and
casting it to the input's dtype is the engine's work, never a rule's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, get_type_hints, overload

import numpy as np

from ..debug import messages
from ..errors import TensorError
from . import array as _array
from . import tensor as _tensor
from .arguments import USUAL, Kinds, check
from .cached import cached
from .context import current, step_of
from .operation import Operation, Vjp, usage
from .tensor import NO_ATTRS, Array, Axis, Operand, Tensor, constant, make_result, numeric, registry, take_name
from .traits import NOTHING, Traits

primitives: dict[str, Primitive] = {}
"""Every primitive by name: the table of calculus, for tests and tools to walk."""

composites: dict[str, Callable[..., Any]] = {}
"""Every function of the table that is written with primitives, by name."""

USUAL.add(Tensor)

_PACKAGE = __name__.partition(".")[0] + "."
_getframe = sys._getframe
_operators = {id(_array.__dict__), id(_tensor.__dict__)}
"""Modules (by their globals) whose functions are one operation of the user's line, and so give it its name."""
_transparent = {*_operators, id(globals())}
"""Modules whose frames stand between the user's line and the primitive."""


class Primitive(Operation):
    """A differentiable function; calling it computes, and records where a gradient will be wanted.

    Without a tensor among the operands it is just NumPy and returns an array, so rules and users
    can call the same function on both.
    """

    defined_in: tuple[str, str]
    is_numpys = False
    """Whether a function of NumPy does the work, and looks at axes and flags itself."""

    @cached
    def _kinds(self) -> Kinds:
        return Kinds(self.name, self.function, (bool, int, Axis, int | None) if self.is_numpys else ())

    def extend(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let `function` stand for it in calls with keywords that it does not have itself; a decorator."""
        self.extended = _explained(self.name, function)
        return function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != self.arity:
            if self.extended is not None and not kwargs.keys() <= self.defaults.keys():
                return self.extended(*args, **kwargs)
            operands, attrs = self.bind(args, kwargs)
            if attrs is not self.defaults and self.own and self._kinds.says_more:
                self._kinds.compare(args, kwargs)
            return self.apply(operands, attrs)
        return self.apply(args, self.defaults)

    def apply(self, operands: tuple[Operand, ...], attrs: Mapping[str, Any] = NO_ATTRS) -> Any:
        """Compute, and record where a gradient is wanted: what a call and an operator come down to.

        The user's line is two frames above, or further if functions of the table stand between.
        """
        recording, tracing, step, scope, watch, _, loop, _ = now = current.get()
        if tracing and self.traits.parts is not None:
            return self.traits.parts(*operands, **attrs)
        found = False
        if self.arity == 2:  # one or two tensors are the usual case, and looked at without a loop
            left, right = operands
            if type(left) is Tensor and type(right) is Tensor:
                found, wanted = True, left.requires_grad or right.requires_grad
                arrays: Any = (left._array, right._array)
        elif self.arity == 1:
            (left,) = operands
            if type(left) is Tensor:
                found, wanted, arrays = True, left.requires_grad, (left._array,)
        if not found:
            operands, arrays, found, wanted = self._accept(operands)
        try:
            y = self.compute(*arrays, **attrs) if attrs else self.compute(*arrays)
        except TensorError:
            raise
        except Exception as error:
            raise self._explained(operands, attrs, error) from error
        if not found or not (tracing or self.differentiable):
            return y

        wanted = wanted and recording and self.differentiable
        if type(y) is not np.ndarray or y.dtype.kind != "f":
            y = self._numbers(y, wanted)
            wanted = wanted and y.dtype.kind == "f"
        if not self.is_ufunc:
            y = _apart(y, arrays)
        frame = _getframe(2)
        if step is None and loop is not None:
            step = loop.step if loop.sure else step_of(now, frame)
        name = None
        while id(frame.f_globals) in _transparent and frame.f_back is not None:
            if id(frame.f_globals) not in _operators:
                name = ""  # what a function of the table makes on its way has no name
            frame = frame.f_back
        code, offset = frame.f_code, frame.f_lasti
        operation = self if wanted or tracing else None
        result = make_result(y, operation, operands, attrs, wanted, step, scope, code, offset, name)
        if watch is not None:
            watch(self.name, result, None)
        return result

    def _explained(self, operands: tuple[Operand, ...], attrs: Mapping[str, Any], error: Exception) -> TensorError:
        given = {k: v for k, v in attrs.items() if v is not self.defaults.get(k)}
        now = current.get()
        return messages.failed(self.name, operands, given, error, self.usage, step_of(now), now.scope)

    def _numbers(self, y: Any, wanted: bool) -> Array:
        """What the function gave, as an array of numbers that may carry a gradient if one is `wanted`."""
        y = numeric(y, f"{self.name}, what its function gave")
        if wanted and y.dtype.kind == "c":
            raise messages.complex_result(self, y.dtype)
        return y

    def _accept(self, operands: Sequence[Operand]) -> tuple[tuple[Operand, ...], list[Any], bool, bool]:
        """The operands, their arrays, whether one is a tensor, and whether one requires a gradient.

        Beside a tensor, arrays and lists become constant leaves, so that the graph holds every operand it used.
        """
        if all(type(x) is Tensor for x in operands):
            arrays = [x._array for x in operands]
            return tuple(operands), arrays, bool(arrays), any(x.requires_grad for x in operands)
        accepted: list[Any] = []
        arrays = []
        found = wanted = False
        for operand in operands:
            kind = type(operand)
            if kind is Tensor:
                found = True
                wanted = wanted or operand.requires_grad
                arrays.append(operand._array)
            elif kind is float or kind is bool or kind is complex:
                arrays.append(operand)
            elif kind is int:
                if not -(2**63) <= operand < 2**63:
                    operand = numeric(operand, self.name).item()  # a float: NumPy would compute with objects
                arrays.append(operand)
            else:
                array = numeric(operand, self.name)
                operand = operand if isinstance(operand, np.generic) else array
                arrays.append(operand)
            accepted.append(operand)
        if found:
            accepted = [constant(x) if type(x) is np.ndarray else x for x in accepted]
        return tuple(accepted), arrays, found, wanted


@overload
def primitive(
    function: Callable[..., Any],
    *,
    vjps: Sequence[Vjp | None] | Vjp,
    of: Callable[..., Any] | None = None,
    name: str | None = None,
    doc: str | None = None,
    traits: Traits = NOTHING,
) -> Primitive: ...


@overload
def primitive(
    *,
    vjps: Sequence[Vjp | None] | Vjp,
    of: Callable[..., Any] | None = None,
    name: str | None = None,
    doc: str | None = None,
    traits: Traits = NOTHING,
) -> Callable[[Callable[..., Any]], Primitive]: ...


def primitive(
    function: Callable[..., Any] | None = None,
    *,
    vjps: Sequence[Vjp | None] | Vjp,
    of: Callable[..., Any] | None = None,
    name: str | None = None,
    doc: str | None = None,
    traits: Traits = NOTHING,
) -> Any:
    """Make a function differentiable: give its vjp rules, get something that works on tensors.

    As a call for a ufunc, `tanh = primitive(np.tanh, vjps=[...])`; as a decorator for a function
    with parameters, `@primitive(vjps=[...], of=np.sum)`.

    Args:
        function: computes the output from arrays; what follows the operands are parameters.
        vjps: a rule for each operand, called as `rule(g, y, *operands, **parameters)`: the gradient of the result, the
            result, all operands, and the parameters by name, whose defaults the function gives; it returns the
            gradient of its operand, of the shape of the result (the engine sums over broadcast axes) or of the
            operand. None: no gradient. Where the function takes a sequence of operands, one rule in place of the
            list, `rule(g, y, operands, **parameters)`, which returns a gradient, or None, for each.
        of: the NumPy function that it stands for on tensors; a ufunc stands for itself.
        name: what errors and pictures call it; by default the function's name.
        doc: its docstring; by default the function's.
        traits: what else is known of it; without them the compiler and pictures assume nothing.

    Raises:
        TensorError: another primitive has that name already (the same one again, as when a notebook's cell is
            run once more, replaces it), or a rule cannot be called with the operands and parameters.
    """
    given = {"function": function, "vjps": vjps, "of": of, "name": name, "doc": doc, "traits": traits}
    check("primitive", given, get_type_hints(primitive))
    if function is None:
        return lambda decorated: primitive(decorated, vjps=vjps, of=of, name=name, doc=doc, traits=traits)
    made = Primitive(function, vjps, name or function.__name__, doc or function.__doc__ or "", traits)
    made.defined_in, made.is_numpys = _definer(function), of is not None
    known = primitives.get(made.name)
    if known is not None and (known.defined_in != made.defined_in or made.defined_in[0].startswith(_PACKAGE)):
        raise messages.name_taken(made.name)
    primitives[made.name] = made
    stands_for = of or (function if isinstance(function, np.ufunc) else None)
    registry[stands_for or made.name] = made
    return made


def _explained(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function as part of the table: its errors are explained, and its result gets the variable's name."""
    kinds = Kinds(name, function)

    @wraps(function)
    def explained(*args: Any, **kwargs: Any) -> Any:
        if kinds.says_more or not args or type(args[0]) is not Tensor:
            kinds.compare(args, kwargs)
        try:
            result = function(*args, **kwargs)
        except TensorError:
            raise
        except Exception as error:
            now = current.get()
            raise messages.failed(name, args, kwargs, error, usage(name, function), step_of(now), now.scope) from error
        caller: Any = _getframe(1)
        caller = caller.f_back if caller.f_globals is globals() else caller
        if id(caller.f_globals) not in _transparent or id(caller.f_globals) in _operators:
            for each in result if type(result) in (list, tuple) else (result,):
                if type(each) is Tensor:
                    take_name(each)
        return result

    return explained


def _apart(y: Array, arrays: Sequence[Any]) -> Array:
    """A view in place of an operand's own array, such as an identity gives, which must stay writeable."""
    for array in arrays:
        if y is array:
            return y.view()
    return y


def _definer(function: Callable[..., Any]) -> tuple[str, str]:
    """The module that defines a primitive, and the name of its function there."""
    frame = _getframe(1)
    while frame.f_globals is globals() and frame.f_back is not None:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")), getattr(function, "__qualname__", function.__name__)


def composed(of: Callable[..., Any] | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function written with primitives part of the table: it explains its errors as they do.

    Args:
        of: the NumPy function that it stands for on tensors, if any.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        wrapped = composites[function.__name__] = _explained(function.__name__, function)
        if of is not None:
            registry[of] = wrapped
        return wrapped

    return decorate


def transparent(module_globals: dict[str, Any], reads: bool = False) -> None:
    """Attribute what a module's functions record to their caller's line; with `reads`, to its variable too."""
    _transparent.add(id(module_globals))
    if reads:
        _operators.add(id(module_globals))


__all__ = ["Array", "Primitive", "Vjp", "composed", "composites", "primitive", "primitives", "transparent"]
