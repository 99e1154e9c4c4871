"""From the members of archives to a tree of blobs, in which nobody else writes.

Nothing is followed: each directory on the way to a name is one that was made here, or it
is an error.  A file is always a new one, never bytes written into what is there, since that
may be linked to what is live.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from collective.recipe.backup.blobs.archives.gnu import D, Dumpdir, show
from collective.recipe.backup.blobs.archives.reading import Member, What, relative
from collective.recipe.backup.blobs.copying import leads_out, regular, unchanged
from collective.recipe.backup.blobs.layout import Kind, Layout, blob_of, walk
from collective.recipe.backup.blobs.sets import Copied
from collective.recipe.backup.files import Files
from collective.recipe.backup.times import Tid

_PIECE_SIZE = 1 << 20


class Refused(Exception):
    """A member does not fit what is there, or would reach out of the tree."""


class Unpacking:
    """Unpacks archives, oldest first, into *target*, which is an empty directory.

    A blob that *live* has already is linked, once its bytes are compared.
    """

    def __init__(self, target: Path, live: Path | None, until: Tid, files: Files) -> None:
        self._target = target
        self._live = live
        self._until = until
        self._files = files
        self._made: list[str] = []
        self._placed: set[int] | None = None
        self._layout: Layout | None = None
        self._aside: Path | None = None
        self._doubtful: set[str] = set()
        self._moved = self._links = False
        self._written = self._linked = self._size = self._foreign = 0

    def begin_delta(self, layout: Layout | None) -> None:
        """Expect an incremental archive, which may replace what earlier ones brought.

        Where a *layout* is given, blobs come where that has them.
        """
        self._placed = set()
        self._doubtful = set()
        self._layout = layout

    def add(self, member: Member) -> None:
        """Unpack one member."""
        if member.what is What.DIRECTORY:
            self._add_directory(member)
            return
        path, blob = member.path, blob_of(member.path)
        if blob and blob.tid > self._until:
            return
        if blob and self._layout:
            path = self._layout.path(blob)
        self._enter(os.path.dirname(path))
        self._make_way(path)
        if member.what is What.HARD_LINK:
            self._add_hard_link(path, member.link)
        elif member.what is What.SYMBOLIC_LINK:
            self._add_symbolic_link(path, member.link)
        elif not (blob and self._live and self._take_live(path, member)):
            self._write(path, member.status, member.content)
        self._foreign += not blob

    def finish(self) -> Copied:
        """Return what was done.  Raises Refused if something was left half done."""
        if self._aside:
            raise Refused("a directory was renamed half")
        if self._moved and self._links:
            for entry in walk(self._target):
                if entry.kind in (Kind.LINK, Kind.IMPOSTOR):
                    self._check_link(entry.path, os.readlink(self._target / entry.path))
        return Copied(
            files=self._written, linked=self._linked, size=self._size, foreign=self._foreign
        )

    # directories

    def _add_directory(self, member: Member) -> None:
        if not member.path:
            self._files.make_directory_like(self._target, member.status)
        new = self._enter(member.path, member.status)
        if member.dumpdir:
            self._rename(member.dumpdir)
            if not new:
                self._purge(member.path, member.dumpdir)
            self._check_unchanged(member.path, member.dumpdir)

    def _enter(self, path: str, like: os.stat_result | None = None) -> bool:
        """Make the directory *path* as far as it is not there; True if it was not."""
        names = path.split("/")
        if not path or (like is None and names == self._made[: len(names)]):
            return False
        common = len(os.path.commonprefix([self._made, names]))
        new = False
        for depth in range(min(common, len(names) - 1), len(names)):
            last = depth == len(names) - 1
            new = self._make_directory("/".join(names[: depth + 1]), like if last else None)
        self._made = names
        return new

    def _make_directory(self, path: str, like: os.stat_result | None) -> bool:
        place = self._target / path
        try:
            there = place.lstat()
        except FileNotFoundError:
            there = None
        if there and not stat.S_ISDIR(there.st_mode):
            raise Refused(f"{_shown(path)} is no directory, although something lies below it")
        if like:
            self._files.make_directory_like(place, like)
        elif not there:
            self._files.make_directory(place, 0o700)
        return there is None

    def _rename(self, dumpdir: Dumpdir) -> None:
        """Rename what was renamed at the source, instead of unpacking it again.

        GNU tar knows directories by their inodes, which are used again.  So it calls it a
        rename if a pack has removed one and ZODB then made another, and some of these make
        no sense here.  They do no harm as long as all that the other one holds is new.
        """
        for source, target in dumpdir.renames:
            self._made = []
            if target is None:
                self._set_aside(source)
                continue
            path = _path(target)
            place = self._aside if source is None else self._directory(_path(source))
            if source is None:
                self._aside = None
            self._enter(os.path.dirname(path))
            if place is None or os.path.lexists(self._target / path):
                self._doubtful.add(path)
                if place and source is None:
                    self._files.clear(place)
                continue
            if place in (self._target / path).parents:
                raise Refused(f"{_shown(path)} was renamed into itself")
            self._files.rename(place, self._target / path)
            self._moved = True

    def _set_aside(self, source: bytes | None) -> None:
        """Rename to a temporary name, until the other half of a swap is done."""
        place = self._directory(_path(source or b""))
        if self._aside:
            raise Refused("a directory was renamed half")
        if place:
            self._aside = self._files.partial_name(self._target / "renamed")
            self._files.rename(place, self._aside)

    def _directory(self, path: str) -> Path | None:
        return self._target / path if self._is(path, stat.S_IFDIR) else None

    def _purge(self, path: str, dumpdir: Dumpdir) -> None:
        """Remove what was deleted at the source."""
        with os.scandir(os.fsencode(self._target / path)) as entries:
            gone = [
                entry.name
                for entry in entries
                if (letter := dumpdir.names.get(entry.name)) is None
                or (letter == D) != entry.is_dir(follow_symlinks=False)
            ]
        for name in gone:
            place = self._target / path / os.fsdecode(name)
            if place != self._aside:
                self._files.clear(place)
                self._made = []

    def _check_unchanged(self, path: str, dumpdir: Dumpdir) -> None:
        """See to it that earlier archives have brought what this one takes for granted."""
        doubtful = not self._doubtful.isdisjoint(_with_parents(path))
        for name in dumpdir.unchanged():
            below = f"{path}/{os.fsdecode(name)}" if path else os.fsdecode(name)
            blob = blob_of(below)
            if blob and blob.tid > self._until:
                continue
            if doubtful:
                raise Refused(f"it does not tell which {_shown(below)} is meant")
            if not os.path.lexists(os.path.join(self._target, below)):
                raise Refused(f"an earlier archive that holds {_shown(below)} is missing")

    # files

    def _make_way(self, path: str) -> None:
        """See to it that *path*, whose directory is there, is free."""
        key = hash(path)
        place = os.path.join(self._target, path)
        if os.path.lexists(place):
            if self._placed is None or key in self._placed:
                raise Refused(f"it holds {_shown(path)} twice")
            if os.path.isdir(place) and not os.path.islink(place):
                raise Refused(f"{_shown(path)} is a directory in an earlier archive")
            self._files.remove(Path(place))
        if self._placed is not None:
            self._placed.add(key)

    def _write(self, path: str, like: os.stat_result, pieces: Iterable[memoryview]) -> None:
        with self._files.filling(self._target / path, like) as writer:
            for piece in pieces:
                writer.write(piece)
        self._written += 1
        self._size += writer.size

    def _take_live(self, path: str, member: Member) -> bool:
        """Link to the live file if it is the same; False if nothing is read or there is none.

        If its bytes turn out to differ, the file is written all the same.
        """
        if self._live is None:
            return False
        place = self._live / path
        there = regular(place)
        if there is None or not unchanged(there, member.status):
            return False
        try:
            descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # the live one may be what is damaged
            return False
        try:
            pieces = _unlike(member.content, descriptor)
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

    def _add_hard_link(self, path: str, source: str) -> None:
        if not self._is(source, stat.S_IFREG):
            raise Refused(f"{_shown(path)} is a link to {_shown(source)}, which is no file here")
        self._link(self._target / source, path)

    def _add_symbolic_link(self, path: str, text: str) -> None:
        self._check_link(path, text)
        self._files.symlink(text, self._target / path)
        self._links = True
        self._written += 1

    def _check_link(self, path: str, text: str) -> None:
        if not text or leads_out(path, text):
            raise Refused(f"{_shown(path)} is a symbolic link out of the blobstorage")

    def _is(self, path: str, kind: int) -> bool:
        """Tell whether *path* is of this kind and lies in real directories."""
        names = path.split("/")
        kinds = [stat.S_IFDIR] * (len(names) - 1) + [kind]
        for depth, expected in enumerate(kinds):
            try:
                status = os.lstat(self._target / "/".join(names[: depth + 1]))
            except FileNotFoundError:
                return False
            if stat.S_IFMT(status.st_mode) != expected:
                return False
        return bool(path)


def _unlike(content: Iterable[memoryview], descriptor: int) -> Iterator[memoryview] | None:
    """Return all of *content* if the open file differs, None if it is the same."""
    pieces = iter(content)
    same = 0
    for piece in pieces:
        if os.pread(descriptor, len(piece), same) != piece:
            return chain(_begin(descriptor, same), [piece], pieces)
        same += len(piece)
    return None


def _begin(descriptor: int, size: int) -> Iterator[memoryview]:
    """Yield the first *size* bytes of an open file, which were compared."""
    for offset in range(0, size, _PIECE_SIZE):
        yield memoryview(os.pread(descriptor, min(size - offset, _PIECE_SIZE), offset))


def _with_parents(path: str) -> Iterator[str]:
    """Yield *path* and the directories that it lies in."""
    while path:
        yield path
        path = os.path.dirname(path)


def _path(name: bytes) -> str:
    try:
        return relative(name)
    except ValueError as error:
        raise Refused(str(error)) from error


def _shown(path: str) -> str:
    return show(os.fsencode(path))
