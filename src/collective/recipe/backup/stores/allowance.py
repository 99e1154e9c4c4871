"""Limits of one run on all its stores together: the number of requests, and bytes a second.

A store asks here before each request, and before it moves bytes, which it does in pieces.  One
that can send an object only as a whole asks once for all of it: that goes at the speed of the
line, and what comes next waits until the mean is the limit.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from collective.recipe.backup import times
from collective.recipe.backup.errors import RequestsSpent
from collective.recipe.backup.stores import Buffer

LEAST = 20
"""Requests that a run needs before it can store anything, and to end in order."""

_AT_THE_END = 6
"""Requests that are kept back: for a catalog of what was stored, and to remove the ticket."""

_A_SECOND = 4
"""Pieces, of these sizes: smaller ones cost too many turns, larger ones are a rush."""
_LEAST_PIECE = 1 << 14
_MOST_PIECE = 1 << 20


class Allowance:
    """Counts requests, and lets bytes wait; all methods are for any thread.

    *bandwidth* is bytes a second, to the stores and from them together; 0: as many as can be.
    *requests* is how many there may be; None: as many as are needed.
    """

    def __init__(self, *, bandwidth: int = 0, requests: int | None = None) -> None:
        self.asked = 0  # requests that were made
        self._bandwidth = bandwidth
        self._requests = requests
        self._kept_back = _AT_THE_END
        self._free = times.monotonic()  # when the bytes of all earlier pieces are paid for
        self._lock = threading.Lock()

    @property
    def is_counted(self) -> bool:
        """Whether the number of requests is limited."""
        return self._requests is not None

    def ask(self, requests: int = 1) -> None:
        """Count *requests*, which come next.

        Raises RequestsSpent if there may be none, and Interrupted if this thread should end.
        """
        times.end_if_asked()
        with self._lock:
            if (
                self._requests is not None
                and self.asked + requests > self._requests - self._kept_back
            ):
                raise RequestsSpent(
                    f"the {self._requests:,} requests that this run may make are used up",
                    hint="what was stored already is not sent again: run the command again, or "
                    "give it more by --max-requests",
                    allow_end=self._allow_end,
                )
            self.asked += requests

    def _allow_end(self) -> None:
        self._kept_back = 0

    @property
    def piece(self) -> int | None:
        """Bytes that should be moved at a time, so that the pace is even; None: all of them."""
        if not self._bandwidth:
            return None
        return min(max(self._bandwidth // _A_SECOND, _LEAST_PIECE), _MOST_PIECE)

    def extents(self, start: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield where pieces of *size* bytes begin, and how many bytes each has.

        *start* is where the first one begins.  Each comes once it may be moved; see ``move``.
        """
        piece = self.piece or size
        for begin in range(start, start + size, piece or 1):
            moved = min(piece, start + size - begin)
            self.move(moved)
            yield begin, moved

    def pieces(self, data: Buffer) -> Iterator[memoryview]:
        """Yield *data* in pieces, each once it may be moved; see ``move``."""
        view = memoryview(data)
        for begin, size in self.extents(0, len(view)):
            yield view[begin : begin + size]

    def move(self, size: int) -> None:
        """Wait until *size* bytes may be moved.

        Raises Interrupted if this process is asked to end meanwhile.
        """
        due = self.due(size)
        if due > 0:
            times.pause_or_end(due)

    def due(self, size: int) -> float:
        """Return in how many seconds *size* bytes may be moved, which they will be then."""
        if not self._bandwidth or not size:
            return 0.0
        with self._lock:
            now = times.monotonic()
            turn = max(now, self._free)
            self._free = turn + size / self._bandwidth
        return turn - now
