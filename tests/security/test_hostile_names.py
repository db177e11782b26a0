"""A name is data: no text from a file, a key or a scope is ever run, or breaks what it is written into."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from matplotlib.figure import Figure

import tinygrad_rnn as tg
from tinygrad_rnn import escape, nn, viz
from tinygrad_rnn.app import cli
from tinygrad_rnn.core import primitive
from tinygrad_rnn.core.context import context
from tinygrad_rnn.core.traits import Traits
from tinygrad_rnn.viz import plots

ENDS = ("\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029")
CODE = "import sys; sys.modules['builtins'].ran_from_a_name = True  #"
ATTACKS = [f"W{end}{' ' * indent}{CODE}" for end in ENDS for indent in (0, 4, 8)]
TEXTS = [
    *(f"W{end}next" for end in ENDS),
    "W\0", "W'\"", 'W"""', "</script><script>alert(1)</script>", "]]>", "-->", "$x$", "$\\frac{$", "\\", "W\\", "\\N",
    "W\ud800", "\x1b[31mred\x1b]0;title\x07", "W" * 100_000, "\u202eabc", "x²", "ｅｍｐｔｙ", "__debug__", "class",
    "_hidden", "&amp;&#0;", "<b>", "{{ 7 * 7 }}", "\ufffe", "\t", "# -*- coding: utf-7 -*-", "σ", "nan", "step", "0",
]  # fmt: skip
everywhere = pytest.mark.parametrize("name", TEXTS, ids=lambda text: ascii(text)[:24])


@pytest.fixture(autouse=True)
def canary() -> Any:
    yield
    ran = sys.modules["builtins"].__dict__.pop("ran_from_a_name", False)
    assert not ran, "a name was run as code"


def loss_of(W: Any, xs: Any, name: str) -> Any:
    """A loop whose weights, states and scope are all called `name`."""
    with context(scope=name):  # as `tg.scope` would, which refuses some
        h = tg.Tensor(np.zeros(3), name=name)
        for _, x in tg.steps(xs):
            h = np.tanh(x @ W + h @ W.T)
            h.name = name
        loss = (h * h).sum()
        loss.name = name
    return loss


def flow_of(name: str) -> tg.GradientFlow:
    W = tg.Tensor(np.full((3, 3), 0.3), requires_grad=True, name=name)
    return tg.gradient_flow(loss_of(W, np.ones((4, 3)), name))


def run_compiled(name: str) -> Any:
    step = tg.compile(lambda params, xs: loss_of(params[name], xs, name))
    W, xs = np.full((3, 3), 0.3), np.ones((4, 3))
    loss, grads = step({name: W}, xs)
    eager = tg.Tensor(W, requires_grad=True)
    expected = loss_of(eager, xs, "h")
    expected.backward()
    np.testing.assert_allclose(loss, expected.item())
    np.testing.assert_allclose(grads[name], eager.grad)
    step({name: W}, xs)  # compared with an eager one
    return step


def test_an_operation_is_called_anything(tmp_path: Path) -> None:
    name = f"\ud800\0\n    {CODE}$x$</text>\"'\\"
    twice = primitive.Primitive(
        lambda x: x * 2.0, [lambda g, y, x: g * 2.0], name, name, Traits(symbol=name, formula=f"{name}{{0}}")
    )
    W = tg.Tensor(np.full((3, 3), 0.3), requires_grad=True)

    def loss(W: Any) -> Any:
        h = np.zeros(3)
        for _, x in tg.steps(np.ones((3, 3))):
            h = twice(np.tanh(x @ W + h @ W))
        return (h * h).sum()

    step = tg.compile(loss)
    step(W.data)
    compile(step.source, "source", "exec")
    picture = viz.unrolled(tg.gradient_flow(loss(W)))
    ET.fromstring(picture.svg())
    picture.save(tmp_path / "picture.png")
    viz.page(tg.gradient_flow(loss(W))).save(tmp_path / "page.html")


