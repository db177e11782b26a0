"""The command line: each command reads its options and calls one public function."""

from __future__ import annotations

import argparse
import io
import itertools
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

import numpy as np

from .. import __version__, viz
from ..core.arguments import LARGEST
from ..errors import InputError, TensorError
from ..escape import terminal
from ..flow import Watch, diagnose, gradient_flow, influence
from .options import as_json, whole_number
from .shell import TOUR, completion
from .tasks.commands import add_commands
from .tasks.inspect import Window, look_at
from .tasks.model import CELLS
from .tasks.settings import TASKS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for input that cannot be used, 130 when
    interrupted, 141 when nobody reads on."""
    _open_streams()
    options = _parse(arguments)
    try:
        code = int(options.run(options) or 0)
        sys.stdout.flush()
        return code
    except TensorError as error:
        print(f"tinygrad-rnn: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"tinygrad-rnn: {str(error) or 'not enough memory'}; give smaller numbers", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("tinygrad-rnn: interrupted; nothing was written", file=sys.stderr)
        return 130
    except OSError as error:
        if error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # `tinygrad-rnn flow | head` has read enough
            return 141
        print(f"tinygrad-rnn: cannot print: {error.strerror}; send the output elsewhere", file=sys.stderr)
        return 2


def _open_streams() -> None:
    """Let streams that were closed go nowhere, and one that has too few characters spell out the others."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:  # else the next file, a checkpoint, would be one of them
        pass
    os.close(handle)
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", closefd=False))
        elif isinstance(getattr(sys, name), io.TextIOWrapper):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        if value == [] or (isinstance(value, list) and [] in value):  # argparse takes "--cell=--" for no value at all
            parser.error(f"argument --{name.replace('_', '-')}: expected one argument")
    return options


