"""The documentation without building it: public names, links, and code that the site itself cannot run."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import tinygrad_rnn as tg

DOCS = Path(__file__).parent.parent / "docs"


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    there = set(re.findall(r"auto(?:function|class|data|exception):: tinygrad_rnn\.(?:\w+\.)*(\w+)", text))
    for module in re.findall(r"automodule:: (\S+)", text):
        there |= set(importlib.import_module(module).__all__)
    for room in (tg, tg.nn, tg.optim, tg.train, tg.bptt, tg.flow, tg.compiler, tg.viz):
        missing = [name for name in room.__all__ if name not in there and type(getattr(room, name)) is not ModuleType]
        assert missing == [], room.__name__


@pytest.mark.parametrize(
    ("link", "fine"),
    [
        ("other.html", True),
        ("other.html#there", True),
        ("#here", True),
        ("https://example.org/x#y", True),
        ("missing.html", False),
        ("other.html#missing", False),
        ("missing.png", False),
    ],
)
def test_links_of_the_site_are_followed(tmp_path: Path, link: str, fine: bool) -> None:
    (tmp_path / "index.html").write_text(f'<h1 id="here">A</h1><a href="{link}">B</a>')
    (tmp_path / "other.html").write_text('<a id="there">A</a>')
    done = subprocess.run(
        [sys.executable, DOCS / "links.py", tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode == 0) == fine, done.stdout
    assert (f"broken: index.html: {link}" in done.stdout) == (not fine)


@pytest.mark.slow
def test_the_page_on_pytorch_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```python\n(.*?)```", (DOCS / "howto" / "pytorch.md").read_text(), re.S))
    exec(compile(code, "pytorch.md", "exec"), {"__name__": "page"})
    here, there = map(float, re.findall(r"here (\S+) there (\S+)", capsys.readouterr().out)[0])
    assert here == pytest.approx(there, rel=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"flow.svg", "lstm.safetensors"}
