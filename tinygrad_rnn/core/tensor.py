"""Tensor: an array and where it came from.

A tensor is a leaf (made by the user) or the result of a primitive; in the second case it keeps
its operands, so a computation is a graph of tensors that lives exactly as long as its last
reference. Operators and NumPy functions on a tensor look their primitive up in `registry`, which
`primitive.py` fills; this module therefore knows no calculus.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from types import CodeType, MappingProxyType
from typing import Any, NoReturn, final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from ..debug import messages
from ..debug import origin as _origin
from ..debug.calls import callee
from ..debug.origin import Origin
from .array import Array, ArrayMethods, Axis, Operand, numeric, raw, registry
from .context import current, next_index, step_of
from .operation import Operation
from .seal import SEALED, Seal


@final
class Tensor(ArrayMethods):
    """An array that remembers how it was computed.

    Args:
        data: anything NumPy makes a numeric array of; it is copied, so the tensor owns its memory.
        requires_grad: whether `backward` should fill `grad`; needs a floating dtype.
        name: what errors, tables and pictures call it; without one, the variable it is assigned to.
        dtype: as in NumPy; by default that of `data`.

    Raises:
        DTypeError: `data` is ragged, not numeric, or not floating although a gradient is wanted.

    Attributes:
        grad: the gradient as an array of the same shape and dtype, or None before any backward.
        requires_grad: whether gradients flow here.
        primitive, inputs, attrs: how a result came about; None, () and {} on a leaf.
        step, scope: the time step and the scope it was made in.
        index: its creation number; operands have smaller ones than results.
    """

    __slots__ = (
        "__weakref__",
        "_array",
        "_code",
        "_left",
        "_name",
        "_offset",
        "_right",
        "attrs",
        "grad",
        "index",
        "primitive",
        "requires_grad",
        "retains_grad",
        "scope",
        "seal",
        "step",
    )

    grad: Array | None
    requires_grad: bool
    primitive: Operation | None
    attrs: Mapping[str, Any]
    index: int
    step: int | None
    scope: str
    seal: Seal
    retains_grad: bool
    _array: Array
    _name: str | None
    _left: Any
    _right: Any
    _code: CodeType | None
    _offset: int

    def __init__(
        self,
        data: ArrayLike | Tensor,
        requires_grad: bool = False,
        name: str | None = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        array = numeric(data.data if isinstance(data, Tensor) else data, "Tensor")
        try:
            array = np.array(array, dtype=dtype)
        except Exception as error:  # NumPy shows in its own error what was given, which may fail
            raise messages.no_such_dtype(dtype, array.dtype) from error
        numeric(array, "Tensor")
        if not isinstance(requires_grad, bool | np.bool_):
            raise messages.no_flag("Tensor: requires_grad", requires_grad)
        if requires_grad and array.dtype.kind != "f":
            raise messages.not_floating(name, array.dtype)
        make_leaf(array, _origin.maker(1), Seal(array), requires_grad, name, tensor=self)

    # ------------------------------------------------------------------ the array
    @property
    def data(self) -> Array:
        """The values. Results are read-only; a leaf's array may be changed between graphs.

        What is assigned is copied. While a variable holds a leaf's array, each operation on the leaf reads all of it
        to notice changes (2 ms for 10 MB); `w.data -= ...` holds nothing, and then nothing is read.

        Raises:
            GraphError: a function that is being compiled reads them; so do `item`, `float` and the like.
        """
        self._refuse_in_trace("an array")
        if self._array is self.seal.array:
            return self.seal.hand_out()
        self._array.setflags(write=False)  # here and not when it is made: few results are ever looked at
        return self._array

    @data.setter
    def data(self, value: ArrayLike) -> None:
        if self.primitive is not None:
            raise messages.data_of_a_result(self)
        array = numeric(value, "data")
        if array.shape != self._array.shape or array.dtype != self._array.dtype:
            raise messages.other_data(self, array)
        if self._array is self.seal.array and array is self.seal.hand_out():
            return  # t.data -= ... has changed it in place already
        self._array = np.array(array)
        self.seal = Seal(self._array)
        self.seal.change()

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def size(self) -> int:
        return self._array.size

    def item(self) -> Any:
        """The one number in this tensor, as a Python scalar."""
        if self._array.size != 1:
            raise messages.not_one_number(self)
        self._refuse_in_trace("a number")
        return self._array.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        self._refuse_in_trace("a list")
        return self._array.tolist()

    # ------------------------------------------------------------------ where it came from
    @property
    def inputs(self) -> tuple[Any, ...]:
        """What its primitive was applied to: tensors and Python numbers; () on a leaf.

        Kept in two slots, and made a tuple when asked for: a tuple in each result would double what Python's
        cyclic collector has to walk through, again and again, while a long graph grows.
        """
        primitive = self.primitive
        if primitive is None:
            return ()
        if primitive.arity == 2:
            return (self._left, self._right)
        return self._left if type(self._left) is tuple else (self._left,)

    @property
    def origin(self) -> Origin | None:
        """The place in the user's code that made it; two slots, as a tuple for each result burdens the collector."""
        return None if self._code is None else (self._code, self._offset)

    @origin.setter
    def origin(self, value: Origin | None) -> None:
        self._code, self._offset = value or _NOWHERE

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it, rather than a primitive."""
        return self.primitive is None

    @property
    def copied_from(self) -> Array | None:
        """The part of the user's array that a step of a sequence holds a copy of."""
        return getattr(self, "_left", None) if self.primitive is None else None

    @property
    def cut_from(self) -> int | None:
        """The creation number of the tensor that it was detached from, if it was."""
        return self.attrs.get("cut_from") if self.primitive is None else None

    @property
    def name(self) -> str | None:
        """The name it was given, else the variable it was assigned to, else None."""
        if self._name is None and self.origin is not None:
            self._name = _origin.assigned_name(self.origin) or ""
        return self._name or None

    @name.setter
    def name(self, value: str | None) -> None:
        self._name = value

    def describe(self) -> str:
        """Name, shape, step and scope in a few words, for messages."""
        title = self.name or (f"the result of {self.primitive.name}" if self.primitive else "a tensor")
        words = f"{title} {self._array.shape}"
        if self.step is not None:
            words += f" of step {self.step}"
        if self.scope:
            words += f" in scope {self.scope}"
        return words

    def __repr__(self) -> str:
        body = np.array2string(self._array, separator=", ", prefix="Tensor(", threshold=60, edgeitems=2)
        notes = [f"dtype={self._array.dtype}"] if self._array.dtype != np.float64 else []
        if self._array.size == 0 or self._array.size > 60:
            notes.append(f"shape={self._array.shape}")
        if self.name:
            notes.append(f"name={self.name!r}")
        if self.step is not None:
            notes.append(f"step={self.step}")
        if self.scope:
            notes.append(f"scope={self.scope!r}")
        if self.primitive is not None:
            notes.append(f"op={self.primitive.name}")
        elif self.requires_grad:
            notes.append("requires_grad=True")
        return f"Tensor({', '.join([body, *notes])})"

    # ------------------------------------------------------------------ gradients
    def backward(self, gradient: ArrayLike | None = None) -> None:
        """Add d self / d leaf to `grad` of every leaf that requires a gradient.

        A second call adds once more; set `grad = None` in between to start anew.

        Args:
            gradient: the gradient of what follows with respect to this tensor, of its shape;
                by default 1, and then this tensor must be a scalar.

        Raises:
            GraphError: there is no graph, this is not a scalar, or a leaf changed since forward.
        """
        registry[Tensor.backward](self, gradient)

    def retain_grad(self) -> Tensor:
        """Ask `backward` to fill `grad` of this interior tensor too; returns the tensor."""
        self.retains_grad = True
        return self

    def detach(self) -> Tensor:
        """The same values without their history: gradients stop here.

        The graph behind is not kept alive; pictures draw a cut between the two.
        """
        if self.seal is SEALED:
            self._array.setflags(write=False)
        first = self.index if self.cut_from is None else self.cut_from  # cut off twice, it still comes from the result
        return make_leaf(self._array, _origin.caller(1), self.seal, name=self._name, attrs={"cut_from": first})

    def __reduce__(self) -> tuple[Any, ...]:
        """What `copy` and `pickle` make of it: a leaf of its own, without the history; a leaf keeps its gradient.

        The copy of a result requires no gradient, as one of `detach()`.
        The place in the code that made it stays behind.
        """
        leaf = self.primitive is None
        return _restored, (self._array, leaf and self.requires_grad, self.name, self.grad if leaf else None)

    # ------------------------------------------------------------------ leaving the graph
    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise messages.leaves_the_graph(self)
        self._refuse_in_trace("an array")
        return np.array(self.data, dtype=dtype, copy=copy)

    def numpy(self) -> Array:
        """The values as an array, which shares the tensor's memory; a tensor that requires a gradient refuses."""
        return self.__array__()

    def _refuse_in_trace(self, what: str) -> None:
        """Raise a GraphError where the compiler would take this tensor's value for a constant of every call."""
        if current.get().tracing:
            raise messages.read_in_trace(self, what)

    def __float__(self) -> float:
        """The one number, where `float(t)` says so; `math.sqrt(t)`, `map(float, ts)` and the like are refused."""
        if self.requires_grad and current.get().recording:
            function = callee(sys._getframe(1))
            if function not in _LEAVING:
                raise messages.leaves_as_float(self, function)
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iu":
            raise messages.no_index(self)
        self._refuse_in_trace("an integer")
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise messages.no_length(self)
        return len(self._array)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    # ------------------------------------------------------------------ changing in place
    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise messages.in_place(self, "t[key] = value", "tg.where(mask, value, t), or stack the parts")

    def _update(self, symbol: str, result: Tensor) -> Tensor:
        """What `t += x` makes of t: under no_grad a leaf with new values, else the new tensor t + x.

        Raises:
            GraphError: this is a leaf that requires a gradient, and operations are recorded.
            ShapeError: a leaf would change its shape or dtype.
        """
        recording, tracing, *_ = current.get()
        if self._array is not self.seal.array or not self._array.flags.writeable:
            return result
        if not recording and not tracing:
            value = result._array
            if value.shape != self.shape or not np.can_cast(value.dtype, self.dtype, "same_kind"):
                raise messages.does_not_fit(self, symbol, value)
            np.copyto(self.seal.change(), value, casting="same_kind")
            return self
        if self.requires_grad:
            name = self.name or "t"
            raise messages.in_place(
                self,
                f"{name} {symbol}= ...",
                f"{name} = {name} {symbol} ... for a new tensor, or {name} {symbol}= ... under tg.no_grad() "
                "to adjust a weight",
            )
        return result


