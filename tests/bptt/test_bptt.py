"""BPTT by hand, and the comparison of references: it must agree, and it must be able to disagree."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tg
from tinygrad_rnn.bptt import Gradients, compare, windows
from tinygrad_rnn.bptt.problem import PARAMETERS, STATES
from tinygrad_rnn.bptt.recurrences import CELLS as EQUATIONS
from tinygrad_rnn.bptt.references import autodiff

CELLS = ("rnn", "lstm", "gru")
BY_HAND = {"rnn": tg.bptt.rnn, "lstm": tg.bptt.lstm, "gru": tg.bptt.gru}


def task(cell="rnn", T=3, B=2, inputs=3, hidden=4, outputs=5, loss="softmax_cross_entropy", seed=0):
    """Random parameters, inputs, targets and an initial state."""
    rng = np.random.default_rng(seed)
    sizes = {"I": inputs, "H": hidden, "C": outputs, "3H": 3 * hidden, "4H": 4 * hidden}
    shapes = {name: tuple(sizes[s] for s in symbols) for name, symbols in PARAMETERS[cell].items()}
    params = {name: rng.normal(size=shape) / np.sqrt(shape[-1]) for name, shape in shapes.items()}
    xs = rng.normal(size=(T, B, inputs))
    ce = loss == "softmax_cross_entropy"
    targets = rng.integers(0, outputs, size=(T, B)) if ce else rng.normal(size=(T, B, outputs))
    initial = {f"{name}0": rng.normal(size=(B, hidden)) for name in STATES[cell]}
    return {"params": params, "xs": xs, "targets": targets, **initial}


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
@pytest.mark.parametrize("T", [3, 100])
@pytest.mark.parametrize("cell", CELLS)
def test_the_references_agree_over_two_sequences_with_the_state_carried_over(cell, T, loss):
    entries = None if T == 3 else 1
    made = task(cell, 2 * T, loss=loss)
    table = compare(**made, cell=cell, loss=loss, sequences=2, numerical_entries=entries, show=False)
    assert table.passed
    assert table.worst["hand"].relative <= 1e-12
    assert table.worst["numerical"].relative <= 1e-12
    assert {row.sequence for row in table.rows} == {0, 1}
    assert {row.step for row in table.rows} == {None, *range(T)}
    first, second = table.gradients["hand"]
    again = BY_HAND[cell](
        made["params"],
        made["xs"][T:],
        made["targets"][T:],
        **{f"{name}0": h for name, h in first.final.items()},
        loss=loss,
    )
    for name, g in second.parameters.items():
        np.testing.assert_allclose(again.parameters[name], g, rtol=1e-11, atol=1e-14)


@given(st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_the_references_agree_on_any_size(data):
    draw = data.draw
    cell, loss = draw(st.sampled_from(CELLS)), draw(st.sampled_from(["softmax_cross_entropy", "squared_error"]))
    sizes = {name: draw(st.integers(1, 4), label=name) for name in ("T", "B", "inputs", "hidden", "outputs")}
    k2 = draw(st.none() | st.integers(1, 5))
    options = {
        "loss": loss,
        "reduction": draw(st.sampled_from(["mean", "sum"])),
        "sequences": draw(st.integers(1, sizes["T"])),
        "k1": None if k2 is None else draw(st.integers(1, k2)),
        "k2": k2,
    }
    made = task(cell, **sizes, loss=loss, seed=draw(st.integers(0, 1000)))
    assert compare(**made, cell=cell, **options, numerical_entries=2, show=False).passed


@pytest.mark.parametrize(("k1", "k2"), [(None, 4), (1, 3), (2, 5), (1, 1), (3, 50)])
@pytest.mark.parametrize("cell", CELLS)
def test_truncated(cell, k1, k2):
    made = task(cell, T=11)
    assert compare(**made, cell=cell, k1=k1, k2=k2, numerical_entries=2, show=False).passed
    truncated = BY_HAND[cell](**made, k1=k1, k2=k2)
    full = BY_HAND[cell](**made)
    assert truncated.loss == full.loss
    equal = np.allclose(truncated.parameters["W_hy"], full.parameters["W_hy"], rtol=1e-12)
    assert equal, "the readout does not look back"
    recurrent = "W_hh" if cell == "rnn" else "weight_hh_l0"
    difference = np.abs(truncated.parameters[recurrent] - full.parameters[recurrent]).max()
    assert (difference < 1e-15) if k2 >= 11 else (difference > 1e-6)


@pytest.mark.parametrize("sliding", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_bias_of_truncation_fades_with_the_window(cell, sliding):
    found = tg.bptt.truncation_bias(
        **task(cell, T=40, loss="squared_error"), cell=cell, loss="squared_error", sliding=sliding
    )
    assert [bias.k2 for bias in found] == [1, 2, 4, 8, 16, 32, 40]
    errors = [bias.relative_error for bias in found]
    assert errors[0] > 0.05
    assert errors[-1] < 1e-14
    assert max(errors[4:]) < errors[0]
    assert found[-1].cosine == pytest.approx(1.0, abs=1e-14)
    if sliding:
        assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("cell", CELLS)
def test_truncation_by_hand_is_what_a_cut_state_gives_the_engine(cell):
    """The user's own loop with `tg.truncate(h)` every k steps has the gradient that k1 = k2 = k derives."""
    made, k = task(cell, T=10, loss="squared_error"), 4
    W = {name: tg.Tensor(array, requires_grad=True) for name, array in made["params"].items()}
    state = {name: tg.Tensor(made[f"{name}0"]) for name in STATES[cell]}
    losses = []
    for t, x in tg.steps(made["xs"]):
        if t % k == 0:
            state = dict(zip(state, tg.truncate(tuple(state.values())), strict=True))
        state = EQUATIONS[cell](x, state, W, lambda name, h: h)
        losses.append(tg.squared_error(state["h"] @ W["W_hy"] + W["b_y"], made["targets"][t]))
    tg.stack(losses).mean().backward()
    found = BY_HAND[cell](**made, loss="squared_error", k2=k)
    for name, g in found.parameters.items():
        np.testing.assert_allclose(W[name].grad, g, rtol=1e-11, atol=1e-15)


