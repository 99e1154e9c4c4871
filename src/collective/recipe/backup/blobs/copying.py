"""Copy a tree: by hard links to an earlier tree for unchanged files, large files by two threads.

The caller gives the entries to copy, and gets the result for each in the same order.  Directories
are made on the way, since each must be there before what is in it.  So are small files: each takes
a dozen system calls of some microseconds, and threads that hand the interpreter to each other
around each of them take twice as long as one.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from collective.recipe.backup.blobs.checksums import Checksum
from collective.recipe.backup.blobs.digesting import (
    checksum_of,
    copied_whole,
    link_checksum,
    regular,
    size_to_come,
    unchanged,
)
from collective.recipe.backup.blobs.layout import MARKER, Entry, Kind
from collective.recipe.backup.blobs.refusing import refusal, text_of
from collective.recipe.backup.errors import BackupError, from_os_error
from collective.recipe.backup.files import Files
from collective.recipe.backup.files.copies import Observe
from collective.recipe.backup.held import Trail
from collective.recipe.backup.unreadable import CannotReadError, unreadable

THREADS = 2
AHEAD = 256
"""Results that may wait for an earlier one."""
LARGE = 1 << 20
"""Bytes of a file that is worth a thread of its own."""

A = TypeVar("A")
B = TypeVar("B")


class How(Enum):
    """The result for an entry."""

    COPIED = "copied"
    LINKED = "linked"
    KEPT = "there already"
    VANISHED = "gone before it could be copied"
    UPHELD = "the earlier copy took its place"
    LEFT_OUT = "there, but it cannot be copied"


class Done(NamedTuple):
    """The result for an entry, with the size and digest of the copy."""

    entry: Entry  # that was to be copied
    how: How  # copied, linked, vanished and so on
    checksum: Checksum | None = None  # of the copy; None: there is none
    why: BackupError | None = None
    """Why it was left out, or how a blob differs from its backup; None: all is well."""


class CopyOrder(NamedTuple):
    """An entry to copy, and the checksum of the earlier file to which it may be linked."""

    entry: Entry  # of the source
    known: Checksum | None = None  # of the earlier file; None: not known

    @property
    def place(self) -> str:
        """The path of the directory that it needs, "" for the root."""
        path, kind = self.entry
        return path if kind is Kind.DIRECTORY else path.rpartition("/")[0]

    @property
    def size(self) -> int:
        """The size in bytes as far as is known, else 0."""
        return self.known.size or 0 if self.known else 0


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Copies from *source* to *target*, with hard links to unchanged files of *earlier*.

    Size and time show whether a file is unchanged, for a blob never changes.
    """

    source: Path  # tree to copy
    target: Path  # that is filled
    earlier: Path | None  # tree with earlier copies; None: there is none
    files: Files  # writes them
    doubted: bool = False
    """Whether damage was found in *earlier*, so that both files are read and compared."""
    upholds: bool = False
    """Whether a whole earlier copy replaces a blob that has changed all the same."""

    @cached_property
    def _from(self) -> str:
        return os.fspath(self.source)

    @cached_property
    def _to(self) -> str:
        return os.fspath(self.target)

    @cached_property
    def _there(self) -> Trail:
        return Trail(self._from)

    @cached_property
    def _here(self) -> Trail:
        return Trail(self._to)

    def run(self, orders: Iterable[CopyOrder]) -> Iterator[Done]:
        """Carry out *orders*, which come in the order of the walk; yield the result for each.

        *target* is made if it is missing.  A file that vanished at the source, and one that cannot
        be read there or copied, is reported as such; a failing write raises OSError.
        """
        self.make_target()
        return self._carried_out(orders)

    def make_target(self) -> None:
        """Make the directory *target* if it is not there."""
        self.files.make_directory_like(self.target, self.source.stat())

    def _carried_out(self, orders: Iterable[CopyOrder]) -> Iterator[Done]:
        with self.holding():
            yield from self.carry_on(orders)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Hold directories from one call of ``carry_on`` to the next, in this thread."""
        with self._there, self._here:
            yield

    def carry_on(self, orders: Iterable[CopyOrder]) -> Iterator[Done]:
        """Carry out more *orders*, as ``run`` does, within ``holding``."""
        yield from in_order(self.attempt, self.on_made_ground(orders), self.is_long)

    def attempt(self, order: CopyOrder) -> Done:
        """Carry out *order*; leave out what cannot be read or copied, and say why."""
        return attempted(order.entry, lambda: self.carry_out(order))

    def on_made_ground(self, orders: Iterable[CopyOrder]) -> Iterator[CopyOrder]:
        """Make the directory that each order needs, then hand it on."""
        made = ""
        for order in orders:
            place = order.place
            if place and place != made:
                self.make_directories(place, made)
                made = place
            yield order

    def make_directories(self, place: str, made: str) -> None:
        """Make the directory *place* and those above it but those above and at *made*."""
        missing = []
        while place and not f"{made}/".startswith(f"{place}/"):
            missing.append(place)
            place = place.rpartition("/")[0]
        for each in reversed(missing):
            self._make_directory(each)

    def _make_directory(self, path: str) -> None:
        target = f"{self._to}/{path}"
        try:
            original = self._there.directory_status(f"{self._from}/{path}")
        except OSError:  # the files in it are found to be gone, or unreadable, as well
            self.files.make_directory(Path(target))
        else:
            self.files.make_directory_like(self._here.place(target), original)

    def is_long(self, order: CopyOrder) -> bool:
        """Tell whether it takes long to carry out an order, as far as is known."""
        if order.known is not None:
            return order.size >= LARGE
        try:
            status = os.lstat(f"{self._from}/{order.entry.path}")
        except OSError:  # the copy that follows reports it
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size >= LARGE

    def carry_out(self, order: CopyOrder) -> Done:
        """Copy or link one entry, unless it is nothing to be copied.

        Raises CannotReadError for what cannot be read, and OSError for what cannot be written.
        """
        entry, known = order
        if entry.kind is Kind.DIRECTORY:
            return Done(entry, How.COPIED)
        if refused := refusal(entry, self.source):
            return Done(entry, How.LEFT_OUT, why=refused)
        try:
            if entry.kind is Kind.LINK:
                return Done(entry, How.COPIED, self._copy_link(entry.path))
            linked = self.earlier and self._link(self.earlier, entry.path, known)
            if linked:
                return Done(entry, How.LINKED, linked)
            return self.judged(Done(entry, How.COPIED, self.copy(entry.path, known)), known)
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
            ours = checksum_of(self.source, path)
            with suppress(CannotReadError):  # the earlier copy may be what is damaged
                return ours if ours == checksum_of(earlier, path) else None
            return None
        return known if known.size == here.st_size else None

    def copy(self, path: str, known: Checksum | None) -> Checksum:  # noqa: ARG002  for a restore
        """Copy the file at *path*; return what the copy is."""
        return self._copied(path, size_to_come(path, f"{self._from}/{path}"))

    def _copied(self, path: str, size: int | None) -> Checksum:
        """Copy the file at *path*, of that *size* if it never changes."""
        return copied_whole(path, size, partial(self._copy, path))

    def _copy(self, path: str, observe: Observe, size: int | None) -> int:
        try:
            return self._copy_once(path, observe, size)
        except FileNotFoundError:
            self._there.forget()
            return self._copy_once(path, observe, size)

    def _copy_once(self, path: str, observe: Observe, size: int | None) -> int:
        try:
            source = self._there.place(f"{self._from}/{path}")
        except OSError as error:
            raise unreadable(error, f"{self._from}/{path}") from error
        target = self._here.place(f"{self._to}/{path}")
        return self.files.copy(source, target, sync=False, observe=observe, size=size)

    def judged(self, done: Done, known: Checksum | None) -> Done:
        """Return *done* if the blob is new or unchanged; else put the earlier copy there.

        *known* is the checksum of the earlier copy, None if it was not noted.
        """
        path, now = done.entry.path, done.checksum
        is_same = now is None or (known and known[1:] == now[1:])
        if not self.upholds or not self.earlier or done.entry.kind is not Kind.BLOB or is_same:
            return done
        there = _legible(self.earlier, path)
        if there == now or (there is None and known is None):
            return done
        if there is None or not self._is_proven(path, there, known):
            return done._replace(why=changed(self.source / path, None))
        why = changed(self.source / path, self.earlier / path)
        self.files.remove(self.target / path)
        if not self.files.link(self.earlier / path, self.target / path):
            self.files.copy(self.earlier / path, self.target / path, sync=False)
        return Done(done.entry, How.UPHELD, there, why)

    def _is_proven(self, path: str, there: Checksum, known: Checksum | None) -> bool:
        """Tell whether the earlier copy *there* still has the bytes that were copied once."""
        if known is not None:
            return there == known
        # its digest was not noted; but a write to the live file changes its time
        one, other = regular(f"{self._from}/{path}"), regular(f"{self.earlier}/{path}")
        return bool(one and other and not unchanged(one, other))

    def _copy_link(self, path: str) -> Checksum:
        text = text_of(self.source / path)
        self.files.symlink(text, self.target / path)
        return link_checksum(path, text)


def changed(live: Path, earlier: Path | None) -> BackupError:
    """Return the message about a blob of the site that differs from its backup.

    *earlier* is the copy that was taken over in its place, None if none is known to be whole.
    """
    hint = f"the earlier copy stays in the backups: {earlier}; put it back, or take over the new "
    hint += "one with --accept-changed-blobs"
    if earlier is None:
        hint = "it was backed up as it is now: look for it in older backups"
    return BackupError(
        "a blob never changes, but this one is not as it was backed up once", where=live, hint=hint
    )


def misplaced(live: Path) -> BackupError:
    """Return what to say of a blob that lies where ZODB does not look for it."""
    return BackupError(
        "this blob is in a place where ZODB does not look for blobs of this layout",
        where=live,
        hint="it was backed up as it should be: restore the blobs, or correct the file .layout",
    )


def taken_over(what: str, earlier: Path) -> BackupError:
    """Return what to say of a blob, *what*, that only an earlier backup has."""
    return BackupError(
        f"the site has lost {what}, or it cannot be read there: it was taken over from an earlier "
        "backup",
        where=earlier,
    )


def _legible(root: Path, path: str) -> Checksum | None:
    """Return what the file at *path* is, None if there is none that can be read."""
    if regular(root / path) is None:
        return None
    with suppress(OSError):
        return checksum_of(root, path)
    return None


def attempted(entry: Entry, copy: Callable[[], Done]) -> Done:
    """Return what *copy* does with *entry*; that it was left out if that cannot be done."""
    try:
        return copy()
    except CannotReadError as error:
        return Done(entry, How.LEFT_OUT, why=from_os_error(error, "cannot be read"))


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
