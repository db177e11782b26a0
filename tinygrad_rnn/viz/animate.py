"""The two passes as an animation: values appear in the order of computing, then gradients in the order of backprop.

An animated SVG needs nothing but a browser and shows its last frame where motion is unwanted; GIF is drawn by
Matplotlib and Pillow; MP4 needs ffmpeg.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
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
from .printing import saved
from .scene import Edge, Label, Rect, Scene
from .style import Theme, theme
from .svg import Writer
from .text import line, number
from .unrolled import Detail, Limit, fitted

FORWARD, BACKWARD, HOLD = 20, 40, 12
"""At most so many moments of each pass, and how many the end stays."""
FAINT = 0.12


@dataclass(frozen=True)
class Clip:
    """A shape, and from which moment to which (the end, if there is none) it is shown."""

    shape: Rect | Edge | Label
    start: int = 0
    stop: int | None = None
    faint: bool = False
    """Whether it is there, faintly, before its time."""


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
        return replace(
            self.scene,
            edges=[shape for shape in shown if isinstance(shape, Edge)],
            boxes=[shape for shape in shown if isinstance(shape, Rect)],
            labels=[shape for shape in shown if isinstance(shape, Label)],
        )

    @checked
    def svg(self, seconds: NotNegative | None = None) -> str:
        """An SVG that plays over and over; where motion is unwanted (`prefers-reduced-motion`) it shows the end."""
        writer = Writer(self.scene, self.theme)
        whole = self.moments + HOLD
        rules = {(clip.start, clip.stop, clip.faint) for clip in self.clips if clip.start or clip.stop is not None}
        css = "".join(_rule(*rule, whole) for rule in sorted(rules, key=str))
        length = whole * 0.18 if seconds is None else seconds
        style = (
            f"<style>.m{{animation-duration:{length:g}s;animation-iteration-count:infinite;"
            f"animation-timing-function:step-end}}{css}"
            "@media (prefers-reduced-motion:reduce){.m{animation:none!important}}</style>\n"
        )
        parts = list(writer.document(False, self._shapes(writer)))
        return "".join([parts[0], parts[1], style, *parts[2:]])

    def _shapes(self, writer: Writer) -> Iterator[str]:
        """As in the scene, each within a group that says when it is seen."""
        yield from map(writer.shape, self.scene.lanes)
        yield from map(writer.shape, self.scene.backdrops)
        for clip in self.clips:
            text = writer.shape(clip.shape)
            if clip.start or clip.stop is not None:
                last = "" if clip.stop is None else ' opacity="0"'
                text = f'<g class="m {_name(clip.start, clip.stop, clip.faint)}"{last}>{text}</g>\n'
            yield text

    @checked
    def save(self, path: str | os.PathLike[str], seconds: NotNegative | None = None) -> Path:
        """Write the animation; the ending of `path` says how: .svg, .gif, or .mp4, which needs ffmpeg.

        Raises:
            InputError: another ending, a place that cannot be written to, or no ffmpeg.
        """
        each = 0.18 if seconds is None else seconds / (self.moments + HOLD)
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
    look = _theme(theme)
    flow = loss_or_flow if isinstance(loss_or_flow, GradientFlow) else gradient_flow(loss_or_flow)
    gradients = Gradients(flow)
    options = Options(title=title, tokens=tokens, legend=legend)
    drawn, scene = fitted(flow.structure, gradients, options, detail, "strip", max_steps)
    clips, moments = _Cutter(drawn, gradients, scene).cut()
    return Animation(scene, clips, moments, look)


_theme = theme


class _Cutter:
    """When each shape appears."""

    def __init__(self, drawn: Diagram, gradients: Gradients, scene: Scene) -> None:
        self.drawn = drawn
        self.gradients = gradients
        self.scene = scene
        order = sorted(drawn.boxes, key=lambda box: max(member.index for member in box.members))
        computed = [box for box in reversed(order) if not box.tensors[-1].is_leaf]
        self.forward = {box.id: 1 + at * FORWARD // len(order) for at, box in enumerate(order)}
        middle = 1 + max(self.forward.values(), default=0)
        self.backward = {box.id: middle + at * BACKWARD // len(computed) for at, box in enumerate(computed)}
        self.last = middle + BACKWARD
        for box in order:  # leaves, and x_t: when the first message arrives
            users = [
                self.backward[link.target.id]
                for link in drawn.links
                if link.source is box and link.target.id in self.backward
            ]
            self.backward.setdefault(box.id, max(users, default=self.last))
        self.step_done = {
            step: max(self.backward[box.id] for box in drawn.boxes if box.zone == "lane" and box.step == step)
            for step in drawn.steps
            if any(box.zone == "lane" and box.step == step for box in drawn.boxes)
        }
        if drawn.hidden:
            after = [done for step, done in self.step_done.items() if step > drawn.hidden[-1]]
            self.hidden_done = max(after, default=self.last) + 1

    def cut(self) -> tuple[list[Clip], int]:
        clips = [clip for edge in self.scene.edges for clip in self._edge(edge)]
        clips += [clip for rect in self.scene.boxes for clip in self._rect(rect)]
        clips += [clip for label in self.scene.labels for clip in self._label(label)]
        return clips, self.last + 1

    def _edge(self, edge: Edge) -> Iterator[Clip]:
        start = self.forward.get(edge.target, self.forward.get(edge.source, 0))
        if not edge.backward:
            yield Clip(edge, start, faint=True)
            return
        stop = self.backward.get(edge.target, self._gap(edge.target))
        plain = replace(edge, color="faint", width=1.1, dash="solid", backward=False)
        yield Clip(plain, start, stop, faint=True)
        yield Clip(edge, stop)

    def _rect(self, rect: Rect) -> Iterator[Clip]:
        name = rect.id
        if name in self.forward:
            start, stop = self.forward[name], self.backward[name]
            lines = tuple(line for line in rect.lines if line.role != "norm")
            if len(lines) == len(rect.lines):
                yield Clip(rect, start, faint=True)
            else:
                yield Clip(replace(rect, lines=lines, fill=FILL.get(rect.kind, "paper")), start, stop, faint=True)
                yield Clip(rect, stop)
        elif rect.kind == "bar":
            yield Clip(rect, self.backward.get(name.rpartition("_")[0], self.last))
        elif rect.kind in ("reach", "share"):
            stop = self._strip(name)
            yield Clip(replace(rect, lines=(), fill="paper"), 0, stop)
            yield Clip(rect, stop)
        else:
            yield Clip(rect)

    def _label(self, label: Label) -> Iterator[Clip]:
        found = re.fullmatch(r"(gain|norm|cut)_(\d+)", label.id)
        if found:
            target = self.drawn.links[int(found[2])].target.id
            yield Clip(label, self.backward.get(target, self._gap(target)))
        elif label.id.startswith("hidden_gain"):
            yield Clip(label, self.hidden_done)
        elif label.id.startswith("total_"):
            yield from self._running(label)
        else:
            yield Clip(label, self.last if label.id.startswith("verdict_") else 0)

    def _running(self, label: Label) -> Iterator[Clip]:
        """The norm of the sum so far, step after step, and at last the total."""
        weights = [w for w in self.drawn.structure.shared_weights if self.gradients.norm(w) is not None]
        weight = weights[int(label.id.removeprefix("total_"))]
        flow = self.gradients.flow
        assert flow is not None
        row_of = {step: at for at, step in enumerate(flow.structure.steps)}
        places = [(done, [step]) for step, done in self.step_done.items()]
        places = sorted([*places, *([(self.hidden_done, self.drawn.hidden)] if self.drawn.hidden else [])])
        parts, total = flow.per_step(weight), flow.outside(weight)
        for at, ((done, steps), (stop, _)) in enumerate(pairwise([*places, (self.last, [])])):
            total = total + parts[[row_of[step] for step in steps if step in row_of]].sum(axis=0)
            if stop > done:
                yield Clip(replace(label, id=f"{label.id}_{at}", line=line("Σ ", number(norm_of(total)))), done, stop)
        yield Clip(label, self.last)

    def _strip(self, name: str) -> int:
        place = name.rpartition("_")[2]
        if place == "hidden":
            return self.hidden_done
        return self.step_done.get(int(place), self.last) if place.lstrip("-").isdigit() else self.last

    def _gap(self, name: str) -> int:
        return self.hidden_done if self.drawn.hidden and name == self.drawn.gap.id else self.last


def _name(start: int, stop: int | None, faint: bool) -> str:
    return f"m{start}{'f' if faint else ''}{'' if stop is None else f'-{stop}'}"


def _rule(start: int, stop: int | None, faint: bool, whole: int) -> str:
    """The key frames of what is seen from a moment to another."""
    name = _name(start, stop, faint)
    frames = [f"0%{{opacity:{FAINT if faint else 0}}}", f"{100 * start / whole:.2f}%{{opacity:1}}"]
    if not start:
        frames = ["0%{opacity:1}"]
    frames.append("100%{opacity:1}" if stop is None else f"{100 * stop / whole:.2f}%,100%{{opacity:0}}")
    return f"@keyframes {name}{{{''.join(frames)}}}.{name}{{animation-name:{name}}}"


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
            done = subprocess.run(
                command, input=b"".join([*frames, *frames[-1:] * HOLD]), capture_output=True, timeout=120
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"save: ffmpeg failed: {error}; save as .gif or .svg") from error
        if done.returncode or not target.exists():
            words = done.stderr.decode(errors="replace").strip().splitlines()
            raise InputError(f"save: ffmpeg failed: {words[-1] if words else done.returncode}; save as .gif or .svg")
        return target.read_bytes()
