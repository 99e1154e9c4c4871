"""A ZEO server of an opened moment, for this machine alone, and the address for its clients.

ZEO does not authenticate clients.  So the server listens on a socket in a directory that only its
owner may enter, or, if the user asks for it, on an address of this machine.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collective.recipe.backup.errors import UsageError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import MAIN
from collective.recipe.backup.operations.momentopening import OpenedMoment

Address = str | tuple[str, int]
"""The path of a socket, or host and port; port 0: one that is free."""

_LONGEST = 100
"""Bytes that the path of a socket may have; Linux takes 107."""
_PORTS = range(1 << 16)
_MAIN = "1"
"""Name of a storage in ZEO, unless the configuration gives another one."""


def address_of(text: str) -> Address:
    """Return what a user means by PATH, PORT or HOST:PORT.

    Raises UsageError, also for an address that other machines can reach.
    """
    if "/" in text:
        if len(text.encode()) > _LONGEST:
            raise UsageError(
                "the path of a socket is too long", where=text, hint="--address takes another one"
            )
        return text
    return local_address(text, "PORT, HOST:PORT, or the path of a socket with a slash")


def local_address(text: str, forms: str) -> tuple[str, int]:
    """Return host and port from PORT or HOST:PORT.

    Raises UsageError for a text that is none of the *forms*, in words, that an address may have,
    and for an address that other machines can reach.
    """
    host, _colon, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isdecimal() or int(port) not in _PORTS:
        raise UsageError(f"{text!r} is no address", hint=forms)
    if host != "localhost" and not _is_of_this_machine(host):
        raise UsageError(
            f"{host} can be reached from other machines, and no password is asked for",
            hint="serve on 127.0.0.1, and reach it from elsewhere by a tunnel, as of ssh -L",
        )
    return host, int(port)


def _is_of_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def served(
    opened: Sequence[OpenedMoment], address: Address, files: Files, *, read_only: bool
) -> Iterator[MomentServer]:
    """Yield a server of the storages at *address*.  Raises BackupError if that is taken."""
    from ZEO.StorageServer import StorageServer

    storages = {storage_name(each.name): each.storage for each in opened}
    with explained("cannot serve there", _shown(address)):
        _check_free(address)
        server = StorageServer(address, storages, read_only=read_only)
    try:
        yield MomentServer(server)
    finally:
        _end(server)
        if isinstance(address, str):
            files.discard(Path(address))


def _check_free(address: Address) -> None:
    """Raise OSError if another server is there: ZEO would leave it half taken away."""
    if isinstance(address, tuple):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        socket.create_server(address, family=family).close()
        return
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):
            # a socket that a killed server left is taken over
            if Path(address).parent.is_dir():
                return
            raise
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _end(server: Any) -> None:
    """Let go of the clients and the address; the storages are closed as well."""
    acceptor = server.acceptor
    server.close()
    if not acceptor.event_loop.is_closed():
        acceptor.event_loop.run_forever()  # until it has closed
        acceptor.event_loop.close()


class MomentServer:
    """A server that was started; it answers while ``loop`` runs."""

    def __init__(self, server: Any) -> None:
        """Be *server*, a StorageServer of ZEO."""
        self._server = server

    @property
    def address(self) -> str:
        """The address on which it listens, as zope.conf has it."""
        return _shown(self._server.acceptor.addr)

    def loop(self) -> None:
        """Answer clients until an exception ends it."""
        self._server.acceptor.event_loop.run_forever()


def _shown(address: Any) -> str:
    if isinstance(address, str):
        return address
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def storage_name(name: str) -> str:
    """Return what the server calls the storage that the site calls *name*."""
    return _MAIN if name == MAIN else name


def zope_conf(opened: Sequence[OpenedMoment], address: str, blobs: Path, *, read_only: bool) -> str:
    """Return what a client has to have in its zope.conf; its copies of blobs go below *blobs*."""
    return "\n".join(_database(each, address, blobs, read_only=read_only) for each in opened)


def _database(each: OpenedMoment, address: str, blobs: Path, *, read_only: bool) -> str:
    storage = storage_name(each.name)
    lines = [
        f"<zodb_db {each.name if each.name != MAIN else 'main'}>",
        f"    mount-point {'/' if each.name == MAIN else '/' + each.name}",
        "    <zeoclient>",
        f"        server {address}",
        f"        storage {storage}",
        f"        blob-dir {blobs / storage}",
        *(["        read-only true"] if read_only else []),
        "    </zeoclient>",
        "</zodb_db>",
    ]
    return "\n".join(lines)
