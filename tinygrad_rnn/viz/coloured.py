"""A text coloured by what each of its parts contributed to an answer: terminal, notebook, SVG and HTML."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from ..core.arguments import checked
from ..escape import terminal, xml
from ..flow.influence import Contributions
from .printing import saved
from .scene import Label, Rect, Scene
from .style import mix, themes
from .svg import svg
from .text import line

COLUMNS = 80
_WIDTH, _HEIGHT = 9.0, 22.0
_FOR, _AGAINST = "#C25400", "#0072B2"


class ColouredText:
    """Made by `coloured`; print it, show it in a notebook, or save it as .svg, .html or .txt."""

    @checked
    def __init__(self, found: Contributions) -> None:
        self.found = found
        values = found.values.tolist()
        largest = max(map(abs, values), default=0.0) or 1.0
        self.shares = [value / largest for value in values]

    @property
    def title(self) -> str:
        """What the colours mean, in a sentence."""
        most = max(self.found.values.tolist(), key=abs, default=0.0)
        colours = f"orange speaks for {self.found.answer!r}, blue against it"
        return f"{colours}; the darkest is {most:+.2g} of its log probability"

    def __str__(self) -> str:
        """Coloured where standard output is a terminal and NO_COLOR is not set; else a line for each strong part."""
        words = [terminal(token) for token in self.found.tokens]
        if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
            return "".join(map(_ansi, words, self.shares)) + f"\n{terminal(self.title)}"
        ranked = sorted(range(len(words)), key=lambda k: -abs(self.shares[k]))[:10]
        head = f"what speaks for {terminal(self.found.answer)!r}, the ten strongest of {len(words)} inputs:"
        return "\n".join([head, *(f"{k:>6}  {words[k]!r:<12.12}  {self.found.values[k]:+.3f}" for k in sorted(ranked))])

    def html(self) -> str:
        """A fragment of HTML that depends on nothing else."""
        parts = [
            f'<span title="{value:+.3g}" style="background:{_css(share)};color:#000">{xml(terminal(token))}</span>'
            for token, share, value in zip(self.found.tokens, self.shares, self.found.values.tolist(), strict=True)
        ]
        return (
            f'<figure style="margin:0"><pre style="white-space:pre-wrap;line-height:1.6">{"".join(parts)}</pre>'
            f"<figcaption>{xml(self.title)}</figcaption></figure>"
        )

    _repr_html_ = html

    def svg(self) -> str:
        """One box for each part, in lines of about 80 characters."""
        scene, x, y = Scene(title=self.title), 0.0, 0.0
        for k, (token, share) in enumerate(zip(self.found.tokens, self.shares, strict=True)):
            words = line(terminal(token), size=14.0)
            width = _WIDTH * max(1, len(words.text))
            if x and x + width > COLUMNS * _WIDTH:
                x, y = 0.0, y + _HEIGHT
            tip = f"{self.found.values[k]:+.3g}"
            scene.boxes.append(Rect(f"part_{k}", x, y, width, _HEIGHT, _css(share), lines=(words,), tooltip=tip))
            x += width
        scene.labels.append(Label("title", 0.0, y + 2 * _HEIGHT, line(self.title), "start"))
        scene.fit(8.0)
        return svg(scene, replace(themes["light"], font="monospace"))

    @checked
    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it in the format of the path's ending.

        Raises:
            InputError: the ending is another one, or the place cannot be written to.
        """
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        page = f"<!doctype html>{head}<title>{xml(self.title)}</title>{self.html()}\n"
        return saved(path, {".svg": self.svg, ".html": lambda: page, ".txt": lambda: f"{self}\n"})


@checked
def coloured(found: Contributions) -> ColouredText:
    """The inputs of a sequence as text, coloured by what `tg.flow.contributions` found."""
    return ColouredText(found)


def _css(share: float) -> str:
    return mix("#FFFFFF", _FOR if share > 0 else _AGAINST, 0.75 * abs(share))


def _ansi(token: str, share: float) -> str:
    r, g, b = bytes.fromhex(_css(share)[1:])
    return f"\x1b[48;2;{r};{g};{b}m\x1b[38;2;0;0;0m{token}\x1b[0m"
