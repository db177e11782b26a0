"""The animation tells the two passes in the order in which they run, and ends as the picture."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import recurrent_nets as nets
from PIL import Image

import tinygrad_rnn as tg
from tinygrad_rnn import InputError, viz
from tinygrad_rnn.viz.animate import Animation

module = sys.modules["tinygrad_rnn.viz.animate"]


@pytest.fixture(scope="module")
def animation() -> Animation:
    return viz.animate(tg.gradient_flow(nets.elman(T=3)), "cell")


def test_it_ends_as_the_picture(animation: Animation) -> None:
    picture = viz.unrolled(tg.gradient_flow(nets.elman(T=3)), "cell", legend=False).scene
    end = animation.frame(animation.moments)
    assert [box.id for box in end.boxes] == [box.id for box in picture.boxes]
    assert [(edge.id, edge.color) for edge in end.edges] == [(edge.id, edge.color) for edge in picture.edges]
    assert [label.line.text for label in end.labels] == [label.line.text for label in picture.labels]


@pytest.mark.parametrize("name", sorted(nets.ALL))
def test_values_come_before_what_is_computed_of_them_and_gradients_the_other_way(name: str) -> None:
    made = viz.animate(tg.gradient_flow(nets.ALL[name]()), max_steps=16)
    boxes = {box.id for box in made.scene.boxes}
    seen = {}
    arrived = {}
    for clip in made.clips:
        if clip.shape.id in boxes:
            seen[clip.shape.id] = min(clip.start, seen.get(clip.shape.id, clip.start))
            arrived[clip.shape.id] = max(clip.start, arrived.get(clip.shape.id, 0))
    back = {clip.shape.id: clip.start for clip in made.clips if clip.shape in made.scene.edges and clip.shape.backward}
    for edge in made.scene.edges:
        if edge.source in boxes and edge.target in boxes:
            assert seen[edge.source] <= seen[edge.target]
            if edge.backward and name != "bidirectional, long":
                assert back[edge.id] <= max(arrived[edge.source], back[edge.id])
    assert all(0 <= clip.start <= made.moments for clip in made.clips)


def test_the_sums_fill_step_by_step_to_the_whole(animation: Animation) -> None:
    flow = tg.gradient_flow(nets.elman(T=3))
    weight = flow.structure.shared_weights[1]
    parts = flow.per_step(weight)
    expected = [viz.strips.number(float(np.linalg.norm(parts[t:].sum(axis=0)))) for t in (2, 1)]
    told = []
    for moment in range(animation.moments + 1):
        texts = [label.line.text for label in animation.frame(moment).labels if label.id.startswith("total_1")]
        assert len(texts) <= 1
        told += [text for text in texts if text not in told]
    assert told[:2] == [f"Σ {value}" for value in expected]
    assert told[-1].startswith(viz.strips.number(float(np.linalg.norm(flow.gradient(weight)))))


def test_it_is_written_as_svg_that_respects_reduced_motion(animation: Animation, tmp_path: Path) -> None:
    text = animation.save(tmp_path / "bptt.svg", seconds=5).read_text(encoding="utf-8")
    root = ET.fromstring(text)
    assert "prefers-reduced-motion" in text
    assert "animation-duration:5s" in text
    assert len([element for element in root.iter() if "m" in (element.get("class") or "").split()]) > 50


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Animation:
    """Of few moments."""
    monkeypatch.setattr(module, "FORWARD", 2)
    monkeypatch.setattr(module, "BACKWARD", 3)
    return viz.animate(tg.gradient_flow(nets.elman(T=1)), "cell")


def test_it_is_written_as_gif(short: Animation, tmp_path: Path) -> None:
    with Image.open(short.save(tmp_path / "bptt.gif", seconds=5)) as gif:
        assert 3 <= gif.n_frames <= 8
        assert gif.info["loop"] == 0
    with pytest.raises(InputError, match=r"\.svg, \.gif or \.mp4"):
        short.save(tmp_path / "bptt.webm")


def test_mp4_is_made_by_ffmpeg_where_there_is_one(
    short: Animation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="needs the program ffmpeg"):
        short.save(tmp_path / "bptt.mp4")
    script = tmp_path / "ffmpeg"
    script.write_text('#!/bin/sh\n/usr/bin/head -c 8 > "$(for last; do :; done; echo "$last")"\n')
    script.chmod(0o755)
    assert short.save(tmp_path / "bptt.mp4").read_bytes().startswith(b"\x89PNG"), "the frames are what it is fed"
