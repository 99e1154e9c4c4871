"""What makes a live tree that of a set: a walk over both, side by side.

Most of a live tree is right, and to see that takes two looks at each file.  A long one is
compared by two processes, each its half: they change nothing, and threads of one process
would take turns.
"""

from __future__ import annotations

import os
import pickle
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import process
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.checksums import side_by_side
from collective.recipe.backup.blobs.copying import Order
from collective.recipe.backup.blobs.digesting import regular, unchanged
from collective.recipe.backup.blobs.layout import ALL, Entry, Kind, Span, walk
from collective.recipe.backup.blobs.staging import (
    Restoration,
    listed,
    missing,
    not_a_file,
    walked,
)
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Advance
from collective.recipe.backup.times import Tid
from collective.recipe.backup.transplant import Change, Status

FEW = 4
"""One file in so many may differ."""
MANY = 20_000
"""So many files may differ, which are held in memory."""

_TOLD = 100
"""After so many files it is told how far the work is."""


class TooDifferent(Exception):  # noqa: N818  no error: all is to be staged
    """What is live cannot be changed file by file, or too much would be."""


class Compared(NamedTuple):
    """What *changes*, in the order of the walk; of it *coming* is what is to be copied.

    *same* is the number of files that stay, *unverified* that of those that are to be
    there and have no digest; *size* are the bytes of what is to be there as far as it has.
    """

    changes: list[Change]
    coming: list[Order]
    same: int
    unverified: int
    size: int

    def check(self, size: int | None = None) -> Compared:
        """Return this.  Raises TooDifferent if it is not small, or not *size* bytes were named."""
        number, total = len(self.changes), self.same + len(self.changes)
        if number > MANY or number * FEW > total or size not in (None, self.size):
            raise TooDifferent
        return self

    def followed_by(self, other: Compared) -> Compared:
        """Return the sum of this and of what comes after it in the order of the walk."""
        return Compared(
            changes=self.changes + other.changes,
            coming=self.coming + other.coming,
            same=self.same + other.same,
            unverified=self.unverified + other.unverified,
            size=self.size + other.size,
        )


class Task(NamedTuple):
    """A set, what is live, the last transaction that counts, and the paths to look at."""

    blob_set: BlobSet
    live: Path
    until: Tid
    span: Span = ALL


def compare(task: Task, size: int | None, advance: Advance) -> Compared:
    """Compare all.  If the checksums name *size* bytes, nobody looks for what they do not name.

    Raises TooDifferent, IntegrityError for what the set lacks, and OSError.
    """
    blob_set = task.blob_set
    if size is None or not blob_set.plain:
        return Comparison(task, walked(blob_set, task.until), advance).run().check()
    middle = blob_set.checksums.middle()
    if middle is None or not process.can_compute():
        return _compare_listed(task, advance).check(size)
    first, second = task._replace(span=Span(stop=middle)), task._replace(span=Span(middle))
    with process.computing(__name__, pickle.dumps(second)) as answer:
        compared = _compare_listed(first, advance)
        others = _understood(answer())
    if others is None:
        others = _compare_listed(second, advance)
    else:
        advance(others.same + len(others.changes))
    return compared.followed_by(others).check(size)


def _compare_listed(task: Task, advance: Advance) -> Compared:
    return Comparison(task, listed(task.blob_set, task.until, task.span), advance).run()


def main() -> None:
    """Do the task that is read from standard input: see process.computing."""
    task = pickle.load(sys.stdin.buffer)  # noqa: S301  our own process wrote it
    sys.stdout.buffer.write(pickle.dumps(_compare_listed(task, lambda _amount: None)))


def _understood(answer: bytes | None) -> Compared | None:
    with suppress(pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError):
        # somebody else may have written to its output as well, as a sitecustomize can
        return pickle.loads(answer) if answer else None  # noqa: S301  our own process wrote it
    return None


