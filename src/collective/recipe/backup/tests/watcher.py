"""A watcher as the one behind ping_url: a real HTTP server on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Ping(NamedTuple):
    """One request that came in."""

    method: str
    path: str
    body: str
    authorization: str | None


Answer = Callable[[BaseHTTPRequestHandler, int], object]
"""Answers a request, the so manieth from 0."""


class Watcher:
    """The requests that came in, and the URL that they come to."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pings: list[Ping] = []

    @property
    def paths(self) -> list[str]:
        return [ping.path for ping in self.pings]


def ok(handler: BaseHTTPRequestHandler, _number: int) -> None:
    status(200)(handler, _number)


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, _number: int) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"OK")

    return answer


@contextmanager
def watching(answer: Answer = ok) -> Iterator[Watcher]:
    """Serve in the body."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            watcher.pings.append(
                Ping(self.command, self.path, body.decode(), self.headers["Authorization"])
            )
            with suppress(OSError):  # whom it answers may have gone
                answer(self, len(watcher.pings) - 1)

        do_POST = do_GET

        def log_message(self, *_args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    watcher = Watcher(f"http://127.0.0.1:{server.server_address[1]}/ping/s3cret")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield watcher
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