NO_ATTRS: Mapping[str, Any] = MappingProxyType({})
_NOWHERE = (None, 0)
_LEAVING = (float, math.isfinite, math.isinf, math.isnan, math.isclose, math.floor, math.ceil, math.trunc)
"""What may be called with a tensor that requires a gradient: it says that a number is meant, or has none to lose."""
_new = Tensor.__new__


def make_leaf(
    array: Array,
    origin: Origin | None,
    seal: Seal,
    requires_grad: bool = False,
    name: str | None = None,
    attrs: Mapping[str, Any] = NO_ATTRS,
    copied_from: Array | None = None,
    tensor: Tensor | None = None,
) -> Tensor:
    """A leaf that shows `array`; with `make_result` the one place that fills in a tensor."""
    leaf = Tensor.__new__(Tensor) if tensor is None else tensor
    leaf._array = array
    leaf.grad = None
    leaf.requires_grad = requires_grad
    leaf.primitive = None
    leaf.attrs = attrs
    leaf._left = copied_from  # a dictionary of attributes for every step of a sequence would be as large as the step
    leaf.index = next_index()
    leaf._code, leaf._offset = origin or _NOWHERE
    leaf.seal = seal
    leaf.retains_grad = False
    leaf._name = name
    now = current.get()
    leaf.step, leaf.scope = step_of(now), now.scope
    return leaf


