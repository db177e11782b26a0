"""The rolled view, the recipe for plain dot, the plots and the stepping page."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import recurrent_nets as nets
from picture_checks import story_of

import tinygrad_rnn as tg
from tinygrad_rnn import GraphError, InputError, Tensor
from tinygrad_rnn.viz import plots
from tinygrad_rnn.viz.lanes import LaneContent, _assign_rows
from tinygrad_rnn.viz.layout import tile
from tinygrad_rnn.viz.style import decades, stroke_width, themes
from tinygrad_rnn.viz.text import Line, in_line, name_runs, number, shorten, width, words_runs

GRAPHVIZ = shutil.which("dot") is not None


class Trained:
    """A tanh RNN with a loss at every step, and everything that can be drawn of it."""

    def __init__(self, radius: float = 0.5, T: int = 12, H: int = 4) -> None:
        rng = np.random.default_rng(0)
        self.W_xh = Tensor(rng.normal(size=(3, H)) * 0.5, requires_grad=True, name="W_xh")
        self.W_hh = Tensor(radius * np.linalg.qr(rng.normal(size=(H, H)))[0], requires_grad=True, name="W_hh")
        h: Any = np.zeros((1, H))
        self.losses, self.states = [], []
        for _, x in tg.steps(rng.normal(size=(T, 1, 3))):
            h = np.tanh(x @ self.W_xh + h @ self.W_hh)
            self.states.append(h)
            self.losses.append((h * h).sum())
        self.flow = tg.gradient_flow(sum(self.losses))
        self.diagnosis = tg.diagnose(self.losses, self.states)


@pytest.fixture(scope="module")
def trained() -> Trained:
    return Trained()


# ---------------------------------------------------------------------- geometry and words
def lane(aligns: list[str | None], edges: list[tuple[int, int]]) -> LaneContent:
    boxes: list[Any] = [SimpleNamespace(kind="op", scope="", align=align) for align in aligns]
    return LaneContent(boxes, edges, [], [0] * len(boxes), [])


def test_rows_are_longest_paths_and_common_to_all_lanes() -> None:
    one = lane([None, None, None, None], [(0, 1), (1, 2), (0, 3), (2, 3)])
    two = lane([None, "state", None], [(0, 1), (1, 2)])
    three = lane([None, None, None, "state"], [(0, 1), (1, 2), (2, 3)])
    assert _assign_rows([one, two, three])["state"] == 3
    assert [each.rows for each in (one, two, three)] == [[0, 1, 2, 3], [2, 3, 4], [0, 1, 2, 3]]


@pytest.mark.parametrize("seed", range(30))
def test_tiles_never_overlap_and_bend_where_edges_pass(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 25))
    edges = [(int(rng.integers(0, b)), b) for b in range(1, count) for _ in range(int(rng.integers(1, 3)))]
    widths = list(rng.uniform(10, 80, count))
    content = lane([None] * count, edges)
    _assign_rows([content])
    rows = content.rows
    made = tile(widths, rows, edges, list(rng.integers(-1, 2, count)))
    assert made.width >= max(widths) - 0.01
    for a in range(count):
        assert made.xs[a] - widths[a] / 2 + 0.01 >= 0
        assert made.xs[a] + widths[a] / 2 <= made.width + 0.01
        for b in range(a):
            if rows[a] == rows[b]:
                assert abs(made.xs[a] - made.xs[b]) >= (widths[a] + widths[b]) / 2 - 0.01
    for (source, target), bends in zip(edges, made.bends, strict=True):
        assert len(bends) == rows[target] - rows[source] - 1


def test_a_chain_is_straight_and_crossings_are_avoided() -> None:
    chain = tile([30, 60, 20], [0, 1, 2], [(0, 1), (1, 2)], [0, 0, 0])
    assert len(set(chain.xs)) == 1
    crossed = tile([20] * 4, [0, 0, 1, 1], [(0, 3), (1, 2)], [0] * 4)
    assert (crossed.xs[0] < crossed.xs[1]) == (crossed.xs[3] < crossed.xs[2])
    pulled = tile([20] * 3, [0, 0, 1], [(0, 2), (1, 2)], [0, -1, 0])
    assert pulled.xs[1] < pulled.xs[0]


def test_scale_of_colours_and_widths() -> None:
    light = themes["light"]
    assert [light(f"scale {level}") for level in (-9, -3, 0, 3, 9)] == ["#053061", "#053061", "#868686"] + [
        "#7F2704"
    ] * 2
    assert [stroke_width(level) for level in (-3, 0, 3)] == [0.8, 3.4, 6.0]
    assert decades(1e-9, 1.0) == -3
    assert decades(5.0, 0.5) == pytest.approx(1)
    assert decades(0.0, 1.0) is decades(float("nan"), 1.0) is decades(None, 1.0) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0"), (0.436, "0.44"), (0.0312, "0.031"), (12.34, "12.3"), (1234.6, "1235"), (3.1e-8, "3.1e-8"),
     (2e9, "2.0e9"), (float("nan"), "NaN"), (float("inf"), "∞"), (None, "?"), (-0.5, "-0.50")],
)  # fmt: skip
def test_numbers_in_few_characters(value: float | None, said: str) -> None:
    assert number(value) == said


def test_names_are_set_as_in_a_textbook() -> None:
    assert [(run.text, run.subscript) for run in name_runs("W_hh")] == [("W", False), ("hh", True)]
    assert [(run.text, run.subscript) for run in name_runs("h", 3)] == [("h", False), ("3", True)]
    assert [run.text for run in name_runs("h_enc", -1)] == ["h", "enc, −1"]
    assert [run.text for run in name_runs("my_long_variable")] == ["my_long_variable"]
    assert shorten("x" * 100, 20).count("x") == 19
    assert width("W", 10) > width("i", 10)


def test_subscripts_without_a_smaller_font() -> None:
    names = [name_runs("W_hh"), name_runs("h", 3), name_runs("c_f", -1), name_runs("x_1", 2), name_runs("my_long_name")]
    assert ["".join(map(in_line, runs)) for runs in names] == ["W_hh", "h₃", "c_f,₋₁", "x₁,₂", "my_long_name"]
    assert Line(words_runs("W_xh, W_hh"), 8.0).width >= width("W_xh, W_hh", 8.0), "room for both ways to set it"


def test_width_estimates_hold_in_the_widest_usual_font() -> None:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(family="DejaVu Sans")
    for text in (
        "@ W_hh",
        "cross-entropy",
        "contributed by each step",
        "0.0123456789",
        "×0.44 a step",
        "|∂L/∂h| σ ⊙ Σ √",
    ):
        assert TextPath((0, 0), text, size=10, prop=font).get_extents().width <= width(text, 10) * 1.02, text


# ---------------------------------------------------------------------- rolled
def test_rolled_view_has_each_cell_once_with_its_gains() -> None:
    flow = tg.gradient_flow(nets.elman(T=9))
    scene = tg.viz.rolled(flow).scene
    assert sum(box.kind == "cell" for box in scene.boxes) == 1
    assert sum(edge.kind == "loop" for edge in scene.edges) == 1
    gains = [s.gain for s in flow.states() if s.gain is not None]
    words = " ".join(label.line.text for label in scene.labels)
    assert f"×{number(float(np.exp(np.mean(np.log(gains)))))} a step" in words
    assert f"{number(min(gains))} to {number(max(gains))}, 8 times" in words


@pytest.mark.parametrize(
    ("name", "cells", "loops"), [("lstm, two layers", 2, 4), ("bidirectional", 2, 2), ("seq2seq", 2, 2), ("gru", 1, 1)]
)
def test_rolled_layers_directions_and_phases(name: str, cells: int, loops: int) -> None:
    scene = tg.viz.rolled(tg.gradient_flow(nets.ALL[name]())).scene
    assert sum(box.kind == "cell" for box in scene.boxes) == cells
    assert sum(edge.kind == "loop" for edge in scene.edges) == loops


def test_rolled_before_backward_and_without_steps() -> None:
    assert "not computed" in tg.viz.rolled(nets.elman()).svg()
    with pytest.raises(GraphError, match=r"tg\.steps"):
        tg.viz.rolled(nets.stepless())


# ---------------------------------------------------------------------- the recipe for plain dot
@pytest.mark.skipif(not GRAPHVIZ, reason="needs the dot program")
@pytest.mark.parametrize("name", ["elman", "lstm, two layers", "bidirectional", "elman, many to one", "seq2seq"])
def test_plain_dot_puts_time_from_left_to_right(name: str) -> None:
    picture = tg.viz.unrolled(nets.ALL[name](), "op", max_steps=16, layout="dot")
    assert "pos=" not in picture.source
    done = subprocess.run(
        ["dot", "-Tplain"], input=picture.source.encode(), capture_output=True, timeout=30, check=True
    )
    spans: dict[int, list[float]] = {}
    heights: dict[str, float] = {}
    for line in done.stdout.decode().splitlines():
        found = re.match(r"node (t(\d+)_\d+) (\S+) (\S+)", line)
        if found:
            spans.setdefault(int(found[2]), []).append(float(found[3]))
            heights[found[1]] = float(found[4])
    for step in range(len(spans) - 1):
        assert max(spans[step]) < min(spans[step + 1])
    for edge in picture.scene.edges:
        if edge.source[:3] == edge.target[:3] and edge.source in heights:
            assert heights[edge.source] < heights[edge.target]


def test_layout_is_checked() -> None:
    with pytest.raises(InputError, match="layout='neato'"):
        tg.viz.unrolled(nets.elman(T=2), layout="neato")


# ---------------------------------------------------------------------- plots
def test_plots_take_and_return_axes(trained: Trained) -> None:
    figure, axes = plt.subplots(2, 3)
    spectrum = tg.spectrum(trained.states)
    assert plots.credit(trained.diagnosis, axes[0, 0], tokens="backpropagat") is axes[0, 0]
    assert plots.profile(trained.flow, trained.diagnosis, spectrum, trained.W_hh, axes[:, 1])[1] is axes[1, 1]
    assert plots.shares(trained.flow, axes[1, 0]) is axes[1, 0]
    assert plots.spectrum(spectrum, axes[0, 2]) is axes[0, 2]
    assert axes[0, 0].get_title().startswith("vanishing")
    assert [label.get_text() for label in axes[0, 0].get_xticklabels()] == list("backpropagat")
    figure.canvas.draw()
    plt.close(figure)


def test_profile_draws_the_numbers_of_the_flow(trained: Trained) -> None:
    upper, lower = plots.profile(trained.flow, trained.diagnosis, W_hh=trained.W_hh)
    total, injected, last = (line.get_ydata() for line in upper.get_lines())
    records = trained.flow.states()
    assert total == pytest.approx([s.norm for s in records])
    assert injected == pytest.approx([np.linalg.norm(s.injected) for s in records])
    assert last == pytest.approx(trained.diagnosis.layers[0].credit[-1])
    assert lower.get_lines()[0].get_ydata() == pytest.approx([s.gain for s in records if s.gain is not None])
    assert "0.50" in " ".join(text.get_text() for text in lower.get_legend().get_texts())
    plt.close("all")


def test_credit_colours_and_horizon() -> None:
    C = np.array([[2.0, 0.0, 0.0], [0.02, 2.0, 0.0], [1e-9, np.nan, 2.0]])
    ax = plots.credit(C)
    cells = ax.images[0].to_rgba(ax.images[0].get_array())
    assert cells[0, 2].tolist() == [1, 1, 1, 1], "no gradient is white"
    assert cells[0, 0, :3] == pytest.approx(cells[2, 2, :3])
    assert cells[0, 0, :3] == pytest.approx([0x86 / 255] * 3, abs=0.02)
    assert cells[2, 1, :3] == pytest.approx([0xC8 / 255, 0, 0xC8 / 255], abs=0.01)
    assert plots.relative_credit(C)[1, 0] == 0.01
    assert len(ax.collections[0].get_segments()) >= 1
    assert [words.get_text() for words in ax.get_legend().get_texts()] == ["horizon: 0.1 % of C[t, t] is left"]
    assert plots.credit(np.tri(3)).get_legend() is None, "no line, no legend"
    plt.close("all")


def test_compare_uses_one_scale(trained: Trained) -> None:
    other = Trained(radius=1.3)
    axes = plots.compare(trained.diagnosis, other.diagnosis, ("0.5 Q", "1.3 Q"))
    assert axes.shape == (2, 2)
    assert axes[1, 0].get_ylim() == axes[1, 1].get_ylim()
    low, high = axes[1, 0].get_ylim()
    assert low < min(trained.diagnosis.layers[0].credit[-1])
    assert high > max(other.diagnosis.layers[0].total)
    plt.close("all")


def test_plots_say_what_they_cannot_draw(trained: Trained) -> None:
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        plots.credit(np.ones(3))
    with pytest.raises(InputError, match="row=1"):
        plots.profile(trained.flow, row=1)
    with pytest.raises(InputError, match=r"tg\.steps"):
        plots.shares(tg.gradient_flow(nets.stepless()))
    with pytest.raises(tg.DTypeError, match="2 axes of Matplotlib"):
        plots.profile(trained.flow, axes=[])
    with pytest.raises(tg.DTypeError, match="4 axes of Matplotlib"):
        plots.compare(trained.diagnosis, trained.diagnosis, axes=np.array([1]))


# ---------------------------------------------------------------------- the page
class Outline(HTMLParser):
    """The elements of a page and the text of its script elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.html = html
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href"):
                self.links.append(value or "")
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script" and self.scripts:
            self.scripts[-1] += data

    @property
    def story(self) -> dict[str, Any]:
        return story_of(self.html)


