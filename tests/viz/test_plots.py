"""Plots: legends lie off the data, no colour means two things, outliers do not squash a panel, scales fit."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import recurrent_nets as nets

import tinygrad_rnn as tg
from tinygrad_rnn.viz import plots


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize("name", ["elman, long", "lstm", "gru", "exploding", "dilated"])
def test_no_legend_lies_over_the_data(name: str) -> None:
    flow = tg.gradient_flow(nets.ALL[name]())
    found = tg.diagnose(nets.ALL[name]())
    axes = [*plots.profile(flow, found), plots.shares(flow), *plots.compare(found, found)[1]]
    for ax in axes:
        ax.figure.canvas.draw()
        box = ax.get_legend().get_window_extent()
        for line in ax.get_lines():
            points = ax.transData.transform(np.array(line.get_xydata(), float))
            points = points[np.isfinite(points).all(axis=1)]
            if line.get_label().startswith("_") or line.get_xdata()[0] == 0 == line.get_xdata()[-1]:
                continue
            inside = (points > [box.x0, box.y0]).all(axis=1) & (points < [box.x1, box.y1]).all(axis=1)
            assert not inside.any(), line.get_label()


def test_sixteen_weights_are_rows_and_not_lines_of_the_same_colour() -> None:
    flow = tg.gradient_flow(nets.layers())
    assert len(flow.weights()) == 16
    ax = plots.shares(flow)
    assert not ax.get_lines()
    assert len(ax.get_yticklabels()) == 16
    np.testing.assert_allclose(ax.images[0].get_array(), [weight.shares for weight in flow.weights()])
    few = plots.shares(tg.gradient_flow(nets.elman()))
    colors = [line.get_color() for line in few.get_lines()]
    assert len(colors) == len(set(colors)) == 5


def test_a_gain_far_above_all_others_is_an_arrow_with_its_number() -> None:
    ax = plt.subplots()[1]
    top = plots._gains(ax, [*((t, 0.5) for t in range(20)), (20, 400.0)])
    assert top < 2
    assert [text.get_text() for text in ax.texts] == ["×400"]
    assert plots._gains(plt.subplots()[1], [(t, 1.2**t) for t in range(20)]) > 30, "growth is no outlier"


def test_the_scale_of_credit_fits_the_data_and_is_one_for_two_models() -> None:
    matrix = np.tril(np.full((6, 6), 0.5)) + 0.5 * np.eye(6)
    assert plots.credit(matrix).figure.axes[1].get_ylim() == pytest.approx((-1, 1))
    a, b = tg.diagnose(nets.elman(T=30)), tg.diagnose(nets.elman(T=4))
    figure = plots.compare(a, b)[0, 0].figure
    assert len({ax.get_ylim() for ax in figure.axes[4:]}) == 1


def test_a_diagnosis_of_one_loss_shows_the_step_that_each_part_of_it_enters_at() -> None:
    ax = plots.credit(tg.diagnose(nets.elman(T=12)))
    assert ax.images[0].get_array().shape[:2] == (12, 12)
