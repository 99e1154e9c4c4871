"""Two works at once: both succeed, or neither goes on."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from collective.recipe.backup.progress import Silent
from collective.recipe.backup.restoring import together as together_room
from collective.recipe.backup.restoring.together import Stopped, Together

LONG = 60.0
"""Seconds that a thread waits at most for what will come."""


@pytest.fixture
def together():
    return Together(Silent())


def endless(together, ended):
    """Return a work that tells of its progress until it is stopped."""

    def work():
        try:
            with together.phase("counting", 0) as advance:
                for _turn in range(30_000):
                    advance(1)
                    time.sleep(0.001)
        except Stopped:
            ended.append("stopped")
            raise

    return work


def failing(error):
    def work():
        raise error

    return work


def test_both_works_run_at_the_same_time(together):
    meeting = threading.Barrier(2)

    def work():
        return meeting.wait(LONG)

    assert sorted(together.run(work, work)) == [0, 1]


def test_the_amounts_of_both_are_told():
    told = []

    class Counting(Silent):
        def phase(self, title, total, unit="B"):
            told.append((title, total, unit))
            return super().phase(title, total, unit)

    together = Together(Counting())

    def work(title, unit):
        with together.phase(title, 3, unit) as advance:
            advance(3)
        return title

    done = together.run(lambda: work("one", "B"), lambda: work("other", "files"))
    assert done == ("one", "other")
    assert sorted(told) == [("one", 3, "B"), ("other", 3, "files")]


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_when_one_fails_the_other_is_stopped_and_ends_first(together, error):
    ended = []
    with pytest.raises(type(error)):
        together.run(failing(error), endless(together, ended))
    assert ended == ["stopped"]

    again = Together(Silent())
    with pytest.raises(type(error)):
        again.run(endless(again, ended), failing(error))
    assert ended == ["stopped"] * 2


def test_an_interrupt_while_only_the_other_is_left_stops_it(together):
    ended = []
    endlessly = endless(together, ended)

    def other():
        # the main thread has nothing to do any more but to wait
        main = threading.main_thread().ident
        threading.Timer(0.2, signal.pthread_kill, (main, signal.SIGINT)).start()
        endlessly()

    with pytest.raises(KeyboardInterrupt):
        together.run(lambda: None, other)
    assert ended == ["stopped"]


def test_the_work_that_is_done_first_does_something_meanwhile(together, monkeypatch):
    monkeypatch.setattr(together_room, "PAUSE", 0.001)
    enough = threading.Event()
    turns = []

    def meanwhile():
        turns.append(threading.current_thread())
        if len(turns) == 3:
            enough.set()

    assert together.run(lambda: 1, lambda: enough.wait(60), meanwhile) == (1, True)
    assert set(turns) == {threading.main_thread()}


def test_when_both_fail_it_is_no_secret_why(together):
    with pytest.raises(OSError, match="full"):
        together.run(failing(OSError("full")), failing(ValueError("other")))
