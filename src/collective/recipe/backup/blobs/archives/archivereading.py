"""The members of an archive, one by one, in one pass over a file of any size.

Nothing is believed: a name that leads out of the tree, a device, a number out of its
range, an end that is missing are errors that name the archive, and the member if it has
got that far.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum

from collective.recipe.backup.blobs.archives import gnu, headers
from collective.recipe.backup.blobs.archives.archivenames import Archive
from collective.recipe.backup.blobs.archives.gnu import Dumpdir, show
from collective.recipe.backup.blobs.archives.headers import BLOCK_SIZE, TarHeader, Type
from collective.recipe.backup.blobs.archives.owners import group_id, user_id
from collective.recipe.backup.blobs.archives.seal import ArchiveMark, parse_mark
from collective.recipe.backup.blobs.archives.stored import (
    PIECE_SIZE,
    Seeking,
    Stored,
    Stream,
    damaged,
    explaining,
)
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.gzipping import ahead
from collective.recipe.backup.progress import Advance, ignore

RECORD_SIZE = 20 * BLOCK_SIZE
"""Bytes that tar writes at once: an archive ends with zeros up to a multiple of it."""
_RECORDS_LIMIT = 1 << 20
"""Far more than a path that a file system takes, in bytes."""
_SECOND = 10**9
_LARGEST = (1 << 63) - 1
_NO_OWNER = (1 << 32) - 1
_BEGIN_SIZE = 1 << 13
_COMMENT, _PATH, _LINK, _TIME, _SIZE = b"comment", b"path", b"linkpath", b"mtime", b"size"
_DUMPDIR = b"GNU.dumpdir"


class What(Enum):
    """The kinds of members; a member of any other kind is refused."""

    FILE = stat.S_IFREG
    DIRECTORY = stat.S_IFDIR
    SYMBOLIC_LINK = stat.S_IFLNK
    HARD_LINK = 0


_WHAT = {
    Type.FILE: What.FILE,
    Type.OLD_FILE: What.FILE,
    Type.CONTIGUOUS: What.FILE,
    Type.DIRECTORY: What.DIRECTORY,
    Type.GNU_DUMPDIR: What.DIRECTORY,
    Type.SYMBOLIC_LINK: What.SYMBOLIC_LINK,
    Type.HARD_LINK: What.HARD_LINK,
}


class Content:
    """The bytes of a member: pieces, which can be taken once, before the next member is."""

    def __init__(self, stream: Stream, name: bytes, size: int) -> None:
        self._stream = stream
        self._name = name
        self._left = size
        self._padding = -size % BLOCK_SIZE

    def __iter__(self) -> Iterator[memoryview]:
        while self._left:
            piece = self._stream.some(min(self._left, PIECE_SIZE))
            if not piece:
                # the caller that takes the pieces would not know which archive to name
                raise self._cut_short()
            self._left -= len(piece)
            yield piece

    def read(self, limit: int) -> bytes:
        """Return all, which must not be more than *limit* bytes."""
        if self._left > limit:
            raise ValueError(f"{show(self._name)} has {self._left} bytes where few are expected")
        return b"".join(self)

    def skip(self) -> None:
        """Pass over the bytes that were not taken, and the padding of the last block."""
        if not self._stream.skip(self._left):
            raise self._cut_short()
        self._left = 0
        self._stream.read(self._padding)
        self._padding = 0

    def _cut_short(self) -> IntegrityError:
        return damaged(self._stream.archive, f"{show(self._name)} is cut short")


@dataclass(frozen=True, kw_only=True)
class Member:
    """One entry of an archive."""

    path: str  # below the root; "": the root
    what: What  # its kind
    status: os.stat_result  # mode, owner, size and time
    content: Content  # its bytes
    link: str = ""  # text of a symbolic link, or path of the target of a hard link
    dumpdir: Dumpdir | None = None  # of a directory in an archive of GNU tar; None: there is none


def members(archive: Archive, advance: Advance) -> Generator[Member, None, None]:
    """Yield what *archive* holds; when all is taken, it has been compared with its seal.

    A reader that may not take all closes it: a thread reads ahead, and must not be left to the
    garbage collector, which may run in a thread that is just being started and waits for this one.
    Raises IntegrityError where it is missing, damaged, cut short, or not fit to be unpacked;
    BackupError if it cannot be read.
    """
    with _reading(archive, advance) as (stored, reader):
        while member := reader.next():
            yield member
        reader.check_rest()
        stored.check_seal()


def glances(archive: Archive) -> Generator[Member, None, None]:
    """Yield what *archive* holds, without reading more of it than is asked for, if it can be.

    It is not compared with its seal.  To be closed, and raises, as members.
    """
    with explaining(archive), ExitStack() as stack:
        if archive.compressed:
            stored = stack.enter_context(closing(Stored(archive, ignore)))
            stream = Stream(archive, ahead(stored.pieces()))
        else:
            stream = Seeking(archive)
        stack.enter_context(closing(stream))
        reader = Reader(stream, sealed=True)
        while member := reader.next():
            yield member


def mark_of(archive: Archive) -> ArchiveMark | None:
    """Return what the begin of *archive* says, None if it is not ours; raises as members."""
    with (
        explaining(archive),
        closing(Stored(archive, ignore)) as stored,
        # no thread, and no more than the begin
        closing(Stream(archive, stored.pieces(_BEGIN_SIZE))) as stream,
    ):
        reader = Reader(stream, sealed=stored.seal is not None)
        reader.next()
        return reader.mark


@contextmanager
def _reading(archive: Archive, advance: Advance) -> Iterator[tuple[Stored, Reader]]:
    """Open *archive*; say in the body's errors which one it was."""
    with (
        explaining(archive),
        closing(Stored(archive, advance)) as stored,
        closing(Stream(archive, ahead(stored.pieces()))) as stream,
    ):
        yield stored, Reader(stream, sealed=stored.seal is not None)


