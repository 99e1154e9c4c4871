"""From the members of archives to a tree of blobs.

A file is always a new one, never bytes written into what is there, since that may be
linked to what is live.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from collective.recipe.backup.blobs.archives.ground import Ground, Refused, shown
from collective.recipe.backup.blobs.archives.increment import Increment
from collective.recipe.backup.blobs.archives.reading import Member, What
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.digesting import regular, unchanged
from collective.recipe.backup.blobs.layout import MARKER, Kind, Layout, blob_of, walk
from collective.recipe.backup.blobs.marker import marked
from collective.recipe.backup.blobs.refusing import leads_out
from collective.recipe.backup.errors import BackupError, naming
from collective.recipe.backup.files import Files
from collective.recipe.backup.times import Tid

_PIECE_SIZE = 1 << 20
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class Unpacking:
    """Unpacks archives, oldest first, into *target*, which is an empty directory.

    A blob that *live* has already is linked, once its bytes are compared.
    """

    def __init__(self, target: Path, live: Path | None, until: Tid, files: Files) -> None:
        self._target = target
        self._live = live
        self._until = until
        self._files = files
        self._ground = Ground(target, files)
        self._increment = Increment(self._ground, until, files)
        self._placed: set[int] | None = None
        self._layout: Layout | None = None
        self._follows_marker = False
        self._elsewhere: set[int] = set()
        self._moved = self._links = False
        self._written = self._linked = self._size = self._foreign = self._held = 0

    def begin_full(self) -> None:
        """Expect a full archive of ours, which says early what layout its blobs are to have."""
        self._follows_marker = True

    def begin_delta(self, layout: Layout | None) -> None:
        """Expect an incremental archive, which may replace what earlier ones brought.

        Where a *layout* is given, blobs come where that has them.
        """
        self._increment = Increment(self._ground, self._until, self._files)
        self._placed = set()
        self._layout = layout

    def add(self, member: Member) -> None:
        """Unpack one member.  Raises Refused for one that cannot be."""
        if member.what is What.DIRECTORY:
            self._add_directory(member)
            return
        path, blob = member.path, blob_of(member.path)
        if blob and blob.tid > self._until:
            return
        self._held += member.status.st_size
        if blob and self._layout:
            path = self._layout.path(blob)
        self._ground.enter(os.path.dirname(path))
        if path != member.path:
            # ZODB did not find it where it lay; what it did find comes first
            if self._placed is None and self._ground.holds(path):
                return
            self._elsewhere.add(hash(path))
        self._make_way(path)
        self._put(path, member, is_blob=blob is not None)
        if self._follows_marker and path == MARKER:
            self._layout = marked(self._target)

    def _put(self, path: str, member: Member, *, is_blob: bool) -> None:
        """Write or link what is no directory to *path*, which is free."""
        if member.what is What.HARD_LINK:
            self._add_hard_link(path, member.link)
        elif member.what is What.SYMBOLIC_LINK:
            self._add_symbolic_link(path, member.link)
        elif not (is_blob and self._live and self._take_live(self._live / path, path, member)):
            self._write(path, member.status, member.content)
        self._foreign += not is_blob

    def end_archive(self) -> None:
        """See whether the tree is as it should be after an archive; raises Refused."""
        self._increment.finish()
        self._moved |= self._increment.moved
        if self._moved and self._links:
            for entry in walk(self._target):
                is_link = entry.kind in (Kind.LINK, Kind.IMPOSTOR)
                if is_link and entry.path not in self._ground.rooms:
                    self._check_link(entry.path, os.readlink(self._target / entry.path))

    def sum(self) -> Copied:
        """Return what was done; *whole* are the bytes of all files that the archives hold."""
        return Copied(
            files=self._written,
            linked=self._linked,
            size=self._size,
            foreign=self._foreign,
            whole=self._held,
        )

    def _add_directory(self, member: Member) -> None:
        if not member.path:
            self._files.make_directory_like(self._target, member.status)
        new = self._ground.enter(member.path, member.status)
        if member.dumpdir:
            self._increment.follow(member.path, member.dumpdir, new=new)

    def _make_way(self, path: str) -> None:
        """See to it that *path*, whose directory is there, is free."""
        key = hash(path)
        if self._ground.holds(path):
            is_second = self._placed is None or key in self._placed
            if is_second and key not in self._elsewhere:
                raise Refused(f"it holds {shown(path)} twice")
            if self._ground.directory(path):
                raise Refused(f"{shown(path)} is a directory in an earlier archive")
            self._files.remove(self._target / path)
        if self._placed is not None:
            self._placed.add(key)

    def _write(self, path: str, like: os.stat_result, pieces: Iterable[memoryview]) -> None:
        with self._files.filling(self._target / path, like) as writer:
            for piece in pieces:
                writer.write(piece)
        self._written += 1
        self._size += writer.size

    def _take_live(self, place: Path, path: str, member: Member) -> bool:
        """Link to the live file if it is the same; False if that looks different at once.

        If only its bytes turn out to differ, the file is written all the same.
        """
        there = regular(place)
        if there is None or not unchanged(there, member.status):
            return False
        try:
            descriptor = os.open(place, _FLAGS)
        except OSError:  # the live one may be what is damaged
            return False
        try:
            pieces = _unlike(member.content, place, descriptor)
            if pieces:
                self._write(path, member.status, pieces)
            else:
                self._link(place, path)
        finally:
            os.close(descriptor)
        return True

    def _link(self, source: Path, path: str) -> None:
        if self._files.link(source, self._target / path):
            self._linked += 1
        else:
            self._size += self._files.copy(source, self._target / path, sync=False)
            self._written += 1

    def _add_hard_link(self, path: str, link: str) -> None:
        source = self._ground.file(link)
        if source is None:
            raise Refused(f"{shown(path)} is a link to {shown(link)}, which is no file here")
        self._link(source, path)

    def _add_symbolic_link(self, path: str, text: str) -> None:
        self._check_link(path, text)
        self._files.symlink(text, self._target / path)
        self._links = True
        self._written += 1

    def _check_link(self, path: str, text: str) -> None:
        if not text or leads_out(path, text):
            raise Refused(f"{shown(path)} is a symbolic link out of the blobstorage")


def _unlike(
    content: Iterable[memoryview], place: Path, descriptor: int
) -> Iterator[memoryview] | None:
    """Return all of *content* if the file at *place*, which is open, differs; else None."""
    pieces = iter(content)
    same = 0
    for piece in pieces:
        found = b""
        with suppress(OSError):  # what cannot be read is not the same
            found = os.pread(descriptor, len(piece), same)
        if found != piece:
            return chain(_begin(place, descriptor, same), [piece], pieces)
        same += len(piece)
    return None


def _begin(place: Path, descriptor: int, size: int) -> Iterator[memoryview]:
    """Yield the first *size* bytes of an open file, which were compared.

    Raises BackupError if they are gone by now.
    """
    offset = 0
    while offset < size:
        with naming(place):
            piece = os.pread(descriptor, min(size - offset, _PIECE_SIZE), offset)
        if not piece:
            raise BackupError(
                "a live blob got shorter while it was read",
                where=place,
                hint="blobs never change: find out what writes there, then restore again",
            )
        yield memoryview(piece)
        offset += len(piece)