EVERY = [pytest.param(name, marks=[pytest.mark.slow] * (i % 2)) for i, name in enumerate(sorted(nets.ALL))]
"""Every second one in the slow suite."""


@pytest.mark.parametrize("name", EVERY)
def test_page_tells_the_whole_story(name: str) -> None:
    flow = tg.gradient_flow(nets.ALL[name]())
    outline = Outline(tg.viz.page(flow).html())
    assert outline.links == [], "one file, offline"
    assert len(outline.ids) == len(set(outline.ids))
    story = outline.story
    known = set(outline.ids)
    for event in story["events"]:
        assert {*(shape for shape, _ in event.get("l", [])), *([event["b"]] if "b" in event else [])} <= known
    lights = [(shape, name) for event in story["events"] for shape, name in event.get("l", [])]
    assert len(lights) == len(set(lights)), "going back takes away what came"
    forward = [event for event in story["events"] if event["p"] == "f"]
    assert story["events"][: len(forward)] == forward
    assert forward[-1]["b"] == next(e for e in story["events"] if e["p"] == "b")["b"], "the loss is last, then first"
    fills = [tuple(fill) for event in story["events"] for fill in event.get("fill", [])]
    assert len(fills) == len(set(fills))
    for at, (weight, told) in enumerate(zip(flow.structure.shared_weights, story["weights"], strict=True)):
        assert [place for w, place in fills if w == at] == told["steps"]
        assert told["running"][-1] == number(flow.norm(weight)), "stepping to the end arrives at the true gradient"
        if told["sums"]:
            end = np.array(told["sums"][-1], float).reshape(weight.shape)
            assert end == pytest.approx(flow.gradient(weight), rel=6e-3, abs=1e-12)


