"""The demo's report: one self-contained page, every picture inside it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ...escape import html


def write_report(folder: Path, **shown: Any) -> None:
    """Write `report.html`, which shows these, into `folder`, where the pictures are already."""
    loader = PackageLoader(__package__, ".")
    environment = Environment(loader=loader, autoescape=True, finalize=html, undefined=StrictUndefined)
    page = environment.get_template("report.html").render(shown, uri=lambda file: _data_uri(folder / file))
    (folder / "report.html").write_text(page, encoding="utf-8")


def _data_uri(svg: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"
