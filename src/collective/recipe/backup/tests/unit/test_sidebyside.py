"""Works side by side: at the same time, told in their order, ended together."""

from __future__ import annotations

import logging
import os
import signal
import threading

import pytest

from collective.recipe.backup import times
from collective.recipe.backup.cli.signals import as_interrupts
from collective.recipe.backup.errors import Interrupted
from collective.recipe.backup.operations.sidebyside import ABREAST, Endable, side_by_side
from collective.recipe.backup.progress import Silent

LONG = 20.0
"""Seconds that nothing of this takes."""

logger = logging.getLogger("backup")


@pytest.fixture(autouse=True)
def _nothing_is_left():
    before = threading.active_count()
    yield
    for _attempt in range(1000):
        if threading.active_count() == before:
            break
        threading.Event().wait(0.01)
    assert threading.active_count() == before
    times.pause_or_end(0)


def at_work_until_asked(ended: list[str], begun: threading.Barrier) -> None:
    """Work, as a backup does that tells how far it is, and end by oneself after LONG."""
    with Endable(Silent()).phase("working", 0) as advance:
        begun.wait(LONG)
        try:
            until = times.monotonic() + LONG
            while times.monotonic() < until:
                advance(1)
        except Interrupted as error:
            ended.append(str(error))
            raise


def test_two_go_on_at_the_same_time_and_what_they_return_is_in_their_order() -> None:
    both = threading.Barrier(2)

    def work(number: int) -> int:
        both.wait(LONG)
        return number

    assert side_by_side([lambda: work(1), lambda: work(2)]) == [1, 2]


def test_no_more_than_two_go_on_at_the_same_time() -> None:
    lock, at_work, most = threading.Lock(), [0], [0]
    pair = threading.Barrier(2)

    def work() -> None:
        with lock:
            at_work[0] += 1
            most[0] = max(most[0], at_work[0])
        pair.wait(LONG)
        with lock:
            at_work[0] -= 1

    side_by_side([work] * 6)
    assert most == [ABREAST]


def test_lines_come_in_the_order_of_the_works_each_in_one_piece(caplog) -> None:
    caplog.set_level(logging.INFO, "backup")
    others_are_over, first_has_begun = threading.Event(), threading.Event()

    def first() -> None:
        logger.info("first begins")
        assert caplog.messages == ["first begins"]  # at once
        first_has_begun.set()
        others_are_over.wait(LONG)
        logger.info("first ends")

    def second() -> None:
        first_has_begun.wait(LONG)
        logger.info("second begins")
        logger.warning("second ends")

    def third() -> None:
        logger.info("third")
        others_are_over.set()

    side_by_side([first, second, third])
    assert caplog.messages == [
        "first begins",
        "first ends",
        "second begins",
        "second ends",
        "third",
    ]


def test_a_work_whose_turn_comes_is_heard_at_once_from_then_on(caplog) -> None:
    caplog.set_level(logging.INFO, "backup")
    said = threading.Event()

    def first() -> None:
        said.wait(LONG)

    def second() -> None:
        logger.info("early")
        assert caplog.messages == []
        said.set()
        while not caplog.messages:  # first ends
            times.pause_or_end(0.01)
        logger.info("late")
        assert caplog.messages == ["early", "late"]

    side_by_side([first, second])


@pytest.mark.parametrize("bad", [0, 1])
def test_an_error_that_nobody_foresaw_ends_all_and_is_what_is_raised(bad, caplog) -> None:
    ended: list[str] = []
    begun = threading.Barrier(2)

    def fails() -> None:
        begun.wait(LONG)
        logger.warning("about to fail")
        raise RuntimeError("a bug")

    works = [lambda: at_work_until_asked(ended, begun)]
    works.insert(bad, fails)
    with pytest.raises(RuntimeError, match="a bug"):
        side_by_side([*works, lambda: ended.append("never begun")])
    assert ended == ["this process was asked to end"]
    assert caplog.messages == ["about to fail"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("is_caught_elsewhere", [False, True])
def test_a_signal_ends_all_in_order(number, is_caught_elsewhere) -> None:
    ended: list[str] = []
    begun = threading.Barrier(3)

    def ask() -> None:
        begun.wait(LONG)
        if is_caught_elsewhere:
            # the first thread is waiting by now, and does not wake for this one
            threading.Event().wait(0.2)
            signal.pthread_kill(threading.get_ident(), number)
        else:
            os.kill(os.getpid(), number)

    asking = threading.Thread(target=ask)
    asking.start()
    with as_interrupts(), pytest.raises(KeyboardInterrupt):
        side_by_side([lambda: at_work_until_asked(ended, begun)] * 2)
    asking.join()
    assert len(ended) == 2


def test_what_is_asked_to_end_stays_so_until_the_outermost_body_is_over() -> None:
    def ends() -> None:
        with pytest.raises(Interrupted):
            times.pause_or_end(0)
        with pytest.raises(Interrupted):
            times.end_if_asked()

    with times.endable_pauses():
        with times.endable_pauses():
            times.end_pauses()
        in_a_thread(ends)
        times.end_if_asked()  # the first thread takes back what is half done
    in_a_thread(times.end_if_asked)


def in_a_thread(work) -> None:
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  it is raised below
            failed.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    for error in failed:
        raise error
