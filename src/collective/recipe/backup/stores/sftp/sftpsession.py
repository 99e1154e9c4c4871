"""A connection to a server of SFTP, which any thread may use.

asyncssh works in the loop of one thread; other threads submit work and wait for its result. After a
connection has broken, the next call makes a new one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from collective.recipe.backup import times
from collective.recipe.backup.errors import StoreUnreachable
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.stores.sftp.sftpanswers import explained_failure, is_lost
from collective.recipe.backup.stores.sftp.sftpplace import SftpPlace, check_asyncssh

if TYPE_CHECKING:
    from asyncssh import SFTPClient, SSHClientConnection

T = TypeVar("T")
Work = Callable[["SFTPClient"], Coroutine[Any, Any, T]]
"""A function that the thread of the loop runs."""


@dataclass(frozen=True, kw_only=True)
class SftpPatience:
    """Seconds to wait for a server."""

    connect: float = 30  # seconds until we are let in
    silent: float = 13  # seconds without a byte until it is asked whether it is there, thrice
    pauses: tuple[float, ...] = (1, 3, 10, 30)  # seconds before another connection is tried


PATIENCE = SftpPatience()


class SftpSession:
    """A connection to the server of *place*, made when it is needed."""

    def __init__(self, place: SftpPlace, patience: SftpPatience) -> None:
        self._place = place
        self._patience = patience
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._connected: tuple[SSHClientConnection, SFTPClient] | None = None
        self._connecting: asyncio.Lock | None = None

    def do(self, what: str, work: Work[T], *, again: bool) -> T:
        """Return what *work* gives; with *again* it is repeated over another connection.

        Raises the BackupError that says why *what* did not work.
        """
        for pause in (*(self._patience.pauses if again else ()), None):
            try:
                return self._wait(work)
            except Exception as error:
                if not _is_ours(error):
                    raise
                told = explained_failure(error, what, self._place)
                if pause is None or not isinstance(told, StoreUnreachable):
                    raise told from error
                times.pause_or_end(pause)
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Let the connection go, and end the thread; another one may follow."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._drop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _wait(self, work: Work[T]) -> T:
        check_asyncssh()
        future = asyncio.run_coroutine_threadsafe(self._in_loop(work), self._running())
        try:
            return future.result()
        except BaseException:  # also Ctrl-C: what is under way ends
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_exception_handler(_tell_what_is_not_ours)
                self._connecting = asyncio.Lock()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="sftp", daemon=True
                )
                self._thread.start()
            return self._loop

    async def _in_loop(self, work: Work[T]) -> T:
        client = await self._client()
        try:
            return await work(client)
        except Exception as error:
            if is_lost(error) and self._connected and self._connected[1] is client:
                await self._drop()
            raise

    async def _client(self) -> SFTPClient:
        import asyncssh

        assert self._connecting is not None  # noqa: S101  the loop was made with it
        async with self._connecting:
            if self._connected is None:
                place, patience = self._place, self._patience
                connection = await asyncssh.connect(
                    place.host,
                    port=place.port or (),
                    username=place.user or (),
                    login_timeout=patience.connect,
                    connect_timeout=patience.connect,
                    keepalive_interval=patience.silent,
                    keepalive_count_max=3,
                )
                self._connected = connection, await connection.start_sftp_client()
            return self._connected[1]

    async def _drop(self) -> None:
        import asyncssh

        connected, self._connected = self._connected, None
        if connected is not None:
            connection, client = connected
            client.exit()
            connection.close()
            # it is gone either way
            with suppress(asyncssh.Error, OSError, asyncio.TimeoutError):
                await asyncio.wait_for(connection.wait_closed(), 5)


def _tell_what_is_not_ours(loop: asyncio.AbstractEventLoop, about: dict[str, Any]) -> None:
    """Tell of an error that nobody waits for, but for those of a connection that is gone.

    Of an object that is written in many pieces each has that error, and one is raised.
    """
    error = about.get("exception")
    if not isinstance(error, Exception) or not _is_ours(error):
        loop.default_exception_handler(about)


def _is_ours(error: Exception) -> bool:
    """Tell whether *error* is one of the server, or of the way to it."""
    import asyncssh

    return isinstance(error, asyncssh.Error) or is_lost(error)
