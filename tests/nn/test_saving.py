"""A model in one file: made again as it was made, or refused by a sentence."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import tinygrad_rnn as tg
from tinygrad_rnn.nn.from_torch import Converted
from tinygrad_rnn.train import saved


class Forecaster(tg.nn.Module):
    def __init__(self, hidden: int, inputs: int = 2, *, dtype: Any = np.float64, rng: Any = 0) -> None:
        self.rnn = tg.nn.GRU(inputs, hidden, dtype=dtype, rng=rng)
        self.head = tg.nn.Linear(hidden, 1, dtype=dtype, rng=rng)

    def forward(self, x: Any) -> Any:
        return self.head(self.rnn(x)[0])


XS = np.random.default_rng(0).standard_normal((5, 3, 2))


@pytest.mark.parametrize("dtype", [np.float32, "float64", np.dtype("float32")])
def test_what_is_loaded_answers_the_same(dtype: Any, tmp_path: Path) -> None:
    model = Forecaster(4, dtype=dtype, rng=np.random.default_rng(3))
    model.head.weight.data += 1
    again = Forecaster.load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(again(XS).data, model(XS).data)
    assert again.head.weight.dtype == dtype
    assert set(tg.nn.load_weights(tmp_path / "model.safetensors")) == set(model.state_dict())
    assert tg.nn.Module.load(tg.nn.LSTM(2, 3, rng=0).save(tmp_path / "lstm.safetensors"))(XS)[0].shape == (5, 3, 3)


def test_layers_within_arguments_are_made_again(tmp_path: Path) -> None:
    model = tg.nn.Sequential(tg.nn.Linear(2, 4, rng=0), tg.nn.Dropout(0.0), tg.nn.Linear(4, 1, rng=1))
    again = tg.nn.Sequential.load(model.save(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(again(XS).data, model(XS).data)


def test_copies_and_pickles_know_what_they_were_made_with(tmp_path: Path) -> None:
    for other in (copy.deepcopy(Forecaster(3)), pickle.loads(pickle.dumps(Forecaster(3)))):
        assert Forecaster.load(other.save(tmp_path / "m.safetensors")).rnn.hidden_size == 3
    other = pickle.loads(pickle.dumps(Odd(lambda: 3)))  # a function that only its maker needed
    with pytest.raises(tg.InputError, match="a copy of one that no file can keep"):
        other.save(tmp_path / "m.safetensors")


def test_what_cannot_be_saved_or_loaded_is_said(tmp_path: Path) -> None:
    path = Forecaster(3).save(tmp_path / "m.safetensors")
    with pytest.raises(tg.InputError, match="holds a 'Forecaster', not a GRU; call load of the class 'Forecaster'"):
        tg.nn.GRU.load(path)
    with pytest.raises(tg.InputError, match="holds a LSTM, not a GRU"):
        tg.nn.GRU.load(tg.nn.LSTM(2, 3).save(tmp_path / "l.safetensors"))
    with pytest.raises(tg.InputError, match="holds weights only"):
        Forecaster.load(tg.nn.save_weights(Forecaster(3), tmp_path / "w.safetensors"))
    with pytest.raises(tg.InputError, match=r"ends in \.safetensors"):
        Forecaster(3).save(tmp_path / "m.pkl")
    with pytest.raises(tg.InputError, match="there is no"):
        Forecaster.load(tmp_path / "none.safetensors")
    with pytest.raises(tg.InputError, match="made with a builtin_function_or_method, and a file keeps"):
        Odd(len).save(tmp_path / "odd.safetensors")
    content = path.read_bytes()
    for damaged in (content[:-1], content[:50], content[:-9] + b"\1" + content[-8:], b""):
        path.write_bytes(damaged)
        with pytest.raises(tg.InputError, match="is damaged, or not what"):
            Forecaster.load(path)


def test_a_hostile_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for record in (3, [], {}, {"class": "Forecaster", "args": [{"module": 3}], "kwargs": {"dict": {}}},
                   {"class": "Forecaster", "args": [], "kwargs": {"dict": {"hidden": 10**12}}},
                   {"class": "os.system", "args": ["true"], "kwargs": {"dict": {}}}):  # fmt: skip
        text = json.dumps(record)
        arrays = {"a": np.zeros(1)}
        both = json.dumps({"digest": tg.nn.weights.digest(arrays, text), "record": text})
        path.write_bytes(safetensors.numpy.save(arrays, metadata={"tinygrad_rnn": both}))
        with pytest.raises(tg.TensorError):
            Forecaster.load(path)


class Odd(tg.nn.Module):
    def __init__(self, function: Any) -> None:
        self.head = tg.nn.Linear(2, 3 if callable(function) else 4, rng=0)


def test_the_parts_of_a_model_from_elsewhere_are_kept(tmp_path: Path) -> None:
    parts = Converted("Net", {"rnn": tg.nn.RNN(2, 2, rng=0), "heads": [tg.nn.Linear(2, 1, rng=0)]})
    again = tg.nn.Module.load(parts.save(tmp_path / "m.safetensors"))
    assert again.kind == "Net"
    assert np.array_equal(again.rnn(XS)[0].data, parts.rnn(XS)[0].data)
    assert np.array_equal(again.heads[0].weight.data, parts.heads[0].weight.data)


def test_without_the_package_of_the_format_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Forecaster(3)
    model.save(tmp_path / "model.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)  # as on a Python that has no wheel of it
    for use in (
        lambda: model.save(tmp_path / "other.safetensors"),
        lambda: Forecaster.load(tmp_path / "model.safetensors"),
        lambda: tg.nn.load_weights(tmp_path / "model.safetensors"),
        lambda: saved.load(tmp_path / "model.safetensors"),
        lambda: saved.save(tmp_path / "checkpoint.safetensors", saved.Checkpoint({}, {})),
    ):
        with pytest.raises(tg.InputError, match=r"safetensors cannot be imported.*pip install safetensors.*npz"):
            use()
    tg.nn.save_weights(model, tmp_path / "model.npz")
    assert tg.nn.load_weights(tmp_path / "model.npz").keys() == model.state_dict().keys()
