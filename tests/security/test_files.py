"""Files: what cannot be kept is refused, what is kept comes back, and no call changes the process or waits for ever."""

from __future__ import annotations

import io
import os
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.app import cli, text
from tinygrad_rnn.app.tasks import characters
from tinygrad_rnn.files import staged, write_file

both = pytest.mark.parametrize("ending", [".safetensors", ".npz"])


# ---------------------------------------------------------------------- the process and the disk
def test_writing_leaves_the_mask_of_the_process_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o027)
    try:
        monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the mask was changed, for every thread"))
        written = write_file(tmp_path / "a.txt", "x")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert stat.S_IMODE(written.stat().st_mode) == 0o640


def test_the_folder_is_synced_after_each_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    replace, fsync = os.replace, os.fsync

    def spy_sync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), replace(a, b)))
    write_file(tmp_path / "a.txt", "x")
    assert done == ["file", "rename", "folder"]
    done.clear()
    with staged(tmp_path) as stage:
        (stage / "b").write_text("y")
    assert done == ["rename", "folder"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b"]


# ---------------------------------------------------------------------- weights
PATHS = [None, 3, b"w.npz", ["w.npz"], object(), "", "w\0.npz", "w\ud800.npz", f"{'w' * 300}.npz", ".", "none/w.npz"]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: ascii(path)[:20])
def test_wrong_kinds_of_path_are_refused(path: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (lambda: nn.save_weights({"a": np.ones(2)}, path), lambda: nn.load_weights(path)):
        with pytest.raises(tg.TensorError, match=r"path|cannot|ends in|change the name"):
            call()
    assert not list(tmp_path.iterdir())


ARRAYS = {
    "bigendian": np.arange(3, dtype=">f8"),
    "bigendian integers": np.arange(3, dtype=">i4"),
    "strided": np.arange(12.0).reshape(3, 4)[::2, ::-1],
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "complex64": np.array([1 + 2j], np.complex64),
    "complex128": np.array([1 + 2j]),
    "long": np.ones(2, np.longdouble),
    "half": np.ones(2, np.float16),
    "scalar": np.array(3.5),
    "empty": np.zeros((0, 3)),
    "boolean": np.array([True, False]),
    "tensor": tg.Tensor([1.0, 2.0]),
    "list": [[1.0, 2.0]],
}
NAMES = ["a/b/c", "../up", "a.npy", "a", "file", "args", "allow_pickle", "self", "σ", "a b", "arr_0", "a\\b"]


@both
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_come_back_or_are_refused(kind: str, ending: str, tmp_path: Path) -> None:
    value = ARRAYS[kind]
    expected = np.asarray(value.data if isinstance(value, tg.Tensor) else value)
    path = tmp_path / f"w{ending}"
    if ending == ".safetensors" and kind in ("complex64", "complex128", "long"):
        with pytest.raises(tg.InputError, match=r"which safetensors lacks; save as \.npz"):
            nn.save_weights({"w": value}, path)
        assert not path.exists()
        return
    found = nn.load_weights(nn.save_weights({"w": value}, path))["w"]
    assert found.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, expected)


@both
def test_names_come_back_and_none_is_taken_for_another(ending: str, tmp_path: Path) -> None:
    given = {name: np.full(2, float(i)) for i, name in enumerate(NAMES)}
    found = nn.load_weights(nn.save_weights(given, tmp_path / f"w{ending}"))
    assert set(found) == set(given)
    assert all(np.array_equal(found[name], given[name]) for name in given)
    assert [path.name for path in tmp_path.iterdir()] == [f"w{ending}"]


@both
@pytest.mark.parametrize("name", ["", "a\ud800", "a\nb", "a\0b", 3, None, "a" * 70_000], ids=lambda n: ascii(n)[:12])
def test_names_that_a_file_cannot_keep_are_refused(name: Any, ending: str, tmp_path: Path) -> None:
    with pytest.raises(tg.InputError, match="expected text of 1 to"):
        nn.save_weights({name: np.ones(2)}, tmp_path / f"w{ending}")
    assert not list(tmp_path.iterdir())


