"""Models, optimisers and trainers go to other processes and back."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.app import tasks

XS = np.random.default_rng(0).normal(size=(5, 2, 3))


def three_steps(given: tuple[Any, Any, np.random.Generator]) -> tuple[Any, Any, Any, tg.Tensor]:
    """Train, here or in another process; gives the model, the optimiser, the state and a result of a graph."""
    model, optimiser, rng = given
    loss = tg.Tensor(0.0)
    for _ in range(3):
        optimiser.zero_grad()
        out, _ = model(tg.dropout(tg.Tensor(XS), 0.2, rng))
        loss = (out**2).mean()
        loss.backward()
        optimiser.step()
    return model, optimiser, model.state_dict(), loss


def make() -> tuple[Any, Any, np.random.Generator]:
    model = tg.nn.LSTM(3, 4, rng=0)
    return model, tg.optim.Adam(model.parameters(), lr=0.01), np.random.default_rng(1)


def run(trainer: Any) -> Any:
    trainer.run()
    return trainer


@pytest.mark.filterwarnings("ignore:.*multi-threaded")
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=pytest.mark.slow if name == "spawn" else ())
        for name in multiprocessing.get_all_start_methods()
        if name != "forkserver"
    ],
)
def test_training_in_another_process_is_training_here(method: str, tmp_path: Path) -> None:
    settings = tasks.Settings.of("adding", steps=5, eval_every=5, lag=10, hidden=4, batch=4)
    with multiprocessing.get_context(method).Pool(1) as pool:
        model, optimiser, state, loss = pool.apply(three_steps, (make(),))
        there = pool.apply(run, (tasks.TaskTrainer(settings, tmp_path / "there"),))
    again = three_steps(make())
    for name, value in again[2].items():
        np.testing.assert_array_equal(state[name], model.state_dict()[name])
        np.testing.assert_allclose(state[name], value, rtol=1e-12)  # BLAS may round otherwise at another address
    assert loss.item() == pytest.approx(again[3].item())
    assert not loss.requires_grad
    assert all(p is q for p, q in zip(optimiser.parameters, model.parameters(), strict=True))
    here = run(tasks.TaskTrainer(settings, tmp_path / "here"))
    for name, value in here.model.state_dict().items():
        np.testing.assert_allclose(there.model.state_dict()[name], value, rtol=1e-4, atol=1e-6)
