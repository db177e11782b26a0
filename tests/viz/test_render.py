"""Pictures as files: drawn in Python on any machine, by Graphviz where that is asked for; and in notebooks."""

from __future__ import annotations

import io
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import recurrent_nets as nets
from PIL import Image

import tinygrad_rnn as tg
from tinygrad_rnn import InputError, viz
from tinygrad_rnn.viz import Picture, render
from tinygrad_rnn.viz.scene import Scene
from tinygrad_rnn.viz.style import contrast

SVG = "{http://www.w3.org/2000/svg}"
HEADS = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "gif": b"GIF8", "dot": b"digraph", "gv": b"digraph"}
needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="needs the dot program")


@pytest.fixture(scope="module")
def picture() -> Picture:
    return viz.unrolled(tg.gradient_flow(nets.elman(T=2)))


def test_every_format_is_written_without_graphviz(
    picture: Picture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "graphviz", None)
    for kind, head in HEADS.items():
        assert picture.save(tmp_path / f"picture.{kind}").read_bytes().startswith(head), kind
    with Image.open(tmp_path / "picture.png") as png, Image.open(tmp_path / "picture.gif") as gif:
        assert abs(png.width - 2 * picture.scene.width) <= 2, "192 dots per inch, two for a px"
        assert png.size == gif.size
    with pytest.raises(InputError, match="not on the PATH"):
        picture.save(tmp_path / "other.png", engine="dot")


def test_a_png_shows_the_scene(picture: Picture) -> None:
    """Each box has its outline's colour at its edge, and something is written in it."""
    bitmap = np.asarray(Image.open(io.BytesIO(picture.pipe("png"))).convert("RGB")).astype(int)
    light = viz.themes["light"]
    for box in picture.scene.boxes:
        if box.kind == "state":
            color = light(box.stroke)
            expected = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
            x, y = round(2 * box.x), round(2 * box.middle[1])
            assert np.abs(bitmap[y, x - 3 : x + 4] - expected).sum(1).min() < 60
            inside = bitmap[y - 20 : y + 20, x + 8 : round(2 * box.right) - 8]
            assert inside.min(axis=(0, 1)).sum() < 200, "dark letters"


