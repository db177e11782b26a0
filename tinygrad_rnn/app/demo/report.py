"""The demo's report: one self-contained page, every picture inside it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from ...bptt import Comparison
from ...escape import html
from .pictures import Picture


@dataclass(frozen=True)
class Report:
    """What the page shows beside the pictures."""

    text: str
    """Where the training text comes from."""
    facts: list[tuple[str, str]]
    sample_before: str
    sample_after: str
    comparison: Comparison
    flow_table: str
    source: str
    """BPTT as the compiler writes it."""
    training: Picture
    graphs: list[Picture]
    flows: list[Picture]


def write_report(report: Report, folder: Path) -> None:
    """Write `report.html` into `folder`, where the pictures are already."""
    loader = PackageLoader(__package__, ".")
    environment = Environment(loader=loader, autoescape=True, finalize=html, undefined=StrictUndefined)
    page = environment.get_template("report.html").render(report=report, uri=lambda file: _data_uri(folder / file))
    (folder / "report.html").write_text(page, encoding="utf-8")


def _data_uri(svg: Path) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.read_bytes()).decode()}"
