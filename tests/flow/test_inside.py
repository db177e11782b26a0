"""Inside the cell, and the text that is coloured by what its parts contributed."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from known_nets import layer, squared, weight

import tinygrad_rnn as tg
from tinygrad_rnn.flow import Contributions, contributions, inside


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", ["i", "f", "o"]), ("GRU", ["r", "z"]), ("RNN", [])])
def test_states_gradients_and_gates_are_the_graph_s(kind, gates):
    net, x = layer(kind, T=7)
    out, _ = net(x)
    flow = tg.gradient_flow(squared(out))
    found = inside(flow)
    assert list(found.gates) == gates
    assert found.steps == list(range(7))
    np.testing.assert_array_equal(found.states["h"], out.data)
    by_step = {record.step: record for record in flow.states() if record.name == "h"}
    for t in range(7):
        np.testing.assert_array_equal(found.gradients["h"][t], by_step[t].gradient)
    if kind == "LSTM":
        W = {name: p.data for name, p in net.named_parameters()}
        h = np.concatenate([np.zeros((1, 3, 8)), out.data[:-1]])
        z = x @ W["weight_ih_l0"].T + W["bias_ih_l0"] + h @ W["weight_hh_l0"].T + W["bias_hh_l0"]
        np.testing.assert_allclose(found.gates["f"], 1 / (1 + np.exp(-z[..., 8:16])), rtol=1e-10)
    for gate in gates:
        assert found.histogram(gate).sum() == pytest.approx(1)
        assert f"gate {gate}: mean {found.gates[gate].mean():.2f}" in str(found)


def test_saturated_gates_are_counted():
    net, x = layer("LSTM", T=7)
    net.bias_ih_l0.data[8:12], net.bias_ih_l0.data[12:16] = 9.0, -9.0
    found = inside(tg.gradient_flow(squared(net(x)[0])))
    assert found.saturated("f") == (0.5, 0.5)
    assert "50% shut, 50% open" in str(found)
    found.gates["at the bounds"] = np.array([0.05, 0.95])
    assert found.saturated("at the bounds") == (0, 0)
    axes = tg.viz.plots.inside(found)
    shares = axes[2].get_lines()[1].get_ydata()
    np.testing.assert_allclose([shares[0], shares[-1]], 0.5)
    np.testing.assert_array_equal(axes[0].images[0].get_array(), found.states["h"][:, 0].T)
    with pytest.raises(tg.InputError, match="sequence 3"):
        tg.viz.plots.inside(found, sequence=3)
    with pytest.raises(tg.GraphError, match="no layer"):
        inside(tg.gradient_flow(net.bias_ih_l0.sum()))


def test_layers_of_one_scope_are_told_apart():
    """Of two layers in an inner loop both states are h and both gates z: none may take the other's place."""
    rng = np.random.default_rng(0)
    Ws = [weight(rng.normal(size=(3, 6))) for _ in range(2)]
    states, gates, losses = [np.zeros((2, 3))] * 2, [[], []], []
    for _, x in tg.steps(rng.normal(size=(5, 2, 3))):
        for k, W in enumerate(Ws):
            a = (x + states[k]) @ W
            z = tg.sigmoid(a[:, :3])
            x = h = (1 - z) * np.tanh(a[:, 3:]) + z * states[k]
            gates[k].append(z.data)
            states = [*states[:k], h, *states[k + 1 :]]
        losses.append(squared(h))
    found = inside(tg.gradient_flow(sum(losses)))
    assert list(found.states) == list(found.gradients) == ["h", "h #2"]
    np.testing.assert_array_equal([found.states["h"][-1], found.states["h #2"][-1]], [h.data for h in states])
    np.testing.assert_array_equal([found.gates["z"], found.gates["z #2"]], gates)


def test_the_gates_of_a_layer_are_those_that_its_own_states_are_made_from():
    """A decoder in the scope of its encoder has gates of its own, and a sigmoid that is read out is no gate."""
    W, V, out, losses = weight(np.eye(3)), weight(2 * np.eye(3)), weight(np.ones((3, 1))), []
    h, gates = np.zeros((2, 3)), []
    for weights, T in ((W, 6), (V, 4)):
        gates.append([])
        for _, x in tg.steps(np.random.default_rng(T).normal(size=(T, 2, 3))):
            z = tg.sigmoid(x @ weights)
            h = z * h + (1 - z) * np.tanh(x + h @ weights)
            p = tg.sigmoid(h @ out)
            gates[-1].append(z.data)
            losses.append((p * p).sum())
    flow = tg.gradient_flow(sum(losses))
    for layer_, expected in zip(flow.structure.layers, gates, strict=True):
        found = inside(flow, layer_)
        assert list(found.gates) == ["z"]
        np.testing.assert_array_equal(found.gates["z"], expected)


