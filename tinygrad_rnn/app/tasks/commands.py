"""The commands `train`, `sample` and `eval`: arguments in, one call of the public functions each."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
from threadpoolctl import threadpool_limits

from ...errors import InputError
from ...escape import terminal
from ...train.ranks import Ranks, world
from ..options import as_json, whole_number
from ..text import read_text
from .characters import Characters, bits_per_character, in_words, sample
from .run import TaskTrainer
from .settings import DEFAULTS, HINTS, TASKS, Settings
from .sweep import draw, grouped, sweep
from .sweep import table as table_of
from .trained import load_model


def add_commands(subparsers: Any) -> None:
    """Register `train`, `sample` and `eval`; each sets `run`, a function of the parsed arguments."""
    train = subparsers.add_parser(
        "train", help="train a recurrent network on text, a CSV file, a classic problem, digits or sunspots"
    )
    train.add_argument("task", choices=list(TASKS), help="what to learn")
    train.add_argument("--out", type=Path, help="folder for checkpoints, log and best weights (default: runs/TASK)")
    train.add_argument("--resume", action="store_true", help="continue the run in --out, or begin one if there is none")
    train.add_argument("--threads", type=whole_number(1, 1024), help="limit NumPy's linear algebra to so many threads")
    words = "look at the memory every N updates; auto: so seldom that it takes less than 5%% of the time"
    train.add_argument("--watch", default="0", metavar="N", help=words)
    _add_settings(train)
    train.set_defaults(run=run_train)

    many = subparsers.add_parser(
        "sweep",
        help="train with several settings and seeds, and compare the scores",
        description="Train every combination of the values given with --vary, each in a folder of its own. The same "
        "command again goes on where it was interrupted. In the end there are results.csv, a table and a picture.",
    )
    many.add_argument("task", choices=list(TASKS), help="what to learn")
    many.add_argument("--out", type=Path, help="folder for all runs (default: sweeps/TASK)")
    many.add_argument("--vary", action="append", metavar="NAME=A,B", help="values of a setting, such as hidden=16,32")
    many.add_argument(
        "--seeds",
        type=whole_number(1, 10_000),
        default=3,
        metavar="N",
        help="runs with seeds 0 to N-1 of each (default: 3)",
    )
    many.add_argument(
        "--jobs",
        type=whole_number(1, 10_000),
        default=os.cpu_count() or 1,
        help="runs at a time (default: all processors)",
    )
    _add_settings(many)
    many.set_defaults(run=run_sweep)

    write = subparsers.add_parser("sample", help="let a trained model write text, forecast rows or answer tests")
    write.add_argument("model", type=Path, help="a run's folder, or a checkpoint")
    write.add_argument("--prime", help="what the model reads first (default: a new line, if it knows that)")
    write.add_argument(
        "--length", type=whole_number(0), help="characters to write (default: 500), or answers to show (20)"
    )
    write.add_argument("--file", type=Path, help="a model of csv: forecast this file instead of the one of the run")
    write.add_argument("--temperature", type=float, default=0.8, help="below 1 safer, above wilder (default: 0.8)")
    write.add_argument("--seed", type=whole_number(0), default=0, help="of the random draws (default: 0)")
    write.set_defaults(run=run_sample)

    score = subparsers.add_parser("eval", help="score a trained model on data that it was not trained on")
    score.add_argument("model", type=Path, help="a run's folder, or a checkpoint")
    score.add_argument(
        "--text",
        type=Path,
        help="a character model: score this file (- for standard input) instead of the held-out tenth",
    )
    score.add_argument("--json", action="store_true", help="print a number for a program instead of words")
    score.add_argument("--file", type=Path, help="a model of csv: score this file instead of the held-out fifth")
    score.set_defaults(run=run_eval)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    for choice in fields(Settings)[1:]:
        own = {task: values[choice.name] for task, values in DEFAULTS.items() if choice.name in values}
        defaults = [] if choice.default is None or choice.default is False else [str(choice.default)]
        defaults += [f"{task}: {value}" for task, value in own.items()]
        words = choice.metadata["words"] + (f" (default: {', '.join(defaults)})" if defaults else "")
        hint, kind = HINTS[choice.name], _plain(HINTS[choice.name])
        reads: dict[str, Any] = {"action": "store_true"} if kind is bool else {"type": kind}
        if get_origin(hint) is Literal:
            reads["choices"] = get_args(hint)
        parser.add_argument(f"--{choice.name.replace('_', '-')}", default=argparse.SUPPRESS, help=words, **reads)


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line names."""
    return {each.name: getattr(arguments, each.name) for each in fields(Settings)[1:] if hasattr(arguments, each.name)}


def _plain(hint: Any) -> Any:
    """The type that a hint is about: int of a size, float of a number or None, str of one of some texts."""
    return hint if isinstance(hint, type) else str if get_origin(hint) is Literal else _plain(get_args(hint)[0])


def run_train(arguments: argparse.Namespace) -> int:
    """`tinygrad-rnn train TASK ...`."""
    given = _given(arguments)
    folder = arguments.out or Path("runs") / arguments.task
    ranks = Ranks(world())
    with ranks.together():
        return _train(arguments, given, folder, ranks)


