"""A text coloured by what each of its parts contributed to an answer: terminal, notebook, SVG and HTML."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..core.arguments import checked
from ..errors import InputError
from ..escape import terminal, xml
from ..files import as_path, write_file
from ..flow.contributions import Contributions

COLUMNS = 80
_WIDTH, _HEIGHT = 9.0, 22.0
_FOR, _AGAINST = (194, 84, 0), (0, 114, 178)


class ColouredText:
    """Made by `coloured`; print it, show it in a notebook, or save it as .svg, .html or .txt."""

    @checked
    def __init__(self, found: Contributions) -> None:
        self.found = found
        largest = max((abs(value) for value in found.values.tolist()), default=0.0) or 1.0
        self.shares = [value / largest for value in found.values.tolist()]

    @property
    def title(self) -> str:
        """What the colours mean, in a sentence."""
        values = self.found.values
        return (
            f"orange speaks for {self.found.answer!r}, blue against it; the darkest is "
            f"{max(values.tolist(), key=abs, default=0.0):+.2g} of its log probability"
        )

    def __str__(self) -> str:
        """Coloured where standard output is a terminal and NO_COLOR is not set; else a line for each strong part."""
        words = [terminal(token) for token in self.found.tokens]
        if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
            return "".join(map(_ansi, words, self.shares)) + f"\n{terminal(self.title)}"
        ranked = sorted(range(len(words)), key=lambda k: -abs(self.shares[k]))[:10]
        lines = [f"{k:>6}  {words[k]!r:<12.12}  {self.found.values[k]:+.3f}" for k in sorted(ranked)]
        return "\n".join(
            [f"what speaks for {terminal(self.found.answer)!r}, the ten strongest of {len(words)} inputs:", *lines]
        )

    def html(self) -> str:
        """A fragment of HTML that depends on nothing else."""
        parts = [
            f'<span title="{value:+.3g}" style="background:{_css(share)};color:#000">{_visible(token)}</span>'
            for token, share, value in zip(self.found.tokens, self.shares, self.found.values.tolist(), strict=True)
        ]
        return (
            f'<figure style="margin:0"><pre style="white-space:pre-wrap;line-height:1.6">{"".join(parts)}</pre>'
            f"<figcaption>{xml(self.title)}</figcaption></figure>"
        )

    def _repr_html_(self) -> str:
        return self.html()

    def svg(self) -> str:
        """One box for each part, in lines of about 80 characters."""
        boxes, x, y, widest = [], 0.0, 0.0, 0.0
        for token, share, value in zip(self.found.tokens, self.shares, self.found.values.tolist(), strict=True):
            text = _visible(token)
            width = _WIDTH * max(1, len(terminal(token)))
            if x and x + width > COLUMNS * _WIDTH:
                x, y = 0.0, y + _HEIGHT
            boxes.append(
                f'<g><title>{value:+.3g}</title><rect x="{x:g}" y="{y:g}" width="{width:g}" height="{_HEIGHT:g}" '
                f'fill="{_css(share)}"/><text x="{x + width / 2:g}" y="{y + 15:g}" text-anchor="middle" '
                f'xml:space="preserve">{text}</text></g>'
            )
            x += width
            widest = max(widest, x)
        size = f'width="{max(widest, 600):g}" height="{y + 2 * _HEIGHT + 8:g}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="14" role="img" '
            f'aria-label="{xml(self.title)}"><rect width="100%" height="100%" fill="#FFFFFF"/>{"".join(boxes)}'
            f'<text x="0" y="{y + 2 * _HEIGHT - 2:g}" font-family="sans-serif" font-size="12">'
            f"{xml(self.title)}</text></svg>\n"
        )

    @checked
    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it in the format of the path's ending.

        Raises:
            InputError: the ending is another one, or the place cannot be written to.
        """
        place = as_path(path, "save")
        policy = "default-src 'none'; style-src 'unsafe-inline'"
        head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        page = f"<!doctype html>{head}<title>{xml(self.title)}</title>{self.html()}\n"
        made = {".svg": self.svg(), ".html": page, ".txt": f"{self}\n"}.get(place.suffix)
        if made is None:
            raise InputError(f"save: got {place.name!r}, expected a name that ends in .svg, .html or .txt")
        write_file(place, made)
        return place


@checked
def coloured(found: Contributions) -> ColouredText:
    """The inputs of a sequence as text, coloured by what `tg.flow.contributions` found."""
    return ColouredText(found)


def _visible(token: str) -> str:
    return xml(terminal(token))


def _mixed(share: float) -> tuple[int, int, int]:
    full = _FOR if share > 0 else _AGAINST
    strength = 0.75 * abs(share)
    r, g, b = (round(255 + (part - 255) * strength) for part in full)
    return r, g, b


def _css(share: float) -> str:
    return "#{:02X}{:02X}{:02X}".format(*_mixed(share))


def _ansi(token: str, share: float) -> str:
    r, g, b = _mixed(share)
    return f"\x1b[48;2;{r};{g};{b}m\x1b[38;2;0;0;0m{token}\x1b[0m"


__all__ = ["ColouredText", "coloured"]