@both
@pytest.mark.parametrize(
    "value", [None, "x", object(), [[1.0], [1.0, 2.0]], {"a": 1}, np.array(["a"])], ids=lambda v: repr(v)[:12]
)
def test_values_that_are_no_numbers_are_refused(value: Any, ending: str, tmp_path: Path) -> None:
    with pytest.raises(tg.TensorError, match="save_weights"):
        nn.save_weights({"w": value}, tmp_path / f"w{ending}")
    with pytest.raises(tg.TensorError, match="save_weights"):
        nn.save_weights(value if not isinstance(value, dict) else [1.0], tmp_path / f"w{ending}")
    assert not list(tmp_path.iterdir())


def test_an_archive_of_anything_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    for name, content in (("a.txt", b"x"), ("a.npy", b"x"), ("a.npy", b"\x93NUMPY\x01\x00\x05\x00{'a':"), ("b", b"")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, content)
        with pytest.raises(tg.InputError, match="damaged"):
            nn.load_weights(path)
    np.savez(path, a=np.array(["text"]))
    with pytest.raises(tg.InputError, match="expected numbers"):
        nn.load_weights(path)


@both
def test_weights_are_read_from_regular_files_only(ending: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / f"pipe{ending}")
    (tmp_path / f"zero{ending}").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(tg.InputError, match="not a regular file"):
            nn.load_weights(tmp_path / f"{name}{ending}")


# ---------------------------------------------------------------------- texts and the command line
def test_texts_are_read_from_regular_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/urandom", tmp_path):
        with pytest.raises(tg.InputError, match=r"(not a regular file|Is a directory); give the path of a text file"):
            text.read_text(path, at_least=1)
    monkeypatch.setattr(text, "LIMIT", 10)
    (tmp_path / "long").write_text("x" * 11)
    standard_input = io.TextIOWrapper(io.BytesIO(b"x" * 10 + b"y" * 11))
    monkeypatch.setattr(sys, "stdin", standard_input)
    with pytest.raises(tg.InputError, match="larger than the limit of 10 bytes"):
        text.read_text(tmp_path / "long", at_least=1)
    with pytest.raises(tg.InputError, match="larger than the limit of 10 bytes"):
        text.read_text("-", at_least=1)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 10)))
    assert text.read_text("-", at_least=1) == "x" * 10
    with pytest.raises(tg.InputError, match="help topics have"):
        text.read_text(None, at_least=10**9)


LONG = "x" * 5000
LINES = [
    ["sample", LONG],
    ["sample", ".", "--seed", "-1"],
    ["eval", LONG],
    ["graph", LONG],
    ["flow", LONG],
    ["graph", "--text", LONG],
    ["graph", "--steps", "2", "--hidden", "2", "--out", f"{LONG}.dot"],
    ["graph", "--steps", "9" * 20],
    ["graph", "--hidden", "9" * 20],
    ["graph", "--steps", "1000000"],
    ["train", "adding", "--out", LONG],
    ["train", "adding", "--hidden", "9" * 20],
    ["train", "adding", "--lag", "9" * 20],
    ["train", "adding", "--batch", "9" * 20],
    ["train", "adding", "--threads", "9" * 20],
    ["train", "adding", "--seed", "-1"],
    ["train", "char", "--text", LONG],
    ["train", "char", "--k2", "9" * 20],
    ["train", "char", "--text", "/dev/zero"],
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: " ".join(line)[:40])
def test_a_line_that_cannot_work_is_answered_by_a_sentence(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code = cli.main(line)
    except SystemExit as stop:  # the options' own errors
        code = int(stop.code or 0)
    said = capsys.readouterr().err
    assert code == 2
    assert said.startswith("tinygrad-rnn")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_perplexity_above_every_float_is_said_in_words() -> None:
    assert characters.in_words(5000.0) == "5000.0000 bits per character (perplexity above 1e308)"
    assert characters.in_words(2.0) == "2.0000 bits per character (perplexity 4.000)"
