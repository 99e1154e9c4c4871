r"""The dumpdirs of GNU tar: the state of a directory in an incremental archive.

It is the content of the header of each directory, a list of names, each with a letter
before and a NUL after it, and a NUL at the end::

    Y name    a file that this archive holds
    N name    a file that has not changed, so that an earlier archive holds it
    D name    a directory
    R path    was renamed, to what the T that follows says; one of both may be empty,
    T path    for a temporary name, with which GNU tar swaps directories
    X path    where that temporary name may be

An entry of a directory that its dumpdir does not name was deleted.
"""

from __future__ import annotations

from collections.abc import Iterator

from collective.recipe.backup.errors import printable

SIZE_LIMIT = 64 << 20
"""More than the names of a million blobs in one directory take."""

Y, N, D, R, T, X = b"YNDRTX"


class Dumpdir:
    """The state of a directory: its names with their letters, and the renames before.

    A rename has None for the temporary name.  Only the list itself is kept: the names
    of 400,000 blobs in one directory would take five times the memory.
    """

    def __init__(self, data: bytes) -> None:
        """Take the list.  Raises ValueError if it is damaged."""
        self._data = data
        self.renames = tuple(_renames(_entries(data)))

    def names(self) -> dict[bytes, int]:
        """Return the letter of each name."""
        return {name: letter for letter, name in _entries(self._data) if letter in (Y, N, D)}

    def unchanged(self) -> Iterator[bytes]:
        """Yield the names of the files that an earlier archive holds."""
        return (name for letter, name in _entries(self._data) if letter == N)


def _renames(
    entries: Iterator[tuple[int, bytes]],
) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Yield the renames; look at the other entries on the way."""
    for letter, name in entries:
        if letter == R:
            following, target = next(entries, (0, b""))
            if following != T:
                raise ValueError("the list of a directory has an incomplete rename")
            yield name or None, target or None
        elif letter != X and (b"/" in name or name in (b"", b".", b"..")):
            raise ValueError(f"the list of a directory names {show(name)}")


def _entries(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while (end := data.find(b"\0", at)) != at:
        if end < 0:
            raise ValueError("the list of a directory is cut short")
        if data[at] not in (Y, N, D, R, T, X):
            raise ValueError("the list of a directory is damaged")
        yield data[at], data[at + 1 : end]
        at = end + 1


def show(name: bytes) -> str:
    """Return a name as messages have it."""
    return repr(printable(name.decode("utf-8", "surrogateescape")))