@needs_graphviz
@pytest.mark.parametrize("name", ["elman", "lstm, two layers", "attention", "embedded", "stepless"])
def test_graphviz_renders_both_kinds_of_dot_in_silence(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    import subprocess

    flow = tg.gradient_flow(nets.ALL[name]())
    for layout in ("lanes", "dot"):
        source = viz.unrolled(flow, layout=layout).source
        done = subprocess.run(["dot", "-Tpng"], input=source.encode(), capture_output=True, timeout=60, check=True)
        assert done.stderr == b"", layout
        assert done.stdout.startswith(HEADS["png"])


@needs_graphviz
def test_it_behaves_as_the_objects_of_the_graphviz_package(tmp_path: Path) -> None:
    import graphviz

    picture = viz.unrolled(nets.elman(T=2), layout="dot")
    source = picture.graphviz()
    assert isinstance(source, graphviz.Source)
    assert source.source == picture.source
    assert "pos=" not in source.source
    assert picture.engine == source.engine == "dot"
    picture.format = "png"
    made = picture.render("net.gv", tmp_path)
    assert made == str(tmp_path / "net.gv.png")
    assert Path(made).read_bytes().startswith(HEADS["png"])
    assert (tmp_path / "net.gv").read_text(encoding="utf-8") == picture.source
    assert picture.pipe(format="svg") != picture.svg().encode()
    picture.engine = None
    assert picture.pipe(format="svg") == picture.svg().encode(), "drawn here by default, even where dot is"
    only = picture.render("other", tmp_path / "new", cleanup=True, format="svg")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [Path(only).name] == ["other.svg"]


def test_a_hanging_dot_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "dot"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(render, "TIMEOUT", 0.2)
    picture = viz.unrolled(nets.elman(T=2), layout="dot")
    with pytest.raises(InputError, match=r"gave up after 0\.2 seconds"):
        picture.pipe("png")
    assert "<svg" in picture._repr_html_(), "a notebook shows lanes instead"


def test_wide_pictures_fit_what_bitmaps_can_hold() -> None:
    with Image.open(io.BytesIO(Picture(Scene(width=100_000, height=10)).pipe("png"))) as bitmap:
        assert bitmap.width <= 32_767


def test_notebooks_get_an_inline_svg_as_wide_as_the_cell(picture: Picture) -> None:
    bundle = picture._repr_mimebundle_()
    assert list(bundle) == ["text/html", "text/plain"]
    root = ET.fromstring(bundle["text/html"])
    assert root.get("width") == "100%"
    assert f"max-width:{picture.scene.width:.2f}".rstrip("0").rstrip(".") in root.get("style", "")
    assert root.find(f".//{SVG}g/{SVG}title") is not None, "tooltips"
    other = viz.unrolled(tg.gradient_flow(nets.elman(T=3)))
    ids = [ET.fromstring(each._repr_html_()).get("aria-labelledby") for each in (picture, other)]
    assert ids[0] != ids[1], "two pictures in one notebook do not name each other"


@needs_graphviz
def test_a_notebook_shows_the_layout_that_was_asked_for() -> None:
    flow = tg.gradient_flow(nets.elman(T=2))
    assert "digraph" not in viz.unrolled(flow, layout="dot")._repr_html_()
    assert "Generated by graphviz" not in viz.unrolled(flow)._repr_html_()
    assert 'class="graph"' in viz.unrolled(flow, layout="dot")._repr_html_()


def test_errors(picture: Picture, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.svg, \.png, \.pdf, \.gif, \.dot or \.gv"):
        picture.save(tmp_path / "picture.bmp")
    with pytest.raises(InputError, match="cannot write"):
        picture.save(tmp_path / "missing" / "picture.svg")
    with pytest.raises(InputError, match="engine 'cairo'"):
        picture.pipe("svg", "cairo")
    with pytest.raises(InputError, match="format 'bmp'"):
        picture.format = "bmp"
    with pytest.raises(InputError, match="format 'bmp'"):
        picture.render("net.gv", tmp_path / "new", format="bmp")
    with pytest.raises(InputError, match="theme='neon'"):
        viz.unrolled(nets.elman(T=2), theme="neon")
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- themes
@pytest.mark.parametrize("name", sorted(viz.themes))
def test_text_and_edges_stand_out_in_every_theme(name: str) -> None:
    """4.5:1 for text on everything that it is written on, 3:1 for edges and outlines (WCAG AA)."""
    theme = viz.themes[name]
    levels = np.linspace(-3, 3, 61)
    grounds = ["paper", "lane", "scope", "fill state", "fill input", "fill loss", "fill muted", "fill op"]
    grounds += ["fill not finite", *(f"tint {level:.2f}" for level in levels)]
    for ground in grounds:
        for ink in ("ink", "muted"):
            assert contrast(theme(ink), theme(ground)) >= 4.5, (ink, ground)
    for level in levels:
        assert contrast(theme(f"on {level:.2f}"), theme(f"scale {level:.2f}")) >= 4.5, level
    for role in ["op", "muted", "faint", "not finite", "state", "input", "loss", "cut", "injected", "future"]:
        assert contrast(theme(role), theme("paper")) >= 3.0, role
    for level in levels:
        for ground in ("paper", "lane", "scope"):
            assert contrast(theme(f"scale {level:.2f}"), theme(ground)) >= 3.0, (level, ground)


def test_a_theme_of_ones_own(picture: Picture) -> None:
    from dataclasses import replace

    mine = replace(
        viz.themes["light"], font="Georgia, serif", palette={**viz.themes["light"].palette, "ink": "#002200"}
    )
    text = Picture(picture.scene, mine).svg()
    assert "Georgia, serif" in text
    assert "#002200" in text
    assert "#1A1A1A" not in text
