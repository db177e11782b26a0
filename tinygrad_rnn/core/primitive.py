"""Primitive: a NumPy function and, for each input, its vector-Jacobian product (vjp).

A vjp is written once, in NumPy, in terms of the gradient `g` of the output, the output `y` and the
inputs, followed by the parameters by name:

    tanh = primitive(np.tanh, vjps=[lambda g, y, x: g * (1 - y * y)])

On arrays that line is the backward pass; on tensors it records itself, which is double backward;
and traced it is what the compiler optimises. Summing a gradient back over broadcast axes and
casting it to the input's dtype is the engine's work, never a rule's.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, NoReturn, overload

import numpy as np
from numpy.exceptions import AxisError

from ..debug import origin as _origin
from ..errors import DTypeError, ShapeError, TensorError
from . import tensor as _tensor
from .context import current, next_index, step_of
from .seal import SEALED
from .tensor import NO_ATTRS, Array, Operand, Tensor, constant, numeric, registry
from .traits import NOTHING, Traits

Vjp = Callable[..., Any]

primitives: dict[str, Primitive] = {}
"""Every primitive by name: the table of calculus, for tests and tools to walk."""

composites: dict[str, Callable[..., Any]] = {}
"""Every function of the table that is written with primitives, by name."""

_PACKAGE = __name__.partition(".")[0] + "."
_new = Tensor.__new__
_getframe = sys._getframe
_transparent = {id(_tensor.__dict__), id(globals())}
"""Modules (by their globals) whose frames stand between the user's line and the primitive."""


