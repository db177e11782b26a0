"""Tensor: an array and where it came from.

A tensor is a leaf (made by the user) or the result of a primitive; in the second case it keeps
its operands, so a computation is a graph of tensors that lives exactly as long as its last
reference. Operators and NumPy functions on a tensor look their primitive up in `registry`, which
`primitive.py` fills; this module therefore knows no calculus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FrameType, MappingProxyType
from typing import Any, NoReturn, final

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ..debug import messages
from ..debug import origin as _origin
from ..debug.origin import Origin
from .context import Context, current, next_index, step_of
from .operation import Operation
from .seal import SEALED, Seal

Array = NDArray[Any]
Operand = Any
"""What a primitive takes: a Tensor, an array, a list of numbers or a Python number."""
Axis = int | tuple[int, ...] | None
"""What to reduce over: one axis, several, or all."""

registry: dict[Callable[..., Any] | str, Any] = {}
"""What stands for a NumPy function on tensors, and for a method whose rules or algorithm this module does not know."""


@final
class Tensor:
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
        cut_from: the creation number of the tensor that it was detached from, if it was.
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
        "cut_from",
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
    cut_from: int | None
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
        except (TypeError, ValueError) as error:
            raise messages.no_such_dtype(dtype, array.dtype) from error
        numeric(array, "Tensor")
        if requires_grad and array.dtype.kind != "f":
            raise messages.not_floating(name, array.dtype)
        make_leaf(array, _origin.maker(1), Seal(array), requires_grad, name, tensor=self)

    # ------------------------------------------------------------------ the array
    @property
    def data(self) -> Array:
        """The values. Results are read-only; a leaf's array may be changed between graphs.

        What is assigned is copied.
        """
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
        return self._array.item()

    def tolist(self) -> Any:
        """The values as nested Python lists."""
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
        return make_leaf(self._array, _origin.caller(1), self.seal, name=self._name, cut_from=first)

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

    def _refuse_in_trace(self, what: str) -> None:
        """Raise a GraphError where the compiler would take this tensor's value for a constant of every call."""
        if current.get().tracing:
            raise messages.read_in_trace(self, what)

    def __float__(self) -> float:
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

    __hash__ = object.__hash__

    # ------------------------------------------------------------------ operators
    def __add__(self, other: Operand) -> Tensor:
        return registry[np.add].apply((self, other))

    def __radd__(self, other: Operand) -> Tensor:
        return registry[np.add].apply((other, self))

    def __sub__(self, other: Operand) -> Tensor:
        return registry[np.subtract].apply((self, other))

    def __rsub__(self, other: Operand) -> Tensor:
        return registry[np.subtract].apply((other, self))

    def __mul__(self, other: Operand) -> Tensor:
        return registry[np.multiply].apply((self, other))

    def __rmul__(self, other: Operand) -> Tensor:
        return registry[np.multiply].apply((other, self))

    def __truediv__(self, other: Operand) -> Tensor:
        return registry[np.divide].apply((self, other))

    def __rtruediv__(self, other: Operand) -> Tensor:
        return registry[np.divide].apply((other, self))

    def __pow__(self, other: Operand) -> Tensor:
        return registry[np.power].apply((self, other))

    def __rpow__(self, other: Operand) -> Tensor:
        return registry[np.power].apply((other, self))

    def __matmul__(self, other: Operand) -> Tensor:
        return registry[np.matmul].apply((self, other))

    def __rmatmul__(self, other: Operand) -> Tensor:
        return registry[np.matmul].apply((other, self))

    def __mod__(self, other: Operand) -> Tensor:
        return registry[np.remainder].apply((self, other))

    def __rmod__(self, other: Operand) -> Tensor:
        return registry[np.remainder].apply((other, self))

    def __floordiv__(self, other: Operand) -> Any:
        return registry[np.floor_divide].apply((self, other))

    def __rfloordiv__(self, other: Operand) -> Any:
        return registry[np.floor_divide].apply((other, self))

    def __divmod__(self, other: Operand) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Operand) -> Any:
        return other // self, other % self

    def __round__(self, decimals: int = 0) -> Any:
        return registry[np.round](self, decimals)

    def __neg__(self) -> Tensor:
        return registry[np.negative].apply((self,))

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return registry[np.absolute].apply((self,))

    def __getitem__(self, key: Any) -> Tensor:
        return registry[getitem_key](self, key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise messages.in_place(self, "t[key] = value", "tg.where(mask, value, t), or stack the parts")

    def __iadd__(self, other: Operand) -> Tensor:
        return self._update("+", registry[np.add].apply((self, other)))

    def __isub__(self, other: Operand) -> Tensor:
        return self._update("-", registry[np.subtract].apply((self, other)))

    def __imul__(self, other: Operand) -> Tensor:
        return self._update("*", registry[np.multiply].apply((self, other)))

    def __itruediv__(self, other: Operand) -> Tensor:
        return self._update("/", registry[np.divide].apply((self, other)))

    def __imatmul__(self, other: Operand) -> Tensor:
        return self._update("@", registry[np.matmul].apply((self, other)))

    def __ipow__(self, other: Operand) -> Tensor:
        return self._update("**", registry[np.power].apply((self, other)))

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

    # ------------------------------------------------------------------ comparisons give plain arrays
    def __eq__(self, other: object) -> Any:
        return registry[np.equal](self, other) if isinstance(other, _COMPARABLE) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return registry[np.not_equal](self, other) if isinstance(other, _COMPARABLE) else NotImplemented

    def __lt__(self, other: Operand) -> Any:
        return registry[np.less](self, other)

    def __le__(self, other: Operand) -> Any:
        return registry[np.less_equal](self, other)

    def __gt__(self, other: Operand) -> Any:
        return registry[np.greater](self, other)

    def __ge__(self, other: Operand) -> Any:
        return registry[np.greater_equal](self, other)

    def __and__(self, other: Operand) -> Any:
        return _bitwise(np.bitwise_and, self, other)

    def __rand__(self, other: Operand) -> Any:
        return _bitwise(np.bitwise_and, other, self)

    def __or__(self, other: Operand) -> Any:
        return _bitwise(np.bitwise_or, self, other)

    def __ror__(self, other: Operand) -> Any:
        return _bitwise(np.bitwise_or, other, self)

    def __xor__(self, other: Operand) -> Any:
        return _bitwise(np.bitwise_xor, self, other)

    def __rxor__(self, other: Operand) -> Any:
        return _bitwise(np.bitwise_xor, other, self)

    def __invert__(self) -> Any:
        return _bitwise(np.invert, self)

    # ------------------------------------------------------------------ methods, as on an array
    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return registry[np.transpose](self)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum over `axis`, of all entries by default."""
        return registry[np.sum](self, axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The mean over `axis`."""
        return registry[np.mean](self, axis, keepdims=keepdims)

    def var(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """The variance over `axis`, divided by n - ddof."""
        return registry[np.var](self, axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
        """The standard deviation over `axis`, the root of `var`."""
        return registry[np.std](self, axis, ddof=ddof, keepdims=keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The product over `axis`."""
        return registry[np.prod](self, axis, keepdims=keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest entry over `axis`; equal ones share the gradient."""
        return registry[np.max](self, axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The smallest entry over `axis`; equal ones share the gradient."""
        return registry[np.min](self, axis, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """The index of the largest entry along `axis`, a plain array."""
        return registry[np.argmax](self, axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """The index of the smallest entry along `axis`, a plain array."""
        return registry[np.argmin](self, axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None) -> Tensor:
        """The running sum along `axis`, of the flattened tensor by default."""
        return registry[np.cumsum](self, axis)

    def clip(self, a_min: Operand = None, a_max: Operand = None) -> Tensor:
        """The entries limited to a_min and a_max; None leaves that side open."""
        return registry[np.clip](self, a_min, a_max)

    def dot(self, other: Operand) -> Tensor:
        """The dot product, as np.dot."""
        return registry[np.dot](self, other)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """The sum of a diagonal of two axes."""
        return registry[np.trace](self, offset, axis1, axis2)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """A diagonal of two axes, as the last axis of the result."""
        return registry[np.diagonal](self, offset, axis1, axis2)

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """The same entries in another shape; one length may be -1."""
        return registry[np.reshape](self, shape[0] if len(shape) == 1 else shape)

    def flatten(self) -> Tensor:
        """The same entries in one axis, as `ravel`."""
        return registry[np.reshape](self, -1)

    def ravel(self) -> Tensor:
        """The same entries in one axis."""
        return registry[np.reshape](self, -1)

    def transpose(self, *axes: int) -> Tensor:
        """The axes in another order, by default reversed."""
        return registry[np.transpose](self, axes or None)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Two axes exchanged."""
        return registry[np.swapaxes](self, axis1, axis2)

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Without axes of length 1, all or those given."""
        return registry[np.squeeze](self, axis)

    def take(self, indices: Operand, axis: int | None = None) -> Tensor:
        """The entries at `indices` along `axis`."""
        return registry[np.take](self, indices, axis)

    def repeat(self, repeats: Operand, axis: int | None = None) -> Tensor:
        """Each entry repeated along `axis`."""
        return registry[np.repeat](self, repeats, axis)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """The same values in another dtype; the gradient comes back in this one."""
        return registry[np.astype](self, dtype)

    def exp(self) -> Tensor:
        """e to the power of each entry."""
        return registry[np.exp](self)

    def log(self) -> Tensor:
        """The natural logarithm of each entry."""
        return registry[np.log](self)

    def sqrt(self) -> Tensor:
        """The square root of each entry."""
        return registry[np.sqrt](self)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent of each entry."""
        return registry[np.tanh](self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x)) of each entry."""
        return registry["sigmoid"](self)

    def relu(self) -> Tensor:
        """max(x, 0) of each entry."""
        return registry["relu"](self)

    def round(self, decimals: int = 0) -> Any:
        """The entries rounded to `decimals` places, a plain array: rounding has no gradient."""
        return registry[np.round](self, decimals)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Whether any entry over `axis` is not 0, a plain array."""
        return np.any(self._array, axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Whether all entries over `axis` are not 0, a plain array."""
        return np.all(self._array, axis=axis, keepdims=keepdims)

    def numpy(self) -> Array:
        """The values as an array, which shares the tensor's memory; a tensor that requires a gradient refuses."""
        return self.__array__()

    # ------------------------------------------------------------------ NumPy's protocols
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        function = registry.get(ufunc if method == "__call__" else getattr(ufunc, method))
        if function is not None and not kwargs and hasattr(function, "apply"):
            return function.apply(inputs)
        if function is None and method != "__call__":
            raise messages.no_method(ufunc, method)
        if kwargs.get("out") is not None:
            raise messages.out(ufunc)
        if function is not None:
            return function(*inputs, **kwargs)
        if ufunc in _LOGICAL and not kwargs:
            return _bitwise(ufunc, *inputs)
        if ufunc in plain:
            return ufunc(*map(raw, inputs), **kwargs)
        raise messages.no_rule(ufunc)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in registry:
            return registry[function](*args, **kwargs)
        if function in plain:
            return function(*_raw_all(args), **{k: raw(v) for k, v in kwargs.items()})
        raise messages.no_rule(function)


def getitem_key() -> None:
    """Stands in `registry` for indexing, which NumPy has no function for."""


_COMPARABLE = (Tensor, np.ndarray, np.generic, list, tuple, int, float, complex)

plain: set[Callable[..., Any]] = {
    *(np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.may_share_memory, np.shares_memory),
    *(np.zeros_like, np.ones_like, np.full_like, np.empty_like, np.array2string, np.array_repr, np.array_str),
    *(np.allclose, np.isclose, np.array_equal, np.all, np.any, np.count_nonzero, np.nonzero, np.argwhere),
    *(np.searchsorted, np.bincount, np.isin, np.signbit),
}
"""NumPy functions whose results have no gradient to carry: on tensors they give plain arrays."""


_LOGICAL: Mapping[np.ufunc, np.ufunc] = {
    np.bitwise_and: np.logical_and,
    np.bitwise_or: np.logical_or,
    np.bitwise_xor: np.logical_xor,
    np.invert: np.logical_not,
}
"""What the operations on bits are on masks."""


def _bitwise(ufunc: np.ufunc, *operands: Operand) -> Any:
    """An operation on bits; on masks the logical one, which the compiler knows.

    Raises:
        DTypeError: an operand is neither integer nor boolean, or integers are within a function being compiled.
    """
    arrays = [numeric(raw(x), ufunc.__name__) for x in operands]
    kinds = {array.dtype.kind for array in arrays}
    if kinds == {"b"}:
        return registry[_LOGICAL[ufunc]](*operands)
    if not kinds <= set("iub") or current.get().tracing:
        raise messages.not_masks(ufunc, [array.dtype for array in arrays], kinds <= set("iub"))
    return ufunc(*map(raw, operands))


def _raw_all(args: Any) -> Any:
    return tuple(_raw_all(a) if isinstance(a, (tuple, list)) else raw(a) for a in args)


def raw(value: Any) -> Any:
    """A tensor's array; anything else as it is."""
    return value._array if isinstance(value, Tensor) else value


def numeric(value: Any, what: str) -> Array:
    """`value` as an array of numbers or booleans, without a copy where it is one already.

    Raises:
        DTypeError: it is ragged, text, None, masked, an object array, or another framework's tensor.
    """
    if type(value) is np.ndarray and value.dtype.kind in "fiubc":
        return value
    if not isinstance(value, (np.ndarray, np.generic, list, tuple, int, float, complex)):
        raise messages.not_numeric(what, value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        raise messages.list_of_tensors(what)
    if isinstance(value, np.ma.MaskedArray):
        raise messages.masked(what)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise messages.ragged(what) from error
    if array.dtype.kind not in "fiubc":
        raise messages.not_numbers(what, array.dtype)
    return array


NO_ATTRS: Mapping[str, Any] = MappingProxyType({})
_NOWHERE = (None, 0)
_new = Tensor.__new__


def make_leaf(
    array: Array,
    origin: Origin | None,
    seal: Seal,
    requires_grad: bool = False,
    name: str | None = None,
    cut_from: int | None = None,
    tensor: Tensor | None = None,
) -> Tensor:
    """A leaf that shows `array`; with `make_result` the one place that fills in a tensor."""
    leaf = Tensor.__new__(Tensor) if tensor is None else tensor
    leaf._array = array
    leaf.grad = None
    leaf.requires_grad = requires_grad
    leaf.primitive = None
    leaf.attrs = NO_ATTRS
    leaf.index = next_index()
    leaf._code, leaf._offset = origin or _NOWHERE
    leaf.seal = seal
    leaf.cut_from = cut_from
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
    now: Context,
    made_in: FrameType,
    name: str | None,
) -> Tensor:
    """The result of an operation; without one it is not recorded, and keeps nothing of what it was computed from."""
    result = _new(Tensor)
    result._array = array
    result.grad = None
    result.requires_grad = requires_grad
    result.cut_from = None
    result.retains_grad = False
    result._name = name
    result.step = now.step if now.loop is None or now.step is not None else step_of(now)
    result.scope = now.scope
    result.index = next_index()
    result._code = made_in.f_code
    result._offset = made_in.f_lasti
    result.seal = SEALED
    if operation is not None:
        connect(result, operation, operands, attrs)
        return result
    result.primitive = None
    result.attrs = NO_ATTRS
    if array.base is not None:  # it may show the memory of an operand
        result.seal = next((x.seal for x in operands if type(x) is Tensor and x.seal is not SEALED), SEALED)
    return result


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
