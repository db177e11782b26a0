"""What drawing every operation of an unrolled Elman RNN costs, beside torchviz and torchlens.

    python benchmarks/drawing.py [steps ...]

Each contestant draws one graph to SVG in a process of its own, from the graph to the bytes (building the graph and
importing packages not counted), and is given up after a minute. `pip install torch torchviz torchlens` for the peers.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

LIMIT = 60.0

OURS = """
import numpy as np, tinygrad_rnn as tg
rng = np.random.default_rng(0)
W_xh, W_hh, W_hy = (tg.Tensor(rng.normal(size=s) * 0.2, requires_grad=True) for s in ((8, 16), (16, 16), (16, 8)))
b_h, b_y = tg.Tensor(np.zeros(16), requires_grad=True), tg.Tensor(np.zeros(8), requires_grad=True)
h, loss = np.zeros((1, 16)), 0.0
for t, x in tg.steps(rng.normal(size=(T, 1, 8))):
    h = np.tanh(x @ W_xh + h @ W_hh + b_h)
    y = h @ W_hy + b_y
    loss = loss + tg.softmax_cross_entropy(y, np.array([t % 8]))
def draw():
    return len(tg.viz.unrolled(tg.gradient_flow(loss), "op", max_steps=STEPS).pipe("svg", ENGINE))
"""

TORCH = """
import torch
torch.manual_seed(0)
W_xh, W_hh, W_hy = (torch.nn.Parameter(torch.randn(*s) * 0.2) for s in ((8, 16), (16, 16), (16, 8)))
b_h, b_y = torch.nn.Parameter(torch.zeros(16)), torch.nn.Parameter(torch.zeros(8))
class RNN(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.W_xh, self.W_hh, self.W_hy, self.b_h, self.b_y = W_xh, W_hh, W_hy, b_h, b_y
    def forward(self, xs):
        h, loss = torch.zeros(1, 16), torch.zeros(())
        for t in range(len(xs)):
            h = torch.tanh(xs[t] @ self.W_xh + h @ self.W_hh + self.b_h)
            loss = loss + torch.nn.functional.cross_entropy(h @ self.W_hy + self.b_y, torch.tensor([t % 8]))
        return loss
model, xs = RNN(), torch.randn(T, 1, 8)
"""

TORCHVIZ = (
    TORCH
    + """
from torchviz import make_dot
loss = model(xs)
def draw():
    return len(make_dot(loss, params=dict(model.named_parameters())).pipe(format="svg"))
"""
)

TORCHLENS = (
    TORCH
    + """
import os, tempfile, torchlens
from torchlens.options import VisualizationOptions
def draw():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        how = VisualizationOptions(view="unrolled", container_path="graph", save_only=True, file_format="svg")
        torchlens.visualization.show_model_graph(model, [xs], visualization=how)
        return os.path.getsize("graph.svg")
"""
)

CONTESTANTS = {
    "ours, in lanes, no Graphviz": (OURS, "tinygrad_rnn", None, None),
    "ours, in lanes, through dot": (OURS, "tinygrad_rnn", "dot", None),
    "ours, shortened, no Graphviz": (OURS, "tinygrad_rnn", None, 16),
    "torchviz": (TORCHVIZ, "torchviz", "dot", None),
    "torchlens": (TORCHLENS, "torchlens", "dot", None),
}


def measure(script: str, steps: int, engine: str | None, shown: int | None) -> str:
    """Seconds and kilobytes in words, or why there are none."""
    settings = f"T, ENGINE, STEPS = {steps}, {engine!r}, {shown}\n"
    timing = "\nimport time\nstart = time.perf_counter()\nsize = draw()\nprint(time.perf_counter() - start, size)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", settings + script + timing], capture_output=True, text=True, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        return f"over {LIMIT:.0f} s"
    if done.returncode:
        return f"failed: {done.stderr.strip().splitlines()[-1][:70]}"
    seconds, size = done.stdout.split()[-2:]
    return f"{float(seconds):7.2f} s  {int(size) / 1000:8.0f} kB"


def main() -> None:
    steps = [int(word) for word in sys.argv[1:]] or [10, 30, 50, 200, 1000]
    beaten: set[str] = set()
    for name, (script, module, engine, shown) in CONTESTANTS.items():
        if importlib.util.find_spec(module) is None:
            print(f"{name}: not installed")
            continue
        if engine == "dot" and shutil.which("dot") is None:
            print(f"{name}: needs the dot program")
            continue
        for T in steps:
            if name in beaten:
                break
            words = measure(script, T, engine, shown)
            if words.startswith(("over", "failed")):
                beaten.add(name)  # more steps will not be quicker
            print(f"{name:<30} T = {T:<5} {words}", flush=True)


if __name__ == "__main__":
    main()
