"""Every public function with each argument of a wrong kind in turn: the answer is an error that says so."""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import bptt, compiler, flow, nn, optim, train, viz
from tinygrad_rnn.app import tasks
from tinygrad_rnn.core.arguments import check, fits
from tinygrad_rnn.core.array import registry
from tinygrad_rnn.core.primitive import Primitive, composites, primitives
from tinygrad_rnn.viz import plots

MODULES = [tg, nn, nn.init, optim, viz, plots, flow, bptt, compiler, train, tasks]


class Other:
    """Another framework's tensor."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.ones((2, 3))

    def __bool__(self) -> bool:
        raise RuntimeError("ambiguous")


class Hidden:
    """What cannot be shown, compared or hashed."""

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("not shown")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not compared")


def cyclic() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


WRONG: list[Any] = [
    None, "text", "", b"x", object(), float("nan"), -1, 10**30, 10**400, 0.5, {}, {1.0}, cyclic(), deep(),
    {"a": cyclic()}, Other(), Hidden(), 1j, np.zeros(0), np.array(["a"]), np.array([None], object), (), [None], int,
    np.datetime64("2020-01-01"), (i for i in ()), True, "a\ud800", np.full((3, 3), np.nan), np.ma.masked_all(3), ...,
]  # fmt: skip


# ---------------------------------------------------------------------- what there is
def public() -> Iterator[tuple[str, Callable[..., Any], bool]]:
    """Each public function, constructor and method of the package by name, and whether it belongs to an object."""
    seen: set[int] = set()
    for module in MODULES:
        for name in getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]:
            found = getattr(module, name)
            if isinstance(found, types.ModuleType | Primitive) or id(found) in seen or not callable(found):
                continue
            seen.add(id(found))
            place = f"{module.__name__.removeprefix('tinygrad_rnn.')}.{name}"
            if inspect.isclass(found) and not issubclass(found, Exception):
                if not is_dataclass(found) and not issubclass(found, tuple):
                    yield place, found, False
                for key, method in vars(found).items():
                    plain = getattr(method, "__func__", method)
                    if not key.startswith("_") and inspect.isfunction(plain):
                        yield f"{place}.{key}", plain, True
            elif inspect.isfunction(found) and found not in composites.values():
                yield place, found, False


def parameters(fn: Callable[..., Any]) -> list[str]:
    packed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    listed = inspect.signature(fn).parameters.values()
    return [one.name for one in listed if one.kind not in packed and one.name not in ("self", "cls")]


def is_checked(fn: Any) -> bool:
    code = getattr(fn.__init__ if inspect.isclass(fn) else fn, "__code__", None)
    return code is not None and code.co_filename == check.__code__.co_filename


UNCHECKED = {
    "forward": "runs in every step; the operations look at their operands",
    "step": "runs in every step",
    "update": "the rule of an optimiser, on arrays that are its own",
    "attach": "what a module is told by the one that holds it",
    "backward": "looks at its gradient itself",
    "truncate": "takes any container of tensors",
    "steps": "looks at the line of its caller",
    "scope": "looks at its name itself",
    "primitive": "looks at the line of its caller",
    "Tensor": "looks at its data itself",
    "from_torch": "takes any object",
    "parameter": "makes a Tensor of it",
}
"""Functions, or methods of any class, that are not `checked`, and why not."""
OBJECTS = (
    "Traits", "Theme", "Layer", "Memory", "Reach", "Look", "Structure", "Program", "Animation", "Page", "Picture",
    "Task", "Adding", "Copying", "Characters", "Digits", "TemporalOrder", "Series", "Csv", "Settings", "Trained",
    "Trainer", "Batches", "SequenceModel", "Cell", "Recurrent", "Loop", "Compiled", "Module", "composed",
    "compiled", "Sequential",
    "context", "Comparison", "Spectrum", "Influence", "TaskTrainer",
)  # fmt: skip
"""Made by the package, or written to be overridden: it calls their methods itself."""


def test_every_public_function_compares_its_arguments_with_its_type_hints() -> None:
    found = [name for name, fn, _ in public() if parameters(fn) and not is_checked(fn)]
    left = [name for name in found if name.split(".")[-1] not in UNCHECKED and not set(name.split(".")) & set(OBJECTS)]
    assert not left


# ---------------------------------------------------------------------- good calls
def weights() -> list[tg.Tensor]:
    return [tg.Tensor(np.ones((3, 3)), requires_grad=True)]


def losses_and_states() -> tuple[list[tg.Tensor], list[tg.Tensor]]:
    W, h = tg.Tensor(np.full((3, 3), 0.3), requires_grad=True, name="W"), tg.zeros((2, 3))
    losses, states = [], []
    for _, x in tg.steps(np.ones((3, 2, 3))):
        h = np.tanh(x @ W + h @ W)
        states.append(h)
        losses.append((h * h).sum())
    return losses, states


def loss() -> tg.Tensor:
    return sum(losses_and_states()[0])  # type: ignore[return-value]


def model() -> tasks.SequenceModel:
    return tasks.SequenceModel("rnn", 3, 2, 4, rng=0)


def shares() -> flow.Contributions:
    return flow.Contributions(np.ones(3), ["a", "b", "c"], "d")


def output() -> tg.Tensor:
    return tg.Tensor(2.0, requires_grad=True) * 1.0


x = tg.Tensor(np.ones((2, 3)), requires_grad=True)
XS = np.ones((4, 2, 3))
PARAMS = {
    "W_xh": np.ones((3, 2)),
    "W_hh": np.ones((2, 2)),
    "W_hy": np.ones((2, 3)),
    "b_h": np.ones(2),
    "b_y": np.ones(3),
}
GOOD: dict[str, Any] = {
    "input_size": 3, "hidden_size": 2, "in_features": 3, "out_features": 2, "num_embeddings": 3, "embedding_dim": 2,
    "features": 3, "shape": (3, 3), "bound": 1.0, "radius": 1.0, "parameters": weights, "lr": 0.1, "max_norm": 1.0,
    "clip_value": 1.0, "total": 10, "every": 3, "factor": 0.9, "loss_or_flow": loss, "found": shares, "xs": XS[:, 0],
    "flow": lambda: tg.gradient_flow(loss()), "params": PARAMS, "targets": np.array([0, 1, 2, 0]), "T": 4,
    "cell": "rnn", "inputs": 3, "outputs": 2, "hidden": 4, "model": model, "x": XS, "window": 2, "lag": 10, "batch": 2,
    "seed": 0, "dtype": np.float32, "settings": lambda: tasks.Settings.of("adding", lag=10, hidden=2, batch=2),
    "losses": lambda: losses_and_states()[0], "states": lambda: losses_and_states()[1], "loss": loss,
    "fn": lambda: np.tanh, "name": "n",
    "loss_fn": lambda: lambda W: (W * W).sum(), "predict": lambda: lambda xs: np.asarray(xs).sum(axis=(0, 2)),
    "output": output, "path": "none.npz", "weights": {"a": np.ones(3)}, "matrix": np.eye(3), "C": np.eye(3),
    "a": lambda: tg.diagnose(*losses_and_states()), "b": lambda: tg.diagnose(*losses_and_states()), "looks": [],
    "pixels": False,
    "state": (x.detach(),), "others": XS, "text": None, "k1": 4, "k2": 4, "ids": np.array([0, 1, 2]), "length": 3,
    "vocabulary": None, "data": (XS, XS), "file": "none.csv", "target": "a", "h0": np.zeros(2), "tangents": [1.0],
    "vectors": [1.0], "numbers": np.ones((30, 1)), "names": ["a"], "columns": ["a"],
}  # fmt: skip
"""What each required argument may be, by its name."""
OTHERS: dict[str, dict[str, Any]] = {
    "jacobian": {"inputs": weights}, "jvp": {"inputs": weights}, "hvp": {"inputs": weights},
    "grad": {"inputs": weights},
    "gradcheck": {"inputs": 1.0}, "plots.spectrum": {"found": lambda: tg.spectrum(losses_and_states()[1])},
    "plots.inside": {"found": lambda: flow.inside(tg.gradient_flow(loss()))}, "Trainer": {"loss": np.sum},
    "checkpoint_steps": {"cell": lambda: lambda x, h: h + x, "xs": XS},
    "unroll": {"cell": lambda: nn.RNNCell(3, 2, rng=0), "xs": [x], "state": (np.zeros((2, 2)),)},
}  # fmt: skip
"""The same for some functions only."""


def calls() -> Iterator[tuple[str, Callable[..., Any], dict[str, Any], str, Any]]:
    """A function that is checked, its arguments, and the name of one of them with a value of another kind."""
    for name, fn, is_method in public():
        if (
            is_method
            or not is_checked(fn)
            or name.split(".")[-1] in ("Module", "Optimizer", "Cell", "Recurrent", "Task")
        ):
            continue
        signature = inspect.signature(fn)
        own = next((good for key, good in OTHERS.items() if name.endswith(key)), {})
        needed = [key for key in parameters(fn) if signature.parameters[key].default is inspect.Parameter.empty]
        unknown = [key for key in needed if key not in GOOD and key not in own]
        assert not unknown, f"{name} needs {unknown}: name a good value in GOOD"
        makers = {key: own.get(key, GOOD.get(key)) for key in needed}
        given = {key: made() if inspect.isfunction(made) else made for key, made in makers.items()}
        target = inspect.unwrap(fn.__init__ if inspect.isclass(fn) else fn)  # type: ignore[misc]
        try:
            hints = get_type_hints(target, include_extras=True)
        except NameError:  # it names types that only type checkers import
            hints = {}
        for key in parameters(fn):
            for value in WRONG:
                if not fits(value, hints.get(key, Any)):
                    yield name, fn, given, key, value


def test_every_wrong_kind_is_answered_by_a_sentence() -> None:
    tried, odd = 0, []
    for name, fn, given, key, value in calls():
        tried += 1
        try:
            fn(**{**given, key: value})
            answer = "taken"
        except tg.TensorError as error:
            answer = str(error) if len(str(error)) < 25 else ""
        except Exception as error:
            answer = type(error).__name__
        if answer:
            odd.append(f"{name}({key}: {type(value).__name__}): {answer}")
    assert not odd
    assert tried > 4000


def test_settings_and_thresholds_are_compared_too() -> None:
    for made, kind in ((tasks.Settings, {"task": "adding"}), (flow.Thresholds, {})):
        hints = get_type_hints(made, include_extras=True)
        for key in parameters(made):
            for value in WRONG:
                if not fits(value, hints[key]):
                    with pytest.raises(tg.TensorError, match=f"got {key}="):
                        made(**{**kind, key: value})


ANYTHING: dict[str, Callable[[Any], Any]] = {
    "Tensor": tg.Tensor,
    "requires_grad": lambda wrong: tg.Tensor(np.ones(3), wrong),
    "dtype": lambda wrong: tg.Tensor(np.ones(3), dtype=wrong),
    "steps": lambda wrong: list(tg.steps(wrong)),
    "start": lambda wrong: tg.steps(XS, start=wrong),
    "reverse": lambda wrong: tg.steps(XS, reverse=wrong),
    "primitive": lambda wrong: tg.primitive(wrong, vjps=[None], name="wrong"),
    "rules": lambda wrong: tg.primitive(lambda x: x, vjps=wrong, name="wrong"),
    "gradient": lambda wrong: (x * 1.0).backward(wrong),
    "xs": lambda wrong: bptt.rnn(PARAMS, wrong, np.array([0, 1, 2, 0])),
    "targets": lambda wrong: bptt.rnn(PARAMS, XS[:, 0], wrong),
    "h0": lambda wrong: bptt.rnn(PARAMS, XS[:, 0], np.array([0, 1, 2, 0]), wrong),
    "axes": lambda wrong: plots.shares(tg.gradient_flow(loss()), wrong),
    "layer": lambda wrong: nn.RNN(3, 2, rng=0)(wrong),
    "state of a layer": lambda wrong: nn.LSTM(3, 2, rng=0)(XS, wrong),
    "lengths": lambda wrong: nn.RNN(3, 2, rng=0)(XS, lengths=wrong),
    "embedding": lambda wrong: nn.Embedding(3, 2, rng=0)(wrong),
    "from_torch": nn.from_torch,
}


@pytest.mark.parametrize("call", ANYTHING.values(), ids=ANYTHING)
@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_what_may_be_an_array_is_taken_or_answered_by_a_sentence(call: Callable[[Any], Any]) -> None:
    for wrong in WRONG:
        with contextlib.suppress(tg.TensorError):
            call(wrong)
    for known in (primitives, registry):  # other tests walk the table
        known.pop("wrong", None)


def test_differences_taken_very_often_end() -> None:
    assert tg.diff(np.ones(3), 2**62).shape == (0,)
    with pytest.raises(tg.InputError, match="diff: n: got 1000000"):
        tg.diff(np.ones(3), 10**30)


NO_LISTS: list[Any] = [None, object(), 3, 0.5, "text", b"x", {"a": x}, {1.0}, Other(), 1j, True]
CALLS: dict[str, Callable[[Any], Any]] = {
    "credit": lambda wrong: tg.credit(wrong, [x]),
    "credit of states": lambda wrong: tg.credit([x.sum()], wrong),
    "diagnose": tg.diagnose,
    "spectrum": tg.spectrum,
    "jacobian": lambda wrong: tg.jacobian(x * 2.0, wrong),
    "jvp": lambda wrong: tg.jvp(x * 2.0, wrong, [x]),
    "hvp": lambda wrong: tg.hvp((x * x).sum(), wrong, [x]),
    "hvp along": lambda wrong: tg.hvp((x * x).sum(), [x], wrong),
    "picture": viz.rolled(loss()).save,
    "page": viz.page(loss()).save,
    "state": lambda wrong: optim.Adam(weights(), 0.1).load_state_dict(wrong),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_is_no_list_of_tensors_no_path_and_no_state_is_refused(
    call: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong in NO_LISTS:
        with pytest.raises(tg.TensorError):
            call(wrong)
    assert not list(tmp_path.iterdir())
