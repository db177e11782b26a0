"""Small recurrent networks of every shape a picture must cope with, written as users write them."""

from __future__ import annotations

import os

import numpy as np

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor


def cpu_seconds() -> float:
    """What this process and its children have computed: a time that does not depend on who else is busy."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _weight(rng: np.random.Generator, name: str, *shape: int) -> Tensor:
    return Tensor(rng.normal(size=shape) * 0.5, requires_grad=True, name=name)


def elman(T: int = 5, H: int = 4, every: bool = True, total: str = "running", scale: float = 0.5) -> Tensor:
    """A tanh RNN; `total` says how the losses are added: "running", "list" or "stack"."""
    rng = np.random.default_rng(0)
    D, K = 3, 3
    Q = np.linalg.qr(rng.normal(size=(H, H)))[0]
    W_xh = Tensor(rng.normal(size=(D, H)) * 0.5, requires_grad=True)
    W_hh = Tensor(scale * Q, requires_grad=True)
    b_h = Tensor(np.zeros(H), requires_grad=True)
    W_hy = Tensor(rng.normal(size=(H, K)), requires_grad=True)
    b_y = Tensor(np.zeros(K), requires_grad=True)
    xs, targets = rng.normal(size=(T, 2, D)), rng.integers(0, K, size=(T, 2))
    h = np.zeros((2, H))
    loss, losses = 0.0, []
    for t, x in tg.steps(xs):
        h = np.tanh(x @ W_xh + h @ W_hh + b_h)
        if every or t == T - 1:
            y = h @ W_hy + b_y
            l = tg.softmax_cross_entropy(y, targets[t])
            losses.append(l)
            if total == "running":
                loss = loss + l
    if total == "list":
        return sum(losses)
    if total == "stack":
        return np.stack(losses).mean()
    return loss / T


def lstm(T: int = 3, H: int = 4, layers: int = 1) -> Tensor:
    rng = np.random.default_rng(0)
    D = 3
    weights = [
        (
            _weight(rng, f"W_{k}", D if k == 0 else H, 4 * H),
            _weight(rng, f"U_{k}", H, 4 * H),
            _weight(rng, f"b_{k}", 4 * H),
        )
        for k in range(layers)
    ]
    W_hy = _weight(rng, "W_hy", H, 2)
    xs, targets = rng.normal(size=(T, 2, D)), rng.normal(size=(T, 2, 2))
    hs, cs = [np.zeros((2, H))] * layers, [np.zeros((2, H))] * layers
    loss = 0.0
    for t, x in tg.steps(xs):
        below = x
        for k, (W, U, b) in enumerate(weights):
            with tg.scope(f"layer{k}"):
                z = below @ W + hs[k] @ U + b
                i = tg.sigmoid(z[:, :H])
                f = tg.sigmoid(z[:, H : 2 * H])
                g = np.tanh(z[:, 2 * H : 3 * H])
                o = tg.sigmoid(z[:, 3 * H :])
                c = f * cs[k] + i * g
                h = o * np.tanh(c)
                cs[k], hs[k], below = c, h, h
        y = below @ W_hy
        loss = loss + tg.squared_error(y, targets[t])
    return loss


def gru(T: int = 4, H: int = 3) -> Tensor:
    """Many to one: the loss is taken after the loop."""
    rng = np.random.default_rng(0)
    D = 2
    W_z, W_r, W_n = (_weight(rng, f"W_{g}", D, H) for g in "zrn")
    U_z, U_r, U_n = (_weight(rng, f"U_{g}", H, H) for g in "zrn")
    h = Tensor(np.zeros((2, H)), requires_grad=True)
    for _, x in tg.steps(rng.normal(size=(T, 2, D))):
        z = tg.sigmoid(x @ W_z + h @ U_z)
        r = tg.sigmoid(x @ W_r + h @ U_r)
        n = np.tanh(x @ W_n + (r * h) @ U_n)
        h = (1 - z) * n + z * h
    return (h * h).sum()


def bidirectional(T: int = 4, H: int = 3) -> Tensor:
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(T, 2, 2))
    W_f, U_f = _weight(rng, "W_f", 2, H), _weight(rng, "U_f", H, H)
    W_b, U_b = _weight(rng, "W_b", 2, H), _weight(rng, "U_b", H, H)
    V = _weight(rng, "V", 2 * H, 2)
    forward, backward = {}, {}
    with tg.scope("forward"):
        h = np.zeros((2, H))
        for t, x in tg.steps(xs):
            forward[t] = h = np.tanh(x @ W_f + h @ U_f)
    with tg.scope("backward"):
        h = np.zeros((2, H))
        for t, x in tg.steps(xs, reverse=True):
            backward[t] = h = np.tanh(x @ W_b + h @ U_b)
    loss = 0.0
    for t, _ in tg.steps(xs):
        o = np.concatenate([forward[t], backward[t]], axis=1) @ V
        loss = loss + (o * o).mean()
    return loss


def seq2seq(S: int = 3, T: int = 3, H: int = 3) -> Tensor:
    rng = np.random.default_rng(0)
    D = 2
    W_enc, U_enc = _weight(rng, "W_enc", D, H), _weight(rng, "U_enc", H, H)
    W_dec, U_dec, V = _weight(rng, "W_dec", D, H), _weight(rng, "U_dec", H, H), _weight(rng, "V", H, D)
    h = np.zeros((2, H))
    with tg.scope("encoder"):
        for _, x in tg.steps(rng.normal(size=(S, 2, D))):
            h = np.tanh(x @ W_enc + h @ U_enc)
    loss = 0.0
    targets = rng.normal(size=(T, 2, D))
    with tg.scope("decoder"):
        for t, y in tg.steps(rng.normal(size=(T, 2, D)), start=S):
            h = np.tanh(y @ W_dec + h @ U_dec)
            o = h @ V
            loss = loss + tg.squared_error(o, targets[t - S])
    return loss


def attention(S: int = 4, H: int = 3) -> Tensor:
    """Every step of a decoder looks at every step of an encoder: edges over many lanes, and steps that differ."""
    rng = np.random.default_rng(0)
    W, U, V = _weight(rng, "W", 2, H), _weight(rng, "U", H, H), _weight(rng, "V", H, H)
    h, seen = np.zeros(H), []
    for _, x in tg.steps(rng.normal(size=(S, 2))):
        h = np.tanh(x @ W + h @ U)
        seen.append(h)
    loss = 0.0
    for _, x in tg.steps(rng.normal(size=(S, 2)), start=S):
        weights = np.exp(np.stack([h @ e for e in seen]))
        context = sum(weights[i] / weights.sum() * e for i, e in enumerate(seen))
        h = np.tanh(x @ W + context @ V)
        loss = loss + (h * h).sum()
    return loss


def truncated(T: int = 6, window: int = 3, H: int = 3) -> Tensor:
    rng = np.random.default_rng(0)
    W_xh, W_hh = _weight(rng, "W_xh", 2, H), _weight(rng, "W_hh", H, H)
    h, loss = np.zeros((2, H)), 0.0
    for t, x in tg.steps(rng.normal(size=(T, 2, 2))):
        if t and t % window == 0:
            h = h.detach()
        h = np.tanh(x @ W_xh + h @ W_hh)
        loss = loss + (h * h).sum()
    return loss


def embedded(T: int = 4, H: int = 3) -> Tensor:
    """Work before and after the loop: embeddings of the whole sequence, a transposed weight, all outputs at once."""
    rng = np.random.default_rng(0)
    E, W_hh, W_hy = _weight(rng, "E", 7, H), _weight(rng, "W_hh", H, H), _weight(rng, "W_hy", H, 5)
    inputs = E[rng.integers(0, 7, size=(T, 2))]
    back = W_hh.T
    h, states = np.zeros((2, H)), []
    for _, x in tg.steps(inputs):
        h = np.tanh(x + h @ back)
        states.append(h)
    logits = np.stack(states) @ W_hy
    return tg.softmax_cross_entropy(logits, rng.integers(0, 5, size=(T, 2)))


def layers() -> Tensor:
    """The package's own layers, whose cells transpose their weights in every step."""
    gru = tg.nn.GRU(3, 4, num_layers=2, bidirectional=True, rng=np.random.default_rng(0))
    readout = tg.nn.Linear(8, 5, rng=np.random.default_rng(1))
    rng = np.random.default_rng(2)
    hidden, _ = gru(rng.normal(size=(4, 2, 3)).astype(np.float32))
    return tg.softmax_cross_entropy(readout(hidden), rng.integers(0, 5, size=(4, 2)))


