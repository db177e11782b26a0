"""3,000 command lines at random: each does what it says, or is refused in one sentence with exit code 2."""

from __future__ import annotations

import io
import os
import random
import sys
from pathlib import Path

import pytest

from tinygrad_rnn.app import cli, tasks
from tinygrad_rnn.app.demo import run as demo

WORDS = [
    "", "0", "1", "2", "3", "-1", "nan", "inf", "-inf", "1e400", "1e-400", "9" * 20, "9" * 5000, "0x10", "1_0", " 2 ",
    "\0", "\ud800", "\n", "x" * 5000, "a\x1b[31m", "--", "-", "-h2", "$x$", "../..", "/dev/null", "/dev/zero", "/", "~",
    "text", "short", "empty", "binary", "pipe", "run", "order", "run/log.jsonl", "run/best.safetensors", "none/none",
    "%s", "{}", "1.5", "True", "None", "cell", "op", "gru", "adam", "float64", "csv", "cosine", "table", "a", "a,b",
]  # fmt: skip
VIEW = ["--text", "--steps", "--cell", "--hidden", "--layers", "--seed"]
SETTINGS = [f"--{name.replace('_', '-')}" for name in tasks.Settings.__dataclass_fields__ if name != "task"]
OPTIONS = {
    "demo": ["--text", "--steps", "--hidden", "--seed", "--out"],
    "graph": [*VIEW, "--detail", "--out"],
    "flow": VIEW,
    "diagnose": VIEW,
    "train": ["--out", "--resume", "--threads", *SETTINGS],
    "sample": ["--prime", "--length", "--temperature", "--seed", "--file"],
    "eval": ["--text", "--file"],
    "none": ["--none"],
}
SMALL = {
    "--steps": "2", "--hidden": "3", "--text": "text", "--length": "3", "--batch": "2", "--k1": "4", "--lag": "10",
    "--embedding": "2", "--out": "new", "--file": "table", "--target": "a",
}  # fmt: skip
TASKS = ["char", "char", "adding", "order", "copying", "csv", "none"]


def line(rng: random.Random, number: int) -> list[str]:
    command = "demo" if number % 300 == 0 else rng.choice([name for name in OPTIONS if name != "demo"])
    words = [command]
    if command == "train":
        words.append("digits" if number % 100 == 1 else rng.choice(TASKS))
    elif command in ("sample", "eval") or (command in VIEWS and rng.random() < 0.3):
        words.append(rng.choice(["run", "run", "order", rng.choice(WORDS)]))
    given = {name: value for name, value in SMALL.items() if name in OPTIONS[command] and command != "eval"}
    if command == "train":
        given["--out"] = f"new{number}"
    for name in rng.sample(OPTIONS[command], min(len(OPTIONS[command]), rng.choice([0, 1, 1, 1, 2, 3]))):
        given[name] = rng.choice(WORDS)
    for name, value in given.items():
        words += [name] if name in ("--resume", "--compile") else rng.choice([[f"{name}={value}"], [name, value]])
    return words + ([rng.choice(WORDS)] if rng.random() < 0.03 else [])


VIEWS = ("graph", "flow", "diagnose")


@pytest.mark.slow
def test_no_command_line_ends_in_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "TIME_STEPS", 50)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    for name, content in (
        ("text", b"the quick brown fox; " * 40),
        ("short", b"ab"),
        ("table", b"a,b\n" + b"".join(b"%d,%d\n" % (n % 7, n % 5) for n in range(60))),
        ("empty", b""),
        ("binary", b"\0\xff"),
    ):
        (tmp_path / name).write_bytes(content)
    os.mkfifo("pipe")
    small = {"hidden": 4, "batch": 2, "steps": 4, "eval_every": 2}
    tasks.TaskTrainer(tasks.Settings.of("char", text="text", embedding=3, k1=4, **small), "run").run(
        str, progress=False
    )
    tasks.TaskTrainer(tasks.Settings.of("order", lag=10, **small), "order").run(str, progress=False)
    rng, codes = random.Random(0), {0: 0, 2: 0}
    for number in range(3000):
        words = line(rng, number)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the lazy dog; " * 30)))
        try:
            code = cli.main(words)
        except SystemExit as stop:  # the options' own errors
            code = int(stop.code or 0)
        said = capsys.readouterr().err
        codes[code] += 1
        if code:
            assert said.startswith("tinygrad-rnn"), words
            assert said.count("\n") == 1, words
    assert min(codes.values()) > 200
