"""Restore a blob set over a tree that has most of it already: stage only what differs.

A hard link for each blob that is right would cost more than all the rest.  So what differs
is staged as a difference (see transplant): the files that are missing or not the same, and
the list of those with the files that are to go.  Where the live tree is more than blobs and
plain files on one file system, or differs in much, all is staged as if it were not there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from collective.recipe.backup.blobs.checksums import side_by_side
from collective.recipe.backup.blobs.copying import How, Order, unchanged
from collective.recipe.backup.blobs.layout import Entry, Kind, layout_of, walk
from collective.recipe.backup.blobs.sets import BlobSet, Copied, Tally
from collective.recipe.backup.blobs.staging import Restoration, missing, wanted
from collective.recipe.backup.errors import BackupError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Advance, Progress
from collective.recipe.backup.times import Tid
from collective.recipe.backup.transplant import FILES, Change, Status, write_changes

FEW = 4
"""One file in so many may differ."""
MANY = 20_000
"""So many files may come, which are held in memory."""

_MOUNTS = Path("/proc/self/mountinfo")


def stage_difference(  # noqa: PLR0913  files and progress come from outside, as everywhere
    blob_set: BlobSet,
    target: Path,
    *,
    live: Path,
    until: Tid,
    files: Files,
    progress: Progress,
) -> Copied | None:
    """Stage at *target* what makes *live* the blobs of a set, but those later than *until*.

    What counts as the same, and what raises, is as with ``staging.stage``.  Returns None
    where that is what has to be done; then *target*, which must not be there, is not.
    """
    with explained("cannot restore the blobs", target):
        if os.path.lexists(target) or not _is_fit(blob_set, live):
            return None
        comparison = Comparison(blob_set, live, until)
        files.make_directory(target)
        try:
            with progress.phase("comparing the blobs", blob_set.checksums.count(), "files") as tell:
                write_changes(target, comparison.run(tell), files)
        except TooDifferent:
            files.clear(target)
            return None
        restoration = Restoration(
            source=blob_set.root, target=target / FILES, earlier=None, files=files
        )
        with progress.phase("restoring the blobs", len(comparison.coming), "files") as tell:
            tally = Tally(tell)
            for done in restoration.run(comparison.coming):
                if done.how is How.VANISHED:
                    raise missing(blob_set, done.entry.path)
                tally.add(done)
        files.sync_tree(target)
    return tally.sum() + Copied(linked=comparison.same, unverified=comparison.unverified)


class TooDifferent(Exception):
    """All is to be staged."""


class Comparison:
    """A walk over the set and over what is live, side by side.

    *coming* is what is to be copied, *same* the number of files that stay, *unverified* the
    number of those that are to be there and have no digest.
    """

    def __init__(self, blob_set: BlobSet, live: Path, until: Tid) -> None:
        self.coming: list[Order] = []
        self.same = 0
        self.unverified = 0
        self._leaving = 0
        self._set = blob_set
        self._live = live
        self._until = until
        self._device = live.stat().st_dev
        self._ours, self._theirs = os.fspath(blob_set.root), os.fspath(live)
        self._restoration = Restoration(
            source=blob_set.root, target=live, earlier=None, files=Files()
        )

    def run(self, advance: Advance) -> Iterator[Change]:
        """Yield what changes.  Raises TooDifferent, if need be at the end."""
        orders = ((order.entry.path, order) for order in wanted(self._set, self._until))
        for order, entry in side_by_side(orders, walk(self._live)):
            advance(1)
            _check_kinds(order and order.entry, entry)
            if entry is not None and entry.kind is Kind.DIRECTORY:
                continue
            if order is not None:
                self.unverified += order.known is None
            change = self._compared(order, entry)
            if change is None:
                self.same += 1
            else:
                self._check_number()
                yield change
        changed = self._leaving + len(self.coming)
        if changed * FEW > self.same + changed:
            raise TooDifferent

    def _compared(self, order: Order | None, entry: Entry | None) -> Change | None:
        """Return what is to be done about one path, None if it is right."""
        path = order.entry.path if order else entry.path if entry else ""
        here = self._live_status(path) if entry else None
        if order is None:
            self._check_gap(self._ours, path)
            self._leaving += 1
            return Change(path, leaves=here and _known(here), comes=None)
        if here is None:
            self._check_gap(self._theirs, path)
        there = os.lstat(f"{self._ours}/{path}")
        if here and self._is_same(order, here, there):
            return None
        self.coming.append(order)
        return Change(path, leaves=here and _known(here), comes=_known(there))

    def _is_same(self, order: Order, here: os.stat_result, there: os.stat_result) -> bool:
        expected = there.st_size if order.known is None else order.known.size
        if there.st_size == expected and unchanged(here, there):
            return True
        return bool(self._restoration.same(self._live, order.entry.path, order.known))

    def _live_status(self, path: str) -> os.stat_result:
        status = os.lstat(f"{self._theirs}/{path}")
        if status.st_dev != self._device:
            raise TooDifferent  # it cannot be renamed to where it would be kept
        return status

    def _check_gap(self, root: str, path: str) -> None:
        """Raise TooDifferent if a directory stands where the other tree has a file."""
        if os.path.isdir(f"{root}/{path}"):
            raise TooDifferent

    def _check_number(self) -> None:
        if len(self.coming) > MANY:
            raise TooDifferent


_UNLIKE_FILES = Kind.LINK, Kind.IMPOSTOR, Kind.SPECIAL


def _check_kinds(ours: Entry | None, theirs: Entry | None) -> None:
    """Raise TooDifferent for what a difference cannot express."""
    kinds = [entry.kind for entry in (ours, theirs) if entry]
    if Kind.DIRECTORY in kinds and kinds != [Kind.DIRECTORY, Kind.DIRECTORY]:
        raise TooDifferent
    if any(kind in _UNLIKE_FILES for kind in kinds):
        raise TooDifferent


def _known(status: os.stat_result) -> Status:
    return Status(status.st_size, status.st_mtime_ns)


def _is_fit(blob_set: BlobSet, live: Path) -> bool:
    """Tell whether the files of *live* can be changed one by one."""
    try:
        same_layout = live.is_dir() and layout_of(live) is layout_of(blob_set.root)
    except BackupError:
        return False
    return same_layout and not _has_mounts(live)


def _has_mounts(live: Path) -> bool:
    """Tell whether something is mounted at or below *live*: nothing is renamed across that."""
    try:
        lines = _MOUNTS.read_bytes().splitlines()
    except OSError:  # no Linux: file systems tell themselves apart
        return live.parent.stat().st_dev != live.stat().st_dev
    top = os.fsencode(os.path.realpath(live))
    places = (re.sub(rb"\\([0-7]{3})", _octal, line.split(b" ")[4]) for line in lines)
    return any(place == top or place.startswith(top + b"/") for place in places)


def _octal(escape: re.Match[bytes]) -> bytes:
    return bytes([int(escape[1], 8)])