def test_windows_cover_every_loss_once():
    assert windows(5) == [(0, 0, 5)]
    assert windows(5, k2=2) == [(0, 0, 2), (2, 2, 4), (4, 4, 5)]
    assert windows(4, k1=1, k2=2) == [(0, 0, 1), (0, 1, 2), (1, 2, 3), (2, 3, 4)]
    for T, k1, k2 in [(7, 2, 3), (6, 3, 6), (1, 4, 4)]:
        covered = [t for w in windows(T, k1, k2) for t in range(w.first, w.end)]
        assert covered == list(range(T))
    for k1, k2 in [(0, 3), (3, 2), (1, -1), (1.5, 3)]:
        with pytest.raises(tg.TensorError):
            windows(5, k1, k2)


def test_by_hand_against_numbers_that_one_can_check_with_a_pencil():
    one = np.ones((1, 1))
    params = {"W_xh": one, "W_hh": 0.5 * one, "b_h": [0.0], "W_hy": one, "b_y": [0.0]}
    found = tg.bptt.rnn(params, np.ones((2, 1, 1)), np.zeros((2, 1, 1)), loss="squared_error", reduction="sum")
    h1 = np.tanh(1.0)
    h2 = np.tanh(1.0 + 0.5 * h1)
    dz2 = 2 * h2 * (1 - h2**2)
    dz1 = (2 * h1 + 0.5 * dz2) * (1 - h1**2)
    assert found.loss == pytest.approx(h1**2 + h2**2, rel=1e-14)
    np.testing.assert_allclose(found.per_step["W_hh"].ravel(), [0.0, h1 * dz2], rtol=1e-14)
    np.testing.assert_allclose(found.per_step["W_xh"].ravel(), [dz1, dz2], rtol=1e-14)
    np.testing.assert_allclose(found.states["h"].ravel(), [2 * h1 + 0.5 * dz2, 2 * h2], rtol=1e-14)
    np.testing.assert_allclose(found.initial["h0"], [[0.5 * dz1]], rtol=1e-14)
    assert not found.per_step["W_hh"][0].any(), "with h_0 = 0 the first step adds nothing to W_hh, exactly"


@pytest.mark.parametrize("cell", CELLS)
def test_contributions_sum_to_the_gradient(cell):
    found = BY_HAND[cell](**task(cell, T=9))
    for name, g in found.parameters.items():
        np.testing.assert_allclose(found.per_step[name].sum(0), g, rtol=1e-12, atol=1e-15)


def test_forms_of_the_input_that_mean_the_same():
    made = task(T=4, B=1)
    ids = np.array([0, 2, 1, 2])
    batched = tg.bptt.rnn(made["params"], np.eye(3)[ids][:, None], made["targets"])
    tensors = {name: tg.Tensor(array, requires_grad=True) for name, array in made["params"].items()}
    for xs, params in ((ids, made["params"]), (ids[:, None], tensors), (np.eye(3)[ids], tensors)):
        found = tg.bptt.rnn(params, xs, made["targets"][:, 0])
        assert found.loss == batched.loss
    assert compare(tensors, ids, made["targets"], numerical_entries=0, show=False).passed
    assert all(tensor.grad is None for tensor in tensors.values())


