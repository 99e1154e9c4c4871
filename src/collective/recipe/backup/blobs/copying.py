"""Copy a tree: with two threads, by hard links where another tree has the same already.

The caller says what to copy, entry by entry, and gets to know what became of each in the
same order.  Directories are made on the way, by one thread, since each must be there
before what is in it; files are copied or linked by the others.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from blake3 import blake3

from collective.recipe.backup.blobs.checksums import Checksum
from collective.recipe.backup.blobs.layout import Entry, Kind
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files

THREADS = 2
BATCH = 32
"""How many files a thread takes at once: handing them over one by one costs more than a link."""
AHEAD = 8
"""How many batches may wait."""

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

    def run(self, orders: Iterable[Order]) -> Iterator[Done]:
        """Carry out *orders*, which come in the order of the walk; yield what became of each.

        *target* is made if it is not there.  A file that vanished at the source is
        reported as such; what cannot be copied raises BackupError or OSError.
        """
        self.files.make_directory_like(self.target, self.source.stat())
        return in_order(self.carry_out, self.on_made_ground(orders))

    def on_made_ground(self, orders: Iterable[Order]) -> Iterator[Order]:
        """Make the directory that each order needs, then hand it on."""
        made: list[str] = []
        for order in orders:
            names = order.entry.path.split("/")
            if order.entry.kind is not Kind.DIRECTORY:
                names.pop()
            if names != made[: len(names)]:
                common = len(os.path.commonprefix([made, names]))
                for depth in range(common, len(names)):
                    self._make_directory("/".join(names[: depth + 1]))
                made = names
            yield order

    def _make_directory(self, path: str) -> None:
        try:
            original = (self.source / path).lstat()
        except FileNotFoundError:  # what was in it will be found to be gone as well
            self.files.make_directory(self.target / path)
        else:
            self.files.make_directory_like(self.target / path, original)

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
        return same if same and self.files.link(earlier / path, self.target / path) else None

    def same(self, earlier: Path, path: str, known: Checksum | None) -> Checksum | None:
        """Return what the file at *path* is in both trees, None if it differs."""
        here, there = regular(f"{self.source}/{path}"), regular(f"{earlier}/{path}")
        if here is None or there is None or not unchanged(here, there):
            return None
        if known is None or self.doubted:
            # nobody has read it before: trust the bytes, not the times
            ours, theirs = checksum_of(self.source, path), checksum_of(earlier, path)
            return ours if ours == theirs else None
        return known if known.size == here.st_size else None

    def copy(self, path: str, known: Checksum | None) -> Checksum:  # noqa: ARG002  for a restore
        """Copy the file at *path*; return what the copy is."""
        digest = blake3()
        size = self.files.copy(
            self.source / path, self.target / path, sync=False, observe=digest.update
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


def in_order(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Yield ``function(item)`` for each item, in order, computed by THREADS threads.

    At most ``BATCH * AHEAD`` items are taken before their results are.  The first error of
    *items* or *function* ends it, whatever it is, when the files under way are done.
    """
    stop = threading.Event()

    def run(batch: list[A]) -> list[B]:
        return [function(item) for item in batch if not stop.is_set()]

    pool = ThreadPoolExecutor(THREADS)
    waiting: deque[Future[list[B]]] = deque()
    rest = iter(items)
    try:
        while batch := list(islice(rest, BATCH)):
            waiting.append(pool.submit(run, batch))
            if len(waiting) > AHEAD:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def regular(path: str | Path) -> os.stat_result | None:
    """Return the status of a regular file, None if *path* is none."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None
