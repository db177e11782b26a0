"""The demo's curves are of one scale: a mean divides every loss, the last one too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.app.demo import pictures


def test_at_the_last_step_the_last_loss_is_all_losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    W = tg.Tensor(rng.standard_normal((3, 3)) / 2, requires_grad=True)
    h, states, losses = np.ones(3), [], []
    for _, x in tg.steps(rng.standard_normal((9, 3))):
        h = np.tanh(x + h @ W)
        states.append(h)
        losses.append(np.sum(h * h))
    drawn: list[Any] = []
    profile = pictures.plots.profile
    monkeypatch.setattr(pictures.plots, "profile", lambda *a, **k: drawn.append(profile(*a, **k)))
    found = tg.diagnose(losses, states)
    pictures.draw_flow(tmp_path, tg.gradient_flow(sum(losses) / 9), found, found, W, list("abcdefghi"))
    every, _, last = (line.get_ydata() for line in drawn[0][0].lines[:3])
    assert last[-1] == pytest.approx(every[-1], rel=1e-12)
