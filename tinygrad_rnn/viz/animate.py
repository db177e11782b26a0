"""The two passes as an animation: values appear in the order of computing, then gradients in the order of backprop.

An animated SVG needs nothing but a browser and shows its last frame where motion is unwanted; GIF is drawn by
Matplotlib and Pillow; MP4 needs ffmpeg.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from ..core.arguments import NotNegative, checked
from ..core.tensor import Tensor
from ..errors import InputError
from ..flow.gradient_flow import GradientFlow, gradient_flow
from ..flow.norms import norm as norm_of
from .canvas import image
from .compose import Options
from .diagram import Diagram
from .measure import FILL, Gradients
from .passes import has_gradient, passes, sums_of
from .printing import run_program, saved
from .scene import Edge, Label, Rect, Scene
from .style import Theme
from .style import theme as theme_of
from .svg import Writer
from .text import line, number
from .unrolled import Detail, Limit, fitted

FORWARD, BACKWARD, HOLD = 20, 40, 12
"""At most so many moments of each pass, and how many the end stays."""
MOMENT = 0.18
"""Seconds."""
FAINT = 0.12


@dataclass(frozen=True)
class Clip:
    """A shape, and from which moment to which (the end, if there is none) it is shown."""

    shape: Rect | Edge | Label
    start: int = 0
    stop: int | None = None
    faint: bool = False
    """Whether it is there, faintly, before its time."""

    @property
    def moves(self) -> bool:
        """Whether there is a moment at which it is not shown."""
        return bool(self.start) or self.stop is not None

    @property
    def name(self) -> str:
        """That of its key frames."""
        return f"m{self.start}{'f' * self.faint}{'' if self.stop is None else f'-{self.stop}'}"

    def rule(self, whole: int) -> str:
        """Its key frames, of an animation of so many moments."""
        frames = [f"0%{{opacity:{FAINT if self.faint else 0}}}", f"{100 * self.start / whole:.2f}%{{opacity:1}}"]
        frames = frames if self.start else ["0%{opacity:1}"]
        frames.append("100%{opacity:1}" if self.stop is None else f"{100 * self.stop / whole:.2f}%,100%{{opacity:0}}")
        return f"@keyframes {self.name}{{{''.join(frames)}}}.{self.name}{{animation-name:{self.name}}}"


class Animation:
    """The backward pass running; made by `animate`. `save` writes it, a notebook shows it."""

    def __init__(self, scene: Scene, clips: list[Clip], moments: int, look: Theme) -> None:
        self.scene = scene
        self.clips = clips
        self.moments = moments
        self.theme = look

    def frame(self, moment: int) -> Scene:
        """What is shown at a moment, 0 to `moments`."""
        shown = [clip.shape for clip in self.clips if clip.start <= moment < (clip.stop or self.moments + 1)]
        edges = [shape for shape in shown if isinstance(shape, Edge)]
        boxes = [shape for shape in shown if isinstance(shape, Rect)]
        labels = [shape for shape in shown if isinstance(shape, Label)]
        return replace(self.scene, edges=edges, boxes=boxes, labels=labels)

    @checked
    def svg(self, seconds: NotNegative | None = None) -> str:
        """An SVG that plays over and over; where motion is unwanted (`prefers-reduced-motion`) it shows the end."""
        writer = Writer(self.scene, self.theme)
        whole = self.moments + HOLD
        rules = {str((clip.start, clip.stop, clip.faint)): clip.rule(whole) for clip in self.clips if clip.moves}
        css = "".join(rules[key] for key in sorted(rules))
        length = whole * MOMENT if seconds is None else seconds
        style = (
            f"<style>.m{{animation-duration:{length:g}s;animation-iteration-count:infinite;"
            f"animation-timing-function:step-end}}{css}"
            "@media (prefers-reduced-motion:reduce){.m{animation:none!important}}</style>\n"
        )
        shapes = [*map(writer.shape, self.scene.lanes), *map(writer.shape, self.scene.backdrops)]
        for clip in self.clips:
            text, last = writer.shape(clip.shape), "" if clip.stop is None else ' opacity="0"'
            shapes.append(f'<g class="m {clip.name}"{last}>{text}</g>\n' if clip.moves else text)
        declaration, head, *rest = writer.document(False, shapes)
        return "".join([declaration, head, style, *rest])

    @checked
    def save(self, path: str | os.PathLike[str], seconds: NotNegative | None = None) -> Path:
        """Write the animation; the ending of `path` says how: .svg, .gif, or .mp4, which needs ffmpeg.

        Raises:
            InputError: another ending, a place that cannot be written to, or no ffmpeg.
        """
        each = MOMENT if seconds is None else seconds / (self.moments + HOLD)
        forms: dict[str, Callable[[], str | bytes]] = {".svg": lambda: self.svg(seconds)}
        forms |= {".gif": lambda: _gif(self._frames(), each), ".mp4": lambda: _mp4(self._frames, each)}
        return saved(path, forms)

    def _frames(self) -> list[bytes]:
        """A PNG for each moment."""
        drawn = [0, *sorted({at for clip in self.clips for at in (clip.start, clip.stop) if at})]
        made_at = {moment: image(self.frame(moment), self.theme, "png", 96.0) for moment in drawn}
        return [made_at[max(each for each in drawn if each <= moment)] for moment in range(self.moments + 1)]

    def _repr_html_(self) -> str:
        made = self.svg()
        return f'<div style="max-width:900px">{made[made.index("<svg") :]}</div>'

    def __repr__(self) -> str:
        return f"<Animation {self.scene.title!r}, {self.moments} moments>"


@checked
def animate(
    loss_or_flow: Tensor | GradientFlow,
    detail: Detail = "fit",
    *,
    max_steps: Limit = "fit",
    title: str | None = None,
    tokens: Sequence[str] | None = None,
    legend: bool = False,
    theme: str | Theme = "light",
) -> Animation:
    """Animate the forward and the backward pass on the picture that `unrolled` draws.

    `tg.viz.animate(flow).save("bptt.svg")`: values appear step by step, then gradients run back along the edges, and
    the sums over time fill up.

    Args:
        loss_or_flow: a loss, or `tg.gradient_flow(loss)`.
        detail, max_steps, title, tokens, legend, theme: as for `unrolled`.

    Raises:
        GraphError: there is no graph behind the loss.
        InputError: an unknown theme.
    """
    look = theme_of(theme)
    flow = loss_or_flow if isinstance(loss_or_flow, GradientFlow) else gradient_flow(loss_or_flow)
    options = Options(title=title, tokens=tokens, legend=legend)
    drawn, scene = fitted(flow.structure, Gradients(flow), options, detail, "strip", max_steps)
    clips, moments = _cut(drawn, flow, scene)
    return Animation(scene, clips, moments, look)


def _cut(drawn: Diagram, flow: GradientFlow, scene: Scene) -> tuple[list[Clip], int]:
    """When each shape appears, and how many moments that takes."""
    sums = sums_of(drawn, flow)
    start: dict[str, int] = {}
    arrival: dict[str, int] = {}
    filled: list[list[int]] = [[] for _ in sums]
    now = 0
    both = passes(drawn, flow, scene, sums)
    for moments, times, most in zip(both, (start, arrival), (FORWARD, BACKWARD), strict=True):
        seen = [moment for moment in moments if moment.lights or moment.fill]
        shown = min(len(seen), most)
        for at, moment in enumerate(seen):
            when = now + 1 + at * shown // len(seen)
            times.update((name, when) for name, _ in moment.lights)
            for weight, _ in moment.fill:
                filled[weight].append(when)
        now += shown
    clips: list[Clip] = []
    shapes: list[Edge | Rect | Label] = [*scene.edges, *scene.boxes, *scene.labels]
    for shape in shapes:
        first, then = start.get(shape.id, 0), arrival.get(shape.id, 0)
        if not has_gradient(shape):
            clips.append(Clip(shape, first, faint=True))
            continue
        if not isinstance(shape, Label) and shape.kind != "bar":
            clips.append(Clip(_before(shape), first, then, faint=True))
        clips.append(Clip(shape, then))
    totals = {label.id: label for label in scene.labels}
    for weight, (each, times_of) in enumerate(zip(sums, filled, strict=True)):
        label = totals[f"total_{weight}"]
        for at, (first, then) in enumerate(pairwise(times_of)):
            words = line("Σ ", number(norm_of(each.running[at + 1])))
            if then > first:
                clips.append(Clip(replace(label, id=f"{label.id}_{at}", line=words), first, then))
    return clips, now + 1


def _before(shape: Edge | Rect) -> Edge | Rect:
    """A shape before the gradient arrives."""
    if isinstance(shape, Edge):
        return replace(shape, color="faint", width=1.1, dash="solid", backward=False)
    lines = () if shape.kind in ("reach", "share") else tuple(line for line in shape.lines if line.role != "norm")
    return replace(shape, lines=lines, fill=FILL.get(shape.kind, "paper"))


def _gif(frames: list[bytes], seconds: float) -> bytes:
    from PIL import Image

    pictures = [Image.open(io.BytesIO(frame)).convert("RGB") for frame in frames]
    palette = pictures[-1].quantize(255)
    drawn = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    times = [round(1000 * seconds)] * (len(drawn) - 1) + [round(1000 * seconds * HOLD)]
    out = io.BytesIO()
    drawn[0].save(out, format="gif", save_all=True, append_images=drawn[1:], duration=times, loop=0)
    return out.getvalue()


def _mp4(drawn: Callable[[], list[bytes]], seconds: float) -> bytes:
    """By ffmpeg, from PNG on its standard input; H.264 wants even sizes."""
    from tempfile import TemporaryDirectory

    program = shutil.which("ffmpeg")
    if program is None:
        raise InputError("save: .mp4 needs the program ffmpeg, which is not on the PATH; save as .gif or .svg")
    frames = drawn()
    with TemporaryDirectory() as folder:
        target = Path(folder) / "animation.mp4"
        command = [program, "-y", "-loglevel", "error", "-f", "image2pipe", "-framerate", f"{1 / seconds:g}", "-i", "-"]
        command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", str(target)]
        try:
            run_program(command, b"".join([*frames, *frames[-1:] * HOLD]), 120.0)
            return target.read_bytes()
        except OSError as error:
            raise InputError(f"save: {error}; save as .gif or .svg") from error
