"""The tree on a disk to which archives are unpacked; no other process writes there.

A link to the room of another disk (see ``contents``), which was there before, counts as the
directory that it leads to.

A file is always a new one; bytes are never written into an existing file, since that may be linked
to a live one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from collective.recipe.backup.blobs.archives.archivereading import Member
from collective.recipe.backup.blobs.archives.ground import Ground, Refused, shown
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.digesting import regular, unchanged
from collective.recipe.backup.blobs.layout import Kind, Layout, walk
from collective.recipe.backup.blobs.marker import laid_out, marked
from collective.recipe.backup.contents import laid_out_in
from collective.recipe.backup.errors import BackupError, naming
from collective.recipe.backup.files import Files

_PIECE_SIZE = 1 << 20
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class DiskGround(Ground):
    """The directories below *root*, which is one itself.

    A blob that *live* has already is linked, once its bytes are compared (None: nothing is).
    """

    def __init__(self, root: Path, live: Path | None, files: Files) -> None:
        self._root = root
        self._live = live
        self._files = files
        self._rooms = laid_out_in(root) or frozenset()
        self._made: list[str] = []
        self._aside: Path | None = None
        self._written = self._linked = self._size = 0

    def sum(self) -> Copied:
        """Return the numbers of written and linked files."""
        return Copied(files=self._written, linked=self._linked, size=self._size)

    def enter(self, path: str, like: os.stat_result | None = None) -> bool:
        """Make the directory *path*; see Ground."""
        if not path:
            if like is not None:
                self._files.make_directory_like(self._root, like)
            return False
        names = path.split("/")
        if like is None and names == self._made[: len(names)]:
            return False
        common = len(os.path.commonprefix([self._made, names]))
        new = False
        for depth in range(min(common, len(names) - 1), len(names)):
            last = depth == len(names) - 1
            new = self._make("/".join(names[: depth + 1]), like if last else None)
        self._made = names
        return new

    def _make(self, path: str, like: os.stat_result | None) -> bool:
        place = self._root / path
        try:
            there = place.lstat()
        except FileNotFoundError:
            there = None
        if there and not stat.S_ISDIR(there.st_mode) and path not in self._rooms:
            raise Refused(f"{shown(path)} is no directory, although something lies below it")
        if like:
            self._files.make_directory_like(place, like)
        elif not there:
            self._files.make_directory(place, 0o700)
        return there is None

    def _changed(self) -> None:
        """Forget which directories are known: something was removed or renamed."""
        self._made = []

    def holds(self, path: str) -> bool:
        """Tell whether something lies at *path*; see Ground."""
        return os.path.lexists(os.path.join(self._root, path))

    def has_directory(self, path: str) -> bool:
        """Tell whether *path* is a directory; see Ground."""
        return self._is(path, stat.S_IFDIR)

    def has_file(self, path: str) -> bool:
        """Tell whether *path* is a regular file."""
        return self._is(path, stat.S_IFREG)

    def _is(self, path: str, kind: int) -> bool:
        names = path.split("/")
        kinds = [stat.S_IFDIR] * (len(names) - 1) + [kind]
        for depth, expected in enumerate(kinds):
            place = "/".join(names[: depth + 1])
            if place in self._rooms and expected == stat.S_IFDIR:
                continue
            try:
                status = os.lstat(self._root / place)
            except FileNotFoundError:
                return False
            if stat.S_IFMT(status.st_mode) != expected:
                return False
        return bool(path)

    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        """Yield the names in the directory *path*; see Ground."""
        with os.scandir(self._root / path) as entries:
            for entry in entries:
                if self._aside is None or entry.path != os.fspath(self._aside):
                    is_room = os.path.join(path, entry.name) in self._rooms
                    yield entry.name, is_room or entry.is_dir(follow_symlinks=False)

    def links(self) -> Iterator[tuple[str, str]]:
        """Yield each symbolic link but those to rooms, with its text."""
        for entry in walk(self._root):
            if entry.kind in (Kind.LINK, Kind.IMPOSTOR) and entry.path not in self._rooms:
                yield entry.path, os.readlink(self._root / entry.path)

    def marked(self) -> Layout | None:
        """Return what the marker says; see Ground."""
        return marked(self._root)

    def laid_out(self) -> Layout:
        """Return the layout of the tree."""
        return laid_out(self._root)

    # changes

    def write(self, path: str, member: Member, *, is_blob: bool) -> None:
        """Write or link the file *member* to *path*; see Ground."""
        live = self._live / path if is_blob and self._live else None
        if live is None or not self._take_live(live, path, member):
            self._write(path, member.status, member.content)

    def _write(self, path: str, like: os.stat_result, pieces: Iterable[memoryview]) -> None:
        with self._files.filling(self._root / path, like) as writer:
            for piece in pieces:
                writer.write(piece)
        self._written += 1
        self._size += writer.size

    def _take_live(self, place: Path, path: str, member: Member) -> bool:
        """Link to the live file if it is equal; False if it clearly differs.

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

    def add_hard_link(self, source: str, path: str) -> None:
        """Link or copy the file *source* to *path*; see Ground."""
        self._link(self._root / source, path)

    def _link(self, source: Path, path: str) -> None:
        if self._files.link(source, self._root / path):
            self._linked += 1
        else:
            self._size += self._files.copy(source, self._root / path, sync=False)
            self._written += 1

    def add_symbolic_link(self, member: Member, path: str) -> None:
        """Make the symbolic link *member* at *path*."""
        self._files.symlink(member.link, self._root / path)
        self._written += 1

    def remove(self, path: str) -> None:
        """Remove a file or link; links to it elsewhere stay valid."""
        self._files.remove(self._root / path)

    def clear(self, path: str) -> None:
        """Remove *path*, with all below it."""
        self._files.clear(self._root / path)
        self._changed()

    def move(self, source: str, path: str) -> None:
        """Rename the directory *source* to *path*."""
        self._files.rename(self._root / source, self._root / path)
        self._changed()

    @property
    def has_aside(self) -> bool:
        """Tell whether a directory has a temporary name."""
        return self._aside is not None

    def set_aside(self, source: str) -> None:
        """Give the directory *source* a temporary name."""
        self._aside = self._files.partial_name(self._root / "renamed")
        self._files.rename(self._root / source, self._aside)
        self._changed()

    def take_back(self, path: str) -> None:
        """Rename the entry that was set aside to *path*."""
        if self._aside is not None:
            self._files.rename(self._aside, self._root / path)
        self._aside = None
        self._changed()

    def drop_aside(self) -> None:
        """Remove the entry that was set aside, if there is one."""
        if self._aside is not None:
            self._files.clear(self._aside)
        self._aside = None


def _unlike(
    content: Iterable[memoryview], place: Path, descriptor: int
) -> Iterator[memoryview] | None:
    """Return all of *content* if the file at *place*, which is open, differs; else None."""
    pieces = iter(content)
    same = 0
    for piece in pieces:
        found = b""
        with suppress(OSError):  # a file that cannot be read is not the same
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
