"""Operation: what is known of a function before it meets a tensor: its rules, its parameters and how to call it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np

from ..debug import messages
from ..errors import TensorError
from .traits import NOTHING, Traits

Vjp = Callable[..., Any]

_PACKAGE = __name__.partition(".")[0] + "."


class Operation:
    """A function of arrays, and for each operand its vector-Jacobian product.

    Attributes:
        function: what computes the output from arrays, and parameters by keyword.
        compute: the same on all operands one by one; a user's function is given arrays that it cannot write into.
        vjps: one rule `(g, y, *inputs, **attrs) -> gradient` per operand, or None where an operand has
            no gradient.
        variadic: where the operands come as one sequence, one rule `(g, y, inputs, **attrs) -> gradients` for all.
        arity: the number of operands, or None where they come as one sequence.
        differentiable: whether any operand has a rule. Without one (a comparison, a rounding) the result is
            a plain array, as it cannot carry a gradient; the compiler's tracing records it all the same.
        is_ufunc: whether the function is one, which takes no parameters and gives new arrays.
        own: whether the function is NumPy's or of this package, and no user's.
        defaults: the parameters with their default values.
        traits: what else is known of it.
        extended: what stands for it in calls with keywords that it does not have itself, or None.
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
        self.arity = None if callable(vjps) else len(vjps)
        self.is_ufunc = isinstance(function, np.ufunc)
        self.traits = traits
        if isinstance(function, np.ufunc):
            self.traits = replace(traits, alias="new", elementwise=function.signature is None)
        self.extended: Callable[..., Any] | None = None
        self.defaults: dict[str, Any] = {}
        self.positional = 0
        self.required: tuple[str, ...] = ()
        if not self.is_ufunc:
            try:
                parameters = list(inspect.signature(function).parameters.values())
            except ValueError as error:
                raise messages.no_signature(name, function) from error
            extra = parameters[1 if self.arity is None else self.arity :]
            self.defaults = {p.name: None if p.default is p.empty else p.default for p in extra}
            self.positional = sum(p.kind is not p.KEYWORD_ONLY for p in extra)
            self.required = tuple(p.name for p in extra if p.default is p.empty)
        self.variadic: Vjp | None = self._guarded(vjps, None) if callable(vjps) else None
        self.vjps: tuple[Vjp | None, ...] = ()
        if not callable(vjps):
            self.vjps = tuple(None if vjp is None else self._guarded(vjp, i) for i, vjp in enumerate(vjps))
        self.compute: Callable[..., Any] = function
        if self.arity is None:
            self.compute = lambda *arrays, **attrs: function(list(arrays), **attrs)
        self.own = self.is_ufunc or _is_ours(function)
        if not self.own:
            self.compute = self._reading(self.compute, messages.function_writes)
        self.differentiable = self.variadic is not None or any(vjp is not None for vjp in self.vjps)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Split a call into operands and parameters, by position or by name, as NumPy would."""
        if self.arity is None:
            if not args or not isinstance(args[0], (list, tuple)):
                raise messages.no_sequence(self, args)
            operands, rest = tuple(args[0]), args[1:]
        else:
            if len(args) < self.arity:
                raise messages.too_few_operands(self, len(args))
            operands, rest = args[: self.arity], args[self.arity :]
        if not rest and not kwargs and not self.required:
            return operands, self.defaults
        given = dict(zip(self.defaults, rest, strict=False)) | kwargs
        if len(rest) > self.positional or any(name not in self.defaults for name in kwargs):
            raise messages.unknown_parameters(self, args, [name for name in kwargs if name not in self.defaults])
        missing = [name for name in self.required if name not in given]
        if missing:
            raise messages.missing_parameters(self, ", ".join(missing))
        return operands, self.defaults | given

    @property
    def usage(self) -> str:
        """How to call it: names and defaults, without the type hints."""
        if isinstance(self.function, np.ufunc):
            return f"{self.name}({', '.join('ab'[: self.arity] if self.arity != 1 else 'x')})"
        return usage(self.name, self.function)

    def _guarded(self, rule: Vjp, i: int | None) -> Vjp:
        """A user's rule, checked: can it be called as rules are?"""
        if _is_ours(rule):
            return rule
        operands = 1 if self.arity is None else self.arity
        try:
            inspect.signature(rule).bind(*[None] * (2 + operands), **self.defaults)
        except TypeError as error:
            raise messages.wrong_rule(self, i, rule) from error
        except ValueError:
            pass  # a function without a signature, such as a ufunc
        return self._reading(rule, messages.rule_writes)

    def _reading(self, function: Callable[..., Any], refusal: Callable[[Operation], TensorError]) -> Callable[..., Any]:
        """A user's function that cannot write into the arrays it is given: weights, and gradients others read too."""

        @wraps(function)
        def reading(*given: Any, **attrs: Any) -> Any:
            try:
                return function(*map(_read_only, given), **attrs)
            except ValueError as error:
                if "read-only" not in str(error):
                    raise
                raise refusal(self) from error

        return reading


def _is_ours(function: Callable[..., Any]) -> bool:
    return (getattr(function, "__module__", None) or "").startswith(_PACKAGE)


def _read_only(x: Any) -> Any:
    if type(x) is np.ndarray:
        x = x.view()
        x.setflags(write=False)
    return x


def usage(name: str, function: Callable[..., Any]) -> str:
    """How to call a function: names and defaults, without the type hints."""
    parameters = inspect.signature(function).parameters.values()
    plain = inspect.Signature([p.replace(annotation=p.empty) for p in parameters])
    return f"{name}{plain}"


__all__ = ["Operation", "Vjp", "usage"]
