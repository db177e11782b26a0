"""The demo from end to end; everything it writes appears at once, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ... import bptt, compiler, viz
from ...core.steps import steps as time_steps
from ...core.tensor import Array, Tensor
from ...escape import terminal
from ...files import staged
from ...flow import Diagnosis, diagnose, gradient_flow
from ...ops import softmax_cross_entropy, tanh
from ..text import Vocabulary, read_text
from .character_rnn import STREAMS, CharacterRNN, Unrolled, Windows, train
from .pictures import draw_flow, draw_graphs, draw_losses
from .report import write_report

TIME_STEPS = 40_000
"""The time steps that training may take: half a minute on a laptop, whatever the length of a window."""

SAMPLE_LENGTH = 400

RADII, LENGTHS = (0.2, 0.5, 0.8, 0.95, 1.1, 1.6), (5, 25)
"""What the explorer's sliders go through."""


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
        print(f"text      {terminal(origin)}: {len(corpus):,} characters, {len(vocabulary)} different")
        print(f"network   h_t = tanh(x_t W_xh + h_(t-1) W_hh + b_h), y_t = h_t W_hy + b_y; H = {hidden}, T = {steps}")

        start = int(vocabulary.encode(corpus[0])[0])

        def sample() -> str:
            return vocabulary.decode(model.sample(start, SAMPLE_LENGTH, np.random.default_rng(seed)))

        xs, targets = Windows(corpus[: steps + 1], vocabulary, steps)(0)
        untrained = _diagnosis(model.unroll(xs, targets))
        before = sample()
        losses = train(model, Windows(corpus, vocabulary, steps), updates)
        after = sample()
        for title, words in (("before", before), ("after", after)):
            print(f"\n--- what it writes {title} training\n{terminal(words, lines=True)}")

        print()
        comparison = bptt.compare(model.named(), xs, targets, references={"compiled": compiler.compiled})
        unrolled = model.unroll(xs, targets)
        flow = gradient_flow(unrolled.loss)
        diagnosis = _diagnosis(unrolled)
        print(f"\n{flow}\n\n{diagnosis}")

        print("\ndrawing: some seconds more", flush=True)
        program = _bptt_source(model, xs, targets)
        tokens = list(corpus[:steps])
        hand = comparison.gradients["hand"][0]
        viz.page(flow, diagnosis, hand, title="BPTT, step by step", tokens=tokens).save(stage / "bptt.html")
        viz.explorer(radii=RADII, lengths=LENGTHS).save(stage / "explorer.html")
        write_report(
            stage,
            text=origin,
            facts=[
                ("characters", f"{len(corpus):,}"),
                ("different ones, V", str(len(vocabulary))),
                ("hidden units, H", str(hidden)),
                ("steps in a window, T", str(steps)),
                ("weights", f"{sum(W.size for W in model.parameters()):,}"),
                ("updates", f"{updates:,} of {STREAMS} × {steps} characters"),
            ],
            sample_before=before,
            sample_after=after,
            comparison=comparison,
            flow_table=str(flow),
            source=program,
            training=draw_losses(stage, losses),
            graphs=draw_graphs(stage, flow, tokens),
            flows=draw_flow(stage, flow, untrained, diagnosis, model.W_hh, tokens),
        )
        (stage / "bptt.py").write_text(program, encoding="utf-8")
        (stage / "comparison.txt").write_text(f"{comparison}\n", encoding="utf-8")
        (stage / "samples.txt").write_text(f"before training:\n{before}\n\nafter:\n{after}\n", encoding="utf-8")
        names = sorted(file.name for file in stage.iterdir())
    print(f"\nwritten to {terminal(str(out))}: {', '.join(names)}")
    return Path(out) / "report.html"


def _diagnosis(unrolled: Unrolled) -> Diagnosis:
    """With its credit matrix, which must be computed before the weights change."""
    found = diagnose(unrolled.losses, unrolled.states)
    assert found.layers[0].credit is not None
    return found


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
    step(model.named(), xs, targets)
    return step.source
