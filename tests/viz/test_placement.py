"""Where things belong: losses to their steps, scopes to their lanes, one array to one box, edges beside each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import recurrent_nets as nets
from picture_checks import edges_over_boxes

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.viz.scene import Scene


def losses_after_the_loop() -> Tensor:
    rng = np.random.default_rng(0)
    W, V = (Tensor(rng.normal(size=size), requires_grad=True) for size in ((3, 3), (3, 2)))
    h, ys = np.zeros((1, 3)), []
    for _, x in tg.steps(rng.normal(size=(4, 1, 3))):
        h = np.tanh(x + h @ W)
        ys.append(h @ V)
    return sum(tg.squared_error(y, target) for y, target in zip(ys, rng.normal(size=(4, 1, 2)), strict=True))


@pytest.mark.parametrize("detail", ["op", "cell"])
def test_losses_made_after_the_loop_stand_in_the_lanes_of_their_steps(detail: str) -> None:
    scene = tg.viz.unrolled(tg.gradient_flow(losses_after_the_loop()), detail=detail).scene
    losses = {box.id.split("_")[0]: box for box in scene.boxes if box.kind == "loss" and box.lines[0].text != "L"}
    assert sorted(losses) == ["t0", "t1", "t2", "t3"]
    assert len({box.y for box in losses.values()}) == 1
    totals = [box for box in scene.boxes if box.kind == "total" or (box.lines and box.lines[0].text == "L")]
    assert len(totals) == 4
    assert len({round(box.middle[1]) for box in totals}) == 1, "the sum runs along the lanes"
    assert max(box.right for box in scene.boxes if box.kind != "legend") <= scene.lanes[-1].right


def gru_from_zeros() -> Tensor:
    rng = np.random.default_rng(0)
    W_z, W_r, W_n = (Tensor(rng.normal(size=(3, 3)), requires_grad=True) for _ in range(3))
    h, loss = np.zeros((1, 3)), 0.0
    for _, x in tg.steps(rng.normal(size=(3, 1, 3))):
        z, r = tg.sigmoid(x + h @ W_z), tg.sigmoid(x + h @ W_r)
        h = (1 - z) * np.tanh(x + (r * h) @ W_n) + z * h
        loss = loss + (h * h).sum()
    return loss


@pytest.mark.parametrize(("detail", "edges"), [("op", 4), ("cell", 1)])
def test_a_numpy_state_that_four_operations_use_is_one_box(detail: str, edges: int) -> None:
    scene = tg.viz.unrolled(tg.gradient_flow(gru_from_zeros()), detail=detail).scene
    (initial,) = (box for box in scene.boxes if box.kind == "initial")
    assert sum(edge.source == initial.id for edge in scene.edges) == edges


def scope_labels(scene: Scene) -> dict[str, tuple[float, float]]:
    return {each.line.text: (each.area[0], each.y) for each in scene.labels if each.id.startswith("scope_name")}


def test_a_phase_is_named_above_its_own_lanes() -> None:
    scene = tg.viz.unrolled(tg.gradient_flow(nets.seq2seq()), "op").scene
    named = scope_labels(scene)
    lanes = {lane.id: lane for lane in scene.lanes}
    for name, lane in (("encoder", lanes["lane_0"]), ("decoder", lanes["lane_3"])):
        x, y = named[name]
        assert lane.x <= x <= lane.right
        assert y < lane.y
    title = next(each for each in scene.labels if each.id == "title")
    assert title.area[3] < min(y for _, y in named.values()) - 5
    stacked = tg.viz.unrolled(tg.gradient_flow(nets.lstm(layers=2))).scene
    assert all(x < stacked.lanes[0].x for x, _ in scope_labels(stacked).values()), "layers are named beside the lanes"


@pytest.mark.parametrize("detail", ["op", "cell"])
def test_edges_of_attention_run_apart_and_not_over_the_labels_of_lanes(detail: str) -> None:
    scene = tg.viz.unrolled(tg.gradient_flow(nets.attention(S=6)), detail=detail).scene
    levels: dict[float, set[str]] = {}
    for edge in scene.edges:
        for (x0, y0), (x1, y1) in zip(edge.points[::3], edge.points[3::3], strict=False):
            if abs(y0 - y1) < 0.01 and abs(x0 - x1) > 60:
                levels.setdefault(round(y0, 2), set()).add(edge.source)
                for lane in scene.lanes:
                    left, top, right, bottom = lane.words.area
                    over = top < y0 < bottom and min(x0, x1) < (left + right) / 2 < max(x0, x1)
                    assert not over, (edge.id, lane.id)
    heights = sorted(levels)
    assert min(b - a for a, b in itertools.pairwise(heights)) > 4


def test_the_share_that_is_left_counts_uses_outside_the_loop() -> None:
    rng = np.random.default_rng(0)
    W = Tensor(0.4 * rng.normal(size=(3, 3)), requires_grad=True)
    h = np.zeros((1, 3))
    for _, x in tg.steps(rng.normal(size=(4, 1, 3))):
        h = np.tanh(x + h @ W)
    flow = tg.gradient_flow((h**2).sum() + 0.3 * (W**2).sum())
    (found,) = flow.weights()
    parts = [*flow.per_step(W), flow.outside(W)]
    apart = sum(np.linalg.norm(part) for part in parts)
    assert found.cancellation == pytest.approx(np.linalg.norm(flow.gradient(W)) / apart)
    said = {label.id: label.line.text for label in tg.viz.unrolled(flow).scene.labels}
    assert said["total_0"].endswith(f"{found.cancellation:.0%}")


@pytest.mark.parametrize("detail", ["op", "cell"])
def test_a_graph_without_steps_has_no_step_in_its_names(detail: str) -> None:
    scene = tg.viz.unrolled(tg.gradient_flow(nets.expression()), detail).scene
    assert {"L", "d", "f"} <= {box.lines[0].text for box in scene.boxes if box.lines}


def test_a_penalty_on_a_weight_stands_beside_the_loss() -> None:
    scene = tg.viz.unrolled(tg.gradient_flow(nets.penalised()), "op").scene
    squared = next(box for box in scene.boxes if box.lines and box.lines[0].text == "Whh ^ 2")
    assert squared.x > scene.lanes[-1].right


def loss_at_the_first_step(gated: bool) -> Tensor:
    """Two directions; in the first step long edges pass rows of boxes of unequal height."""
    rng = np.random.default_rng(0)
    W, U, V = (Tensor(rng.normal(size=size), requires_grad=True) for size in ((2, 4), (2, 4), (4, 2)))
    xs, ends = rng.normal(size=(3, 1, 2)), []
    for back in (False, True):
        h = np.zeros((1, 2))
        with tg.scope("backward" if back else "forward"):
            for t, x in tg.steps(xs, reverse=back):
                z = x @ W
                r = h @ U
                if gated:
                    u = tg.sigmoid(z[:, :2] + r[:, :2])
                    h = u * h + (1 - u) * np.tanh(z[:, 2:] + u * r[:, 2:])
                else:
                    a = z + r
                    h = tg.relu(a)[:, :2]
                if t == 0:
                    ends.append(h)
    for _, _ in tg.steps(xs[:1]):
        y = np.concatenate(ends, axis=1) @ V
        loss = (y * y).sum()
    return loss


@pytest.mark.parametrize("gated", [False, True])
def test_no_edge_runs_over_a_box(gated: bool) -> None:
    flow = tg.gradient_flow(loss_at_the_first_step(gated))
    drawn = [tg.viz.unrolled(flow, detail).scene for detail in ("op", "cell")]
    assert [edges_over_boxes(scene) for scene in [*drawn, tg.viz.rolled(flow).scene]] == [[], [], []]


def test_weights_are_linked_to_what_uses_them_and_not_to_what_follows_hidden_steps() -> None:
    scene = tg.viz.unrolled(tg.gradient_flow(nets.elman(T=9)), "op", weights="nodes", max_steps=3).scene
    boxes = {box.id: box for box in scene.boxes}
    linked = [(boxes[edge.source].lines[0].text, edge.target) for edge in scene.edges if edge.kind == "weight"]
    for step in (0, 7, 8):
        assert sorted(name for name, target in linked if target.startswith(f"t{step}_")) == [
            "Whh", "Why", "Wxh", "bh", "by"
        ]  # fmt: skip
    assert {boxes[target].kind for _, target in linked} == {"op"}


def test_a_loss_of_hidden_steps_keeps_clear_of_a_penalty_and_of_initial_states() -> None:
    rng = np.random.default_rng(0)
    U = tg.Tensor(rng.normal(size=(2, 2)), requires_grad=True, name="U")
    xs, loss, outs = rng.normal(size=(9, 1, 2)), 0.0, []
    for back in (False, True):
        h = np.zeros((1, 2))
        with tg.scope("backward" if back else "forward"):
            for _, x in tg.steps(xs, reverse=back):
                h = np.tanh(x + h @ U)
                outs.append(h)
    for t, _ in tg.steps(xs):
        if t in (3, 4):
            loss = loss + (outs[t] * outs[17 - t]).sum()
    loss = loss + (U * U).sum() * 0.1
    scene = tg.viz.unrolled(tg.gradient_flow(loss), "op", max_steps=4).scene
    assert edges_over_boxes(scene) == []


def test_gains_beside_the_hidden_steps_stand_as_those_between_lanes() -> None:
    """That of c above its edge, that of h below: one would cover the edge of the other."""
    scene = tg.viz.unrolled(tg.gradient_flow(nets.ALL["lstm, long"]()), detail="cell", max_steps=6).scene
    heights = {edge.id.removeprefix("e"): edge.points[-1][1] for edge in scene.edges if edge.kind == "state"}
    beside = [
        (label.y, heights[label.id.removeprefix("gain_")])
        for label in scene.labels
        if label.kind == "gain" and label.id.startswith("gain_")
    ]
    assert len(beside) == 12
    upper, lower = sorted({round(height, 1) for _, height in beside})
    assert all((y < upper) if round(height, 1) == upper else (y > lower) for y, height in beside)
