"""`tg.compile`: a loss function becomes a NumPy program of its own, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ..core.arguments import checked
from ..core.tensor import Array
from ..core.turn import Turn
from ..errors import GraphError, InputError
from ..escape import preformatted_source, xml
from .agreement import FrozenError
from .containers import Arguments, Function, flatten, unflatten
from .family import Family
from .latest import keep
from .picture import dot
from .program import Program
from .reader import Reader
from .surroundings import Surroundings

_KEPT = 64
"""For so many structures and plain values of arguments, the latest, programs are kept."""

AUTO = "native"
"""What `backend="auto"` means: NumPy without llvmlite and for what does not fit, as `explain()` says."""


@checked
def compile(
    loss_fn: Callable[..., Any], backend: Literal["auto", "numpy", "native"] = "auto", *, gradients: bool = True
) -> Compiled:
    """Turn a loss function on tensors into a fast function that returns the loss and its gradients.

    The function is run on tensors once; what it computed, forward and backward, is re-rolled into loops over time
    and written as NumPy source. Where another length or batch size gives the same loops, one program runs them all;
    else there is one for each of the latest shapes, and `explain()` says why.

        step = tg.compile(loss_fn)
        loss, grads = step(params, xs, targets)
        print(step.source)

    A loop over time is `for t, x in tg.steps(xs)`. One without it, such as `for x in xs` or `range(len(xs))` with
    `xs[t]`, is found by the rows that it reads, if it reads some; `explain()` says where that was not enough.

    `loss_fn(params, *batch)` gets tensors in the containers that `step` was called with and returns a
    scalar tensor. It must do the same operations whatever the numbers in its arrays are: a Python `if` on
    a value, a random number or an array taken from `tensor.data` is refused (but `dropout`
    draws a new mask from its generator in every call, the same as in an eager one). Loss and gradients of the second
    call are compared with eager ones; so is the loss at each new length, and the gradients too where something is
    detached or has a rule of one's own. A boolean index must pick as many entries in every call, or the call raises a
    GraphError. The vjp rules of a primitive of one's own must not look at values either: they run once, on arrays of
    ones. What the function reads from around it (numbers, arrays, functions, lists and dicts of such, attributes of
    modules, classes and other objects) is looked at in every call, as are the attributes of an object among the
    arguments, and makes another program when it changes: what changes often is passed as an array. What the function
    itself changes there, such as a list that it appends to, stays as the first call found it; weights that are read
    from around are refused.

    Args:
        loss_fn: the loss of parameters and a batch.
        backend: "native" turns loops into machine code, where llvmlite is installed (`pip install
            tinygrad_rnn[native]`) and the loop fits; the others, and "numpy", run as the source says. "auto" is
            "native". `explain()` says what became of each loop, and why.
        gradients: False computes what the function returns, any tensors, and no gradients: `step(*arguments)`.

    Returns:
        A function `step(params, *batch) -> (loss, grads)`; see `Compiled`.

    Raises:
        DTypeError, InputError: `loss_fn` cannot be called, or there is no such backend.
    """
    return Compiled(loss_fn, AUTO if backend == "auto" else backend, gradients)


class Compiled:
    """A compiled loss function; `step(params, *batch)` returns `(loss, grads)`.

    `params` is an array or tensor, or a dict, list or tuple of such (nested as you like); `grads` is the
    same container with an array for each, the caller's own. `params` may also be, or hold, an `nn.Module`: then
    `loss_fn` gets the module itself, and its place in `grads` is a dict by parameter name. A module in the batch
    gets no gradients. What is given by keyword is part of the batch. The loss is a NumPy scalar.
    Where `loss_fn` returns `(loss, extra)`, such as the last state, `step` returns `((loss, extra), grads)`
    with arrays in `extra`.

    Pickled, it is the loss function and the settings; what it is loaded as compiles anew.

    Raises:
        GraphError: the loss is no scalar, depends on no parameter, or on values in a way that a program
            cannot follow. What was found so is refused from then on.
        DTypeError: a parameter is not floating, or an argument is neither an array nor hashable.
    """

    def __init__(self, loss_fn: Callable[..., Any], backend: str = "numpy", gradients: bool = True) -> None:
        self.loss_fn, self._wanted, self._gradients = loss_fn, backend, gradients
        self._families: dict[Any, Family] = {}
        self._surroundings: Surroundings | None = None
        self._last: Program | None = None
        self._latest: Family | None = None  # if there is a reader of its arguments
        self._refused = ""
        self._turn = Turn()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self._refused:
            raise GraphError(self._refused)
        if self._gradients and not arguments:
            raise InputError("compile: got no parameters, expected step(params, *batch)")
        names: tuple[str, ...] = ()
        if named:
            names, arguments = tuple(named), (*arguments, *named.values())
        family = self._latest
        if family is not None and family.reader is not None:
            leaves = family.reader.read(arguments, names)
            if leaves is not None:
                return self._run(family, Arguments(arguments, leaves, family.reader.count))[1]
        return self._described(arguments, names)

    def _described(self, arguments: tuple[Any, ...], names: tuple[str, ...]) -> Any:
        """A call with arguments of any kind: the family for what they, and what is around, are described as."""
        leaves: list[Array] = []
        structure, count = [], None
        with self._turn:  # what is around is learned while it is described
            self._surroundings = surroundings = self._surroundings or Surroundings(self.loss_fn)
            if self._gradients:
                structure, count = [flatten(arguments[0], leaves, surroundings.describe, "params")], len(leaves)
            structure += [flatten(x, leaves, surroundings.describe, "batch") for x in arguments[len(structure) :]]
            around, rest = surroundings(), (*structure, *names)
            key = (*around.items(), *rest)
            family = self._families.get(key)
            if family is None:
                family = Family(Function(self.loss_fn, names), self._wanted)
            keep(self._families, key, family, _KEPT)
        program, results = self._run(family, Arguments(arguments, leaves, count))
        with self._turn:
            if program.calls >= 3:
                if family.reader is None:
                    family.reader = Reader(arguments, names, count, surroundings.watch(around))
                self._latest = family if family.reader.fits else None
            elif surroundings.settle(around):
                new = (*surroundings().items(), *rest)
                self._families.pop(key, None)
                self._families[new] = family
        return results

    def _run(self, family: Family, given: Arguments) -> tuple[Program, Any]:
        """The program of a family that ran, and what the function returns."""
        try:
            program, results = family.run(given)
        except FrozenError as error:
            self._refused = str(error)
            raise
        self._last, found = program, iter(results)
        if given.parameters is None:
            return program, unflatten(program.extra, found)
        loss = next(found)
        loss = loss[(0,) * loss.ndim]  # its only entry: keepdims may have left it axes
        value = loss if program.extra is None else (loss, unflatten(program.extra, found))
        if family.reader is not None and family.reader.fits:
            return program, (value, family.reader.filled(found))
        return program, (value, unflatten(given.values[0], found, by_name=True))

    def __reduce__(self) -> tuple[Any, ...]:
        return Compiled, (self.loss_fn, self._wanted, self._gradients)

    @property
    def programs(self) -> list[Program]:
        """Those that are kept: one for all lengths where that is possible, else one for each of the latest shapes."""
        return [program for family in list(self._families.values()) for program in family.programs()]

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
