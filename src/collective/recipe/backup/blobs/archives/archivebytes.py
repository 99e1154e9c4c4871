"""From files to the bytes of an archive: members one after the other, each read once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from collective.recipe.backup.blobs.archives.headers import (
    BLOCK_SIZE,
    TarHeader,
    Type,
    extended,
    padding,
    show_time,
)
from collective.recipe.backup.blobs.archives.owners import group_name, user_name
from collective.recipe.backup.blobs.archives.seal import ArchiveMark
from collective.recipe.backup.blobs.archives.sources import LeftOut, Sources
from collective.recipe.backup.blobs.copied import NAMED, Left
from collective.recipe.backup.blobs.foreign import Foreign
from collective.recipe.backup.blobs.layout import Entry, Kind, blob_of
from collective.recipe.backup.blobs.refusing import refusal, text_of
from collective.recipe.backup.errors import from_os_error
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Advance
from collective.recipe.backup.unreadable import CannotReadError

_SECOND = 10**9
_FILES = (Kind.BLOB, Kind.MARKER, Kind.FILE)
_END = bytes(2 * BLOCK_SIZE)


class ArchiveBytes:
    """Packs the files in *sources*; if several have a file, the first one counts.

    Its counts are *files* and their *size* in bytes.  *foreign* ones of these are no blobs, and
    with *marked* one is ZODB's note of the layout.  *others* is the fingerprint of the foreign
    ones.  *gone* files vanished, and *unread* blobs could not be read; *lacking* names some blobs
    of both.  *left* has all others that could not be read, or are of a kind that is not packed.
    """

    def __init__(self, sources: Sources, advance: Advance) -> None:
        self.files = self.size = self.foreign = self.gone = self.unread = 0
        self.marked = False
        self.others = Foreign()
        self.lacking: list[BlobId] = []
        self.left = Left()
        self._sources = sources
        self._advance = advance
        self._made: list[str] = []

    def pieces(self, mark: ArchiveMark, entries: Iterable[Entry]) -> Iterator[bytes]:
        """Yield an archive of *entries*, without its seal.  Raises NotAtOnce: see Sources."""
        yield extended({b"comment": mark.encode()}, Type.GLOBAL)
        yield _header("", Type.DIRECTORY, self._sources.roots[0].stat())
        for entry in entries:
            self._advance(1)
            try:
                yield from self._directories(entry)
                if entry.kind is not Kind.DIRECTORY:
                    yield from self._member(entry)
            except FileNotFoundError:
                self.gone += 1
                self._note_lacking(entry)
            except LeftOut as left:
                self.left.add(entry, left.why)
                self.unread += blob_of(entry.path) is not None
                self._note_lacking(entry)
        yield _END

    def _note_lacking(self, entry: Entry) -> None:
        if (blob := blob_of(entry.path)) and len(self.lacking) < NAMED:
            self.lacking.append(blob)

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
                where, status = self._sources.found(path)
            except FileNotFoundError:  # the files in it are found to be gone as well
                return
            if stat.S_ISLNK(status.st_mode):
                self._made = names[:depth]
                _check(Entry(path, Kind.IMPOSTOR), where)
            yield _header(path, Type.DIRECTORY, status)

    def _member(self, entry: Entry) -> Iterator[bytes]:
        """Yield the header and the content of a file or link.

        Raises FileNotFoundError or LeftOut before anything is yielded, if at all.
        """
        if entry.kind not in _FILES:
            yield self._link(entry)
        else:
            opened = self._sources.opened(entry)
            try:
                if entry.foreign:
                    self.others.add_file(entry.path, opened.status)
                yield _header(entry.path, Type.FILE, opened.status)
                yield from opened.pieces
                yield padding(opened.status.st_size)
            finally:
                os.close(opened.descriptor)
            self.size += opened.status.st_size
        self.files += 1
        self.foreign += entry.foreign
        self.marked |= entry.kind is Kind.MARKER

    def _link(self, entry: Entry) -> bytes:
        where, status = self._sources.found(entry.path)
        _check(entry, where)
        try:
            text = text_of(where / entry.path)
        except CannotReadError as error:
            raise LeftOut(from_os_error(error, "cannot be read")) from error
        self.others.add_link(entry.path, text)
        return _header(entry.path, Type.SYMBOLIC_LINK, status, text)


def _check(entry: Entry, where: Path) -> None:
    """Raise LeftOut for an entry of a kind that is not packed."""
    if refused := refusal(entry, where):
        raise LeftOut(refused)


def _header(path: str, kind: Type, status: os.stat_result, link: str = "") -> bytes:
    """Return the blocks that come before the content of a member."""
    name = b"./" + os.fsencode(path)
    if kind is Type.DIRECTORY and path:
        name += b"/"
    seconds, rest = divmod(status.st_mtime_ns, _SECOND)
    header = TarHeader(
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
