"""Every operation with each argument of a wrong kind in turn: refused by a sentence, or what NumPy makes of it.

`python tests/security/test_wrong_operations.py` lists these calls, and those of `test_wrong_calls.py`, by answer.
"""

from __future__ import annotations

import inspect
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from test_wrong_calls import WRONG
from test_wrong_calls import calls as calls_of_functions

import tinygrad_rnn as tg
from tinygrad_rnn.core.array import numeric, raw, registry
from tinygrad_rnn.core.primitive import Primitive, composites, primitives
from tinygrad_rnn.escape import short

ODD: list[Any] = [
    *WRONG, -7, 7, 1.5, 2**62, -(2**62), [0], (0, 0), [[1, 2], [3]], np.array([0.5]), np.array([[0]]), "axis",
    np.float64(1.5), slice(None), tg.Tensor([0, 1]), tg.Tensor(1.0), float("inf"),
]  # fmt: skip


def made(*shape: int) -> tg.Tensor:
    x = np.linspace(0.5, 1.5, int(np.prod(shape))).reshape(shape)
    return tg.Tensor(x @ x.T + 3 * np.eye(3) if shape == (3, 3) else x, requires_grad=True)


GOOD: dict[str, Any] = {
    "xs": [made(3, 3), made(3, 3)], "arrays": [made(3, 3), made(3, 3)], "v": made(3), "low": 0.0, "high": 1.0,
    "mask": np.eye(3) > 0, "dtype": np.float32, "shape": (9,), "kth": 1, "axis": 0, "axis1": 0, "axis2": 1, "source": 0,
    "destination": 1, "pad_width": 1, "key": 0, "indices": np.array([0, 1]), "indices_or_sections": 3, "n": 2, "p": 0.5,
    "targets": np.array([0, 1, 2]), "target": np.ones((3, 3)), "window_shape": (2, 2), "reps": 2, "repeats": 2,
    "q": 0.5, "rng": np.random.default_rng(0), "shift": 1, "start": 0.0, "stop": 1.0, "condlist": [np.eye(3) > 0],
    "choicelist": [made(3, 3)],
}  # fmt: skip
"""What an argument may be, by its name; else a matrix."""
OTHERS: dict[str, dict[str, Any]] = {
    "take_along_axis": {"indices": np.zeros((3, 3), int)}, "convolve": {"a": made(3)}, "correlate": {"a": made(3)},
    "binary_cross_entropy_with_logits": {"targets": np.ones((3, 3))}, "dsplit": {"x": made(3, 3, 3)},
    "matvec": {"b": made(3)}, "vecmat": {"a": made(3)}, "rollaxis": {"axis": 1, "start": 1},
    "squeeze": {"x": made(1, 3)},
    "broadcast_to": {"shape": (2, 3, 3)}, "arccosh": {"x": made(2) + 1.0}, "einsum": {"operands": ["ii", made(3, 3)]},
    "meshgrid": {"xs": [made(3), made(3)]}, "gradient": {"spacing": []}, "arctanh": {"x": made(2) - 0.9},
}  # fmt: skip
"""The same for some operations only; of `*args` all of them."""
TAKEN = {
    ("clip", "a_min"): "NumPy 2.0 wants both limits", ("clip", "a_max"): "NumPy 2.0 wants both limits",
    ("diff", "n"): "more differences than entries leave none, which NumPy finds out one by one",
    ("diagonal", "offset"): "beyond C's int NumPy refuses", ("trace", "offset"): "as diagonal",
    ("matrix_diagonal", "offset"): "as diagonal", ("matrix_trace", "offset"): "as diagonal",
    ("diag", "k"): "as diagonal", ("nanvar", "ddof"): "beyond C's long NumPy refuses", ("nanstd", "ddof"): "as nanvar",
    ("svd", "hermitian"): "of singular vectors the signs are free", ("einsum", "optimize"): "a path is not needed",
    ("vector_norm", "ord"): "powers that underflow", ("vector_norm", "axis"): "a list of axes is as good as a tuple",
    ("norm", "axis"): "no axes are as good as one", ("ptp", "x"): "of one number, however large, it is 0",
    ("vecdot", "a"): "vectors of one entry broadcast, as in PyTorch", ("vecdot", "b"): "as the other",
    ("argmax", "keepdims"): "NumPy takes any truth", ("argmin", "keepdims"): "as argmax",
    ("getitem", "key"): "NumPy has no function for it: the index is NumPy's own",
}  # fmt: skip
"""What is taken though NumPy refuses it, and why that is no nonsense."""


def names_of(fn: Any) -> list[Any]:
    """The NumPy functions that an operation stands for, or its own name."""
    return [key for key, other in registry.items() if other is fn]