@dataclass
class Extras:
    """Extended headers before the header of a member."""

    name: bytes | None = None  # long name; None: not given
    link: bytes | None = None  # long target of a link; None: not given
    records: dict[bytes, bytes] = field(default_factory=dict)  # of pax, by keyword


class Reader:
    """Takes a stream apart.  Raises ValueError where it cannot."""

    def __init__(self, stream: Stream, *, sealed: bool) -> None:
        self.stream = stream
        self.mark: ArchiveMark | None = None
        self._is_empty = True
        self._sealed = sealed
        self._content = Content(stream, b"", 0)

    def next(self) -> Member | None:
        """Return the next member, None after the last; unread bytes of the one before are lost.

        Each archive holds the directory of the blobstorage at least.  After a bad disk or a power
        cut an archive may consist of zeros, which tar takes for an end: one without a member is
        damaged.
        """
        extras = Extras()
        while True:
            self._content.skip()
            header = self._header()
            if header is None:
                if self._is_empty:
                    raise ValueError("it holds nothing but its end")
                return None
            self._is_empty = False
            self._content = Content(self.stream, header.name, header.size)
            if not self._take(header, extras):
                return self._member(header, extras)

    def _header(self) -> TarHeader | None:
        block = self.stream.read(BLOCK_SIZE)
        if not block:
            raise ValueError("its end is missing")
        if block != bytes(BLOCK_SIZE):
            return headers.decode(block)
        if self.stream.read(BLOCK_SIZE) != block:
            raise ValueError("its end is damaged")
        return None

    def check_rest(self) -> None:
        """Read the bytes after the end of the archive.  Raises ValueError if that was no end.

        In our archives only the seal, which is not in the stream, follows.  Other tars fill the
        last record with zeros.
        """
        allowed = 0 if self.mark else RECORD_SIZE - 1
        size = 0
        while piece := self.stream.some(PIECE_SIZE):
            size += len(piece)
            if size > allowed or any(piece):
                raise ValueError("bytes follow the mark of its end")

    def _take(self, header: TarHeader, extras: Extras) -> bool:
        """Note what belongs to the next header; False if this is the header of a member."""
        if header.type is Type.EXTENDED:
            limit = gnu.SIZE_LIMIT  # GNU tar's POSIX format puts lists of directories there
            extras.records = headers.parse_records(self._content.read(limit))
        elif header.type is Type.GLOBAL:
            records = headers.parse_records(self._content.read(_RECORDS_LIMIT))
            self._note_mark(records.get(_COMMENT, b""))
        elif header.type is Type.GNU_LONG_NAME:
            extras.name = self._content.read(_RECORDS_LIMIT).rstrip(b"\0")
        elif header.type is Type.GNU_LONG_LINK:
            extras.link = self._content.read(_RECORDS_LIMIT).rstrip(b"\0")
        else:
            return False
        return True

    def _note_mark(self, comment: bytes) -> None:
        self.mark = parse_mark(comment) or self.mark
        if self.mark and not self._sealed:
            raise ValueError("its seal is missing or damaged")

    def _member(self, header: TarHeader, extras: Extras) -> Member:
        records = extras.records
        name = records.get(_PATH, extras.name or header.name)
        what = _WHAT.get(header.type)
        if what is None or any(key.startswith(b"GNU.sparse") for key in records):
            kind = header.type.name.lower().replace("_", " ")
            raise ValueError(f"{show(name)} is a {kind}, which no blobstorage holds")
        size = int(records.get(_SIZE, header.size))
        self._content = Content(self.stream, name, size)
        dumpdir = None
        if header.type is Type.GNU_DUMPDIR:
            dumpdir = Dumpdir(self._content.read(gnu.SIZE_LIMIT))
        elif _DUMPDIR in records:
            dumpdir = Dumpdir(records[_DUMPDIR])
        elif size and what is not What.FILE:
            raise ValueError(f"{show(name)} has content, which only files have")
        path = relative(name)
        if not path and what is not What.DIRECTORY:
            raise ValueError(f"{show(name)} is no name of a file")
        return Member(
            path=path,
            what=what,
            status=_status(header, records, what, size),
            content=self._content,
            link=_link(what, records.get(_LINK, extras.link or header.link)),
            dumpdir=dumpdir,
        )


