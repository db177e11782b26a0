"""Layers against torch.nn on random configurations: outputs, final states and every gradient."""

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow


def configuration(seed):
    """Random sizes and options, the same for both sides."""
    rng = np.random.default_rng(seed)
    kind = ("RNN", "LSTM", "GRU")[seed % 3]
    options = {
        "num_layers": int(rng.integers(1, 4)),
        "bidirectional": bool(rng.integers(2)),
        "batch_first": bool(rng.integers(2)),
        "bias": bool(rng.random() < 0.8),
    }
    if kind == "RNN":
        options["nonlinearity"] = ("tanh", "relu")[rng.integers(2)]
    sizes = {name: int(rng.integers(1, high)) for name, high in (("I", 6), ("H", 8), ("B", 5), ("T", 12))}
    return rng, kind, options, sizes, bool(rng.integers(2)), bool(rng.integers(2))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("seed", range(60))
def test_outputs_states_and_gradients_equal_torch(seed, dtype):
    rng, kind, options, n, padded, with_state = configuration(seed)
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if dtype == np.float64 else {"rtol": 1e-5, "atol": 1e-5}
    theirs = getattr(torch.nn, kind)(n["I"], n["H"], **options).to(
        torch.float64 if dtype == np.float64 else torch.float32
    )
    ours = getattr(nn, kind)(n["I"], n["H"], **options, dtype=dtype, rng=0)
    ours.load_state_dict({name: p.detach().numpy() for name, p in theirs.named_parameters()})

    lead = (n["B"], n["T"]) if options["batch_first"] else (n["T"], n["B"])
    x = rng.standard_normal((*lead, n["I"])).astype(dtype)
    lengths = rng.integers(1, n["T"] + 1, n["B"]) if padded else None
    if padded:
        lengths[rng.integers(n["B"])] = n["T"]
    rows = options["num_layers"] * (2 if options["bidirectional"] else 1)
    states = [rng.standard_normal((rows, n["B"], n["H"])).astype(dtype) for _ in ours.states]

    mine = [tg.Tensor(a, requires_grad=True) for a in (x, *states)]
    peer = [torch.tensor(a, requires_grad=True) for a in (x, *states)]

    def pack(state):
        return None if not with_state else tuple(state) if len(state) > 1 else state[0]

    y, last = ours(mine[0], pack(mine[1:]), lengths=lengths)
    given = peer[0]
    if padded:
        given = torch.nn.utils.rnn.pack_padded_sequence(
            given, torch.tensor(lengths), batch_first=options["batch_first"], enforce_sorted=False
        )
    y_peer, last_peer = theirs(given, pack(peer[1:]))
    if padded:
        y_peer, _ = torch.nn.utils.rnn.pad_packed_sequence(y_peer, batch_first=options["batch_first"])
    ends, ends_peer = (list(last), list(last_peer)) if kind == "LSTM" else ([last], [last_peer])

    weights = [rng.standard_normal(o.shape).astype(dtype) for o in (y, *ends)]
    sum((o * w).sum() for o, w in zip((y, *ends), weights, strict=True)).backward()
    sum((o * torch.tensor(w)).sum() for o, w in zip((y_peer, *ends_peer), weights, strict=True)).backward()

    for a, b in zip((y, *ends), (y_peer, *ends_peer), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a.data, b.detach().numpy(), **tolerance)
    for (name, a), (name_peer, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == name_peer
        scale = max(1.0, float(np.abs(b.grad.numpy()).max()))
        np.testing.assert_allclose(a.grad / scale, b.grad.numpy() / scale, **tolerance, err_msg=name)
    for a, b in zip(mine if with_state else mine[:1], peer, strict=False):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), **tolerance)


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_equal_torch(kind):
    theirs, ours = getattr(torch.nn, kind)(3, 4).double(), getattr(nn, kind)(3, 4)
    ours.load_state_dict({name: p.detach().numpy() for name, p in theirs.named_parameters()})
    x = np.random.default_rng(0).standard_normal((5, 3))
    a, b = ours(x), theirs(torch.tensor(x))
    for mine, peer in zip(a, b, strict=True) if kind == "LSTMCell" else [(a, b)]:
        np.testing.assert_allclose(mine.data, peer.detach().numpy(), atol=1e-14)


def test_linear_embedding_and_layer_norm_equal_torch():
    rng = np.random.default_rng(0)
    index, x = rng.integers(0, 5, (3, 4)), rng.standard_normal((3, 4, 6))
    for ours, theirs, given in [
        (nn.Linear(6, 2), torch.nn.Linear(6, 2), x),
        (nn.Embedding(5, 2), torch.nn.Embedding(5, 2), index),
        (nn.LayerNorm(6), torch.nn.LayerNorm(6), x),
    ]:
        theirs = theirs.double()
        ours.load_state_dict({name: p.detach().numpy() for name, p in theirs.named_parameters()})
        y, y_peer = ours(given), theirs(torch.tensor(given))
        weights = rng.standard_normal(y.shape)
        (y * weights).sum().backward()
        (y_peer * torch.tensor(weights)).sum().backward()
        np.testing.assert_allclose(y.data, y_peer.detach().numpy(), atol=1e-13)
        for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            np.testing.assert_allclose(a.grad, b.grad.numpy(), atol=1e-12, err_msg=name)
