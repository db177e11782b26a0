#!/usr/bin/env python3
# /// script
# dependencies = ["nox>=2024.4.15"]
# ///
"""Tasks: `nox -s lint`, `nox -s tests -- tests/nn/test_nn.py`, `nox -s slow`, and `nox -s ci`, which is `.ci/run`."""

from __future__ import annotations

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"


@nox.session
def lint(session: nox.Session) -> None:
    """Style and types."""
    session.install("-e", ".[test,lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The fast tests, or those given after `--`."""
    session.install("-e", ".[test,native]")
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def slow(session: nox.Session) -> None:
    """Parity with the peers, the browser and long property tests."""
    session.install("-e", ".[test,data,bench,browser,native,mpi]")
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """The documentation site, into build/site: its notebooks are executed and its examples are checked."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "-b", "doctest", "docs", "build/doctest")
    session.run("sphinx-build", "-W", "docs", "build/site")
    session.run("python", "docs/links.py", "build/site")


@nox.session(default=False)
def package(session: nox.Session) -> None:
    """Wheel and sdist: their metadata, and the sdist's tests from a folder of its own."""
    session.install("build", "twine", "-e", ".[test]")
    session.run("bash", ".ci/package", session.virtualenv.location, external=True)


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """300 small changes of the package, one at a time; which of them the tests do not notice (hours, for the night)."""
    session.install("-e", ".[test,native]")
    session.run("python", "benchmarks/mutants.py", *(session.posargs or ["build/mutants", "300"]))


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Half an hour of training, drawing, diagnosing and compiling, and the memory that grew."""
    session.install("-e", ".")
    session.run("python", "benchmarks/soak.py", *(session.posargs or ["30"]))


@nox.session(default=False, python="3.10", venv_backend="uv|virtualenv")
def oldest(session: nox.Session) -> None:
    """The fast tests on Python 3.10 with the oldest versions of the dependencies that `pyproject.toml` allows."""
    project = nox.project.load_toml("pyproject.toml")["project"]
    oldest = [name.replace(">=", "==") for name in project["dependencies"]]
    session.install(*oldest, "pyparsing<3.2", "-e", ".[test]")  # a newer one warns of what old Matplotlib calls
    session.run("pytest", *session.posargs)


@nox.session(default=False, venv_backend="none")
def ci(session: nox.Session) -> None:
    """Everything, from nothing; it makes its own environment."""
    session.run("bash", ".ci/run", external=True)


if __name__ == "__main__":
    nox.main()
