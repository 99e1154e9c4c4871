"""From files to the bytes of an archive: members one after the other, each read once."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from collective.recipe.backup.blobs.archives.headers import (
    BLOCK_SIZE,
    Header,
    Type,
    extended,
    padding,
    show_time,
)
from collective.recipe.backup.blobs.archives.owners import group_name, user_name
from collective.recipe.backup.blobs.archives.seal import Mark
from collective.recipe.backup.blobs.copying import refuse
from collective.recipe.backup.blobs.foreign import Foreign
from collective.recipe.backup.blobs.layout import Entry, Kind
from collective.recipe.backup.blobs.sets import NAMED
from collective.recipe.backup.errors import BackupError, naming
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Advance

_PIECE_SIZE = 1 << 20
_SECOND = 10**9
_FILES = (Kind.BLOB, Kind.MARKER, Kind.FILE)
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_END = bytes(2 * BLOCK_SIZE)


class Packing:
    """Packs what lies in *sources*, of which the first that has a file counts.

    *files* were packed, *size* bytes in all; of these *foreign* are no blobs, and with
    *marked* one is ZODB's note of the layout.  By *others* the foreign ones are known again.
    *gone* ones were not to be found; *gone_blobs* names some of them.
    """

    def __init__(self, sources: Sequence[Path], advance: Advance) -> None:
        self.files = self.size = self.foreign = self.gone = 0
        self.marked = False
        self.others = Foreign()
        self.gone_blobs: list[BlobId] = []
        self._sources = sources
        self._advance = advance
        self._made: list[str] = []

    def pieces(self, mark: Mark, entries: Iterable[Entry]) -> Iterator[bytes]:
        """Yield an archive of *entries*, without its seal."""
        yield extended({b"comment": mark.encode()}, Type.GLOBAL)
        yield _header("", Type.DIRECTORY, self._sources[0].stat())
        for entry in entries:
            self._advance(1)
            yield from self._directories(entry)
            if entry.kind is Kind.DIRECTORY:
                continue
            try:
                yield from self._member(entry)
            except FileNotFoundError:
                self._note_gone(entry)
            else:
                self.files += 1
                self.foreign += entry.foreign
                self.marked |= entry.kind is Kind.MARKER
        yield _END

    def _note_gone(self, entry: Entry) -> None:
        self.gone += 1
        if (blob := entry.blob) and len(self.gone_blobs) < NAMED:
            self.gone_blobs.append(blob)

    def _directories(self, entry: Entry) -> Iterator[bytes]:
        """Yield those that tar would otherwise make with any mode."""
        names = entry.path.split("/")
        if entry.kind is not Kind.DIRECTORY:
            names.pop()
        if names == self._made[: len(names)]:
            return
        common = len(os.path.commonprefix([self._made, names]))
        self._made = names
        for depth in range(common, len(names)):
            path = "/".join(names[: depth + 1])
            try:
                where, status = self._found(path)
            except FileNotFoundError:  # what was in it will be found to be gone as well
                return
            if stat.S_ISLNK(status.st_mode):
                refuse(Entry(path, Kind.IMPOSTOR), where)
            yield _header(path, Type.DIRECTORY, status)

    def _found(self, path: str) -> tuple[Path, os.stat_result]:
        """Return the source that has *path*, and what is there."""
        for source in self._sources[:-1]:
            with suppress(FileNotFoundError):
                return source, os.lstat(os.path.join(source, path))
        return self._sources[-1], os.lstat(os.path.join(self._sources[-1], path))

    def _member(self, entry: Entry) -> Iterator[bytes]:
        """Yield the header and the content of a file or link.

        Raises FileNotFoundError before anything is yielded, if at all.
        """
        if entry.kind not in _FILES:
            where, status = self._found(entry.path)
            refuse(entry, where)
            text = os.readlink(where / entry.path)
            self.others.add_link(entry.path, text)
            yield _header(entry.path, Type.SYMBOLIC_LINK, status, text)
            return
        place, descriptor = self._opened(entry)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BackupError("this is no file any more", where=place)
            if entry.foreign:
                self.others.add_file(entry.path, status)
            yield _header(entry.path, Type.FILE, status)
            yield from _content(descriptor, status.st_size, place)
            yield padding(status.st_size)
        finally:
            os.close(descriptor)
        self.size += status.st_size

    def _opened(self, entry: Entry) -> tuple[str, int]:
        """Open the file; return its path and the descriptor.  Links are not followed."""
        for source in self._sources:
            place = os.path.join(source, entry.path)
            try:
                return place, os.open(place, _FLAGS)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno == errno.ELOOP:
                    refuse(entry._replace(kind=Kind.IMPOSTOR), source)
                raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), entry.path)


def _content(descriptor: int, size: int, place: str) -> Iterator[bytes]:
    """Yield *size* bytes; what is added meanwhile is for the next backup."""
    while size:
        with naming(place):
            data = os.read(descriptor, min(size, _PIECE_SIZE))
        if not data:
            raise BackupError(
                "a file got shorter while it was read",
                where=place,
                hint="blobs never change: find out what writes there, then run the command again",
            )
        size -= len(data)
        yield data


def _header(path: str, kind: Type, status: os.stat_result, link: str = "") -> bytes:
    """Return the blocks that come before the content of a member."""
    name = b"./" + os.fsencode(path)
    if kind is Type.DIRECTORY and path:
        name += b"/"
    seconds, rest = divmod(status.st_mtime_ns, _SECOND)
    header = Header(
        type=kind,
        name=name,
        size=status.st_size if kind is Type.FILE else 0,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime=seconds,
        link=os.fsencode(link),
        user=user_name(status.st_uid),
        group=group_name(status.st_gid),
    ).encode()
    if rest and kind is Type.FILE:
        return extended({b"mtime": show_time(status.st_mtime_ns)}) + header
    return header
