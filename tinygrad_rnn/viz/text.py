"""Text in pictures: how wide it is, how it is shortened, and subscripts as the textbooks set them.

A picture must know the width of its words before any renderer has seen them, so the widths of
DejaVu Sans (the widest of the usual sans-serif fonts) are tabulated here: what fits in it fits in the others.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np

from .style import TEXT

SUBSCRIPT = 0.82
"""Size of a subscript relative to its line."""
SUBSCRIPT_DROP = 0.22
"""How far it stands below the line, relative to the line's size."""

_WIDTHS = {
    character: width
    for width, characters in {
        0.29: "'ijlIJ",
        0.34: " ,./:;\\|",
        0.41: "f-()[]t!r·",
        0.53: '"*_`sz?∂',
        0.47: "₀₁₂₃₄₅₆₇₈₉₋",
        0.61: "cLFkvxyPTYao",
        0.64: "eESbdghnpqu$0123456789{}σΣ√",
        0.70: "KAVBRXZC",
        0.79: "UHNDG&OQ",
        0.86: "w#+<=>^~M×−⊙∞",
        1.00: "%mW@…→",
    }.items()
    for character in characters
}
_DIGITS = str.maketrans("0123456789−", "₀₁₂₃₄₅₆₇₈₉₋")
_INDEXED = re.compile(r"([^\W\d_]{1,2})_([^\W_]{1,4})")
_BOLD = 1.1


@dataclass(frozen=True, slots=True)
class Run:
    """A piece of a line in one style."""

    text: str
    subscript: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, centred where it is put unless a shape says otherwise."""

    runs: tuple[Run, ...]
    size: float = TEXT
    bold: bool = False
    color: str = "ink"
    """By role, as a `Theme` knows it."""
    role: str = ""
    """What a page may hide it by, such as "norm"."""

    @property
    def text(self) -> str:
        """The line without its styles, as a screen reader would say it."""
        return "".join(f"[{run.text}]" if run.subscript and run.text[:1].isdigit() else run.text for run in self.runs)

    @property
    def width(self) -> float:
        """A safe estimate in px."""
        return math.fsum(
            max(width(run.text, self.size * SUBSCRIPT, self.bold), width(in_line(run), self.size, self.bold))
            if run.subscript
            else width(run.text, self.size, self.bold)
            for run in self.runs
        )


def line(*parts: str | Run, size: float = TEXT, bold: bool = False, color: str = "ink", role: str = "") -> Line:
    """A line of plain strings and runs."""
    runs = tuple(Run(part) if isinstance(part, str) else part for part in parts)
    return Line(tuple(run for run in runs if run.text), size, bold, color, role)


def in_line(run: Run) -> str:
    """A run where all text is of one size: W_hh, h₃, c_f,₃. Digits have subscripts of their own."""
    if not run.subscript:
        return run.text
    parts = (part if set(part) <= set("0123456789−") else f"_{part}" for part in run.text.split(", "))
    return ",".join(part if part.startswith("_") else part.translate(_DIGITS) for part in parts)


def width(text: str, size: float, bold: bool = False) -> float:
    """How wide `text` is at most, in px, at font size `size`."""
    return size * (_BOLD if bold else 1.0) * math.fsum(_WIDTHS.get(c) or _unusual(c) for c in text)


def _unusual(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if ord(character) > 0x1F000:  # emoji
        return 1.4
    return 1.05 if unicodedata.east_asian_width(character) in "WFA" else 0.85


def clean(text: str) -> str:
    """Text without line breaks and control characters, which neither XML nor a box can hold."""
    return (text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)).strip()


def shorten(text: str, length: int = 18) -> str:
    """At most `length` characters; the middle gives way, as names differ at their ends."""
    text = clean(text)
    if len(text) <= length:
        return text
    tail = length // 3
    return text[: length - tail - 1] + "…" + text[-tail:]


def name_runs(name: str, step: int | None = None, length: int = 18) -> tuple[Run, ...]:
    """A variable as a textbook sets it: `W_hh` is W with a subscript, `h` at step 3 is h with subscript 3."""
    name = shorten(name, length) or "(blank)"
    found = _INDEXED.fullmatch(name)
    below = [found[2]] if found else []
    if step is not None:
        below.append(str(step).replace("-", "−"))
    base = found[1] if found else name
    return (Run(base), Run(", ".join(below), subscript=True)) if below else (Run(base),)


def words_runs(words: str) -> tuple[Run, ...]:
    """Several words, each set as a name: "@ W_hh", "W_xh, W_hh", "|∂L_T/∂h_k|"."""
    runs: list[Run] = []
    for word in re.split(r"([\s,ᵀ|/∂:]+)", words):
        if _INDEXED.fullmatch(word):
            runs += name_runs(word, length=40)
        elif word.endswith("_k") and runs and runs[-1].text.endswith("∂"):  # a state of any name at step k: ∂slow_k
            runs += Run(word.removesuffix("_k")), Run("k", subscript=True)
        else:
            runs.append(Run(word))
    return tuple(runs)


def wrapped(words: str, width_limit: float, size: float) -> list[str]:
    """Lines of whole words, none wider than `width_limit` px unless a word is."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width(longer, size, bold=True) > width_limit:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def fixed(value: float, decimals: int = 2) -> str:
    """A coordinate, without the zeros at its end."""
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


def shape_of(x: Any) -> str:
    """The shape of an array or tensor: 2×3, or scalar."""
    return "×".join(map(str, np.shape(getattr(x, "_array", x)))) or "scalar"


def number(value: float | None) -> str:
    """A norm or a gain to two digits: 0.44, 12.3, 3.1e-8, 0, NaN, inf; "?" for what was not computed."""
    if value is None:
        return "?"
    size = abs(value)
    if not 0 < size < math.inf:
        return "0" if size == 0 else "∞" if value > 0 else "−∞" if value < 0 else "NaN"
    if 0.001 <= size < 99_999.5:
        digits = 4 if size < 0.00995 else 3 if size < 0.0995 else 2 if size < 9.95 else 1 if size < 99.5 else 0
        return f"{value:.{digits}f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"
