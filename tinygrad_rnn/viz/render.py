"""A picture that saves itself: as SVG and DOT always, as PNG and PDF where a Graphviz can be found.

Renderers are tried in this order: the one asked for; the `dot` program on the PATH; the package
`pygraphviz`, whose wheels bring Graphviz along; and for SVG the built-in one, which needs nobody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_file
from .dot import dot
from .scene import Scene
from .svg import svg

TIMEOUT = 30.0
"""Seconds after which a renderer is given up; none may hang a picture."""
_LARGEST_PNG = 32_000
"""Pixels; the bitmap library behind Graphviz silently scales anything over 32,767."""
_FORMATS = ("svg", "png", "pdf", "dot")


class _UnavailableError(Exception):
    """This renderer cannot do it, for the reason given."""


class Picture:
    """A drawn graph. Shown inline in a notebook; `save` writes it to a file.

    Attributes:
        scene: all shapes with their coordinates.

    With a `source` of its own, Graphviz lays the picture out.
    """

    def __init__(self, scene: Scene, source: str | None = None) -> None:
        self.scene = scene
        self._source = source
        self._by_graphviz = source is not None

    @property
    def source(self) -> str:
        """The picture as DOT text, for Graphviz and for editing."""
        if self._source is None:
            self._source = dot(self.scene)
        return self._source

    def svg(self) -> str:
        """The picture as SVG, made by Python alone."""
        return svg(self.scene)

    def pipe(self, kind: str = "svg", renderer: str | None = None) -> bytes:
        """The picture as bytes.

        Args:
            kind: "svg", "png", "pdf" or "dot".
            renderer: "dot", "pygraphviz" or "builtin" (SVG only); by default the first that works.

        Raises:
            InputError: an unknown kind or renderer, or no renderer can make this kind here.
        """
        if kind not in _FORMATS:
            raise InputError(f"picture: got kind {kind!r}, expected one of {', '.join(_FORMATS)}")
        if kind == "dot":
            return self.source.encode()
        renderers: dict[str, Callable[[str], bytes]] = {"dot": self._by_dot, "pygraphviz": self._by_pygraphviz}
        if kind == "svg":
            renderers["builtin"] = lambda _: self.svg().encode()
        if renderer is not None:
            if renderer not in renderers:
                raise InputError(
                    f"picture: got renderer {renderer!r} for {kind}, expected one of {', '.join(renderers)}"
                )
            renderers = {renderer: renderers[renderer]}
        reasons = []
        for name, make in renderers.items():
            try:
                return make(kind)
            except _UnavailableError as reason:
                reasons.append(f"{name}: {reason}")
        raise InputError(
            f"picture: nothing here can make {kind.upper()} ({'; '.join(reasons)}); install Graphviz "
            "(`apt install graphviz`, `brew install graphviz`), or `pip install pygraphviz`, or save as .svg"
        )

    def save(self, path: str | os.PathLike[str], renderer: str | None = None) -> Path:
        """Write the picture; the ending of `path` says how: .svg, .png, .pdf or .dot.

        Returns:
            The path written.

        Raises:
            InputError: another ending, a folder that is not there or not writable, or PNG or PDF where
                no renderer can make it; then .svg and .dot are written beside and named.
        """
        path = Path(path)
        kind = path.suffix[1:].lower()
        if kind not in _FORMATS:
            raise InputError(f"save: got {str(path)!r}, expected a file name that ends in .{', .'.join(_FORMATS)}")
        try:
            data = self.pipe(kind, renderer)
        except InputError as error:
            if kind not in ("png", "pdf") or "nothing here can make" not in str(error):
                raise
            instead = [path.with_suffix(".svg"), path.with_suffix(".dot")]
            write_file(instead[0], self.svg())
            write_file(instead[1], self.source)
            raise InputError(f"{error}; wrote {instead[0]} and {instead[1]} instead") from None
        write_file(path, data)
        return path

    def _by_dot(self, kind: str) -> bytes:
        program = shutil.which("dot")
        if program is None:
            raise _UnavailableError("not on the PATH")
        command = [program, f"-T{kind}", *([f"-Gdpi={self._dpi()}"] if kind == "png" else [])]
        try:
            done = subprocess.run(command, input=self.source.encode(), capture_output=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise _UnavailableError(f"gave up after {TIMEOUT:g} seconds") from error
        except OSError as error:
            raise _UnavailableError(str(error)) from error
        if done.returncode or not done.stdout:
            words = done.stderr.decode(errors="replace").strip().splitlines()
            raise _UnavailableError(words[0] if words else f"exit code {done.returncode}")
        return done.stdout

    def _by_pygraphviz(self, kind: str) -> bytes:
        try:
            import pygraphviz
        except ImportError as error:
            raise _UnavailableError("not installed") from error
        try:
            graph = pygraphviz.AGraph(string=self.source)
            if kind == "png":
                graph.graph_attr["dpi"] = str(self._dpi())
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder) / f"picture.{kind}"
                graph.draw(str(target), format=kind, prog="dot")
                return target.read_bytes()
        except Exception as error:  # whatever a foreign library does, the picture still comes out another way
            raise _UnavailableError(str(error) or type(error).__name__) from error

    def _dpi(self) -> int:
        """144 dots per inch, or fewer where the bitmap would be larger than any viewer takes."""
        largest = max(self.scene.width, self.scene.height, 1.0)
        return max(1, min(144, int(_LARGEST_PNG * 72 / largest)))

    # ------------------------------------------------------------------ notebooks
    def _repr_svg_(self) -> str:
        """What `save("picture.svg")` writes where Graphviz does the layout; never an error, as lanes need nobody."""
        return self.pipe("svg").decode() if self._by_graphviz else self.svg()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"image/svg+xml": self._repr_svg_(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Picture {self.scene.title!r}, {self.scene.width:.0f} x {self.scene.height:.0f} points>"


__all__ = ["Picture"]
