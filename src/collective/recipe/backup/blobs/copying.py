"""Copy a tree: large files by two threads, by hard links where another tree has the same.

The caller says what to copy, entry by entry, and gets to know what became of each in the
same order.  Directories are made on the way, since each must be there before what is in
it.  So are small files: each takes a dozen system calls of some microseconds, and threads
that hand the interpreter to each other around each of them take twice as long as one.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from blake3 import blake3

from collective.recipe.backup.blobs.checksums import Checksum
from collective.recipe.backup.blobs.layout import MARKER, Entry, Kind
from collective.recipe.backup.errors import BackupError, naming
from collective.recipe.backup.files import Files

THREADS = 2
AHEAD = 256
"""How many results may wait for one before them."""
LARGE = 1 << 20
"""Bytes of a file that is worth a thread of its own."""

_SECOND = 10**9
_READ_SIZE = 1 << 20

A = TypeVar("A")
B = TypeVar("B")


class How(Enum):
    """What became of an entry."""

    COPIED = "copied"
    LINKED = "linked"
    KEPT = "there already"
    VANISHED = "gone before it could be copied"


class Done(NamedTuple):
    """What became of an entry, and what its copy must be from now on."""

    entry: Entry
    how: How
    checksum: Checksum | None = None


class Order(NamedTuple):
    """An entry to copy, and what is known of the file that it may be linked to."""

    entry: Entry
    known: Checksum | None = None

    @property
    def size(self) -> int:
        """The size in bytes as far as is known, else 0."""
        return self.known.size or 0 if self.known else 0


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """From *source* to *target*, linking to what *earlier* has unchanged.

    Size and time tell what has, for a blob never changes.  With *doubted* they do not: damage
    was found there, so both are read and compared.
    """

    source: Path
    target: Path
    earlier: Path | None
    files: Files
    doubted: bool = False

    @cached_property
    def _from(self) -> str:
        return os.fspath(self.source)

    @cached_property
    def _to(self) -> str:
        return os.fspath(self.target)

    def run(self, orders: Iterable[Order]) -> Iterator[Done]:
        """Carry out *orders*, which come in the order of the walk; yield what became of each.

        *target* is made if it is not there.  A file that vanished at the source is
        reported as such; what cannot be copied raises BackupError or OSError.
        """
        self.files.make_directory_like(self.target, self.source.stat())
        return in_order(self.carry_out, self.on_made_ground(orders), self.is_long)

    def on_made_ground(self, orders: Iterable[Order]) -> Iterator[Order]:
        """Make the directory that each order needs, then hand it on."""
        made = ""
        for order in orders:
            path = order.entry.path
            is_directory = order.entry.kind is Kind.DIRECTORY
            place = path if is_directory else path.rpartition("/")[0]
            if place and place != made:
                self._make_directories(place, made)
                made = place
            yield order

    def _make_directories(self, place: str, made: str) -> None:
        """Make the directory *place* and those above it but those above and at *made*."""
        names, there = place.split("/"), made.split("/")
        common = 0
        while common < min(len(names), len(there)) and names[common] == there[common]:
            common += 1
        for depth in range(common, len(names)):
            self._make_directory("/".join(names[: depth + 1]))

    def _make_directory(self, path: str) -> None:
        target = f"{self._to}/{path}"
        try:
            original = os.lstat(f"{self._from}/{path}")
        except FileNotFoundError:  # what was in it will be found to be gone as well
            self.files.make_directory(Path(target))
        else:
            self.files.make_directory_like(target, original)

    def is_long(self, order: Order) -> bool:
        """Tell whether it takes long to carry out an order, as far as is known."""
        if order.known is not None:
            return order.size >= LARGE
        status = regular(f"{self._from}/{order.entry.path}")
        return status is not None and status.st_size >= LARGE

    def carry_out(self, order: Order) -> Done:
        """Copy or link one entry."""
        entry, known = order
        if entry.kind is Kind.DIRECTORY:
            return Done(entry, How.COPIED)
        refuse(entry, self.source)
        try:
            if entry.kind is Kind.LINK:
                return Done(entry, How.COPIED, self._copy_link(entry.path))
            linked = self.earlier and self._link(self.earlier, entry.path, known)
            if linked:
                return Done(entry, How.LINKED, linked)
            return Done(entry, How.COPIED, self.copy(entry.path, known))
        except FileNotFoundError:
            if os.path.lexists(self.source / entry.path):
                raise
            return Done(entry, How.VANISHED)

    def _link(self, earlier: Path, path: str, known: Checksum | None) -> Checksum | None:
        """Link to the file that *earlier* has at *path*; None if it differs or cannot be."""
        same = self.same(earlier, path, known)
        if same and self.files.link(f"{earlier}/{path}", f"{self._to}/{path}"):
            return same
        return None

    def same(self, earlier: Path, path: str, known: Checksum | None) -> Checksum | None:
        """Return what the file at *path* is in both trees, None if it differs."""
        here, there = regular(f"{self._from}/{path}"), regular(f"{earlier}/{path}")
        if here is None or there is None or not unchanged(here, there):
            return None
        if known is None or self.doubted or path == MARKER:
            # not read before, or too small to save by not reading it: trust bytes, not times
            ours, theirs = checksum_of(self.source, path), checksum_of(earlier, path)
            return ours if ours == theirs else None
        return known if known.size == here.st_size else None

    def copy(self, path: str, known: Checksum | None) -> Checksum:  # noqa: ARG002  for a restore
        """Copy the file at *path*; return what the copy is."""
        digest = blake3()
        size = self.files.copy(
            f"{self._from}/{path}", f"{self._to}/{path}", sync=False, observe=digest.update
        )
        return Checksum(path, size, digest.hexdigest())

    def _copy_link(self, path: str) -> Checksum:
        text = os.readlink(self.source / path)
        self.files.symlink(text, self.target / path)
        return link_checksum(path, text)


_COPIED = Kind.BLOB, Kind.FILE, Kind.MARKER, Kind.DIRECTORY


def refuse(entry: Entry, root: Path) -> None:
    """Raise BackupError for an entry that is not to be copied.

    A symbolic link may lead to what lies below *root*, not out of it: whoever restores a
    copy of it elsewhere would reach, and change, what was never backed up.
    """
    if entry.kind in _COPIED:
        return
    path = root / entry.path
    if entry.kind is Kind.IMPOSTOR:
        raise BackupError(
            "a symbolic link stands where a blob or a directory of blobs is expected",
            where=path,
            hint="put what it points to in its place; to spread blobs over disks, use a bind mount",
        )
    if entry.kind is Kind.SPECIAL:
        raise BackupError(
            "this is neither file, directory nor symbolic link",
            where=path,
            hint="nothing but blobs belongs here: move it away",
        )
    if entry.kind is Kind.LINK and leads_out(entry.path, os.readlink(path)):
        raise BackupError(
            "a symbolic link leads out of the blobstorage",
            where=path,
            hint="remove it, or put what it points to in its place",
        )


def leads_out(path: str, text: str) -> bool:
    """Tell whether a symbolic link at *path* with *text* may lead out of the tree."""
    if text.startswith("/"):
        return True
    names = [name for name in text.split("/") if name not in ("", ".")]
    up = 0
    while up < len(names) and names[up] == "..":
        up += 1
    # after a name, which may be a link itself, ".." can lead anywhere
    return up > path.count("/") or ".." in names[up:]


def unchanged(one: os.stat_result, other: os.stat_result) -> bool:
    """Tell whether two files, of one blob, have the same size and modification time.

    Where one file system keeps whole seconds only, those decide.
    """
    if one.st_size != other.st_size:
        return False
    here, there = one.st_mtime_ns, other.st_mtime_ns
    if here == there:
        return True
    return not (here % _SECOND and there % _SECOND) and here // _SECOND == there // _SECOND


def checksum_of(root: Path, path: str) -> Checksum:
    """Return what the file at *path* below *root* is.  A symbolic link is not followed."""
    where = root / path
    if where.is_symlink():
        return link_checksum(path, os.readlink(where))
    digest, size = blake3(), 0
    descriptor = os.open(where, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        with naming(where):
            room = min(os.fstat(descriptor).st_size + 1, _READ_SIZE)
            while data := os.read(descriptor, room):
                digest.update(data)
                size += len(data)
    finally:
        os.close(descriptor)
    return Checksum(path, size, digest.hexdigest())


def link_checksum(path: str, text: str) -> Checksum:
    """Return what a symbolic link at *path* with *text* is."""
    return Checksum(path, None, blake3(os.fsencode(text)).hexdigest())


def in_order(
    function: Callable[[A], B],
    items: Iterable[A],
    is_long: Callable[[A], bool] = lambda _item: True,
) -> Iterator[B]:
    """Yield ``function(item)`` for each item, in order; THREADS threads compute the long ones.

    At most AHEAD items are taken before the result of one is.  The first error of *items*,
    *is_long* or *function* ends it, whatever it is, when the files under way are done.
    """
    pool = ThreadPoolExecutor(THREADS)
    waiting: deque[Callable[[], B]] = deque()
    try:
        for item in items:
            if is_long(item):
                waiting.append(pool.submit(function, item).result)
            elif waiting:
                waiting.append(partial(_itself, function(item)))
            else:
                yield function(item)
            if len(waiting) > AHEAD:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()
    finally:
        pool.shutdown(cancel_futures=True)


def _itself(result: B) -> B:
    return result


def regular(path: str | Path) -> os.stat_result | None:
    """Return the status of a regular file, None if *path* is none."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None
