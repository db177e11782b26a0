"""Several processes are one: with the joint batch, uneven parts, other numbers of ranks; and they end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tg
from tinygrad_rnn.train import ranks
from tinygrad_rnn.train.saved import load_newest

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).standard_normal((6, 7, 3))


class Net(tg.nn.Module):
    def __init__(self, seed: int = 0, dropout: float = 0.0, cell: Any = tg.nn.LSTM) -> None:
        self.rnn = cell(3, 4, rng=seed)
        self.drop = tg.nn.Dropout(dropout, rng=seed)
        self.head = tg.nn.Linear(4, 2, rng=seed)
        self.unused = tg.nn.Linear(2, 2, rng=seed)

    def forward(self, x: Any, state: Any = None) -> Any:
        h, state = self.rnn(x, state)
        return self.head(self.drop(h)), state


def loss(model: Net, x: Any, y: Any, state: Any) -> Any:
    answers, state = model(x, state)
    return tg.squared_error(answers, y), state


def batch(update: int) -> Any:
    x = X * (1 + 0.1 * (update % 3))
    return x, x[..., :2].cumsum(axis=0)


class Comm:
    """A communicator whose ranks are threads: what `Ranks` needs of mpi4py's."""

    def __init__(self, posted: dict[int, dict[int, Any]], rank: int, size: int) -> None:
        self.posted, self.rank, self.size, self.count = posted, rank, size, 0

    def post(self, value: Any) -> dict[int, Any]:
        self.count += 1
        found = self.posted.setdefault(self.count, {})
        found[self.rank] = value
        return found

    def request(self, value: Any, then: Any = None) -> Any:
        return Request(self.post(value), self.size, then)

    def Iallreduce(self, send: Any, receive: Any) -> Any:
        return self.request(send, lambda sent: np.copyto(receive, sum(sent[rank] for rank in sorted(sent))))

    def Ibarrier(self) -> Any:
        return self.request(None)

    def bcast(self, value: Any) -> Any:
        return self.allgather(value)[0]

    def allgather(self, value: Any) -> list[Any]:
        found = self.post(value)
        while len(found) < self.size:
            time.sleep(1e-4)
        return [found[rank] for rank in range(self.size)]


class Request:
    def __init__(self, found: dict[int, Any], size: int, then: Any) -> None:
        self.found, self.size, self.then = found, size, then

    def Test(self) -> bool:
        if len(self.found) < self.size:
            return False
        if self.then is not None:
            self.then(dict(self.found))
        return True


def together(size: int, work: Any) -> list[Any]:
    """What `work(comm)` gives on so many ranks."""
    posted: dict[int, dict[int, Any]] = {}
    given: list[Any] = [None] * size

    def run(rank: int) -> None:
        given[rank] = work(Comm(posted, rank, size))

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads), "the ranks wait for each other"
    return given


def trained(comm: Any, folder: Path | None = None, steps: int = 8, resume: bool = False, **options: Any) -> Any:
    # Each rank comes with other weights: those of the first count.
    model = Net(seed=0 if comm is None else comm.rank, dropout=options.pop("dropout", 0.0))
    trainer = tg.train.Trainer(
        model,
        loss,
        batch,
        steps=steps,
        carry=lambda update: update % 4 != 0,
        comm=comm,
        folder=folder,
        save_every=2,
        eval_every=3,
        **options,
    )
    if resume:
        assert trainer.resume()
    trainer.run(lambda line: None, progress=False)
    return trainer


def weights_of(trainer: Any) -> Any:
    return np.concatenate([array.ravel() for array in trainer.model.state_dict().values()])


@pytest.mark.parametrize(("size", "backend"), [(2, None), (3, "numpy"), (9, None)])
def test_ranks_are_one_process_with_the_joint_batch(size: int, backend: Any) -> None:
    alone = trained(None, clip=0.5)
    found = together(size, lambda comm: trained(comm, backend=backend, clip=0.5))
    for trainer in found:  # with 9 ranks and 7 sequences, some have none
        np.testing.assert_allclose(weights_of(trainer), weights_of(alone), rtol=0, atol=1e-12)
        assert [r["loss"] for r in trainer.history] == pytest.approx([r["loss"] for r in alone.history], abs=1e-12)
        assert (trainer.model.unused.weight.grad is None) == (backend is None)


