"""Sweeps: every combination once, continued where they were left, compared in a table and a picture."""

from __future__ import annotations

import csv
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.app.cli import main
from tinygrad_rnn.app.tasks.model import SequenceModel
from tinygrad_rnn.app.tasks.settings import Settings
from tinygrad_rnn.app.tasks.sweep import draw, grouped, sweep, table

SMALL = ["--lag", "10", "--batch", "4", "--steps", "4", "--eval-every", "2", "--save-every", "2"]


def test_a_sweep_runs_every_combination_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", "adding", *SMALL, "--vary", "hidden=3,4", "--seeds", "2", "--jobs", "1", "--out", str(tmp_path)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.count("done at step 4") == 4
    assert "hidden=3" in said
    assert (tmp_path / "sweep.svg").exists()
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [(row["hidden"], row["seed"]) for row in rows] == [("3", "0"), ("3", "1"), ("4", "0"), ("4", "1")]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/step-*")}
    assert (
        main([*command[:-2], "--vary", "cell=lstm", "--out", str(tmp_path)]) == 0
    )  # other names, so runs of their own
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert main([*command, "--lr", "0.5"]) == 2
    assert "other settings" in capsys.readouterr().err


def test_a_run_without_enough_memory_is_a_row_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = Settings.build_model

    def limited(settings: Settings, *sizes: int) -> SequenceModel:
        if settings.hidden > 3:
            raise MemoryError("Unable to allocate 2 TiB")
        return build(settings, *sizes)

    monkeypatch.setattr(Settings, "build_model", limited)
    choices = {"lag": 10, "batch": 4, "steps": 2, "seed": 0}
    rows = sweep("adding", {"hidden": [4, 3]}, tmp_path, 1, str, **choices)
    large, small = rows
    assert [[name for name, _ in grouped(rows, higher)] for higher in (True, False)] == [["hidden=3", "hidden=4"]] * 2
    assert large["stopped"] == "failed (Unable to allocate 2 TiB)"
    assert np.isnan(large["best"])
    assert small["stopped"] == "done"


def test_a_process_that_is_ended_from_outside_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        """Of processes that an operating system without memory ends."""

        def __init__(self, *arguments: object) -> None: ...
        def __enter__(self) -> Pool:
            return self

        def __exit__(self, *error: object) -> None: ...
        def submit(self, *arguments: object) -> Future[object]:
            broken: Future[object] = Future()
            broken.set_exception(BrokenProcessPool())
            return broken

    monkeypatch.setattr("tinygrad_rnn.app.tasks.sweep.ProcessPoolExecutor", Pool)
    with pytest.raises(tg.InputError, match=r"ended from outside.*the same command again goes on, with fewer --jobs"):
        sweep("adding", {"seed": [0, 1]}, tmp_path, 2, str)


@pytest.mark.slow
def test_runs_at_the_same_time_are_the_same_runs(tmp_path: Path) -> None:
    choices = {"lag": 10, "batch": 4, "hidden": 3, "steps": 4, "eval_every": 2, "seed": 0}
    one, two = (sweep("adding", {"lr": [0.1, 0.2]}, tmp_path / str(n), n, str, **choices) for n in (1, 2))
    assert [row["lr"] for row in one] == [row["lr"] for row in two] == [0.1, 0.2]
    assert [row["best"] for row in one] == pytest.approx([row["best"] for row in two], rel=1e-5)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--vary", "size=3"], "--vary: got 'size=3'"),
        (["--vary", "hidden"], "--vary: got 'hidden'"),
        (["--vary", "hidden=x"], "--vary hidden=x"),
        (["--vary", "hidden=3,3"], "comes twice"),
        (["--vary", "cell=mlp"], "got cell='mlp'"),
    ],
)
def test_what_cannot_be_varied_is_said(
    words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "adding", *SMALL, *words, "--jobs", "1", "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_that_fails_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinygrad_rnn.app.tasks import sweep as module

    def advance(self: object) -> None:
        raise tg.GraphError("the gradients are not finite")

    monkeypatch.setattr(module.TaskTrainer, "advance", advance)
    row = module._run(module.Settings.of("adding", lag=10, hidden=3, batch=2, steps=3), tmp_path / "run")
    assert row["stopped"] == "failed (the gradients are not finite)"


def test_groups_leave_the_seed_out_and_begin_with_the_best(tmp_path: Path) -> None:
    rows = [
        {"lr": lr, "seed": seed, "step": 9, "score": 0.0, "best": lr + seed, "stopped": "done"}
        for lr in (3.0, 0.1)
        for seed in (0, 1, 2)
    ]
    groups = grouped(rows, higher_is_better=False)
    assert groups == [("lr=0.1", [0.1, 1.1, 2.1]), ("lr=3.0", [3.0, 4.0, 5.0])]
    assert [name for name, _ in grouped(rows, higher_is_better=True)] == ["lr=3.0", "lr=0.1"]
    assert "lr=0.1     3         1.1         0.1         2.1" in table(groups, "error")
    draw(groups, "error", tmp_path / "s.svg")
