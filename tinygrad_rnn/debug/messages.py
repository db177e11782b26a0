"""The sentences of errors: what was given, what was expected, what to do. `raise messages.not_scalar("grad", y)`.

The algorithms say when, and this module says what; a tensor is known here by what it tells of itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.exceptions import AxisError

from ..errors import DTypeError, GraphError, InputError, LinAlgError, ShapeError, TensorError
from ..escape import short
from . import origin

E = TypeVar("E", bound=TensorError)


def _says(error: type[E], sentence: str) -> Callable[..., E]:
    """A function from what is at fault to the error; in the sentence {0}, {1} stand for what it is called with."""
    return lambda *given: error(sentence.format(*map(_Shown, given)))


class _Shown:
    """Something in a sentence: a tensor describes itself; {0.shape} is an attribute, {0:short} what someone gave."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __getattr__(self, name: str) -> _Shown:
        return _Shown(getattr(self.value, name))

    def __repr__(self) -> str:
        return repr(self.value)

    def __format__(self, how: str) -> str:
        if how == "operation":
            return _operation(self.value)
        if how:
            return short(self.value) if how == "short" else type(self.value).__name__
        return str(self.value.describe() if hasattr(self.value, "describe") else self.value)


# ---------------------------------------------------------------------- what can be a tensor
def not_numeric(what: str, value: Any) -> DTypeError:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    advice = "pass its .numpy()" if hasattr(value, "__array__") else "pass a Tensor, an array or numbers"
    return DTypeError(f"{what}: got {kind}, expected a Tensor, a NumPy array or numbers; {advice}")


list_of_tensors = _says(
    DTypeError,
    "{0}: got a list of tensors, expected an array; join them with tg.stack or tg.concatenate",
)
masked = _says(DTypeError, "{0}: got a masked array, whose mask would be lost; pass its .filled(0) and the mask apart")
ragged = _says(DTypeError, "{0}: got a ragged list, expected rows of one length; pad it first")
not_numbers = _says(DTypeError, "{0}: got dtype {1}, expected numbers; convert with astype(np.float64)")
no_float = _says(DTypeError, "{0}: got {1:short}, expected a number that a float can hold; divide it first")
not_real = _says(DTypeError, "{0}: got a gradient of dtype {1}, expected real numbers; pass its .real")
no_such_dtype = _says(DTypeError, "Tensor: cannot make dtype {0:short} of data of dtype {1}")
no_flag = _says(DTypeError, "{0}: got {1:short}, expected True or False")


def not_floating(name: str | None, dtype: Any) -> DTypeError:
    return DTypeError(
        f"Tensor: requires_grad=True needs a floating dtype, and {name or 'the data'} has {dtype}; "
        "pass dtype=np.float64 or write the numbers with a decimal point"
    )


# ---------------------------------------------------------------------- what a tensor cannot do
data_of_a_result = _says(
    GraphError,
    "{0} is the result of {0.primitive.name}: its data cannot be assigned; compute a new tensor, or detach() it first",
)
other_data = _says(
    ShapeError,
    "{0} has shape {0.shape} and dtype {0.dtype}; it was assigned {1.shape} of {1.dtype}: assign the same kind, or "
    "make a new Tensor",
)
not_one_number = _says(ShapeError, "item: {0} holds {0.size} numbers, not one; index it first")
no_length = _says(ShapeError, "len: {0} is a scalar and has no length")
no_index = _says(DTypeError, "{0} has dtype {0.dtype} and cannot be an index; use integers")
leaves_the_graph = _says(
    GraphError,
    "{0} requires a gradient and would silently leave the graph as an array; join tensors with tg.stack(list), "
    "and write t.data (or t.detach()) where an array is meant",
)


def leaves_as_float(tensor: Any, function: Callable[..., Any] | None) -> GraphError:
    place, advice = "float", "t.item()"
    if getattr(function, "__module__", None) == "math":
        name = getattr(function, "__name__", "")
        place, advice = f"math.{name}", f"math.{name}(t.item())"
        advice = f"np.{name}(t), or {advice}" if hasattr(np, name) else advice
    return GraphError(
        f"{place}: {tensor.describe()} requires a gradient and would silently leave the graph as a float; "
        f"write {advice} where that is meant"
    )


def read_in_trace(tensor: Any, what: str) -> GraphError:
    where = f" (at {place})" if (place := origin.user_line()) else ""
    return GraphError(
        f"compile: {tensor.describe()} is read as {what}{where}, which would be the same in every call; return it "
        "beside the loss, use where() instead of a Python if, compute with the tensor itself (without np.asarray, "
        "float or .data), index a tensor with it (tg.Tensor(table)[i], not table[i]), or pass it as an argument that "
        "is no array"
    )


