"""Picture, title, table and page say what `diagnose` says, to the last printed digit, for random networks."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest
from picture_checks import clipped, edges_over_boxes, overlaps, solid

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.flow.sentence import MASKED
from tinygrad_rnn.viz.text import number


def network(seed: int) -> Tensor:
    """A loss of a random cell, length, batch and depth, at each step or at the last."""
    rng = np.random.default_rng(seed)
    T, B, H = int(rng.integers(2, 25)), int(rng.integers(1, 4)), int(rng.integers(2, 6))
    cell, scale, depth = str(rng.choice(["tanh", "linear", "relu", "gru", "lstm"])), rng.uniform(0.2, 2.0), seed % 2 + 1

    def weight(*shape: int) -> Tensor:
        return Tensor(scale * rng.normal(size=shape) / np.sqrt(shape[0]), requires_grad=True)

    gates = {"gru": 3, "lstm": 4}.get(cell, 1)
    weights = [(weight(H, gates * H), weight(H, gates * H)) for _ in range(depth)]
    hs = cs = [np.zeros((B, H))] * depth
    every, penalty = bool(rng.integers(2)), bool(rng.integers(2))
    loss = 0.0
    for t, x in tg.steps(rng.normal(size=(T, B, H))):
        below = x
        for k, (W, U) in enumerate(weights):
            with tg.scope(f"layer{k}"):
                z, r = below @ W, hs[k] @ U
                if cell == "gru":
                    u, f = tg.sigmoid(z[:, :H] + r[:, :H]), tg.sigmoid(z[:, H : 2 * H] + r[:, H : 2 * H])
                    h = u * hs[k] + (1 - u) * np.tanh(z[:, 2 * H :] + f * r[:, 2 * H :])
                elif cell == "lstm":
                    i, f, o = (tg.sigmoid((z + r)[:, k * H : (k + 1) * H]) for k in range(3))
                    c = f * cs[k] + i * np.tanh((z + r)[:, 3 * H :])
                    cs = [*cs[:k], c, *cs[k + 1 :]]
                    h = o * np.tanh(c)
                else:
                    h = {"tanh": np.tanh, "relu": tg.relu, "linear": lambda a: a}[cell](z + r)
                hs = [*hs[:k], h, *hs[k + 1 :]]
                below = h
        if every or t == T - 1:
            loss = loss + (below**2).mean()
    return loss + 0.1 * (weights[0][1] ** 2).sum() if penalty else loss


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 40))])
def test_everything_says_what_diagnose_says(seed: int) -> None:
    loss = network(seed)
    flow = tg.gradient_flow(loss)
    try:
        found = tg.diagnose(loss)
    except tg.GraphError:  # a relu that is dead from the start
        assert "|∂L" not in " ".join(label.line.text for label in tg.viz.unrolled(flow, "cell").scene.labels)
        return
    for detail in ("op", "cell"):
        drawn = tg.viz.unrolled(flow, detail).scene
        assert overlaps(solid(drawn)) == edges_over_boxes(drawn) == clipped(drawn) == []
    scene = tg.viz.unrolled(flow, "cell", max_steps=None).scene
    said = {box.id: box.lines[0].text for box in scene.boxes if box.kind in ("reach", "share")}
    labels = {label.id: label.line.text for label in scene.labels}
    page = html.unescape(tg.viz.page(flow).html())
    table = str(flow)
    told = [layer for layer in found.layers if layer.reach.losses]
    for at, layer in enumerate(told):
        assert labels[f"verdict_{at}"] == layer.verdict
        assert layer.measured in re.sub(r"\s+", " ", table)
        cells = [said[f"reach{at}_{state[0].step}"] for state in layer.states]
        assert cells == [number(float(norm)) for norm in layer.last]
        in_page = [re.search(rf'id="reach{at}_{s[0].step}".*?<text[^>]*>([^<]*)<', page, re.S) for s in layer.states]
        assert [match and match[1] for match in in_page] == cells
    if len(found.layers) == 1:
        for state, norm in zip(told[0].states, told[0].last, strict=True):
            row = re.escape(f"{norm:.2e}")
            shown = re.search(rf"^ *{state[0].step} .* {row} ", table, re.M)
            assert shown or f"\n {state[0].step} " not in re.sub(" +", " ", table), "the table has the same reach"
    short = "too short to tell"
    numbers = [each.measured.removesuffix(f" ({MASKED})").removeprefix(f"{each.verdict}: ") for each in told]
    numbers = [
        re.sub(r" \(\d+ to \d+ for most losses\)|, but from lag \d+ on more again: [^;]*", "", w) for w in numbers
    ]
    assert any(words in scene.title for words in numbers) or all(layer.verdict == short for layer in told)
    assert len(scene.title) <= 180, "it fits in two lines of a README"
    notes = " ".join(text for name, text in labels.items() if re.fullmatch(r"legend_\d+", name))
    assert ("masked: " in notes) == any(layer.masked for layer in told)
    assert all(layer.verdict in scene.title for layer in told), "of all layers, not only of the first"
    assert scene.title in page
    heading = " ".join(text for name, text in labels.items() if re.fullmatch(r"title(_\d+)?", name))
    assert heading == scene.title

    loss.backward()
    for at, weight in enumerate(flow.structure.shared_weights):
        parts, outside = flow.per_step(weight), flow.outside(weight)
        np.testing.assert_allclose(parts.sum(axis=0) + outside, weight.grad, rtol=1e-9, atol=1e-12 * abs(parts).max())
        cells = [said[f"g{at}_{step}"] for step in flow.structure.steps]
        assert cells == [number(float(np.linalg.norm(part))) for part in parts]
        assert labels[f"total_{at}"].split(";")[0] == number(float(np.linalg.norm(weight.grad)))


def test_one_loss_of_many_can_be_drawn_in_the_whole_graph() -> None:
    rng = np.random.default_rng(0)
    W = Tensor(0.5 * rng.normal(size=(3, 3)), requires_grad=True)
    h, losses = np.zeros((1, 3)), []
    for _, x in tg.steps(rng.normal(size=(5, 1, 3))):
        h = np.tanh(x + h @ W)
        losses.append((h**2).mean())
    whole = sum(losses)
    scene = tg.viz.unrolled(whole, "cell", of=losses[2]).scene
    part = tg.gradient_flow(losses[2])
    said = {box.id: box.lines[0].text for box in scene.boxes if box.kind in ("reach", "share")}
    assert len(scene.lanes) == 5
    assert [said[f"g0_{t}"] for t in range(3)] == [number(float(np.linalg.norm(g))) for g in part.per_step(W)]
    assert "g0_3" not in said, "the past does not depend on it"
    later = [edge for edge in scene.edges if edge.source.startswith("t4")]
    assert later
    assert all(edge.dash == "dashed" and not edge.backward for edge in later)
    first = tg.viz.unrolled(whole, "cell", of=losses[0]).scene
    assert not any(label.id.startswith("strips") for label in first.labels), (
        "no weight is shared behind one step's loss"
    )
    hiding = tg.viz.unrolled(whole, "cell", of=losses[2], max_steps=2).scene
    words = {box.id: box.lines[0].text for box in hiding.boxes if box.kind == "share"}
    hidden = number(float(np.linalg.norm(part.per_step(W)[1:].sum(axis=0))))
    assert words["g0_hidden"] == f"Σ {hidden}", "some of the hidden steps are not behind this loss"
    with pytest.raises(tg.InputError, match="no part of the graph"):
        tg.viz.unrolled(whole, of=(h * 2).sum())


def test_colours_are_relative_to_the_median_of_what_steps_inject() -> None:
    """Not to the last state, whose gradient here is a thousandth of all others'."""
    rng = np.random.default_rng(0)
    W = Tensor(0.2 * rng.normal(size=(3, 3)), requires_grad=True)
    h, loss = np.zeros((1, 3)), 0.0
    for t, x in tg.steps(rng.normal(size=(7, 1, 3))):
        h = np.tanh(x + h @ W)
        loss = loss + (h**2).mean() * (1e-3 if t == 6 else 1.0)
    flow = tg.gradient_flow(loss)
    scene = tg.viz.unrolled(flow, "cell").scene
    injected = [float(np.linalg.norm(record.injected)) for record in flow.states()]
    assert f"injects, {number(float(np.median(injected)))}" in " ".join(label.line.text for label in scene.labels)
    levels = [abs(float(edge.color.split()[1])) for edge in scene.edges if edge.color.startswith("scale")]
    assert np.median(levels) < 1


def test_a_small_expression_shows_values_and_gradients_as_micrograd_does() -> None:
    a, b, c = Tensor(2.0, requires_grad=True), Tensor(-3.0, requires_grad=True), Tensor(10.0, requires_grad=True)
    d = a * b + c
    L = d * Tensor(-2.0, name="f")
    L.backward()
    scene = tg.viz.unrolled(L).scene
    lines = {box.lines[0].text: [line.text for line in box.lines] for box in scene.boxes if len(box.lines) > 2}
    for name, data, grad in (("a", "2", "6"), ("b", "-3", "-4"), ("c", "10", "-2"), ("d", "4", "-2"), ("L", "-8", "1")):
        assert lines[name][-2:] == [f"data {data}", f"grad {grad}"]
    assert any(line.text == "data -2" for box in scene.boxes for line in box.lines), "leaves without a gradient too"
    numbers = {label.line.text for label in scene.labels if label.id.startswith("norm")}
    assert {"6.00", "4.00", "2.00"} <= numbers
