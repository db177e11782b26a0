"""`graph`, `flow` and `diagnose` from the command line, for every task."""

from __future__ import annotations

import pytest

from tinygrad_rnn.app.cli import main
from tinygrad_rnn.app.tasks import TASKS, Settings, TaskTrainer

SMALL = ["--hidden", "6", "--cell", "gru"]


@pytest.mark.parametrize("task", ["char", "adding", "copying", "order"])
def test_every_task_is_diagnosed(task, capsys):
    assert main(["diagnose", "--task", task, *SMALL, "--steps", "24"]) == 0
    said = capsys.readouterr().out
    first, second = said.strip().split("\n")
    assert first.startswith("does it use its past: ")
    assert second.startswith("can it learn to: ")
    assert "tried on a copy" in second


@pytest.mark.slow
@pytest.mark.parametrize("task", [task for task in TASKS if task not in ("char", "csv")])
def test_runs_of_every_task_are_shown(task, tmp_path, capsys):
    settings = Settings.of(task, hidden=5, steps=1, batch=4, lag=10, cell="gru", eval_every=1, save_every=1)
    TaskTrainer(settings, tmp_path / "run").run(say=lambda line: None, progress=False)
    capsys.readouterr()
    assert main(["diagnose", str(tmp_path / "run")]) == 0
    assert "gain" in capsys.readouterr().out
    assert main(["flow", str(tmp_path / "run")]) == 0
    assert "injected" in capsys.readouterr().out
    assert main(["graph", str(tmp_path / "run"), "--detail", "cell", "--out", str(tmp_path / "graph.svg")]) == 0
    assert main(["diagnose", str(tmp_path / "run"), "--steps", "5"]) == 2


def test_a_task_has_sequences_of_its_own(capsys):
    assert main(["flow", "--task", "adding", "--text", "x.txt"]) == 2
    assert "adding has sequences of its own" in capsys.readouterr().err
