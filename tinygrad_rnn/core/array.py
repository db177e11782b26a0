"""Array: what a tensor has in common with a NumPy array: operators, methods, and NumPy's functions on it.

None of it is computed here. Each looks up in `registry` what stands for the NumPy function on tensors, which
`primitive.py` fills; a function that has no rule says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..debug import messages
from .context import current

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[Any]
Operand = Any
"""What a primitive takes: a Tensor, an array, a list of numbers or a Python number."""
Axis = int | tuple[int, ...] | None
"""What to reduce over: one axis, several, or all."""

registry: dict[Callable[..., Any] | str, Any] = {}
"""What stands for a NumPy function on tensors, and for a method whose rules or algorithm this module does not know."""

T = TypeVar("T", bound="ArrayMethods")


def _binary(function: np.ufunc) -> Callable[[T, Operand], T]:
    """The operator of a function of two operands, such as t + x of np.add."""
    return lambda self, other: registry[function].apply((self, other))


def _reflected(function: np.ufunc) -> Callable[[T, Operand], T]:
    """The operator where the tensor stands on the right, such as x + t."""
    return lambda self, other: registry[function].apply((other, self))


def _in_place(symbol: str, function: np.ufunc) -> Callable[[T, Operand], T]:
    """The operator that adjusts a leaf under no_grad, such as t += x."""
    return lambda self, other: self._update(symbol, registry[function].apply((self, other)))


def _plain(function: np.ufunc) -> Callable[[Any, Operand], Any]:
    """The operator of a function without a gradient, such as a comparison, which gives a plain array."""
    return lambda self, other: registry[function].apply((self, other))


def _of_bits(function: np.ufunc) -> tuple[Callable[[Any, Operand], Any], Callable[[Any, Operand], Any]]:
    return lambda self, other: _bitwise(function, self, other), lambda self, other: _bitwise(function, other, self)


def _of_each(function: Callable[..., Any] | str, doc: str) -> Callable[[T], T]:
    """The method of a function of each entry, such as t.exp()."""

    def method(self: T) -> T:
        return registry[function](self)

    method.__name__, method.__doc__ = getattr(function, "__name__", str(function)), doc
    return method


def _reduction(function: Callable[..., Any], doc: str) -> Callable[..., Any]:
    """The method of a reduction, such as t.sum()."""

    def method(self: Any, axis: Axis = None, keepdims: bool = False, **more: Any) -> Any:
        if more:  # dtype, initial, where
            return registry[function](self, axis, keepdims=keepdims, **more)
        return registry[function].apply((self,), {"axis": axis, "keepdims": keepdims})

    method.__name__, method.__doc__ = function.__name__, f"{doc} `more`: NumPy's dtype, initial and where."
    return method


class ArrayMethods:
    """The part of a tensor that it shares with arrays."""

    __slots__ = ()

    _array: Array

    def _update(self: T, symbol: str, result: T) -> T:
        """What `t += x` makes of t."""
        raise NotImplementedError

    # ------------------------------------------------------------------ operators
    __add__, __radd__, __iadd__ = _binary(np.add), _reflected(np.add), _in_place("+", np.add)
    __sub__, __rsub__, __isub__ = _binary(np.subtract), _reflected(np.subtract), _in_place("-", np.subtract)
    __mul__, __rmul__, __imul__ = _binary(np.multiply), _reflected(np.multiply), _in_place("*", np.multiply)
    __truediv__, __rtruediv__, __itruediv__ = _binary(np.divide), _reflected(np.divide), _in_place("/", np.divide)
    __matmul__, __rmatmul__, __imatmul__ = _binary(np.matmul), _reflected(np.matmul), _in_place("@", np.matmul)
    __pow__, __rpow__, __ipow__ = _binary(np.power), _reflected(np.power), _in_place("**", np.power)
    __mod__, __rmod__, __imod__ = _binary(np.remainder), _reflected(np.remainder), _in_place("%", np.remainder)
    __floordiv__ = _plain(np.floor_divide)

    def __rfloordiv__(self, other: Operand) -> Any:
        return registry[np.floor_divide].apply((other, self))

    def __divmod__(self, other: Operand) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Operand) -> Any:
        return other // self, other % self

    def __neg__(self) -> Self:
        return registry[np.negative].apply((self,))

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return registry[np.absolute].apply((self,))

    def __round__(self, decimals: int = 0) -> Any:
        return registry[np.round](self, decimals)

    def __getitem__(self, key: Any) -> Self:
        return registry[getitem_key](self, key)

    def __eq__(self, other: object) -> Any:
        return registry[np.equal](self, other) if isinstance(other, _COMPARABLE) else NotImplemented

    def __ne__(self, other: object) -> Any:
        return registry[np.not_equal](self, other) if isinstance(other, _COMPARABLE) else NotImplemented

    __hash__ = object.__hash__
    __lt__, __le__ = _plain(np.less), _plain(np.less_equal)
    __gt__, __ge__ = _plain(np.greater), _plain(np.greater_equal)
    __and__, __rand__ = _of_bits(np.bitwise_and)
    __or__, __ror__ = _of_bits(np.bitwise_or)
    __xor__, __rxor__ = _of_bits(np.bitwise_xor)

    def __invert__(self) -> Any:
        return _bitwise(np.invert, self)

    # ------------------------------------------------------------------ methods
    @property
    def T(self) -> Self:
        """The axes in reverse order."""
        return registry[np.transpose](self)

    @property
    def mT(self) -> Self:
        """The last two axes exchanged."""
        return registry[np.matrix_transpose](self)

    sum = _reduction(np.sum, "The sum over `axis`, of all entries by default.")
    mean = _reduction(np.mean, "The mean over `axis`.")
    prod = _reduction(np.prod, "The product over `axis`.")
    max = _reduction(np.max, "The largest entry over `axis`; equal ones share the gradient.")
    min = _reduction(np.min, "The smallest entry over `axis`; equal ones share the gradient.")

    def var(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False, **more: Any) -> Self:
        """The variance over `axis`, divided by n - ddof."""
        return registry[np.var](self, axis, ddof=ddof, keepdims=keepdims, **more)

    def std(self, axis: Axis = None, ddof: int = 0, keepdims: bool = False, **more: Any) -> Self:
        """The standard deviation over `axis`, the root of `var`."""
        return registry[np.std](self, axis, ddof=ddof, keepdims=keepdims, **more)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """The index of the largest entry along `axis`, a plain array."""
        return registry[np.argmax](self, axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """The index of the smallest entry along `axis`, a plain array."""
        return registry[np.argmin](self, axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None, dtype: DTypeLike | None = None) -> Self:
        """The running sum along `axis`, of the flattened tensor by default."""
        return registry[np.cumsum](self if dtype is None else self.astype(dtype), axis)

    def clip(self, min: Operand = None, max: Operand = None) -> Self:  # noqa: A002 - as in NumPy
        """The entries limited to min and max; None leaves that side open."""
        return registry[np.clip](self, min, max)

    def dot(self, other: Operand) -> Self:
        """The dot product, as np.dot."""
        return registry[np.dot](self, other)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        """The sum of a diagonal of two axes."""
        return registry[np.trace](self, offset, axis1, axis2)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Self:
        """A diagonal of two axes, as the last axis of the result."""
        return registry[np.diagonal](self, offset, axis1, axis2)

    def reshape(self, *shape: int | Sequence[int], order: str = "C") -> Self:
        """The same entries in another shape, one length of which may be -1; order "F" runs along first axes fastest."""
        new = shape[0] if len(shape) == 1 else shape
        if order == "C":
            return registry[np.reshape].apply((self,), {"shape": new})
        return registry[np.reshape](self, new, order=order)

    def flatten(self, order: str = "C") -> Self:
        """The same entries in one axis, as `ravel`."""
        return registry[np.ravel](self, order)

    def ravel(self, order: str = "C") -> Self:
        """The same entries in one axis."""
        return registry[np.ravel](self, order)

    def transpose(self, *axes: int | Sequence[int] | None) -> Self:
        """The axes in another order, one by one or as one tuple; by default reversed."""
        one = len(axes) == 1 and isinstance(axes[0], (tuple, list, type(None)))
        return registry[np.transpose](self, axes[0] if one else axes or None)

    def swapaxes(self, axis1: int, axis2: int) -> Self:
        """Two axes exchanged."""
        return registry[np.swapaxes](self, axis1, axis2)

    def squeeze(self, axis: Axis = None) -> Self:
        """Without axes of length 1, all or those given."""
        return registry[np.squeeze](self, axis)

    def take(self, indices: Operand, axis: int | None = None) -> Self:
        """The entries at `indices` along `axis`."""
        return registry[np.take](self, indices, axis)

    def repeat(self, repeats: Operand, axis: int | None = None) -> Self:
        """Each entry repeated along `axis`."""
        return registry[np.repeat](self, repeats, axis)

    def astype(self, dtype: DTypeLike, *, copy: bool = True) -> Self:
        """The same values in another dtype, as a new tensor; the gradient comes back in this one.

        Without `copy`, the tensor itself where it has that dtype already.
        """
        return self if not copy and self._array.dtype == dtype else registry[np.astype](self, dtype)

    exp = _of_each(np.exp, "e to the power of each entry.")
    log = _of_each(np.log, "The natural logarithm of each entry.")
    sqrt = _of_each(np.sqrt, "The square root of each entry.")
    tanh = _of_each(np.tanh, "The hyperbolic tangent of each entry.")
    sigmoid = _of_each("sigmoid", "1 / (1 + exp(-x)) of each entry.")
    relu = _of_each("relu", "max(x, 0) of each entry.")

    def round(self, decimals: int = 0) -> Any:
        """The entries rounded to `decimals` places, a plain array: rounding has no gradient."""
        return registry[np.round](self, decimals)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Whether any entry over `axis` is not 0, a plain array."""
        _refuse_in_trace(np.any, self)
        return np.any(self._array, axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Whether all entries over `axis` are not 0, a plain array."""
        _refuse_in_trace(np.all, self)
        return np.all(self._array, axis=axis, keepdims=keepdims)

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
            _refuse_in_trace(ufunc, self)
            return ufunc(*map(raw, inputs), **kwargs)
        raise messages.no_rule(ufunc)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in registry:
            return registry[function](*args, **kwargs)
        if function in plain:
            _refuse_in_trace(function, self)
            return function(*_raw_all(args), **{k: raw(v) for k, v in kwargs.items()})
        raise messages.no_rule(function)


def _refuse_in_trace(function: Callable[..., Any], tensor: Any) -> None:
    """Raise a GraphError where the compiler would take what a function finds for a constant of every call."""
    if function not in _OF_SHAPES and current.get().tracing:
        raise messages.read_in_trace(tensor, f"a plain array, by {function.__name__}")


def getitem_key() -> None:
    """Stands in `registry` for indexing, which NumPy has no function for."""


_COMPARABLE = (ArrayMethods, np.ndarray, np.generic, list, tuple, int, float, complex)

_OF_SHAPES: set[Callable[..., Any]] = {
    *(np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.may_share_memory, np.shares_memory),
    *(np.zeros_like, np.ones_like, np.full_like, np.empty_like, np.array2string, np.array_repr, np.array_str),
}
"""Those of `plain` whose results are the same whatever the values, or only to be looked at."""

plain: set[Callable[..., Any]] = {
    *_OF_SHAPES,
    *(np.allclose, np.isclose, np.array_equal, np.all, np.any, np.count_nonzero, np.nonzero, np.argwhere),
    *(np.searchsorted, np.bincount, np.isin, np.signbit, np.flatnonzero, np.array_equiv, np.imag, np.isreal),
    *(np.iscomplex, np.iscomplexobj, np.isrealobj, np.diag_indices_from, np.tril_indices_from, np.triu_indices_from),
    *(np.linalg.matrix_rank, np.digitize),
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
    return value._array if isinstance(value, ArrayMethods) else value


def numeric(value: Any, what: str) -> Array:
    """`value` as an array of numbers or booleans, without a copy where it is one already.

    Raises:
        DTypeError: it is ragged, text, None, masked, an object array, or another framework's tensor.
    """
    if type(value) is np.ndarray and value.dtype.kind in "fiubc":
        return value
    if not isinstance(value, (np.ndarray, np.generic, list, tuple, int, float, complex)):
        raise messages.not_numeric(what, value)
    if isinstance(value, (list, tuple)) and any(isinstance(v, ArrayMethods) for v in value):
        raise messages.list_of_tensors(what)
    if isinstance(value, np.ma.MaskedArray):
        raise messages.masked(what)
    try:
        if type(value) is int and not -(2**63) <= value < 2**64:  # NumPy would keep it as an object
            value = float(value)
        array = np.asarray(value)
    except ValueError as error:
        raise messages.ragged(what) from error
    except OverflowError as error:
        raise messages.no_float(what, value) from error
    if array.dtype.kind not in "fiubc":
        raise messages.not_numbers(what, array.dtype)
    return array
