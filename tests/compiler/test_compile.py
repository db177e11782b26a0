"""The compiled program is the eager one, only faster: same loss, same gradients, readable source."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from random_cells import largest_difference

import tinygrad_rnn as tg
from tinygrad_rnn.compiler.source import Source
from tinygrad_rnn.compiler.statements import Code
from tinygrad_rnn.compiler.vocabulary import literal

CASES = 40


@pytest.mark.parametrize("seed", range(CASES))
def test_random_programs_agree_with_eager(seed: int) -> None:
    assert largest_difference(seed) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_a_thousand_random_programs_agree_with_eager(block: int) -> None:
    for seed in range(1000 + 100 * block, 1100 + 100 * block):
        assert largest_difference(seed) < 1e-12, f"seed {seed}"


@pytest.mark.parametrize("seed", range(6))
def test_single_precision_stays_single(seed: int) -> None:
    assert largest_difference(seed, np.float32) < 1e-3


def rnn_loss(params: Any, xs: Any, targets: Any) -> Any:
    """The plain RNN with a class at every step."""
    h = np.zeros((xs.shape[1], params["W_hh"].shape[0]))
    loss = 0.0
    for t, x in tg.steps(xs):
        h = np.tanh(x @ params["W_xh"] + h @ params["W_hh"] + params["b_h"])
        y = h @ params["W_hy"] + params["b_y"]
        loss = loss + tg.softmax_cross_entropy(y, targets[t])
    return loss / len(xs)


def rnn_arguments(T: int = 7, B: int = 3, I: int = 4, H: int = 5, C: int = 6, seed: int = 0) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    shapes = {"W_xh": (I, H), "W_hh": (H, H), "b_h": (H,), "W_hy": (H, C), "b_y": (C,)}
    params = {name: rng.standard_normal(shape) / 2 for name, shape in shapes.items()}
    return params, rng.standard_normal((T, B, I)), rng.integers(0, C, (T, B))


def tensors(x: Any) -> Any:
    """The same container with a tensor that requires a gradient for each array."""
    if isinstance(x, dict):
        return {key: tensors(value) for key, value in x.items()}
    return [tensors(value) for value in x] if isinstance(x, list) else tg.Tensor(x, requires_grad=True)


def eager(loss_fn: Callable[..., Any], params: Any, *batch: Any) -> tuple[float, list[Any]]:
    """Loss and gradients by backward(), the gradients in the order of the parameters."""
    given = tensors(params)
    loss = loss_fn(given, *(tg.Tensor(x) if isinstance(x, np.ndarray) else x for x in batch))
    loss.backward()
    return loss.item(), [np.zeros_like(p.data) if p.grad is None else p.grad for p in leaves(given)]


def leaves(x: Any) -> list[Any]:
    if isinstance(x, dict):
        x = list(x.values())
    return [leaf for value in x for leaf in leaves(value)] if isinstance(x, (list, tuple)) else [x]


def check(loss_fn: Callable[..., Any], params: Any, *batch: Any) -> tg.compiler.Compiled:
    step = tg.compile(loss_fn)
    for _ in range(2):  # the second call finds the buffers as the first left them
        loss, grads = step(params, *batch)
        expected, gradients = eager(loss_fn, params, *batch)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)
        for found, wanted in zip(leaves(grads), gradients, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12 * np.abs(wanted).max(initial=1.0))
    return step


# ---------------------------------------------------------------------- the source
def test_the_source_of_the_plain_rnn_is_bptt_as_in_the_textbook() -> None:
    step = check(rnn_loss, *rnn_arguments())
    source = step.source
    assert len(source.splitlines()) < 70
    for line in (
        "for t in range(7):",
        "dot(h[t - 1], W_hh, out=z_h)",
        "tanh(z_h, out=h[t])",
        "for t in reversed(range(7)):",
        "add(dh_next, dy_W_hy_T[t], out=dh)",
        "dot(dz_h[t], W_hh_T, out=dh_next)",
        "dW_hh = matmul(h_all[:-1].reshape(-1, 5).T, dz_h_all.reshape(-1, 5))",
    ):
        assert line in source, line
    assert "# gradient of W_hh" in source
    assert step.explain().count("loop over steps 0..6") == 2


@pytest.mark.parametrize(("T", "B", "H"), [(5, 3, 0), (5, 0, 4), (1, 3, 4), (2, 1, 1)])
def test_empty_and_single_sizes(T: int, B: int, H: int) -> None:
    def loss_fn(p: Any, xs: Any) -> Any:
        h: Any = np.zeros((xs.shape[1], p["R"].shape[0]))
        ys = []
        for _, x in tg.steps(xs):
            h = np.tanh(x @ p["W"] + h @ p["R"] + p["b"])
            ys.append(h @ p["V"])
        return (np.stack(ys) ** 2).sum() + sum((y * y).sum() for y in ys)

    rng = np.random.default_rng(0)
    shapes = {"W": (2, H), "R": (H, H), "b": (H,), "V": (H, 4)}
    check(loss_fn, {k: rng.normal(size=s) for k, s in shapes.items()}, rng.normal(size=(T, B, 2)))


def by_itself(step: tg.compiler.Compiled, **sizes: int) -> Callable[..., Any]:
    """The program as its text alone makes it, in a namespace of its own."""
    names: dict[str, Any] = {}
    exec(step.source, names)
    return names["program"](**step.program.source.constants, **sizes)


@pytest.mark.parametrize("sizes", [{}, {"T": 100, "B": 40, "I": 64, "H": 64}])
def test_the_source_runs_by_itself(sizes: dict[str, int]) -> None:
    params, xs, targets = rnn_arguments(**sizes)
    params["W_hh"] *= 0.2  # not chaotic: rounding must not grow from step to step
    step = check(rnn_loss, params, xs, targets)
    assert f"def program({'T, one_thread=nullcontext()' if sizes else ''}):" in step.source
    assert "tinygrad_rnn" not in step.source
    assert ("with one_thread:" in step.source) == bool(sizes)  # large products around a loop over small ones
    expected, gradients = eager(rnn_loss, params, xs, targets)
    run = by_itself(step, **({"T": 100} if sizes else {}))
    for _ in range(2):
        loss, *found = run(*params.values(), xs, targets)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)
        for one, other in zip(found, gradients, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_the_source_of_a_layer_runs_by_itself(kind: str) -> None:
    layer, xs = getattr(tg.nn, kind)(3, 4, rng=0), np.random.default_rng(1).standard_normal((6, 2, 3))

    def loss_fn(model: Any, xs: Any) -> Any:
        return (model(xs)[0] ** 2).mean()

    expected = loss_fn(layer, xs)
    expected.backward()
    step = tg.compile(loss_fn)
    step(layer, xs)
    assert "def program():" in step.source
    loss, *found = by_itself(step)(*(parameter.data for parameter in layer.parameters()), xs)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
    for one, parameter in zip(found, layer.parameters(), strict=True):
        np.testing.assert_allclose(one, parameter.grad, rtol=0, atol=1e-12)


def test_what_the_source_cannot_hold_is_a_parameter() -> None:
    mask, few = np.random.default_rng(5).random((6, 4)), np.array([0.1, np.inf, -0.0, 1e-300])

    def loss_fn(params: Any, xs: Any) -> Any:
        h, loss = np.zeros((6, 4)), 0.0
        for _, x in tg.steps(xs):
            h = np.minimum(np.tanh(x @ params["W"] + h * mask), few)
            loss = loss + (h * h).mean()
        return loss

    rng = np.random.default_rng(0)
    params, xs = {"W": rng.standard_normal((3, 4))}, rng.standard_normal((5, 6, 3))
    step = check(loss_fn, params, xs)
    (name,) = step.program.source.constants
    assert f"def program({name}):\n    # {name}: (6, 4) of float64" in step.source
    assert "[0.1, inf, -0.0, 1e-300]" in step.source
    loss, dW = by_itself(step)(params["W"], xs)
    expected, (gradient,) = eager(loss_fn, params, xs)
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(dW, gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "u1", "?"])
@pytest.mark.parametrize("values", [[], [0, 0], [1, 1], [0, 1, 2], [3], [[1, 0], [0, 1]]])
def test_a_literal_gives_the_array_back(values: list[Any], dtype: str) -> None:
    value = np.array(values, dtype)
    made = literal(value)
    assert made is not None
    names: dict[str, Any] = {}
    exec(Source(Code([], [], [], [made], [], 0)).text, names)
    (found,) = names["program"]()()
    assert (found.dtype, found.shape) == (value.dtype, value.shape)
    assert found.tobytes() == value.tobytes()


def test_the_source_does_not_grow_with_the_number_of_steps() -> None:
    step = tg.compile(rnn_loss)
    lengths = []
    for T in (3, 30, 60):
        step(*rnn_arguments(T=T))
        lengths.append(len(step.source.splitlines()))
    assert lengths[1] == lengths[2] <= lengths[0] + 1  # arrays of any length may share memory where short ones need not


def test_the_loops_hold_only_the_recurrence() -> None:
    step = check(rnn_loss, *rnn_arguments())
    loops = [part for part in step.program.ir.schedule if isinstance(part, tg.compiler.Loop)]
    assert [len(loop.nodes) for loop in loops] == [3, 3]
    products = [node for loop in loops for node in loop.nodes if node.primitive is tg.matmul]
    assert len(products) == 2  # x_t W_xh, the outputs and all weight gradients are products over all steps


def test_the_program_as_a_graph() -> None:
    step = check(rnn_loss, *rnn_arguments())
    text = step.dot()
    assert 'label="for t in 0 … 6"' in text
    assert 'label="for t in 6 … 0"' in text
    assert 'label="t-1"' in text  # h_(t-1)
    assert 'label="t+1"' in text  # dh_(t+1)
    again = tg.compile(rnn_loss)
    again(*rnn_arguments())
    assert again.dot() == text


def test_a_loss_at_the_last_step_only() -> None:
    def loss_fn(params: Any, xs: Any, targets: Any) -> Any:
        h = np.zeros((xs.shape[1], params["W_hh"].shape[0]))
        for _, x in tg.steps(xs):
            h = np.tanh(x @ params["W_xh"] + h @ params["W_hh"] + params["b_h"])
        return tg.softmax_cross_entropy(h @ params["W_hy"] + params["b_y"], targets[-1])

    step = check(loss_fn, *rnn_arguments())
    assert len(step.source.splitlines()) < 75


def test_two_sequences_in_a_row_with_the_state_carried_over() -> None:
    def loss_fn(params: Any, xs: Any, targets: Any) -> Any:
        h, loss = np.zeros((xs.shape[1], params["W_hh"].shape[0])), 0.0
        for part in (0, 1):
            for _, x in tg.steps(xs[4 * part : 4 * part + 4], start=4 * part):
                h = np.tanh(x @ params["W_xh"] + h @ params["W_hh"] + params["b_h"])
                loss = loss + (h * h).mean()
        return loss

    check(loss_fn, *rnn_arguments(T=8))


def test_a_part_of_a_state_that_is_known_before_the_first_step() -> None:
    """Its gradient is a view of one row of memory for each step, which the step before reads."""

    def loss_fn(params: Any, xs: Any, targets: Any) -> Any:
        h, loss = np.zeros((xs.shape[1], params["W_hh"].shape[0])), 0.0
        for _, x in tg.steps(xs):
            new = np.tanh(x @ params["W_xh"] + h @ params["W_hh"] + params["b_h"])
            h = np.concatenate([h[:, -1:], new[:, :-1]], axis=-1)
            loss = loss + (h * h).sum()
        return loss

    check(loss_fn, *rnn_arguments())


# ---------------------------------------------------------------------- layers and losses
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True}])
def test_layers_of_nn(kind: str, options: dict[str, Any]) -> None:
    layer = getattr(tg.nn, kind)(3, 4, rng=0, **options)

    def loss_fn(model: Any, xs: Any, lengths: Any) -> Any:
        y, _ = model(xs, lengths=lengths)
        return (y * y).mean()

    xs = np.random.default_rng(1).standard_normal((2, 6, 3) if options.get("batch_first") else (6, 2, 3))
    step = tg.compile(loss_fn)
    for lengths in (None, (6, 4)):
        for _ in range(2):  # the parameters change between the calls
            layer.zero_grad()
            expected = loss_fn(layer, xs, lengths)
            expected.backward()
            loss, grads = step(layer, xs, lengths)
            np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
            assert list(grads) == [name for name, _ in layer.named_parameters()]
            for name, parameter in layer.named_parameters():
                np.testing.assert_allclose(grads[name], parameter.grad, rtol=1e-10, atol=1e-13)
                parameter.data -= 0.05
        directions = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
        assert step.explain().count("loop over steps 0..5") == 2 * directions


@pytest.mark.parametrize("hold", [lambda m: m, lambda m: {"model": m, "others": [np.ones(4)]}])
def test_modules_among_the_parameters_and_in_the_batch(hold: Callable[[Any], Any]) -> None:
    model, fixed = tg.nn.Linear(3, 4, rng=0), tg.nn.Linear(3, 4, rng=1)

    def loss_fn(params: Any, other: Any, xs: Any) -> Any:
        mine, scale = (params["model"], params["others"][0]) if isinstance(params, dict) else (params, 1.0)
        return (mine(xs) * other(xs) * scale).sum()

    xs = np.random.default_rng(0).standard_normal((5, 3))
    step = tg.compile(loss_fn)
    for _ in range(3):
        loss, grads = step(hold(model), fixed, xs)
        model.zero_grad()
        expected = loss_fn(model, fixed, xs)
        expected.backward()
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
        found = grads.get("model", grads)
        assert list(found) == [name for name, _ in model.named_parameters()]
        for name, parameter in model.named_parameters():
            np.testing.assert_allclose(found[name], parameter.grad, rtol=1e-12)
        if found is not grads:
            np.testing.assert_allclose(grads["others"][0], (model(xs) * fixed(xs)).data.sum(axis=0), rtol=1e-12)


def test_freezing_another_parameter_makes_another_program() -> None:
    layers = [tg.nn.Linear(3, 3, bias=False, rng=seed) for seed in (0, 1)]
    model, x = tg.nn.Sequential(*layers), np.ones((5, 3))
    step = tg.compile(lambda model, xs: (model(xs) ** 2).sum())
    weights = dict(model.named_parameters())
    for name, frozen in weights.items():
        frozen.requires_grad = False
        _, grads = step(model, x)
        model.zero_grad()
        (model(x) ** 2).sum().backward()
        assert list(grads) == [each for each in weights if each != name]
        for each, found in grads.items():
            np.testing.assert_allclose(found, weights[each].grad, rtol=1e-12)
        frozen.requires_grad = True


def test_embeddings_and_their_gradient() -> None:
    def loss_fn(params: Any, tokens: Any) -> Any:
        h, loss = np.zeros((tokens.shape[1], 4)), 0.0
        for _, token in tg.steps(tokens):
            h = np.tanh(params["E"][token] + h @ params["R"])
            loss = loss + (h * h).sum()
        return loss

    rng = np.random.default_rng(0)
    params = {"E": rng.standard_normal((5, 4)), "R": rng.standard_normal((4, 4))}
    check(loss_fn, params, rng.integers(0, 5, (6, 3)))


def test_what_does_not_roll_is_straight_line_code() -> None:
    def attention(params: Any, xs: Any) -> Any:
        h, states, loss = xs[0], [], 0.0
        for t, x in tg.steps(xs):
            states.append(h)
            scores = np.stack([(h * s).sum(axis=-1) for s in states])  # longer at every step
            weights = tg.softmax(scores, axis=0)
            context = sum(weights[i][:, None] * s for i, s in enumerate(states))
            h = np.tanh(x @ params["W"] + context @ params["R"] * (1.0 + t % 3))
            loss = loss + (h * h).mean()
        return loss

    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((3, 3)), "R": rng.standard_normal((3, 3))}
    step = check(attention, params, rng.standard_normal((5, 2, 3)))
    assert "not rolled" in step.explain()


def test_a_loss_without_steps() -> None:
    def loss_fn(params: Any, x: Any) -> Any:
        return (np.maximum(x @ params[0] + params[1][0], 0.0) ** 2).mean()

    rng = np.random.default_rng(0)
    check(loss_fn, [rng.standard_normal((3, 4)), [rng.standard_normal(4)]], rng.standard_normal((5, 3)))


def test_truncation_by_detach() -> None:
    def loss_fn(params: Any, xs: Any, targets: Any) -> Any:
        h, loss = np.zeros((xs.shape[1], params["W_hh"].shape[0])), 0.0
        for t, x in tg.steps(xs):
            if t == 5:
                h = h.detach()
            h = np.tanh(x @ params["W_xh"] + h @ params["W_hh"] + params["b_h"])
            loss = loss + (h * h).mean()
        return loss

    check(loss_fn, *rnn_arguments(T=10))


# ---------------------------------------------------------------------- calling it
def test_gradients_come_in_the_container_of_the_parameters() -> None:
    def loss_fn(params: Any, x: Any) -> Any:
        first, rest = params
        return (first * x).sum() + (rest["b"] ** 2).sum()

    params = (np.arange(3.0), {"b": np.array(2.0), "unused": np.ones(2)})
    loss, grads = tg.compile(loss_fn)(params, np.arange(3.0))
    assert isinstance(grads, tuple)
    assert loss == 9.0
    np.testing.assert_array_equal(grads[0], [0.0, 1.0, 2.0])
    assert grads[1]["b"] == 4.0
    np.testing.assert_array_equal(grads[1]["unused"], 0.0)


def test_one_program_for_each_combination_of_shapes_and_dtypes() -> None:
    calls = []

    def loss_fn(params: Any, x: Any, scale: float = 1.0) -> Any:
        calls.append(x.shape)
        return (params * x).sum() * scale

    step = tg.compile(loss_fn)
    for n, dtype, scale in ((3, "f8", 1.0), (3, "f8", 1.0), (4, "f8", 1.0), (3, "f4", 1.0), (3, "f8", 2.0)):
        step(np.ones(n, dtype), np.ones(n, dtype), scale)
    assert [program.source.sizes for program in step.programs].count(("B",)) == 1  # for 4, and more
    assert len(step.programs) == 4


def test_results_belong_to_the_caller() -> None:
    step = tg.compile(rnn_loss)
    params, xs, targets = rnn_arguments()
    loss, grads = step(params, xs, targets)
    kept = {name: g.copy() for name, g in grads.items()}
    step({name: p + 1 for name, p in params.items()}, xs, targets)
    for name, g in grads.items():
        np.testing.assert_array_equal(g, kept[name])
        g += 1.0  # writable
    again, fresh = step(params, xs, targets)
    assert again == loss
    np.testing.assert_array_equal(fresh["W_hh"], kept["W_hh"])


def test_tensors_as_arguments_and_nothing_left_behind() -> None:
    params, xs, targets = rnn_arguments()
    given = tensors(params)
    loss, grads = tg.compile(rnn_loss)(given, tg.Tensor(xs), targets)
    np.testing.assert_allclose(loss, eager(rnn_loss, params, xs, targets)[0])
    assert all(p.grad is None for p in given.values())
    assert all(isinstance(g, np.ndarray) for g in grads.values())


def test_threads_do_not_share_buffers() -> None:
    step = tg.compile(rnn_loss)
    cases = [rnn_arguments(T=40, seed=seed) for seed in range(4)]
    expected = [step(*case)[0] for case in cases]
    wrong = []

    def work(i: int) -> None:
        wrong.extend(i for _ in range(50) if step(*cases[i])[0] != expected[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_loss_is_a_scalar_even_if_it_has_axes() -> None:
    offsets = array("d", [0.0])  # at which the compiler does not look
    step = tg.compile(lambda p, x, _: (p * x).sum(keepdims=True) + sum(offsets))
    loss, grads = step(np.ones((2, 3)), np.ones((2, 3)), np.zeros(()))
    assert np.shape(loss) == ()
    assert loss == 6.0
    np.testing.assert_array_equal(grads, np.ones((2, 3)))
    offsets.append(1.0)
    for _ in range(2):  # what was refused once stays refused
        with pytest.raises(tg.GraphError, match="the compiled loss is 6, and the loss function itself gives 7"):
            step(np.ones((2, 3)), np.ones((2, 3)), np.ones(()))


def test_errors_say_what_to_do() -> None:
    with pytest.raises(tg.DTypeError, match="expected a function"):
        tg.compile(3)  # type: ignore[arg-type]
    with pytest.raises(tg.GraphError, match="expected a scalar"):
        tg.compile(lambda p, x: p * x)(np.ones(3), np.ones(3))
    with pytest.raises(tg.GraphError, match=r"returned tuple, expected a scalar Tensor, or \(loss, extra\)"):
        tg.compile(lambda p, x: ((p * x).sum(), x, x))(np.ones(3), np.ones(3))
    with pytest.raises(tg.GraphError, match="depends on no parameter"):
        tg.compile(lambda p, x: (x * x).sum())(np.ones(3), np.ones(3))
    with pytest.raises(tg.DTypeError, match="floating"):
        tg.compile(lambda p: (p * p).sum())(np.arange(3))
    with pytest.raises(tg.DTypeError, match=r"params\['a'\] is str"):
        tg.compile(lambda p: p)({"a": "b"})
    with pytest.raises(tg.InputError, match="call the function once"):
        _ = tg.compile(rnn_loss).source


def test_weights_that_are_no_arguments_are_refused() -> None:
    """Their numbers would stay those of the first call, and their gradients would be missing."""
    W, layer = tg.Tensor(np.ones((3, 3)), requires_grad=True), tg.nn.Linear(3, 3, rng=0)
    with pytest.raises(tg.GraphError, match=r"reads W \(3, 3\), which wants a gradient.*as an argument"):
        tg.compile(lambda p, x: (np.tanh(x @ W) * p).sum())(np.ones(()), np.ones((2, 3)))
    with pytest.raises(tg.GraphError, match="the module that it belongs to"):
        tg.compile(lambda x: layer(x), gradients=False)(np.ones((2, 3)))
    loss, _ = tg.compile(lambda p, x: (x @ W.detach() * p).sum())(np.ones(()), np.ones((2, 3)))
    assert loss == 18


def test_a_first_call_takes_no_axis_of_a_weight_for_a_length() -> None:
    net = tg.nn.LSTM(3, 64, rng=0)  # its gates are the longest axis: 256
    step = tg.compile(lambda net, x: (net(x)[0][-1] ** 2).sum())
    for T in (5, 7, 6):
        x = np.random.default_rng(T).standard_normal((T, 2, 3))
        net.zero_grad()
        expected = (net(x)[0][-1] ** 2).sum()
        expected.backward()
        loss, grads = step(net, x)
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
        for name, parameter in net.named_parameters():
            np.testing.assert_allclose(grads[name], parameter.grad, rtol=1e-9, atol=1e-12)


FROZEN: dict[str, Callable[[Any], Any]] = {
    "data": lambda x: np.abs(x.data).max(),
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "if": lambda x: 2.0 if x.sum() > 0 else 1.0,
    "list": lambda x: x.tolist()[0],
    "any": lambda x: 1.0 + (x > 1).any(),
    "function": lambda x: np.count_nonzero(x),
    "copy": lambda x: tg.Tensor(x),
    "array": lambda x: np.asarray(x),
    "index": lambda x: [0.5, 0.25][np.argmax(x)],
}


@pytest.mark.parametrize("how", FROZEN)
def test_numbers_that_would_be_frozen_are_noticed_where_they_are_read(how: str) -> None:
    step = tg.compile(lambda params, x: (params * x * FROZEN[how](x)).sum())
    for _ in range(2):
        with pytest.raises(tg.GraphError, match=rf'test_compile.py:\d+: "{how}": lambda x: .* same in every call'):
            step(np.ones(3), np.array([1.0, 0.0, -1.0]))


def test_the_gradients_of_the_second_call_are_compared_too() -> None:
    cut = array("b", [False])  # at which the compiler does not look

    def loss_fn(params: Any, x: Any) -> Any:
        h = np.tanh(params["W"] * x)
        return (params["v"] * (h.detach() if cut[0] else h)).sum()

    params = {"W": np.ones(3), "v": np.ones(3)}
    step = tg.compile(loss_fn)
    step(params, np.ones(3))
    cut[0] = True
    with pytest.raises(tg.GraphError, match=r"the gradient of .* differs"):
        step(params, np.ones(3))


def test_a_chaotic_network_is_not_accused() -> None:
    rng = np.random.default_rng(0)
    H, T = 20, 200
    params = {"R": 2 * rng.standard_normal((H, H)) / np.sqrt(H), "W": rng.standard_normal((2, H))}

    def loss_fn(p: Any, xs: Any) -> Any:
        h, loss = np.zeros((1, H)), 0.0
        for _, x in tg.steps(xs):
            h = np.tanh(h @ p["R"] * 2 + x @ p["W"])
            loss = loss + (h * h).mean()
        return loss

    step = tg.compile(loss_fn)
    for seed in range(3):
        step(params, np.random.default_rng(seed).standard_normal((T - 10, 1, 2)))


def test_compile_time_is_linear_in_the_number_of_steps() -> None:
    import time

    def seconds(T: int) -> float:
        arguments = rnn_arguments(T=T, B=1, I=2, H=2, C=2)
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            tg.compile(rnn_loss)(*arguments)
            best = min(best, time.process_time() - start)
        return best

    assert seconds(400) / seconds(100) < 7


@pytest.mark.parametrize("first", [1, 3])
def test_a_mask_that_picks_another_number_of_entries_is_noticed(first: int) -> None:
    def loss_fn(params: Any, xs: Any, mask: Any) -> Any:
        h, losses = np.zeros(4), []
        for _, x in tg.steps(xs):
            h = np.tanh(x * params + h)
            losses.append((h * h).sum())
        return np.stack(losses)[mask].mean()

    step, xs = tg.compile(loss_fn), np.ones((5, 4))
    for mask in (np.arange(5) < first, np.arange(5) >= 5 - first):  # as many: the program holds
        loss, grads = step(np.ones(4), xs, mask)
        expected, (gradient,) = eager(lambda p, xs, mask: loss_fn(p[0], xs, mask), [np.ones(4)], xs, mask)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)
        np.testing.assert_allclose(grads, gradient, rtol=1e-12)
    with pytest.raises(tg.GraphError, match="boolean index picked"):
        step(np.ones(4), xs, np.arange(5) < 2)


# ---------------------------------------------------------------------- beside the loss, and as a reference
def test_what_is_returned_beside_the_loss() -> None:
    def loss_fn(params: Any, xs: Any, state: Any) -> Any:
        h = state
        for _, x in tg.steps(xs):
            h = np.tanh(x @ params["W"] + h @ params["R"])
        return (h * h).mean(), {"state": h, "first": [xs[0]]}

    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((3, 4)), "R": rng.standard_normal((4, 4))}
    xs, state = rng.standard_normal((5, 2, 3)), np.zeros((2, 4))
    step = tg.compile(loss_fn)
    for _ in range(3):  # the state is carried from one call to the next
        (loss, extra), grads = step(params, xs, state)
        given = tensors(params)
        expected, others = loss_fn(given, tg.Tensor(xs), tg.Tensor(state))
        expected.backward()
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-12)
        np.testing.assert_allclose(extra["state"], others["state"].data, rtol=1e-12)
        np.testing.assert_array_equal(extra["first"][0], xs[0])
        np.testing.assert_allclose(grads["R"], given["R"].grad, rtol=1e-10, atol=1e-14)
        state = extra["state"]


def test_plain_arrays_and_words_beside_the_loss() -> None:
    def loss_fn(params: Any, x: Any) -> Any:
        y = params * x
        return y.sum(), {"places": np.arange(3), "T": len(x), "note": "fine", "none": None, "big": y > 1, "y": [y]}

    step = tg.compile(loss_fn)
    for seed in range(3):
        x = np.arange(3.0) + seed
        (_, extra), _ = step(np.ones(3), x)
        np.testing.assert_array_equal(extra["places"], [0, 1, 2])
        extra["places"][:] = 9  # they are the caller's own
        np.testing.assert_array_equal(extra["big"], x > 1)
        np.testing.assert_array_equal(extra["y"][0], x)
        assert (extra["T"], extra["note"], extra["none"]) == (3, "fine", None)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("windows", [{}, {"k1": 3, "k2": 5}])
def test_the_compiled_gradients_are_a_reference_for_bptt(cell: str, windows: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    sizes = {"I": 3, "H": 4, "C": 5, "3H": 12, "4H": 16}
    params = {
        name: rng.standard_normal([sizes[s] for s in symbols]) / 2
        for name, symbols in tg.bptt.problem.PARAMETERS[cell].items()
    }
    xs, targets = rng.standard_normal((8, 2, 3)), rng.integers(0, 5, (8, 2))
    references = {"compiled": tg.compiler.compiled}
    table = tg.bptt.compare(params, xs, targets, cell=cell, references=references, show=False, **windows)
    assert table.passed
    assert table.worst["compiled"].relative < 1e-12
