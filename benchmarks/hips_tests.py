"""The test suite of HIPS/autograd, run against this engine: how much of another project's calculus is there, and right.

    pip download --no-deps --no-binary :all: autograd && tar xzf autograd-*.tar.gz
    python benchmarks/hips_tests.py autograd-1.9.1/tests [pytest's arguments]

Its tests import `autograd`; here they get modules of that name that are made of tensors. Gradients are compared with
central differences to second order, and each function's value on tensors with NumPy's. What the suite tests that this
engine does not mean to have (complex numbers, SciPy's functions, autograd's internals) is counted apart.
"""

from __future__ import annotations

import sys
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.core.context import context
from tinygrad_rnn.core.tensor import raw


class OutOfScopeError(Exception):
    """What the engine does not mean to have."""


# ------------------------------------------------------------------ containers of numbers
def leaves(x: Any) -> list[Any]:
    """The numbers and arrays in nested tuples, lists and dictionaries."""
    if isinstance(x, dict):
        return [leaf for key in sorted(x) for leaf in leaves(x[key])]
    if isinstance(x, (list, tuple)):
        return [leaf for each in x for leaf in leaves(each)]
    return [x]


def rebuilt(x: Any, new: list[Any]) -> Any:
    """The same container with other leaves, which are taken from the front of `new`."""
    if isinstance(x, dict):
        return {key: rebuilt(x[key], new) for key in sorted(x)}
    if isinstance(x, (list, tuple)):
        return type(x)(rebuilt(each, new) for each in x)
    return new.pop(0)


def real(x: Any) -> Any:
    if any(np.iscomplexobj(raw(leaf)) for leaf in leaves(x)):
        raise OutOfScopeError("complex numbers")
    return x


def variable(x: Any) -> tg.Tensor:
    """A tensor to differentiate by; one that belongs to an outer gradient stays part of its graph."""
    real(x)
    if isinstance(x, tg.Tensor) and x.requires_grad:
        return np.positive(x)
    return tg.Tensor(np.asarray(raw(x), np.float64), requires_grad=True)


_depth = 0
"""How many gradients are being taken around the code that runs."""


@contextmanager
def within_a_gradient() -> Iterator[None]:
    global _depth
    _depth += 1
    try:
        with context(recording=True):
            yield
    finally:
        _depth -= 1


def plain(x: Any) -> Any:
    """Tensors as arrays, unless an outer gradient looks on."""
    if _depth:
        return x
    return rebuilt(x, [raw(leaf)[()] if isinstance(leaf, tg.Tensor) else leaf for leaf in leaves(x)])