def make_result(
    array: Array,
    operation: Operation | None,
    operands: tuple[Operand, ...],
    attrs: Mapping[str, Any],
    requires_grad: bool,
    step: int | None,
    scope: str,
    code: CodeType | None,
    offset: int,
    name: str | None,
) -> Tensor:
    """The result of an operation; without one it is not recorded, and keeps nothing of what it was computed from."""
    result = _new(Tensor)
    result._array = array
    result.grad = None
    result.requires_grad = requires_grad
    result.retains_grad = False
    result._name = name
    result.step = step
    result.scope = scope
    result._code = code
    result._offset = offset
    result.primitive = operation
    result.seal = SEALED if array.base is None else _shown(operands)
    if operation is None:
        result.attrs = NO_ATTRS
        result.index = next_index()
        return result
    result.attrs = attrs
    if operation.arity == 2:
        result._left, result._right = operands
    else:
        result._left = operands[0] if len(operands) == 1 else operands
    for operand in operands:
        if type(operand) is Tensor and operand.seal.open:
            operand.seal.close()
    result.index = next_index()  # after the seals: what it saw is not a later change
    return result


def _shown(operands: tuple[Operand, ...]) -> Seal:
    """The seal of the operand whose memory a view may show, if it is a leaf's."""
    for operand in operands:
        if type(operand) is Tensor and operand.seal is not SEALED:
            return operand.seal
    return SEALED


