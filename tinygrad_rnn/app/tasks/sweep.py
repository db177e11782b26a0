"""Many runs of one task, with other settings and seeds each, side by side: a table and a picture of their scores."""

from __future__ import annotations

import itertools
import multiprocessing
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ...errors import GraphError, InputError
from ...files import as_path, write_file
from ...train.progress import tqdm
from .run import TaskTrainer
from .settings import Settings
from .task import as_csv

ENDED = ("step", "score", "best", "stopped")
"""What a row says of the end of its run."""

Row = dict[str, Any]
"""What varied in a run, and how it ended."""


def sweep(
    task: str,
    vary: Mapping[str, Sequence[Any]],
    folder: str | Path,
    jobs: int = 1,
    say: Callable[[str], None] = print,
    **choices: Any,
) -> list[Row]:
    """Train every combination of settings, each in a folder of its own; those that are done are not run again.

    Args:
        task: what to train.
        vary: values by the name of a setting; the seed is one.
        folder: where the runs, `results.csv` and `sweep.svg` go.
        jobs: so many runs at a time, in processes with one thread for linear algebra each.
        say: called with a line for every run.
        choices: the other settings.

    Returns:
        A row for each run, in the order of the combinations.

    Raises:
        InputError: a setting is unknown or out of range, or a folder holds another run than it should.
    """
    names = list(vary)
    plan: dict[str, tuple[Row, Settings]] = {}
    for values in itertools.product(*vary.values()):
        changed = dict(zip(names, values, strict=True))
        name = "_".join(re.sub(r"[^\w.+-]+", "-", f"{key}-{value}") for key, value in changed.items()) or "run"
        if name in plan:
            raise InputError(f"sweep: {name} comes twice; give each value once")
        plan[name] = changed, Settings.of(task, **{**choices, **changed})
    place = as_path(folder, "sweep")
    rows: dict[str, Row] = {}
    found = _results({name: settings for name, (_, settings) in plan.items()}, place, jobs)
    for name, row in tqdm(found, total=len(plan), unit="run", disable=None):
        rows[name] = {**plan[name][0], **row}
        with tqdm.external_write_mode():
            say(f"{name}: best {row['best']:.4g}, {row['stopped']} at step {row['step']}")
        write_file(place / "results.csv", as_csv(rows[name], [rows[key].values() for key in plan if key in rows]))
    return [rows[name] for name in plan]


def _results(plan: Mapping[str, Settings], place: Path, jobs: int) -> Iterator[tuple[str, Row]]:
    """The runs as they end, in processes of their own if there are several at a time."""
    if jobs == 1:
        yield from ((name, _run(settings, place / name)) for name, settings in plan.items())
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would inherit locks of threads that it does not have
    with ProcessPoolExecutor(jobs, spawn, threadpool_limits, (1,)) as pool:
        runs = {pool.submit(_run, settings, place / name): name for name, settings in plan.items()}
        try:
            yield from ((runs[done], done.result()) for done in as_completed(runs))
        except BrokenProcessPool as error:
            raise InputError(
                "sweep: a process of it was ended from outside, most often as memory ran out; the same command again "
                "goes on, with fewer --jobs in less memory"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run(settings: Settings, folder: Path) -> Row:
    """One run from where it is; a gradient that is not finite, or too little memory, is how it ended."""
    begun = any(folder.glob("step-*.safetensors"))
    try:
        trainer = TaskTrainer.of(folder) if begun else TaskTrainer(settings, folder)
    except MemoryError as error:
        return _failed(0, np.nan, error)
    if trainer.settings != settings:
        raise InputError(f"{folder} holds a run with other settings; choose another folder for this sweep")
    try:
        result = trainer.run(lambda line: None, progress=False)
    except (GraphError, MemoryError) as error:
        return _failed(trainer.step, trainer.best, error)
    if result.stopped == "interrupted":
        raise KeyboardInterrupt
    return result._asdict()


def _failed(step: int, best: float, error: Exception) -> Row:
    why = str(error) or "not enough memory"
    return {"step": step, "score": np.nan, "best": best, "stopped": f"failed ({why})"}


def grouped(rows: Sequence[Row], higher_is_better: bool) -> list[tuple[str, list[float]]]:
    """The best scores of the runs that differ in nothing but their seeds, the best group first."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        own = [f"{key}={value}" for key, value in row.items() if key not in ("seed", *ENDED)]
        groups.setdefault(" ".join(own) or "all", []).append(row["best"])

    def place(group: tuple[str, list[float]]) -> float:
        median = float(np.median(group[1]))  # nan where a run had no score: the last place
        return np.inf if np.isnan(median) else -median if higher_is_better else median

    return sorted(groups.items(), key=place)


def table(groups: Sequence[tuple[str, list[float]]], metric: str) -> str:
    """Median, least and largest score of each group."""
    width = max(len(name) for name, _ in groups)
    lines = [f"{'':<{width}}  {'runs':>4}  {'median':>10}  {'least':>10}  {'largest':>10}   {metric}"]
    for name, scores in groups:
        numbers = "  ".join(f"{number:>10.4g}" for number in (np.median(scores), min(scores), max(scores)))
        lines.append(f"{name:<{width}}  {len(scores):>4}  {numbers}")
    return "\n".join(lines)


def draw(groups: Sequence[tuple[str, list[float]]], metric: str, path: Path) -> None:
    """A line for each group, a dot for each run, a stroke at the median."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.2 + 0.3 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for i, (_, scores) in enumerate(groups):
        axes.plot(scores, [i] * len(scores), "o", color="#993404", alpha=0.6, markeredgewidth=0)
        axes.plot(np.median(scores), i, "|", color="black", markersize=14)
    finite = [score for _, scores in groups for score in scores if np.isfinite(score) and score > 0]
    if finite and max(finite) > 20 * min(finite):
        axes.set_xscale("log")
    axes.set(xlabel=f"{metric}, the best of each run", ylim=(len(groups) - 0.5, -0.5))
    axes.set_yticks(range(len(groups)), [name for name, _ in groups])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)
    figure.savefig(path)


__all__ = ["draw", "grouped", "sweep", "table"]
