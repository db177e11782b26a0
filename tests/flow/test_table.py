"""The table of a flow fits a terminal of 80 columns, whatever the network and whatever its output can show."""

from __future__ import annotations

import io
import sys

import pytest
import recurrent_nets as nets

import tinygrad_rnn as tg
from tinygrad_rnn import Tensor


@pytest.mark.parametrize("name", sorted(nets.ALL))
def test_no_table_is_wider_than_80_columns_or_longer_than_40_lines(name: str) -> None:
    lines = str(tg.gradient_flow(nets.ALL[name]())).split("\n")
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-8"])
def test_what_is_printed_can_be_written_there(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe on Windows takes neither block characters nor every letter of a name."""
    flow = tg.gradient_flow(nets.elman(T=4))
    for state in flow.structure.states:
        state.name = "η"
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    text = str(flow)
    print(text, flush=True)
    assert ("█" in text) == (encoding == "utf-8")
    assert ("#####" in text) == (encoding != "utf-8")


def test_a_long_name_is_cut() -> None:
    W = Tensor([[0.5]], requires_grad=True)
    a_very_long_name_of_a_hidden_state, loss = Tensor([[0.1]]), 0.0
    for _, x in tg.steps([[[1.0]]] * 3):
        a_very_long_name_of_a_hidden_state = tg.tanh(Tensor(x) + a_very_long_name_of_a_hidden_state @ W)
        loss = loss + a_very_long_name_of_a_hidden_state.sum()
    table = str(tg.gradient_flow(loss))
    assert "|dL/da_ver~|" in table
    assert max(map(len, table.split("\n"))) <= 80