def listed(T: int = 4) -> Tensor:
    """Inputs and targets in a list of pairs, and a state carried over from the sequence before."""
    rng = np.random.default_rng(0)
    W, U = _weight(rng, "W", 2, 3), _weight(rng, "U", 3, 3)
    h = Tensor(rng.normal(size=(1, 3)), requires_grad=True, name="h").detach()
    loss = 0.0
    for _, (x, y) in tg.steps([(rng.normal(size=(1, 2)), rng.normal(size=(1, 3))) for _ in range(T)]):
        h = np.tanh(x @ W + h @ U)
        loss = loss + tg.squared_error(h, y)
    return loss


def stepless() -> Tensor:
    """No loop at all."""
    rng = np.random.default_rng(0)
    x, W, b = rng.normal(size=(2, 3)), _weight(rng, "W", 3, 4), _weight(rng, "b", 4)
    hidden = tg.relu(x @ W + b)
    return (hidden * hidden).mean()


def losses_after_the_loop(T: int = 4) -> Tensor:
    rng = np.random.default_rng(0)
    W, V = _weight(rng, "W", 3, 3), _weight(rng, "V", 3, 2)
    h, ys = np.zeros((1, 3)), []
    for _, x in tg.steps(rng.normal(size=(T, 1, 3))):
        h = np.tanh(x + h @ W)
        ys.append(h @ V)
    return sum(tg.squared_error(y, target) for y, target in zip(ys, rng.normal(size=(T, 1, 2)), strict=True))