class Parser(argparse.ArgumentParser):
    """Says what is wrong with the options in one line."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Of a command, an option that it does not know is its own error: the help to read is that of the command."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            near = get_close_matches(unknown[0].partition("=")[0], self._option_string_actions, 1, 0.8)
            hint = f", did you mean {near[0]}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {terminal(message)}; see {self.prog} --help\n")


def _parser() -> Parser:
    parser = Parser(
        prog="tinygrad-rnn",
        description="Recurrent networks as plain tensor operations: train one, and see where its gradient goes.",
    )
    parser.add_argument("--version", action="version", version=f"tinygrad-rnn {__version__}")
    parser.set_defaults(run=lambda options: print(TOUR))
    commands = parser.add_subparsers(metavar="COMMAND")
    _add_demo(commands)
    add_commands(commands)
    _add_views(commands)
    shell = commands.add_parser("completion", help="print what makes bash or zsh complete this command")
    shell.set_defaults(run=lambda options: print(completion(parser)))
    return parser


def _add_demo(commands: argparse._SubParsersAction[Parser]) -> None:
    demo = commands.add_parser(
        "demo",
        help="train a character RNN, check its gradients by hand, draw them, write a report",
        description="Train a character RNN on a text, check backprop against BPTT derived by hand, draw the "
        "unrolled graph with the gradient on every edge, and write one report with all of it.",
    )
    demo.add_argument(
        "--text",
        metavar="FILE",
        help="a UTF-8 text, - for standard input (default: the help topics that come with Python)",
    )
    demo.add_argument(
        "--steps", type=whole_number(1, LARGEST), default=25, metavar="T", help="steps in a window (default: 25)"
    )
    demo.add_argument(
        "--hidden", type=whole_number(1, LARGEST), default=100, metavar="H", help="hidden units (default: 100)"
    )
    demo.add_argument("--seed", type=whole_number(0), default=0, help="seed of weights and samples (default: 0)")
    demo.add_argument(
        "--out", metavar="DIR", help="folder for the results (default: demo, or demo-2 and so on where there is one)"
    )
    demo.add_argument("--overwrite", action="store_true", help="replace the report in --out, if there is one")
    demo.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> None:
    from .demo import run_demo  # draws and trains: only this command pays for importing it

    out = options.out
    if out is None:
        out = next(name for i in itertools.count(1) if not os.path.exists(name := f"demo-{i}" if i > 1 else "demo"))
    elif os.path.exists(os.path.join(out, "report.html")) and not options.overwrite:
        raise InputError(f"{out} holds a report already; replace it with --overwrite, or choose another --out")
    run_demo(text=options.text, steps=options.steps, hidden=options.hidden, seed=options.seed, out=out)


def _add_views(commands: argparse._SubParsersAction[Parser]) -> None:
    which = Parser(add_help=False)
    which.add_argument("run_folder", nargs="?", metavar="RUN", help="a run of `train` (default: a fresh model)")
    which.add_argument(
        "--text",
        metavar="FILE",
        help="a UTF-8 text, - for standard input (default: the help topics that come with Python)",
    )
    which.add_argument(
        "--task",
        choices=[task for task in TASKS if task != "csv"],
        default="char",
        help="of a fresh model (default: char)",
    )
    which.add_argument(
        "--steps",
        type=whole_number(1, LARGEST),
        metavar="T",
        help="time steps of a text (default: 20), or the lag of a fresh synthetic problem",
    )
    which.add_argument("--cell", choices=list(CELLS), default="rnn", help="of a fresh model (default: rnn)")
    which.add_argument("--hidden", type=whole_number(1, LARGEST), default=64, help="of a fresh model (default: 64)")
    which.add_argument("--layers", type=whole_number(1, LARGEST), default=1, help="of a fresh model (default: 1)")
    which.add_argument("--seed", type=whole_number(0), default=0, help="of a fresh model (default: 0)")

    graph = commands.add_parser("graph", parents=[which], help="draw the unrolled graph of a model")
    graph.add_argument("--detail", choices=["op", "cell"], default="op", help="a box per operation or per cell")
    graph.add_argument(
        "--out", default="graph.svg", metavar="FILE", help=".svg, .png, .pdf or .dot (default: graph.svg)"
    )
    graph.set_defaults(run=_run_graph)
    flow = commands.add_parser("flow", parents=[which], help="print where the gradient goes, step by step")
    flow.add_argument("--json", action="store_true", help="numbers for a program instead of a table")
    flow.set_defaults(run=_run_flow)
    diagnose = commands.add_parser("diagnose", parents=[which], help="say whether a model uses its past")
    diagnose.add_argument("--json", action="store_true", help="numbers for a program beside the sentences")
    diagnose.set_defaults(run=_run_diagnose)


def _window(options: argparse.Namespace) -> Window:
    return look_at(
        text=options.text,
        run=options.run_folder,
        task=options.task,
        cell=options.cell,
        hidden=options.hidden,
        layers=options.layers,
        length=options.steps,
        seed=options.seed,
    )


def _run_graph(options: argparse.Namespace) -> None:
    window = _window(options)
    picture = viz.unrolled(gradient_flow(window.loss), detail=options.detail, tokens=window.tokens)
    print(f"written to {terminal(str(picture.save(options.out)))}")


def _run_flow(options: argparse.Namespace) -> None:
    flow = gradient_flow(_window(options).loss)
    if not options.json:
        print(flow)
        return
    states = [
        {"scope": s.scope, "name": s.name, "step": s.step, "gradient_norm": s.norm, "gain": s.gain}
        | {"injected": float(np.linalg.norm(s.injected)), "from_future": float(np.linalg.norm(s.from_future))}
        for s in flow.states()
    ]
    weights = [{"name": w.name, "gradient_norm": w.total, "per_step": w.norms.tolist()} for w in flow.weights()]
    print(as_json({"loss": flow.loss.item(), "states": states, "weights": weights}))


def _run_diagnose(options: argparse.Namespace) -> None:
    window = _window(options)
    if not window.layers:
        raise InputError("one step has no past to use or to forget; give --steps 2 or more")
    found = None
    if window.xs.shape[1] > 1 and np.any(window.xs != window.xs[:, :1]):
        found = influence(window.predict, window.xs)
    said = diagnose(window.loss, influence=found, remedies=True)
    if options.json:
        layers = Watch()(window.loss, 0).record()["layers"]
        print(as_json({"verdict": said.verdict, "words": str(said), "layers": layers}))
    else:
        print(said)
