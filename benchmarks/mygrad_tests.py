"""The test suite of MyGrad, run against this engine, as `hips_tests.py` runs that of HIPS/autograd.

    pip download --no-deps --no-binary :all: mygrad==1.0.5 && tar xzf mygrad-1.0.5.tar.gz
    pip install hypothesis scipy
    python benchmarks/mygrad_tests.py mygrad-1.0.5/tests [pytest's arguments]

The tests draw arrays at random, and compare each function's value with NumPy's and its gradient with numerical ones.
1.0.5 is the last release whose source holds its tests. They import `mygrad`; here they get modules of that name,
whose tensors wrap ours. What MyGrad does by design and this engine does not (assignment into a tensor, convolution
and other layers, its own classes of operations) is counted as out of scope.
"""

from __future__ import annotations

import importlib
import operator
import os
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from hips_tests import Outcomes, OutOfScopeError, count
from hypothesis import Phase, settings

import tinygrad_rnn as tg
from tinygrad_rnn.core.backprop import unbroadcast


class Tensor:
    """MyGrad's tensor: a variable unless it is constant, any result keeps its gradient, and so on."""

    __array_priority__ = 100.0
    __array_ufunc__ = None

    def __init__(self, data: Any, constant: bool = False, dtype: Any = None, **internals: Any) -> None:
        if internals:
            raise OutOfScopeError("MyGrad's internals")
        array = np.asarray(unwrapped(data).data if isinstance(data, Tensor) else data, dtype)
        self.given = array  # integers are variables there
        self.inner = tg.Tensor(array if constant else array.astype(np.promote_types(array.dtype, np.float16)))
        self.inner.requires_grad = not constant
        self._constant = constant

    @property
    def data(self) -> Any:
        return self.given if self.inner.is_leaf else self.inner.data

    @property
    def constant(self) -> bool:
        return self._constant

    @property
    def grad(self) -> Any:
        return self.inner.grad

    def backward(self, grad: Any = None) -> None:
        if self._constant or not self.inner.requires_grad:
            return
        self.inner.retain_grad()
        seed = np.ones(self.inner.shape) if grad is None else np.asarray(grad, float)
        self.inner.backward(np.broadcast_to(seed, self.inner.shape))

    def null_gradients(self) -> None:
        waiting = [self.inner]
        while waiting:
            each = waiting.pop()
            each.grad = None
            waiting.extend(x for x in each.inputs if isinstance(x, tg.Tensor))

    def __copy__(self) -> Tensor:
        return Tensor(np.copy(self.data), constant=self._constant)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise OutOfScopeError("assignment into a tensor")

    def __getitem__(self, key: Any) -> Any:
        return called(operator.getitem, self, key)

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, item: Any) -> bool:
        return item in self.data

    def __float__(self) -> float:
        return float(self.inner.item())

    def __int__(self) -> int:
        return int(self.inner.item())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("creator", "scalar_only"):
            raise OutOfScopeError(f"MyGrad's Tensor.{name}")
        found = getattr(self.inner, name)
        if isinstance(found, tg.Tensor):
            return wrapped(found)
        return partial(called, getattr(tg.Tensor, name), self) if callable(found) else found


def _operator(name: str) -> Callable[..., Any]:
    plain = getattr(operator, name.replace("__r", "__") if name.startswith("__r") else name)
    if name.startswith("__r"):
        return lambda self, other: called(plain, other, self)
    return lambda self, *other: called(plain, self, *other)


for _name in ("add", "sub", "mul", "truediv", "pow", "matmul"):
    setattr(Tensor, f"__{_name}__", _operator(f"__{_name}__"))
    setattr(Tensor, f"__r{_name}__", _operator(f"__r{_name}__"))
for _name in ("neg", "pos", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Tensor, f"__{_name}__", _operator(f"__{_name}__"))
Tensor.__hash__ = object.__hash__  # type: ignore[method-assign]


