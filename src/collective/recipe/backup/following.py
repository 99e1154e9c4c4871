"""The means of a run that goes on: intervals, an orderly end, messages to a service manager.

The service manager is systemd's protocol (``man sd_notify``): a datagram with lines
``NAME=value`` to the socket that NOTIFY_SOCKET names; a leading @ stands for a NUL byte,
the abstract namespace.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from collective.recipe.backup import times
from collective.recipe.backup.errors import from_os_error

logger = logging.getLogger("backup")

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Pace:
    """An interval of *every* seconds, and an end that a signal asks for.

    If it is *steady*, the work between two waits counts as part of the interval.
    """

    def __init__(self, every: float, *, steady: bool = False) -> None:
        self._every = every
        self._steady = steady
        self._began = times.monotonic()  # the interval
        self._ended = threading.Event()

    def now(self) -> datetime:
        """Return the present moment."""
        return times.utcnow()

    def wait(self) -> bool:
        """Wait for one interval; return False as soon as the end is asked for."""
        spent = times.monotonic() - self._began if self._steady else 0.0
        is_ended = self._ended.wait(max(0.0, self._every - spent))
        self._began = times.monotonic()
        return not is_ended

    def end(self) -> None:
        """Ask for the end."""
        self._ended.set()

    @contextmanager
    def ended_by_signals(self) -> Iterator[Pace]:
        """Let SIGTERM and SIGHUP ask for the end while the body runs: no work is cut short.

        Once they did, later ones are ignored, after the body too: the process is ending.  Signals
        that our parent had ignored, as ``nohup`` does, stay ignored.
        """
        before = {
            number: signal.signal(number, lambda _number, _frame: self.end())
            for number in _SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        try:
            yield self
        finally:
            if not self._ended.is_set():
                for number, handler in before.items():
                    signal.signal(number, handler)


def tell_service_manager(*lines: str) -> None:
    """Send *lines* to the service manager that started us; without one nothing happens.

    If it cannot be reached, there is only a warning: the lines report on work that was done.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.connect(address)
            channel.sendall("\n".join(lines).encode("utf-8", "replace"))
    except OSError as error:
        logger.warning("%s", from_os_error(error, "cannot tell the service manager", address))