in_place = _says(GraphError, "{1}: {0} is part of a graph and cannot change in place; write {2}")
does_not_fit = _says(
    ShapeError,
    "{1}=: {0} of {0.dtype} cannot take {2.shape} of dtype {2.dtype} in place; it must broadcast to the tensor's own",
)
no_method = _says(TensorError, "np.{0.__name__}.{1} has no rule for tensors; write it with np.sum and the like")
out = _says(
    GraphError,
    "np.{0.__name__}: out= would change a tensor or leave the graph; take the result instead (`array += tensor` is "
    "such a call: write array = array + tensor)",
)


def no_rule(function: Callable[..., Any]) -> TensorError:
    module = (getattr(function, "__module__", None) or "numpy").replace("numpy", "np", 1)
    name = f"{module}.{getattr(function, '__name__', repr(function))}"
    if function in _INSTEAD:
        return TensorError(f"{name} has no rule for tensors: {_INSTEAD[function]}")
    return TensorError(
        f"{name} has no rule for tensors; write it with ops that have one (see dir(tinygrad_rnn)), "
        f"add one with tg.primitive({name}, vjps=[...]), or take t.data to leave the graph on purpose"
    )


_INSTEAD = {
    np.linalg.eig: "its results are complex; take np.linalg.eigh of a symmetric matrix",
    np.linalg.eigvals: "its results are complex; take np.linalg.eigvalsh of a symmetric matrix",
    np.linalg.lstsq: "write np.linalg.pinv(a) @ b",
}
"""What to do where there will be no rule."""


def not_masks(ufunc: np.ufunc, dtypes: Sequence[Any], integers: bool) -> DTypeError:
    given = " and ".join(map(str, dtypes))
    advice = ": on integers it cannot be compiled" if integers else " or integers; compare first, (t > 0)"
    return DTypeError(f"{ufunc.__name__}: got {given}, expected masks{advice}")


def changed(leaf: Any) -> GraphError:
    where = f" (made at {origin.line(leaf.origin)})" if leaf.origin else ""
    return GraphError(
        f"backward: the array of {leaf.describe()}{where} was changed after the forward pass used it, so its "
        "gradients would be wrong; run forward again, or change it only after backward; a state that goes on from "
        "an earlier update leaves its past behind by tg.truncate(state)"
    )


# ---------------------------------------------------------------------- how an operation is defined and called
name_taken = _says(TensorError, "primitive: there is a primitive named {0!r} already; give another name=")


def wrong_rule(operation: Any, i: int | None, rule: Callable[..., Any]) -> TensorError:
    which = "the vjp rule" if i is None else f"the vjp rule of operand {i}"
    operands = ["inputs"] if operation.arity is None else [f"x{n}" for n in range(operation.arity)]
    expected = ", ".join(["g", "y", *operands, *(f"{name}=" for name in operation.defaults)])
    return TensorError(
        f"primitive: {which} of {operation.name} is {getattr(rule, '__name__', rule)} and cannot be called as "
        f"({expected}): the gradient, the result, the operands, and the parameters by name"
    )


rule_writes = _says(
    TensorError,
    "{0.name}: its vjp rule writes into an array that it was given, which other rules read; compute a new one, as "
    "in g = g * 2 instead of g *= 2",
)
function_writes = _says(
    TensorError,
    "{0.name}: its function writes into an operand, which other operations and the backward pass read; compute a "
    "new array, or copy it first, as in x = np.array(x)",
)


def no_sequence(operation: Any, args: Sequence[Any]) -> DTypeError:
    given = type(args[0]).__name__ if args else "nothing"
    return DTypeError(f"{operation.name}: got {given}, expected a list of tensors or arrays as first argument")


too_few_operands = _says(DTypeError, "{0.name}: got {1} operands, expected {0.arity}: {0.usage}")
missing_parameters = _says(DTypeError, "{0.name}: {1} is missing; write {0.usage}")


def unknown_parameters(operation: Any, args: Sequence[Any], unknown: Sequence[str]) -> DTypeError:
    extra = ", ".join(f"{name}=" for name in unknown) or f"{len(args)} positional arguments"
    return DTypeError(f"{operation.name} has no rule for {extra} on tensors; write {operation.usage}")


complex_result = _says(
    DTypeError,
    "{0.name}: the result is complex ({1}) and an operand requires a gradient, which complex numbers cannot carry "
    "here; compute with the real and the imaginary part apart",
)


def failed(
    name: str,
    operands: Sequence[Any],
    attrs: dict[str, Any],
    error: Exception,
    usage: str,
    step: int | None,
    scope: str,
) -> TensorError:
    """The framework's error for a NumPy one: operation, operands, shapes, step, scope, what to do, origin."""
    where = f" at step {step}" if step is not None else ""
    where += f" in scope {scope}" if scope else ""
    words = [_describe(operand) for operand in operands]
    settings = ", ".join(f"{k}={_describe(v)}" for k, v in attrs.items())
    message = f"{name}{where}: cannot take {' and '.join(words) or 'no operands'}"
    message += f" with {settings}" if settings else ""
    message += f": {str(error).splitlines()[0] if str(error) else type(error).__name__}; {_remedy(name, error, usage)}"
    for operand in operands:
        if getattr(operand, "origin", None) is not None:
            message += f"\n  {operand.name or 'an operand'} was made at {origin.line(operand.origin)}"
    if isinstance(error, np.linalg.LinAlgError):
        return LinAlgError(message)
    return ShapeError(message) if isinstance(error, (ValueError, IndexError)) else DTypeError(message)