@pytest.mark.parametrize("formula", ["}", "{", "{x}", "{0.data}", "{}"])
def test_a_formula_that_cannot_be_filled_in_is_refused(formula: str) -> None:
    with pytest.raises(tg.InputError, match="Traits: got"):
        Traits(formula=formula)
    with pytest.raises(tg.InputError, match="Traits: got"):
        Traits(backward=(formula,))


# ---------------------------------------------------------------------- the attack
@pytest.mark.parametrize("name", ATTACKS, ids=ascii)
def test_a_name_is_not_run(name: str) -> None:
    run_compiled(name)


def test_a_name_runs_no_command(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for end in ENDS:
        for indent in (0, 4, 8):
            run_compiled(f"W{end}{' ' * indent}import os; os.system('touch {canary}')  #")
    assert not canary.exists()


@pytest.mark.parametrize("end", ENDS, ids=ascii)
@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
def test_a_file_with_such_a_name_is_refused(end: str, ending: str, tmp_path: Path) -> None:
    path, name = tmp_path / f"weights{ending}", f"W{end}        {CODE}"
    if ending == ".safetensors":  # not by save_weights, which refuses the name as well
        safetensors.numpy.save_file({name: np.ones((3, 3))}, path)
    else:
        np.savez(path, **{name: np.ones((3, 3))})
    with pytest.raises(tg.InputError, match="control characters") as refused:
        nn.load_weights(path)
    assert str(path) in str(refused.value)
    assert escape.is_plain(str(refused.value))


def test_a_file_with_plain_names_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"rnn.weight_hh_l0": np.ones(2), "größe": np.ones(1)}, path)
    assert set(nn.load_weights(path)) == {"rnn.weight_hh_l0", "größe"}


@pytest.mark.parametrize("name", [*ATTACKS, "\0", "a\x1b[0m", "a\ud800", "a\tb"], ids=ascii)
def test_a_scope_with_control_characters_is_refused(name: str) -> None:
    with pytest.raises(tg.InputError, match="control characters"), tg.scope(name):
        pass


def test_a_primitive_of_any_name_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitive, "primitives", dict(primitive.primitives))  # the table is as before afterwards
    doubled = tg.primitive(lambda x: x * 2.0, vjps=[lambda g, y, x: g * 2.0], name=f"twice\n    {CODE}")
    loss, grads = tg.compile(lambda W: doubled(W).sum())(np.ones(3))
    assert loss == 6.0
    np.testing.assert_array_equal(grads, np.full(3, 2.0))


@pytest.mark.parametrize("name", ["forward", "summary", "attach", "kind", "__class__", "training"])
def test_a_part_of_a_pytorch_model_hides_nothing_of_ours(name: str) -> None:
    part = type("Tanh", (), {})()
    parts = {"named_parameters": lambda self, recurse: [], "named_children": lambda self: [(name, part)]}
    with pytest.raises(tg.InputError, match=f"from_torch: Net has a part named '{name}'.*rename it"):
        nn.from_torch(type("Net", (), parts)())


# ---------------------------------------------------------------------- every exit
@everywhere
def test_compiled_source(name: str) -> None:
    step = run_compiled(name)
    step.source.encode()
    assert escape.is_plain(step.source.replace("\n", ""))
    assert max(map(len, step.source.splitlines())) < 2000
    compile(step.source, "saved.py", "exec")


def steps_of(flow: tg.flow.GradientFlow) -> list[str]:
    return re.findall(r"^ +(\d+) ", str(flow), re.MULTILINE)


@everywhere
def test_explain_and_tables(name: str) -> None:
    flow = flow_of(name)
    step = run_compiled(name)
    for text in (str(flow), step.explain(), repr(flow.loss), flow.loss.describe() and str(tg.InputError(name))):
        text.encode()
        assert escape.is_plain(text.replace("\n", "").replace("\t", ""))
    assert set(steps_of(flow)) == {"0", "1", "2", "3"}  # a name that begins a line of its own could be a step too


