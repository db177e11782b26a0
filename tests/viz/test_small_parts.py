"""Parts of a picture that one hardly sees are wrong: paths, exchanged boxes, hints for Graphviz, names, stills."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import recurrent_nets as nets
from matplotlib.figure import Figure

import tinygrad_rnn as tg
from tinygrad_rnn import viz
from tinygrad_rnn.viz.arrange import _depths
from tinygrad_rnn.viz.diagram import Box
from tinygrad_rnn.viz.dot import dot
from tinygrad_rnn.viz.lanes import LaneContent, _is_target
from tinygrad_rnn.viz.layout import _switch
from tinygrad_rnn.viz.plots import _outline
from tinygrad_rnn.viz.rolled import _range
from tinygrad_rnn.viz.scene import Label, Scene
from tinygrad_rnn.viz.style import themes
from tinygrad_rnn.viz.svg import Writer, path
from tinygrad_rnn.viz.text import line


def test_a_path_is_its_curves_and_lines() -> None:
    curve = [(0.0, 0.0), (0.0, 10.0), (10.0, 10.0), (10.0, 0.0)]
    assert path(curve) == "M0 0C0 10 10 10 10 0"
    line = [(10.0, 0.0), (11.0, 1.0), (12.0, 2.0), (13.0, 3.0)]
    assert path([*curve, *line[1:], (13.0, 5.0), (15.0, 5.0), (19.0, 9.0)]) == (
        "M0 0C0 10 10 10 10 0L13 3C13 5 15 5 19 9"
    )


def test_neighbours_that_cross_are_exchanged() -> None:
    (first, second) = _switch([[0, 1], [2, 3]], {0: [3], 1: [2], 2: [], 3: []}, [0] * 4, 1.0)
    assert (first.index(0) < first.index(1)) == (second.index(3) < second.index(2))


def test_graphviz_is_told_to_keep_the_edges_of_a_lane_straight() -> None:
    text = dot(viz.unrolled(tg.gradient_flow(nets.elman(T=3))).scene, themes["light"], positions=False)
    told = {line.split(" [")[0]: "weight=8" in line for line in text.splitlines() if " -> " in line}
    within = {edge: edge.split("_")[0].strip() == edge.split(" -> ")[1].split("_")[0] for edge in told}
    assert told == within
    assert set(told.values()) == {False, True}


def test_in_a_still_picture_of_an_animation_nothing_is_seen_that_was_replaced() -> None:
    made = viz.animate(tg.gradient_flow(nets.elman(T=3)), "cell")
    text = made.svg()
    replaced = [clip for clip in made.clips if clip.stop is not None]
    assert text.count(' opacity="0">') == len(replaced) > 0
    boxes = [clip for clip in replaced if clip.shape.id in {box.id for box in made.scene.boxes if box.kind == "cell"}]
    assert len(boxes) == 3
    assert all(clip.faint for clip in boxes)


def test_an_input_that_only_its_reader_names_is_named() -> None:
    W, h = tg.Tensor(np.eye(3), requires_grad=True), np.zeros(3)
    tokens = tg.Tensor(np.ones((3, 3)), requires_grad=True, name="tokens")
    for t, _ in tg.steps(np.arange(3)):
        h = np.tanh(tokens[t] + h @ W)
    titles = [box.lines[0].text for box in viz.unrolled(h.sum()).scene.boxes if box.kind == "input"]
    assert titles == ["tokens[0]", "tokens[1]", "tokens[2]"]


@pytest.mark.parametrize("kind", ["state", "loss"])
def test_a_target_is_what_only_serves_the_loss(kind: str) -> None:
    boxes = [SimpleNamespace(kind=each) for each in ("input", "op", kind)]
    assert _is_target(LaneContent(boxes, [(0, 1), (1, 2)], [], [0] * 3, []), 0) == (kind == "loss")  # type: ignore[arg-type]


def test_text_of_another_size_says_so() -> None:
    writer = Writer(Scene(), themes["light"])
    assert "font-size" not in writer.shape(Label("a", 0.0, 0.0, line("a")))
    assert 'font-size="20"' in writer.shape(Label("a", 0.0, 0.0, line("a", size=20.0)))


def test_gains_of_a_loop_are_said_as_a_range() -> None:
    assert _range([0.5, 2.0, 1.0]) == "0.50 to 2.00, 3 times"
    assert _range([0.5, np.inf]) == "0.50, once; not finite once"


def test_the_outline_of_what_is_inside_runs_between_the_cells() -> None:
    inside = np.array([[True, False], [True, True]])
    assert _outline(inside, np.ones((2, 2), bool)) == [[(0.5, -0.5), (0.5, 0.5)], [(0.5, 0.5), (1.5, 0.5)]]


def test_hidden_steps_say_their_first_and_last_reach() -> None:
    flow = tg.gradient_flow(nets.elman(T=12))
    picture = viz.unrolled(flow, "cell", max_steps=4)
    shown = {int(lane.id.removeprefix("lane_")) for lane in picture.scene.lanes if lane.id != "hidden"}
    hidden = [float(norm) for k, norm in enumerate(tg.diagnose(flow.loss).layers[0].last) if k not in shown]
    (box,) = (box for box in picture.scene.boxes if box.id == "reach0_hidden")
    assert box.lines[0].text == f"{viz.strips.number(hidden[0])} … {viz.strips.number(hidden[-1])}"


def test_loops_of_a_rolled_picture_leave_the_middle_to_edges_that_go_on() -> None:
    for net, cells, aside in (("elman", 1, [0]), ("seq2seq", 2, [-16, 0]), ("lstm, two layers", 2, None)):
        scene = viz.rolled(tg.gradient_flow(nets.ALL[net]())).scene
        middle = {box.id: box.middle[1] for box in scene.boxes if box.kind == "cell"}
        loops = [edge for edge in scene.edges if edge.kind == "loop"]
        heights = [(loop.points[0][1] + loop.points[-1][1]) / 2 - middle[loop.source] for loop in loops]
        assert len(middle) == cells
        assert aside is None or heights == pytest.approx(aside)
        assert aside is not None or len({round(y) for y in middle.values()}) == 2, "each layer has a row of its own"
        said = {label.id: label.line.text for label in scene.labels}
        assert all("×" in said[f"{cell}_gain0_0"] and "times" in said[f"{cell}_gain0_1"] for cell in middle)


def test_a_picture_that_is_too_wide_shows_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["tinygrad_rnn.viz.unrolled"], "WIDTH", 600)
    lanes = viz.unrolled(tg.gradient_flow(nets.elman(T=6))).scene.lanes
    assert [lane.id for lane in lanes] == ["lane_0", "hidden", "lane_5"]


def test_a_box_beside_the_lanes_that_they_feed_stays_there() -> None:
    """The chain b, c, d is fed too; what is fed by nothing stands beside what uses it."""
    boxes = [Box("op", "after", [], ()) for _ in range(6)]
    a, b, c, d, penalty, loss = boxes
    edges = [("lane", a), ("lane", b), (b, c), (c, d), (d, loss), (a, loss), (penalty, loss)]
    links: list[Any] = [SimpleNamespace(source=source, target=target) for source, target in edges]
    assert _depths(boxes, links) == {a: 0, b: 0, c: 1, d: 2, penalty: 2, loss: 3}


def test_the_legend_names_the_reference_1() -> None:
    boxes = viz.unrolled(tg.gradient_flow(nets.elman(T=3))).scene.boxes
    said = {box.id: box.lines[0].text for box in boxes if box.id.startswith("scale_") and box.lines}
    assert said["scale_3"] == "1"
    assert said["scale_2"] == "0.1×"


def test_the_scale_of_a_picture_of_credit_is_in_powers_of_ten() -> None:
    axes = viz.plots.credit(np.eye(3), Figure().subplots(), decades=2)
    assert [label.get_text() for label in axes.figure.axes[1].get_yticklabels()] == [
        "1e-2",
        "1e-1",
        "1",
        "1e+1",
        "1e+2",
    ]


def test_two_arrays_of_one_shape_are_two_boxes() -> None:
    W, (h, c), loss = tg.Tensor(np.eye(3), requires_grad=True), np.ones((2, 1, 3)), 0.0
    h, c = h.copy(), c.copy()
    for _, x in tg.steps(np.ones((2, 1, 3))):
        c = np.tanh(c + x @ W)
        h = np.tanh(h + c @ W)
        loss = loss + (h * h).sum()
    boxes = viz.unrolled(tg.gradient_flow(loss)).scene.boxes
    assert sum(box.kind == "initial" for box in boxes) == 2


def test_two_constants_of_one_shape_are_two_boxes_and_one_used_twice_is_one() -> None:
    w, k = tg.Tensor(np.ones(2), requires_grad=True), np.array([1.0, 2.0])
    one, two = (viz.unrolled((w * k + other).sum()).scene.boxes for other in (k, k + 2))
    assert len(two) == len(one) + 1


def test_the_legend_says_how_a_plain_loop_gets_columns() -> None:
    W, h = tg.Tensor(np.eye(2) / 2, requires_grad=True), np.ones(2)
    one = tg.viz.unrolled(tg.gradient_flow((np.tanh(h @ W) ** 2).sum())).svg()
    for _ in range(4):
        h = np.tanh(h @ W)
    several = tg.viz.unrolled(tg.gradient_flow(h.sum())).svg()
    assert ["tg.steps" in text for text in (one, several)] == [False, True]