def operations() -> Iterator[tuple[str, Callable[..., Any], list[inspect.Parameter]]]:
    for name, fn in {**primitives, **composites}.items():
        if isinstance(fn, Primitive):
            if not fn.own or not (getattr(tg, name, None) is fn or any(callable(key) for key in names_of(fn))):
                continue  # a test's, or a part of an operation
            names = ["x"] if fn.arity == 1 else ["a", "b"]
            positional = [inspect.Parameter(one, inspect.Parameter.POSITIONAL_ONLY) for one in names]
            yield name, fn, positional if fn.is_ufunc else list(inspect.signature(fn.function).parameters.values())
        else:
            yield name, fn, list(inspect.signature(fn).parameters.values())


def calls() -> Iterator[tuple[str, str, Any, Callable[..., Any], list[Any], dict[str, Any]]]:
    """An operation's name, a parameter's, the wrong value, and the function with its arguments."""
    for name, fn, parameters in operations():
        own, args, kwargs, places = OTHERS.get(name, {}), [], {}, []
        for one in parameters:
            value = own.get(one.name, GOOD.get(one.name, made(3, 3)))
            if one.kind is one.VAR_POSITIONAL:
                args += own.get(one.name, [made(3, 3)])
                places.append((one.name, len(args) - 1 if args else None))
            elif one.kind is one.KEYWORD_ONLY or one.default is not one.empty:
                places.append((one.name, None))
                kwargs |= {one.name: value} if one.default is one.empty else {}
            else:
                places.append((one.name, len(args)))
                args.append(value)
        fn(*args, **kwargs)
        for key, place in places:
            for value in ODD:
                given = [*args[:place], value, *args[place + 1 :]] if place is not None else args
                yield name, key, value, fn, given, kwargs if place is not None else {**kwargs, key: value}


def is_data(value: Any) -> bool:
    """Whether a value is numbers, which any operand may be."""
    try:
        return all(numeric(raw(one), "").dtype.kind != "c" for one in ([value] if np.ndim(raw(value)) < 2 else value))
    except Exception:
        return False


def arrays_of(value: Any) -> Any:
    return type(value)(map(arrays_of, value)) if type(value) in (list, tuple) else raw(value)


def as_numpy(name: str, result: Any, args: list[Any], kwargs: dict[str, Any]) -> str:
    """What is wrong with a result beside NumPy's, if NumPy has the function."""
    numpys = next(iter(names_of(composites.get(name) or primitives[name])), None)
    if not callable(numpys) or name == "getitem":
        return ""
    try:
        expected = numpys(*map(arrays_of, args), **{key: arrays_of(value) for key, value in kwargs.items()})
    except Exception as error:
        return f"taken, and NumPy refuses it: {type(error).__name__}"
    found = arrays_of(result)
    parts = zip(found, expected, strict=True) if isinstance(expected, list | tuple) else [(found, expected)]
    same = all(np.shape(a) == np.shape(b) and (not is_data(b) or np.allclose(a, b, equal_nan=True)) for a, b in parts)
    return "" if same else "taken, and NumPy gives something else"


def answer(name: str, key: str, value: Any, fn: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> str:
    """What a call is answered by: "refused", "taken", or what is wrong with it."""
    try:
        result = fn(*args, **kwargs)
    except tg.TensorError as error:
        return "refused" if len(str(error)) > 25 else f"refused in few words: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if (name, key) in TAKEN or (args and any(value is one for one in args) and is_data(value)):
        return "taken"
    return as_numpy(name, result, args, kwargs) or "taken"


@pytest.mark.filterwarnings("ignore")
def test_every_wrong_argument_of_an_operation_is_refused_or_what_numpy_says() -> None:
    answers = [(answer(*call), call) for call in calls()]
    odd = [f"{name}({key}={short(value)}): {said}" for said, (name, key, value, *_) in answers if said not in FINE]
    assert not odd, "\n".join(odd)
    assert sum(said == "refused" for said, _ in answers) > 8000


FINE = ("refused", "taken")


def main() -> None:
    found = defaultdict[str, list[str]](list)
    for call in calls():
        found[answer(*call)].append(f"{call[0]}({call[1]}={short(call[2])})")
    for name, fn, given, key, value in calls_of_functions():
        found[answer(name, key, value, fn, [], {**given, key: value})].append(f"{name}({key}={short(value)})")
    for said, titles in sorted(found.items()):
        print(f"{said}: {len(titles)}", *titles, sep="\n  ")


if __name__ == "__main__":
    signal.alarm(600)
    with np.errstate(all="ignore"):
        main()
