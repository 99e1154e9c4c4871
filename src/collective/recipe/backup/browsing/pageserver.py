"""Serves the pages on this machine: one user, one thread that looks into the backups."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import waitress.server

from collective.recipe.backup.browsing.application import Application, Browsing
from collective.recipe.backup.errors import explained
from collective.recipe.backup.operations.run import Run

_TOKEN = 16
"""Bytes of the token: too many to be guessed."""


_CONNECTIONS = 8
"""Requests that may wait for their turn: a browser sends some at a time."""


_HEADERS = 1 << 15
"""Bytes of the headers of a request."""


class PageServer:
    """A server that listens; it answers while ``loop`` runs."""

    def __init__(self, server: Any, url: str) -> None:
        """Be *server*, one of waitress."""
        self._server = server
        self.url = url  # of the first page, with the token

    def loop(self) -> None:
        """Answer until an interrupt ends it."""
        self._server.run()


@contextmanager
def serving(run: Run, site: str, address: tuple[str, int], directory: Path) -> Iterator[PageServer]:
    """Yield a server at *address* (port 0: one that is free); downloads pass *directory*.

    Raises BackupError if the address is taken.
    """
    host, port = address
    if host == "localhost":
        # which may stand for two addresses, and a browser would ask at either
        host = "127.0.0.1"
    token = secrets.token_urlsafe(_TOKEN)
    with ThreadPoolExecutor(1, "look") as looking:
        applications: list[Application] = []

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            return looking.submit(applications[0], environ, start).result()

        with explained("cannot serve there", f"{host}:{port}"):
            server = waitress.server.create_server(
                answer,
                host=host,
                port=port,
                threads=_CONNECTIONS,
                max_request_header_size=_HEADERS,
                max_request_body_size=1,  # waitress would keep a body before we can refuse it
                ident=None,
                clear_untrusted_proxy_headers=True,
            )
        port = server.effective_port
        shown = f"[{host}]" if ":" in host else host
        applications.append(
            Application(
                Browsing(
                    run=run,
                    site=site,
                    token=token,
                    hosts=frozenset({f"{shown}:{port}", f"localhost:{port}"}),
                    directory=directory,
                )
            )
        )
        try:
            yield PageServer(server, f"http://{shown}:{port}/{token}/")
        finally:
            server.close()
            looking.submit(applications[0].close).result()