def test_page_writes_hand_derived_gradients_beside(trained: Trained) -> None:
    hand = {w.name: trained.flow.per_step(w) for w in (trained.W_xh, trained.W_hh)}
    story = Outline(tg.viz.page(trained.flow, trained.diagnosis, hand).html()).story
    for told in story["weights"]:
        assert told["hand"] == told["running"]
    whole = {"W_hh": trained.flow.gradient(trained.W_hh)}
    html = tg.viz.page(trained.flow, hand=whole).html()
    assert html.count("derived by hand:") == 1
    with pytest.raises(InputError, match=r"hand\['W_hh'\] has shape \(2, 2\)"):
        tg.viz.page(trained.flow, hand={"W_hh": np.zeros((2, 2))})


def test_page_is_small_and_saved_whole(tmp_path: Path) -> None:
    trained = Trained(T=50, H=64)
    page = tg.viz.page(trained.flow, trained.diagnosis)
    path = page.save(tmp_path / "bptt.html")
    assert path.stat().st_size < 5e6
    assert trained.diagnosis.verdict in path.read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"\.html"):
        page.save(tmp_path / "bptt.pdf")
    with pytest.raises(InputError, match="cannot write"):
        page.save(tmp_path / "missing" / "bptt.html")
    with pytest.raises(InputError, match="max_steps=2"):
        tg.viz.page(trained.flow, max_steps=2)
    assert [p.name for p in tmp_path.iterdir()] == ["bptt.html"]


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "</script><b>", "a\"b'c\\", "line\nbreak\x00", "<!--", "x" * 10_000]
)
def test_hostile_names_stay_text_in_the_page(name: str) -> None:
    W = Tensor([[0.5]], requires_grad=True, name=name)
    h, loss = Tensor([[0.1]], requires_grad=True, name=name), 0.0
    for _, x in tg.steps(np.ones((3, 1, 1))):
        h = np.tanh(x + h @ W)
        h.name = name
        loss = loss + (h * h).sum()
    html = tg.viz.page(loss, title=name, tokens=[name] * 3).html()
    outline = Outline(html)
    assert outline.tags.count("script") == 2
    assert "b" not in outline.tags
    assert outline.story["events"]
    assert len(html) < 300_000