def gru_from_zeros(T: int = 3) -> Tensor:
    """The first step uses one NumPy array in four operations."""
    rng = np.random.default_rng(0)
    W_z, W_r, W_n = (_weight(rng, f"W_{gate}", 3, 3) for gate in "zrn")
    h, loss = np.zeros((1, 3)), 0.0
    for _, x in tg.steps(rng.normal(size=(T, 1, 3))):
        z, r = tg.sigmoid(x + h @ W_z), tg.sigmoid(x + h @ W_r)
        h = (1 - z) * np.tanh(x + (r * h) @ W_n) + z * h
        loss = loss + (h * h).sum()
    return loss


def penalised(T: int = 5) -> Tensor:
    """The recurrent weight is used outside the loop too."""
    rng = np.random.default_rng(0)
    W, h = _weight(rng, "W_hh", 3, 3), np.zeros((1, 3))
    for _, x in tg.steps(rng.normal(size=(T, 1, 3))):
        h = np.tanh(x + h @ W)
    return (h * h).sum() + 0.3 * (W**2).sum()


def dilated(T: int = 6) -> Tensor:
    """Each state is made from that of two steps before."""
    rng = np.random.default_rng(0)
    W, hs, loss = _weight(rng, "W", 3, 3), [np.zeros((1, 3))] * 2, 0.0
    for _, x in tg.steps(rng.normal(size=(T, 1, 3))):
        h = np.tanh(x + hs[-2] @ W)
        hs.append(h)
        loss = loss + (h * h).sum()
    return loss


def exploding(T: int = 8) -> Tensor:
    rng = np.random.default_rng(0)
    W, h = _weight(rng, "W", 3, 3), np.zeros((1, 3))
    for _, x in tg.steps(rng.normal(size=(T, 1, 3))):
        h = x + 4 * h @ W
    return (h * h).sum()


def not_finite(T: int = 4) -> Tensor:
    W, h, loss = Tensor([[1e200]], requires_grad=True, name="W"), np.array([[1.0]]), 0.0
    with np.errstate(all="ignore"):
        for _, x in tg.steps(np.ones((T, 1, 1))):
            h = (h + 0.0 * x) @ W
            loss = loss + (h * h).sum()
    return loss


def expression() -> Tensor:
    """Micrograd's first example."""
    a, b = Tensor(2.0, requires_grad=True), Tensor(-3.0, requires_grad=True)
    c, f = Tensor(10.0, requires_grad=True), Tensor(-2.0, requires_grad=True)
    d = a * b + c
    return d * f


def shared_twice(T: int = 4) -> Tensor:
    """Two layers with the same weights."""
    rng = np.random.default_rng(0)
    W, U = _weight(rng, "W", 3, 3), _weight(rng, "U", 3, 3)
    lower, upper, loss = np.zeros((1, 3)), np.zeros((1, 3)), 0.0
    for _, x in tg.steps(rng.normal(size=(T, 1, 3))):
        with tg.scope("lower"):
            lower = np.tanh(x @ W + lower @ U)
        with tg.scope("upper"):
            upper = np.tanh(lower @ W + upper @ U)
        loss = loss + (upper * upper).sum()
    return loss


ALL = {
    "elman": elman,
    "elman, losses in a list": lambda: elman(total="list"),
    "elman, losses stacked": lambda: elman(total="stack"),
    "elman, many to one": lambda: elman(every=False),
    "elman, one step": lambda: elman(T=1),
    "elman, two steps": lambda: elman(T=2, total="stack"),
    "elman, long": lambda: elman(T=40),
    "lstm": lstm,
    "lstm, two layers": lambda: lstm(layers=2),
    "lstm, long": lambda: lstm(T=20),
    "gru": gru,
    "bidirectional": bidirectional,
    "bidirectional, long": lambda: bidirectional(T=20),
    "seq2seq": seq2seq,
    "attention": attention,
    "truncated": truncated,
    "embedded": embedded,
    "layers": layers,
    "listed": listed,
    "stepless": stepless,
    "losses after the loop": losses_after_the_loop,
    "gru from zeros": gru_from_zeros,
    "penalised": penalised,
    "dilated": dilated,
    "exploding": exploding,
    "not finite": not_finite,
    "expression": expression,
    "shared twice": shared_twice,
}
