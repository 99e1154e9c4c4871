"""Two pieces of work at the same time, of which neither goes on when the other has failed.

The filestorage part of a restore is mostly inflating and hashing, that of the blobs mostly
system calls: together they take little longer than one of them.  Each is stopped where it
tells of its progress, so each must be such that an error at any point does no harm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from collective.recipe.backup.progress import Advance, PhaseManager, Progress

A = TypeVar("A")
B = TypeVar("B")

PAUSE = 0.25
"""Seconds between two turns of the background work."""


class Stopped(Exception):  # noqa: N818  no error of its own: the other work has one
    """The other work has failed."""


class Together(Progress):
    """The Progress that both works are to tell of themselves."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._failed = threading.Event()

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:
        """Return a phase whose Advance raises Stopped once one of the works has failed."""
        return self._phase(title, total, unit)

    def run(
        self,
        first: Callable[[], A],
        second: Callable[[], B],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> tuple[A, B]:
        """Return what *first*, in this thread, and *second* return.

        Once *first* is done, this thread does *meanwhile* again and again.  Raises what
        failed first, when both have ended.
        """
        with ThreadPoolExecutor(1, "together") as pool:
            other = pool.submit(self._guarded, second)

            def first_then_meanwhile() -> tuple[A, B]:
                mine = first()
                while not wait([other], PAUSE).done:
                    meanwhile()
                return mine, other.result()

            try:
                # to wait for the other is guarded as well: an interrupt then stops it
                return self._guarded(first_then_meanwhile)
            except Stopped:
                other.result()
                raise

    def _guarded(self, work: Callable[[], A]) -> A:
        try:
            return work()
        except BaseException:
            self._failed.set()
            raise

    @contextmanager
    def _phase(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        with self._progress.phase(title, total, unit) as advance:

            def advance_unless_failed(amount: int) -> None:
                if self._failed.is_set():
                    raise Stopped
                advance(amount)

            yield advance_unless_failed