# ------------------------------------------------------------------ autograd's functions
def make_vjp(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    at = argnum if isinstance(argnum, (tuple, list)) else (argnum,)

    def made(*args: Any, **kwargs: Any) -> Any:
        chosen = [args[i] for i in at]
        variables = [variable(leaf) for leaf in leaves(chosen)]
        filled = list(args)
        for i, each in zip(at, rebuilt(chosen, list(variables)), strict=True):
            filled[i] = each
        with within_a_gradient():
            y = fun(*filled, **kwargs)
        real(y)
        outputs = [leaf for leaf in leaves(y) if isinstance(leaf, tg.Tensor) and leaf.requires_grad]

        def vjp(g: Any) -> Any:
            seeds = [s for leaf, s in zip(leaves(y), leaves(g), strict=True) if any(leaf is o for o in outputs)]
            found = [tg.Tensor(np.zeros(v.shape)) for v in variables]
            if outputs:
                found = tg.grad(outputs, variables, create_graph=True, grad_output=seeds)
            gradients = plain(rebuilt(chosen, list(found)))
            return tuple(gradients) if isinstance(argnum, (tuple, list)) else gradients[0]

        return vjp, plain(y)

    return made


def value_and_grad(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        vjp, y = make_vjp(fun, argnum)(*args, **kwargs)
        if np.size(raw(y)) != 1:
            raise TypeError("Grad only applies to real scalar-output functions.")
        return y, vjp(np.ones(np.shape(raw(y))))

    return made


def named(text: str) -> Callable[..., Any]:
    """Give what an operator makes the name and docstring that autograd gives it."""

    def decorate(operator: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(operator)
        def outer(fun: Callable[..., Any], argnum: Any = 0, *rest: Any) -> Any:
            made = operator(fun, argnum, *rest)
            made.__name__ = text.format(op=operator.__name__, fun=getattr(fun, "__name__", "fun"), at=argnum)
            made.__doc__ = f"    {operator.__name__} of function {getattr(fun, '__name__', 'fun')}"
            return made

        return outer

    return decorate


@named("{op}_of_{fun}_wrt_argnum_{at}")
def grad(fun: Callable[..., Any], argnum: Any = 0) -> Callable[..., Any]:
    return lambda *args, **kwargs: value_and_grad(fun, argnum)(*args, **kwargs)[1]


def elementwise_grad(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        vjp, y = make_vjp(fun, argnum)(*args, **kwargs)
        return vjp(rebuilt(y, [np.ones(np.shape(raw(leaf))) for leaf in leaves(y)]))

    return made


def jacobian(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        vjp, y = make_vjp(fun, argnum)(*args, **kwargs)
        shape = np.shape(raw(y))
        rows = [vjp(np.reshape(e, shape)) for e in np.eye(int(np.prod(shape)))]
        return np.reshape(np.stack(rows), (*shape, *np.shape(raw(args[argnum]))))

    return made


def hessian(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    return jacobian(jacobian(fun, argnum), argnum)


def make_jvp(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    """By differentiating the vjp, which is linear in the gradient that it is given."""

    def made(*args: Any, **kwargs: Any) -> Any:
        def jvp(v: Any) -> Any:
            y = fun(*args, **kwargs)
            dummy = rebuilt(y, [np.zeros(np.shape(raw(leaf))) for leaf in leaves(y)])
            pulled = lambda g: make_vjp(fun, argnum)(*args, **kwargs)[0](g)  # noqa: E731
            return y, make_vjp(pulled)(dummy)[0](v)

        return jvp

    return made


def hessian_tensor_product(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        *args, v = args  # type: ignore[assignment]
        dot = lambda *args, **kwargs: np.sum(grad(fun, argnum)(*args, **kwargs) * v)  # noqa: E731
        return grad(dot, argnum)(*args, **kwargs)

    return made


def tensor_jacobian_product(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        *args, v = args  # type: ignore[assignment]
        y = fun(*args, **kwargs)
        return grad(lambda *a, **k: np.sum(np.tensordot(v, fun(*a, **k), np.ndim(raw(y)))), argnum)(*args, **kwargs)

    return made


def make_hvp(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        product_ = hessian_tensor_product(fun, argnum)
        return lambda v: product_(*args, v, **kwargs), grad(fun, argnum)(*args, **kwargs)

    return made


def grad_and_aux(fun: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        vjp, (y, aux) = make_vjp(fun, argnum)(*args, **kwargs)
        return vjp((np.ones(np.shape(raw(y))), rebuilt(aux, [0.0 for _ in leaves(aux)]))), aux

    return made


# ------------------------------------------------------------------ autograd.test_util
def check_grads(fun: Any = None, argnum: Any = 0, modes: Any = None, order: int = 2) -> Any:
    if fun is None:
        return lambda f: check_grads(f, argnum, modes, order)
    at = argnum if isinstance(argnum, (tuple, list)) else (argnum,)

    def check(*args: Any, **kwargs: Any) -> None:
        real(args)
        chosen = [args[i] for i in at]
        arrays = [np.asarray(raw(leaf), np.float64) for leaf in leaves(chosen)]

        def on(*values: Any) -> list[Any]:
            filled = list(args)
            for i, each in zip(at, rebuilt(chosen, list(values)), strict=True):
                filled[i] = each
            return [y if isinstance(y, tg.Tensor) else tg.Tensor(y) for y in leaves(fun(*filled, **kwargs))]

        with within_a_gradient():
            compare(on, arrays, min(order, 2))
        expected = leaves(fun(*args, **kwargs))
        found = leaves(
            fun(*rebuilt(list(args), [tg.Tensor(x) if floating(x) else x for x in leaves(list(args))]), **kwargs)
        )
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(raw(a), raw(b), rtol=1e-9, atol=1e-12)

    return check


def compare(on: Callable[..., list[Any]], arrays: list[Any], order: int) -> None:
    """Compare a gradient with a central difference along a random direction, as autograd does."""
    rng = np.random.default_rng(0)
    directions = [rng.normal(size=x.shape) for x in arrays]
    weights = [rng.normal(size=y.shape) for y in on(*map(tg.Tensor, arrays))]

    def scalar(*values: Any) -> Any:
        return sum(np.sum(w * y) for w, y in zip(weights, on(*values), strict=True))

    def gradient(*values: Any) -> list[Any]:
        value = scalar(*values)
        wanted = [v for v in values if v.requires_grad]
        if not value.requires_grad:
            return [tg.Tensor(np.zeros(v.shape)) for v in values]
        return tg.grad(value, wanted, create_graph=True)

    variables = [tg.Tensor(x, requires_grad=True) for x in arrays]
    exact = sum(np.sum(g.data * d) for g, d in zip(gradient(*variables), directions, strict=True))
    ends = [[tg.Tensor(x + h * d) for x, d in zip(arrays, directions, strict=True)] for h in (5e-7, -5e-7)]
    numeric = (scalar(*ends[0]).item() - scalar(*ends[1]).item()) / 1e-6
    if not abs(exact - numeric) < 1e-5 * max(1.0, abs(numeric)):
        raise tg.GradientError(f"along a direction: autodiff {exact}, numerical {numeric}")
    if order > 1:
        compare(lambda *values: gradient(*(np.positive(v) if v.requires_grad else variable(v) for v in values)),
                arrays, order - 1)  # fmt: skip


def floating(x: Any) -> bool:
    return isinstance(x, (float, np.ndarray, np.floating)) and np.asarray(x).dtype.kind == "f"


def check_equivalent(x: Any, y: Any) -> None:
    for a, b in zip(leaves(x), leaves(y), strict=True):
        real([a, b])
        assert np.shape(raw(a)) == np.shape(raw(b))
        np.testing.assert_allclose(raw(a), raw(b), rtol=1e-6, atol=1e-6)


def scalar_close(a: float, b: float) -> bool:
    return bool(abs(a - b) < 1e-6 or abs(a - b) / abs(a + b) < 1e-6)


def combo_check(fun: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Check all combinations of real arguments; a test with complex ones is a test of the others."""

    def check(*args_: Any, **kwargs_: Any) -> None:
        keywords = [[(k, x) for x in xs] for k, xs in kwargs_.items()]
        for each in product(*args_):
            if not any(np.iscomplexobj(x) for x in leaves(each)):
                for chosen in product(*keywords):
                    check_grads(fun, *args, **kwargs)(*each, **dict(chosen))

    return check


# ------------------------------------------------------------------ the modules
def array(x: Any, *args: Any, **kwargs: Any) -> Any:
    """np.array of numbers and tensors in nested lists."""
    if isinstance(x, (list, tuple)) and any(isinstance(leaf, tg.Tensor) for leaf in leaves(x)):
        return np.stack([array(each) for each in x])
    return x if isinstance(x, tg.Tensor) else np.array(x, *args, **kwargs)


class Fallback(types.ModuleType):
    """A module with some names of its own; all others are NumPy's, or out of scope."""

    def __init__(self, name: str, own: dict[str, Any], rest: Any = None) -> None:
        super().__init__(name)
        self.__dict__.update(own)
        self.__path__: list[str] = []
        self.rest = rest

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if hasattr(self.rest, name):
            return getattr(self.rest, name)
        raise OutOfScopeError(f"{self.__name__}.{name}")


def missing(*args: Any, **kwargs: Any) -> Any:
    raise OutOfScopeError("autograd's internals")


def isinstance_(x: Any, kinds: Any) -> bool:
    return isinstance(raw(x), kinds)


OPERATORS = {
    "grad": grad,
    "deriv": grad,
    "value_and_grad": value_and_grad,
    "elementwise_grad": elementwise_grad,
    "jacobian": jacobian,
    "hessian": hessian,
    "make_vjp": make_vjp,
    "make_jvp": make_jvp,
    "make_hvp": make_hvp,
    "hessian_tensor_product": hessian_tensor_product,
    "hessian_vector_product": hessian_tensor_product,
    "tensor_jacobian_product": tensor_jacobian_product,
    "vector_jacobian_product": tensor_jacobian_product,
    "grad_and_aux": grad_and_aux,
    "checkpoint": tg.checkpoint,
    "isinstance": isinstance_,
    **dict.fromkeys(("holomorphic_grad", "make_ggnvp", "multigrad_dict", "list", "tuple", "dict"), missing),
}
INTERNALS = dict.fromkeys(
    ("primitive", "defvjp", "defjvp", "vspace", "VSpace", "Box", "primitive_vjps", "flatten"), missing
)


def install() -> None:
    """Put the modules in the place of autograd's."""
    checks = {
        "check_grads": check_grads,
        "check_equivalent": check_equivalent,
        "combo_check": combo_check,
        "scalar_close": scalar_close,
        "check_vjp": missing,
        "check_jvp": missing,
    }
    modules = {
        "autograd": Fallback("autograd", OPERATORS),
        "autograd.numpy": Fallback("autograd.numpy", {"array": array}, np),
        "autograd.numpy.random": np.random,
        "autograd.numpy.linalg": np.linalg,
        "autograd.numpy.fft": np.fft,
        "autograd.test_util": Fallback("autograd.test_util", checks),
        "autograd.builtins": Fallback("autograd.builtins", {"isinstance": isinstance_, "list": missing}),
    }
    internals = {
        **INTERNALS,
        "unary_to_nary": lambda operator: missing,
        "make_vjp": make_vjp,
        "const_graph": missing,
        "isbox": lambda x: isinstance(x, tg.Tensor),
    }
    for name in ("core", "tracer", "extend", "wrap_util", "misc"):
        modules[f"autograd.{name}"] = Fallback(f"autograd.{name}", internals)
    for name in ("scipy", "scipy.stats", "scipy.special", "scipy.linalg", "scipy.integrate", "scipy.signal"):
        modules[f"autograd.{name}"] = Fallback(f"autograd.{name}", {})
    modules["autograd.scipy.stats.multivariate_normal"] = Fallback("autograd.scipy.stats.multivariate_normal", {})
    sys.modules.update(modules)
    for name, module in modules.items():
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(modules[parent], last, module)


# ------------------------------------------------------------------ the count
class Outcomes:
    """A pytest plugin: what came of each test."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.why: dict[str, list[str]] = defaultdict(list)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Any:
        report = yield
        if call.when == "call" or report.outcome == "failed":
            kind, why = self.kind(item, call.excinfo)
            self.counted[kind] += 1
            self.why[kind].append(f"{item.nodeid.rpartition('/')[2]}: {why}")
        return report

    @staticmethod
    def kind(item: Any, raised: Any) -> tuple[str, str]:
        if raised is None:
            return "passed", ""
        error, text = raised.value, str(raised.value).split("\n")[0][:150]
        if isinstance(error, pytest.skip.Exception):
            return "skipped by its authors", text
        if isinstance(error, OutOfScopeError) or "complex" in text or "complex" in item.name or "fft" in item.nodeid:
            return "out of scope", text
        if isinstance(error, tg.GradientError):
            return "wrong", text
        if isinstance(error, tg.TensorError):
            return "missing", text
        return "other", f"{type(error).__name__}: {text}"


def count(path: str, arguments: list[str], outcomes: Outcomes, kinds: tuple[str, ...]) -> None:
    """Run the tests in a folder with pytest, and print what came of them: those of `kinds` one by one."""
    pytest.main(
        [path, "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "no:warnings", "-o", "addopts=", "-o",
         "filterwarnings=default", "-r", "", "--continue-on-collection-errors", *arguments],
        plugins=[outcomes],
    )  # fmt: skip
    for kind in kinds:
        print(f"\n{kind}:", *outcomes.why[kind], sep="\n  ")
    total = sum(outcomes.counted.values())
    print(f"\n{total} tests: " + ", ".join(f"{n} {kind}" for kind, n in outcomes.counted.most_common()))


def main() -> int:
    path, *arguments = sys.argv[1:] or [""]
    if not Path(path).is_dir():
        print(__doc__)
        return 2
    install()
    sys.path.insert(0, path)
    count(path, ["--rootdir", path, *arguments], Outcomes(), ("other", "missing", "wrong"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
