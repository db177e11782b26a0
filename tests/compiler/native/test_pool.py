"""Threads that claim the parts of a batch."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from tinygrad_rnn.compiler.native.pool import Pool


@pytest.mark.parametrize(("parts", "threads"), [(1, 1), (1, 4), (7, 1), (7, 3), (2, 8)])
def test_every_part_runs_once(parts: int, threads: int) -> None:
    found: Counter[int] = Counter()
    Pool().run(lambda part: found.update([part]), parts, threads)
    assert found == Counter(range(parts))


def test_helpers_help() -> None:
    meeting = threading.Barrier(3)  # nobody passes before three have come
    Pool().run(lambda part: meeting.wait(20) and None, 3, 3)


def test_an_error_of_a_part_arrives_when_the_others_are_done() -> None:
    pool, found = Pool(), []

    def part(i: int) -> None:
        if i == 1:
            raise ValueError("part 1")
        found.append(i)

    with pytest.raises(ValueError, match="part 1"):
        pool.run(part, 5, 2)
    assert sorted(found) == [0, 2, 3, 4]
    pool.run(found.append, 1, 2)  # the helpers live on


def test_many_callers_at_once() -> None:
    pool = Pool()
    totals: list[int] = []

    def caller() -> None:
        found: list[int] = []
        for _ in range(50):
            pool.run(found.append, 4, 3)
        totals.append(len(found))

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [200] * 4


def test_a_pool_that_forgets_begins_anew() -> None:
    pool, found = Pool(), Counter[int]()
    pool.run(lambda part: found.update([part]), 4, 3)
    pool.forget()
    pool.run(lambda part: found.update([part]), 4, 3)
    assert found == Counter(dict.fromkeys(range(4), 2))
