"""The way out for text: one function for each place that names and other people's text are written to.

A name may come from a file, a key or a user's variable. It is data everywhere: in compiled source, DOT, XML,
HTML, on a terminal and in a plot no character of it may mean anything to who reads them.
"""

from __future__ import annotations

import dataclasses
import json
import keyword
import re
import reprlib
import unicodedata
from html import escape as _escape
from typing import Any

import numpy as np

LONGEST = 80
"""Characters of an identifier; of a comment, twice as many."""


def is_plain(text: str) -> bool:
    """Whether `text` is free of what nobody can see: control characters, line breaks, lone surrogates, NUL."""
    return text.isprintable() or all(map(_is_visible, text))


def identifier(text: str) -> str:
    """Python source: a name that `text` may be used as. Others may get the same, and it may be taken."""
    # Python reads names in this form, so that two which look different could be one.
    base = re.sub(r"\W", "_", unicodedata.normalize("NFKC", text[:LONGEST]))[:LONGEST]
    if not base.isidentifier() and not f"x{base}".isidentifier():  # \w is wider, such as ² or a lone vowel sign
        base = "".join(c if f"x{c}".isidentifier() else "_" for c in base)
    return base if base.isidentifier() and not keyword.iskeyword(base) and base != "__debug__" else f"x_{base}"


def comment(text: str) -> str:
    """Python source: what may follow a `#`, on one line whatever `text` holds."""
    text = terminal(text)
    return text if len(text) <= 2 * LONGEST else f"{text[: 2 * LONGEST]}…"


def terminal(text: str, lines: bool = False) -> str:
    """A terminal, or any plain text: what cannot be seen is spelled out, as in a string of Python.

    Args:
        text: what to write.
        lines: whether it is a text, which keeps its lines and tabs, and not a name.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if _is_visible(c) or c in kept else repr(c)[1:-1] for c in text)


def short(value: Any) -> str:
    """An error: what someone gave, briefly, whatever it is; numbers, texts and lists themselves, else their type."""
    if isinstance(value, str | int | float | complex | np.generic | tuple | list) or value is None:
        return _BRIEF.repr(value)
    return f"an object of type {type(value).__name__}"


def record(self: Any) -> str:
    """The `__repr__` of a dataclass that holds arrays or a graph: its fields, of what has a shape no more than that."""
    shown = (f"{f.name}={_FIELDS.repr(getattr(self, f.name))}" for f in dataclasses.fields(self) if f.repr)
    return f"{type(self).__name__}({', '.join(shown)})"


class _Fields(reprlib.Repr):
    def repr_instance(self, x: Any, level: int) -> str:
        return f"{type(x).__name__} {x.shape}" if hasattr(x, "shape") else super().repr_instance(x, level)


_FIELDS = _Fields()
_BRIEF = reprlib.Repr()  # it ends, for lists that hold themselves and objects that cannot be shown too
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother = 3, 80, 80


def xml(text: str) -> str:
    """SVG or HTML, in content and in quoted attributes; what XML cannot hold is replaced."""
    return _escape(_replaced(text))


def html(value: Any) -> Any:
    """A value that a Jinja template shows (its `finalize`): text as `xml` writes it, markup as it is."""
    from markupsafe import Markup

    return Markup(xml(value)) if isinstance(value, str) and not hasattr(value, "__html__") else value


def script(data: Any) -> str:
    """JSON inside a script element: nothing in it may end the element."""
    text = _replaced(json.dumps(data, ensure_ascii=False, separators=(",", ":")))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def dot_string(text: str) -> str:
    """A quoted string of DOT. Graphviz reads entities and backslashes in it, and no more than 16,384 bytes."""
    text = text if len(text) <= 2000 else f"{text[:2000]}…"
    text = _replaced(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def preformatted(text: str) -> str:
    """A notebook: lines as a terminal shows them, no wider than its cell, in the colours of its page."""
    return f'<pre style="{_BLOCK}">{xml(text)}</pre>'


def preformatted_source(text: str) -> str:
    """A notebook: Python source with its keywords bold and its comments in italics, which any page's colours suit."""
    lines = xml(text).split("\n")
    for at, line in enumerate(lines):
        code, mark, words = line.partition("  # ") if "  # " in line else line.partition("# ")
        if mark and code.strip():
            code = _KEYWORDS.sub(r"<b>\1</b>", code)
        elif not mark:
            code = _KEYWORDS.sub(r"<b>\1</b>", line)
        lines[at] = code + (f'<i style="opacity:.75">{mark}{words}</i>' if mark else "")
    return f'<pre style="{_BLOCK};max-height:40em">{chr(10).join(lines)}</pre>'


_BLOCK = "font-family:monospace;max-width:900px;overflow:auto;margin:0;line-height:1.25"
_KEYWORDS = re.compile(rf"\b({'|'.join(keyword.kwlist)})\b")


def plot_label(text: str) -> str:
    """Matplotlib: `$` begins no mathematics, and a `_` at the start hides no line from a legend."""
    text = terminal(text, lines=True).replace("$", r"\$")
    return f"\u200a{text}" if text.startswith("_") else text


def _is_visible(c: str) -> bool:
    return c.isprintable() or unicodedata.category(c) == "Zs"


def _replaced(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if _is_visible(c) or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
