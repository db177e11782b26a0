"""The unrolled graph as a picture: what is in it, where it is, and how it is written."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import recurrent_nets as nets
from picture_checks import (
    clipped,
    edges_over_boxes,
    graph_boxes,
    least_contrast,
    overlaps,
    smallest_text,
    solid,
)

import tinygrad_rnn as tg
from tinygrad_rnn import InputError, Tensor
from tinygrad_rnn.core.context import context
from tinygrad_rnn.viz.scene import Rect, Scene

GRAPHVIZ = shutil.which("dot") is not None
NAMES = sorted(nets.ALL)
SVG = "{http://www.w3.org/2000/svg}"


def draw(name: str, flow: bool = True, **options: object) -> Scene:
    loss = nets.ALL[name]()
    return tg.viz.unrolled(tg.gradient_flow(loss) if flow else loss, **{"detail": "op", **options}).scene


def text_of(shape: Rect) -> str:
    return "".join(run.text for run in shape.lines[0].runs) if shape.lines else ""


# ---------------------------------------------------------------------- where things are
@pytest.mark.parametrize("detail", ["op", "cell"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps(name: str, detail: str) -> None:
    for flow, weights in ((True, "strip"), (False, "nodes")):
        scene = draw(name, flow, detail=detail, weights=weights)
        assert overlaps(solid(scene)) == []
        assert clipped(scene) == []
        for a, b in itertools.pairwise(scene.lanes):
            assert a.right <= b.x


@pytest.mark.parametrize("name", NAMES)
def test_by_default_text_can_be_read_in_a_readme(name: str) -> None:
    for loss in (nets.ALL[name](), tg.gradient_flow(nets.ALL[name]())):
        scene = tg.viz.unrolled(loss).scene
        assert smallest_text(scene) >= 9.0
        text, edges = least_contrast(scene)
        assert text >= 4.5
        assert edges >= 3.0


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_inside_the_picture(name: str) -> None:
    scene = draw(name)
    for shape in [*scene.boxes, *scene.labels]:
        left, top, right, bottom = shape.area
        assert left >= 0
        assert top >= 0
        assert right <= scene.width
        assert bottom <= scene.height


@pytest.mark.parametrize("detail", ["op", "cell"])
@pytest.mark.parametrize("name", NAMES)
def test_edges_meet_their_boxes_and_run_around_the_others(name: str, detail: str) -> None:
    scene = draw(name, detail=detail)
    by_id = {box.id: box for box in graph_boxes(scene)}
    for edge in scene.edges:
        for end, point in ((edge.source, edge.points[0]), (edge.target, edge.points[-1])):
            if end in by_id:
                box = by_id[end]
                assert box.x - 0.1 <= point[0] <= box.right + 0.1, edge.id
                assert box.y - 0.1 <= point[1] <= box.bottom + 0.1, edge.id
    assert edges_over_boxes(scene) == []


def test_lanes_in_time_order_and_common_rows() -> None:
    for name in ("elman", "lstm, two layers", "bidirectional", "elman, many to one"):
        scene = draw(name)
        assert [lane.id for lane in scene.lanes] == [f"lane_{t}" for t in range(len(scene.lanes))]
        assert [lane.x for lane in scene.lanes] == sorted(lane.x for lane in scene.lanes)
        inputs = [box for box in scene.boxes if box.kind == "input"]
        assert len(inputs) == len(scene.lanes)
        assert len({box.middle[1] for box in inputs}) == 1, "one row for all x_t"
        assert min(box.y for box in inputs) > max(box.y for box in scene.boxes if box.kind == "state")
        losses = [box for box in scene.boxes if box.kind in ("loss", "total")]
        assert max(box.bottom for box in losses) < min(box.y for box in scene.boxes if box.kind == "state")
        rows = {box.middle[1] for box in scene.boxes if box.kind == "state"}
        assert len(rows) == {"lstm, two layers": 4, "bidirectional": 2}.get(name, 1)


def test_inputs_are_below_what_uses_them() -> None:
    scene = draw("lstm", flow=False)
    by_id = {box.id: box for box in graph_boxes(scene)}
    within = [e for e in scene.edges if e.source in by_id and e.source.split("_")[0] == e.target.split("_")[0]]
    assert within
    assert all(by_id[edge.source].y > by_id[edge.target].y for edge in within)


# ---------------------------------------------------------------------- what is said
def test_operations_carry_their_weights_and_states_their_step() -> None:
    words = [text_of(box) for box in graph_boxes(draw("elman", flow=False))]
    for expected in ("@ Wxh", "@ Whh", "+ bh", "h0", "h4", "x3", "l2"):
        assert expected in words, expected
    assert "h−1" in words, "the initial state has the step before the first"


def test_weights_without_a_name_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    made = [Tensor(rng.normal(size=size), requires_grad=True) for size in ((3, 3), (3, 3), (), 3)]
    h, loss = np.zeros((2, 3)), 0.0
    for _, x in tg.steps(rng.normal(size=(2, 2, 3))):
        h = np.tanh((x @ made[0] + h @ made[1]) * made[2] + made[3])
        loss = loss + (h * h).sum()
    flow = tg.gradient_flow(loss)
    scene = tg.viz.unrolled(flow).scene
    assert {"@ weight #1", "@ weight #2", "⊙ weight #3", "+ weight #4"} <= {text_of(box) for box in graph_boxes(scene)}
    strips = {text.line.text: text.tooltip for text in scene.labels if text.line.text.startswith("∂L/∂weight")}
    assert set(strips) == {f"∂L/∂weight #{at}" for at in (1, 2, 3, 4)}
    assert strips["∂L/∂weight #1"] == "weight #1, shape 3×3"
    for picture in (tg.viz.unrolled(flow, weights="nodes").svg(), tg.viz.page(flow).html()):
        assert "weight #4" in picture
        assert not re.search(r"[@+⊙] const", picture)


def test_running_sum_is_no_state() -> None:
    scene = draw("elman")
    assert sum(box.kind == "state" for box in scene.boxes) == 5
    assert len({round(box.middle[1], 6) for box in scene.boxes if box.kind == "total"}) == 1
    listed = draw("elman, losses in a list")
    assert len({round(box.middle[1], 6) for box in listed.boxes if box.kind == "total" or text_of(box) == "L"}) == 1


def test_before_backward_gradients_read_not_computed() -> None:
    loss = nets.elman()
    picture = tg.viz.unrolled(loss)
    assert "not computed" in picture.svg()
    assert not any(box.kind == "share" for box in picture.scene.boxes)
    assert all(edge.color == picture.scene.edges[0].color and not edge.backward for edge in picture.scene.edges)
    loss.backward()
    assert "not computed" not in tg.viz.unrolled(loss).svg()


def test_strips_norms_and_gains_are_those_of_the_flow() -> None:
    flow = tg.gradient_flow(nets.elman())
    scene = tg.viz.unrolled(flow, "op").scene
    said = {box.id: text_of(box) for box in scene.boxes}
    for number, weight in enumerate(flow.structure.shared_weights):
        for t, part in enumerate(flow.per_step(weight)):
            assert float(said[f"g{number}_{t}"]) == pytest.approx(np.linalg.norm(part), rel=0.06)
    gains = [float(label.line.text[1:]) for label in scene.labels if label.id.startswith("gain")]
    assert gains == pytest.approx([s.gain for s in flow.states() if s.gain is not None], rel=0.06)
    assert said["g1_0"] == "0", "h_0 = 0, so the first step contributes nothing to W_hh"


def test_long_sequences_are_elided_with_their_cumulative_gain() -> None:
    flow = tg.gradient_flow(nets.elman(T=40))
    scene = tg.viz.unrolled(flow, max_steps=16).scene
    shown = [*range(3), *range(27, 40)]
    assert [lane.id for lane in scene.lanes] == [
        *(f"lane_{t}" for t in range(3)),
        "hidden",
        *(f"lane_{t}" for t in shown[3:]),
    ]
    hidden = next(lane for lane in scene.lanes if lane.id == "hidden")
    assert hidden.hatched
    words = " ".join(label.line.text for label in scene.labels)
    assert "24 steps" in words
    states = {state.step: state for state in flow.structure.states}
    W_hh = next(weight for weight in flow.structure.shared_weights if weight.name == "W_hh")
    g = behind = flow.gradient(states[27])
    for t in range(27, 3, -1):
        g = (g * (1 - states[t].data ** 2)) @ W_hh.data.T
    assert f"×{render_number(float(np.linalg.norm(g) / np.linalg.norm(behind)))}" in words
    assert len(tg.viz.unrolled(flow, max_steps=None).scene.lanes) == 40


def render_number(value: float) -> str:
    from tinygrad_rnn.viz.text import number

    return number(value)


def test_zero_is_dotted_and_not_finite_is_double() -> None:
    W = Tensor([[1e200]], requires_grad=True)
    h, loss = np.array([[1.0]]), 0.0
    with np.errstate(all="ignore"):
        for _, x in tg.steps(np.ones((3, 1, 1))):
            h = (h + 0.0 * x) @ W
            loss = loss + (h * h).sum()
        flow = tg.gradient_flow(loss)
        scene = tg.viz.unrolled(flow).scene
    assert any(edge.dash == "double" for edge in scene.edges)
    assert any(edge.dash == "dotted" for edge in draw("lstm").edges), "f_0 multiplies c_-1 = 0"


def test_cuts_are_drawn_as_cuts() -> None:
    scene = draw("truncated")
    cuts = [edge for edge in scene.edges if edge.kind == "cut"]
    assert len(cuts) == 1
    assert cuts[0].source.startswith("t2_")
    assert cuts[0].target.startswith("t3_")
    assert any(label.kind == "cut" for label in scene.labels)


def test_inputs_and_targets_from_a_list_stand_in_their_lanes() -> None:
    scene = draw("listed")
    by_lane: dict[str, list[Rect]] = {}
    for box in scene.boxes:
        if box.kind == "input":
            by_lane.setdefault(box.id.split("_")[0], []).append(box)
    assert sorted(by_lane) == ["t0", "t1", "t2", "t3"]
    for x, y in by_lane.values():
        state = next(box for box in scene.boxes if box.kind == "state" and box.id.startswith(x.id[:2]))
        assert x.y > state.bottom
        assert y.bottom <= state.bottom, "a target stands by its loss"
    assert any(box.kind == "cut" and "detached" in box.lines[1].text for box in scene.boxes)


def test_shared_weights_are_drawn_once() -> None:
    scene = draw("elman", weights="nodes")
    weights = [box for box in scene.boxes if box.kind == "weight"]
    assert [text_of(box) for box in weights] == ["Wxh", "Whh", "bh", "Why", "by"]
    assert all(sum(edge.source == box.id for edge in scene.edges) == 5 for box in weights)


def test_shapes_and_values_on_demand() -> None:
    W = Tensor([[2.0]], requires_grad=True)
    h = np.zeros((1, 1))
    for _, x in tg.steps(np.ones((2, 1, 1))):
        h = np.tanh(x + h @ W)
    words = [line.text for box in tg.viz.unrolled(h.sum(), shapes=True, values=True).scene.boxes for line in box.lines]
    assert "1×1" in words
    assert {"data [1]", "data [0]"} <= set(words)


def test_tokens_stand_below_their_step() -> None:
    scene = draw("elman", tokens="hello")
    assert [lane.label.text for lane in scene.lanes] == [f"t = {t}  {c!r}" for t, c in enumerate("hello")]


# ---------------------------------------------------------------------- formats
def test_svg_is_well_formed_and_has_ids() -> None:
    root = ET.fromstring(tg.viz.unrolled(tg.gradient_flow(nets.lstm())).svg())
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert {"lane_0", "t0_0", "g0_0"} <= set(ids)
    assert root.find(f"{SVG}title") is not None
    assert root.find(f"{SVG}desc") is not None


def test_same_graph_same_bytes() -> None:
    first, second = (tg.viz.unrolled(tg.gradient_flow(nets.lstm(layers=2))) for _ in range(2))
    assert first.source == second.source
    assert first.svg() == second.svg()
    code = (
        "import sys; sys.path.insert(0, 'tests')\nimport recurrent_nets as nets, tinygrad_rnn as tg\n"
        "sys.stdout.buffer.write(tg.viz.unrolled(tg.gradient_flow(nets.lstm(layers=2))).source.encode())"
    )
    root = Path(__file__).parents[2]
    env = {"PYTHONHASHSEED": "7", "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    other = subprocess.run([sys.executable, "-c", code], cwd=root, env=env, capture_output=True, check=True)
    assert numberless(other.stdout.decode()) == numberless(first.source)


def numberless(source: str) -> str:
    """Without the last digits, in which two processes' linear algebra may differ."""
    return re.sub(r"\d+\.\d+(e-?\d+)?", "#", source)


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["elman_op", "elman_cell", "lstm_op", "truncated_op"])
def test_dot_text_is_the_golden_one(name: str, request: pytest.FixtureRequest) -> None:
    """`pytest --update-golden` writes these files anew, after the pictures have been looked at."""
    net, detail = name.split("_")
    loss = {"elman": lambda: nets.elman(T=3), "lstm": lambda: nets.lstm(T=2), "truncated": nets.truncated}[net]()
    source = tg.viz.unrolled(loss, detail=detail, max_steps=16).source
    path = GOLDEN / f"{name}.dot"
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
    assert source == path.read_text(encoding="utf-8")


