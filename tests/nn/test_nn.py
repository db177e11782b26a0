"""Cells and layers against their equations in plain NumPy, and the manners of Module."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

LAYERS = [nn.RNN, nn.LSTM, nn.GRU]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_step(kind, x, state, W_ih, W_hh, b_ih, b_hh):
    """One step of each cell, gate by gate, from the textbook; state is a list of arrays."""
    gates = {nn.RNN: 1, nn.LSTM: 4, nn.GRU: 3}[kind]
    from_x = np.split(x @ W_ih.T + b_ih, gates, axis=-1)
    from_h = np.split(state[0] @ W_hh.T + b_hh, gates, axis=-1)
    if kind is nn.RNN:
        return [np.tanh(from_x[0] + from_h[0])]
    if kind is nn.LSTM:
        i, f, g, o = (a + b for a, b in zip(from_x, from_h, strict=True))
        c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]
    r, z = (sigmoid(a + b) for a, b in zip(from_x[:2], from_h[:2], strict=True))
    n = np.tanh(from_x[2] + r * from_h[2])
    return [(1 - z) * n + z * state[0]]


def numpy_layer(kind, model, x, state, lengths):
    """A layered, two-way run, one sequence at a time: no masks, each is simply cut to its length."""
    weights = model.state_dict()
    T, batch, _ = x.shape
    D, L, H = model.directions, model.num_layers, model.hidden_size
    y = np.zeros((T, batch, D * H))
    last = [np.array(s) for s in state]
    for b, n in enumerate(lengths):
        below = x[:n, b]
        for layer in range(L):
            above = np.zeros((n, D * H))
            for d in range(D):
                suffix = f"_l{layer}" + ("_reverse" if d else "")
                own = [weights[name + suffix] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
                s = [each[layer * D + d, b] for each in state]
                for t in reversed(range(n)) if d else range(n):
                    s = numpy_step(kind, below[t], s, *own)
                    above[t, d * H : (d + 1) * H] = s[0]
                for each, value in zip(last, s, strict=True):
                    each[layer * D + d, b] = value
            below = above
        y[:n, b] = below
    return y, last


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(("layers", "both"), [(1, False), (2, False), (1, True), (3, True)])
@pytest.mark.parametrize("padded", [False, True])
def test_a_layer_is_its_equations_step_by_step(kind, layers, both, padded):
    rng = np.random.default_rng(0)
    model = kind(3, 4, num_layers=layers, bidirectional=both, rng=1)
    x = rng.standard_normal((6, 3, 3))
    count = len(model.states)
    state = [rng.standard_normal((layers * model.directions, 3, 4)) for _ in range(count)]
    lengths = [6, 2, 1] if padded else [6, 6, 6]
    y, last = model(x, tuple(state) if count > 1 else state[0], lengths=lengths if padded else None)
    expected, expected_last = numpy_layer(kind, model, x, state, lengths)
    np.testing.assert_allclose(y.data, expected, atol=1e-14)
    for ours, theirs in zip(last if count > 1 else [last], expected_last, strict=True):
        np.testing.assert_allclose(ours.data, theirs, atol=1e-14)


@pytest.mark.parametrize("kind", LAYERS)
def test_every_gradient_of_a_padded_two_way_layer_is_the_numerical_one(kind):
    rng = np.random.default_rng(0)
    model = kind(2, 3, num_layers=2, bidirectional=True, rng=2)
    x = tg.Tensor(rng.standard_normal((4, 2, 2)), requires_grad=True)
    weights = rng.standard_normal((4, 2, 6))

    def loss():
        y, last = model(x, lengths=[4, 2])
        return (y * weights).sum() + sum((s * s).sum() for s in (last if isinstance(last, tuple) else (last,)))

    loss().backward()
    for name, parameter in [("x", x), *model.named_parameters()]:
        direction = rng.standard_normal(parameter.shape)
        eps, value = 1e-6, parameter.data.copy()
        ends = []
        for sign in (1, -1):
            parameter.data[...] = value + sign * eps * direction
            ends.append(loss().item())
        parameter.data[...] = value
        numerical = (ends[0] - ends[1]) / (2 * eps)
        assert np.sum(parameter.grad * direction) == pytest.approx(numerical, rel=1e-6, abs=1e-8), name


@pytest.mark.parametrize("kind", LAYERS)
def test_padding_neither_gives_nor_takes(kind):
    """What stands in the padding changes nothing, and no gradient reaches it."""
    model = kind(2, 3, bidirectional=True, rng=0)
    x = np.random.default_rng(0).standard_normal((5, 2, 2))
    junk = x.copy()
    junk[3:, 1] = 1e3
    ours, theirs = tg.Tensor(x, requires_grad=True), tg.Tensor(junk, requires_grad=True)
    y, _ = model(ours, lengths=[5, 3])
    y_junk, _ = model(theirs, lengths=[5, 3])
    assert np.array_equal(y.data, y_junk.data)
    assert not y.data[3:, 1].any()
    y.sum().backward()
    assert not ours.grad[3:, 1].any()
    assert ours.grad[:3].all()


@pytest.mark.parametrize("kind", LAYERS)
def test_one_sequence_and_batch_first_are_views_of_the_same_thing(kind):
    model = kind(2, 3, num_layers=2, rng=0)
    x = np.random.default_rng(0).standard_normal((5, 1, 2))
    y, last = model(x)
    single, single_last = model(x[:, 0])
    np.testing.assert_allclose(single.data, y.data[:, 0], rtol=1e-14)
    h, single_h = (last[0], single_last[0]) if kind is nn.LSTM else (last, single_last)
    np.testing.assert_allclose(single_h.data, h.data[:, 0], rtol=1e-14)
    model.batch_first = True
    assert np.array_equal(model(x.swapaxes(0, 1))[0].data, y.data.swapaxes(0, 1))


@pytest.mark.parametrize(
    ("cell_type", "layer_type"), [(nn.RNNCell, nn.RNN), (nn.LSTMCell, nn.LSTM), (nn.GRUCell, nn.GRU)]
)
def test_a_cell_in_a_loop_is_the_layer(cell_type, layer_type):
    layer, cell = layer_type(2, 3, rng=0), cell_type(2, 3, rng=0)
    assert list(cell.state_dict()) == ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    x = np.random.default_rng(0).standard_normal((4, 5, 2))
    state, hs = None, []
    for _, x_t in tg.steps(x):
        state = cell(x_t, state)
        hs.append(state[0] if isinstance(state, tuple) else state)
    assert np.array_equal(np.stack(hs).data, layer(x)[0].data)


def test_layers_tag_steps_scopes_and_names():
    model = nn.Sequential(nn.LSTM(2, 3, num_layers=2, bidirectional=True, rng=0), nn.Linear(6, 1, rng=0))
    loss = model(np.ones((4, 1, 2))).sum()
    found, stack = {}, [loss]
    while stack:
        node = stack.pop()
        for operand in node.inputs:
            if isinstance(operand, tg.Tensor) and operand.index not in found:
                found[operand.index] = operand
                stack.append(operand)
    scopes = {(t.scope, t.step) for t in found.values() if t.primitive is not None and t.name in ("h", "c")}
    assert {s for s, _ in scopes} == {f"sequential/0/l{k}{way}" for k in (0, 1) for way in ("", "_reverse")}
    assert {t for _, t in scopes} == {0, 1, 2, 3}
    leaves = {t.name for t in found.values() if t.requires_grad and t.is_leaf}
    assert leaves == {name for name, _ in model.named_parameters()}


def test_names_and_shapes_are_those_of_pytorch():
    model = nn.GRU(3, 5, num_layers=2, bidirectional=True)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    assert shapes["weight_ih_l1_reverse"] == (15, 10)
    assert shapes["weight_hh_l0"] == (15, 5)
    assert shapes["bias_hh_l0_reverse"] == (15,)
    assert len(shapes) == 16
    assert model.weight_hh_l1 is dict(model.named_parameters())["weight_hh_l1"]
    assert "bias_ih_l0" not in nn.LSTM(3, 5, bias=False).state_dict()


def test_a_model_names_its_parts_and_carries_its_state():
    class Model(nn.Module):
        def __init__(self, seed):
            self.embed = nn.Embedding(7, 3, rng=seed)
            self.rnn = nn.GRU(3, 4, rng=seed)
            self.heads = [nn.Linear(4, 2, rng=seed), nn.Linear(4, 1, rng=seed)]

        def forward(self, x):
            y, _ = self.rnn(self.embed(x))
            return self.heads[1](y)

    one, other = Model(0), Model(1)
    assert list(one.state_dict())[:2] == ["embed.weight", "rnn.weight_ih_l0"]
    assert "heads.1.bias" in one.state_dict()
    x = np.array([[1, 2], [3, 6]])
    assert not np.array_equal(one(x).data, other(x).data)
    other.load_state_dict(one.state_dict())
    assert np.array_equal(one(x).data, other(x).data)
    one(x).sum().backward()
    assert all(p.grad is not None for name, p in one.named_parameters() if "heads.0" not in name)
    one.zero_grad()
    assert all(p.grad is None for p in one.parameters())
    assert "heads.1.weight" in one.summary()
    total = 7 * 3 + 3 * 4 * (3 + 4 + 2) + (4 * 2 + 2) + (4 + 1)
    assert one.summary().splitlines()[-1].split() == ["Model", f"{total:,}"]
    assert "GRU(3, 4)" in repr(one)


def test_loading_takes_all_or_nothing():
    model = nn.Linear(2, 3, rng=0)
    before = model.state_dict()
    for wrong, error in [
        ({"weight": before["weight"]}, tg.InputError),
        ({**before, "extra": np.zeros(1)}, tg.InputError),
        ({"weight": np.zeros((3, 2)), "bias": np.zeros(4)}, tg.ShapeError),
        ({"weight": np.zeros((3, 2)), "bias": "text"}, tg.DTypeError),
    ]:
        with pytest.raises(error, match=r"load_state_dict"):
            model.load_state_dict(wrong)
        assert all(np.array_equal(before[n], a) for n, a in model.state_dict().items())


def test_float32_stays_float32():
    for kind in LAYERS:
        model = kind(2, 3, num_layers=2, bidirectional=True, dtype=np.float32, rng=0)
        y, _ = model(np.ones((3, 2, 2), np.float32), lengths=[3, 1])
        assert y.dtype == np.float32
        y.sum().backward()
        assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float32)}


def test_a_seed_decides_the_weights():
    assert np.array_equal(nn.LSTM(2, 3, rng=5).weight_hh_l0.data, nn.LSTM(2, 3, rng=5).weight_hh_l0.data)
    assert not np.array_equal(nn.LSTM(2, 3, rng=5).weight_hh_l0.data, nn.LSTM(2, 3, rng=6).weight_hh_l0.data)
    generator = np.random.default_rng(0)
    model = nn.Sequential(nn.LSTM(2, 3, rng=generator), nn.LSTM(3, 3, rng=generator))
    assert model.generators() == [generator]


def test_dropout_follows_its_generator_and_rests_in_evaluation():
    drop, again = nn.Dropout(0.25, rng=3), nn.Dropout(0.25, rng=3)
    x = tg.Tensor(np.ones((100, 100)), requires_grad=True)
    y = drop(x)
    assert np.array_equal(y.data, again(x).data)
    assert set(np.unique(y.data)) == {0.0, 1 / 0.75}
    assert y.data.mean() == pytest.approx(1, abs=0.03)
    y.sum().backward()
    assert np.array_equal(x.grad, y.data)
    assert not np.array_equal(y.data, drop(x).data)
    drop.eval()
    assert np.array_equal(drop(x).data, x.data)


@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_lies_between_layers_only(kind):
    x = np.random.default_rng(0).standard_normal((4, 3, 2))
    plain, dropped = kind(2, 5, num_layers=2, rng=0), kind(2, 5, num_layers=2, dropout=0.5, rng=0)
    (y, last), (y_dropped, last_dropped) = plain(x), dropped(x)
    h, h_dropped = (last[0], last_dropped[0]) if kind is nn.LSTM else (last, last_dropped)
    assert np.array_equal(h.data[0], h_dropped.data[0])
    assert not np.array_equal(y.data, y_dropped.data)
    assert np.all(y_dropped.data)
    dropped.eval()
    assert np.array_equal(y.data, dropped(x)[0].data)
    with pytest.raises(tg.InputError):
        nn.Sequential(nn.Dropout(-0.1))


def test_layer_norm_centres_and_scales():
    norm = nn.LayerNorm(4)
    y = norm(np.random.default_rng(0).normal(3, 5, (6, 4)))
    np.testing.assert_allclose(y.data.mean(-1), 0, atol=1e-12)
    np.testing.assert_allclose(y.data.std(-1), 1, rtol=1e-4)


def test_initialisers_have_the_spectrum_they_promise():
    init, rng = nn.init, np.random.default_rng(0)
    for shape in [(20, 20), (30, 10), (10, 30)]:
        singular = np.linalg.svd(init.orthogonal(shape, rng, gain=1.5), compute_uv=False)
        np.testing.assert_allclose(singular, 1.5)
    radius = np.max(np.abs(np.linalg.eigvals(init.spectral_radius((40, 40), 0.9, rng))))
    assert radius == pytest.approx(0.9)
    assert np.array_equal(init.identity((3, 3), 2.0), 2 * np.eye(3))
    shape = (300, 200)
    for draw, variance in [
        (init.xavier_uniform, 2 / 500),
        (init.xavier_normal, 2 / 500),
        (init.he_uniform, 2 / 200),
        (init.he_normal, 2 / 200),
    ]:
        assert np.var(draw(shape, rng)) == pytest.approx(variance, rel=0.03)
    assert np.array_equal(init.he_normal(shape, 3), init.he_normal(shape, 3))
    with pytest.raises(tg.ShapeError, match="square"):
        init.spectral_radius((2, 3), 1.0)
    with pytest.raises(tg.ShapeError, match="matrix"):
        init.xavier_normal((3,))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nn.LSTM(3, 4)(np.zeros((5, 2, 7))), r"\(5, 2, 7\), expected .*\(time, batch, 3\)"),
        (lambda: nn.GRU(3, 4, batch_first=True)(np.zeros(3)), r"\(batch, time, 3\)"),
        (lambda: nn.RNN(3, 4)(np.zeros((0, 2, 3))), "no steps"),
        (lambda: nn.RNN(3, 4)(np.zeros((5, 2, 3)), np.zeros((1, 3, 4))), r"state h has shape \(1, 3, 4\)"),
        (lambda: nn.LSTM(3, 4)(np.zeros((5, 2, 3)), np.zeros((1, 2, 4))), r"\(h, c\)"),
        (lambda: nn.RNN(3, 4)(np.zeros((5, 2, 3)), lengths=[5]), r"lengths have shape"),
        (lambda: nn.RNN(3, 4)(np.zeros((5, 2, 3)), lengths=[5, 6]), r"expected 1 to 5"),
        (lambda: nn.RNN(3, 4)(np.zeros((5, 2, 3)), lengths=[5, 0.5]), r"integers"),
        (lambda: nn.RNN(3, 4)(np.zeros((5, 3)), lengths=[5]), r"lengths have shape"),
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), "'tanh' or 'relu'"),
        (lambda: nn.RNN(3, 0), "hidden_size=0"),
        (lambda: nn.LSTM(3, 4, num_layers=0), "num_layers=0"),
        (lambda: nn.LSTM(3, 4, dropout=1.0), "dropout=1.0"),
        (lambda: nn.Linear(3, 4)(np.zeros((2, 2))), r"expected \(\.\.\., 3\)"),
        (lambda: nn.Embedding(3, 4)(np.array([0, 3])), "rows 0 to 2"),
        (lambda: nn.Embedding(3, 4)(np.array([0.0])), "expected integers"),
        (lambda: nn.LSTMCell(3, 4)(np.zeros((2, 5))), r"LSTMCell: the input has shape \(2, 5\)"),
        (lambda: nn.Dropout(1.5), "p=1.5"),
    ],
)
def test_wrong_calls_say_what_was_expected(call, says):
    with pytest.raises(tg.TensorError, match=says):
        call()


class Held(nn.Module):
    """Parameters wherever an attribute may hold them, and a state that is kept to be looked at."""

    def __init__(self):
        def ones():
            return tg.Tensor(np.ones(2), requires_grad=True)

        self.own, self.several, self.named = ones(), [ones(), ones()], {"up": ones(), "layer": nn.Linear(2, 2, rng=0)}

    def forward(self, x):
        self.seen, self.all_seen = x * self.own, [x * self.own]
        return sum(self.several, self.seen) + self.named["layer"](x * self.named["up"])


def test_parameters_in_lists_and_dicts_are_found_and_kept_states_are_none(tmp_path):
    names = ["own", "several.0", "several.1", "named.up", "named.layer.weight", "named.layer.bias"]
    model = Held()
    loss = model(np.ones((3, 2))).sum()
    assert [name for name, _ in model.named_parameters()] == names
    assert [parameter.name for parameter in model.parameters()] == names
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    _, gradients = tg.compile(lambda model, x: model(x).sum())(model, np.ones((3, 2)))
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(gradients[name], parameter.grad)
        parameter.data += 1
    again = Held.load(model.save(tmp_path / "held.safetensors"))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)


def test_nested_lists_and_dicts_are_walked_and_a_set_of_parameters_is_refused():
    model = nn.Module()
    weight = tg.Tensor(np.ones(2), requires_grad=True)
    model.grid = [[weight, nn.Linear(2, 2, rng=0)], {"deep": ({"er": nn.Linear(2, 1, rng=0)},)}]
    model.grid.append(model.grid)  # a list that holds itself
    names = ["grid.0.0", "grid.0.1.weight", "grid.0.1.bias", "grid.1.deep.0.er.weight", "grid.1.deep.0.er.bias"]
    assert sorted(name for name, _ in model.named_parameters()) == sorted(names)
    with pytest.raises(tg.InputError, match="tied is a set of parameters or modules"):
        model.tied = {weight}


def test_two_parameters_of_one_name_are_refused():
    model = nn.Sequential(nn.Linear(2, 2, rng=0))
    (name, *_) = model.state_dict()
    setattr(model, name, tg.Tensor(np.ones(2), requires_grad=True))
    with pytest.raises(tg.InputError, match=f"two parameters named {name}"):
        model.state_dict()