def unwrapped(x: Any) -> Any:
    """Our tensor, or what contains them."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(unwrapped, x))
    return x.inner if isinstance(x, Tensor) else x


def wrapped(y: Any, constant: bool = False) -> Any:
    if not isinstance(y, tg.Tensor):
        return y
    outer = Tensor.__new__(Tensor)
    outer.inner, outer._constant = y.detach() if constant else y, constant or not y.requires_grad
    outer.given = outer.inner.data
    if not outer._constant:
        y.retain_grad()
    return outer


def called(function: Callable[..., Any], *args: Any, constant: bool = False, **kwargs: Any) -> Any:
    """One of our functions on MyGrad's tensors. Arrays are constants there, and results are tensors."""
    y = function(*map(unwrapped, args), **{name: unwrapped(x) for name, x in kwargs.items()})
    if isinstance(y, (np.ndarray, np.generic)) and function is not operator.getitem and y.dtype.kind in "fiu":
        y = tg.Tensor(y)
    return wrapped(y, constant)


# ------------------------------------------------------------------ the functions
def function(f: Callable[..., Any]) -> Callable[..., Any]:
    return partial(called, f)


def of_sequence(two: Callable[..., Any]) -> Callable[..., Any]:
    def run(*xs: Any) -> Any:
        total = xs[0]
        for x in xs[1:]:
            total = two(total, x)
        return total

    return run


def inverse(f: Callable[..., Any]) -> Callable[..., Any]:
    """Such as the cosecant of the sine."""
    return lambda x: 1 / f(x)


def of_inverse(f: Callable[..., Any]) -> Callable[..., Any]:
    """Such as the inverse cosecant of the inverse sine."""
    return lambda x: f(1 / x)


def arccot(x: Any) -> Any:
    """As MyGrad has it: pi/2 at 0, and the sign of x elsewhere."""
    return np.where(np.equal(x, 0), np.pi / 2, np.arctan(1 / np.where(np.equal(x, 0), 1.0, x)))


FUNCTIONS = {
    **dict.fromkeys(("amax", "max"), function(np.max)),
    **dict.fromkeys(("amin", "min"), function(np.min)),
    **{name: function(inverse(f)) for name, f in {"csc": np.sin, "sec": np.cos, "cot": np.tan}.items()},
    **{name: function(inverse(f)) for name, f in {"csch": np.sinh, "sech": np.cosh, "coth": np.tanh}.items()},
    **{name: function(of_inverse(f)) for name, f in {"arccsc": np.arcsin, "arcsec": np.arccos}.items()},
    **{name: function(of_inverse(f)) for name, f in {"arccsch": np.arcsinh, "arccoth": np.arctanh}.items()},
    "arccot": function(arccot),
    "add_sequence": function(of_sequence(operator.add)),
    "multiply_sequence": function(of_sequence(operator.mul)),
    "multi_matmul": lambda xs, **kwargs: called(np.linalg.multi_dot, list(xs), **kwargs),
    "Tensor": Tensor,
    "__version__": "1.0.5",
}
for _name in (
    "sum",
    "prod",
    "cumprod",
    "cumsum",
    "mean",
    "std",
    "var",
    "max",
    "min",
    "argmax",
    "argmin",
    "ravel",
    "swapaxes",
    "squeeze",
    "matmul",
    "moveaxis",
):
    setattr(Tensor, _name, lambda self, *args, _f=_name, **kwargs: called(getattr(np, _f), self, *args, **kwargs))
for _name in ("transpose", "reshape", "flatten"):  # axes and lengths one by one, too
    setattr(Tensor, _name, lambda self, *args, _f=_name, **kw: called(getattr(tg.Tensor, _f), self, *args, **kw))


def created(name: str) -> Callable[..., Any]:
    """Such as mygrad.zeros."""
    make = getattr(np, name)
    return lambda *args, constant=False, **kwargs: Tensor(make(*map(unwrapped_array, args), **kwargs), constant)