def _train(arguments: argparse.Namespace, given: dict[str, Any], folder: Path, ranks: Ranks) -> int:
    say = ranks.only_first(print)
    begun = ranks.first(any(folder.glob("step-*.safetensors")) if os.path.isdir(folder) else False)
    if begun and not arguments.resume:
        raise InputError(f"{folder} holds a run already; continue it with --resume, or choose another --out")
    if arguments.watch != "auto" and not arguments.watch.isdecimal():
        raise InputError(f"--watch: got {arguments.watch}, expected auto, or 0 or more updates between looks")
    with threadpool_limits(arguments.threads):
        if begun:
            trainer = TaskTrainer.of(folder, given.pop("steps", None), ranks.comm)
            _refuse_changes(trainer.settings, arguments.task, given)
            for reason in trainer.refused:
                say(f"not used: {terminal(reason)}")
            say(f"continuing {terminal(str(folder))} at step {trainer.step}")
        else:
            trainer = TaskTrainer(Settings.of(arguments.task, **given), folder, ranks.comm)
            say("\n".join(filter(None, [terminal(trainer.task.about()), trainer.model.summary()])))
        result = trainer.run(watch="auto" if arguments.watch == "auto" else int(arguments.watch))
    say(
        {
            "done": f"done after {result.step} steps",
            "early": f"stopped at step {result.step}: no better score for {trainer.settings.patience} evaluations",
            "target": f"stopped at step {result.step}: the score is as good as asked for",
            "interrupted": f"interrupted at step {result.step}; continue with --resume",
        }[result.stopped]
    )
    say(f"best: {trainer.task.details(result.best)}; kept in {terminal(str(folder))}")
    return 130 if result.stopped == "interrupted" else 0


def run_sweep(arguments: argparse.Namespace) -> None:
    """`tinygrad-rnn sweep TASK --vary NAME=A,B ...`."""
    given, vary = _given(arguments), {}
    readers = {name: _plain(hint) for name, hint in HINTS.items() if name not in ("task", "compile")}
    for words in arguments.vary or ():
        name, _, values = words.partition("=")
        name = name.replace("-", "_")
        if name not in readers or not values:
            raise InputError(f"--vary: got {words!r:.80}, expected NAME=A,B with one of {', '.join(readers)}")
        try:
            vary[name] = [readers[name](value) for value in values.split(",")]
        except ValueError as error:
            raise InputError(f"--vary {words:.80}: {error}; give values as for --{name.replace('_', '-')}") from error
    vary.setdefault("seed", list(range(arguments.seeds)))
    folder = arguments.out or Path("sweeps") / arguments.task
    rows = sweep(arguments.task, vary, folder, arguments.jobs, lambda line: print(terminal(line), flush=True), **given)
    task = Settings.of(arguments.task, **given).build_task()
    groups = grouped(rows, task.higher_is_better)
    print(f"\n{terminal(table_of(groups, task.metric), lines=True)}")
    draw(groups, task.metric, folder / "sweep.svg")
    print(f"kept in {terminal(str(folder))}: results.csv, sweep.svg and the runs")


def _refuse_changes(settings: Settings, task: str, given: dict[str, Any]) -> None:
    own = settings.as_dict()
    changed = {name: value for name, value in {"task": task, **given}.items() if own[name] != value}
    if changed:
        words = ", ".join(f"{name} {own[name]} (asked for {value})" for name, value in changed.items())
        raise InputError(f"--resume: the run was begun with {words}; leave these out, or begin another run with --out")


def run_sample(arguments: argparse.Namespace) -> None:
    """`tinygrad-rnn sample RUN ...`."""
    trained = load_model(arguments.model)
    if trained.vocabulary is None:
        table = trained.task(arguments.file).table(trained.model, 20 if arguments.length is None else arguments.length)
        print(terminal(table.rstrip(), lines=True))
        return
    rng = np.random.default_rng(arguments.seed)
    length = 500 if arguments.length is None else arguments.length
    known = trained.vocabulary.characters
    prime = arguments.prime if arguments.prime is not None else "\n" if "\n" in known else known[0]
    written = sample(trained.model, trained.vocabulary, length, prime, arguments.temperature, rng)
    print(terminal(prime.lstrip("\n") + written, lines=True))


def run_eval(arguments: argparse.Namespace) -> None:
    """`tinygrad-rnn eval RUN [--text FILE]`."""
    trained = load_model(arguments.model)
    if arguments.text is None:
        task = trained.task(arguments.file)
        metric, score = task.metric, task.score(trained.model)
        words = task.details(score)
    elif trained.vocabulary is None:
        raise InputError(f"{arguments.model} was trained on {trained.settings.task}; --text is for character models")
    else:
        read = trained.vocabulary.encode(read_text(arguments.text, at_least=2))
        metric, score = Characters.metric, bits_per_character(trained.model, read)
        words = in_words(score)
    print(as_json({"metric": metric, "score": score, "words": words}) if arguments.json else words)


__all__ = ["add_commands", "run_eval", "run_sample", "run_sweep", "run_train"]
