"""The CSV task: what is read and refused, what is held out, and every command on a run of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.app import tasks
from tinygrad_rnn.app.cli import main

ROWS = 120


def wave(path: Path, rows: int = ROWS, delimiter: str = ",", shift: float = 0.0) -> Path:
    t = np.arange(rows)
    lines = [delimiter.join(("day", "wave", "noise", "flat"))]
    for i, (a, b) in enumerate(
        zip(5 + 3 * np.sin(0.3 * t + shift), np.random.default_rng(0).normal(size=rows), strict=True)
    ):
        lines.append(delimiter.join((f"d{i}", f"{a:.6f}", f"{b:.6f}", "7")))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def task(path: Path, **options: Any) -> tasks.Csv:
    options = {"window": 10, "batch": 4, "seed": 0, "dtype": np.float64, **options}
    return tasks.Csv(path, options.pop("target", "wave"), **options)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_of_numbers_are_read_whatever_separates_them(tmp_path: Path, delimiter: str) -> None:
    found = task(wave(tmp_path / "a.csv", delimiter=delimiter))
    assert found.names == ["wave", "noise", "flat"]  # not the day
    assert found.inputs == 3
    x, y = found.batch(0)
    assert (x.shape, y.shape) == ((10, 4, 3), (10, 4, 1))
    assert np.array_equal(x[1:, :, 0], y[:-1, :, 0])
    known = found.series[: found.split, 0]
    np.testing.assert_allclose(known[:, 0].std(), 1)
    assert not known[:, 2].any()  # a column that never changes
    last = {float(one) for step in range(60) for one in found.batch(step)[1].ravel()}
    assert last <= set(found.series[: found.split, 0, 0].tolist())  # nothing held out is trained on
    assert float(found.series[found.split - 1, 0, 0]) in last
    assert task(wave(tmp_path / "a.csv"), columns="noise").names == ["noise", "wave"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "a first row of different names"),
        ("a,b\n", "a first row of different names"),
        ("a,a\n1,2\n", "two columns are named 'a'; give them different names"),
        (",\n1,2\n", "a first row of different names"),
        ("a,wave\n1,2\n1\n", "row 3 has 1 cells, expected 2"),
        ("a,wave\n1,2\n2,\n", "row 3: wave is '', expected a finite number"),
        ("a,wave\n1,nan\n2,3\n", "row 2: wave is 'nan'"),
        ("a,b\n1,2\n", "no numbers named wave; there are a, b"),
        ("a,wave\n1,x\n", "no numbers named wave; there are a; for a column of words add one of 0 and 1 for each word"),
        ("a,wave\n1,2\n", "got 1 rows of numbers, expected at least 20"),
        ("a,wave\n" + "1,1e-200\n2,2e-200\n" * 15, "wave differ by less than 1e-100, which squared is 0; scale it"),
        ("a,wave\n" + "1,1e200\n" * 30, r"wave has numbers above 1e\+100"),
        ('a,wave\n"1,2\n', "no CSV file"),
        ("a\x07,wave\n1,2\n", "a first row of different names"),
    ],
)
def test_files_that_cannot_be_used_are_refused(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(tg.InputError, match=says):
        task(path)
    with pytest.raises(tg.InputError, match="cannot read"):
        task(tmp_path / "none.csv")
    path.write_bytes(b"a,wave\n\xff,2\n")
    with pytest.raises(tg.InputError, match="not UTF-8"):
        task(path)


def test_a_run_is_trained_sampled_scored_and_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run = wave(tmp_path / "a.csv"), str(tmp_path / "run")
    small = ["--hidden", "6", "--steps", "60", "--eval-every", "30", "--lag", "20", "--batch", "8"]
    options = ["--file", str(path), "--target", "wave", "--columns", "wave", "--lr", "0.02"]
    assert main(["train", "csv", *options, *small, "--out", run]) == 0
    said = capsys.readouterr().out
    assert said.startswith("reads wave; leaves out day, noise, flat\n")
    assert "error in wave" in said
    error = float(said.rsplit("error in wave ", 1)[1].split()[0])
    assert error < float(said.rsplit("guess: ", 1)[1].split(")")[0])
    assert main(["eval", run]) == 0
    assert f"{error:.4g}" in capsys.readouterr().out
    assert main(["sample", run, "--length", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "row,wave,forecast"
    assert [line.split(",")[0] for line in lines[1:]] == ["120", "121", "122"]  # as a spreadsheet numbers them
    true = [float(line.split(",")[1]) for line in path.read_text().splitlines()[-2:]]
    assert [line.split(",")[1] for line in lines[1:]] == [f"{one:.10g}" for one in true] + [""]
    for words in (
        ["flow", run],
        ["diagnose", run],
        ["graph", run, "--detail", "cell", "--out", str(tmp_path / "g.svg")],
    ):
        assert main(words) == 0
    other = wave(tmp_path / "b.csv", rows=40, shift=1.0)
    capsys.readouterr()
    assert main(["sample", run, "--file", str(other), "--length", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("42,,")
    assert main(["eval", run, "--file", str(other)]) == 0
    assert main(["train", "csv", *options, *small[2:], "--hidden", "6", "--steps", "70", "--out", run, "--resume"]) == 0
    path.write_text(path.read_text().replace("wave", "secret"))
    capsys.readouterr()
    for words in (["eval", run], ["sample", run], ["flow", run], ["train", "csv", "--out", run, "--resume"]):
        assert main(words) == 2
        printed = capsys.readouterr()
        assert "is not the file that this run began with" in printed.err
        assert "secret" not in printed.out + printed.err


def test_what_is_read_and_what_not_is_said(tmp_path: Path) -> None:
    path = wave(tmp_path / "a.csv")
    assert task(path).about() == "reads wave, noise, flat; leaves out day"
    assert task(path, columns="noise").about() == "reads noise, wave; leaves out day, flat"
    with pytest.raises(tg.InputError, match=r"no numbers named wave,noise; .*--target takes one column"):
        task(path, target="wave,noise")


def test_what_is_not_of_csv_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "csv", "--out", str(tmp_path / "run")]) == 2
    assert "--file F --target COLUMN" in capsys.readouterr().err
    settings = tasks.Settings.of("order", steps=1, lag=10, hidden=3, batch=2)
    tasks.TaskTrainer(settings, tmp_path / "order").run(lambda line: None, progress=False)
    assert main(["eval", str(tmp_path / "order"), "--file", "x.csv"]) == 2
    assert "another file is for models of csv" in capsys.readouterr().err


def test_numbers_with_a_decimal_comma_are_told_from_a_wrong_name(tmp_path: Path) -> None:
    path = tmp_path / "comma.csv"
    path.write_text("day;load\n" + "".join(f"d{i};{i},5\n" for i in range(30)))
    with pytest.raises(tg.InputError, match="no column of numbers; a number is written with a point"):
        task(path, target="load")


def test_gaps_matter_only_in_columns_that_are_read(tmp_path: Path) -> None:
    path = tmp_path / "gaps.csv"
    path.write_text("day,load,wind\n" + "".join(f"d{i},{i},{'' if i == 5 else i}\n" for i in range(30)))
    assert task(path, target="load", columns="load").names == ["load"]
    with pytest.raises(tg.InputError, match=r"row 7: wind is '', .* or read other columns"):
        task(path, target="load")
    with pytest.raises(tg.InputError, match="no numbers named nope; there are load"):
        task(path, target="load", columns="nope")
