"""Parts of a picture that one hardly sees are wrong: paths, exchanged boxes, hints for Graphviz, names, stills."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import recurrent_nets as nets

import tinygrad_rnn as tg
from tinygrad_rnn import viz
from tinygrad_rnn.viz.dot import dot
from tinygrad_rnn.viz.lanes import LaneContent, _is_target
from tinygrad_rnn.viz.layout import _switch
from tinygrad_rnn.viz.style import themes
from tinygrad_rnn.viz.svg import path


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
