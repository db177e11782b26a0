"""What can be computed of a drawn picture: overlaps, edges over boxes, text that does not fit, sizes and contrast."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from typing import Any

import numpy as np

from tinygrad_rnn.viz.canvas import text_width
from tinygrad_rnn.viz.scene import Label, Rect, Scene
from tinygrad_rnn.viz.style import Theme, contrast, themes
from tinygrad_rnn.viz.text import SUBSCRIPT, Line

COLUMN = 830.0
"""How wide a README shows a picture, in px."""


def graph_boxes(scene: Scene) -> list[Rect]:
    """The boxes of the graph itself."""
    return [box for box in scene.boxes if box.kind not in ("bar", "share", "reach", "legend")]


def overlaps(shapes: list[Rect | Label]) -> list[tuple[str, str]]:
    """The pairs that cover a common area."""
    x0, y0, x1, y1 = np.array([shape.area for shape in shapes]).T
    apart = 0.01
    crossing = (
        (x0[:, None] < x1 - apart)
        & (x0 < x1[:, None] - apart)
        & (y0[:, None] < y1 - apart)
        & (y0 < y1[:, None] - apart)
    )
    return [(shapes[a].id, shapes[b].id) for a, b in np.argwhere(np.triu(crossing, 1))]


def solid(scene: Scene) -> list[Rect | Label]:
    """What may not overlap."""
    return [*(box for box in scene.boxes if box.kind != "bar"), *scene.labels]


def sampled(points: list[tuple[float, float]], count: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Points along a path of Bézier curves, as two columns."""
    u = np.linspace(0, 1, count)
    weights = np.stack([(1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u * u * (1 - u), u**3], axis=1)
    found = np.concatenate([weights @ np.array(points[i : i + 4]) for i in range(0, len(points) - 1, 3)])
    return found[:, :1], found[:, 1:]


def edges_over_boxes(scene: Scene) -> list[tuple[str, str]]:
    """Edges that run over a box which is not one of their ends."""
    boxes = [box for box in graph_boxes(scene) if box.kind != "band"]
    if not boxes:
        return []
    left, top, right, bottom = np.array([box.area for box in boxes]).T
    found = []
    for edge in scene.edges:
        x, y = sampled(edge.points)
        inside = (left + 1 < x) & (x < right - 1) & (top + 1 < y) & (y < bottom - 1)
        crossed = {boxes[at].id for at in np.argwhere(inside)[:, 1]} - {edge.source, edge.target}
        found += [(edge.id, box) for box in sorted(crossed)]
    return found


def clipped(scene: Scene) -> list[str]:
    """Boxes whose text is wider or higher than they are, and labels beyond the picture, in the widest usual font."""
    found = []
    for box in scene.boxes:
        if box.lines and (
            max(_true_width(line) for line in box.lines) > box.width
            or sum(line.size for line in box.lines) + 2 * box.text_shift > box.height
        ):
            found.append(box.id)
    for label in scene.labels:
        left, top, right, bottom = label.area
        if left < 0 or top < 0 or right > scene.width or bottom > scene.height:
            found.append(label.id)
    return found


def smallest_text(scene: Scene, column: float = COLUMN) -> float:
    """The size of the smallest text in px where the picture is shown in a column."""
    lines = [line for box in scene.boxes for line in box.lines] + [label.line for label in scene.labels]
    lines += [lane.label for lane in scene.lanes]
    sizes = [line.size * (SUBSCRIPT if any(run.subscript for run in line.runs) else 1) for line in lines]
    return min(sizes) * min(1.0, column / scene.width)


def least_contrast(scene: Scene, theme: Theme = themes["light"]) -> tuple[float, float]:
    """The least contrast of text with what it stands on, and of an edge with what it runs over."""
    text = [contrast(theme(line.color), theme(_ground(box.fill))) for box in scene.boxes for line in box.lines]
    text += [
        contrast(theme(label.line.color), theme(ground))
        for label in scene.labels
        for ground in ("paper", "lane", "scope")
    ]
    edges = [
        contrast(theme(edge.color), theme(ground)) for edge in scene.edges for ground in ("paper", "lane", "scope")
    ]
    return min(text, default=21.0), min(edges, default=21.0)


def story_of(html: str) -> dict[str, Any]:
    """What a page's script is told, unpacked."""
    (data,) = re.findall(r'<script type="application/json" id="ui-data">(.*?)</script>', html, re.S)
    return json.loads(gzip.decompress(b64decode(json.loads(data))))


def _ground(fill: str) -> str:
    return "paper" if fill == "none" else fill


def _true_width(line: Line) -> float:
    sizes = ((run.text, line.size * (SUBSCRIPT if run.subscript else 1)) for run in line.runs)
    return sum(text_width(text, line.bold) * size for text, size in sizes)