@everywhere
def test_dot(name: str) -> None:
    sources = [viz.unrolled(flow_of(name), title=name).source, run_compiled(name).dot()]
    for source in sources:
        source.encode()
        if shutil.which("dot"):
            done = subprocess.run(["dot", "-Tsvg"], input=source.encode(), capture_output=True, timeout=60)
            assert done.returncode == 0
            assert b"syntax error" not in done.stderr
            ET.fromstring(done.stdout)


@everywhere
def test_svg(name: str) -> None:
    picture = viz.unrolled(flow_of(name), title=name, tokens=[name] * 4)
    ET.fromstring(picture.svg().encode())
    repr(picture).encode()


class _Reader(HTMLParser):
    """The elements of a page, and the data in its script."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.data = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self._inside = ("id", "ui-data") in attrs

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        self.data += data if self._inside else ""


@everywhere
def test_page(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("tinygrad_rnn.viz.page")
    monkeypatch.setattr(module, "profile_chart", lambda *given: "<svg/>")  # it takes long; it is in the next test
    page = viz.page(flow_of(name), title=name, tokens=[name] * 4)
    written = page.save(tmp_path / "page.html").read_text(encoding="utf-8")
    reader = _Reader()
    reader.feed(written)
    json.loads(reader.data)
    assert reader.tags["script"] == 2
    assert "b" not in reader.tags
    assert not set(written) & {chr(c) for c in (*range(9), 11, 12, *range(14, 32), *range(127, 160))}


def test_a_page_in_the_frame_of_a_notebook() -> None:
    name = "".join(TEXTS)
    page = viz.page(flow_of(name), title=name, tokens=[name] * 4)
    frame = page._repr_html_()
    frame.encode()
    shown = _Attributes()
    shown.feed(frame)
    assert shown.found == [page.html()]


class _Attributes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append(dict(attrs)["srcdoc"])


@everywhere
def test_plots(name: str) -> None:
    figure = Figure()
    ax = plots.shares(flow_of(name), figure.subplots())
    assert len(ax.get_legend().get_texts()) == 1
    plots.credit(np.tri(4) + 1e-3, figure.add_subplot(), tokens=[name] * 4, title=name)
    if name.isascii():  # the font has not every other character, and says so
        figure.draw_without_rendering()


@pytest.mark.parametrize("name", ["$x$", "$\\frac{$", "a$b$c", "\\$x$", "$$"])
def test_a_plot_shows_dollars_as_they_are(name: str) -> None:
    words = Figure().text(0, 0, escape.plot_label(name))
    assert words._preprocess_math(words.get_text()) == (name, False)


@everywhere
def test_module_tables_and_errors(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = nn.Module()
    setattr(module, name, tg.Tensor(np.ones(2), requires_grad=True))
    print(module.summary())
    with pytest.raises(tg.InputError) as refused:
        module.load_state_dict({name + "?": np.ones(2)})
    print(refused.value)
    assert escape.is_plain(capsys.readouterr().out.replace("\n", "").replace("\t", ""))


def test_the_command_line_writes_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["flow", "--text", "no\x1b[31m\udcffsuch"]) == 2
    assert escape.is_plain(capsys.readouterr().err.rstrip("\n"))


# ---------------------------------------------------------------------- the functions themselves
@everywhere
def test_every_exit_is_sound(name: str) -> None:
    word = escape.identifier(name)
    assert word.isidentifier()
    exec(f"{word} = 1  # {escape.comment(name)}", {})
    for leave in (escape.comment, escape.terminal, escape.xml, escape.dot_string, escape.plot_label):
        leave(name).encode()
    text = escape.xml(name)
    assert ET.fromstring(f'<a b="{text}">{text}</a>'.encode()) is not None
    for shown in (escape.preformatted(name), escape.preformatted_source(f"x = 1  # {name}")):
        assert {element.tag for element in ET.fromstring(shown.encode()).iter()} <= {"pre", "b", "i"}
    json.loads(escape.script([name]))
    assert "<" not in escape.script([name])
