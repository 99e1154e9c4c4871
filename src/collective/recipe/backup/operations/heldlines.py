"""The log lines of works that go on at the same time: those of one work after the other.

Each work has a number, its turn.  The one whose turn it is, and those before it, are heard at once.
The lines of a later one are kept until all before it have ended.  So the reader of a log finds what
belongs together in one piece, in the order of the configuration, and loses no line.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TURN: ContextVar[int | None] = ContextVar("turn", default=None)
"""Of the work that is done in this thread; None: what it says belongs to no such work."""


class HeldLines(logging.Filter):
    """Holds back what works say to *logger* before it is their turn; a context manager."""

    def __init__(self, logger: logging.Logger, works: int) -> None:
        super().__init__()
        self._logger = logger
        self._held: list[list[logging.LogRecord]] = [[] for _work in range(works)]
        self._over: set[int] = set()
        self._turn = 0
        self._lock = threading.RLock()

    def __enter__(self) -> HeldLines:
        self._logger.addFilter(self)
        return self

    def __exit__(self, *_exception: object) -> None:
        """Say whatever was held back: some may not have begun."""
        with self._lock:
            for turn in range(len(self._held)):
                self._say(turn)
            self._logger.removeFilter(self)

    @contextmanager
    def of(self, turn: int) -> Iterator[None]:
        """Let what this thread says in the body belong to the work of that *turn*."""
        token = _TURN.set(turn)
        try:
            yield
        finally:
            _TURN.reset(token)
            self._ended(turn)

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line may be said now, and keep it if not."""
        turn = _TURN.get()
        if turn is None:
            return True
        with self._lock:
            if turn <= self._turn:
                return True
            self._held[turn].append(record)
            return False

    def _ended(self, turn: int) -> None:
        with self._lock:
            self._over.add(turn)
            while self._turn in self._over and self._turn + 1 < len(self._held):
                self._turn += 1
                self._say(self._turn)

    def _say(self, turn: int) -> None:
        held, self._held[turn] = self._held[turn], []
        for record in held:
            self._logger.callHandlers(record)
