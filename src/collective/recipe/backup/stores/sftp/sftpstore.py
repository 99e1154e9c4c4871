"""A store on a server of SFTP: an object is a file, and its name is its path.

A file is written under a temporary name in the directory of its final one, flushed to the
disk where the server can do that (``fsync@openssh.com``), and gets its name by a hard link
(``hardlink@openssh.com``), which never takes the place of another.  Where the server has no
hard links, it is renamed, which the protocol forbids to replace anything (version 3, 6.5).
Directories cannot be flushed by SFTP.

Files may only be read, also by their owner: so a server that lets a user neither remove,
rename nor change permissions keeps what it has.  Then temporary names stay, until a sweep.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from collective.recipe.backup import times
from collective.recipe.backup.stores import (
    Buffer,
    NoSuchObject,
    ObjectExists,
    Promises,
    StoredObject,
    Views,
    Weakness,
    checked,
    is_name,
    nothing_above,
)
from collective.recipe.backup.stores.allowance import Allowance
from collective.recipe.backup.stores.sftp import sftpsession
from collective.recipe.backup.stores.sftp.sftpanswers import not_there
from collective.recipe.backup.stores.sftp.sftpplace import SftpPlace
from collective.recipe.backup.stores.sftp.sftpsession import SftpSession

if TYPE_CHECKING:
    from asyncssh import SFTPAttrs, SFTPClient, SFTPError, SFTPName

_PARTIAL = ".partial"
_SURELY_DEAD = timedelta(days=2)
"""No put takes so long."""

Found = list[StoredObject]

_AT_ONCE = 16
"""Directories that are listed at the same time."""


class SftpStore:
    """The store in a directory of a server."""

    promises = Promises(parallel=2, gap=1 << 18)

    def __init__(self, place: SftpPlace, allowance: Allowance | None = None) -> None:
        self.location = place.location
        self._allowance = allowance or Allowance()
        self._place = place
        self._root = place.root
        self._session = SftpSession(place, sftpsession.PATIENCE)

    def prepare(self) -> None:
        """Make the directory, but none above it: a disk that is not mounted would lack that."""

        async def work(client: SFTPClient) -> None:
            from asyncssh import SFTPAttrs

            if not await client.isdir(os.path.dirname(self._root) or "."):
                raise nothing_above(self.location)
            await client.makedirs(self._root, SFTPAttrs(permissions=0o700), exist_ok=True)

        self._session.do("cannot make the directory of the repository", work, again=True)

    def put(self, name: str, data: Buffer, *, bulk: bool = False) -> datetime:  # noqa: ARG002  protocol
        """Write a file."""
        path = self._path(name)
        self._allowance.ask()

        async def work(client: SFTPClient) -> datetime:
            partial = f"{path}.{os.urandom(8).hex()}{_PARTIAL}"
            try:
                return await self._written(client, partial, path, bytes(data))
            finally:
                await _remove_if_allowed(client, partial)

        return self._session.do("cannot write to the repository", work, again=False)

    def get(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """Read a file, or a range of it."""
        path = self._path(name)
        self._allowance.ask()

        async def work(client: SFTPClient) -> bytes:
            found = await self._looked_at(client, path)
            there = found.size if found is not None else None
            # not what a reader would wait for, as a named pipe
            if there is None or not _is_file(found):
                raise NoSuchObject(name)
            wanted = there - start if size is None else size
            if wanted < 0 or start + wanted > there:
                raise NoSuchObject(f"{name} has {there} bytes")
            async with client.open(path, "rb") as file:
                pieces: list[bytes] = [
                    await file.read(size, begin) async for begin, size in self._turns(start, wanted)
                ]
                data: bytes = b"".join(pieces)
            if len(data) < wanted:
                raise NoSuchObject(f"{name} got shorter while it was read")
            return data

        return self._session.do("cannot read the repository", work, again=True)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """List the directories in which such names can lie."""
        self._allowance.ask()

        async def work(client: SFTPClient) -> Sequence[StoredObject]:
            await self._must_be_there(client)
            gate = asyncio.Semaphore(_AT_ONCE)
            return await self._below(client, prefix.rpartition("/")[0], prefix, gate)

        yield from sorted(self._session.do("cannot list the repository", work, again=True))

    def delete(self, name: str) -> None:
        """Remove a file."""
        path = self._path(name)
        self._allowance.ask()

        async def work(client: SFTPClient) -> None:
            from asyncssh import SFTPNoSuchFile

            try:
                await client.remove(path)
            except SFTPNoSuchFile:
                await self._must_be_there(client)

        self._session.do("cannot remove from the repository", work, again=True)

    def sweep(self) -> None:
        """Remove files under temporary names that are older than any put can be."""

        async def work(client: SFTPClient) -> None:
            now = await self._now(client)
            await self._sweep(client, self._root, now - _SURELY_DEAD)

        self._session.do("cannot clean up the repository", work, again=True)

    def care(self, *, mend: bool = False) -> Iterator[Weakness]:  # noqa: ARG002  protocol
        """Yield nothing: a file is kept once, and stays."""
        return iter(())

    def show(self, views: Views, *, anew: bool = False) -> None:
        """Do nothing: objects are seen by their names."""

    def clock(self) -> datetime:
        """Make a file that is gone at once, and look at its time."""
        self._allowance.ask()
        return self._session.do("cannot ask the repository for the time", self._now, again=True)

    def close(self) -> None:
        """Let the connection go."""
        self._session.close()

    def _path(self, name: str) -> str:
        return f"{self._root}/{checked(name)}"

    async def _written(self, client: SFTPClient, partial: str, path: str, data: bytes) -> datetime:
        from asyncssh import SFTPNoSuchFile

        try:
            made = await self._write(client, partial, data)
        except SFTPNoSuchFile:
            await self._make_way(client, os.path.dirname(path))
            made = await self._write(client, partial, data)
        await _name(client, partial, path)
        return made

    async def _write(self, client: SFTPClient, path: str, data: bytes) -> datetime:
        """Make a file that is on the disk of the server; return its time."""
        from asyncssh import SFTPAttrs, SFTPOpUnsupported

        async with client.open(path, "xb", SFTPAttrs(permissions=0o400)) as file:
            async for begin, size in self._turns(0, len(data)):
                await file.write(data[begin : begin + size], begin)
            with suppress(SFTPOpUnsupported):
                await file.fsync()
            return _stored(await file.stat())

    async def _turns(self, start: int, size: int) -> AsyncIterator[tuple[int, int]]:
        """Yield extents as those of the allowance; what waits is this coroutine alone."""
        piece = self._allowance.piece or size
        for begin in range(start, start + size, piece or 1):
            moved = min(piece, start + size - begin)
            await asyncio.sleep(self._allowance.due(moved))
            times.end_if_asked()
            yield begin, moved

    async def _make_way(self, client: SFTPClient, directory: str) -> None:
        """Make the directory of an object; that of the store must be there."""
        from asyncssh import SFTPAttrs

        await self._must_be_there(client)
        await client.makedirs(directory, SFTPAttrs(permissions=0o700), exist_ok=True)

    async def _must_be_there(self, client: SFTPClient) -> None:
        if not await client.isdir(self._root):
            raise not_there(self._place)

    async def _looked_at(self, client: SFTPClient, path: str) -> SFTPAttrs | None:
        """Return the attributes of the entry at *path*, None if there is no entry."""
        from asyncssh import SFTPNoSuchFile

        try:
            return await client.lstat(path)
        except SFTPNoSuchFile:
            await self._must_be_there(client)
            return None

    async def _now(self, client: SFTPClient) -> datetime:
        await self._must_be_there(client)
        partial = f"{self._root}/clock.{os.urandom(8).hex()}{_PARTIAL}"
        try:
            return await self._write(client, partial, b"")
        finally:
            await _remove_if_allowed(client, partial)

    async def _below(
        self, client: SFTPClient, above: str, prefix: str, gate: asyncio.Semaphore
    ) -> Sequence[StoredObject]:
        found: Found = []
        deeper = []
        for entry in await self._entries(client, f"{self._root}/{above}".rstrip("/"), gate):
            name = f"{above}/{_text(entry)}" if above else _text(entry)
            if not is_name(name) or not (name.startswith(prefix) or prefix.startswith(name + "/")):
                continue
            if _is_directory(entry.attrs):
                deeper.append(self._below(client, name, prefix, gate))
            elif name.startswith(prefix) and _is_file(entry.attrs):
                found.append(StoredObject(name, entry.attrs.size or 0, _stored(entry.attrs)))
        for objects in await asyncio.gather(*deeper):
            found += objects
        return found

    async def _entries(
        self, client: SFTPClient, directory: str, gate: asyncio.Semaphore
    ) -> Sequence[SFTPName]:
        from asyncssh import SFTPNoSuchFile

        async with gate:
            with suppress(SFTPNoSuchFile):
                return [
                    each
                    async for each in client.scandir(directory)
                    if each.filename not in {".", ".."}
                ]
            return []

    async def _sweep(self, client: SFTPClient, directory: str, before: datetime) -> None:
        for entry in await self._entries(client, directory, asyncio.Semaphore()):
            path = f"{directory}/{_text(entry)}"
            if _is_directory(entry.attrs):
                await self._sweep(client, path, before)
            elif path.endswith(_PARTIAL) and _stored(entry.attrs) < before:
                await client.remove(path)


async def _name(client: SFTPClient, partial: str, path: str) -> None:
    """Give a file its name.  Raises ObjectExists."""
    from asyncssh import SFTPError, SFTPFailure, SFTPOpUnsupported, SFTPPermissionDenied

    try:
        await client.link(partial, path)
    except SFTPError as error:
        # version 3 has a word neither for what exists nor for what its file system cannot do
        if await client.lexists(path):
            raise ObjectExists(path) from error
        if not isinstance(error, SFTPOpUnsupported | SFTPFailure | SFTPPermissionDenied):
            raise
        await _rename(client, partial, path, error)


async def _rename(client: SFTPClient, partial: str, path: str, no_link: SFTPError) -> None:
    """Give a file its name where there are no hard links, for which there was the error *no_link*.

    Raises ObjectExists, and *no_link* if the server does not let us rename either.
    """
    from asyncssh import SFTPFailure, SFTPFileAlreadyExists, SFTPPermissionDenied

    try:
        await client.rename(partial, path)
    except (SFTPFailure, SFTPFileAlreadyExists, SFTPPermissionDenied) as error:
        if await client.lexists(path):
            raise ObjectExists(path) from error
        raise no_link from error


async def _remove_if_allowed(client: SFTPClient, path: str) -> None:
    from asyncssh import SFTPNoSuchFile, SFTPPermissionDenied

    with suppress(SFTPNoSuchFile, SFTPPermissionDenied):
        await client.remove(path)


def _text(entry: SFTPName) -> str:
    return os.fsdecode(entry.filename)


def _is_file(attributes: SFTPAttrs | None) -> bool:
    return attributes is not None and stat.S_ISREG(attributes.permissions or 0)


def _is_directory(attributes: SFTPAttrs) -> bool:
    return stat.S_ISDIR(attributes.permissions or 0)


def _stored(attributes: SFTPAttrs) -> datetime:
    return datetime.fromtimestamp(attributes.mtime or 0, tz=timezone.utc)
