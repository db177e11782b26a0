"""Files of weights and checkpoints with bits, bytes and headers changed at random: refused, or read as they were."""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn
from tinygrad_rnn.train import saved

ARRAYS = {"a.weight": np.arange(6.0).reshape(2, 3), "b": np.ones(4, np.float32), "n": np.array(3)}
JUNK: list[Any] = [
    None,
    -1,
    2**63,
    1e300,
    "x",
    "\0",
    [],
    {},
    [[]],
    [1] * 50,
    True,
    "F64",
    "BOOL",
    "F4",
    "\ud800",
    10**30,
]


def flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    if rng.random() < 0.5:
        return content[:at]
    return content[:at] + rng.randbytes(rng.randrange(20)) + content[at + rng.randrange(1, 20) :]


def header(content: bytes, rng: random.Random) -> bytes:
    """Of a safetensors file, with values of the wrong kind, names changed or a wrong length."""
    start = 8 + int.from_bytes(content[:8], "little")
    head = json.loads(content[8:start])
    entry = rng.choice(list(head))
    inner = rng.choice(list(head[entry]))
    way = rng.randrange(4)
    if way == 0:
        head[entry][inner] = rng.choice(JUNK)
    elif way == 1:
        head[entry] = rng.choice(JUNK)
    elif way == 2:
        head[rng.choice(["", "a\n", "x" * 20_000, "\ud800", "c"])] = head.pop(entry)
    else:
        del head[entry][inner]
    text = json.dumps(head).encode()
    length = rng.choice([0, len(text) + 5, 2**62, 2**40]) if rng.random() < 0.1 else len(text)
    return length.to_bytes(8, "little") + text + content[start:]


def members(content: bytes, rng: random.Random) -> bytes:
    """Of an .npz file, its arrays' own headers changed and the checksums made right again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            changes = [
                (b"(2, 3)", rng.choice([b"(-2,3)", b"(2**9)", b"(9,9999999999)", b"(1e9,)", b"None  ", b"(2, 2)"])),
                (b"<f8", rng.choice([b"|O8", b"<M8", b"<U9", b"|V8", b"<f3"])),
                (b"NUMPY", b"NUMPX"),
                (b"shape", b"shave"),
            ]
            written = old.read(name).replace(*rng.choice(changes))
            new.writestr(rng.choice([name] * 5 + ["x", "../x.npy", "a\n.npy", ".npy"]), written)
    return out.getvalue()


def original(arrays: dict[str, Any]) -> bool:
    same = (np.array_equal(arrays[k], v) and arrays[k].dtype == v.dtype for k, v in ARRAYS.items() if k in arrays)
    return set(arrays) == set(ARRAYS) and all(same)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
def test_weights_are_read_as_they_were_or_refused(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    path, rng = tmp_path / f"w{ending}", random.Random(0)
    content = nn.save_weights(ARRAYS, path).read_bytes()
    changes: list[Callable[..., bytes]] = [flip, cut, header if ending == ".safetensors" else members]
    refused = dict.fromkeys(changes, 0)
    unclear: list[Exception] = []
    for number in range(999):
        change = changes[number % 3]
        path.write_bytes(change(content, rng))
        try:
            arrays = nn.load_weights(path)
        except tg.InputError as error:
            refused[change] += str(path) in str(error)
            unclear += [] if str(path) in str(error) else [error]
            continue
        assert change is members or original(arrays), number  # another archive may be as good
        assert all(array.dtype.kind in "biufc" for array in arrays.values())
    assert not unclear
    assert refused[cut] > 320
    assert refused[flip] > 200
    assert refused[changes[2]] > 230


def test_a_small_archive_of_huge_arrays_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(10_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(tg.InputError, match=r"bomb.npz is damaged, .* 80,000,128 bytes, far more than it"):
        nn.load_weights(path)
    np.savez_compressed(path, a=np.zeros(1_000_000))
    assert set(nn.load_weights(path)) == {"a"}


@pytest.mark.slow
def test_no_changed_checkpoint_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    path, rng = tmp_path / "c.safetensors", random.Random(1)
    good = saved.Checkpoint(ARRAYS, {"step": 1, "list": [1, 2]})
    content = saved.save(path, good).read_bytes()
    same = 0
    unclear: list[Exception] = []
    for number in range(999):
        path.write_bytes([flip, cut, header][number % 3](content, rng))
        try:
            arrays, record = saved.load(path)
            assert record == good.record
            assert original(arrays)
            same += 1  # a bit of the white space at the header's end
        except tg.InputError as error:
            unclear += [] if str(path) in str(error) and "begin the run again" in str(error) else [error]
    assert not unclear
    assert same < 10
