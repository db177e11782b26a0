"""What all tests share: a fixed random generator, and the rule that CI skips nothing."""

from __future__ import annotations

from importlib import import_module

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail when any test is skipped")
    parser.addoption("--native", action="store_true", help='compile with native loops wherever backend is "auto"')
    parser.addoption("--update-golden", action="store_true", help="write the expected DOT files anew")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if session.config.getoption("--no-skips") and skipped and exitstatus == 0:
        reporter.write_line(f"{len(skipped)} tests were skipped, and --no-skips forbids it", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = "native" if request.config.getoption("--native") else "numpy"  # which is sooner compiled
    monkeypatch.setattr(import_module("tinygrad_rnn.compiler.step"), "AUTO", chosen)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