def connect(result: Tensor, operation: Operation, operands: tuple[Operand, ...], attrs: Mapping[str, Any]) -> None:
    """Let a tensor be the result of an operation."""
    result.primitive = operation
    result.attrs = attrs
    if operation.arity == 2:
        result._left, result._right = operands
    else:
        result._left = operands[0] if len(operands) == 1 else operands


def release(result: Tensor) -> None:
    """Let a recorded result go of its operands, so that their arrays die with the user's last reference."""
    result._left = result._right = None


def take_name(result: Tensor) -> None:
    """Let what a function of the table gives be named by the variable it is assigned to, as what led to it is not."""
    if result._name == "":
        result._name = None


def _restored(array: Array, requires_grad: bool, name: str | None, grad: Array | None) -> Tensor:
    """A copied or unpickled tensor; it shares no memory with the first."""
    tensor = Tensor(array, requires_grad, name)
    tensor.origin = None
    tensor.grad = None if grad is None else np.array(grad)
    return tensor


def constant(array: Array, origin: Origin | None = None) -> Tensor:
    """A leaf without a gradient that shares `array`'s memory (the constructor copies instead)."""
    return make_leaf(array, origin, Seal(array, foreign=True))


def writable(tensor: Tensor) -> Array:
    """The array of a leaf, to be changed at once: results computed from it before can no longer go back."""
    if tensor._array is not tensor.seal.array:
        tensor.data = tensor._array  # it shows the memory of another
    return tensor.seal.change()


def check_seals(used: Mapping[Seal, tuple[Tensor, int]]) -> None:
    """Refuse to go back through leaves that changed since they were used.

    Args:
        used: for each seal a leaf, and the creation number of the first result that used it.

    Raises:
        GraphError: an array is not the one that the forward pass saw.
    """
    for seal, (tensor, first_use) in used.items():
        if seal.is_broken(first_use):
            raise messages.changed(tensor)


__all__ = ["NO_ATTRS", "Array", "ArrayMethods", "Axis", "Operand", "Tensor", "check_seals", "connect", "constant"]
__all__ += ["make_leaf", "make_result", "numeric", "raw", "registry", "release", "take_name", "writable"]