def fitted(cell, loss, off, seed=0):
    """A task that the network does already, but for `off`."""
    made = task(cell, T=4, B=3, outputs=3, loss=loss, seed=seed)
    W, state, outputs = made["params"], {name: made[f"{name}0"] for name in STATES[cell]}, []
    for x in made["xs"]:
        state = EQUATIONS[cell](x, state, W, lambda name, h: h)
        outputs.append(state["h"] @ W["W_hy"] + W["b_y"])
    if loss == "squared_error":
        made["targets"] = np.array(outputs) + off * np.random.default_rng(1).normal(size=np.shape(outputs))
    elif off:
        W["b_y"], made["targets"] = np.array([0.0, 0.0, -np.log(off)]), np.full((4, 3), 2)
    else:  # all classes are as likely, and as many: the gradient of b_y is zero but for rounding
        W["W_hy"], W["b_y"], made["targets"] = np.zeros((4, 3)), np.zeros(3), np.tile(np.arange(3), (4, 1))
    return made


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_gradient_that_is_zero_but_for_rounding_agrees(cell, loss):
    for seed, off in enumerate((0.0, 1e-13, 1e-9, 1e-5)):
        made = fitted(cell, loss, off, seed)
        assert compare(**made, cell=cell, loss=loss, numerical_entries=2, show=False).passed


@pytest.mark.parametrize("cell", CELLS)
def test_an_error_is_found_where_next_to_nothing_is_left_of_the_gradient(cell):
    made = task(cell, T=60, hidden=12, seed=1)
    made["params"]["W_hh" if cell == "rnn" else "weight_hh_l0"] *= 0.2
    references = {"spoiled": spoil("states", "h", times(1 + 1e-10, 0))}
    table = compare(**made, cell=cell, numerical_entries=0, references=references, show=False, raises=False)
    assert [row.step for row, _ in table.failures] == [0]


# ------------------------------------------------------------------ it can disagree
def spoil(part, name, change):
    def reference(problem) -> Gradients:
        right = autodiff(problem)
        found = {key: array.copy() for key, array in getattr(right, part).items()}
        change(found[name])
        return dataclasses.replace(right, **{part: found})

    return reference


def times(factor, at=...):
    def change(array):
        array[at] *= factor

    return change


@pytest.mark.parametrize(
    ("part", "name", "change", "where"),
    [
        ("parameters", "W_hh", times(1.001), "dL/dW_hh"),
        ("parameters", "b_y", times(1 + 1e-9, 0), "dL/db_y"),
        ("per_step", "W_xh", times(0.0, 1), "G_t(W_xh) at t = 1"),
        ("states", "h", times(np.nan, (2, 0, 0)), "dL/dh_t at t = 2"),
        ("initial", "h0", times(-1.0), "dL/dh0"),
        ("final", "h", times(2.0), "h_T"),
    ],
)
def test_a_planted_error_is_found_and_named(part, name, change, where):
    references = {"spoiled": spoil(part, name, change)}
    options = {"numerical_entries": 0, "references": references}
    table = compare(**task(), **options, show=False, raises=False)
    assert not table.passed
    assert table.verdict.startswith("FAILED: 1 rows disagree with autodiff; worst is spoiled on " + where)
    assert "FAILED" in str(table)
    with pytest.raises(tg.GradientError, match="FAILED"):
        compare(**task(), **options, show=False)


@pytest.mark.parametrize("primitive", ["tanh", "matmul", "add"])
def test_a_wrong_rule_in_the_engine_is_found(primitive, monkeypatch):
    rule = tg.ops.__dict__[primitive]
    wrong = tuple((lambda g, *a, f=f: f(1.001 * g, *a)) for f in rule.vjps)
    monkeypatch.setattr(rule, "vjps", wrong)
    table = compare(**task(), show=False, raises=False)
    assert not table.passed
    assert {"hand", "numerical"} <= {reference for _, reference in table.failures}


def test_a_reference_may_leave_parts_out():
    def only_parameters(problem):
        found = autodiff(problem)
        return Gradients(loss=found.loss, parameters=found.parameters)

    assert compare(**task(), numerical_entries=0, references={"few": only_parameters}, show=False).passed