class Comparison:
    """A walk over what is live beside the *orders* of a set, which come in its order."""

    def __init__(self, task: Task, orders: Iterable[Order], advance: Advance) -> None:
        self._task = task
        self._orders = orders
        self._advance = advance
        self._changes: list[Change] = []
        self._coming: list[Order] = []
        self._device = task.live.stat().st_dev
        self._ours, self._theirs = os.fspath(task.blob_set.root), os.fspath(task.live)
        self._restoration = Restoration(
            source=task.blob_set.root, target=task.live, earlier=None, files=Files()
        )

    def run(self) -> Compared:
        """Return what is to be done.  Raises TooDifferent for what cannot be."""
        same = unverified = size = number = 0
        orders = ((order.entry.path, order) for order in self._orders)
        pairs = side_by_side(orders, walk(self._task.live, self._task.span))
        for number, (order, entry) in enumerate(pairs, 1):
            if number % _TOLD == 0:
                self._advance(_TOLD)
            if order is not None:
                size += order.size
                unverified += order.known is None and order.entry.kind is not Kind.DIRECTORY
            if order and entry and self._is_plainly_the_same(order, entry):
                same += 1
            else:
                same += self._is_same(order, entry)
        self._advance(number % _TOLD)
        return Compared(self._changes, self._coming, same, unverified, size)

    def _is_plainly_the_same(self, order: Order, entry: Entry) -> bool:
        """Tell whether two looks are enough, as with nearly all."""
        path, kind, known = entry.path, entry.kind, order.known
        if known is None or kind is not order.entry.kind or kind not in _FILES:
            return False
        here = os.lstat(f"{self._theirs}/{path}")
        if here.st_size != known.size or here.st_dev != self._device:
            return False
        try:
            there = os.lstat(f"{self._ours}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            return False
        return (
            stat.S_ISREG(there.st_mode)
            and there.st_size == known.size
            and there.st_mtime_ns == here.st_mtime_ns
        )

    def _is_same(self, order: Order | None, entry: Entry | None) -> bool:
        """Tell whether a file stays as it is; note what is to be done if it does not."""
        _check_kinds(order and order.entry, entry)
        if entry is not None and entry.kind is Kind.DIRECTORY:
            return False
        change = self._compared(order, entry)
        if change is None:
            return True
        self._changes.append(change)
        if len(self._changes) > MANY:
            raise TooDifferent
        return False

    def _compared(self, order: Order | None, entry: Entry | None) -> Change | None:
        """Return what is to be done about one path, None if it is right."""
        path = order.entry.path if order else entry.path if entry else ""
        here = self._live_status(path) if entry else None
        if order is None:
            if entry and not entry.is_later(self._task.until):
                self._check_gap(self._ours, path)
            return Change(path, leaves=here and _known(here), comes=None)
        if here is None:
            self._check_gap(self._theirs, path)
        there = regular(f"{self._ours}/{path}")
        if there is None:
            raise self._bad(path)
        if here and self._is_good(order, here, there):
            return None
        self._coming.append(order)
        return Change(path, leaves=here and _known(here), comes=_known(there))

    def _is_good(self, order: Order, here: os.stat_result, there: os.stat_result) -> bool:
        expected = there.st_size if order.known is None else order.known.size
        if there.st_size == expected and unchanged(here, there):
            return True
        return bool(self._restoration.same(self._task.live, order.entry.path, order.known))

    def _live_status(self, path: str) -> os.stat_result:
        status = os.lstat(f"{self._theirs}/{path}")
        if status.st_dev != self._device:
            raise TooDifferent  # it cannot be renamed to where it would be kept
        return status

    @staticmethod
    def _check_gap(root: str, path: str) -> None:
        """Raise TooDifferent if something lies where one tree has a file, the other nothing.

        A directory could; or a file that the checksums do not name.
        """
        if os.path.lexists(f"{root}/{path}"):
            raise TooDifferent

    def _bad(self, path: str) -> IntegrityError:
        place = self._task.blob_set.root / path
        lies_there = os.path.lexists(place)
        return not_a_file(place) if lies_there else missing(self._task.blob_set, path)


_FILES = Kind.BLOB, Kind.MARKER, Kind.FILE
_UNLIKE_FILES = Kind.LINK, Kind.IMPOSTOR, Kind.SPECIAL, Kind.UNREADABLE


def _check_kinds(ours: Entry | None, theirs: Entry | None) -> None:
    """Raise TooDifferent for what a difference cannot express."""
    kinds = [entry.kind for entry in (ours, theirs) if entry]
    if Kind.DIRECTORY in kinds and kinds != [Kind.DIRECTORY, Kind.DIRECTORY]:
        raise TooDifferent
    if any(kind in _UNLIKE_FILES for kind in kinds):
        raise TooDifferent


def _known(status: os.stat_result) -> Status:
    return Status(status.st_size, status.st_mtime_ns)
