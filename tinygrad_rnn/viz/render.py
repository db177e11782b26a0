"""A picture that saves itself as SVG, PNG, PDF, GIF or DOT: drawn in Python, or by Graphviz where that is asked for.

It behaves as the objects of the `graphviz` package do: `source`, `format`, `engine`, `pipe`, `render`, `view`, `save`.
"""

from __future__ import annotations

import os
import shutil
import webbrowser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.arguments import checked
from ..errors import InputError
from ..files import as_path, make_folder, write_file
from .canvas import figure, image
from .dot import dot
from .printing import run_program, saved
from .scene import Scene
from .style import Theme, theme
from .svg import svg

if TYPE_CHECKING:
    from graphviz import Source
    from matplotlib.figure import Figure

TIMEOUT = 30.0
"""Seconds after which Graphviz is given up; it may not hang a picture."""
DPI = 192.0
"""Dots per inch of a PNG or GIF: two pixels for a px."""
FORMATS = ("svg", "png", "pdf", "gif", "dot", "gv")
ENGINES = ("dot", "neato", "fdp", "sfdp", "circo", "twopi", "osage", "patchwork")


class GraphvizError(InputError):
    """Graphviz was asked for, and is not there, fails, or takes too long."""


class Picture:
    """A drawn graph. Shown inline in a notebook; `save` writes it to a file.

    Attributes:
        scene: all shapes with their coordinates.
        theme: its colours and font.
        dpi: dots per inch of PNG and GIF; a px is 1/96 inch.
        engine: the Graphviz program that lays the graph out; None for the layout and drawing of this package.
        format: what `render` and `pipe` make unless told otherwise.
    """

    def __init__(self, scene: Scene, look: str | Theme = "light", dpi: float = DPI, engine: str | None = None) -> None:
        self.scene = scene
        self.theme = theme(look)
        self.dpi = dpi
        self.engine: str | None = engine
        self.format: str = "svg"

    def __setattr__(self, name: str, value: Any) -> None:
        """What is set is known to be possible."""
        if name in ("engine", "format"):
            _known("svg" if name == "engine" else value, value if name == "engine" else self.engine)
        super().__setattr__(name, value)

    @property
    def source(self) -> str:
        """The picture as DOT text: with an engine only the graph, to be laid out and edited, else with positions."""
        return dot(self.scene, self.theme, positions=self.engine is None)

    def graphviz(self) -> Source:
        """The picture as a `graphviz.Source`, for its users: with an engine for Graphviz to lay out."""
        from graphviz import Source

        return Source(self.source, format=self.format, engine=self.engine or "dot")

    def svg(self) -> str:
        """The picture as SVG, drawn in Python."""
        return svg(self.scene, self.theme)

    def figure(self) -> Figure:
        """The picture as a Matplotlib figure, drawn in Python."""
        return figure(self.scene, self.theme)

    @checked
    def pipe(self, format: str | None = None, engine: str | None = None) -> bytes:
        """The picture as bytes.

        Args:
            format: "svg", "png", "pdf", "gif", "dot" or "gv", with an engine whatever Graphviz makes; by default
                `self.format`.
            engine: a Graphviz program, such as "dot", that draws `source`; by default `self.engine`.

        Raises:
            InputError: an unknown format or engine; `GraphvizError`: an engine was asked for and is not there, fails,
                or takes more than 30 seconds.
        """
        drawn_by = engine or self.engine
        kind = _known(format if format is not None else self.format, drawn_by)
        if kind in ("dot", "gv"):
            return self.source.encode()
        if drawn_by is not None:
            return _by_graphviz(self.source, drawn_by, kind, self.dpi)
        return self.svg().encode() if kind == "svg" else image(self.scene, self.theme, kind, self.dpi)

    @checked
    def save(self, path: str | os.PathLike[str], engine: str | None = None) -> Path:
        """Write the picture; the ending of `path` says how: .svg, .png, .pdf, .gif, .dot or .gv.

        Returns:
            The path written.

        Raises:
            InputError: another ending, or a folder that is not there or not writable; else as `pipe`.
        """
        return saved(path, {f".{kind}": partial(self.pipe, kind, engine) for kind in FORMATS})

    @checked
    def render(
        self,
        filename: str | os.PathLike[str] = "picture.gv",
        directory: str | os.PathLike[str] | None = None,
        view: bool = False,
        cleanup: bool = False,
        format: str | None = None,
        engine: str | None = None,
    ) -> str:
        """Write the DOT text to `filename` and the picture beside it, to `filename.svg` or what the format is.

        Args:
            filename: of the DOT text.
            directory: where both go; made if it is not there.
            view: open the picture.
            cleanup: delete the DOT text again.
            format, engine: as for `pipe`.

        Returns:
            The path of the picture.
        """
        text = as_path(directory or ".", "render") / as_path(filename, "render")
        kind = _known(format if format is not None else self.format, engine or self.engine)
        make_folder(text.parent)
        made = write_file(text.with_name(f"{text.name}.{kind}"), self.pipe(kind, engine))
        if not cleanup:
            write_file(text, self.source)
        if view:
            webbrowser.open(made.resolve().as_uri())
        return str(made)

    @checked
    def view(
        self,
        filename: str | os.PathLike[str] = "picture.gv",
        directory: str | os.PathLike[str] | None = None,
        cleanup: bool = False,
    ) -> str:
        """Render the picture and open it; the path is returned."""
        return self.render(filename, directory, view=True, cleanup=cleanup)

    # ------------------------------------------------------------------ notebooks
    def _repr_html_(self) -> str:
        """The picture, no wider than the cell; never an error, as Python draws where Graphviz cannot."""
        if self.engine is not None:
            try:
                made = self.pipe("svg").decode()
                return f'<div style="overflow-x:auto;background:#fff">{made[made.index("<svg") :]}</div>'
            except GraphvizError:
                pass
        return svg(self.scene, self.theme, fluid=True)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": self._repr_html_(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Picture {self.scene.title!r}, {self.scene.width:.0f} x {self.scene.height:.0f} px>"


def _known(kind: str, engine: str | None) -> str:
    """A format that can be made.

    Raises:
        InputError: it is none of those that Python draws, and no engine was asked for; or Graphviz has no such engine.
    """
    if engine is not None and engine not in ENGINES:
        raise InputError(f"picture: got engine {engine!r}, expected None or one of {', '.join(ENGINES)}")
    if not isinstance(kind, str) or not (kind in FORMATS or (engine is not None and kind.isalnum())):
        raise InputError(
            f"picture: got format {kind!r}, expected one of {', '.join(FORMATS)}; with engine='dot' there are more"
        )
    return kind


def _by_graphviz(source: str, engine: str, kind: str, dpi: float) -> bytes:
    program = shutil.which(engine)
    if program is None:
        raise GraphvizError(
            f"picture: the program {engine} is not on the PATH; install Graphviz (`apt install graphviz`, "
            "`brew install graphviz`), or leave engine at None, and the picture is drawn without it"
        )
    command = [program, f"-T{kind}", *([f"-Gdpi={dpi:g}"] if kind in ("png", "gif") else [])]
    try:
        return run_program(command, source.encode(), TIMEOUT)
    except OSError as error:
        late = "; draw fewer steps, or leave engine at None" if isinstance(error, TimeoutError) else ""
        raise GraphvizError(f"picture: {error}{late}") from error
