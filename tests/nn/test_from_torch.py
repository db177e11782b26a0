"""Models from PyTorch: known by name and attributes; the slow tests use PyTorch's own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tinygrad_rnn as tg


class Parameter:
    """What is asked of a torch tensor."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        return self.array


class Stand:
    """What is asked of a torch module."""

    training = False

    def __init__(self, arrays=(), children=(), **options):
        self.arrays, self.parts = dict(arrays), dict(children)
        vars(self).update(options)

    def named_parameters(self, recurse=True):
        own = [(name, Parameter(array)) for name, array in self.arrays.items()]
        parts = self.parts.items() if recurse else ()
        return own + [(f"{part}.{name}", one) for part, child in parts for name, one in child.named_parameters()]

    def named_children(self):
        return self.parts.items()

    def __iter__(self):
        return iter(self.parts.values())


def stand(kind, *args, **options):
    return type(kind, (Stand,), {})(*args, **options)


def test_layers_come_over_by_name_without_torch():
    rng = np.random.default_rng(0)
    ours = tg.nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True, dtype=np.float32, rng=1)
    options = {
        name: getattr(ours, name) for name in ("input_size", "hidden_size", "num_layers", "batch_first", "dropout")
    }
    theirs = stand("LSTM", ours.state_dict(), bias=True, bidirectional=True, proj_size=0, **options)
    made = tg.nn.from_torch(theirs)
    assert not made.training
    x = rng.normal(size=(2, 5, 3)).astype(np.float32)
    np.testing.assert_array_equal(made(x)[0].data, ours.eval()(x)[0].data)
    linear = stand("Linear", {"weight": np.ones((2, 3)), "bias": np.zeros(2)}, in_features=3, out_features=2, bias=1)
    stack = tg.nn.from_torch(stand("Sequential", children={"0": linear, "1": stand("Tanh")}))
    np.testing.assert_allclose(stack(np.ones(3)).data, np.tanh([3.0, 3.0]))
    assert repr(stack) == "Sequential(0=Linear(3, 2), 1=tanh)"
    model = tg.nn.from_torch(
        stand("Model", children={"head": linear, "layers": stand("ModuleList", children={"0": linear})})
    )
    assert [name for name, _ in model.named_parameters()] == [
        "head.weight",
        "head.bias",
        "layers.0.weight",
        "layers.0.bias",
    ]
    with pytest.raises(tg.InputError, match="how Model joins its parts"):
        model(np.ones(3))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (stand("LSTM", proj_size=3), "proj_size=3, which is not supported"),
        (stand("Embedding", padding_idx=0), "padding_idx=0, expected None: .* set its padding_idx = None before"),
        (
            stand("Own", {"h0": np.ones(3)}, children={"act": stand("Tanh")}),
            r"Own has parameters of its own, h0, .*from_torch\(model\.act\).*tg\.Tensor\(model\.h0\.detach",
        ),
        (stand("Conv1d", {"weight": np.ones(3)}), "Conv1d, expected RNN"),
        (stand("Sequential", children={"0": stand("Conv1d", {"weight": np.ones(3)})}), r"Sequential\.0 is Conv1d"),
        (stand("Linear", {"weight": np.ones(3, np.float16)}), "dtype float16"),
        (3, "int, which is no torch.nn module"),
    ],
)
def test_what_is_not_known_is_refused(given, message):
    with pytest.raises(tg.InputError, match=message):
        tg.nn.from_torch(given)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_recurrent_layers_of_torch_compute_the_same(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    kind = ("RNN", "LSTM", "GRU")[seed % 3]
    options = {name: bool(rng.integers(2)) for name in ("bias", "batch_first", "bidirectional")}
    options |= {"nonlinearity": "relu"} if kind == "RNN" and seed % 2 else {}
    theirs = getattr(torch.nn, kind)(3, 4, num_layers=int(rng.integers(1, 3)), **options)
    x = rng.normal(size=(5, 2, 3)).astype(np.float32)
    ours = tg.nn.from_torch(theirs)
    y, _ = theirs(torch.tensor(x))
    np.testing.assert_allclose(ours(x)[0].data, y.detach().numpy(), rtol=1e-5, atol=1e-6)
    (y**2).sum().backward()
    (ours(x)[0] ** 2).sum().backward()
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(getattr(ours, name).grad, parameter.grad.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_model_of_torch_is_diagnosed_in_one_call():
    torch = pytest.importorskip("torch")

    class Reader(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(10, 6)
            self.rnn = torch.nn.GRU(6, 8, num_layers=2)
            self.head = torch.nn.Sequential(
                torch.nn.LayerNorm(8), torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)
            )

    theirs = Reader().double()
    ours = tg.nn.from_torch(theirs)
    ids = np.random.default_rng(0).integers(0, 10, (40, 3))
    y = theirs.head(theirs.rnn(theirs.embed(torch.tensor(ids)))[0])
    mine = ours.head(ours.rnn(ours.embed(ids))[0])
    np.testing.assert_allclose(mine.data, y.detach().numpy(), rtol=1e-10)
    assert [layer.name for layer in tg.diagnose((mine**2).sum()).layers] == ["rnn/l0", "rnn/l1"]
    for cell in (torch.nn.RNNCell(3, 4), torch.nn.LSTMCell(3, 4), torch.nn.GRUCell(3, 4, bias=False)):
        x = np.ones((2, 3), np.float32)
        theirs, ours = cell(torch.tensor(x)), tg.nn.from_torch(cell)(x)
        for a, b in zip(*((v if isinstance(v, tuple) else (v,)) for v in (ours, theirs)), strict=True):
            np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_torch_is_not_imported():
    code = "import sys, tinygrad_rnn; from tinygrad_rnn.nn import from_torch; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
