"""A tar archive as POSIX has it (pax), written to a stream as it comes.

Times have their nanoseconds, names are any bytes, sizes have no limit; a file with several names
is stored once, and holes take no room (the form 1.0 of GNU tar, which bsdtar knows as well).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable

from collective.recipe.backup.furtherfiles import FileSort, FurtherFile, counted
from collective.recipe.backup.operations.inventory import InventoryItem

_BLOCK = tarfile.BLOCKSIZE
_TYPES = {
    FileSort.FILE: tarfile.REGTYPE,
    FileSort.DIRECTORY: tarfile.DIRTYPE,
    FileSort.LINK: tarfile.SYMTYPE,
}
_SECOND = 10**9


class TarStream:
    """Writes an archive by *write*."""

    def __init__(self, write: Callable[[bytes | memoryview], object]) -> None:
        self._write = write
        self._size = 0  # bytes that were written

    def add(self, item: InventoryItem) -> None:
        """Write an item.  Raises IntegrityError if it has not as many bytes as it says."""
        file, info = item.file, _info(item.file)
        if item.first:
            info.type, info.linkname, info.size = tarfile.LNKTYPE, os.fsdecode(item.first), 0
            self._header(info)
        elif file.sort is not FileSort.FILE:
            self._header(info)
        elif file.holes:
            self._sparse(item, info)
        else:
            info.size = file.size
            self._header(info)
            self._contents(item, file.size)

    def finish(self) -> None:
        """Write the end of the archive."""
        self._put(bytes(2 * _BLOCK))
        self._put(bytes(-self._size % tarfile.RECORDSIZE))

    def _sparse(self, item: InventoryItem, info: tarfile.TarInfo) -> None:
        """Write a file with holes: where its bytes belong stands before them."""
        file = item.file
        stretches, at = [], 0
        for size, is_hole in file.parts:
            if not is_hole:
                stretches.append((at, size))
            at += size
        if not stretches or sum(stretches[-1]) < file.size:
            stretches.append((file.size, 0))
        lines = [len(stretches), *(number for stretch in stretches for number in stretch)]
        table = "".join(f"{number}\n" for number in lines).encode("ascii")
        table += bytes(-len(table) % _BLOCK)
        size = sum(size for _offset, size in stretches)
        directory, name = os.path.split(info.name)
        info.pax_headers = {
            **info.pax_headers,
            "GNU.sparse.major": "1",
            "GNU.sparse.minor": "0",
            "GNU.sparse.name": info.name,
            "GNU.sparse.realsize": str(file.size),
        }
        info.name = f"{directory}/GNUSparseFile.0/{name}"
        info.size = len(table) + size
        self._header(info)
        self._put(table)
        self._contents(item, size)

    def _header(self, info: tarfile.TarInfo) -> None:
        self._put(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _contents(self, item: InventoryItem, size: int) -> None:
        for piece in counted(item.pieces, size, item.file.path):
            self._put(piece)
        self._put(bytes(-size % _BLOCK))

    def _put(self, data: bytes | memoryview) -> None:
        self._write(data)
        self._size += len(data)


def _info(file: FurtherFile) -> tarfile.TarInfo:
    info = tarfile.TarInfo(os.fsdecode(file.path))
    info.type = _TYPES[file.sort]
    info.mode = 0o777 if file.sort is FileSort.LINK else file.mode
    info.uid, info.gid = file.owner, file.group
    info.mtime = file.time // _SECOND
    if file.time % _SECOND and file.time > 0:
        info.pax_headers = {"mtime": f"{info.mtime}.{file.time % _SECOND:09}"}
    info.linkname = os.fsdecode(file.target)
    return info
