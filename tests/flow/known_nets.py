"""Recurrent networks of which it is known what they keep of the past, each with the answer and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_rnn as tg

Made = tuple[Any, Any]
"""Losses and states, as for `tg.diagnose`."""


@dataclass(frozen=True)
class Known:
    """A network and what has to be said of it."""

    name: str
    make: Callable[[], Made]
    verdict: str
    kinds: tuple[str, ...] = ()
    """Of all findings, in order."""
    gain: float | None = None
    horizon: int | None = None
    sequences: dict[str, int] | None = None
    """How many sequences have each verdict, where they differ."""
    layers: tuple[str, ...] | None = None
    """The verdict of each layer, where there are several."""


CASES: list[Known] = []
VANISHES, SHORT = "vanishing", "too short to tell"


def known(name: str, verdict: str, *kinds: str, **numbers: Any) -> Callable[[Callable[[], Made]], Callable[[], Made]]:
    def add(make: Callable[[], Made]) -> Callable[[], Made]:
        CASES.append(Known(name, make, verdict, kinds, **numbers))
        return make

    return add


# ------------------------------------------------------------------ building blocks
def orthogonal(n: int, seed: int = 0) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def weight(array: Any) -> tg.Tensor:
    return tg.Tensor(np.asarray(array, float), requires_grad=True)


def squared(h: tg.Tensor) -> tg.Tensor:
    return (h * h).sum()


def loop(
    T: int, step: Callable[..., Any], B: int = 2, H: int = 4, x: float = 0.1, h: Any = None, loss: Any = squared
) -> Made:
    """`h = step(t, x_t, h, all h so far)` from zeros, with a loss at every step."""
    h = np.zeros((B, H)) if h is None else h
    hs: list[Any] = []
    losses = []
    for t, x_t in tg.steps(x * np.random.default_rng(1).normal(size=(T, *h.shape))):
        h = step(t, x_t, h, hs)
        hs.append(h)
        losses.append(loss(h))
    return losses, hs


def linear(r: float, T: int, B: int = 2, H: int = 3) -> Made:
    """h_t = x_t + r Q h_(t-1): every gradient changes by exactly r a step."""
    W = weight(r * orthogonal(H))
    return loop(T, lambda t, x, h, hs: x + h @ W, B, H)


def scaled(gains: list[float]) -> Made:
    """h_t = x_t + g_t Q h_(t-1)."""
    W = weight(orthogonal(4))
    return loop(len(gains), lambda t, x, h, hs: x + gains[t] * (h @ W))


def layer(kind: str, T: int = 60, B: int = 3, H: int = 8, x: float = 0.1, **options: Any) -> tuple[Any, np.ndarray]:
    return getattr(tg.nn, kind)(3, H, rng=0, **options), x * np.random.default_rng(1).normal(size=(T, B, 3))


def bias(net: Any, gate: int, value: float, layers: int = 1) -> None:
    """Set the bias of a gate, all others 0: of an LSTM i, f, g, o are 0 to 3; of a GRU r, z, n are 0 to 2."""
    H = net.hidden_size
    for name, parameter in net.named_parameters():
        if name.startswith("bias"):
            parameter.data[...] = 0.0
    for n in range(layers):
        getattr(net, f"bias_ih_l{n}").data[gate * H : (gate + 1) * H] = value


# ------------------------------------------------------------------ linear: the answer is a formula
def _linear(r: float, T: int) -> None:
    powers = r ** np.arange(T, dtype=float)
    horizon = int(np.argmax(powers < 0.001)) if (powers < 0.001).any() else None
    if horizon is not None:
        verdict = "vanishing"
    elif (powers > 100).any():
        verdict = "exploding"
    else:
        verdict = "healthy" if T > 10 else "too short to tell"
    CASES.append(Known(f"linear, {r} a step, T = {T}", lambda: linear(r, T), verdict, gain=r, horizon=horizon))


for r, lengths in {
    0.3: (2, 8, 12),
    0.5: (6, 11, 30, 2000),
    0.8: (10, 32, 100),
    0.9: (12, 66, 68, 200),
    0.99: (50, 300, 500),
    1.0: (2, 10, 11, 100, 2000),
    1.02: (100, 300),
    1.1: (30, 60),
    1.5: (8, 20),
}.items():
    for T in lengths:
        _linear(r, T)


# ------------------------------------------------------------------ a gain that changes along the sequence
@known("25 steps times 2, then 25 times 1/2", "mixed", "change")
def _() -> Made:
    return scaled([2.0] * 25 + [0.5] * 25)


@known("25 steps times 1/2, then 25 times 2", "mixed", "change")
def _() -> Made:
    return scaled([0.5] * 25 + [2.0] * 25)


@known("one step of 50 multiplies by 1e4", "exploding", "jump")
def _() -> Made:
    return scaled([1.0] * 20 + [1e4] + [1.0] * 29)


@known("one step of 50 multiplies by 1e-4", "vanishing", "jump")
def _() -> Made:
    return scaled([1.0] * 20 + [1e-4] + [1.0] * 29)


def ended(made: Made) -> Made:
    """With the last loss only."""
    return made[0][-1:], made[1]


@known("25 steps times 2, then 25 times 1/2, one loss: all is there again", "vanishing", "change", gain=0.5, horizon=10)
def _() -> Made:
    return ended(scaled([2.0] * 25 + [0.5] * 25))


@known("25 steps times 1/2, then 25 times 2, one loss", "exploding", "change", gain=2.0)
def _() -> Made:
    return ended(scaled([0.5] * 25 + [2.0] * 25))


@known("25 steps times 1, then 25 times 1/2, one loss", "weak", "change", horizon=10)
def _() -> Made:
    return ended(scaled([1.0] * 25 + [0.5] * 25))


@known("25 steps times 1/2, then 25 times 1, one loss", "vanishing", "change", horizon=35)
def _() -> Made:
    return ended(scaled([0.5] * 25 + [1.0] * 25))


@known("a factor of 0.05 in one step: no rate, no half-life", "healthy", "jump")
def _() -> Made:
    return ended(scaled([1.0] * 12 + [0.05] + [1.0] * 40))


@known("a factor of 0.05 in the first step, where every gradient ends", "healthy", "jump")
def _() -> Made:
    return ended(scaled([1.0, 0.05] + [1.0] * 40))


@known("a factor of 20 in one step: no rate", "healthy", "jump")
def _() -> Made:
    return ended(scaled([1.0] * 12 + [20.0] + [1.0] * 40))


@known("the last step multiplies by 1e-4", "weak", "jump", horizon=1)
def _() -> Made:
    return ended(scaled([1.0] * 49 + [1e-4]))


@known("all steps times 3 but one times 1e-3, which does not do it", "exploding", gain=3.0)
def _() -> Made:
    return scaled([3.0] * 20 + [1e-3] + [3.0] * 29)


@known("all steps times 1/2 but one times 1e3, which does not do it", "vanishing", gain=0.5, horizon=10)
def _() -> Made:
    return scaled([0.5] * 20 + [1e3] + [0.5] * 29)


@known("one unit of which the loss reads another by 1e4: every step does so", "exploding")
def _() -> Made:
    A = 0.9 * np.eye(4)
    A[1, 0] = 1e4
    W, read = weight(A), np.array([1.0, 0.0, 0.0, 0.0])
    return ended(loop(40, lambda t, x, h, hs: x + h @ W, loss=lambda h: (h * read).sum()))


@known("0.05 in the last 4 steps, 0.93 in those before: it goes on falling", "weak", horizon=3)
def _() -> Made:
    return ended(scaled([0.93] * 36 + [0.05] * 4))


@known("0.03 in the last 4 steps, 1.25 in those before: it grows again", "vanishing", horizon=2)
def _() -> Made:
    return ended(scaled([1.25] * 30 + [0.03] * 4))


for T in (40, 41, 42, 43):
    known(f"2 and 1/2 in turn, T = {T}", "healthy")(lambda T=T: ended(scaled(([2.0, 0.5] * 22)[:T])))


@known("20 and 1/20 in turn", "healthy")
def _() -> Made:
    return ended(scaled([20.0, 0.05] * 25))


@known("float32 in which the gradient underflows", "vanishing", horizon=10)
def _() -> Made:
    W = tg.Tensor((0.5 * orthogonal(3)).astype(np.float32), requires_grad=True)
    h, hs = np.zeros((2, 3), np.float32), []
    for _, x in tg.steps(np.random.default_rng(1).normal(size=(220, 2, 3)).astype(np.float32)):
        h = x + h @ W
        hs.append(h)
    return squared(hs[-1]), hs


@known("relu whose values underflow one after the other", "vanishing", horizon=1)
def _() -> Made:
    W = weight(3e-11 * np.eye(4))
    return loop(60, lambda t, x, h, hs: tg.relu((x * x + 1 if t == 0 else 0 * x) + h @ W), loss=lambda h: h.sum())


def doubled(T: int) -> Made:
    """tanh(2 h): grows from near 0, then latches at 0.9575, where the slope is 0.166."""
    W = weight(2 * np.eye(4))
    return loop(T, lambda t, x, h, hs: np.tanh(x + h @ W), x=1e-3)


for T in (100, 200, 400):
    known(f"latch, tanh(2 h), T = {T}", "vanishing", "saturated", "change")(lambda T=T: doubled(T))


@known("a matrix whose transient grows, then nothing is left", "exploding")
def _() -> Made:
    W = weight(5 * np.diag(np.ones(5), 1))
    return loop(60, lambda t, x, h, hs: x + h @ W, H=6)


@known("a defective matrix: 0.5 a step after a transient", "vanishing")
def _() -> Made:
    W = weight(0.5 * np.eye(4) + 0.2 * np.diag(np.ones(3), 1))
    return loop(60, lambda t, x, h, hs: x + h @ W)


# ------------------------------------------------------------------ tanh and relu
for r, T, verdict in ((0.5, 40, "vanishing"), (0.9, 100, "vanishing"), (1.0, 40, "healthy")):

    @known(f"tanh, {r} Q, small inputs, T = {T}", verdict)
    def _(r: float = r, T: int = T) -> Made:
        W = weight(r * orthogonal(4))
        return loop(T, lambda t, x, h, hs: np.tanh(x + h @ W), x=0.01)


@known("tanh, saturated by its inputs", "vanishing", "saturated")
def _() -> Made:
    W = weight(orthogonal(4))
    return loop(40, lambda t, x, h, hs: np.tanh(np.where(x > 0, 4.0, -4.0) + h @ W))


@known("sigmoid as activation", "vanishing")
def _() -> Made:
    W = weight(orthogonal(4))
    return loop(40, lambda t, x, h, hs: tg.sigmoid(x + h @ W))


@known("relu, identity (IRNN)", "healthy")
def _() -> Made:
    W = weight(np.eye(4))
    return loop(60, lambda t, x, h, hs: tg.relu(x * x + h @ W))


@known("relu, half of its units dead", "healthy", "dead units", "directions")
def _() -> Made:
    W, b = weight(np.eye(8)), np.array([0.01] * 4 + [-9.0] * 4)
    return loop(60, lambda t, x, h, hs: tg.relu(x * x + h @ W + b), H=8)


@known("relu, all units dead after step 20", "vanishing", "jump", "silent losses")
def _() -> Made:
    W = weight(np.eye(4))
    return loop(50, lambda t, x, h, hs: tg.relu(x * x + h @ W - (99.0 if t == 20 else 0.0)))


@known("np.maximum(z, 0), a quarter of its units dead", "healthy", "dead units", "directions")
def _() -> Made:
    W, b = weight(np.eye(8)), np.array([0.01] * 6 + [-9.0] * 2)
    return loop(60, lambda t, x, h, hs: np.maximum(x * x + h @ W + b, 0), H=8)


@known("half of the directions die", "healthy", "directions")
def _() -> Made:
    Q = orthogonal(8)
    W = weight(Q @ np.diag([1.0] * 4 + [0.5] * 4) @ Q.T)
    return loop(60, lambda t, x, h, hs: x + h @ W, H=8)


# ------------------------------------------------------------------ chaos and instability
def random_weights(g: float, T: int, H: int = 64) -> Made:
    """tanh with random weights: chaotic for g > 1 (Sompolinsky, Crisanti and Sommers, 1988), from a random state."""
    rng = np.random.default_rng(3)
    W, b = weight(g * rng.normal(size=(H, H)) / np.sqrt(H)), rng.normal(size=(2, H))
    return loop(T, lambda t, x, h, hs: np.tanh(0.01 * x + h @ W + (b if t == 0 else 0.0)), H=H)


@known("chaos: tanh, random weights of gain 2.5", "exploding", "chaos")
def _() -> Made:
    return random_weights(2.5, 80)


@known("chaos beside a gradient that is still bounded", "healthy", "directions", "chaos")
def _() -> Made:
    return random_weights(2.5, 24)


@known(
    "random weights of gain 1.7: a limit cycle after a transient, exponent 0.0001 over 3,000 steps",
    "healthy",
    "directions",
)
def _() -> Made:
    return random_weights(1.7, 70)


def bounded(gains: list[float]) -> Made:
    """States that swing, and nearby ones of which part by a factor a step."""
    W = weight(orthogonal(8))

    def step(t: int, x: Any, h: Any, hs: Any) -> Any:
        return np.sin(0.7 * t + np.arange(8)) + gains[t] * (h - h.data) @ W

    return loop(len(gains), step, h=tg.zeros((2, 8)))


@known("what nearby states are apart grows and then decays: no chaos", "mixed", "change")
def _() -> Made:
    return bounded([1.15] * 40 + [0.9] * 40)


@known("what nearby states are apart grows and then decays a little: no chaos", "healthy")
def _() -> Made:
    return bounded([1.1] * 40 + [0.97] * 40)


@known("random weights of gain 0.5: no chaos", "vanishing")
def _() -> Made:
    return random_weights(0.5, 60)


@known("an unstable fixed point at zero", "exploding")
def _() -> Made:
    W = weight(1.3 * np.eye(4))
    return loop(40, lambda t, x, h, hs: np.tanh(h @ W + 0 * x) + 0 * x, loss=lambda h: h.sum())


# ------------------------------------------------------------------ RNN, LSTM, GRU
for kind in ("RNN", "LSTM", "GRU"):

    @known(f"{kind} as it starts", "vanishing")
    def _(kind: str = kind) -> Made:
        net, x = layer(kind)
        return [squared(h) for _, h in tg.steps(net.unrolled(x)[0])], None

    @known(f"{kind}, from the whole loss", "vanishing")
    def _(kind: str = kind) -> Made:
        net, x = layer(kind)
        return squared(net(x)[0]), None

    @known(f"{kind}, a loss at the last step only", "vanishing")
    def _(kind: str = kind) -> Made:
        net, x = layer(kind)
        return squared(net(x)[0][-1]), None

    @known(f"{kind}, the slices of its output as states", "vanishing")
    def _(kind: str = kind) -> Made:
        net, x = layer(kind)
        out, _ = net(x)
        return [squared(out[t]) for t in range(60)], [out[t] for t in range(60)]

    @known(f"{kind}, T = 5", "too short to tell")
    def _(kind: str = kind) -> Made:
        net, x = layer(kind, T=5)
        return squared(net(x)[0]), None

    @known(
        f"{kind}, ragged: lengths 60, 30, 8",
        "vanishing",
        sequences=None if kind == "RNN" else {"vanishing": 2, "too short to tell": 1},
    )
    def _(kind: str = kind) -> Made:
        net, x = layer(kind)
        hs, _ = net.unrolled(x, lengths=[60, 30, 8])
        return [squared(h) for _, h in tg.steps(hs)], hs

    @known(f"{kind}, ragged, its last state read at the end", "vanishing")
    def _(kind: str = kind) -> Made:
        net, x = layer(kind)
        _, last = net(x, lengths=[60, 40, 30])
        return squared(last[0] if isinstance(last, tuple) else last), None

    @known(f"{kind}, both directions", "vanishing", layers=("vanishing", "vanishing"))
    def _(kind: str = kind) -> Made:
        net, x = layer(kind, bidirectional=True)
        return squared(net(x)[0]), None

    @known(f"{kind}, two layers", "vanishing", layers=("vanishing", "vanishing"))
    def _(kind: str = kind) -> Made:
        net, x = layer(kind, num_layers=2)
        return squared(net(x)[0]), None


@known("LSTM, forget gate open", "healthy")
def _() -> Made:
    net, x = layer("LSTM")
    bias(net, 1, 5.0)
    return squared(net(x)[0]), None


@known("LSTM, forget gate open, h_t given without c_t", "healthy")
def _() -> Made:
    net, x = layer("LSTM")
    bias(net, 1, 5.0)
    hs, _ = net.unrolled(x)
    return [squared(h) for _, h in tg.steps(hs)], hs


@known("LSTM, forget gate shut", "vanishing")
def _() -> Made:
    net, x = layer("LSTM")
    bias(net, 1, -5.0)
    return squared(net(x)[0]), None


@known("GRU, update gate keeps", "healthy")
def _() -> Made:
    net, x = layer("GRU")
    bias(net, 1, 5.0)
    return squared(net(x)[0]), None


@known("GRU, update gate renews", "vanishing")
def _() -> Made:
    net, x = layer("GRU")
    bias(net, 1, -5.0)
    return squared(net(x)[0]), None


@known("GRU, latched: z is 1 to the last bit", "healthy", gain=1.0)
def _() -> Made:
    net, x = layer("GRU")
    bias(net, 1, 60.0)
    hs, _ = net.unrolled(x)
    return (hs[-1] + 1).sum(), hs


@known("GRU, ragged, update gate keeps", "healthy", sequences={"healthy": 2, "too short to tell": 1})
def _() -> Made:
    net, x = layer("GRU")
    bias(net, 1, 5.0)
    hs, _ = net.unrolled(x, lengths=[60, 30, 8])
    return [squared(h) for _, h in tg.steps(hs)], hs


@known("LSTM whose c has grown where tanh(c) is flat", "weak", "saturated")
def _() -> Made:
    net, x = layer("LSTM")
    bias(net, 1, 6.0)
    net.bias_ih_l0.data[16:24] = 0.5  # g: c grows at every step
    return squared(net(x)[0][-1]), None


# ------------------------------------------------------------------ masks and padding by hand
def masked(form: str, lengths: tuple[int, ...] = (60, 30, 25)) -> Made:
    """0.5 a step within each length; beyond it the state stands still."""
    W = weight(0.5 * orthogonal(4))
    valid = np.arange(60)[:, None, None] < np.array(lengths)[:, None]

    def step(t: int, x: Any, h: Any, hs: Any) -> Any:
        new, m = x + h @ W, valid[t].astype(float)
        if form == "where":
            return np.where(valid[t], new, h)
        return m * new + (1 - m) * h if form == "sum" else h + m * (new - h)

    made = loop(60, step, B=3)
    return made[0][-1:], made[1]


for form in ("where", "sum", "difference"):
    known(f"padding by {form}: 0.5 a step", "vanishing", gain=0.5, horizon=10)(lambda form=form: masked(form))


@known("padding with the losses beyond it times 0", "vanishing", "silent losses", gain=0.5, horizon=10)
def _() -> Made:
    losses, hs = linear(0.5, 50)
    return [loss * (t < 30) for t, loss in enumerate(losses)], hs


@known("one of eight sequences keeps", "vanishing", sequences={"vanishing": 7, "healthy": 1})
def _() -> Made:
    gains = np.array([0.5] * 7 + [1.0])[:, None]
    W = weight(orthogonal(4))
    return loop(40, lambda t, x, h, hs: x + gains * (h @ W), B=8)


@known("half of the sequences vanish, half explode", "mixed", sequences={"vanishing": 4, "exploding": 4})
def _() -> Made:
    gains = np.array([0.5] * 4 + [1.5] * 4)[:, None]
    W = weight(orthogonal(4))
    return loop(40, lambda t, x, h, hs: x + gains * (h @ W), B=8)


# ------------------------------------------------------------------ losses
@known("a loss at t = 5 of 60", "too short to tell", gain=1.0)
def _() -> Made:
    losses, hs = linear(1.0, 60)
    return losses[5:6], hs


for size in (1e-200, 1e200):

    @known(f"losses times {size:g}", "healthy", gain=1.0)
    def _(size: float = size) -> Made:
        losses, hs = linear(1.0, 30)
        return [size * loss for loss in losses], hs


def broken(made: Callable[[Any], Any]) -> Made:
    """1.0 a step, and something at step 20."""
    W = weight(orthogonal(4))
    return loop(40, lambda t, x, h, hs: made(x + h @ W) if t == 20 else x + h @ W)


@known("the root of zero at step 20", "not finite", "dead units")
def _() -> Made:
    return broken(lambda h: h + np.sqrt(tg.relu(h - 99.0)))


@known("a NaN behind np.where at step 20", "not finite")
def _() -> Made:
    return broken(lambda h: np.where(h.data > 99, np.sqrt(0 * h), h))


@known("a value that is NaN from step 20 on", "not finite")
def _() -> Made:
    with np.errstate(all="ignore"):
        return broken(lambda h: h + 0 * np.log(h - 99.0))


@known("it overflows, having grown by 4 a step", "exploding", gain=4.0)
def _() -> Made:
    W = weight(4 * orthogonal(4))
    return loop(600, lambda t, x, h, hs: 0 * x + h @ W, h=1e-150 * np.ones((2, 4)), loss=lambda h: h.sum())


@known("a single loss in the middle", "vanishing", "silent losses", gain=0.5)
def _() -> Made:
    losses, hs = linear(0.5, 50)
    return [loss * (t == 25) for t, loss in enumerate(losses)], hs


@known("a delay of 5 in the loss, T = 50", "vanishing", gain=0.5, horizon=10)
def _() -> Made:
    _, hs = linear(0.5, 50)
    return [squared(hs[max(t - 5, 0)]) for t in range(50)], hs


@known("the mean over all states as the only loss", "vanishing", gain=0.5, horizon=10)
def _() -> Made:
    _, hs = linear(0.5, 50)
    return squared(tg.stack(hs)) / 50, None


# ------------------------------------------------------------------ cuts
@known("truncated every 5 steps, 1.0 a step", "too short to tell", "cut", gain=1.0)
def _() -> Made:
    W = weight(orthogonal(4))
    return loop(50, lambda t, x, h, hs: x + (h.detach() if t and t % 5 == 0 else h) @ W)


for steps in (True, False):

    @known(f"truncated at every step{'' if steps else ', without tg.steps'}", "too short to tell", "cut")
    def _(steps: bool = steps) -> Made:
        W, h, hs = weight(orthogonal(4)), np.zeros((2, 4)), []
        xs = np.random.default_rng(1).normal(size=(20, 2, 4))
        for _, x in tg.steps(xs) if steps else enumerate(xs):
            h = x + (h.detach() if hs else h) @ W
            hs.append(h)
        return [squared(h) for h in hs], hs


@known("truncated every 20 steps, 1.0 a step", "healthy", "cut", gain=1.0)
def _() -> Made:
    W = weight(orthogonal(4))
    return loop(60, lambda t, x, h, hs: x + (h.detach() if t and t % 20 == 0 else h) @ W)


@known("truncated every 20 steps, 0.5 a step", "vanishing", "cut", gain=0.5, horizon=10)
def _() -> Made:
    W = weight(0.5 * orthogonal(4))
    return loop(60, lambda t, x, h, hs: x + (h.detach() if t and t % 20 == 0 else h) @ W)


# ------------------------------------------------------------------ higher order, columns, hidden paths
for T in (50, 51, 52, 400):

    @known(
        f"h_t from h_(t-5) alone, 0.9 each, T = {T}",
        "healthy" if T < 200 else "vanishing",
        gain=0.9 ** (1 / 5),
    )
    def _(T: int = T) -> Made:
        W = weight(0.9 * orthogonal(4))
        return loop(T, lambda t, x, h, hs: x + (hs[t - 5] if t >= 5 else np.zeros((2, 4))) @ W)


@known("h_t from h_(t-1) and h_(t-10)", "healthy")
def _() -> Made:
    W = weight(orthogonal(4))
    return loop(100, lambda t, x, h, hs: x + 0.5 * h @ W + (0.49 * hs[t - 10] if t >= 10 else 0))


@known("columns, (H, 1), as W @ h", "vanishing", gain=0.5, horizon=10)
def _() -> Made:
    W = weight(0.5 * orthogonal(6))
    return loop(40, lambda t, x, h, hs: x + W @ h, h=np.zeros((6, 1)))


@known("one sequence without a batch, (H,)", "vanishing", gain=0.5, horizon=10)
def _() -> Made:
    W = weight(0.5 * orthogonal(6))
    return loop(40, lambda t, x, h, hs: x + W @ h, h=np.zeros(6))


@known("sequences that share a mean", "vanishing")
def _() -> Made:
    W = weight(0.5 * orthogonal(4))

    def step(t: int, x: Any, h: Any, hs: Any) -> Any:
        h = x + h @ W
        return h - h.mean(axis=0)

    return loop(40, step, B=3)


@known("relu(h_t) given in place of h_t", "vanishing")
def _() -> Made:
    W = weight(0.5 * orthogonal(4))
    _, hs = loop(40, lambda t, x, h, hs: x + h @ W)
    seen = [tg.relu(h) for _, h in tg.steps(hs)]
    return [squared(s) for _, s in tg.steps(seen)], seen


def two(r0: float, r1: float) -> Made:
    """Two linear layers, the loss on the upper."""
    V, W, U = weight(r0 * orthogonal(4)), weight(r1 * orthogonal(4, 1)), weight(orthogonal(4, 2))
    h0, h1, losses = np.zeros((2, 4)), np.zeros((2, 4)), []
    for _, x in tg.steps(0.1 * np.random.default_rng(1).normal(size=(60, 2, 4))):
        with tg.scope("lower"):
            h0 = x + h0 @ V
        with tg.scope("upper"):
            h1 = h0 @ U + h1 @ W
        losses.append(squared(h1))
    return sum(losses), None


@known("two layers, both keep", "healthy", layers=("healthy", "healthy"))
def _() -> Made:
    return two(0.99, 0.98)


@known("two layers, the upper dies", "mixed", layers=("healthy", "vanishing"))
def _() -> Made:
    return two(0.99, 0.3)


@known(
    "two layers, the lower dies, its path runs through the upper",
    "healthy",
    "other layer",
    layers=("healthy", "healthy"),
)
def _() -> Made:
    return two(0.0, 1.0)


@known("two layers, the lower fades, the upper keeps", "healthy", "other layer", layers=("healthy", "healthy"))
def _() -> Made:
    return two(0.3, 1.0)


@known(
    "two layers in a ring: each remembers only through the other",
    "healthy",
    "other layer",
    layers=("healthy", "healthy"),
)
def _() -> Made:
    W, U = weight(orthogonal(4)), weight(orthogonal(4, 1))
    a, b, losses = np.zeros((2, 4)), np.zeros((2, 4)), []
    for _, x in tg.steps(0.1 * np.random.default_rng(1).normal(size=(40, 2, 4))):
        a, b = _ring(x, a, b, W, U)
        losses.append(squared(a) + squared(b))
    return sum(losses), None


def _ring(x: Any, a: Any, b: Any, W: tg.Tensor, U: tg.Tensor) -> tuple[Any, Any]:
    with tg.scope("a"):
        new = x + b @ W
    with tg.scope("b"):
        return new, a @ U


# ------------------------------------------------------------------ beside and around the recurrence
def attending(g: float, T: int) -> Made:
    """tanh, and a loss on the mean of all states so far, weighted by how alike they are to the last one."""
    W = weight(g * orthogonal(4))

    def attended(h: tg.Tensor) -> tg.Tensor:
        seen.append(h)
        scores = tg.softmax(tg.stack([(each * h).sum(-1, keepdims=True) for each in seen]), 0)
        return squared(sum(score * each for score, each in zip(scores, seen, strict=True)))

    seen: list[tg.Tensor] = []
    return loop(T, lambda t, x, h, hs: np.tanh(x + h @ W), loss=attended, x=0.3)


@known("attention beside a recurrence that keeps nothing", "healthy", "directions")
def _() -> Made:
    return attending(0.3, 20)


@known("three sequences, of which one alone shows what becomes of it", "vanishing", sequences={VANISHES: 1, SHORT: 2})
def _() -> Made:
    W, gains = weight(orthogonal(4)), np.array([[0.1], [1.0], [1.0]])
    return loop(6, lambda t, x, h, hs: x + gains * (h @ W), B=3)


@known("most sequences keep and one vanishes", "healthy", sequences={"healthy": 2, VANISHES: 1})
def _() -> Made:
    W, gains = weight(orthogonal(4)), np.array([[0.1], [1.0], [1.0]])
    return loop(30, lambda t, x, h, hs: x + gains * (h @ W), B=3)


@known("states that overflow: not finite, and no chaos", "not finite")
def _() -> Made:
    W = tg.Tensor((3.0 * orthogonal(4)).astype(np.float32), requires_grad=True)
    with np.errstate(all="ignore"):
        losses, _ = loop(120, lambda t, x, h, hs: x.astype(np.float32) + h @ W, h=np.zeros((2, 4), np.float32))
        return losses[-1], None


@known("a state handed on from another batch, cut off", "healthy", "cut", gain=0.95)
def _() -> Made:
    W = weight(0.95 * orthogonal(4))
    _, hs = loop(20, lambda t, x, h, hs: x + h @ W)
    losses, _ = loop(20, lambda t, x, h, hs: x + h @ W, h=hs[-1].detach())
    return sum(losses), None


@known("a penalty on the weights beside the losses", "vanishing", gain=0.5, horizon=10)
def _() -> Made:
    W, h, loss = weight(0.5 * orthogonal(4)), np.zeros((2, 4)), 0.0
    for _, x in tg.steps(0.1 * np.random.default_rng(1).normal(size=(30, 2, 4))):
        h = x + h @ W
        loss = loss + squared(h)
    return loss + 0.1 * (W * W).sum(), None


@known("a residual connection, centred: one direction of four dies", "healthy", "directions")
def _() -> Made:
    W = weight(0.5 * orthogonal(4))

    def step(t: int, x: Any, h: Any, hs: Any) -> Any:
        z = h + 0.1 * np.tanh(x + h @ W)
        return z - z.mean(-1, keepdims=True)

    return loop(40, step, x=1.0)


@known("a loss times 1e-38 in float32", "vanishing", horizon=10)
def _() -> Made:
    W = tg.Tensor((0.5 * orthogonal(4)).astype(np.float32), requires_grad=True)
    small = np.float32(1e-38)
    return loop(
        20,
        lambda t, x, h, hs: x.astype(np.float32) + h @ W,
        h=np.zeros((2, 4), np.float32),
        loss=lambda h: h.sum() * small,
    )


@known("a loop without tg.steps", "vanishing", gain=0.5, horizon=10)
def _() -> Made:
    W, h, loss = weight(0.5 * orthogonal(4)), np.zeros((2, 4)), 0.0
    for x in 0.1 * np.random.default_rng(1).normal(size=(30, 2, 4)):
        h = x + h @ W
        loss = loss + squared(h)
    return loss, None
