"""What pictures say must be true: the strips add up, names are the user's, titles count what is drawn."""

from __future__ import annotations

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.viz.scene import Rect, Scene


def words_of(box: Rect) -> str:
    return "".join(run.text for run in box.lines[0].runs) if box.lines else ""


def labels_of(scene: Scene) -> dict[str, str]:
    return {label.id: label.line.text for label in scene.labels}


def elman(steps: int, penalty: float = 0.0, target: bool = False) -> Tensor:
    """A tanh RNN of 3 units with one loss, on the last state or on all, and a penalty on W outside the loop."""
    rng = np.random.default_rng(0)
    W = Tensor(0.4 * rng.normal(size=(3, 3)), requires_grad=True)
    h = np.zeros((1, 3))
    loss = 0.0
    for _, x in tg.steps(rng.normal(size=(steps, 1, 3))):
        h = np.tanh(x + h @ W)
        if not target:
            loss = loss + (h**2).mean()
    if target:
        loss = tg.squared_error(h, np.ones((1, 3)))
    return loss + penalty * (W**2).sum() if penalty else loss


@pytest.mark.parametrize("max_steps", [16, 4])
def test_the_strip_of_a_weight_used_inside_and_outside_sums_to_its_gradient(max_steps: int) -> None:
    loss = elman(6, penalty=0.3)
    flow = tg.gradient_flow(loss)
    (W,) = flow.structure.shared_weights
    loss.backward()
    whole = float(np.linalg.norm(W.grad))
    scene = tg.viz.unrolled(flow, max_steps=max_steps).scene
    cells = {box.id: box for box in scene.boxes if box.kind == "share"}
    outside = cells["g0_outside"]
    assert outside.tooltip.endswith(f"{np.linalg.norm(0.6 * W._array):.4g}")
    total = next(label for label in scene.labels if label.id == "total_0")
    assert f"|sum of G_t| = {whole:.4g}" in total.tooltip
    assert total.left >= outside.right
    np.testing.assert_allclose(flow.per_step(W).sum(axis=0) + flow.outside(W), W.grad, rtol=1e-12)
    plain = tg.viz.unrolled(tg.gradient_flow(elman(6))).scene
    assert "g0_outside" not in {box.id for box in plain.boxes}, "a cell only where there is something outside"


@pytest.mark.parametrize("limit", [4, 7, 16])
def test_max_steps_is_the_number_of_steps_drawn(limit: int) -> None:
    scene = tg.viz.unrolled(tg.gradient_flow(elman(20)), max_steps=limit).scene
    drawn = [lane for lane in scene.lanes if lane.id != "hidden"]
    assert len(drawn) == limit
    (gap,) = (lane for lane in scene.lanes if lane.id == "hidden")
    assert gap.tooltip == f"{20 - limit} steps hidden"


def test_a_made_up_name_is_no_variable_of_the_user() -> None:
    rng = np.random.default_rng(0)
    W1, U1, W2 = (Tensor(rng.normal(size=(3, 3)), requires_grad=True) for _ in range(3))
    h = k = np.zeros((1, 3))
    for _, x in tg.steps(rng.normal(size=(3, 1, 3))):
        h = np.tanh(x @ W1 + h @ U1)
        k = np.tanh(h @ W2 + k)
    flow = tg.gradient_flow(k.sum())
    names = [flow.structure.weight_name(weight) for weight in (W1, U1, W2)]
    assert names == ["weight #1", "weight #2", "weight #3"]
    labels = labels_of(tg.viz.unrolled(flow).scene)
    assert [labels[f"strip_{at}"] for at in range(3)] == [f"∂L/∂{name}" for name in names]


def regression(each: bool) -> Tensor:
    """A net with one output and a target of one number at each step."""
    rng = np.random.default_rng(0)
    W = Tensor(0.4 * rng.normal(size=(3, 3)), requires_grad=True)
    V = Tensor(rng.normal(size=(3, 1)), requires_grad=True)
    h, loss = np.zeros((1, 3)), 0.0
    targets = np.array([[0.1], [0.2], [0.3], [0.4], [0.5]])
    for t, x in tg.steps(rng.normal(size=(5, 1, 3))):
        h = np.tanh(x + h @ W)
        if each or t == 4:
            y = h @ V
            e = y - targets[t]
            loss = loss + (e * e).sum()
    return loss


def test_steps_that_differ_in_a_number_only_roll_up_into_one() -> None:
    scene = tg.viz.rolled(tg.gradient_flow(regression(each=True))).scene
    assert [lane.label.text for lane in scene.lanes] == ["t = 0 … 4"]
    assert scene.title == "5 steps, rolled up"
    words = " ".join(line.text for box in scene.boxes for line in box.lines)
    assert "− …" in words, "no step's target stands for all"
    assert "0.3" not in words
    last = tg.viz.rolled(tg.gradient_flow(regression(each=False))).scene
    assert len(last.lanes) == 2
    assert last.title == "5 steps, rolled up into 2 kinds"


def test_a_graph_without_steps_draws_its_leaves() -> None:
    a, b = Tensor(2.0, requires_grad=True), Tensor(np.ones(3), requires_grad=True)
    x = Tensor(np.arange(3.0))
    W = Tensor(np.eye(3), requires_grad=True)
    loss = (a * b * x @ W.T * 0.5).sum()
    scene = tg.viz.unrolled(tg.gradient_flow(loss)).scene
    boxes = {words_of(box): box for box in scene.boxes if box.kind == "input"}
    assert set(boxes) == {"a", "b", "x", "W"}
    ends = {edge.source for edge in scene.edges} | {edge.target for edge in scene.edges}
    assert {box.id for box in boxes.values()} <= ends
