"""The wire to a server on this machine, for tests: it counts bytes, is as slow as told, or dies.

It knows nothing of what it carries.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

_PIECE = 1 << 14
_LATE = 0.5
"""Seconds that a busy machine may lose without making the wire slower."""

_BUFFER = 1 << 16
"""Bytes that the system holds for us at most, so that a slow wire is seen by who sends."""


class Wire:
    """A way to the server at *port*, whose own port is ``port``.

    It carries ``rate`` bytes a second in each direction (None: as many as can be), over all
    connections together.
    """

    def __init__(self, port: int, rate: float | None = None) -> None:
        self._server = port
        self.rate = rate
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(50)
        self.port = self._listening.getsockname()[1]
        self.connections = 0  # that were made
        self.sent = 0  # bytes to the server
        self.got = 0  # bytes from it
        self.dead = threading.Event()
        """Once it is set nothing comes through any more, and no connection is closed."""
        self._free = {"sent": time.monotonic(), "got": time.monotonic()}
        self._fuse: int | None = None
        self.was_cut = False  # whether the connections were closed since it was told when
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._open: list[socket.socket] = []

    def serve(self) -> None:
        """Carry what comes until it is ended."""
        while True:
            try:
                client, _address = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(("127.0.0.1", self._server))
            server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._open += [client, server]
            for each in (client, server):  # small packets of many requests do not wait here
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for ends in ((client, server, "sent"), (server, client, "got")):
                threading.Thread(target=self._carry, args=ends, daemon=True).start()

    def end(self) -> None:
        """Close all connections, and accept no more."""
        self._over.set()
        for each in (self._listening, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def cut_after(self, size: int | None) -> None:
        """Close all connections, once, when so many more bytes were sent; None: never."""
        with self._lock:
            self._fuse, self.was_cut = None if size is None else self.sent + size, False

    def _cut(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _carry(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                self._wait(len(data), way)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _wait(self, size: int, way: str) -> None:
        with self._lock:
            setattr(self, way, getattr(self, way) + size)
            is_last = self._fuse is not None and self.sent >= self._fuse
            if is_last:
                self._fuse, self.was_cut = None, True
            # who was woken late catches up
            turn = max(time.monotonic() - _LATE, self._free[way])
            self._free[way] = turn + (size / self.rate if self.rate else 0)
        if is_last:
            self._cut()
        self._over.wait(max(0.0, self._free[way] - time.monotonic()))
        while self.dead.is_set() and not self._over.wait(0.05):
            pass


@contextmanager
def wire_to(port: int, rate: float | None = None) -> Iterator[Wire]:
    """Yield a wire to the server at *port*; see Wire."""
    wire = Wire(port, rate)
    thread = threading.Thread(target=wire.serve)
    thread.start()
    with closing(wire._listening):
        try:
            yield wire
        finally:
            wire.end()
            thread.join()