# ------------------------------------------------------------------ contributions
def test_contributions_are_differences_of_log_probabilities():
    """Scores that add up what each input says, so that the answer is known."""
    rng = np.random.default_rng(0)
    said = rng.normal(size=(5, 3))
    x, others = rng.integers(0, 5, 12), rng.integers(0, 5, (12, 30))
    found = contributions(lambda ids: said[ids].sum(0), x, others, answer=1)
    total = said[x].sum(0)
    for k in range(12):
        changed = total - said[x[k]] + said[others[k]]
        log_p = changed[:, 1] - np.log(np.exp(changed).sum(1))
        assert found.values[k] == pytest.approx(total[1] - np.log(np.exp(total).sum()) - log_p.mean())
    numbers = contributions(lambda ids: ids[-1].astype(float), x, others)
    assert numbers.values[:-1].tolist() == [0.0] * 11
    assert numbers.values[-1] == pytest.approx(x[-1] - others[-1].mean())
    for options, message in (({"answer": 3}, "answer 3"), ({"tokens": ["a"]}, "1 tokens for 12")):
        with pytest.raises(tg.InputError, match=message):
            contributions(lambda ids: said[ids].sum(0), x, others, **options)
    with pytest.raises(tg.InputError, match="others"):
        contributions(lambda ids: ids, x, others[:5])


def test_a_latch_shows_its_first_symbol_as_the_only_cause():
    def predict(xs):
        h = np.zeros(xs.shape[1:])
        for x in xs:
            h = np.tanh(3 * h + x)
        return np.concatenate([h, -h], axis=-1) * 5

    rng = np.random.default_rng(0)
    x, others = 0.1 * rng.normal(size=(20, 1)), 0.1 * rng.normal(size=(20, 40, 1))
    x[0], others[0] = 3.0, rng.choice([-3.0, 3.0], size=(40, 1))
    found = contributions(predict, x, others)
    assert found.values[0] > 1
    assert np.abs(found.values[1:]).max() < 1e-2


HOSTILE = ["<b>", "&", '"', "\x1b[31m", "\n", "$x$", "]]>", "é"]


def test_coloured_text_escapes_what_it_shows(tmp_path, monkeypatch):
    found = Contributions(np.linspace(-1, 2, len(HOSTILE)), HOSTILE, "</title><script>")
    made = tg.viz.coloured(found)
    assert "\x1b" not in str(made)
    for ending in (".svg", ".html", ".txt"):
        written = made.save(tmp_path / f"text{ending}").read_text(encoding="utf-8")
        assert ending == ".txt" or ("<script>" not in written and "<b>" not in written)
    root = ElementTree.fromstring(made.svg())
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[:2] == ["<b>", "&"]
    assert len(texts) == len(HOSTILE) + 1
    assert "background:#" in made._repr_html_()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert str(made).count("\x1b[0m") == len(HOSTILE)
    assert "\x1b[31m" not in str(made)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[0m" not in str(made)
    with pytest.raises(tg.InputError, match=r"\.svg, \.html or \.txt"):
        made.save(tmp_path / "text.png")


def test_the_page_shows_the_coloured_text():
    net, x = layer("RNN", T=4)
    loss = squared(net(x)[0])
    found = Contributions(np.array([1.0, -0.5, 0.0, 0.2]), ["a", "<b>", "c", "d"], "x")
    html = tg.viz.page(loss, contributions=found).html()
    assert tg.viz.coloured(found).html() in html
    assert "What each input contributed" not in tg.viz.page(loss).html()


def test_the_strongest_is_the_darkest_and_signs_have_colours():
    made = tg.viz.coloured(Contributions(np.array([0.0, 1.0, -0.5]), ["a", "b", "c"], "x"))
    assert made.shares == [0.0, 1.0, -0.5]
    html = made.html()
    assert 'background:#FFFFFF;color:#000">a<' in html
    orange, blue = (html.split(';color:#000">' + token)[0][-7:] for token in "bc")
    assert int(orange[1:3], 16) > int(orange[5:], 16)
    assert int(blue[1:3], 16) < int(blue[5:], 16)
