"""The demo from end to end; everything it writes appears at once, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from .. import bptt, compiler, viz
from ..files import staged
from ..flow import diagnose, gradient_flow
from ..ops import softmax_cross_entropy, tanh
from ..tensor import Array, Tensor
from ..text import Vocabulary, read_text
from ..timeline import steps as time_steps
from ..viz import plots
from .character_rnn import STREAMS, CharacterRNN, train, windows
from .report import Report, write_report

TIME_STEPS = 40_000
"""The time steps that training may take: half a minute on a laptop, whatever the length of a window."""

SAMPLE_LENGTH = 400


def run_demo(
    text: str | Path | None = None, steps: int = 25, hidden: int = 100, seed: int = 0, out: str | Path = "demo"
) -> Path:
    """Train a character RNN and write its samples, comparison table, pictures and a report that explains them.

    Args:
        text: a UTF-8 file; by default the help topics that come with Python.
        steps: T, the time steps of one window.
        hidden: H, the length of the state.
        seed: of the initial weights and the samples.
        out: the folder to write to.

    Returns:
        The path of the report.

    Raises:
        InputError: the text or the folder is unusable; nothing has been written then.
    """
    corpus = read_text(text, at_least=steps + 1)
    origin = str(text) if text is not None else "the help topics that come with Python"
    with staged(out) as stage:
        rng = np.random.default_rng(seed)
        vocabulary = Vocabulary(corpus)
        model = CharacterRNN(len(vocabulary), hidden, rng)
        updates = max(50, TIME_STEPS // steps)
        print(f"text      {origin}: {len(corpus):,} characters, {len(vocabulary)} different")
        print(f"network   h_t = tanh(x_t W_xh + h_(t-1) W_hh + b_h), y_t = h_t W_hy + b_y; H = {hidden}, T = {steps}")

        start = int(vocabulary.encode(corpus[0])[0])

        def sample() -> str:
            return vocabulary.decode(model.sample(start, SAMPLE_LENGTH, np.random.default_rng(seed)))

        before = sample()
        losses = train(model, windows(corpus, vocabulary, steps), updates)
        after = sample()
        for title, words in (("before", before), ("after", after)):
            print(f"\n--- what it writes {title} training\n{words}")

        xs, targets, _ = next(windows(corpus[: steps + 1], vocabulary, steps))
        print()
        comparison = bptt.compare(model.parameters, xs, targets, witnesses={"compiled": compiler.compiled})
        unrolled = model.unroll(xs, targets, model.initial_state(1))
        flow = gradient_flow(unrolled.loss)
        diagnosis = diagnose(unrolled.losses, unrolled.states)
        print(f"\n{flow}\n\n{diagnosis.summary}")

        program = _bptt_source(model, xs, targets)

        for detail in ("cell", "op"):
            picture = viz.unrolled(flow, detail=detail, tokens=list(corpus[:steps]))
            picture.save(stage / f"unrolled_{detail}.svg")
            picture.save(stage / f"unrolled_{detail}.dot")
        _draw_losses(losses, stage / "training.svg")
        figure = Figure(figsize=(9, 5.5), layout="constrained")
        plots.profile(flow, diagnosis, W_hh=model.W_hh, axes=figure.subplots(2, sharex=True))
        figure.savefig(stage / "gradient_flow.svg")

        last = losses[-max(1, len(losses) // 20) :]
        report = Report(
            text=origin,
            facts=[
                ("characters", f"{len(corpus):,}"),
                ("different ones, V", str(len(vocabulary))),
                ("hidden units, H", str(hidden)),
                ("steps in a window, T", str(steps)),
                ("weights", f"{sum(W.size for W in model.parameters.values()):,}"),
                ("updates", f"{updates:,} of {STREAMS} × {steps} characters"),
            ],
            bits_before=losses[0],
            bits_after=float(np.mean(last)),
            sample_before=before,
            sample_after=after,
            comparison=comparison,
            flow_table=str(flow),
            verdict=diagnosis.summary,
            source=program,
        )
        write_report(report, stage)
        (stage / "bptt.py").write_text(program, encoding="utf-8")
        (stage / "comparison.txt").write_text(f"{comparison}\n", encoding="utf-8")
        (stage / "samples.txt").write_text(f"before training:\n{before}\n\nafter:\n{after}\n", encoding="utf-8")
        names = sorted(file.name for file in stage.iterdir())
    print(f"\nwritten to {out}: {', '.join(names)}")
    return Path(out) / "report.html"


def _bptt_source(model: CharacterRNN, xs: Array, targets: Array) -> str:
    """The backward pass of `model` on one window as the compiler writes it."""

    def loss_fn(params: dict[str, Tensor], xs: Tensor, targets: Tensor) -> Tensor:
        h, loss = model.initial_state(1), Tensor(0.0)
        for t, x in time_steps(xs):
            h = tanh(x @ params["W_xh"] + h @ params["W_hh"] + params["b_h"])
            y = h @ params["W_hy"] + params["b_y"]
            loss = loss + softmax_cross_entropy(y, targets[t])
        return loss / len(xs)

    step = compiler.compile(loss_fn)
    step(model.parameters, xs, targets)
    return step.source


def _draw_losses(losses: list[float], path: Path) -> None:
    figure = Figure(figsize=(9, 3), layout="constrained")
    ax = figure.subplots()
    window = max(1, len(losses) // 100)
    smooth = np.convolve(losses, np.ones(window) / window, mode="valid")
    ax.plot(losses, color="#c3cad2", linewidth=0.6, label="each update")
    ax.plot(np.arange(len(smooth)) + window - 1, smooth, color="#0b5cad", label=f"mean of {window}")
    ax.set(xlabel="update", ylabel="bits per character", xlim=(0, len(losses)), ylim=(0, None))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    figure.savefig(path)
