"""The tree that unpacking would make, in memory, with the archive of each file.

It takes some 400 bytes for each file; see MemoryGround.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import closing
from struct import Struct
from sys import intern
from typing import NamedTuple

from blake3 import blake3

from collective.recipe.backup.blobs.archives.archivenames import Archive
from collective.recipe.backup.blobs.archives.archivereading import Member
from collective.recipe.backup.blobs.archives.ground import Ground, Refused, shown
from collective.recipe.backup.blobs.archives.unpacking import Read
from collective.recipe.backup.blobs.layout import (
    MARKER,
    Entry,
    Kind,
    Layout,
    layout_at,
    walk_unwritten,
)
from collective.recipe.backup.blobs.marker import SIZE_LIMIT, spelled

_PACKED = Struct(">QqII32s")


class Origin(NamedTuple):
    """The place of the bytes of a file."""

    archive: int  # which archive of the chain, from 0
    member: int  # which member of that, from 0


class Traits(NamedTuple):
    """The facts about a file; packed into bytes, since a million may be in memory."""

    size: int  # bytes
    time: int  # of its last change, nanoseconds since 1970
    origin: Origin  # archive that has its bytes
    digest: bytes  # BLAKE3; zeros: not computed yet

    def pack(self) -> bytes:
        """Return all of it as bytes."""
        return _PACKED.pack(self.size, self.time, *self.origin, self.digest)

    @classmethod
    def of(cls, packed: bytes) -> Traits:
        """Return what *packed* says."""
        size, time, archive, member, digest = _PACKED.unpack(packed)
        return cls(size, time, Origin(archive, member), digest)


class Link(NamedTuple):
    """A symbolic link."""

    text: str  # its target
    time: int  # of its last change, nanoseconds since 1970
    origin: Origin  # archive that has it


_File = bytes  # Traits, packed
_Directory = dict[str, "_Node"]
_Node = _Directory | _File | Link


class MemoryGround(Ground):
    """A tree of which nothing is written.

    With *digests* the files are read, and else passed over.  A blob takes some 400 bytes, half
    of them for the directory that ZODB makes for it.
    """

    def __init__(self, *, digests: bool) -> None:
        self._digests = digests
        self._top: _Directory = {}
        self._aside: _Directory | None = None
        self._marker = b""
        self._archive = self._member = -1

    def noting(self, read: Read) -> Read:
        """Return what reads the archives of a chain as *read* does, and tells us where it is."""

        def noted(archive: Archive) -> Generator[Member, None, None]:
            self._archive += 1
            with closing(read(archive)) as found:
                for number, member in enumerate(found):
                    self._member = number
                    yield member

        return noted

    # the entries of the tree

    def entries(self) -> Iterator[Entry]:
        """Yield what ``layout.walk`` would find."""
        return walk_unwritten(self._kinds)

    def file(self, path: str) -> Traits | None:
        """Return what the file at *path* is, None if there is none."""
        node = self._node(path)
        return Traits.of(node) if isinstance(node, _File) else None

    def symbolic_link(self, path: str) -> Link | None:
        """Return what the symbolic link at *path* is, None if there is none."""
        node = self._node(path)
        return node if isinstance(node, Link) else None

    def _kinds(self, path: str) -> Iterator[tuple[str, Kind]]:
        for name, node in self._directory(path).items():
            if isinstance(node, dict):
                yield name, Kind.DIRECTORY
            else:
                yield name, Kind.LINK if isinstance(node, Link) else Kind.FILE

    def _node(self, path: str) -> _Node | None:
        node: _Node | None = self._top
        for name in path.split("/") if path else ():
            if not isinstance(node, dict):
                return None
            node = node.get(name)
        return node

    def _directory(self, path: str) -> _Directory:
        """Return the directory *path*, which is there."""
        node = self._node(path)
        if not isinstance(node, dict):
            raise Refused(f"{shown(path)} is no directory")
        return node

    # see Ground

    def enter(self, path: str, like: os.stat_result | None = None) -> bool:  # noqa: ARG002  Ground
        """Make the directory *path*; see Ground."""
        here, is_new = self._top, False
        names = path.split("/") if path else []
        for depth, name in enumerate(names, 1):
            node = here.get(name)
            is_new = node is None
            if node is None:
                node = here[intern(name)] = {}
            if not isinstance(node, dict):
                place = shown("/".join(names[:depth]))
                raise Refused(f"{place} is no directory, although something lies below it")
            here = node
        return is_new

    def holds(self, path: str) -> bool:
        """Tell whether something lies at *path*."""
        return self._node(path) is not None

    def has_directory(self, path: str) -> bool:
        """Tell whether *path* is a directory; see Ground."""
        return bool(path) and isinstance(self._node(path), dict)

    def has_file(self, path: str) -> bool:
        """Tell whether *path* is a regular file."""
        return isinstance(self._node(path), _File)

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        """Yield the names in the directory *path*; see Ground."""
        for name, node in self._directory(path).items():
            yield name, isinstance(node, dict)

    def links(self) -> Iterator[tuple[str, str]]:
        """Yield each symbolic link with its text."""
        for entry in self.entries():
            link = self.symbolic_link(entry.path)
            if link is not None:
                yield entry.path, link.text

    def marked(self) -> Layout | None:
        """Return what the marker says; see Ground."""
        return spelled(self._marker)

    def laid_out(self) -> Layout:
        """Return the layout of the tree."""
        blobs = (entry.path for entry in self.entries() if entry.kind is Kind.BLOB)
        return self.marked() or layout_at(next(blobs, "")) or Layout.BUSHY

    def write(self, path: str, member: Member, *, is_blob: bool) -> None:  # noqa: ARG002  Ground
        """Take note of the file *member*."""
        status = member.status
        is_marker = path == MARKER and status.st_size <= SIZE_LIMIT
        marker, digest = bytearray(), blake3()
        for piece in member.content if self._digests or is_marker else ():
            digest.update(piece)
            if is_marker:
                marker += piece
        if is_marker:
            self._marker = bytes(marker)
        seen = digest.digest() if self._digests else bytes(32)
        traits = Traits(status.st_size, status.st_mtime_ns, self._origin, seen)
        self._put(path, traits.pack())

    @property
    def _origin(self) -> Origin:
        return Origin(self._archive, self._member)

    def add_hard_link(self, source: str, path: str) -> None:
        """Take note that *path* is the file *source* as well."""
        node = self._node(source)
        if node is not None:
            self._put(path, node)

    def add_symbolic_link(self, member: Member, path: str) -> None:
        """Take note of the symbolic link *member*."""
        self._put(path, Link(member.link, member.status.st_mtime_ns, self._origin))

    def remove(self, path: str) -> None:
        """Remove *path*."""
        self.clear(path)

    def clear(self, path: str) -> None:
        """Remove *path*, with all below it."""
        self._take(path)
        if path == MARKER:
            self._marker = b""

    def move(self, source: str, path: str) -> None:
        """Rename the directory *source* to *path*."""
        self._put(path, self._take(source))

    @property
    def has_aside(self) -> bool:
        """Tell whether a directory was set aside."""
        return self._aside is not None

    def set_aside(self, source: str) -> None:
        """Take the directory *source* out of the tree."""
        self._aside = self._directory(source)
        self._take(source)

    def take_back(self, path: str) -> None:
        """Move the entry that was set aside to *path*."""
        if self._aside is not None:
            self._put(path, self._aside)
        self._aside = None

    def drop_aside(self) -> None:
        """Remove the entry that was set aside."""
        self._aside = None

    def _put(self, path: str, node: _Node) -> None:
        place, _slash, name = path.rpartition("/")
        self._directory(place)[name] = node

    def _take(self, path: str) -> _Node:
        place, _slash, name = path.rpartition("/")
        return self._directory(place).pop(name)
