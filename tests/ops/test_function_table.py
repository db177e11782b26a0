"""The page of NumPy's functions says what the engine does; it is written by `docs/numpy_functions.py`."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("numpy_functions", ROOT / "docs" / "numpy_functions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(script: Any) -> dict[str, str]:
    """What the page says of each function."""
    text = script.PAGE.read_text(encoding="utf-8")
    found = {}
    for state, words in script.STATES.items():
        (section,) = re.findall(rf"## {state.capitalize()}: {re.escape(words)}\n\n(.*)\n", text)
        found.update(dict.fromkeys(re.findall(r"`([\w.]+)`", section), state))
    return found


def test_the_page_is_current(script: Any) -> None:
    """Another version of NumPy has functions more or less; of those that it has too, the page says the same."""
    page, now = written(script), script.table()
    common = page.keys() & now.keys()
    assert {name: now[name] for name in common} == {name: page[name] for name in common}
    assert len(common) > 300
    if f"NumPy {np.__version__} " in script.PAGE.read_text(encoding="utf-8"):
        assert page.keys() == now.keys(), "run python docs/numpy_functions.py"


CALLS: dict[str, Any] = {
    "np.heaviside": lambda x: np.heaviside(x, 0.5),
    "np.interp": lambda x: np.interp(x, [0.0, 1.0], [0.0, 2.0]),
    "np.cov": np.cov,
    "np.fft.fft": np.fft.fft,
    "np.linalg.eig": lambda x: np.linalg.eig(x),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_refused_raises_an_error(script: Any, name: str) -> None:
    assert script.table()[name] == "refused"
    with pytest.raises(tg.TensorError, match=rf"{name.split('.')[-1]} has no rule"):
        CALLS[name](tg.Tensor(np.eye(3), requires_grad=True))