# ------------------------------------------------------------------ the table
def test_the_table_in_terminal_and_notebook(capsys):
    table = compare(**task(T=40), numerical_entries=1, sequences=2)
    printed = capsys.readouterr().out
    assert printed.strip() == str(table).strip()
    assert "sequence 2 of 2, step by step" in printed
    assert "4..7" in printed, "steps in the middle of a long sequence are one line"
    assert printed.count("dL/dW_hh") == 2
    assert max(map(len, printed.splitlines())) <= 160
    html = table._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 4
    assert html.count("<tr>") == 2 * (1 + 8) + 2 * (1 + 20)
    assert "PASSED" in html


def test_errors_say_what_is_wrong():
    made = task()
    for change, message in [
        ({"params": {**made["params"], "W_hx": 0}}, "with 'W_hx'"),
        ({"params": {k: v for k, v in made["params"].items() if k != "b_h"}}, "without b_h"),
        ({"params": {**made["params"], "W_hh": np.zeros((4, 3))}}, r"W_hh has shape \(4, 3\)"),
        ({"xs": np.zeros((3, 2, 9))}, "xs has shape"),
        ({"xs": np.array([0, 1, 3])}, "class numbers in xs"),
        ({"targets": np.full((3, 2), 5)}, "class numbers 0 to 4"),
        ({"targets": np.zeros((3, 2))}, "class numbers 0 to 4 .* for values, pass loss='squared_error'"),
        ({"h0": np.zeros(7)}, "h0 has shape"),
        ({"c0": np.zeros(4)}, "c0, and the state of a rnn is h"),
        ({"loss": "hinge"}, "got loss='hinge'"),
        ({"reduction": "max"}, "got reduction='max'"),
        ({"cell": "elman"}, "got cell='elman'"),
        ({"sequences": 4}, "sequences=4"),
        ({"loss": "squared_error"}, "targets have shape"),
    ]:
        with pytest.raises((tg.InputError, tg.ShapeError), match=message):
            compare(**{**made, **change}, show=False)


def test_the_derivations_know_nothing_of_autodiff():
    room = Path(tg.bptt.__file__).parent
    for name in ("rnn", "lstm", "gru", "problem", "losses", "recurrences", "rounding"):
        for node in ast.walk(ast.parse((room / f"{name}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.module in {"errors", "escape", "core.arguments", "problem", "losses", "lstm", "by_hand"}, (
                    f"{name}.py imports {node.module}"
                )
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module.split(".")[0] != "tinygrad_rnn"


@pytest.mark.slow
@pytest.mark.parametrize("T", [3, 100])
@pytest.mark.parametrize("cell", CELLS)
def test_by_hand_against_pytorch(cell, T):
    torch = pytest.importorskip("torch")
    made = task(cell, T=T, B=4, inputs=3, hidden=5)
    params = {name: torch.tensor(array) for name, array in made["params"].items()}
    layer = getattr(torch.nn, cell.upper())(3, 5, dtype=torch.float64)
    own = ["W_xh", "W_hh", "b_h"] if cell == "rnn" else list(made["params"])[:4]
    theirs = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0"] if cell == "rnn" else own
    with torch.no_grad():
        layer.bias_hh_l0.zero_()
        for a, b in zip(own, theirs, strict=True):
            getattr(layer, b).copy_(params[a].T if cell == "rnn" and params[a].ndim == 2 else params[a])
    W_hy, b_y = (params[name].requires_grad_() for name in ("W_hy", "b_y"))
    h0 = torch.tensor(made["h0"][None], requires_grad=True)
    start = (h0, torch.tensor(made["c0"][None])) if cell == "lstm" else h0
    hs, _ = layer(torch.tensor(made["xs"]), start)
    hs.retain_grad()
    logits = hs @ W_hy + b_y
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, 5), torch.tensor(made["targets"]).reshape(-1))
    loss.backward()
    found = BY_HAND[cell](**made)
    assert found.loss == pytest.approx(loss.item(), rel=1e-12)
    for a, b in zip(own, theirs, strict=True):
        g = getattr(layer, b).grad.numpy()
        np.testing.assert_allclose(
            found.parameters[a], g.T if cell == "rnn" and g.ndim == 2 else g, rtol=1e-10, atol=1e-15
        )
    for name, tensor in {"W_hy": W_hy, "b_y": b_y}.items():
        np.testing.assert_allclose(found.parameters[name], tensor.grad.numpy(), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(found.initial["h0"], h0.grad.numpy()[0], rtol=1e-10, atol=1e-18)
