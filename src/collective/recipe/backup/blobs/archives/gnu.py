r"""What GNU tar's incremental archives say about a directory: its *dumpdir*.

It is the content of the header of each directory, a list of names, each with a letter
before and a NUL after it, and a NUL at the end::

    Y name    a file that this archive holds
    N name    a file that has not changed, so that an earlier archive holds it
    D name    a directory
    R path    was renamed, to what the T that follows says; one of both may be empty,
    T path    for a temporary name, with which GNU tar swaps directories
    X path    where that temporary name may be

What a directory has and its dumpdir does not name was deleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from collective.recipe.backup.errors import printable

SIZE_LIMIT = 64 << 20
"""More than the names of a million blobs in one directory take."""

Y, N, D, R, T, X = b"YNDRTX"


class Dumpdir(NamedTuple):
    """The state of a directory: its *names* with their letters; *renames* to do before.

    A rename has None for the temporary name.
    """

    names: dict[bytes, int]
    renames: tuple[tuple[bytes | None, bytes | None], ...]

    def unchanged(self) -> Iterator[bytes]:
        """Yield the names of the files that an earlier archive holds."""
        return (name for name, letter in self.names.items() if letter == N)


def parse(data: bytes) -> Dumpdir:
    """Return what a dumpdir says.  Raises ValueError if it is damaged."""
    names: dict[bytes, int] = {}
    renames: list[tuple[bytes | None, bytes | None]] = []
    entries = _entries(data)
    for letter, name in entries:
        if letter == R:
            following, target = next(entries, (0, b""))
            if following != T:
                raise ValueError("the list of a directory names half a rename")
            renames.append((name or None, target or None))
        elif letter != X:
            names[_checked(name)] = letter
    return Dumpdir(names, tuple(renames))


def _checked(name: bytes) -> bytes:
    if b"/" in name or name in (b"", b".", b".."):
        raise ValueError(f"the list of a directory names {show(name)}")
    return name


def _entries(data: bytes) -> Iterator[tuple[int, bytes]]:
    if not data.endswith(b"\0"):
        raise ValueError("the list of a directory is cut short")
    for entry in data.split(b"\0"):
        if not entry:
            return
        if entry[0] not in (Y, N, D, R, T, X):
            raise ValueError("the list of a directory is damaged")
        yield entry[0], entry[1:]


def show(name: bytes) -> str:
    """Return a name as messages have it."""
    return repr(printable(name.decode("utf-8", "surrogateescape")))
