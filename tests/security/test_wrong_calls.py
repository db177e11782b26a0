"""Public functions and classes with each argument of a wrong kind in turn: the answer is an error that says so."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn, optim, viz
from tinygrad_rnn.app import tasks
from tinygrad_rnn.core.arguments import fits
from tinygrad_rnn.viz import plots


class Other:
    """Another framework's tensor."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.ones((2, 3))

    def __bool__(self) -> bool:
        raise RuntimeError("ambiguous")


def cyclic() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


WRONG: list[Any] = [
    None, "text", "", b"x", object(), float("nan"), -1, 10**30, 0.5, {}, {1.0}, cyclic(), {"a": cyclic()}, Other(), 1j,
    np.zeros(0), np.array(["a"]), np.array([None], object), np.datetime64("2020-01-01"), (i for i in ()), True,
    "a\ud800",
]  # fmt: skip


def weights() -> list[tg.Tensor]:
    return [tg.Tensor(np.ones((3, 3)), requires_grad=True)]


def loss() -> tg.Tensor:
    W, h = tg.Tensor(np.full((3, 3), 0.3), requires_grad=True, name="W"), tg.zeros(3)
    for _, x in tg.steps(np.ones((3, 3))):
        h = np.tanh(x @ W + h @ W)
    return (h * h).sum()


def model() -> tasks.SequenceModel:
    return tasks.SequenceModel("rnn", 3, 2, 4, rng=0)


XS = np.ones((4, 2, 3))
GOOD: dict[Callable[..., Any], dict[str, Any]] = {
    nn.RNN: {"input_size": 3, "hidden_size": 2},
    nn.LSTM: {"input_size": 3, "hidden_size": 2},
    nn.GRUCell: {"input_size": 3, "hidden_size": 2},
    nn.Linear: {"in_features": 3, "out_features": 2},
    nn.Embedding: {"num_embeddings": 3, "embedding_dim": 2},
    nn.LayerNorm: {"features": 3},
    nn.Dropout: {"p": 0.5},
    nn.init.uniform: {"shape": (2, 3), "bound": 1.0},
    nn.init.normal: {"shape": (2, 3)},
    nn.init.orthogonal: {"shape": (2, 3)},
    nn.init.he_normal: {"shape": (2, 3)},
    nn.init.spectral_radius: {"shape": (3, 3), "radius": 1.0},
    tg.zeros: {"shape": (2, 3)},
    tg.ones: {"shape": (2, 3)},
    optim.SGD: {"parameters": weights, "lr": 0.1},
    optim.Adam: {"parameters": weights, "lr": 0.1},
    optim.AdamW: {"parameters": weights, "lr": 0.1},
    optim.RMSprop: {"parameters": weights, "lr": 0.1},
    optim.Adagrad: {"parameters": weights, "lr": 0.1},
    optim.clip_grad_norm_: {"parameters": weights, "max_norm": 1.0},
    optim.clip_grad_value_: {"parameters": weights, "clip_value": 1.0},
    optim.cosine: {"total": 10},
    optim.step_decay: {"every": 3},
    optim.exponential: {"factor": 0.9},
    tg.checkpoint: {"fn": np.tanh},
    tg.gradcheck: {"fn": np.tanh, "inputs": 1.0},
    viz.unrolled: {"loss_or_flow": loss},
    viz.rolled: {"loss_or_flow": loss},
    viz.page: {"loss_or_flow": loss},
    plots.shares: {"flow": lambda: tg.gradient_flow(loss())},
    tasks.SequenceModel: {"cell": "rnn", "inputs": 3, "outputs": 2, "hidden": 4},
    tasks.run_in_windows: {"model": model, "x": XS, "window": 2},
    tg.train.predict: {"model": model, "x": XS, "last": False},
    tasks.Adding: {"lag": 10, "batch": 2, "seed": 0, "dtype": np.float32},
    tasks.TaskTrainer: {"settings": lambda: tasks.Settings.of("adding", lag=10, hidden=2, batch=2)},
    tasks.Settings: {"task": "adding"},
}


def calls() -> Iterator[tuple[Callable[..., Any], str, Any, Any]]:
    """A function, one of its arguments, its type hint and a value of another kind."""
    for fn, good in GOOD.items():
        target = fn.__init__ if inspect.isclass(fn) else fn  # type: ignore[misc]
        try:
            hints = get_type_hints(inspect.unwrap(target))
        except NameError:  # it names types that only type checkers import
            continue
        for name, parameter in inspect.signature(fn).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            for value in WRONG:
                hint = hints.get(name, Any)
                named = name in ("rng", "shape") and not isinstance(value, bool | int | None | tuple)
                if not fits(value, hint) or named:
                    yield fn, name, hint, value
        assert good


def test_every_wrong_kind_is_answered_by_a_sentence() -> None:
    tried, taken, foreign = 0, [], []
    for fn, name, _, value in calls():
        arguments = {key: make() if callable(make) and key != "fn" else make for key, make in GOOD[fn].items()}
        arguments[name] = value
        tried += 1
        try:
            fn(**arguments)
            taken.append(f"{fn.__name__}({name}={value!r:.40})")
        except tg.TensorError as error:
            if len(str(error)) < 25:
                foreign.append(f"{fn.__name__}({name}={value!r:.40}): {error}")
        except Exception as error:
            foreign.append(f"{fn.__name__}({name}={value!r:.40}): {error!r}")
    assert tried > 1500
    assert not taken
    assert not foreign


def test_differences_taken_very_often_end() -> None:
    assert tg.diff(np.ones(3), 2**62).shape == (0,)
    with pytest.raises(tg.InputError, match="diff: n: got 1000000"):
        tg.diff(np.ones(3), 10**30)


x = tg.Tensor(np.ones((2, 3)), requires_grad=True)
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