def relative(name: bytes) -> str:
    """Return the path below the root that *name* is; raises ValueError for one that leads out."""
    names = [part for part in name.split(b"/") if part not in (b"", b".")]
    if not name or name.startswith(b"/") or b".." in names or b"\0" in name:
        raise ValueError(f"{show(name)} does not lie in the blobstorage")
    return os.fsdecode(b"/".join(names))


def _link(what: What, text: bytes) -> str:
    if what is What.HARD_LINK:
        return relative(text)
    return os.fsdecode(text) if what is What.SYMBOLIC_LINK else ""


def _status(
    header: TarHeader, records: dict[bytes, bytes], what: What, size: int
) -> os.stat_result:
    """Return what os.stat would say of the member; its owner is the one that is meant here.

    Raises ValueError for numbers that no file can have.
    """
    time = headers.parse_time(records[_TIME]) if _TIME in records else header.mtime * _SECOND
    seconds = time // _SECOND
    # no blob needs more rights than its owner has
    mode = header.mode & (0o777 if what is What.FILE else 0o7777)
    uid, gid = user_id(header.user, header.uid), group_id(header.group, header.gid)
    # the kernel keeps nanoseconds and sizes in 64 bits with a sign, and owners in 32 without
    owned = min(uid, gid) >= 0 and max(uid, gid) < _NO_OWNER
    if not (0 <= size <= _LARGEST and abs(time) <= _LARGEST and owned):
        numbers = f"size {size}, time {time}, owner {uid}:{gid}"
        raise ValueError(f"a member has impossible values: {numbers}")
    return os.stat_result(
        (mode | what.value, 0, 0, 1, uid, gid, size, seconds, seconds, seconds),
        {"st_atime_ns": time, "st_mtime_ns": time},
    )