class Primitive:
    """A differentiable function; calling it computes, and records where a gradient will be wanted.

    Without a tensor among the operands it is just NumPy and returns an array, so rules and users
    can call the same function on both.

    Attributes:
        function: what computes the output from arrays, and parameters by keyword.
        vjps: one rule `(g, y, *inputs, **params) -> gradient` per operand, or None where an operand has
            no gradient. For a primitive that takes a sequence of operands: one rule
            `(g, y, inputs, **params) -> gradients` for all of them.
        arity: the number of operands, or None where they come as one sequence.
        differentiable: whether any operand has a rule. Without one (a comparison, a rounding) the result is
            a plain array, as it cannot carry a gradient; the compiler's tracing records it all the same.
        is_ufunc: whether the function is one, which takes no parameters and gives new arrays.
        defaults: the parameters with their default values.
        traits: what else is known of it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        vjps: Sequence[Vjp | None] | Vjp,
        name: str,
        doc: str,
        traits: Traits = NOTHING,
    ) -> None:
        self.function = self.__wrapped__ = function
        self.name = name
        self.__doc__ = doc
        self.variadic: Vjp | None = _guarded(vjps, name) if callable(vjps) else None
        self.vjps: tuple[Vjp | None, ...] = () if callable(vjps) else tuple(_guarded(vjp, name) for vjp in vjps)
        self.arity = None if callable(vjps) else len(self.vjps)
        self.differentiable = self.variadic is not None or any(vjp is not None for vjp in self.vjps)
        self.is_ufunc = isinstance(function, np.ufunc)
        self.traits = traits
        if isinstance(function, np.ufunc):
            self.traits = replace(traits, alias="new", elementwise=function.signature is None)
        self.defaults: dict[str, Any] = {}
        self.positional = 0
        self.required: tuple[str, ...] = ()
        if not self.is_ufunc:
            parameters = list(inspect.signature(function).parameters.values())
            extra = parameters[1 if self.arity is None else self.arity :]
            self.defaults = {p.name: None if p.default is p.empty else p.default for p in extra}
            self.positional = sum(p.kind is not p.KEYWORD_ONLY for p in extra)
            self.required = tuple(p.name for p in extra if p.default is p.empty)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != self.arity:
            return self.apply(*self._bind(args, kwargs))
        return self.apply(args, self.defaults)

    def apply(self, operands: tuple[Operand, ...], params: Mapping[str, Any] = NO_ATTRS) -> Any:
        """Compute, and record where a gradient is wanted: what a call and an operator come down to.

        The user's line is two frames above, or further if functions of the table stand between.
        """
        arity = self.arity
        found = False
        if arity == 2:  # one or two tensors are the usual case, and looked at without a loop
            left, right = operands
            if type(left) is Tensor and type(right) is Tensor:
                found = True
                wanted = left.requires_grad or right.requires_grad
                unsealed = left.seal.open or right.seal.open
                arrays: Any = (left._array, right._array)
        elif arity == 1:
            (left,) = operands
            if type(left) is Tensor:
                found = True
                wanted, unsealed = left.requires_grad, left.seal.open
                arrays = (left._array,)
        if not found:
            operands, arrays, found, wanted = self._accept(operands)
            unsealed = True
        try:
            if self.variadic is not None:
                y = self.function(arrays, **params)
            elif params:
                y = self.function(*arrays, **params)
            else:
                y = self.function(*arrays)
        except TensorError:
            raise
        except Exception as error:
            changed = {k: v for k, v in params.items() if v is not self.defaults.get(k)}
            explain(self.name, operands, changed, error, self._signature())
        recording, tracing, step, scope, watch, _, loop = now = current.get()
        if not found or not (self.differentiable or tracing):
            return y
        if type(y) is not np.ndarray:
            y = np.asarray(y)
        if not self.is_ufunc and any(y is array for array in arrays):
            y = y.view()  # the operand's own array, such as an identity gives, must stay writeable

        frame = _getframe(2)
        name = None
        while id(frame.f_globals) in _transparent and frame.f_back is not None:
            if frame.f_globals is not _tensor.__dict__:
                name = ""  # what a function of the table makes on its way has no name
            frame = frame.f_back
        wanted = wanted and recording and self.differentiable
        recorded = wanted or tracing
        if recorded and unsealed:  # before the result gets its number: what it saw is not a later change
            for operand in operands:
                if type(operand) is Tensor and operand.seal.open:
                    operand.seal.close()
        if step is None and loop is not None:
            step = step_of(now)
        result = _new(Tensor)
        result._array = y
        result.grad = None
        result.seal = SEALED
        result.cut_from = None
        result.retains_grad = False
        result._name = name
        result.step = step
        result.scope = scope
        result.index = next_index()
        result._code = frame.f_code
        result._offset = frame.f_lasti
        if recorded:
            result.requires_grad = wanted and y.dtype.kind == "f"
            if wanted and not result.requires_grad and y.dtype.kind == "c":
                raise DTypeError(
                    f"{self.name}: the result is complex ({y.dtype}) and an operand requires a gradient, which complex "
                    "numbers cannot carry here; compute with the real and the imaginary part apart"
                )
            result.primitive = self
            result.attrs = params
            if arity == 2:
                result._left, result._right = operands
            else:
                result._left = operands[0] if len(operands) == 1 else operands
        else:
            result.requires_grad = False
            result.primitive = None
            if y.base is not None:  # it may show the memory of an operand
                result.seal = next((x.seal for x in operands if type(x) is Tensor and x.seal is not SEALED), SEALED)
            result.attrs = NO_ATTRS
        if watch is not None:
            watch(self.name, result, None)
        return result

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Operand, ...], dict[str, Any]]:
        """Split a call into operands and parameters, by position or by name, as NumPy would."""
        if self.arity is None:
            if not args or not isinstance(args[0], (list, tuple)):
                given = "nothing" if not args else type(args[0]).__name__
                raise DTypeError(f"{self.name}: got {given}, expected a list of tensors or arrays as first argument")
            operands, rest = tuple(args[0]), args[1:]
        else:
            if len(args) < self.arity:
                raise DTypeError(f"{self.name}: got {len(args)} operands, expected {self.arity}: {self._signature()}")
            operands, rest = args[: self.arity], args[self.arity :]
        params = dict(self.defaults)
        given_params = dict(zip(params, rest, strict=False)) | kwargs
        unknown = [name for name in kwargs if name not in params]
        if unknown or len(rest) > self.positional:
            extra = ", ".join(f"{name}=" for name in unknown) or f"{len(args)} positional arguments"
            raise DTypeError(f"{self.name} has no rule for {extra} on tensors; write {self._signature()}")
        params.update(given_params)
        missing = [name for name in self.required if name not in given_params]
        if missing:
            raise DTypeError(f"{self.name}: {', '.join(missing)} is missing; write {self._signature()}")
        return operands, params

    def _accept(self, operands: Sequence[Operand]) -> tuple[tuple[Operand, ...], list[Any], bool, bool]:
        """The operands, their arrays, whether one is a tensor, and whether one requires a gradient.

        Beside a tensor, arrays and lists become constant leaves, so that the graph holds every operand it used.
        """
        accepted, arrays = [], []
        found = wanted = False
        for operand in operands:
            kind = type(operand)
            if kind is Tensor:
                found = True
                wanted = wanted or operand.requires_grad
                arrays.append(operand._array)
            elif kind is float or kind is int or kind is bool or kind is complex:
                arrays.append(operand)
            else:
                array = numeric(operand, self.name)
                operand = operand if isinstance(operand, np.generic) else array
                arrays.append(operand)
            accepted.append(operand)
        if found:
            accepted = [constant(x) if type(x) is np.ndarray else x for x in accepted]
        return tuple(accepted), arrays, found, wanted

    def _signature(self) -> str:
        if isinstance(self.function, np.ufunc):
            return f"{self.name}({', '.join('ab'[: self.arity] if self.arity != 1 else 'x')})"
        return _usage(self.name, self.function)


def _guarded(rule: Vjp | None, name: str) -> Vjp | None:
    """A user's rule, that cannot write into `g`: siblings and other branches of the graph read the same array."""
    if rule is None or (getattr(rule, "__module__", None) or "").startswith(_PACKAGE):
        return rule
    given = rule

    @wraps(given)
    def guarded(g: Any, *args: Any, **params: Any) -> Any:
        if type(g) is not np.ndarray:
            return given(g, *args, **params)
        g = g.view()
        g.setflags(write=False)
        try:
            return given(g, *args, **params)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise TensorError(
                f"{name}: its vjp rule writes into an array that it was given, which other rules read; "
                "compute a new one, as in g = g * 2 instead of g *= 2"
            ) from error

    return guarded


