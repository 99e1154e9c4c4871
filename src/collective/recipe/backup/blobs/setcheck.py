"""Verify blob sets; nothing is changed.

``verify_names`` compares the files with the checksums, by name and size; ``verify_contents`` reads
every file as well.  Sets of older releases have no checksums: for them the only question is whether
they can be read and restored.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.checksums import Checksum, side_by_side
from collective.recipe.backup.blobs.copying import LARGE, in_order
from collective.recipe.backup.blobs.digesting import checksum_of
from collective.recipe.backup.blobs.layout import Entry, Kind, is_foreign, walk
from collective.recipe.backup.blobs.refusing import refusal
from collective.recipe.backup.errors import BackupError, IntegrityError, from_os_error
from collective.recipe.backup.model import Problem
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.times import Tid

Pair = tuple[Entry | None, Checksum | None]

_LOST = "restore it from a copy of the backups, or make a full backup while the site has it"
_DAMAGED = (
    "restore it from a copy of the backups; or run a backup, which begins a new set and copies "
    "it anew if the site still has it"
)
_NEW = "the blobs may be whole: make a full backup to get a new set"
_STRAY = "if it was put there by hand, move it away; else the list of checksums has lost a line"


Wants = Callable[[str], bool]
"""Tells whether the file of a path is to be read."""


def everything(_path: str) -> bool:
    """Want all of them."""
    return True


def verify_names(blob_set: BlobSet, *, until: Tid) -> Iterator[Problem]:
    """Yield files that are missing, have another size or are not in the checksums.

    A blob later than *until*, the last transaction of the restore points that need the set, may be
    absent from the checksums: its run died, or is under way.
    """
    check = SetCheck(blob_set, until)
    return (problem for pair in check.pairs() for problem in check.names(pair))


def verify_contents(
    blob_set: BlobSet, *, until: Tid, progress: Progress, wants: Wants = everything
) -> Iterator[Problem]:
    """Yield what ``verify_names`` yields, and what cannot be read or has another digest.

    Only those files are read whose path *wants*.
    """
    check = SetCheck(blob_set, until, wants)
    with progress.phase("verifying the blobs", blob_set.checksums.count(), "files") as advance:
        for problems in in_order(check.contents, check.pairs(), _is_long):
            advance(1)
            yield from problems


def _is_long(pair: Pair | BackupError) -> bool:
    if isinstance(pair, BackupError):
        return False
    _entry, checksum = pair
    return checksum is None or (checksum.size or 0) >= LARGE


class SetCheck:
    """Finds the problems of one set."""

    def __init__(self, blob_set: BlobSet, until: Tid, wants: Wants = everything) -> None:
        self._wants = wants
        self._set = blob_set
        self._root = blob_set.root
        self._checksums = blob_set.checksums
        self._ours = blob_set.ours
        self._until = until

    def pairs(self) -> Iterator[Pair | BackupError]:
        """Yield each file beside its checksum, up to where one of both cannot be read."""
        things = ((entry.path, entry) for entry in walk(self._root))
        foreign = 0
        try:
            expected = self._set.foreign
            yield from self._lacking()
            for entry, checksum in side_by_side(things, self._checksums):
                foreign += checksum is not None and is_foreign(checksum.path)
                yield entry, checksum
            if foreign != expected:
                yield self._error(
                    f"files that are not blobs: {foreign}, and {expected} are expected"
                )
        except IntegrityError as error:
            yield error
        except OSError as error:
            yield from_os_error(error, "cannot be read")

    def _lacking(self) -> Iterator[BackupError]:
        for path in (self._set.about, self._checksums.path):
            if self._ours and not path.exists():
                yield IntegrityError("missing", where=path, hint=_NEW)

    def _error(self, what: str) -> BackupError:
        return IntegrityError(what, where=self._set.about, hint=_NEW)

    def names(self, pair: Pair | BackupError) -> list[Problem]:
        """Return the problems, as far as names and sizes show them."""
        if isinstance(pair, BackupError):
            return [Problem(where=pair.where, what=pair.what, hint=pair.hint)]
        entry, checksum = pair
        try:
            if entry is None:
                return [self._problem(checksum.path, "missing", _LOST)] if checksum else []
            return list(self._wrong(entry, checksum))
        except BackupError as error:
            return [Problem(where=error.where, what=error.what, hint=error.hint)]
        except OSError as error:
            return [self._unreadable(error)]

    def contents(self, pair: Pair | BackupError) -> list[Problem]:
        """Return the problems, every byte read."""
        problems = self.names(pair)
        if problems or isinstance(pair, BackupError):
            return problems
        entry, checksum = pair
        if entry is None or entry.kind is Kind.DIRECTORY or not self._wants(entry.path):
            return []
        try:
            found = checksum_of(self._root, entry.path)
        except OSError as error:
            return [self._unreadable(error)]
        if checksum and found != checksum:
            return [self._problem(entry.path, "damaged: its checksum differs", _DAMAGED)]
        return []

    def _wrong(self, entry: Entry, checksum: Checksum | None) -> Iterator[Problem]:
        if refused := refusal(entry, self._root):
            raise refused
        if entry.kind is Kind.DIRECTORY:
            if checksum is not None:
                yield self._problem(entry.path, "damaged: a directory in place of a file", _LOST)
            return
        if checksum is None:
            if self._ours and not entry.is_later(self._until):
                stray = self._problem(entry.path, "not named in the checksums", _STRAY)
                # a restore takes it all the same
                yield replace(stray, harmless=True)
            return
        size = None if entry.kind is Kind.LINK else (self._root / entry.path).lstat().st_size
        if size != checksum.size:
            what = f"damaged: {_shown(size)} in place of {_shown(checksum.size)}"
            yield self._problem(entry.path, what, _LOST)

    def _problem(self, path: str, what: str, hint: str) -> Problem:
        return Problem(where=os.fspath(self._root / path), what=what, hint=hint)

    @staticmethod
    def _unreadable(error: OSError) -> Problem:
        said = from_os_error(error, "cannot be read")
        return Problem(where=said.where, what=said.what, hint=said.hint)


def _shown(size: int | None) -> str:
    return "a symbolic link" if size is None else f"{size:,} bytes"
