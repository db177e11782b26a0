"""Checkpoints with a right digest and wrong contents: each is refused by a sentence, and the one before it is used."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.app import cli, tasks
from tinygrad_rnn.app.tasks import characters
from tinygrad_rnn.train import saved
from tinygrad_rnn.train.saved import Checkpoint

TEXT = "the quick brown fox jumps over the lazy dog; " * 20
WRONG: list[Any] = [None, "x", {"a": [1]}, math.nan, -1, 10**40, True]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    (folder / "text").write_text(TEXT)
    sizes: dict[str, Any] = {"hidden": 4, "embedding": 3, "batch": 2, "k1": 4, "dropout": 0.2}
    choices = tasks.Settings.of("char", text=str(folder / "text"), steps=4, eval_every=2, save_every=2, **sizes)
    tasks.TaskTrainer(choices, folder / "run").run(lambda line: None, progress=False)
    return folder / "run"


def places(record: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a record."""
    for key, value in record.items() if isinstance(record, dict) else enumerate(record):
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from places(value, (*at, key))


def inside(record: Any, way: tuple[Any, ...]) -> Any:
    for key in way:
        record = record[key]
    return record


def same_kind(old: Any, new: Any) -> bool:
    """Whether another value of this kind is another run, and no error."""
    if isinstance(old, bool) or isinstance(new, bool):
        return type(old) is type(new)
    return isinstance(old, float | int) and isinstance(new, float | int) and math.isfinite(new)


def hostile(good: Checkpoint) -> Iterator[tuple[str, Checkpoint]]:
    """Good checkpoints with one thing wrong, each with what it is."""

    def record(name: str, change: Callable[[Any], Any]) -> tuple[str, Checkpoint]:
        new = copy.deepcopy(good.record)
        changed = change(new)
        return name, Checkpoint(good.arrays, new if changed is None else changed)

    optional = {("settings", name) for name in ("text", "k2", "stop_at", "file", "target", "columns")}
    for way in places(good.record):
        *before, last = way
        if not isinstance(last, int):
            yield record(f"without {way}", lambda new, b=before, k=last: inside(new, tuple(b)).pop(k) and None)
        old = inside(good.record, way)
        for value in WRONG:
            if same_kind(old, value) or (way in optional and not isinstance(value, dict | list)):
                continue
            if type(value) is type(old) and way in (("settings", "text"), ("version",)):
                continue
            if value is None and way == ("settings", "backend"):
                continue
            yield record(
                f"{way} = {value!r:.20}", lambda new, b=before, k=last, v=value: inside(new, tuple(b)).update({k: v})
                if isinstance(k, str) else inside(new, tuple(b)).__setitem__(k, v)
            )  # fmt: skip
    for value in ([], 3, "x", {}, None):
        yield "record", Checkpoint(good.arrays, value)  # type: ignore[arg-type]
    yield record("unknown", lambda new: new.update(extra=1))
    yield record("unknown setting", lambda new: new["settings"].update(extra=1))
    progress = [("step", 3), ("waited", 99), ("stopped", "early"), ("stopped", "target"), ("best", -math.inf)]
    progress += [("evaluated", 99), ("losses", math.inf)]
    for entry, value in progress:
        yield record(f"{entry} {value}", lambda new, e=entry, v=value: new.update({e: v}))
    others = {
        "hidden": 10**8, "layers": 10**7, "embedding": 10**8, "cell": "gru", "dtype": "float64", "optimizer": "sgd",
        "batch": 3, "task": "adding", "dropout": 1.0, "steps": 10**40, "lr": 10**400,
    }  # fmt: skip
    for name, value in others.items():
        yield record(f"{name} {value}", lambda new, n=name, v=value: new["settings"].update({n: v}))
    for known in ("", "ba", "aab", "abc"):
        yield record(f"characters {known}", lambda new, c=known: new["task"].update(characters=c))
    yield record("two generators", lambda new: new["generators"].append(new["generators"][0]))
    yield record("even inc", lambda new: new["generators"][0]["state"].update(inc=2))
    for name, array in good.arrays.items():
        changes = {
            "missing": None,
            "shape": array[None],
            "nan": np.full(array.shape, np.nan, array.dtype) if array.dtype.kind == "f" else array.astype(float),
            "dtype": array.astype(np.float16) if name != "optimizer.lr" else array.astype(bool),
        }
        if name.endswith("squares") or array.ndim == 0:
            changes["negative"] = -array - 1
        for what, new in changes.items():
            arrays = {key: value for key, value in good.arrays.items() if key != name}
            yield f"{name} {what}", Checkpoint(arrays if new is None else {**arrays, name: new}, good.record)
    for name in ("extra", "model.extra", "optimizer.0.extra", "optimizer.99.mean", "carried.2"):
        yield name, Checkpoint({**good.arrays, name: np.zeros(2)}, good.record)


def test_no_hostile_record_is_taken_and_none_ends_in_a_traceback(run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # a disk takes longer than all the rest
    newest = sorted(run.glob("step-*"))[-1]
    good = saved.load(newest)
    tasks.load_model(newest)
    tried, taken, unclear = 0, [], []
    for name, checkpoint in hostile(good):
        tried += 1
        path = saved.save(tmp_path / "step-000000009.safetensors", checkpoint)
        try:
            tasks.load_model(path)
            taken.append(name)
        except tg.InputError as error:
            if str(path) not in str(error) or "begin the run again" not in str(error):
                unclear.append(f"{name}: {error}")
    assert tried >= 200
    assert not taken
    assert not unclear


def test_the_refusal_names_the_file_the_entry_and_the_checkpoint_to_use(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    previous, newest = sorted(run.glob("step-*"))
    good, content = saved.load(newest), newest.read_bytes()
    try:
        arrays = {**good.arrays, "optimizer.0.mean": good.arrays["optimizer.0.mean"] * np.nan}
        saved.save(newest, Checkpoint(arrays, good.record))
        with pytest.raises(tg.InputError, match=f"{newest.name}: optimizer.0.mean: .*nan.* such as .*{previous.name}"):
            tasks.load_model(newest)
        trainer = tasks.TaskTrainer.of(run)
        assert trainer.step == 2
        assert "optimizer.0.mean" in trainer.refused[0]
        assert cli.main(["sample", str(newest)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    finally:
        newest.write_bytes(content)


def test_no_file_that_a_refused_record_names_is_opened(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(characters, "read_text", lambda *_, **__: pytest.fail("the text was opened"))
    tasks.load_model(run)
    newest = sorted(run.glob("step-*"))[-1]
    good, content = saved.load(newest), newest.read_bytes()
    for path in run.glob("step-*"):
        record = {**good.record, "settings": {**good.record["settings"], "text": "/etc/hostname"}, "waited": -1}
        saved.save(path, Checkpoint(good.arrays, record))
    try:
        with pytest.raises(tg.InputError, match="no usable checkpoint"):
            tasks.TaskTrainer.of(run)
    finally:
        newest.write_bytes(content)
