"""The main job: everything it promises is written, and input it cannot use is refused in one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_rnn.app.cli import main
from tinygrad_rnn.app.demo import run, run_demo
from tinygrad_rnn.app.demo.character_rnn import STREAMS, CharacterRNN, Windows, train
from tinygrad_rnn.app.text import Vocabulary

FILES = {
    "before_after.svg",
    "bptt.html",
    "bptt.py",
    "comparison.txt",
    "credit.svg",
    "explorer.html",
    "gradient_flow.svg",
    "report.html",
    "rolled.dot",
    "rolled.svg",
    "samples.txt",
    "shares.svg",
    "spectrum.svg",
    "training.svg",
    "unrolled_cell.dot",
    "unrolled_cell.svg",
    "unrolled_op.dot",
    "unrolled_op.svg",
}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TIME_STEPS", 400)
    monkeypatch.setattr(run, "RADII", (0.5, 1.1))  # the explorer has tests of its own
    monkeypatch.setattr(run, "LENGTHS", (5,))


@pytest.fixture
def prose(tmp_path: Path) -> Path:
    path = tmp_path / "prose.txt"
    path.write_text("A graph is <b>unrolled</b> & walked back, step by step. " * 40, encoding="utf-8")
    return path


def test_everything_is_written_and_explained(
    short: None, prose: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "results"
    assert main(["demo", "--text", str(prose), "--steps", "4", "--hidden", "8", "--out", str(out)]) == 0
    assert {file.name for file in out.iterdir()} == FILES

    printed = capsys.readouterr().out
    assert "PASSED" in printed
    assert "before training" in printed
    assert "after training" in printed

    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,") == 9
    assert not re.search(r"""(src|href)=["']https?:""", page)
    assert "PASSED" in page
    sections = re.findall(r"<h2>(.*?)</h2>\n<p>", page)
    assert len(sections) == page.count("<h2>") == 13
    assert str(prose) in page
    source = (out / "bptt.py").read_text(encoding="utf-8")
    assert "for t in reversed(range(4)):" in source
    assert "dW_hh" in source
    names: dict[str, Any] = {}
    exec(source, names)  # it runs by itself
    assert callable(names["program"]())


@pytest.mark.parametrize("steps", [1, 2])
def test_short_windows_are_shown_too(short: None, prose: Path, tmp_path: Path, steps: int) -> None:
    report = run_demo(prose, steps=steps, hidden=4, out=tmp_path / "out")
    assert "PASSED" in report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_report(short: None, prose: Path, tmp_path: Path) -> None:
    first = run_demo(prose, steps=3, hidden=6, seed=7, out=tmp_path / "a")
    second = run_demo(prose, steps=3, hidden=6, seed=7, out=tmp_path / "b")
    other = run_demo(prose, steps=3, hidden=6, seed=8, out=tmp_path / "c")
    samples = [(path.parent / "samples.txt").read_text(encoding="utf-8") for path in (first, second, other)]
    assert samples[0] == samples[1] != samples[2]


def test_the_loss_falls() -> None:
    text = "the quick brown fox jumps over the lazy dog. " * 60
    vocabulary = Vocabulary(text)
    model = CharacterRNN(len(vocabulary), 24, np.random.default_rng(0))
    losses = train(model, Windows(text, vocabulary, 10), 150)
    assert losses[0] > np.log2(len(vocabulary)) - 1
    assert losses[-1] < 0.5 * losses[0]


def test_windows_follow_each_other_and_begin_anew() -> None:
    text = "abcdefghij" * 20
    vocabulary = Vocabulary(text)
    windows = Windows(text, vocabulary, 5)
    (first, targets), (second, _) = windows(0), windows(1)
    assert first.shape == (5, STREAMS, 10)
    assert windows.goes_on(1)
    assert not windows.goes_on(0)
    assert not windows.goes_on(windows.per_text)
    assert np.array_equal(windows(windows.per_text)[0], first)
    assert np.array_equal(first.argmax(-1)[1:], targets[:-1])
    assert np.array_equal(second.argmax(-1)[0], targets[-1])


BAD = {
    "no such file": (["--text", "{tmp}/nowhere.txt"], "nowhere.txt"),
    "a folder": (["--text", "{tmp}"], "cannot read"),
    "empty": (["--text", "{tmp}/empty.txt"], "is empty"),
    "only blanks": (["--text", "{tmp}/blank.txt"], "is empty"),
    "too short": (["--text", "{tmp}/short.txt"], "longer text or fewer steps"),
    "not UTF-8": (["--text", "{tmp}/latin.txt"], "not UTF-8"),
    "binary": (["--text", "{tmp}/binary.bin"], "binary"),
    "zero steps": (["--steps", "0"], "at least 1"),
    "negative steps": (["--steps", "-3"], "at least 1"),
    "steps in words": (["--steps", "many"], "whole number"),
    "zero hidden": (["--hidden", "0"], "at least 1"),
    "negative seed": (["--seed", "-1"], "at least 0"),
    "an out that is a file": (["--out", "{tmp}/short.txt"], "choose another folder"),
    "an out below a file": (["--out", "{tmp}/short.txt/deeper"], "choose another folder"),
    "a text without a name": (["--text", ""], "the path is empty"),
    "an out without a name": (["--out", ""], "give a folder"),
    "an unknown option": (["--size", "3"], "--help"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "blank.txt").write_bytes(b" \n\n ")
    (tmp_path / "short.txt").write_bytes(b"too short")
    (tmp_path / "latin.txt").write_bytes("déjà vu ".encode("latin-1") * 30)
    (tmp_path / "binary.bin").write_bytes(bytes(range(128)) * 5)
    files = sorted(tmp_path.rglob("*"))
    options, words = BAD[case]
    arguments = ["demo", *(option.format(tmp=tmp_path) for option in options)]
    try:
        code = main(arguments)
    except SystemExit as stop:  # argparse leaves this way
        code = int(stop.code or 0)
    printed = capsys.readouterr()
    assert code == 2
    assert words in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "Traceback" not in printed.err
    assert sorted(tmp_path.rglob("*")) == files


def test_what_fails_half_way_leaves_nothing(
    short: None, prose: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "write_report", fail)
    assert main(["demo", "--text", str(prose), "--steps", "3", "--hidden", "4", "--out", str(tmp_path / "out")]) == 130
    assert not (tmp_path / "out").exists()


def test_python_m_is_the_same_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_rnn", "demo", "--steps", "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("tinygrad-rnn demo: argument --steps: got '0'")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["diagnose", "--steps", "1"], "--steps 2 or more"),
        (["graph", "--hidden", "100000000"], "give smaller numbers"),
        (["graph", "--steps", "2", "--hidden", "2", "--out", "{tmp}/picture.bmp"], "expected a file name that ends in"),
        (["flow", "{tmp}"], "give the folder of a run"),
        (["train", "char", "--lr", "inf", "--out", "{tmp}/run"], "finite"),
        (["train", "char", "--momentum", "2", "--out", "{tmp}/run"], "below 1"),
    ],
)
def test_other_commands_refuse_in_one_line_too(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    printed = capsys.readouterr().err
    assert words in printed
    assert len(printed.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_reader_that_stops_early_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m tinygrad_rnn flow --steps 3 --hidden 4 | head -n 1; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("0", "141")
