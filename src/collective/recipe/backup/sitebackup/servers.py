"""The ZEO server that a client names: is it one whose configuration lies here?

A client says ``server HOST:PORT`` and a server ``address HOST:PORT``; both may leave the host
out, and both may name a socket of this machine by its path.  Two that mean the same have the
same port, and the host of the client is this machine.  A name is looked up, but not for long:
a backup must not wait for a network that is down.
"""

from __future__ import annotations

import ipaddress
import os
import threading
from typing import NamedTuple

LOOKED_UP = 3.0
"""Seconds that the name of a host may take to be looked up."""

UNKNOWN = "?"
"""In the place of an address that a variable has which is not set here."""

_HERE = {"", "localhost", "localhost.localdomain", "ip6-localhost"}


class Address(NamedTuple):
    """The address of a server: *host* and *port*, or the *path* of a socket."""

    host: str = ""  # "" stands for this machine
    port: str = ""  # "" if it is not said
    path: str = ""  # of a socket; "" for a host


def parsed(text: str) -> Address:
    """Return the address that ZConfig reads from *text*: PATH, PORT, HOST or HOST:PORT."""
    text = text.strip()
    if "/" in text:
        return Address(path=os.path.normpath(text))
    host, colon, port = text.rpartition(":")
    if not colon:
        return Address(port=text) if text.isdecimal() else Address(host=text.lower())
    return Address(host=host.strip("[]").lower(), port=port)


def is_same(client: str, server: str) -> bool | None:
    """Tell whether what a client calls *client* listens at *server*, an address of this machine.

    None: that cannot be told, since the host has a name that cannot be looked up now.
    """
    if client == UNKNOWN:
        return None
    named, listening = parsed(client), parsed(server)
    if named.path or listening.path:
        return named.path == listening.path
    if named.port != listening.port and listening.port:
        return False
    if named.host and named.host == listening.host:
        return True
    return is_here(named.host)


def is_here(host: str) -> bool | None:
    """Tell whether *host*, a name or a number, is this machine.

    None: that cannot be told now.
    """
    own = os.uname().nodename.lower()
    if host in _HERE or host in (own, own.partition(".")[0]):
        return True
    if not host.isprintable():
        return None  # no name: a zero, or bytes that are no text
    try:
        return _is_own(str(ipaddress.ip_address(host)))
    except ValueError:
        found = _looked_up(host)
        return any(map(_is_own, found)) if found else None


def _is_own(number: str) -> bool:
    """Tell whether an interface of this machine has the address *number*."""
    import socket  # only for addresses that are not plainly those of this machine

    family = socket.AF_INET6 if ":" in number else socket.AF_INET
    try:
        # nothing is sent: the kernel gives no socket an address that is not its own
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # in bytes, since a scope need not be what a name may be
            probe.bind((number.encode("utf-8"), 0))
    except OSError:
        return False
    return True


def _looked_up(host: str, seconds: float = LOOKED_UP) -> list[str]:
    """Return the addresses of *host*, none if they are not known in time."""
    import socket

    found: list[str] = []

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(str(address[0]).partition("%")[0] for *_kinds, address in answers)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(seconds)
    return list(found)