# ---------------------------------------------------------------------- in a browser
READY = "html.js #ui-controls"
"""There once the page's script has unpacked its data."""
ARGUMENTS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--no-first-run"]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Any:
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium on the PATH")
    with playwright.sync_playwright() as p:
        opened = p.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any, trained: Trained, tmp_path: Path) -> Any:
    """The page in a tab, from a file; fails if it logs an error."""
    hand = {w.name: trained.flow.per_step(w) for w in (trained.W_xh, trained.W_hh)}
    path = tg.viz.page(trained.flow, trained.diagnosis, hand).save(tmp_path / "bptt.html")
    context = browser.new_context(viewport={"width": 1300, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()
    errors: list[str] = []
    tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: None if request.url.startswith("file:") else errors.append(request.url))
    tab.goto(path.as_uri())
    tab.wait_for_selector(READY)
    yield tab
    context.close()
    assert errors == []


@pytest.mark.slow
def test_a_thousand_steps_are_drawn_in_ten_seconds() -> None:
    flow = tg.gradient_flow(nets.elman(T=1000))
    for engine in [None, "dot"] if GRAPHVIZ else [None]:
        start = nets.cpu_seconds()
        data = tg.viz.unrolled(flow, "op", max_steps=None).pipe("svg", engine)
        assert nets.cpu_seconds() - start < 10
        assert data.count(b"lane_") >= 1000


@pytest.mark.slow
def test_stepping_to_the_end_arrives_at_the_true_gradients(opened: Any, trained: Trained) -> None:
    total = int(opened.get_attribute("#ui-scrub", "max"))
    opened.select_option("#ui-unit", "operation")
    assert opened.locator("#ui-stage .share.grad").count() == 0
    assert opened.inner_text("#ui-sum-1").startswith("not computed")
    for at in range(total):
        opened.keyboard.press("ArrowRight")
        if at % 7 == 0:
            assert not re.search("undefined|NaN|null", opened.inner_text("main"))
    assert opened.inner_text("#ui-place").startswith(f"{total} of {total}: backward")
    for at, weight in enumerate((trained.W_xh, trained.W_hh)):
        g = trained.flow.gradient(weight)
        assert f"|Σ G_t| = {number(float(np.linalg.norm(g)))}, 12 of 12 parts" in opened.inner_text(f"#ui-sum-{at}")
        assert opened.inner_text(f"#ui-hand-{at}") == number(float(np.linalg.norm(g)))
        cells = opened.locator(f"#ui-matrix-{at} td").all_inner_texts()
        assert np.array(cells, float) == pytest.approx(g.ravel(), rel=6e-3, abs=1e-12)
    assert opened.locator("#ui-stage .share.grad").count() == 24
    assert opened.locator("#ui-stage .state:not(.edge):not(.grad)").count() == 0


@pytest.mark.slow
def test_keyboard_scrubbing_and_play(opened: Any) -> None:
    story = Outline(opened.content()).story
    place = lambda: int(opened.inner_text("#ui-place").split(" ")[0])  # noqa: E731
    total = int(opened.get_attribute("#ui-scrub", "max"))
    opened.select_option("#ui-unit", "operation")
    opened.keyboard.press("End")
    assert place() == total
    opened.keyboard.press("Home")
    assert place() == 0
    opened.keyboard.press("l")
    assert place() == sum(event["p"] == "f" for event in story["events"])
    half = place()
    opened.keyboard.press("ArrowRight")
    assert place() == half + 1
    assert "t = 11" in opened.inner_text("#ui-place")
    opened.keyboard.press("Shift+ArrowRight")
    assert place() > half + 1
    opened.keyboard.press("ArrowLeft")
    opened.fill("#ui-scrub", "5")
    assert place() == 5
    assert opened.locator("#ui-stage .edge.lit").count() == 0, "scrubbing back takes everything back"
    opened.select_option("#ui-speed", "40")
    opened.click("#ui-play")
    until = time.monotonic() + 10
    while place() <= 12 and time.monotonic() < until:
        opened.wait_for_timeout(20)
    assert place() > 12
    opened.click("#ui-play")
    now = place()
    opened.wait_for_timeout(120)
    assert place() == now
    opened.keyboard.press("End")
    opened.keyboard.press("c")
    assert opened.locator("#ui-stage .cone").count() == 1
    opened.keyboard.press("Escape")
    assert opened.locator("#ui-stage .cone").count() == 0
    assert opened.inner_text("#ui-live") != ""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_violation_of_accessibility(opened: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened.emulate_media(color_scheme=scheme)
    for key in ("Home", "l", "End"):
        opened.keyboard.press(key)
        found = axe.Axe().run(opened).response["violations"]
        assert [(v["id"], v["nodes"][0]["target"]) for v in found if v["impact"] in ("serious", "critical")] == []


@pytest.mark.slow
def test_readable_with_scripts_off(browser: Any, trained: Trained, tmp_path: Path) -> None:
    path = tg.viz.page(trained.flow, trained.diagnosis).save(tmp_path / "bptt.html")
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(path.as_uri())
    assert tab.locator("#ui-controls").is_hidden()
    assert tab.locator("#g1_5 text").is_visible()
    assert "vanishing" in tab.inner_text("header")
    tab.click("summary")
    assert tab.locator("details tr").count() > 30
    picture, stage = (tab.locator(each).bounding_box() for each in ("#ui-stage svg[role]", "#ui-stage"))
    assert picture["height"] <= stage["height"], "nothing has to be scrolled to"
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("T", [1, 4, 30])
def test_the_picture_starts_as_wide_as_the_page_within_reason(browser: Any, tmp_path: Path, T: int) -> None:
    flow = tg.gradient_flow(nets.elman(T=T))
    tab = browser.new_page(viewport={"width": 1400, "height": 900})
    tab.goto(tg.viz.page(flow).save(tmp_path / "bptt.html").as_uri())
    wide = tab.locator("#ui-stage svg[role]").bounding_box()["width"]
    natural = float(tab.get_attribute("#ui-stage svg[role]", "viewBox").split(" ")[2])
    place = tab.locator("#ui-stage").bounding_box()["width"] - 2
    expected = max(natural, min(place, 1.5 * natural))
    assert wide == pytest.approx(expected, abs=2)
    tab.close()


@pytest.mark.slow
def test_a_click_explains_a_box_and_shows_how_far_a_loss_reaches(opened: Any, trained: Trained) -> None:
    opened.keyboard.press("End")
    row = opened.locator("#reach0_3 text").text_content()
    opened.locator("#ui-stage g.loss").nth(5).click()
    assert "the box you clicked" in opened.inner_text("#ui-phase")
    assert "this one loss" in opened.inner_text("#ui-notice")
    C = tg.credit(trained.diagnosis.layers[0].losses, trained.diagnosis.layers[0].states)
    told = opened.locator("#reach0_3 text").text_content()
    assert told in {number(float(value)) for value in C[:, 3]}
    assert told != row
    panel, stage = (opened.locator(each).bounding_box() for each in ("#ui-panel", "#ui-stage"))
    assert panel["x"] >= stage["x"] + stage["width"], "picture and equation are side by side"
    assert panel["y"] < 400
    opened.keyboard.press("Escape")
    assert opened.locator("#reach0_3 text").text_content() == row


@pytest.mark.slow
def test_two_hundred_steps_go_back_as_fast_as_forward(browser: Any, tmp_path: Path) -> None:
    trained = Trained(T=200, H=8)
    path = tg.viz.page(trained.flow, max_steps=None).save(tmp_path / "bptt.html")
    assert path.stat().st_size < 3_000_000
    tab = browser.new_page(viewport={"width": 1300, "height": 900})
    tab.goto(path.as_uri())
    tab.wait_for_selector(READY)
    tab.keyboard.press("End")
    seconds, places = {}, {}
    for key in ("ArrowLeft", "ArrowRight"):
        seconds[key] = tab.evaluate(
            """key => { const start = performance.now();
            const press = () => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
            for (let i = 0; i < 20; i++) press();
            return (performance.now() - start) / 20; }""",
            key,
        )
        places[key] = int(tab.inner_text("#ui-place").split(" ")[0])
    assert places["ArrowLeft"] < places["ArrowRight"], "the keys were heard"
    assert seconds["ArrowLeft"] < 5 * seconds["ArrowRight"] + 20
    tab.close()


@pytest.mark.slow
def test_fifty_steps_are_fluent(browser: Any, tmp_path: Path) -> None:
    trained = Trained(T=50, H=64)
    path = tg.viz.page(trained.flow, trained.diagnosis).save(tmp_path / "bptt.html")
    context = browser.new_context(viewport={"width": 1300, "height": 900}, reduced_motion="reduce")
    tab = context.new_page()
    tab.goto(path.as_uri())
    tab.wait_for_selector(READY)
    tab.select_option("#ui-unit", "operation")
    start = time.perf_counter()
    for _ in range(60):
        tab.keyboard.press("ArrowRight")
    a_step = (time.perf_counter() - start) / 60
    start = time.perf_counter()
    tab.keyboard.press("End")
    tab.keyboard.press("Home")
    assert time.perf_counter() - start < 3
    assert a_step < 0.1, "at least ten operations a second"
    context.close()


# ---------------------------------------------------------------------- a network of two clocks, and small numbers
def test_a_slow_state_has_its_index_below_and_the_lanes_hold_their_words() -> None:
    W = Tensor(0.5 * np.eye(2), requires_grad=True, name="W")
    fast, slow, loss = np.zeros(2), np.zeros(2), 0.0
    for t, x in tg.steps(np.ones((20, 2))):
        if t % 2 == 0:
            slow = np.tanh(x + slow @ W)
        fast = np.tanh(x + fast @ W + slow)
        loss = loss + (fast * fast).sum()
    scene = tg.viz.rolled(tg.gradient_flow(loss)).scene
    assert any(re.fullmatch(r"slow: ×\S+ in 2 time steps", label.line.text) for label in scene.labels)
    for lane in scene.lanes:
        assert lane.label.width < lane.width
        assert "10" in lane.label.text
    assert [run.text for run in words_runs("|∂L_T/∂slow_k|: x") if run.subscript] == ["T", "k"]


def test_zero_has_no_sign_in_boxes_and_on_the_page() -> None:
    a = Tensor([1.0, 2.0], requires_grad=True, name="a")
    flow = tg.gradient_flow((a * np.array([0.0, -1.0]) * -1.0).sum())
    assert np.signbit(flow.gradient(a)[0])
    words = [each.text for box in tg.viz.unrolled(flow, values=True).scene.boxes for each in box.lines]
    assert "grad [0, 1]" in words
    assert not [each for each in words if "-0" in each]
    told = str(story_of(tg.viz.page(flow).html()))
    assert "'0', '1'" in told
    assert "'-0'" not in told
    assert "shape of g: (2)" in told
