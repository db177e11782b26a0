"""The first example is the README's first code block, it learns, and its gradients are PyTorch's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "rnn_from_scratch.py"
WEIGHTS = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")


def run(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(source, "example", "exec"), names)
    return names


def blocks_of_readme() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def first_block_of_readme() -> str:
    return blocks_of_readme()[0]


def test_the_readme_opens_with_the_example() -> None:
    assert first_block_of_readme() == EXAMPLE.read_text()


def test_it_fits_on_a_screen() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 60


def test_the_readmes_text_runs_and_the_loss_falls(capsys: pytest.CaptureFixture[str]) -> None:
    run(first_block_of_readme())
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 5
    assert losses[0] > np.log(10)
    assert losses[-1] < 0.1
    assert losses == sorted(losses, reverse=True)


def test_what_the_readme_asks_the_network_can_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    example, questions, pictures = blocks_of_readme()[:3]
    run(example.replace("range(201)", "range(2)") + questions + pictures)
    assert "PASSED" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bptt.html", "bptt.svg", "rnn.svg"]


@pytest.mark.slow
def test_every_gradient_is_pytorchs(capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    names = run(EXAMPLE.read_text())
    weights = {name: torch.tensor(names[name].data.copy(), requires_grad=True) for name in WEIGHTS}
    xs, targets = torch.tensor(names["xs"]), torch.tensor(names["targets"])
    h, loss = torch.zeros(names["H"], dtype=torch.float64), 0.0
    for t in range(len(xs)):
        h = torch.tanh(xs[t] @ weights["W_xh"] + h @ weights["W_hh"] + weights["b_h"])
        y = h @ weights["W_hy"] + weights["b_y"]
        loss = loss + torch.nn.functional.cross_entropy(y, targets[t])
    (loss / len(xs)).backward()

    ours = names["rnn"](names["xs"], names["targets"])
    for name in WEIGHTS:
        names[name].grad = None
    ours.backward()
    for name in WEIGHTS:
        expected = weights[name].grad.numpy()
        assert np.abs(names[name].grad - expected).max() <= 1e-10 * np.abs(expected).max(), name