def test_parts_along_the_first_axis_are_one_process_with_the_joint_batch() -> None:
    """Each part counted as the whole: gradients and losses were multiplied by the number of ranks."""

    def run(comm: Any, axes: Any = (0, 0)) -> Any:
        def of(model: Net, x: Any, y: Any) -> Any:
            return tg.squared_error(model(x.transpose(1, 0, 2))[0], y.transpose(1, 0, 2))

        batch = (X.transpose(1, 0, 2), X.transpose(1, 0, 2)[..., :2])
        model = Net()
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
        trainer = tg.train.Trainer(model, of, [batch], steps=3, optimizer=optimizer, clip=0, axes=axes, comm=comm)
        trainer.run(lambda line: None, progress=False)
        return trainer

    alone = run(None)
    for trainer in together(3, run):
        np.testing.assert_allclose(weights_of(trainer), weights_of(alone), rtol=0, atol=1e-12)
        assert trainer.history[-1]["loss"] == pytest.approx(alone.history[-1]["loss"], abs=1e-12)
    with pytest.raises(tg.InputError, match=r"axes=\(0,\) and a batch of 2 arrays"):
        run(None, axes=(0,))._axes((X, X))


def test_a_run_goes_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    whole = trained(None)
    together(3, lambda comm: trained(comm, tmp_path / "run", steps=3))
    found = together(2, lambda comm: trained(comm, tmp_path / "run", steps=6, resume=True))
    last = trained(None, tmp_path / "run", steps=8, resume=True)
    assert found[0].step == 6
    np.testing.assert_allclose(weights_of(last), weights_of(whole), rtol=0, atol=1e-12)
    assert [r["step"] for r in tg.train.read_log(tmp_path / "run" / "log.jsonl")] == [3, 6, 8]


def test_one_rank_scores_for_all_and_all_stop() -> None:
    scored: list[int] = []

    def run(comm: Any) -> Any:
        return trained(comm, validation=lambda model: scored.append(comm.rank) or 1.0, patience=1, steps=30)

    found = together(2, run)
    assert [trainer.stopped for trainer in found] == ["early", "early"]
    assert [trainer.step for trainer in found] == [6, 6]
    assert scored == [0, 0]
    ended = together(2, lambda comm: trained(comm, callbacks=[lambda t: t.step == 3] if comm.rank == 0 else [len]))
    assert [(t.stopped, t.step) for t in ended] == [("callback", 3)] * 2


def test_every_rank_draws_its_own_dropout_and_a_resumed_run_the_same(tmp_path: Path) -> None:
    found = together(2, lambda comm: trained(comm, tmp_path / "a", dropout=0.5))
    states = [trainer.model.drop.rng.bit_generator.state["state"]["state"] for trainer in found]
    assert states[0] != states[1]
    together(2, lambda comm: trained(comm, tmp_path / "b", dropout=0.5, steps=4))
    again = together(2, lambda comm: trained(comm, tmp_path / "b", dropout=0.5, resume=True))
    np.testing.assert_array_equal(weights_of(again[0]), weights_of(found[0]))


def test_a_rank_that_fails_says_so_and_ends_all(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    ended: list[int] = []

    def run(comm: Any) -> Any:
        comm.Abort = ended.append
        with pytest.raises(SystemExit), ranks.Ranks(comm).together():  # and the script does not go on
            raise tg.InputError("the disk is full")

    together(2, run)
    assert ended == [2, 2]
    assert "rank 0 of 2: the disk is full\nrank 1 of 2" in capsys.readouterr().err
    with pytest.raises(tg.InputError, match="expected a communicator"):
        ranks.Ranks(3)
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(tg.InputError, match=r"tinygrad_rnn\[mpi\]"):
        ranks.world()


def test_mpi_is_asked_for_only_where_several_processes_were_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    for name in ranks.SIZES:
        monkeypatch.delenv(name, raising=False)
    assert ranks.world() is None


def test_ranks_with_other_data_are_refused() -> None:
    def run(comm: Any) -> Any:
        try:
            ranks.Ranks(comm).check_same((X + comm.rank,))
        except tg.InputError as error:
            return str(error)
        return None

    first, second = together(2, run)
    assert first is None
    assert "rank 1 read another batch than rank 0" in second


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": 5}, "rank 1 has steps=5 and rank 0 4; make the same trainer on all ranks"),
        ({"callbacks": [len]}, "rank 1 has callbacks given=True and rank 0 False"),
        ({"validation": len}, "rank 1 has validation given=True and rank 0 False"),
        ({}, "agreed"),
    ],
)
def test_ranks_with_other_settings_are_refused(options: Any, said: str) -> None:
    """They would wait for each other for ever."""

    def run(comm: Any) -> str:
        given = {"steps": 4, **(options if comm.rank else {})}
        trainer = tg.train.Trainer(Net(), loss, batch, carry=lambda update: True, comm=comm, **given)
        check = trainer.ranks.check_agreed

        def alone(settings: Any) -> None:
            check(settings)
            raise tg.InputError("agreed")

        trainer.ranks.check_agreed = alone  # type: ignore[method-assign]
        with pytest.raises(tg.InputError) as error:
            trainer._agree()
        return str(error.value)

    first, second = together(2, run)
    assert first == "agreed"
    assert second.startswith(said)