def unwrapped_array(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


CREATORS = ["empty", "eye", "identity", "ones", "zeros", "full", "zeros_like", "ones_like", "empty_like", "full_like"]
CREATORS += ["arange", "linspace", "logspace", "geomspace"]
EXAMPLES = 25
"""How many arrays each test draws."""
INTERNALS = ["operation_base", "_utils", "tensor_core_ops", "tensor_core_ops.indexing", "linalg.ops"]
INTERNALS += ["math.arithmetic", "math.arithmetic.ops", "nnet.layers.utils", "nnet.layers.batchnorm"]


class Internal:
    """What stands for the names of MyGrad that there are none for here; a test that uses it is out of scope."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            raise OutOfScopeError("MyGrad's layers and internals")

    def __getattr__(self, name: str) -> Any:
        raise OutOfScopeError(f"MyGrad's internals: {name}")


class Module(types.ModuleType):
    """A module with some names of its own; others are NumPy's functions, or there and out of scope."""

    def __init__(self, name: str, own: dict[str, Any]) -> None:
        super().__init__(name)
        self.__dict__.update(own)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = not self.__name__.startswith("mygrad.nnet") and callable(getattr(np, name, None))
        return function(getattr(np, name)) if known else Internal


def reduce_broadcast(grad: Any, var_shape: tuple[int, ...]) -> Any:
    """A gradient in the shape of what was broadcast."""
    if len(var_shape) > np.ndim(grad):
        raise ValueError("a gradient with fewer axes than its variable")
    return unbroadcast(np.asarray(grad), tuple(var_shape), None, 0)


def install() -> None:
    """Put the modules in the place of MyGrad's."""
    creators = {name: created(name) for name in CREATORS}
    everything = {**FUNCTIONS, **creators}
    activations = {name: function(getattr(tg, name)) for name in ("sigmoid", "softmax", "relu")}
    activations.update(tanh=function(np.tanh), logsoftmax=function(tg.log_softmax))
    losses = {"softmax_crossentropy": function(tg.softmax_cross_entropy)}
    named: dict[str, dict[str, Any]] = {
        "mygrad": everything,
        "mygrad.tensor_base": {"Tensor": Tensor},
        "mygrad.tensor_creation": {},
        "mygrad.tensor_creation.funcs": {**creators, "__all__": CREATORS},
        "mygrad.linalg": {},
        "mygrad.linalg.funcs": everything,
        "mygrad.math": {},
        "mygrad.math._special": {"logsumexp": function(tg.logsumexp)},
        "mygrad.nnet": {},
        "mygrad.nnet.activations": activations,
        "mygrad.nnet.losses": losses,
        "mygrad.nnet.layers": {},
        **{f"mygrad.{name}": {} for name in INTERNALS},
        "mygrad._utils": {"reduce_broadcast": reduce_broadcast},
    }
    modules = {name: Module(name, own) for name, own in named.items()}
    sys.modules.update(modules)
    for name, module in modules.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(modules[parent], last, module)


def same_name(f: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """functools.wraps without the signature, which today's hypothesis compares with what it draws."""

    def decorate(g: Callable[..., Any]) -> Callable[..., Any]:
        g.__name__ = f.__name__
        return g

    return decorate


class Kinds(Outcomes):
    """Outcomes, in which a comparison that fails is told apart from an error."""

    @staticmethod
    def kind(item: Any, raised: Any) -> tuple[str, str]:
        if raised is not None and isinstance(raised.value, AssertionError):
            return "other numbers", " ".join(str(raised.value).split())[:200]
        return Outcomes.kind(item, raised)


def main() -> int:
    path, *arguments = sys.argv[1:] or [""]
    if not Path(path).is_dir():
        print(__doc__)
        return 2
    install()
    root = Path(path).resolve().parent
    sys.path.insert(0, str(root))
    settings.register_profile(
        "here", deadline=None, derandomize=True, database=None, max_examples=EXAMPLES, phases=[Phase.generate]
    )
    os.environ["HYPOTHESIS_PROFILE"] = "here"
    with mock.patch("functools.wraps", same_name):
        importlib.import_module("tests.wrappers.uber")
    options = ["--rootdir", str(root), "--import-mode=importlib", "-o", "consider_namespace_packages=true"]
    count(path, [*options, *arguments], Kinds(), ("other", "missing", "other numbers"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