@pytest.mark.skipif(not GRAPHVIZ, reason="needs the dot program")
@pytest.mark.parametrize("name", ["elman", "lstm", "bidirectional", "embedded", "elman, long"])
def test_graphviz_puts_boxes_where_the_scene_has_them(name: str) -> None:
    picture = tg.viz.unrolled(tg.gradient_flow(nets.ALL[name]()))
    done = subprocess.run(
        ["dot", "-Tplain"], input=picture.source.encode(), capture_output=True, timeout=30, check=True
    )
    assert done.stderr == b""
    placed = {}
    for line in done.stdout.decode().splitlines():
        words = line.split(" ")
        if words[0] == "node":
            placed[words[1]] = (float(words[2]) * 72, float(words[3]) * 72)
    boxes = graph_boxes(picture.scene)
    xs = [placed[box.id][0] - box.middle[0] for box in boxes]
    ys = [placed[box.id][1] + box.middle[1] for box in boxes]
    assert max(xs) - min(xs) < 1
    assert max(ys) - min(ys) < 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"detail": "layer"}, "detail='layer'"),
        ({"weights": "all"}, "weights='all'"),
        ({"max_steps": 1}, "max_steps=1"),
        ({"reference": 0.0}, "reference=0, expected a norm above 0"),
    ],
)
def test_options_are_checked(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        tg.viz.unrolled(nets.elman(T=2), **options)


def test_a_loss_without_a_graph_is_refused() -> None:
    with pytest.raises(tg.GraphError):
        tg.viz.unrolled(Tensor(1.0))


HOSTILE = [
    'a"b\\" ]; evil [label="x',
    "<script>alert(1)</script>",
    "line\nbreak\r\ttab\x00\x1b",
    "中文 ∂ȯ\u0301 🙂 \u202e",
    "&amp; &lt; ]]> --> -- {|}",
    "x" * 10_000,
    "\\N \\G \\l \\",
    " ",
]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("detail", ["op", "cell"])
def test_hostile_names(name: str, detail: str) -> None:
    W = Tensor([[0.5]], requires_grad=True, name=name)
    h, loss = Tensor([[0.1]], requires_grad=True, name=name), 0.0
    with context(scope=name):  # tg.scope refuses some of them
        for _, x in tg.steps(np.ones((3, 1, 1))):
            h = np.tanh(x + h @ W)
            h.name = name
            loss = loss + (h * h).sum()
    loss.name = name
    picture = tg.viz.unrolled(tg.gradient_flow(loss), detail=detail, title=name, tokens=[name] * 3)
    text = picture.svg()
    root = ET.fromstring(text)
    assert len(text) < 200_000
    assert "<script" not in text
    shapes = {"svg", "title", "desc", "defs", "pattern", "rect", "path", "g", "text", "tspan", "polygon"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= shapes
    expected = len([box for box in picture.scene.boxes if box.kind == "state" or box.kind == "cell"])
    assert expected == 3
    if GRAPHVIZ:
        done = subprocess.run(
            ["dot", "-Tsvg"], input=picture.source.encode(), capture_output=True, timeout=30, check=True
        )
        drawn = ET.fromstring(done.stdout)
        assert done.stderr.decode().strip() == ""
        nodes = [e for e in drawn.iter(f"{SVG}g") if (e.get("class") or "").split(" ")[0] == "node"]
        assert len(nodes) == len(picture.scene.boxes) + len(picture.scene.labels) + len(picture.scene.backdrops)
        assert not any(element.tag.endswith("script") for element in drawn.iter())


@pytest.mark.parametrize("T", [50, 200])
def test_all_steps_are_drawn_where_that_is_wanted(T: int) -> None:
    """How long it takes is measured by `benchmarks/drawing.py`."""
    picture = tg.viz.unrolled(tg.gradient_flow(nets.elman(T=T)), max_steps=None)
    assert len(picture.scene.lanes) == T
    assert f"t = {T - 1}<" in picture.svg()
    if GRAPHVIZ:
        assert f"t = {T - 1}<".encode() in picture.pipe("svg", "dot")


def test_a_state_that_is_added_to_keeps_its_name_at_every_step() -> None:
    """`v = v + ...` uses the v before it at the same place in the code, and is no composed function for that."""
    K = tg.Tensor(0.5 * np.eye(2), requires_grad=True)
    y, v = np.zeros(2), np.zeros(2)
    for _, x in tg.steps(np.ones((3, 2))):
        v = v + 0.3 * (np.tanh(y @ K + x) - y)
        y = y + 0.3 * v
    flow = tg.gradient_flow((y * y).sum())
    text = tg.viz.unrolled(flow, detail="cell").svg()
    assert "v₀, y₀ → v₁, y₁" in text
    assert "v₁, y₁ → v₂, y₂" in text
    assert "h₀" not in text