# ---------------------------------------------------------------------- with mpiexec
def mpi(size: int, *words: Any) -> subprocess.Popen[str]:
    pytest.importorskip("mpi4py")
    launcher = Path(sys.executable).with_name("mpiexec")
    if not launcher.exists():
        pytest.skip("mpiexec of the extra mpi is not beside Python")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [str(word) for word in (launcher, "-n", size, sys.executable, *words)]
    return subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True, start_new_session=True)


def finished(process: subprocess.Popen[str], code: int | None = 0) -> tuple[str, str]:
    try:
        said = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert code is None or process.returncode == code, said
    return said


SMALL = ["--lag", 20, "--hidden", 8, "--batch", 7, "--dtype", "float64", "--eval-every", 100, "--save-every", 20]


@pytest.mark.slow
def test_mpiexec_trains_as_one_process_does(tmp_path: Path) -> None:
    command = ["-m", "tinygrad_rnn", "train", "adding", "--compile", *SMALL]
    for size in (1, 2, 4):
        said, _ = finished(mpi(size, *command, "--steps", 200, "--out", tmp_path / str(size)))
        assert said.count("done after 200 steps") == 1  # only one of them speaks
    one, *others = (load_newest(tmp_path / str(size))[0].arrays for size in (1, 2, 4))
    for arrays in others:
        for name, array in one.items():
            np.testing.assert_allclose(arrays[name], array, rtol=0, atol=1e-12, err_msg=name)
    finished(mpi(2, *command, "--steps", 220, "--out", tmp_path / "1", "--resume"))
    assert load_newest(tmp_path / "1")[0].record["step"] == 220
    _, errors = finished(mpi(2, *command, "--steps", 5, "--out", tmp_path / "1"), code=None)
    assert "rank 0 of 2: " in errors
    assert "holds a run already" in errors


@pytest.mark.slow
def test_a_killed_rank_ends_all_and_loses_nothing(tmp_path: Path) -> None:
    command = ["-m", "tinygrad_rnn", "train", "adding", *SMALL, "--out", tmp_path / "run"]
    process = mpi(2, *command, "--steps", 100_000)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "run").glob("step-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    found = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    mine = [line.split() for line in found.splitlines() if str(tmp_path) in line]
    workers = [int(pid) for pid, program, *_ in mine if program == sys.executable]
    assert len(workers) == 2
    os.kill(workers[-1], signal.SIGKILL)
    began = time.monotonic()
    finished(process, code=None)
    assert process.returncode != 0
    assert time.monotonic() - began < 20
    step = load_newest(tmp_path / "run")[0].record["step"]
    assert step >= 20
    finished(mpi(1, *command, "--steps", step + 20, "--resume"))


WAITING = """
import os, time
import numpy as np
from mpi4py import MPI
import tinygrad_rnn as tg
comm = MPI.COMM_WORLD
model = tg.nn.RNN(2, 3, rng=0)
slow = lambda model: time.sleep(2) or 1.0
trainer = tg.train.Trainer(
    model, lambda m, x: (m(x)[0] ** 2).mean(), np.ones((3, 4, 2)), steps=2, eval_every=1, validation=slow, comm=comm
)
trainer.ranks.first(None)
before = time.process_time()
trainer.run(progress=False)
if comm.rank == 1:
    print("spent", time.process_time() - before)
"""


@pytest.mark.slow
def test_ranks_that_wait_leave_the_processor_to_others() -> None:
    said, _ = finished(mpi(2, "-c", WAITING))
    assert float(said.rsplit("spent", 1)[1].split()[0]) < 1.0  # of 4 seconds
