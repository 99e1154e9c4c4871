"""Pipes to a process that may have been stopped: no read or write waits without end.

A process that is stopped (SIGSTOP), or whose disk hangs, neither answers nor ends, and its pipes
stay open.  The caller can do the work alone, so to give up on it is never wrong, only slower.
PATIENCE is for a helper that is asked for small things, one after the other.
"""

from __future__ import annotations

import fcntl
import io
import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

PATIENCE = 60.0
"""Seconds in which a helper that is waited for says something, or takes something."""

_LARGEST = 1 << 20
"""Bytes that a pipe may hold for a user who is not root: as far as the helper may run ahead."""

_BUFFER = 1 << 16
"""Bytes that are read at once."""


class _Pipe(io.RawIOBase):
    """One end of a pipe; *give_up* is called when the other end has been silent for too long."""

    def __init__(self, pipe: IO[bytes], give_up: Callable[[], object], event: int) -> None:
        self._pipe = pipe
        self._give_up = give_up
        self._poll = select.poll()
        self._poll.register(pipe, event)

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._pipe.fileno()

    def close(self) -> None:
        """Close it."""
        self._pipe.close()
        super().close()

    def _is_silent(self) -> bool:
        if self._poll.poll(PATIENCE * 1000):
            return False
        self._give_up()
        return True


class _Answers(_Pipe):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._is_silent():
            return 0
        return os.readv(self.fileno(), [buffer])


class _Asked(_Pipe):
    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._is_silent():
            raise BrokenPipeError("the process that is asked takes nothing")
        return os.write(self.fileno(), data)


def patient_reader(pipe: IO[bytes], give_up: Callable[[], object]) -> io.BufferedReader:
    """Return what reads *pipe*; it ends where *give_up* had to be called."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # all pipes of a user together have a limit
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _LARGEST)
    return io.BufferedReader(_Answers(pipe, give_up, select.POLLIN), _BUFFER)


def patient_writer(pipe: IO[bytes], give_up: Callable[[], object]) -> io.BufferedWriter:
    """Return what writes to *pipe*; it raises BrokenPipeError where *give_up* had to be called."""
    os.set_blocking(pipe.fileno(), False)
    return io.BufferedWriter(_Asked(pipe, give_up, select.POLLOUT))
