"""What pictures say must be true: the strips add up, names are the user's, titles count what is drawn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor
from tinygrad_rnn.viz.route import CORNER
from tinygrad_rnn.viz.scene import Rect, Scene
from tinygrad_rnn.viz.text import number


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
    assert total.area[0] >= outside.right
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
    assert scene.title.startswith("5 steps, rolled up; ")
    words = " ".join(line.text for box in scene.boxes for line in box.lines)
    assert "− …" in words, "no step's target stands for all"
    assert "0.3" not in words
    last = tg.viz.rolled(tg.gradient_flow(regression(each=False))).scene
    assert len(last.lanes) == 2
    assert last.title.startswith("5 steps, rolled up into 2 kinds; ")


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


# ---------------------------------------------------------------------- numbers that were false
def network(steps: int, H: int = 3, cut: int | None = None, scale: float = 1.0, order: int = 1) -> Tensor:
    """A tanh RNN with a loss at every step, cut off from its past before one of them."""
    rng = np.random.default_rng(0)
    W, V = (Tensor(0.5 * rng.normal(size=(H, H)), requires_grad=True) for _ in range(2))
    h = before = np.zeros((1, H))
    loss = 0.0
    for t, x in tg.steps(rng.normal(size=(steps, 1, H))):
        h = tg.truncate(h) if t == cut else h
        z = x + h @ W
        if order == 2:
            z = z + before @ V
            before = h
        h = np.tanh(z)
        loss = loss + (h * h).sum() * scale
    return loss


def test_what_is_not_finite_is_not_rolled_up_into_zero() -> None:
    W = Tensor([[1e160]], requires_grad=True)
    h, loss = np.array([[1.0]]), 0.0
    with np.errstate(all="ignore"):
        for _, x in tg.steps(np.ones((4, 1, 1))):
            h = (h + 0.0 * x) @ W
            loss = loss + (h * h).sum()
        scene = tg.viz.rolled(tg.gradient_flow(loss)).scene
    words = [label.line.text for label in scene.labels]
    assert "h: ×NaN a step" in words
    assert not any("×0" in text for text in words)
    assert [edge.dash for edge in scene.edges if edge.kind == "loop"] == ["double"]
    assert "first not finite: multiply" in scene.title


def test_a_cut_is_seen_where_its_step_is_not_drawn() -> None:
    flow = tg.gradient_flow(network(20, cut=9))
    scene = tg.viz.unrolled(flow, "cell", max_steps=8).scene
    assert labels_of(scene)["hidden_cut"] == "✂ t = 9"
    assert labels_of(scene)["hidden_gain_0"] == "×0"
    rolled = [label.line.text for label in tg.viz.rolled(flow).scene.labels]
    assert "✂ t = 9" in rolled
    assert any("18 times" in text for text in rolled), "of 19 passes one is cut"
    for cut, ends in ((3, ("t2_0", "hidden")), (15, ("hidden", "t15_0"))):
        drawn = tg.viz.unrolled(tg.gradient_flow(network(20, cut=cut)), "cell", max_steps=8).scene
        (edge,) = (edge for edge in drawn.edges if edge.kind == "cut")
        assert [edge.source.split("_")[0], edge.target.split("_")[0]] == [end.split("_")[0] for end in ends]
    assert "hidden_cut" not in labels_of(tg.viz.unrolled(tg.gradient_flow(network(20)), "cell", max_steps=8).scene)


def lstm_steps(
    W: Tensor, U: Tensor, h: object, c: object, xs: np.ndarray, start: int = 0
) -> list[tuple[Tensor, Tensor]]:
    states = []
    for _, x in tg.steps(xs, start=start):
        i, f, o, g = np.split(x @ W + h @ U, 4, axis=1)
        c = tg.sigmoid(f) * c + tg.sigmoid(i) * np.tanh(g)
        h = tg.sigmoid(o) * np.tanh(c)
        states.append((h, c))
    return states


@pytest.mark.parametrize("every", [True, False])
def test_what_gets_through_the_gap_of_an_lstm_is_that_of_h_and_c_together(every: bool) -> None:
    rng = np.random.default_rng(0)
    W, U = (Tensor(0.8 * rng.normal(size=(3, 12)), requires_grad=True) for _ in range(2))
    xs, zero = rng.normal(size=(20, 1, 3)), np.zeros((1, 3))
    states = lstm_steps(W, U, zero, zero, xs)
    losses = [(h * h).sum() for h, _ in states] if every else [(states[-1][0] ** 2).sum()]
    flow = tg.gradient_flow(sum(losses))
    scene = tg.viz.unrolled(flow, "cell", max_steps=8).scene  # steps 3 to 14 are hidden
    h, c = (Tensor(part.data, requires_grad=True) for part in states[3])
    again = lstm_steps(W, U, h, c, xs[4:16], start=4)
    seed_h = flow.gradient(states[15][0])
    h_15, c_15 = (Tensor(part.data, requires_grad=True) for part in states[15])
    after = lstm_steps(W, U, h_15, c_15, xs[16:], start=16)
    (sum((h * h).sum() for h, _ in after) if every else (after[-1][0] ** 2).sum()).backward()
    seed_c = c_15.grad  # apart from what c gets through the h of its own step
    ((again[-1][0] * seed_h).sum() + (again[-1][1] * seed_c).sum()).backward()
    through = np.hypot(*map(np.linalg.norm, (h.grad, c.grad))) / np.hypot(*map(np.linalg.norm, (seed_h, seed_c)))
    assert labels_of(scene)["hidden_gain_0"] == f"(c,h) ×{number(float(through))}"
    if not every:
        last = tg.diagnose(flow.loss).layers[0].last
        assert through == pytest.approx(last[3] / last[15], rel=1e-9), "and of one loss what its reach says"


def test_a_state_that_is_read_two_steps_on_has_a_loop_for_each() -> None:
    flow = tg.gradient_flow(network(8, order=2))
    (row,) = flow.structure.rows
    scene = tg.viz.rolled(flow).scene
    assert sum(edge.kind == "loop" for edge in scene.edges) == 2
    said = [label.line.text for label in scene.labels]
    for lag, words in ((1, "h"), (2, "h, 2 steps on")):
        sent = [
            np.linalg.norm(sum(flow.edge(u, i) for u, i in flow.structure.consumers(h) if u.step == h.step + lag))
            / flow.norm(row[h.step + lag])
            for h in row[:-lag]
        ]
        assert f"{words}: ×{number(float(np.exp(np.mean(np.log(sent)))))} a step" in said


def test_weights_as_nodes_are_linked_to_what_uses_them_in_another_form() -> None:
    rng = np.random.default_rng(0)
    W = Tensor(0.5 * rng.normal(size=(3, 3)), requires_grad=True)
    V = W.T
    h, loss = np.zeros((1, 3)), 0.0
    for _, x in tg.steps(rng.normal(size=(4, 1, 3))):
        h = np.tanh(x @ W.T + h @ V)
        loss = loss + ((h @ W) ** 2).sum()
    flow = tg.gradient_flow(loss)
    scene = tg.viz.unrolled(flow, "op", weights="nodes").scene
    edges = [edge for edge in scene.edges if edge.source == "weights_0"]
    assert len(edges) == 4 * 3
    by_id = {box.id: box for box in scene.boxes}
    plain = [edge for edge in edges if "Wᵀ" in words_of(by_id[edge.target])]
    assert len(plain) == 4
    use = next(
        u for u, _ in flow.structure.consumers(W) if u.step == 2 and u.primitive.name in ("transpose", "swapaxes")
    )
    sent = f"gradient sent back {number(float(np.linalg.norm(flow.gradient(use))))}"
    assert sent in next(edge.tooltip for edge in plain if edge.target.startswith("t2"))


def test_the_legend_shows_the_colours_that_occur() -> None:
    for loss in (network(4), network(12), network(2, scale=1e-3), elman(6, penalty=0.3)):
        scene = tg.viz.unrolled(tg.gradient_flow(loss), "cell").scene
        legend = {box.fill for box in scene.boxes if box.kind == "legend" and box.lines}
        names = {edge.color for edge in scene.edges} | {box.fill for box in scene.boxes if box.kind != "legend"}
        levels = {round(float(name.split()[1])) for name in names if name.startswith(("scale ", "tint "))}
        assert legend == {f"scale {level}" for level in levels}


def test_the_title_speaks_of_every_layer() -> None:
    rng = np.random.default_rng(0)
    U = [Tensor(scale * np.linalg.qr(rng.normal(size=(4, 4)))[0], requires_grad=True) for scale in (1.0, 0.2)]
    a = b = np.zeros((1, 4))
    for _, x in tg.steps(rng.normal(size=(15, 1, 4))):
        with tg.scope("slow"):
            a = x + a @ U[0]
        with tg.scope("fast"):
            b = a + b @ U[1]
    flow = tg.gradient_flow((b**2).sum() + (a**2).sum())
    for scene in (tg.viz.unrolled(flow).scene, tg.viz.rolled(flow).scene):
        assert "fast vanishing: " in scene.title
        assert "slow healthy" in scene.title
    found = tg.diagnose(flow.loss)
    ax = tg.viz.plots.credit(found)
    assert ax.get_title().replace("\n", " ").startswith("slow healthy: ")
    assert ax.get_title().endswith("fast vanishing")


def test_the_title_of_a_few_steps_says_what_there_is_to_see() -> None:
    loss = network(4)
    (layer,) = tg.diagnose(loss).layers
    share = f"{100 * layer.last[0] / layer.last[3]:.2g}%"
    title = tg.viz.unrolled(tg.gradient_flow(loss)).scene.title
    assert title.startswith(f"3 steps back {share} of the gradient arrives, ×")
    assert " from lag " not in title  # the factor is that of all three
    long = network(7)
    (layer,) = tg.diagnose(long).layers
    curve = layer.last[::-1] / layer.last[-1]
    slope = np.exp(np.polyfit(np.arange(1, 7), np.log(curve[1:]), 1)[0])
    title = tg.viz.unrolled(tg.gradient_flow(long)).scene.title
    assert f" of the gradient arrives, ×{slope:.2f} a step from lag 1 on (" in title
    assert tg.viz.unrolled(tg.gradient_flow(network(2))).scene.title.startswith("1 step back ")


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_norms_neither_overflow_nor_underflow_on_the_way(scale: float) -> None:
    flows = [tg.gradient_flow(network(12, scale=s)) for s in (1.0, scale)]
    plain, scaled = (tg.viz.unrolled(flow, "cell", max_steps=8).scene for flow in flows)
    assert plain.title == scaled.title
    found = [{box.id: words_of(box).lstrip("Σ ").split(" … ")[0] for box in scene.boxes} for scene in (plain, scaled)]
    for box in plain.boxes:
        if box.kind in ("share", "reach") and float(found[0][box.id]):
            assert float(found[1][box.id].strip("… ")) == pytest.approx(float(found[0][box.id]) * scale, rel=0.1)
    gains = [[label.line.text for label in scene.labels if label.kind == "gain"] for scene in (plain, scaled)]
    assert gains[0] == gains[1]


def attention(start: int) -> tuple[Tensor, list[Tensor]]:
    """An encoder of 4 steps, a decoder of 3 that begins with its last state and attends to all, and their states."""
    rng = np.random.default_rng(0)
    E, D, C = (Tensor(rng.normal(0, 0.5, (3, 3)), requires_grad=True) for _ in range(3))
    h, states = np.zeros(3), []
    for _, x in tg.steps(rng.normal(size=(4, 3))):
        h = np.tanh(x + h @ E)
        states.append(h)
    K, s, loss = tg.stack(states), h, 0.0
    for _, y in tg.steps(rng.normal(size=(3, 3)), start=start):
        s = np.tanh(s @ D + (tg.softmax(K @ s) @ K) @ C)
        states.append(s)
        loss = loss + tg.squared_error(s, y)
    return loss, states


@pytest.mark.parametrize("start", [0, 4])
def test_the_gain_from_a_decoder_is_relative_to_its_state_however_its_steps_are_counted(start: int) -> None:
    loss, states = attention(start)
    flow = tg.gradient_flow(loss)
    last, first = states[3], states[4]
    uses = [(user, i) for user, i in flow.structure.consumers(last) if user.step == start and user.index < first.index]
    sent = np.linalg.norm(np.sum([flow.edge(user, i) for user, i in uses], axis=0))
    norm = flow.norm(first)
    assert norm is not None
    said = set(labels_of(tg.viz.unrolled(flow, "cell").scene).values())
    wrong = f"×{number(sent / (flow.norm(states[0]) or 1))}"
    assert wrong not in said, "not to that of the encoder's step of the same number"
    assert f"×{number(sent / norm)}" in said


def test_what_a_decoder_attends_to_is_in_the_rolled_picture_and_nothing_stands_under_its_loop() -> None:
    scene = tg.viz.rolled(tg.gradient_flow(attention(4)[0])).scene
    boxes = {box.id: box for box in scene.boxes}
    (K,) = (box.id for box in scene.boxes if box.lines and words_of(box).startswith("K"))
    (decoder,) = (edge.source for edge in scene.edges if edge.kind == "loop" and boxes[edge.source].x > boxes[K].x)
    assert (K, decoder) in {(edge.source, edge.target) for edge in scene.edges}
    beside = [box for box in scene.boxes if box.kind == "input" and box.area[1] < boxes[decoder].middle[1] < box.bottom]
    assert beside
    assert all(box.right <= boxes[decoder].x for box in beside)


def test_the_legend_says_which_loss_is_the_last_of_a_layer_that_runs_backward() -> None:
    for bidirectional in (False, True):
        out, _ = tg.nn.RNN(2, 3, bidirectional=bidirectional, rng=0)(np.ones((4, 1, 2)))
        legend = " ".join(labels_of(tg.viz.unrolled(tg.gradient_flow((out * out).sum())).scene).values())
        assert ("where time runs backward, the last loss is that of the earliest step" in legend) is bidirectional


def masked(steps: int) -> tuple[Tensor, Tensor]:
    """Through a mask goes one recurrent weight, by the input is multiplied another; every other step has a loss."""
    W = Tensor(np.full((2, 2), 0.3), requires_grad=True)
    A = Tensor(np.full((1, 2, 2), 0.3), requires_grad=True)
    mask, h, loss = np.tril(np.ones((2, 2))), np.zeros(2), 0.0
    for t, x in tg.steps(np.ones((steps, 1))):
        h = np.tanh(h @ (W * mask) + np.einsum("i,j,ijk->k", x, h + 1, A))
        if t % 2:
            loss = loss + (h * h).sum()
    return loss, A


def test_an_array_that_all_steps_read_is_no_input_of_each_and_every_operation_names_its_weight() -> None:
    loss, _ = masked(4)
    scene = tg.viz.unrolled(loss, "op").scene
    said = [" ".join(line.text for line in box.lines) for box in scene.boxes]
    assert said.count("W ⊙ const") == said.count("einsum A") == 4
    assert not any(words.startswith("data") for words in said)
    nodes = tg.viz.unrolled(loss, "op", "nodes").scene
    assert [" ".join(line.text for line in box.lines) for box in nodes.boxes].count("einsum") == 4  # an edge says it


def test_gains_between_two_kinds_of_steps_say_which_way_each_goes() -> None:
    loss, _ = masked(6)
    flow = tg.gradient_flow(loss)
    scene = tg.viz.rolled(flow).scene
    gains = [record.gain for record in flow.states() if record.gain is not None]
    onward, around = (number(float(np.exp(np.mean(np.log(gains[first::2]))))) for first in (0, 1))  # no loss, a loss
    said = {label.line.text for label in scene.labels if label.id.startswith("between")}
    assert said == {f"→ ×{onward}", f"← ×{around}"}
    assert any("which way the state is handed on" in label.line.text for label in scene.labels)


def test_a_worksheet_has_a_gap_for_every_entry_and_no_gradient() -> None:
    loss, _ = masked(2)
    loss.backward()  # whether there is one or not
    flow = tg.gradient_flow(loss)
    for source in (loss, flow):
        scene = tg.viz.unrolled(source, "op", "nodes", values="gaps", title="Find it").scene
        told = {box.id: [line.text for line in box.lines] for box in scene.boxes}
        words = [lines[-1] for lines in told.values() if any(text.startswith("data ") for text in lines)]
        gaps = [text for text in words if text.startswith("grad ")]
        assert all(set(text) <= set("grad [],_") for text in gaps)
        assert len(gaps) == len(flow.structure.nodes) + 2  # and the two weights, but neither inputs nor the first state
        assert not any(label.kind == "gain" for label in scene.labels)
        assert any("entry by entry" in label.line.text for label in scene.labels)


def reader_and_writer() -> Tensor:
    """Attention over what was read: a context comes from the memory and not from the last state."""
    rng = np.random.default_rng(5)
    R, Q, O = (Tensor(rng.normal(size=shape), requires_grad=True) for shape in ((3, 3), (3, 3), (6, 4)))
    h, read, loss = np.zeros(3), [], 0.0
    for _, x in tg.steps(rng.normal(size=(3, 3))):
        h = np.tanh(x + h @ R)
        read.append(h)
    memory, d = tg.stack(read), h
    for _, word in tg.steps([1, 0, 2], start=3):
        a = tg.softmax(memory @ (d @ Q))
        context = a @ memory
        d = np.tanh(context + d @ R)
        loss = loss + tg.softmax_cross_entropy(np.concatenate([d, context]) @ O, word)
    return loss


@pytest.mark.parametrize("detail", ["op", "cell"])
def test_edges_of_two_sources_do_not_run_on_one_line_between_two_lanes(detail: str) -> None:
    scene = tg.viz.unrolled(reader_and_writer(), detail).scene
    runs = []
    for edge in scene.edges:
        corners = edge.points[::3]
        runs += [
            (round(y0), min(x0, x1) - CORNER, max(x0, x1) + CORNER, edge.source)  # with its round corners
            for (x0, y0), (x1, y1) in pairwise(corners)
            if abs(y0 - y1) < 0.5 and abs(x0 - x1) > 1
        ]
    shared = [
        (a, b) for a in runs for b in runs if a[3] < b[3] and a[0] == b[0] and min(a[2], b[2]) - max(a[1], b[1]) > 1
    ]
    assert not shared


def test_what_is_made_of_several_steps_bears_the_number_of_none() -> None:
    scene = tg.viz.unrolled(reader_and_writer(), "cell").scene
    words = {words_of(box) for box in scene.boxes}
    assert "memory" in words
    assert not any(word.startswith("memory") and word != "memory" for word in words)
