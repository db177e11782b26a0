"""Native loops give what the NumPy program gives, on every instruction set and for any number of threads."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite")

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.native import call, loop, lower, machine
from tinygrad_rnn.compiler.native.isa import available, using
from tinygrad_rnn.errors import InputError

AUTO = import_module("tinygrad_rnn.compiler.step").AUTO
build, program, sizes_ = (import_module(f"tinygrad_rnn.compiler.{name}") for name in ("build", "program", "sizes"))
Array = np.ndarray
PATHS = list(available())


def rnn(p: Any, x: Any, state: Any) -> Any:
    return (np.tanh(x @ p["W"] + state[0] @ p["R"] + p["b"]),)


def lstm(p: Any, x: Any, state: Any) -> Any:
    h, c = state
    n = h.shape[-1]
    a = x @ p["W"] + h @ p["R"] + p["b"]
    i, f, o = tg.sigmoid(a[:, :n]), tg.sigmoid(a[:, n : 2 * n] + c * p["peep"]), tg.sigmoid(a[:, 3 * n :])
    c = f * c + i * np.tanh(a[:, 2 * n : 3 * n])
    return o * np.tanh(c), c


def gru(p: Any, x: Any, state: Any) -> Any:
    (h,) = state
    n = h.shape[-1]
    a, v = x @ p["W"] + p["b"], h @ p["R"]
    r, z = tg.sigmoid(a[:, :n] + v[:, :n]), tg.sigmoid(a[:, n : 2 * n] + v[:, n : 2 * n])
    new = np.tanh(a[:, 2 * n :] + r * v[:, 2 * n :])
    return ((1 - z) * new + z * h,)


def minimal(p: Any, x: Any, state: Any) -> Any:
    """A minimal gated unit with a residual, exp and log."""
    (h,) = state
    n = h.shape[-1]
    f = tg.sigmoid(x @ p["W"][:, :n] + h @ p["R"][:, :n] + p["b"][:n])
    new = np.log(1 + np.exp(x @ p["W"][:, n:] + (f * h) @ p["R"][:, n:]))
    return (h + f * np.maximum(new - h, -0.5) * 0.1 - 0.1 * abs(h),)


def normalised(p: Any, x: Any, state: Any) -> Any:
    """Layer normalisation by hand, on the joined input and state."""
    a = np.concatenate([x, state[0]], axis=1) @ np.concatenate([p["W"], p["R"]])
    d = a - a.mean(axis=-1, keepdims=True)
    return (np.tanh(d / np.sqrt((d**2).mean(axis=-1, keepdims=True) + 1e-3) + p["b"]),)


def layer_norm(p: Any, x: Any, state: Any) -> Any:
    return (np.tanh(tg.layer_norm(x @ p["W"] + state[0] @ p["R"], p["b"], p["b"])),)


GATES = {rnn: 1, lstm: 4, gru: 3, minimal: 2, normalised: 1, layer_norm: 1}


def problem(cell: Any, T: int, B: int, I: int, H: int, dtype: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    rng = np.random.default_rng(0)
    G = GATES[cell]
    shapes = {"W": (I, G * H), "R": (H, G * H), "b": (G * H,), **({"peep": (H,)} if cell is lstm else {})}
    params = {k: (rng.standard_normal(s) / H**0.5).astype(dtype) for k, s in shapes.items()}
    xs, ys = (rng.standard_normal((T, B, n)).astype(dtype) for n in (I, H))

    def loss_fn(params: Any, xs: Any, ys: Any) -> Any:
        state = (np.zeros(ys.shape[1:], dtype),) * (2 if cell is lstm else 1)
        loss = 0.0
        for t, x in tg.steps(xs):
            state = cell(params, x, state)
            e = state[0] - ys[t]
            loss = loss + (e * e).sum()
        return loss / ys.size, state[0]

    return loss_fn, (params, xs, ys)


def flat(results: Any) -> list[Array]:
    if isinstance(results, dict):
        return [x for value in results.values() for x in flat(value)]
    if isinstance(results, tuple):
        return [x for value in results for x in flat(value)]
    return [np.asarray(results)]


def distance(found: Any, expected: Any) -> float:
    """The largest difference, relative to the largest entry of each array."""
    pairs = zip(flat(found), flat(expected), strict=True)
    return max(float(np.abs(x - y).max() / np.abs(y).max()) for x, y in pairs)


def agree(loss_fn: Callable[..., Any], arguments: tuple[Any, ...], loops: int = 2) -> Any:
    """Compiled both ways the results are the same, again and again; gives the native step."""
    step = tg.compile(loss_fn, backend="native")
    expected = tg.compile(loss_fn, backend="numpy")(*arguments)
    single = expected[0][0].dtype == np.float32 if isinstance(expected[0], tuple) else expected[0].dtype == np.float32
    for _ in range(2):
        assert distance(step(*arguments), expected) < (2e-6 if single else 1e-12)
    assert step.backend == "native"
    assert len(step.program.native) == loops, step.explain()
    assert "for t in" not in step.program._runs.text, "a loop is left beside the native ones"
    return step


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("cell", list(GATES))
def test_cells(cell: Any, path: str) -> None:
    with using(path):
        agree(*problem(cell, 5, 3, 4, 6, np.float64))
        agree(*problem(cell, 30, 1, 5, 17, np.float32))


@pytest.mark.parametrize("cell", [rnn, lstm, gru])
def test_threads_agree_and_are_the_same_from_run_to_run(cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loss_fn, arguments = problem(cell, 70, 13, 33, 20, np.float64)
    one = agree(loss_fn, arguments)(*arguments)
    monkeypatch.setattr(call, "WORTH_SHARING", 0)
    monkeypatch.setattr(call, "allowed", lambda: 3)
    step = agree(loss_fn, arguments)
    first = step(*arguments)
    assert distance(first, one) < 1e-13
    for _ in range(5):
        assert distance(step(*arguments), first) == 0


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_layers_in_both_directions_with_lengths(kind: str) -> None:
    layer = getattr(tg.nn, kind)(3, 6, num_layers=2, bidirectional=True, rng=0)

    def loss_fn(model: Any, xs: Any) -> Any:
        y, _ = model(xs, lengths=(7, 3, 5))
        return (y * y).mean()

    agree(loss_fn, (layer, np.random.default_rng(1).standard_normal((7, 3, 3))), loops=8)


def test_truncation_dropout_and_masks() -> None:
    rng = np.random.default_rng(2)
    mask = rng.random((9, 4, 1)) < 0.7
    params, xs = {"W": rng.standard_normal((5, 5)) / 2}, rng.standard_normal((9, 4, 5))

    def loss_fn(params: Any, xs: Any, mask: Any) -> Any:
        h, loss, drop = np.zeros((4, 5)), 0.0, np.random.default_rng(7)
        for t, x in tg.steps(xs):
            if t % 4 == 3:
                h = tg.truncate(h)
            h = np.where(mask[t], np.tanh(x + tg.dropout(h, 0.3, rng=drop) @ params["W"]), h)
            loss = loss + (h * h).sum()
        return loss

    expected = tg.compile(loss_fn, backend="numpy")(params, xs, mask)
    assert distance(tg.compile(loss_fn, backend="native")(params, xs, mask), expected) < 1e-12


def test_nothing_is_left_of_a_program_that_is_gone() -> None:
    others = set(lower._KNOWN)
    step = agree(*problem(rnn, 5, 3, 23, 29, np.float64))
    mine = [weakref.ref(primitive) for written, primitive in lower._KNOWN.items() if written not in others]
    assert len(mine) == 2
    del step
    gc.collect()
    assert all(ref() is None for ref in mine)


@pytest.mark.parametrize("threads", [1, 2])
def test_arrays_of_any_layout(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "WORTH_SHARING", 0)
    monkeypatch.setattr(call, "LEAST", 2)
    monkeypatch.setattr(call, "allowed", lambda: threads)
    loss_fn, (params, xs, ys) = problem(gru, 6, 4, 5, 7, np.float64)
    turned = {k: np.asfortranarray(v) for k, v in params.items()}
    views = np.ascontiguousarray(xs.transpose(2, 0, 1)).transpose(1, 2, 0), ys[::-1][:, ::-1, ::-1]
    assert not views[0].flags.c_contiguous
    agree(loss_fn, (turned, *views))
    step = agree(loss_fn, (turned, xs[::-1], ys))
    for others in ((params, xs, ys), (turned, *views), (params, xs[:, ::-1], ys.astype(ys.dtype.newbyteorder()))):
        expected = tg.compile(loss_fn, backend="numpy")(*others)
        assert distance(step(*others), expected) < 1e-12


def test_numbers_from_outside_are_read_from_memory_that_stays() -> None:
    rng = np.random.default_rng(0)
    params, xs = {"a": rng.standard_normal(4), "W": rng.standard_normal((3, 3)) / 2}, rng.standard_normal((6, 2, 3))

    def loss_fn(params: Any, xs: Any) -> Any:
        h, scale, loss = np.zeros((2, 3)), np.tanh(params["a"].max()), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(x + h @ params["W"]) * scale
            loss = loss + (h * h).sum()
        return loss

    agree(loss_fn, (params, xs))
    dense = call._dense(np.float64(3.5), False, np.dtype("f8"))  # type: ignore[arg-type]
    assert type(dense) is np.ndarray
    assert dense.shape == ()


def test_another_length_needs_no_compilation() -> None:
    machine.built.cache_clear()
    built = []
    for T in (5, 9, 300):
        step = agree(*problem(lstm, T, 3, 4, 5, np.float64))
        built.append(step.program.native)
    assert built[0] == built[1] == built[2]
    assert machine.built.cache_info().misses == 2


@pytest.mark.parametrize("cell", [rnn, lstm, gru, normalised])
def test_one_program_for_every_length_and_batch_size(cell: Any) -> None:
    loss_fn, _ = problem(cell, 20, 3, 4, 6, np.float64)
    step, plain = tg.compile(loss_fn, backend="native"), tg.compile(loss_fn, backend="numpy")
    for T, B in ((20, 3), (30, 3), (11, 3), (40, 2), (40, 8), (300, 5)):
        _, arguments = problem(cell, T, B, 4, 6, np.float64)
        assert distance(step(*arguments), plain(*arguments)) < 1e-12
        assert step.backend == "native"
    assert len(step.programs) == 3  # for the first call, for other lengths, and for other batches too


def test_the_text_of_one_program_for_every_length_is_written_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    loss_fn, arguments = problem(gru, 300, 3, 4, 6, np.float64)
    step, other = tg.compile(loss_fn, backend="native"), tg.compile(loss_fn, backend="native")
    for each in (step, other):
        each(*arguments)
        assert "source" not in each.program.__dict__
    names: dict[str, Any] = {}
    exec(step.source, names)
    found = names["program"](**step.program.source.constants, T=300)(*arguments[0].values(), *arguments[1:])
    assert distance(found[0], step(*arguments)[0][0]) < 1e-12

    def refuses(sources: Any, sizes: Any) -> Any:
        raise sizes_.NotGeneralError("its memory is another")

    monkeypatch.setattr(program.Source, "general", refuses)
    assert other.source.startswith("# for T = 6 alone, while native loops run at any: its memory is another")
    assert distance(other(*arguments), step(*arguments)) == 0


def test_threads_may_call_one_step_at_once() -> None:
    loss_fn, (params, xs, ys) = problem(lstm, 40, 8, 6, 16, np.float64)
    step = tg.compile(loss_fn, backend="native")
    inputs = [np.random.default_rng(i).standard_normal(xs.shape) for i in range(4)]
    expected = [step(params, x, ys) for x in inputs]
    wrong: list[float] = []

    def work(i: int) -> None:
        for _ in range(25):
            if (error := distance(step(params, inputs[i], ys), expected[i])) > 0:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_results_are_the_callers_own() -> None:
    loss_fn, arguments = problem(rnn, 5, 3, 4, 6, np.float64)
    step = tg.compile(loss_fn, backend="native")
    first = step(*arguments)
    copies = [x.copy() for x in flat(first)]
    step(arguments[0], arguments[1] + 1, arguments[2])
    assert all((x == y).all() for x, y in zip(flat(first), copies, strict=True))


def test_memory_of_results_that_nobody_has_is_used_again() -> None:
    loss_fn, arguments = problem(rnn, 5, 3, 4, 6, np.float64)
    step = tg.compile(loss_fn, backend="native")
    step(*arguments)
    places = [machine.address(flat(step(*arguments))[2]) for _ in range(6)]
    assert len(set(places)) == 1
    held = [step(*arguments) for _ in range(6)]
    assert len({machine.address(flat(results)[2]) for results in held}) == 6


def test_one_sequence_whose_state_is_a_vector_is_native_in_both_directions() -> None:
    rng = np.random.default_rng(0)
    p = {"W": rng.normal(size=(3, 5)), "R": 0.4 * rng.normal(size=(5, 5)), "b": rng.normal(size=5)}
    params = {name: tg.Tensor(array, requires_grad=True) for name, array in p.items()}

    def loss_fn(p: Any, xs: Any) -> Any:
        h, loss = np.zeros(5), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(x @ p["W"] + h @ p["R"] + p["b"])
            loss = loss + (h * h).sum()
        return loss

    step = tg.compile(loss_fn, "native")
    for length in (9, 9, 14, 30):
        xs = rng.normal(size=(length, 3))
        found = step(params, xs)[1]
        for tensor in params.values():
            tensor.grad = None
        loss_fn(params, xs).backward()
        for name, tensor in params.items():
            np.testing.assert_allclose(found[name], tensor.grad, rtol=1e-10, atol=1e-12)
    told = [line for line in step.explain().splitlines() if "native" in line]
    assert len(told) == 2
    assert not any("not native" in line for line in told)


def test_weights_on_the_left_are_told_how_to_be_native() -> None:
    def told(product: Any) -> str:
        def loss_fn(W: Any, xs: Any) -> Any:
            h = np.zeros(4)
            for _, x in tg.steps(xs):
                h = np.tanh(product(W, h) + x)
            return (h * h).sum()

        step = tg.compile(loss_fn, "native")
        W, xs = tg.Tensor(0.5 * np.eye(4) + 0.1, requires_grad=True), np.ones((9, 4))
        loss_fn(W, xs).backward()
        np.testing.assert_allclose(step(W, xs)[1], W.grad, rtol=1e-12)
        return step.explain()

    assert "a product W @ h is native as h @ W.T" in told(lambda W, h: W @ h)
    assert "not native" not in told(lambda W, h: h @ W.T)


def test_what_does_not_fit_runs_in_numpy_and_is_told() -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 3)), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(np.cumsum(h, axis=1) @ params["W"] + x)
            loss = loss + (h * h).sum()
        return loss

    rng = np.random.default_rng(0)
    arguments = {"W": rng.standard_normal((3, 3)) / 4}, rng.standard_normal((5, 2, 3))
    step = tg.compile(loss_fn, backend="native")
    assert distance(step(*arguments), tg.compile(loss_fn, backend="numpy")(*arguments)) < 1e-12
    assert "not native: the loop of steps 0 to 4: cumsum has no native form" in step.explain()
    assert step.backend == "numpy"


def test_a_mask_of_any_layout_picks_and_multiplies() -> None:
    rng = np.random.default_rng(3)
    params, xs = {"W": rng.standard_normal((5, 5)) / 2}, rng.standard_normal((9, 4, 5))

    def loss_fn(params: Any, xs: Any, one: Any, all_: Any) -> Any:
        h, loss = np.zeros((4, 5)), 0.0
        for t, x in tg.steps(xs):
            h = np.where(one[t], np.tanh(x + h @ params["W"]), h) * all_[t]
            loss = loss + (h * h).sum()
        return loss

    one, all_ = rng.random((9, 4, 1)) < 0.7, rng.random((4, 9, 5)).transpose(1, 0, 2) < 0.8
    agree(loss_fn, (params, xs, one, all_))


def test_a_mask_that_the_loop_computes_runs_in_numpy() -> None:
    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 3)), 0.0
        for _, x in tg.steps(xs):
            h = np.where(h < x, np.tanh(h @ params["W"] + x), 0.5 * h)
            loss = loss + (h * h).sum()
        return loss

    rng = np.random.default_rng(0)
    arguments = {"W": rng.standard_normal((3, 3)) / 4}, rng.standard_normal((5, 2, 3))
    step = tg.compile(loss_fn, backend="native")
    assert distance(step(*arguments), tg.compile(loss_fn, backend="numpy")(*arguments)) < 1e-12
    assert "not native" in step.explain()


def test_what_is_not_proven_right_runs_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    loss_fn, arguments = problem(rnn, 4, 2, 3, 3, np.float64)
    written, asked = build.written, []

    def refuses_the_first(program: Any, *least: Any) -> Any:
        asked.append(program)
        if len(asked) == 1:
            raise tg.GraphError("not proven")
        return written(program, *least)

    monkeypatch.setattr(build, "written", refuses_the_first)
    step = tg.compile(loss_fn, backend="native")
    step(*arguments)
    assert step.backend == "numpy"
    assert "not native: the program with native loops is not proven right" in step.explain()


def test_a_call_that_was_interrupted_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    loss_fn, arguments = problem(rnn, 5, 8, 4, 6, np.float64)
    monkeypatch.setattr(call, "WORTH_SHARING", 0)
    monkeypatch.setattr(call, "allowed", lambda: 2)
    step = tg.compile(loss_fn, backend="native")
    expected = step(*arguments)
    with monkeypatch.context() as patch:
        patch.setattr(call._Memory, "_part", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            step(*arguments)
    assert distance(step(*arguments), expected) == 0


def test_without_llvmlite_it_is_numpy_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    machine.missing.cache_clear()
    try:
        loss_fn, arguments = problem(rnn, 4, 2, 3, 3, np.float64)
        step = tg.compile(loss_fn, backend="native")
        step(*arguments)
    finally:
        machine.missing.cache_clear()
    assert step.backend == "numpy"
    assert "not native: llvmlite is not installed (pip install tinygrad_rnn[native])" in step.explain()


def test_auto_is_native() -> None:
    assert AUTO == "native"


def test_a_backend_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="got backend='gpu', expected 'auto' or 'numpy' or 'native'"):
        tg.compile(lambda p: p, backend="gpu")  # type: ignore[arg-type]


def test_the_text_names_the_equations_and_nothing_of_a_name_becomes_code() -> None:
    loss_fn, arguments = problem(lstm, 5, 3, 4, 6, np.float64)
    text = agree(loss_fn, arguments).program.native[1]
    assert "; i = sigmoid, f = sigmoid" in text.replace("z_i = getitem, ", "") or "c = add" in text

    def evil(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((2, 3)), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(h @ params["x\n  ret void\n}"] + x)
            loss = loss + (h * h).sum()
        return loss

    rng = np.random.default_rng(0)
    agree(evil, ({"x\n  ret void\n}": rng.standard_normal((3, 3)) / 4}, rng.standard_normal((5, 2, 3))))


def test_planted_bugs_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    loss_fn, arguments = problem(lstm, 9, 5, 4, 6, np.float64)

    def planted(owner: Any, name: str, bug: Any) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, bug)
            try:
                agree(loss_fn, arguments)
            except (AssertionError, tg.GraphError):
                return True
        return False

    begin, row, sums, least = loop.Loop._begin, loop.Loop._row, loop.Loop._sums_of, loop.Function.least
    assert not planted(loop.Loop, "_begin", begin)
    assert planted(loop.Loop, "_begin", lambda self: None)
    assert planted(loop.Loop, "_row", lambda self, place, t: row(self, place._replace(delay=place.delay and 0), t))
    assert planted(loop.Loop, "_row", lambda self, place, t: row(self, place._replace(column=0), t))
    assert planted(loop.Loop, "_sums_of", lambda self, b, base, count: sums(self, b, base, 1))
    assert planted(loop.Function, "least", lambda self, a, b: least(self, least(self, a, b), 2))
    monkeypatch.setattr(call, "ROWS", 10)  # several chunks
    assert not planted(loop.Loop, "_begin", begin)
    assert planted(loop.Loop, "_steps_of_chunks", lambda self: _one_chunk(self))


class _one_chunk:  # noqa: N801
    """As if all chunks but one were forgotten."""

    def __init__(self, writer: loop.Loop) -> None:
        self.writer = writer

    def __enter__(self) -> tuple[Any, Any]:
        self.writer.starts = "true"
        return 0, self.writer.f.least(self.writer.chunk, self.writer.n)

    def __exit__(self, *error: object) -> None:
        return None
