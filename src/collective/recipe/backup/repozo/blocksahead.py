"""Blocks of a log that is read from block to block, got by another thread a little ahead.

To inflate a block and to compare it with its digest lets other threads run.  But who walks a log
gives the interpreter away only when it has to, every 5 ms, which is longer than all the work for a
block takes.  So turns are short while the other thread has something to do.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

AHEAD = 4
"""Blocks that may wait for who reads."""


class BlocksAhead:
    """Gets blocks by *read*, which is given where one begins.

    It is for one thread.  *read* is called by another one as well, and must not mind.
    """

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Start no thread yet."""
        self._read = read
        self._pool = ThreadPoolExecutor(2, "blocks")
        self._waiting: dict[int, Future[bytes]] = {}

    def want(self, begins: Sequence[int]) -> None:
        """Get the blocks at *begins* in this order, and give others up that were wanted before."""
        for begin in self._waiting.keys() - set(begins):
            self._waiting.pop(begin).cancel()
        for begin in begins:
            if begin not in self._waiting:
                _turns.shorten()
                self._waiting[begin] = self._pool.submit(self._read, begin)
                self._waiting[begin].add_done_callback(_turns.restore)

    def take(self, begin: int) -> bytes | None:
        """Return the block at *begin*, None if it is not wanted.  Raises what *read* raises."""
        work = self._waiting.pop(begin, None)
        return None if work is None else work.result()


class _Turns:
    """The switch interval of the interpreter: short while several threads read ahead."""

    _SHORT = 1e-4  # seconds

    def __init__(self) -> None:
        self._lock = Lock()
        self._wanted = 0  # number of users that want the short interval
        self._usual = 0.0  # the interval to restore, seconds

    def shorten(self) -> None:
        with self._lock:
            if not self._wanted:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(self._usual, self._SHORT))
            self._wanted += 1

    def restore(self, _done: Future[bytes]) -> None:
        with self._lock:
            self._wanted -= 1
            if not self._wanted:
                sys.setswitchinterval(self._usual)


_turns = _Turns()
