"""Further files of a site, those of the option ``files``, as a restore point has them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple, Protocol

from collective.recipe.backup.errors import IntegrityError

_SECOND = 10**9


class FileSort(Enum):
    """The kind of a path; paths of other kinds are left out."""

    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"


_TYPES = {
    FileSort.DIRECTORY: stat.S_IFDIR,
    FileSort.FILE: stat.S_IFREG,
    FileSort.LINK: stat.S_IFLNK,
}


class FurtherFile(NamedTuple):
    """A directory, a file or a symbolic link, as it was when it was backed up."""

    path: bytes  # absolute
    sort: FileSort  # its kind
    mode: int  # permissions, with the set-id bits
    owner: int  # number of the user
    group: int  # number of the group
    time: int  # of its last change, nanoseconds since 1970
    size: int = 0  # bytes of a file, its holes too
    target: bytes = b""  # of a symbolic link
    same: bytes | None = None  # equal for files that are one; None: it has one name
    holes: tuple[tuple[int, int], ...] = ()  # offset and bytes of each, in their order
    pieces: tuple[bytes, ...] = ()  # keys of its bytes, or of the pages of a directory
    is_large: bool = False  # whether its pieces are lists of such

    @property
    def status(self) -> os.stat_result:
        """The status that a copy of it gets."""
        seconds = self.time // _SECOND
        return os.stat_result(
            (
                _TYPES[self.sort] | self.mode, 0, 0, 1, self.owner, self.group, self.size,
                seconds, seconds, seconds,
            ),
            {"st_atime_ns": self.time, "st_mtime_ns": self.time},
        )  # fmt: skip

    @property
    def parts(self) -> Iterator[tuple[int, bool]]:
        """The parts of a file, in order: a number of bytes, and whether they are a hole."""
        at = 0
        for offset, size in self.holes:
            if offset > at:
                yield offset - at, False
            yield size, True
            at = offset + size
        if self.size > at:
            yield self.size - at, False


def counted(
    pieces: Iterator[bytes | memoryview], size: int, path: bytes
) -> Iterator[bytes | memoryview]:
    """Yield *pieces*, of the file at *path*.

    Raises IntegrityError if they have not *size* bytes, before one more than these is yielded.
    """
    found = 0
    for piece in pieces:
        found += len(piece)
        if found > size:
            break
        yield piece
    if found != size:
        raise IntegrityError(
            f"{os.fsdecode(path)} has {found:,} bytes, and not {size:,} as its list says",
            hint="the file that was written is incomplete; verify tells more",
        )


class FurtherFiles(Protocol):
    """The further files of a restore point, to be read."""

    @property
    def count(self) -> int:
        """Return the number of files, without directories and links."""

    @property
    def size(self) -> int:
        """Bytes of these but for holes."""

    def listed(self, below: bytes = b"/") -> Iterator[FurtherFile]:
        """Yield the path *below* and the paths in it, each directory before its entries.

        Raises IntegrityError.
        """

    def contents(self, below: bytes = b"/") -> Iterator[tuple[FurtherFile, Iterator[bytes]]]:
        """Yield the files of ``listed``, each with its bytes but for the holes.

        The bytes must be taken before the next file is asked for.  Raises IntegrityError.
        """

    def data(self, file: FurtherFile) -> Iterator[bytes]:
        """Yield the bytes of a file but for its holes, in pieces, each proved.

        Raises IntegrityError.
        """