def explain(name: str, operands: Sequence[Operand], params: dict[str, Any], error: Exception, usage: str) -> NoReturn:
    """Raise the framework's error for a NumPy one: op, operands, shapes, step, scope, what to do, origin."""
    now = current.get()
    step = step_of(now)
    where = f" at step {step}" if step is not None else ""
    where += f" in scope {now.scope}" if now.scope else ""
    words = [_describe(operand) for operand in operands]
    settings = ", ".join(f"{k}={v!r}" for k, v in params.items())
    message = f"{name}{where}: cannot take {' and '.join(words) or 'no operands'}"
    message += f" with {settings}" if settings else ""
    message += f": {str(error).splitlines()[0] if str(error) else type(error).__name__}; {_remedy(name, error, usage)}"
    for operand in operands:
        if isinstance(operand, Tensor) and operand.origin is not None:
            message += f"\n  {operand.name or 'an operand'} was made at {_origin.line(operand.origin)}"
    kind = ShapeError if isinstance(error, (ValueError, IndexError)) else DTypeError
    raise kind(message) from error


def _usage(name: str, function: Callable[..., Any]) -> str:
    """How to call it: names and defaults, without the type hints."""
    parameters = inspect.signature(function).parameters.values()
    plain = inspect.Signature([p.replace(annotation=p.empty) for p in parameters])
    return f"{name}{plain}"


def _remedy(name: str, error: Exception, usage: str) -> str:
    if name == "matmul":
        return "the last axis of the first must equal the last but one of the second (or its only axis)"
    if isinstance(error, AxisError):
        return "axes are counted from 0, or from -1 backwards"
    if "broadcast" in str(error):
        return "axes must be equal or 1, counted from the last: reshape or transpose one operand"
    return f"write {usage}"


def _describe(operand: Operand) -> str:
    if isinstance(operand, Tensor):
        return operand.describe()
    if isinstance(operand, np.ndarray):
        return f"an array {operand.shape} of {operand.dtype}"
    return repr(operand)


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
        vjps: a rule per operand (None: no gradient), or one variadic rule for a sequence of operands.
        of: the NumPy function that it stands for on tensors; a ufunc stands for itself.
        name: what errors and pictures call it; by default the function's name.
        doc: its docstring; by default the function's.
        traits: what else is known of it; without them the compiler and pictures assume nothing.

    Raises:
        TensorError: another primitive has that name already.
    """
    if function is None:
        return lambda decorated: primitive(decorated, vjps=vjps, of=of, name=name, doc=doc, traits=traits)
    made = Primitive(function, vjps, name or function.__name__, doc or function.__doc__ or "", traits)
    if made.name in primitives:
        raise TensorError(f"primitive: there is a primitive named {made.name!r} already; give another name=")
    primitives[made.name] = made
    stands_for = of or (function if isinstance(function, np.ufunc) else None)
    if stands_for is not None:
        registry[stands_for] = made
    return made


def composed(of: Callable[..., Any] | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function written with primitives part of the table: it explains its errors as they do.

    Args:
        of: the NumPy function that it stands for on tensors, if any.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__

        @wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                result = function(*args, **kwargs)
            except TensorError:
                raise
            except Exception as error:
                explain(name, args, kwargs, error, _usage(name, function))
            if id(_getframe(1).f_globals) not in _transparent or _getframe(1).f_globals is _tensor.__dict__:
                for each in result if type(result) is list else (result,):
                    if type(each) is Tensor and each._name == "":
                        each._name = None  # the variable it is assigned to names the result, not what led to it
            return result

        composites[name] = wrapped
        if of is not None:
            registry[of] = wrapped
        return wrapped

    return decorate


def transparent(module_globals: dict[str, Any]) -> None:
    """Attribute what a module's functions record to their caller's line, as for an operator."""
    _transparent.add(id(module_globals))


__all__ = ["Array", "Primitive", "Vjp", "composed", "composites", "explain", "primitive", "primitives", "transparent"]
