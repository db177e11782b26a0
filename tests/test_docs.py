"""The documentation without building it: public names, links, and code that the site itself cannot run."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import subprocess
import sys
import textwrap
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.app import cli

DOCS = Path(__file__).parent.parent / "docs"


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(path.read_text() for path in (DOCS / "reference").glob("*.md"))
    there = set(re.findall(r"auto(?:function|class|data|exception):: tinygrad_rnn\.(?:\w+\.)*(\w+)", text))
    for module in re.findall(r"automodule:: (\S+)", text):
        there |= set(importlib.import_module(module).__all__)
    for room in (tg, tg.nn, tg.optim, tg.train, tg.bptt, tg.flow, tg.compiler, tg.viz):
        missing = [name for name in room.__all__ if name not in there and type(getattr(room, name)) is not ModuleType]
        assert missing == [], room.__name__


def test_help_shows_what_is_said_of_a_field() -> None:
    """A text below a field is for readers of the source and the site: `help()` shows the docstring of the class."""
    for room in (tg.flow, tg.train):
        for one in (getattr(room, name) for name in room.__all__):
            if isinstance(one, type):
                (body,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
                assert isinstance(body, ast.ClassDef)
                hidden = [
                    ast.unparse(field)
                    for field, text in pairwise(body.body)
                    if isinstance(field, ast.AnnAssign)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                ]
                assert hidden == [], f"{one.__name__}: say it under Attributes: in its docstring"


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


PAGES = [*sorted(DOCS.rglob("*.md")), *(DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md"))]
RUN_HERE = {
    "README.md": "below, and in test_example.py",
    "CONTRIBUTING.md": "not run: what the package itself has more of",
    "howto/processors.md": "below",
    "howto/pytorch.md": "below",
    "start.md": "below",
}


def code_of(page: str, language: str = "python") -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def execute(code: str, **names: Any) -> dict[str, Any]:
    names = {"__name__": "page", "np": np, "tg": tg, **names}
    exec(compile(code, "page", "exec"), names)
    return names


def test_every_block_of_code_is_run_by_the_site_or_here() -> None:
    kinds = {"{code-cell} ipython3", "{doctest}", "{eval-rst}", "{toctree}", "{include} ../../ARCHITECTURE.md"}
    kinds |= {"{include} ../../CONTRIBUTING.md", "{include} ../CONTRIBUTING.md", "sh", ""}
    for page in PAGES:
        found = set(re.findall(r"^ *```(.*)$", page.read_text(), re.MULTILINE)) - kinds
        name = str(page.relative_to(DOCS)) if page.is_relative_to(DOCS) else page.name
        assert not found or (name in RUN_HERE and found <= {"python", "{code-block} python"}), (name, found)


def test_every_command_of_the_pages_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    count = 0
    for page in PAGES:
        text = page.read_text()
        for line in re.findall(r"^!?(?:mpiexec -n \d+ )?tinygrad-rnn\b(.*)$", text, re.MULTILINE):
            words = shlex.split(line.split("2>")[0].split("|")[0], comments=True)
            cli._parse(words)
            count += 1
        for path in re.findall(r"python ((?:examples|benchmarks)/\w+\.py)", text):
            assert (DOCS.parent / path).is_file(), path
    assert count > 10
    assert capsys.readouterr().err == ""


def test_the_first_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = code_of("start.md", r"\{code-block\} python")
    execute(code)
    assert "gradient flow of loss" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["rnn.svg"]


def test_the_trainer_of_the_page_on_processors_runs() -> None:
    pytest.importorskip("mpi4py")
    (code,) = code_of("howto/processors.md")
    x = np.ones((3, 4, 2))
    loss = lambda model, x, y: tg.squared_error(model(x), y)  # noqa: E731
    done = execute(
        code.replace("comm=", "steps=2, comm="), model=tg.nn.Linear(2, 1, rng=0), loss=loss, x=x, y=x[..., :1]
    )
    assert done["trainer"].step == 2


@pytest.mark.slow
def test_the_readmes_lines_on_a_model_of_ones_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    *_, code = code_of("../README.md")
    xs = np.random.default_rng(0).standard_normal((6, 20, 2)).astype(np.float32)

    def predict(xs: Any) -> Any:
        return tg.nn.LSTM(2, 3, rng=0)(xs)[0][-1]

    def loss_fn(model: Any, x: Any, y: Any) -> tg.Tensor:
        return tg.squared_error(model(x)[0], y)

    module, h0 = torch.nn.LSTM(2, 3), np.zeros((20, 2))
    code = code.replace("folder=", "steps=3, folder=").replace("step(params", "step(model")
    code = code.replace("explorer()", "explorer(cells=['tanh'], lengths=[5])")
    names = {"predict": predict, "loss_fn": loss_fn, "module": module, "h0": h0, "h": tg.Tensor(h0)}
    names |= {"fn": lambda x: np.tanh(x).sum(), "inputs": (np.ones(2),), "cell": lambda x, h: np.tanh(x + h)}
    done = execute(code, xs=xs, ys=xs[..., [0, 0, 0]], targets=xs[..., [0, 0, 0]], **names)
    assert done["loss"] > 0
    assert {path.name for path in tmp_path.iterdir()} == {"explorer.html", "model.safetensors", "run"}


@pytest.mark.slow
def test_the_page_on_pytorch_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    execute("\n".join(code_of("howto/pytorch.md")))
    here, there = map(float, re.findall(r"here (\S+) there (\S+)", capsys.readouterr().out)[0])
    assert here == pytest.approx(there, rel=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"flow.svg", "lstm.safetensors"}
