"""`tg.compile`: a loss function becomes a NumPy program of its own, forward and backward."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import repeat
from typing import Any, Literal

import numpy as np

from ..core.backprop import no_grad
from ..core.tensor import Array, Tensor, constant, numeric
from ..core.threads import OneThread
from ..errors import DTypeError, GraphError, InputError
from ..escape import preformatted_source, xml
from ..nn import Module
from .build import build
from .explain import explain
from .picture import dot
from .trace import trace

AUTO = "numpy"
"""What `backend="auto"` means."""


def compile(loss_fn: Callable[..., Any], backend: Literal["auto", "numpy", "native"] = "auto") -> Compiled:
    """Turn a loss function on tensors into a fast function that returns the loss and its gradients.

    The function is run once on tensors, for each new combination of shapes and dtypes; what it
    computed, forward and backward, is re-rolled into loops over time and written as NumPy source.

        step = tg.compile(loss_fn)
        loss, grads = step(params, xs, targets)
        print(step.source)

    `loss_fn(params, *batch)` gets tensors in the containers that `step` was called with and returns a
    scalar tensor. It must do the same operations whatever the numbers in its arrays are: a Python `if` on
    a value, a random number or an array taken from `tensor.data` is frozen as it was when it ran (but `dropout`
    draws a new mask from its generator in every call, the same as in an eager one). The loss of the second
    call is compared with an eager one, so that this does not go unnoticed. A boolean index must pick as many
    entries in every call, or the call raises a GraphError. The vjp rules of a primitive of one's own must not
    look at values either: they run once, on arrays of ones.

    Args:
        loss_fn: the loss of parameters and a batch.
        backend: "native" turns loops into machine code, where llvmlite is installed (`pip install
            tinygrad_rnn[native]`) and the loop fits; the others, and "numpy", run as the source says. "auto" chooses.

    Returns:
        A function `step(params, *batch) -> (loss, grads)`; see `Compiled`.

    Raises:
        InputError: `loss_fn` cannot be called, or there is no such backend.
    """
    if backend not in ("auto", "numpy", "native"):
        raise InputError(f'compile: got backend {backend!r}, expected "auto", "numpy" or "native"')
    if not callable(loss_fn):
        raise InputError(f"compile: got {type(loss_fn).__name__}, expected a function loss_fn(params, *batch)")
    return Compiled(loss_fn, AUTO if backend == "auto" else backend)


class Compiled:
    """A compiled loss function; `step(params, *batch)` returns `(loss, grads)`.

    `params` is an array or tensor, or a dict, list or tuple of such (nested as you like); `grads` is the
    same container with an array for each, the caller's own. `params` may also be, or hold, an `nn.Module`: then
    `loss_fn` gets the module itself, and its place in `grads` is a dict by parameter name. A module in the batch
    gets no gradients. The loss is a NumPy scalar.
    Where `loss_fn` returns `(loss, extra)`, such as the last state, `step` returns `((loss, extra), grads)`
    with arrays in `extra`.

    Attributes:
        programs: one compiled program for each combination of shapes and dtypes met so far.

    Raises:
        GraphError: the loss is no scalar, depends on no parameter, or on values in a way that a program
            cannot follow (found by comparing the second call with an eager one).
        DTypeError: a parameter is not floating, or an argument is neither an array nor hashable.
    """

    def __init__(self, loss_fn: Callable[..., Any], backend: str = "numpy") -> None:
        self.loss_fn, self._wanted = loss_fn, backend
        self.programs: dict[Any, Program] = {}
        self._last: Program | None = None

    def __call__(self, params: Any, *batch: Any) -> tuple[Any, Any]:
        leaves: list[Array] = []
        structure = _flatten(params, leaves, "params")
        count = len(leaves)
        key = (structure, *[_flatten(x, leaves, "batch") for x in batch], *[(x.shape, x.dtype) for x in leaves])
        program = self.programs.get(key)
        if program is None:
            program = self.programs[key] = Program(self.loss_fn, (params, *batch), leaves, count, self._wanted)
        self._last = program
        before = program.random_states() if program.calls == 1 else []
        found = iter(program(leaves))
        loss = next(found).reshape(-1)[0]  # its only entry: keepdims may have left it axes
        if program.calls == 2:
            with _rewound(before):
                self._compare(loss, (params, *batch), leaves)
        value = loss if program.extra is None else (loss, _unflatten(program.extra, found))
        return value, _unflatten(params, found, by_name=True)

    def _compare(self, loss: Any, arguments: Sequence[Any], leaves: Sequence[Array]) -> None:
        """Refuse a program that has frozen what changes: it would be wrong from now on."""
        rest = iter([_lent(x) for x in leaves])
        with no_grad():
            expected = self.loss_fn(*[_unflatten(argument, rest) for argument in arguments])
        expected = (expected[0] if isinstance(expected, tuple) else expected).item()
        if not np.allclose(loss, expected, rtol=1e-2 if loss.dtype.itemsize < 8 else 1e-6, equal_nan=True):
            raise GraphError(
                f"compile: the compiled loss is {loss:.8g}, and the loss function itself gives {expected:.8g}: "
                "it depends on values in a way that a program cannot follow (a Python if, random numbers, .data); "
                "pass such things as arguments, use where() instead of if, or do not compile it"
            )

    @property
    def program(self) -> Program:
        """The program of the last call.

        Raises:
            InputError: it was not called yet, so there are no shapes to compile for.
        """
        if self._last is None:
            raise InputError("compile: call the function once; its program depends on the shapes of its arguments")
        return self._last

    @property
    def source(self) -> str:
        """The NumPy source of the program of the last call."""
        return self.program.source.text

    @property
    def backend(self) -> str:
        """What runs the loops of the program of the last call: "native" if any of them is machine code, or "numpy"."""
        return "native" if self.program.native else "numpy"

    def explain(self) -> str:
        """What became a loop, what runs once for all steps, and what did not roll, and why."""
        return self.program.explain()

    def _repr_html_(self) -> str:
        return preformatted_source(self.source) if self._last is not None else xml(repr(self))

    def dot(self) -> str:
        """The program as a graph in DOT: loops as frames, all-steps-at-once operations as double boxes."""
        return dot(self.program.ir)


class Program:
    """The program for one combination of shapes and dtypes.

    Attributes:
        source: its text.
        ir: loops, and nodes that run once, in order.
        extra: what the loss function returned beside the loss.
        misfits: operations that were taken out of a loop, each with the reason.
        native: the text of each native loop, in LLVM's language.
        calls: how often it ran.
    """

    def __init__(
        self,
        loss_fn: Callable[..., Any],
        arguments: Sequence[Any],
        leaves: Sequence[Array],
        count: int,
        backend: str = "numpy",
    ) -> None:
        own = [tensor for argument in arguments for tensor in _own_tensors(argument)]
        tensors = [
            tensor if tensor is not None else Tensor(x, requires_grad=True) if i < count else _lent(x)
            for i, (tensor, x) in enumerate(zip(own, leaves, strict=True))
        ]
        names: list[str | None] = []
        for i, argument in enumerate(arguments):
            names.extend(_names(argument, "" if i == 0 else _argument_name(loss_fn, i)))
        rest = iter(tensors)
        filled = [_unflatten(argument, rest) for argument in arguments]
        with _no_collection(), OneThread():
            traced = trace(loss_fn, filled, tensors, names, count)
            self.ir, self.source, self._runs, self.misfits, self.native, self._notes = build(traced, backend)
            self.extra = _unflatten(traced.extra, repeat(np.bool_()))  # the containers alone, not what was in them
        self.calls = 0
        self._drawings = traced.ops.drawings
        self._modules = [x for x in arguments if isinstance(x, Module)]  # while they live, nobody else has their id
        self._idle: list[tuple[Callable[..., Any], dict[str, Array]]] = []

    def __call__(self, leaves: Sequence[Array]) -> Any:
        """The loss and the gradients; each call has buffers of its own while it runs."""
        run, random = self._idle.pop() if self._idle else self._make()
        self.calls += 1
        if self.calls > 1:  # the first call runs on what tracing drew
            self._draw(random)
        with OneThread() if self._runs.small else nullcontext():
            found = run(*leaves)
        self._idle.append((run, random))
        return found

    def _make(self) -> tuple[Callable[..., Any], dict[str, Array]]:
        """A run with buffers of its own, and those of them that random numbers are written into."""
        names = {name for places in self._runs.drawn.values() for name, _ in places}
        random = {name: self._runs.constants[name].copy() for name in names}
        return self._runs.make(random), random

    def _draw(self, random: dict[str, Array]) -> None:
        """Draw what the loss function would draw, in its order, so that the numbers are those of an eager call."""
        for k, drawing in enumerate(self._drawings):
            numbers = drawing.draw()
            for name, at in self._runs.drawn.get(k, ()):
                random[name][at] = numbers

    def random_states(self) -> list[tuple[np.random.Generator, Any]]:
        """The generators that a call draws from, and their states now."""
        return [(rng, rng.bit_generator.state) for rng in {id(each.rng): each.rng for each in self._drawings}.values()]

    def explain(self) -> str:
        """See `Compiled.explain`."""
        return explain(self.ir.schedule, self.misfits, self._notes or [])


@contextmanager
def _rewound(states: Sequence[tuple[np.random.Generator, Any]]) -> Iterator[None]:
    """Run the body with generators as they were, and leave them as they are."""
    after = [(rng, rng.bit_generator.state) for rng, _ in states]
    for rng, state in states:
        rng.bit_generator.state = state
    try:
        yield
    finally:
        for rng, state in after:
            rng.bit_generator.state = state


@contextmanager
def _no_collection() -> Iterator[None]:
    """The cyclic collector finds nothing in a trace, and searching it costs more than making it."""
    enabled = gc.isenabled()
    _paused.append(enabled)
    gc.disable()
    try:
        yield
    finally:
        _paused.pop()
        if enabled:
            gc.enable()


_paused: list[bool] = []
"""For each trace of any thread that is under way, whether the collector was enabled before it."""


def _collect_again() -> None:
    if any(_paused):  # the thread that would enable it does not live on in a fork
        gc.enable()
    _paused.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_collect_again)


# ---------------------------------------------------------------------- containers
def _flatten(x: Any, leaves: list[Array], where: str) -> Any:
    """Append the arrays in `x` to `leaves`; returns a hashable description of the rest."""
    kind = type(x)
    if kind is np.ndarray:
        leaves.append(numeric(x, "compile"))
        return "array"
    if kind is Tensor:
        leaves.append(x._array)
        return "array"
    if isinstance(x, dict):
        return "dict", *[(key, _flatten(value, leaves, f"{where}[{key!r}]")) for key, value in x.items()]
    if isinstance(x, (list, tuple)):
        return kind, *[_flatten(value, leaves, f"{where}[{i}]") for i, value in enumerate(x)]
    if isinstance(x, Module):
        named = dict(x.named_parameters())
        leaves.extend(parameter._array for parameter in named.values())
        return "module", id(x), *named, *[module.training for module in x.modules()]
    if isinstance(x, (np.ndarray, np.generic)):
        leaves.append(numeric(x, "compile"))
        return "array"
    if where.startswith("params"):
        raise DTypeError(f"compile: {where} is {kind.__name__}, expected an array or tensor (or a container of them)")
    try:
        hash(x)
    except TypeError:
        raise DTypeError(f"compile: {where} is {kind.__name__}, which is no array and cannot be hashed") from None
    return kind, repr(x) if kind is float else x  # -0.0 is not 0.0, and one nan is another


def _unflatten(x: Any, leaves: Iterator[Any], by_name: bool = False) -> Any:
    """The container `x` with its arrays replaced; a module stays what it is, or becomes a dict by parameter name."""
    if isinstance(x, (Tensor, np.ndarray, np.generic)):
        return next(leaves)
    if isinstance(x, dict):
        return {key: _unflatten(value, leaves, by_name) for key, value in x.items()}
    if isinstance(x, (list, tuple)):
        values = [_unflatten(value, leaves, by_name) for value in x]
        return type(x)(*values) if hasattr(x, "_fields") else type(x)(values)
    if isinstance(x, Module) and by_name:
        return {name: next(leaves) for name, _ in x.named_parameters()}
    if isinstance(x, Module):
        for _ in x.parameters():
            next(leaves)
    return x


def _lent(x: Array) -> Tensor:
    """A tensor for the loss function to read: the caller's own array, not a copy of it."""
    view = x.view()
    view.setflags(write=False)
    return constant(view)


def _own_tensors(x: Any) -> Iterator[Tensor | None]:
    """For each array in `x`: the tensor that the loss function will find there itself, if `x` is a module."""
    if isinstance(x, Module):
        yield from x.parameters()
    elif isinstance(x, (dict, list, tuple)):
        for value in x.values() if isinstance(x, dict) else x:
            yield from _own_tensors(value)
    elif isinstance(x, (Tensor, np.ndarray, np.generic)):
        yield None


def _names(x: Any, name: str) -> Iterator[str | None]:
    """A name for each array in `x`: its keys in the containers around it."""
    if isinstance(x, Module):
        yield from (each.replace(".", "_") for each, _ in x.named_parameters())
    elif isinstance(x, (dict, list, tuple)):
        for key, value in x.items() if isinstance(x, dict) else enumerate(x):
            yield from _names(value, f"{name}_{key}" if name else f"{key}")
    elif isinstance(x, (Tensor, np.ndarray, np.generic)):
        yield name or (x.name if isinstance(x, Tensor) else None)


def _argument_name(function: Callable[..., Any], i: int) -> str:
    code = getattr(function, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code is not None else ()
    return names[i] if i < len(names) else f"x{i}"
