"""A page as one file, and the templates that pages are made of."""

from __future__ import annotations

import gzip
import os
from base64 import b64encode
from pathlib import Path

from ... import __name__ as _package
from ...escape import html as escaped
from ...escape import xml
from ..printing import saved


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
        return saved(path, {".html": self.html, ".htm": self.html})

    def _repr_html_(self) -> str:
        size = 'width="100%" height="760" style="border:0"'
        return f'<iframe srcdoc="{xml(self._html)}" {size} title="{xml(self.title)}"></iframe>'

    def __repr__(self) -> str:
        return f"<Page {self.title!r}, {len(self._html) / 1e6:.1f} MB>"


def filled(template: str, **values: object) -> str:
    """One of the templates of this folder with its values, escaped where they are not `Markup`."""
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader(f"{_package}.viz", "page")
    known = Environment(loader=loader, autoescape=True, finalize=escaped, trim_blocks=True, lstrip_blocks=True)
    return known.get_template(template).render(values)


def packed(text: str) -> str:
    """Text as `unpack.js` reads it."""
    return b64encode(gzip.compress(text.encode(), mtime=0)).decode()
