"""Autodiff, derivation by hand and numbers side by side, for every parameter and every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.arguments import Count, NotNegative, Positive, checked
from ..errors import GradientError, InputError
from ..escape import terminal, xml
from .by_hand import by_hand
from .problem import STATES, CellName, Gradients, LossName, Reduction, problem
from .references import Reference, autodiff, numerical
from .rounding import shaken

NUMERICAL_TOLERANCE = 1e-9
SHOWN_STEPS = 16
"""Up to so many steps are printed in full; of longer sequences the first and the last."""


@dataclass(frozen=True)
class Error:
    """How far a reference is from autodiff on one array."""

    absolute: float
    """The largest difference of an entry."""
    relative: float
    """The same over the largest entry of the array; 0 where rounding explains it, as where all terms cancel."""


@dataclass(frozen=True)
class Row:
    """One gradient, as autodiff has it, and how far each reference is from it."""

    sequence: int
    """Which of the consecutive sequences, from 0."""
    quantity: str
    """"loss", "h_T", "dL/dW_hh", "dL/dh0", or of one step "dL/dh_t" and "G_t(W_hh)"."""
    step: int | None
    shape: tuple[int, ...]
    norm: float
    errors: dict[str, Error]


@dataclass(frozen=True, repr=False)
class Comparison:
    """The table that `compare` returns; `str()` for the terminal, and it shows itself in a notebook."""

    cell: str
    title: str
    tolerances: dict[str, float]
    """The largest relative error that each reference may have."""
    rows: list[Row]
    gradients: dict[str, list[Gradients]] = field(repr=False)
    """What each reference found, for each sequence."""

    @property
    def worst(self) -> dict[str, Error]:
        """The largest errors of each reference over the whole table."""
        return {reference: _worst(row.errors[reference] for row in self.rows) for reference in self.tolerances}

    @property
    def failures(self) -> list[tuple[Row, str]]:
        """Each row and reference that is beyond its tolerance, or not a number."""
        return [
            (row, reference)
            for row in self.rows
            for reference, limit in self.tolerances.items()
            if not row.errors[reference].relative <= limit
        ]

    @property
    def passed(self) -> bool:
        """Whether all references agree with autodiff on every row."""
        return not self.failures

    @property
    def verdict(self) -> str:
        """One sentence: who agrees with autodiff, to what, or where not."""
        worst = ", ".join(f"{name} to {error.relative:.1e}" for name, error in self.worst.items())
        if self.passed:
            return f"PASSED: all {len(self.rows)} rows agree with autodiff ({worst}, relative)."
        row, reference = max(self.failures, key=lambda each: _badness(each[0].errors[each[1]].relative))
        where = row.quantity + ("" if row.step is None else f" at t = {row.step}")
        return (
            f"FAILED: {len(self.failures)} rows disagree with autodiff; worst is {reference} on {where} of "
            f"sequence {row.sequence + 1}: {row.errors[reference].relative:.1e} relative, "
            f"{self.tolerances[reference]:.0e} allowed."
        )

    # ------------------------------------------------------------------ for people
    def __str__(self) -> str:
        lines = [self.title, ""]
        for heading, table in self._tables(SHOWN_STEPS):
            widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
            lines += [heading]
            lines += ["  " + _aligned(row, widths) for row in table] + [""]
        return terminal("\n".join([*lines, self.verdict]), lines=True)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        title, legend = self.title.splitlines()
        parts = [f"<p><strong>{xml(title)}</strong><br>{xml(legend)}</p>"]
        for heading, (head, *body) in self._tables(None):
            cells = "".join(f'<th scope="col">{xml(cell)}</th>' for cell in head)
            rows = "".join(f"<tr>{_html_cells(row)}</tr>" for row in body)
            table = f"<table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>"
            opened = " open" if len(body) <= SHOWN_STEPS else ""
            parts.append(f"<details{opened}><summary>{xml(heading)}</summary>{table}</details>")
        return "\n".join([*parts, f"<p><strong>{xml(self.verdict)}</strong></p>"])

    def _tables(self, shown: int | None) -> Iterator[tuple[str, list[list[str]]]]:
        """For each sequence: the table by parameter, and the table by step."""
        count = 1 + max(row.sequence for row in self.rows)
        for sequence in range(count):
            rows = [row for row in self.rows if row.sequence == sequence]
            which = f"sequence {sequence + 1} of {count}, " if count > 1 else ""
            yield f"{which}parameter by parameter", self._by_parameter([row for row in rows if row.step is None])
            yield f"{which}step by step", self._by_step([row for row in rows if row.step is not None], shown)

    def _by_parameter(self, rows: list[Row]) -> list[list[str]]:
        table = [["", "shape", "|autodiff|", *self._headings()]]
        for row in rows:
            line = [row.quantity, "x".join(map(str, row.shape)) or "1", f"{row.norm:.6g}"]
            table.append(line + self._errors([row]))
        return table

    def _headings(self) -> list[str]:
        return [heading for reference in self.tolerances for heading in (f"{reference}: abs", "rel", "")]

    def _errors(self, rows: list[Row]) -> list[str]:
        """The largest errors of each reference over some rows."""
        cells = []
        for reference, limit in self.tolerances.items():
            error = _worst(row.errors[reference] for row in rows)
            verdict = "ok" if error.relative <= limit else "FAILED"
            cells += [_number(error.absolute), _number(error.relative), verdict]
        return cells

    def _by_step(self, rows: list[Row], shown: int | None) -> list[list[str]]:
        quantities = list(dict.fromkeys(row.quantity for row in rows))
        by_step: dict[int, dict[str, Row]] = {}
        for row in rows:
            assert row.step is not None
            by_step.setdefault(row.step, {})[row.quantity] = row
        table = [["t", *(f"|{quantity}|" for quantity in quantities), *self._headings()]]

        def line(title: str, group: list[dict[str, Row]], norms: list[str]) -> list[str]:
            return [title, *norms, *self._errors([row for found in group for row in found.values()])]

        steps = list(by_step)
        hidden = steps[4 : 4 + len(steps) - shown] if shown is not None else []
        for t, found in by_step.items():
            if t not in hidden:
                table.append(line(str(t), [found], [f"{found[quantity].norm:.3g}" for quantity in quantities]))
            elif t == hidden[0]:
                title = f"{t}..{hidden[-1]}"
                table.append(line(title, [by_step[each] for each in hidden], ["..."] * len(quantities)))
        return table


@checked
def compare(
    params: Mapping[str, Any],
    xs: Any,
    targets: Any,
    h0: Any = None,
    c0: Any = None,
    *,
    cell: CellName = "rnn",
    loss: LossName = "softmax_cross_entropy",
    reduction: Reduction = "mean",
    sequences: Positive = 1,
    k1: Positive | None = None,
    k2: Positive | None = None,
    numerical_entries: Count | None = 8,
    references: Mapping[str, Reference] | None = None,
    tolerance: NotNegative = 1e-12,
    show: bool = True,
    raises: bool = True,
) -> Comparison:
    """Check autodiff against BPTT by hand and against numbers, for every parameter and step, in float64.

    The network is written three times: with tensor operations for autodiff, derived by hand in NumPy, and evaluated
    with complex steps. `W_hh` and the other parameters may be arrays or tensors; their `.grad` is left alone.

    Args:
        params: the cell's parameters by name, with the readout `W_hy`, `b_y`; see `bptt.rnn`, `lstm`, `gru`.
        xs: inputs, (T, B, I), (T, I), or class numbers (T, B) or (T,).
        targets: class numbers or values for every step; see `bptt.rnn`.
        h0, c0: the state before the first step; zeros by default.
        cell: "rnn", "lstm" or "gru".
        loss: "softmax_cross_entropy" or "squared_error", at every step.
        reduction: "mean" or "sum" over steps, rows and components.
        sequences: cut the T steps into so many consecutive sequences; each starts from the state in which the one
            before ended, and no gradient crosses over.
        k1, k2: truncated BPTT; see `bptt.rnn`.
        numerical_entries: how many entries of each gradient (of each step) are checked numerically; None for all, 0
            to leave numbers out.
        references: further functions from a `Problem` to its `Gradients`, by name, to put beside the others.
        tolerance: the largest relative error allowed between autodiff and any exact reference.
        show: print the table.
        raises: raise if the references disagree; otherwise `passed` and `verdict` say so.

    Returns:
        The table: `rows`, `worst`, `passed`, `verdict`, and all `gradients`.

    Raises:
        GradientError: the references disagree.
        InputError, ShapeError: the arguments do not fit; see `bptt.rnn`.
    """
    whole = problem(cell, params, xs, targets, {"h": h0, "c": c0}, loss, reduction, k1, k2)
    if sequences > whole.T:
        raise InputError(f"compare: got sequences={sequences!r}, expected 1 to {whole.T}, the number of steps")

    found: dict[str, Reference] = {"autodiff": autodiff, "hand": by_hand}
    tolerances = {"hand": tolerance}
    if numerical_entries != 0:
        found["numerical"] = lambda p: numerical(p, numerical_entries)
        tolerances["numerical"] = max(tolerance, NUMERICAL_TOLERANCE)
    for name, reference in (references or {}).items():
        found[name] = reference
        tolerances[name] = tolerance

    gradients: dict[str, list[Gradients]] = {name: [] for name in found}
    rows: list[Row] = []
    state = whole.initial
    parts = zip(np.array_split(whole.xs, sequences), np.array_split(whole.targets, sequences), strict=True)
    for sequence, (inputs, wanted) in enumerate(parts):
        each = problem(cell, whole.params, inputs, wanted, state, loss, reduction, k1, k2)
        for name, reference in found.items():
            gradients[name].append(reference(each))
        answers = {name: listed[-1] for name, listed in gradients.items()}
        rows += _rows(sequence, answers, STATES[cell], shaken(each))
        state = answers["autodiff"].final

    B, T = whole.xs.shape[1], whole.T
    about = f"{cell}, T = {T}" + (f" in {sequences} sequences" if sequences > 1 else "") + f", batch {B}, {loss}"
    about += f", truncated (k1 = {k1 or k2}, k2 = {k2 or T})" if k1 or k2 else ""
    comparison = Comparison(
        cell=cell,
        title=(
            f"BPTT compared: {about}, float64\n"
            "abs: the largest |difference| from autodiff; rel: the same over the largest |entry|, 0 if it is rounding"
        ),
        tolerances=tolerances,
        rows=rows,
        gradients=gradients,
    )
    if show:
        print(comparison)
    if raises and not comparison.passed:
        raise GradientError(f"compare: {comparison.verdict}" if show else str(comparison))
    return comparison


def _rows(sequence: int, answers: Mapping[str, Gradients], states: tuple[str, ...], off: Gradients) -> list[Row]:
    found: list[Row] = []
    tested = answers["autodiff"]

    def add(quantity: str, step: int | None, of: Callable[[Gradients], Any]) -> None:
        value = np.asarray(of(tested))
        rounding = _error(of(off), of(answers["hand"]), 0.0).absolute
        errors = {name: _error(of(answer), value, rounding) for name, answer in answers.items() if answer is not tested}
        found.append(Row(sequence, quantity, step, value.shape, float(np.linalg.norm(value)), errors))

    def part(name: str, key: str, step: int | None = None) -> Callable[[Gradients], Any]:
        def of(answer: Gradients) -> Any:
            array = getattr(answer, name).get(key)
            return array if array is None or step is None else array[step]

        return of

    add("loss", None, lambda answer: answer.loss)
    for name in states:
        add(f"{name}_T", None, part("final", name))
    for name in tested.parameters:
        add(f"dL/d{name}", None, part("parameters", name))
    for name in tested.initial:
        add(f"dL/d{name}", None, part("initial", name))
    for t in range(len(tested.states[states[0]])):
        for name in states:
            add(f"dL/d{name}_t", t, part("states", name, t))
        for name in tested.parameters:
            add(f"G_t({name})", t, part("per_step", name, t))
    return found


def _error(array: Any, tested: Any, rounding: float) -> Error:
    """Masked entries were not computed and count as no difference; neither does what a reference leaves out.

    Args:
        array: what a reference found.
        tested: what autodiff found.
        rounding: how large a difference rounding explains.
    """
    if array is None:
        return Error(0.0, 0.0)
    difference = np.ma.filled(np.ma.abs(np.ma.asarray(array) - tested), 0.0)
    absolute = float(np.max(difference, initial=0.0))
    largest = float(np.max(np.abs(tested), initial=0.0))
    if absolute <= rounding and np.all(np.isfinite(tested)):
        return Error(absolute, 0.0)
    return Error(absolute, absolute / largest if largest else np.inf)


def _worst(errors: Any) -> Error:
    listed = list(errors)
    return Error(
        max((error.absolute for error in listed), key=_badness, default=0.0),
        max((error.relative for error in listed), key=_badness, default=0.0),
    )


def _badness(value: float) -> float:
    return np.inf if np.isnan(value) else value


def _html_cells(row: list[str]) -> str:
    first, *others = map(xml, row)
    cells = "".join(f'<td style="text-align: right">{cell}</td>' for cell in others)
    return f'<th scope="row" style="text-align: left">{first}</th>{cells}'


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}"


def _aligned(cells: list[str], widths: list[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()


__all__ = ["Comparison", "Error", "Row", "compare"]