def _describe(operand: Any) -> str:
    if hasattr(operand, "describe"):
        return str(operand.describe())
    if isinstance(operand, np.ndarray):
        return f"an array {operand.shape} of {operand.dtype}"
    return short(operand)


def _remedy(name: str, error: Exception, usage: str) -> str:
    if name == "matmul":
        return "the last axis of the first must equal the last but one of the second (or its only axis)"
    if isinstance(error, AxisError):
        return "axes are counted from 0, or from -1 backwards"
    if "broadcast" in str(error):
        return "axes must be equal or 1, counted from the last: reshape or transpose one operand"
    if "must have the same shape" in str(error):
        return "reshape them, or make the shorter ones longer with np.pad"
    return f"write {usage}"


# ---------------------------------------------------------------------- gradients
in_compiled_function = _says(
    GraphError,
    "{0}: a function that is being compiled cannot take gradients itself: its graph is not kept; call it without "
    "compiling it",
)
no_tensor = _says(GraphError, "{0}: got {1:type}, expected a Tensor computed from others")
no_graph = _says(
    GraphError,
    "{0}: {1} has no graph behind it; compute it from a Tensor with requires_grad=True, outside no_grad()",
)
not_scalar = _says(
    GraphError,
    "{0}: {1} is not a scalar; reduce it with .sum() or .mean() (backward and grad also take a gradient of it)",
)
other_seed = _says(ShapeError, "{0}: the gradient has shape {1}, expected {2.shape} as {2}")
one_seed_each = _says(ShapeError, "grad: got {0} grad_output for {1} outputs, expected one each")
no_input = _says(GraphError, "grad: got {0:type} among the inputs, expected tensors that require a gradient")
no_gradient_wanted = _says(GraphError, "grad: {0} does not require a gradient; make it with requires_grad=True")
other_grad = _says(
    ShapeError,
    "backward: the grad of {0} has shape {1}, expected {0.shape}; set grad = None, or an array of the tensor's shape",
)
no_array = _says(
    TensorError,
    "{0:operation}: the vjp rule of operand {1} gave {2:type}, expected an array; a rule computes with g, and an "
    "operand without a gradient has None in place of a rule",
)


def no_signature(name: str, function: Any) -> DTypeError:
    return DTypeError(f"primitive {name!r}: got {function!r:.60}, which names no parameters; wrap it in a function")


def too_few_gradients(result: Any, gradients: Any) -> TensorError:
    given = f"{len(gradients)} gradients" if isinstance(gradients, (list, tuple)) else type(gradients).__name__
    return TensorError(
        f"{_operation(result)}: the vjp rule gave {given}, expected a list of {len(result.inputs)}, one for each "
        "operand; None where an operand has no gradient"
    )


gradient_of_integers = _says(
    DTypeError,
    "backward: {0} has dtype {0.dtype} and requires_grad was set on it, but only floating numbers have gradients; "
    "make it with dtype=np.float64",
)
other_gradient = _says(
    TensorError,
    "{0:operation}: the vjp rule of operand {1} gave a gradient of shape {2} for an operand of shape {3}; a rule "
    "must give its operand's shape, or one that broadcasting made of it",
)


def _operation(result: Any) -> str:
    return result.primitive.name if result is not None and result.primitive is not None else "?"


# ---------------------------------------------------------------------- steps and scopes
async_generator = _says(
    InputError,
    "{0.__name__} is an asynchronous generator, which cannot be decorated; write `with tg.no_grad():` around what "
    "it computes between one yield and the next",
)
no_first_step = _says(InputError, "steps: got start={0:short}, expected the number of the first step, 0 or more")
no_time_axis = _says(ShapeError, "{0}: got a scalar, expected a sequence with time as its first axis")
no_scope = _says(InputError, "scope: got {0:short}, expected a name without {1}")


# ---------------------------------------------------------------------- indices
def no_index_entry(entry: Any, array: Any) -> DTypeError:
    kind = type(entry).__name__ if array is None else f"an array of {array.dtype}"
    return DTypeError(
        f"getitem: got {kind} as an index, expected integers, slices, None, ... or integer or boolean arrays"
    )


# ---------------------------------------------------------------------- what is not finite
def not_finite(operation: str, result: Any, kind: str, direction: str, sources: Sequence[Any]) -> GraphError:
    place = f"{operation}, {result.describe()}"
    place += f", at {origin.line(result.origin)}" if result.origin else ""
    held = f"; it was in its input already: {', '.join(x.describe() for x in sources)}" if sources else ""
    return GraphError(f"detect_anomaly: the first {kind} of the {direction} pass arises in {place}{held}")
