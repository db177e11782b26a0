"""Everything that a cell of a notebook may end with shows itself, once, in HTML no wider than 900 px."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recurrent_nets as nets

import tinygrad_rnn as tg
from tinygrad_rnn.train.trainer import Result


def shown() -> dict[str, Any]:
    """One of each."""
    loss = nets.lstm(T=12)
    flow = tg.gradient_flow(loss)
    rng = np.random.default_rng(0)
    W = tg.Tensor(rng.normal(size=(3, 3)), requires_grad=True)
    states = [tg.Tensor(rng.normal(size=(2, 3)), requires_grad=True)]
    for _ in range(4):
        states.append(np.tanh(states[-1] @ W))

    def loss_fn(w: Any, x: Any) -> Any:
        h = np.zeros((1, 3))
        for _, x_t in tg.steps(x):
            h = np.tanh(x_t + h @ w)
        return (h * h).sum()

    step = tg.compile(loss_fn)
    step(rng.normal(size=(3, 3)), rng.normal(size=(6, 1, 3)))
    return {
        "flow": flow,
        "diagnosis": tg.diagnose(loss),
        "spectrum": tg.spectrum(states),
        "compiled": step,
        "model": tg.nn.LSTM(3, 4, num_layers=2, rng=0),
        "training": Result(10, 0.5, 0.4, "done"),
        "unrolled": tg.viz.unrolled(flow),
        "rolled": tg.viz.rolled(flow),
        "page": tg.viz.page(flow),
    }


ONE_OF_EACH = shown()


@pytest.mark.parametrize("name", sorted(ONE_OF_EACH))
def test_it_shows_itself(name: str) -> None:
    made = ONE_OF_EACH[name]._repr_html_()
    assert made.lstrip().startswith("<")
    assert "<script" not in re.sub(r'srcdoc="[^"]*"', "", made)


def test_what_is_shown_is_what_is_printed() -> None:
    words = html.unescape(re.sub("<[^>]*>", "", ONE_OF_EACH["flow"]._repr_html_()))
    assert words == str(ONE_OF_EACH["flow"])
    source = ONE_OF_EACH["compiled"]
    assert html.unescape(re.sub("<[^>]*>", "", source._repr_html_())) == source.source
    assert "<b>for</b>" in source._repr_html_()
    assert ONE_OF_EACH["diagnosis"].verdict in ONE_OF_EACH["diagnosis"]._repr_html_()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_900_px_or_unreadable(scheme: str, tmp_path: Path) -> None:
    """In Chromium, in a cell 900 px wide, on the background of a light and of a dark notebook."""
    playwright = pytest.importorskip("playwright.sync_api")
    colors = {"light": ("#ffffff", "#111111"), "dark": ("#111111", "#eeeeee")}[scheme]
    cells = "".join(f'<div class="cell">{made._repr_html_()}</div>' for made in ONE_OF_EACH.values())
    page = tmp_path / "notebook.html"
    style = f"body{{background:{colors[0]};color:{colors[1]}}} .cell{{width:900px;margin:8px 0}}"
    page.write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style>{cells}", encoding="utf-8")
    with playwright.sync_playwright() as runner:
        browser = runner.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1366, "height": 900}, color_scheme=scheme)
        tab.goto(page.as_uri())
        widths = tab.eval_on_selector_all(".cell", "cells => cells.map(c => c.scrollWidth)")
        tab.screenshot(path=str(tmp_path / f"{scheme}.png"), full_page=True)
        browser.close()
    assert max(widths) <= 900
