"""Works that go on at the same time, each in a thread, and that end in order.

Ctrl-C, another polite request, or an error that nobody foresaw ends all of them.  The
first thread, which waits here, is the one that acts on a signal.  So each work is to look now and
then whether it should end (``times.end_if_asked``): stores do so before each request, what a
repository stores does so about every megabyte, and what has ``Endable`` as its Progress does so
whenever it tells how far it is.  Then it takes back what is half done, as it would after Ctrl-C.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from collective.recipe.backup import times
from collective.recipe.backup.errors import Interrupted
from collective.recipe.backup.operations.heldlines import HeldLines
from collective.recipe.backup.progress import Advance, PhaseManager, Progress

logger = logging.getLogger("backup")

T = TypeVar("T")

ABREAST = 2
"""Works that go on at the same time: each takes memory, of which there is no more than for one."""

_LOOK = 0.1
"""Seconds after which the first thread looks for a signal; one that another thread has caught does
not wake it."""


def side_by_side(works: Sequence[Callable[[], T]]) -> list[T]:
    """Return what *works* return, in their order.

    Their messages come in that order as well, each in one piece.  Raises what ends them before
    they are done, once the last one has ended.
    """
    with (
        times.endable_pauses(),
        HeldLines(logger, len(works)) as lines,
        ThreadPoolExecutor(ABREAST, "place") as threads,
    ):
        # a thread that is being started when a signal comes is one that nobody waits for
        all_are_there = threading.Event()
        under_way: list[Future[T]] = []

        def done(turn: int) -> T:
            with lines.of(turn):
                all_are_there.wait()
                times.end_if_asked()
                try:
                    return works[turn]()
                except BaseException:
                    times.end_pauses()
                    raise

        try:
            for turn in range(len(works)):
                under_way.append(threads.submit(done, turn))
            all_are_there.set()
            while wait(under_way, _LOOK).not_done:
                pass
        except BaseException:  # Ctrl-C
            times.end_pauses()
            raise
        finally:
            all_are_there.set()
    errors = [error for error in (each.exception() for each in under_way) if error is not None]
    # one that was asked to end for the sake of another says less than that other
    for error in sorted(errors, key=lambda each: isinstance(each, Interrupted)):
        raise error
    return [each.result() for each in under_way]


class Endable(Progress):
    """A Progress for works side by side: it ends a work that should not go on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:
        """Return a phase whose Advance raises Interrupted once all works are to end."""
        return self._phase(title, total, unit)

    @contextmanager
    def _phase(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        times.end_if_asked()
        with self._progress.phase(title, total, unit) as advance:

            def checked(by: int) -> None:
                times.end_if_asked()
                advance(by)

            yield checked
