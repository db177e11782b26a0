"""Runs in folders: two at once, another version, other texts and damaged logs are each right or refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import files as files_module
from tinygrad_rnn.app import cli, tasks
from tinygrad_rnn.app.tasks import inspect, trained
from tinygrad_rnn.files import only_one
from tinygrad_rnn.train import saved, trainer
from tinygrad_rnn.train.log import Log

ROOT = Path(__file__).parents[2]
TEXT = "the quick brown fox jumps over the lazy dog; " * 20


def quiet(line: str) -> None:
    """Instead of print."""


def settings(folder: Path, **changes: Any) -> tasks.Settings:
    small = {"hidden": 4, "embedding": 3, "batch": 2, "k1": 4, "steps": 4, "eval_every": 2, "save_every": 2}
    return tasks.Settings.of("char", **{"text": str(folder / "text"), **small, **changes})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "text").write_text(TEXT)
    tasks.TaskTrainer(settings(tmp_path), tmp_path / "run").run(quiet, progress=False)
    return tmp_path / "run"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---------------------------------------------------------------------- two in one folder
def test_a_second_run_at_the_same_time_is_refused_and_harms_nothing(run: Path) -> None:
    said: list[str] = []

    def meanwhile(line: str) -> None:
        before = files(run)
        for other in (tasks.TaskTrainer.of(run, steps=9), tasks.TaskTrainer(settings(run.parent), run)):
            with pytest.raises(tg.InputError, match=r"another run is writing to .*; wait for its end"):
                other.run(quiet, progress=False)
        assert files(run) == before
        said.append(line)

    assert tasks.TaskTrainer.of(run, steps=6).run(meanwhile, progress=False).step == 6
    assert said
    assert tasks.TaskTrainer.of(run, steps=8).run(quiet, progress=False).step == 8  # it is free again
    assert set(files(run)) == {
        "best.safetensors",
        "log.jsonl",
        "step-000000006.safetensors",
        "step-000000008.safetensors",
    }


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        f"from tinygrad_rnn.files import only_one\nwith only_one({str(tmp_path)!r}): print('in', flush=True); input()"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        with pytest.raises(tg.InputError, match="another run"), only_one(tmp_path):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    with only_one(tmp_path):
        assert not list(tmp_path.iterdir())


def test_a_lock_as_windows_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `locking` is on a file, and refuses with PermissionError."""
    real = files_module.fcntl

    def locking(handle: int, mode: int, number: int) -> None:
        try:
            real.flock(handle, real.LOCK_EX | real.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error

    monkeypatch.setattr(files_module, "fcntl", None)
    monkeypatch.setattr(files_module, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    with only_one(tmp_path):
        for _ in range(2):
            with pytest.raises(tg.InputError, match="another run"), only_one(tmp_path):
                pass
    with only_one(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_new_run_does_not_begin_where_another_one_is(run: Path) -> None:
    before = files(run)
    with pytest.raises(tg.InputError, match=r"holds a run that has gone further, to step-000000004.*--resume"):
        tasks.TaskTrainer(settings(run.parent, seed=1), run).run(quiet, progress=False)
    assert files(run) == before


def test_a_run_that_went_on_elsewhere_is_not_taken_back(run: Path) -> None:
    late = tasks.TaskTrainer.of(run, steps=6)
    tasks.TaskTrainer.of(run, steps=8).run(quiet, progress=False)
    before = files(run)
    with pytest.raises(tg.InputError, match="has gone further, to step-000000008"):
        late.run(quiet, progress=False)
    assert files(run) == before


# ---------------------------------------------------------------------- resumed otherwise than begun
def test_another_version_or_fewer_steps_are_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(tg.InputError, match="got steps=3, expected 4"):
        tasks.TaskTrainer.of(run, steps=3)
    assert tasks.TaskTrainer.of(run, steps=4).run(quiet, progress=False).step == 4
    monkeypatch.setattr(trainer, "__version__", "99.0")
    with pytest.raises(tg.InputError, match=r"was written by version .* and this is 99\.0; continue it with that"):
        tasks.TaskTrainer.of(run)
    tasks.load_model(run)  # the weights are what they are


@pytest.mark.parametrize(
    "change", [["--cell", "gru"], ["--lr", "0.5"], ["--seed", "3"], ["--text", "other"], ["--compile"]]
)
def test_other_arguments_are_refused(change: list[str], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(run)
    assert cli.main(["train", "char", "--out", str(run), "--resume", *change]) == 2
    assert "the run was begun with" in capsys.readouterr().err
    assert cli.main(["train", "adding", "--out", str(run), "--resume"]) == 2
    assert files(run) == before


@pytest.mark.parametrize("command", ["train", "eval", "flow"])
def test_another_text_is_neither_learnt_nor_scored_nor_shown(
    command: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same characters, so that nothing but the digest tells."""
    (run.parent / "text").write_text(TEXT[::-1])
    options = ["train", "char", "--resume", "--out", str(run)] if command == "train" else [command, str(run)]
    assert cli.main(options) == 2
    printed = capsys.readouterr()
    assert "is not the text that this run began with" in printed.err
    assert printed.out == ""


def test_the_text_a_record_names_is_opened_only_to_compare_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = run.parent / "secret"
    secret.write_text("".join(sorted(set(TEXT))) * 40)
    for path in run.glob("*.safetensors"):
        good = saved.load(path)
        record = {**good.record, "settings": {**good.record["settings"], "text": str(secret)}}
        saved.save(path, good._replace(record=record))
    with pytest.raises(tg.InputError, match="secret is not the text"):
        inspect.look_at(run=run)
    monkeypatch.setattr(trained, "read_text", lambda *_: pytest.fail("it was opened"))
    assert inspect.look_at(text=run.parent / "text", run=run, length=5).tokens == list(TEXT[:5])


def test_a_damaged_checkpoint_is_refused_and_the_previous_one_offered(run: Path) -> None:
    previous, newest = sorted(run.glob("step-*"))
    content = newest.read_bytes()
    for damaged in (b"", b"x", content[:-1], content[:200], content[:-1] + b"\xff"):
        newest.write_bytes(damaged)
        with pytest.raises(tg.InputError, match=f"{newest.name}.*; use another one, such as .*{previous.name}"):
            tasks.load_model(newest)


# ---------------------------------------------------------------------- logs
RECORD = {"step": 2, "loss": 1.0, "gradient_norm": 0.1, "score": None, "learning_rate": 0.1, "time_steps_per_second": 5}
LINES = [
    b"\xff\xfe\n", b"null\n", b"[]\n", b"3\n", b'"x"\n', b"{}\n", b"{'a'}\n", b"\0\n", b"\n", b"[" * 100_000 + b"\n",
    *(json.dumps({**RECORD, **change}).encode() + b"\n" for change in (
        {"step": "2"}, {"step": None}, {"step": -1},
        {"step": 1.5}, {"step": True}, {"loss": "x"}, {"a": 1}, {"score": [1]},
    )),
]  # fmt: skip


@pytest.mark.parametrize("content", LINES, ids=lambda x: repr(x)[:30])
def test_damaged_logs_are_refused_by_a_sentence(content: bytes, tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.write(RECORD)
    assert tg.train.read_log(log.path) == [RECORD]
    log.path.write_bytes(log.path.read_bytes() + content)
    for read in (lambda: tg.train.read_log(log.path), lambda: Log(tmp_path)):
        with pytest.raises(tg.InputError, match=r"log\..*(no record of a run|not UTF-8).*move (it|the file) away"):
            read()


@pytest.mark.parametrize("path", ["pipe", "/dev/zero", "none", ".", "a\0b", None, 3])
def test_no_log_is_read_from_what_is_no_file(path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(tg.TensorError, match=r"cannot read|expected text or Path|change the name"):
        tg.train.read_log(path)
