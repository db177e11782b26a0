"""The command called alone, completed by a shell, read by a program; and a demo that overwrites nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_rnn.app.cli import main
from tinygrad_rnn.app.demo import run


def test_alone_it_prints_a_tour_of_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    tour = capsys.readouterr().out
    named = {line.split()[1] for line in tour.splitlines() if line.startswith("  tinygrad-rnn")}
    assert named == {"demo", "train", "sweep", "eval", "sample", "diagnose", "flow", "graph"}
    for command in named:
        with pytest.raises(SystemExit):
            main([command, "--help"])


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 0
    script = capsys.readouterr().out

    def complete(*words: str) -> list[str]:
        array = " ".join(f"'{word}'" for word in ("tinygrad-rnn", *words))
        call = f'COMP_WORDS=({array}); COMP_CWORD={len(words)}; _tinygrad_rnn; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", f"{script}\n{call}"], capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert complete("di") == ["diagnose"]
    assert complete("train", "a") == ["adding"]
    assert complete("train", "char", "--hid") == ["--hidden"]
    assert complete("train", "char", "--cell", "l") == ["lstm"]
    assert complete("graph", "run", "--detail", "") == ["op", "cell"]


def test_programs_read_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    assert main(["train", "order", "--lag", "10", "--hidden", "4", "--steps", "2", "--out", folder]) == 0
    capsys.readouterr()
    read = {}
    for command in ("eval", "diagnose", "flow"):
        assert main([command, folder, "--json"]) == 0
        read[command] = json.loads(capsys.readouterr().out)
    assert read["eval"]["metric"] == "accuracy"
    assert 0 <= read["eval"]["score"] <= 1
    assert read["eval"]["words"].startswith("accuracy")
    (layer,) = read["diagnose"]["layers"].values()
    assert layer["verdict"] in read["diagnose"]["words"]
    assert {state["step"] for state in read["flow"]["states"]} == set(range(10))
    assert read["flow"]["states"][0]["gradient_norm"] >= 0
    assert all(len(weight["per_step"]) == 10 for weight in read["flow"]["weights"])


def test_a_demo_overwrites_nothing_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: object) -> None:
    written: list[str] = []
    monkeypatch.setattr(run, "run_demo", lambda **options: written.append(options["out"]))
    monkeypatch.setattr("tinygrad_rnn.app.demo.run_demo", run.run_demo)
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 0
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "report.html").write_text("mine")
    assert main(["demo"]) == 0
    assert main(["demo", "--out", "demo"]) == 2
    assert main(["demo", "--out", "demo", "--overwrite"]) == 0
    assert written == ["demo", "demo-2", "demo"]


@pytest.mark.parametrize(
    "words", ["train adding --threads 0", "sweep adding --seeds 0", "sweep adding --jobs x", "sample . --length -1"]
)
def test_numbers_are_checked_where_they_are_read(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    assert "expected a whole number of at least" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "train adding --hiden 8",
            "train: unrecognized arguments: --hiden 8, did you mean --hidden?; see tinygrad-rnn train",
        ),
        ("train adding --qqqq", "train: unrecognized arguments: --qqqq; see tinygrad-rnn train --help"),
        (
            "--verzion",
            "tinygrad-rnn: unrecognized arguments: --verzion, did you mean --version?; see tinygrad-rnn --help",
        ),
    ],
)
def test_an_unknown_option_is_told_by_its_command(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    assert said in capsys.readouterr().err


WAYS_OUT = {
    "no file": (">&-", 0, ""),
    "no files at all": (">&- 2>&- <&-", 0, ""),
    "a full disk": (
        ">/dev/full",
        2,
        "tinygrad-rnn: cannot print: No space left on device; send the output elsewhere\n",
    ),
    "nobody": ("| true", 0, ""),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("way", WAYS_OUT)
def test_output_that_goes_nowhere(way: str) -> None:
    redirection, code, words = WAYS_OUT[way]
    line = f"{sys.executable} -m tinygrad_rnn {redirection}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, words)


def test_letters_that_a_terminal_does_not_have_are_spelled_out(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("żółw " * 100, encoding="utf-8")
    command = [sys.executable, "-m", "tinygrad_rnn"]
    sizes = ["--hidden", "4", "--embedding", "4", "--batch", "2", "--k1", "8", "--steps", "2", "--eval-every", "2"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for words in (["train", "char", "--text", "text", "--out", "run", *sizes], ["sample", "run", "--length", "20"]):
        done = subprocess.run([*command, *words], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u017c" in done.stdout
