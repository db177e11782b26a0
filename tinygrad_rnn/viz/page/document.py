"""A page as one file, and the templates that pages are made of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ... import __name__ as _package
from ...errors import InputError
from ...escape import html as escaped
from ...escape import xml
from ...files import as_path, write_file

if TYPE_CHECKING:
    from jinja2 import Environment


class Page:
    """A page to open in a browser. `save` writes it; a notebook shows it in a frame."""

    def __init__(self, html: str, title: str) -> None:
        self._html = html
        self.title = title

    def html(self) -> str:
        """The whole page as one text, which needs nothing else."""
        return self._html

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page.

        Raises:
            InputError: the name does not end in .html, or the place cannot be written to.
        """
        place = as_path(path, "save")
        if place.suffix.lower() not in (".html", ".htm"):
            raise InputError(f"save: got {str(path)!r}, expected a file name that ends in .html")
        return write_file(place, self._html)

    def _repr_html_(self) -> str:
        size = 'width="100%" height="760" style="border:0"'
        return f'<iframe srcdoc="{xml(self._html)}" {size} title="{xml(self.title)}"></iframe>'

    def __repr__(self) -> str:
        return f"<Page {self.title!r}, {len(self._html) / 1e6:.1f} MB>"


def environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader(f"{_package}.viz", "page")
    return Environment(loader=loader, autoescape=True, finalize=escaped, trim_blocks=True, lstrip_blocks=True)


def read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


__all__ = ["Page", "environment", "read"]
