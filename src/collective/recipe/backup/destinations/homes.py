"""Homes: the places of restore points, with their local notes and their lock.

A home is a directory of backups with one beside it for the blobs, or a store elsewhere, which has
neither a directory nor a lock here.  So callers ask a home for each of these things by name, and
never work with the path of "the" directory.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import locking
from collective.recipe.backup.files import Files
from collective.recipe.backup.findings import DoctorFinding
from collective.recipe.backup.frozen import dataclass


class Filled(NamedTuple):
    """A directory that a home fills."""

    directory: Path  # absolute
    live: Path | None  # the part of the site whose copies lie there; None: the site has none


@dataclass(frozen=True, kw_only=True)
class Home:
    """The place of the restore points of one source."""

    label: str  # what lists and errors call it: a path, or the URL of a store
    state: Path  # local directory of the history, of what was found damaged, and of samples
    lock: Path | None  # directory that a writer locks; None: writers need not wait here
    fills: tuple[Filled, ...] = ()  # local directories of backups; (): they are elsewhere

    @property
    def identity(self) -> str:
        """An identity, by which a note beside the site tells this home from others."""
        return os.path.realpath(self.state)

    @property
    def directories(self) -> list[Path]:
        """The local directories of backups."""
        return [each.directory for each in self.fills]

    def holds(self, path: Path) -> bool:
        """Tell whether *path* lies in one of its local directories."""
        return any(path.is_relative_to(directory) for directory in self.directories)

    def is_there(self) -> bool:
        """Tell whether there is anything to look at; there is not before the first backup."""
        return self.lock is None or self.lock.is_dir()

    def may_be_locked(self) -> bool:
        """Tell whether this user may take the lock; a user who may only read may not."""
        return self.lock is None or os.access(self.lock, os.W_OK)

    @contextmanager
    def locked(self, holder: str) -> Iterator[None]:
        """Hold the lock, if there is one, against all other writers; *holder* is our name in it.

        Raises InUse, which names the holder, at once if there is another.
        """
        if self.lock is None:
            yield
            return
        with locking.one_writer(self.lock, holder):
            yield

    def holder(self) -> str | None:
        """Return what the run that holds it says of itself, None if there is none."""
        return None if self.lock is None else locking.holder_of(self.lock)

    def examine(  # a store elsewhere has to say more
        self, files: Files, *, unmounted: Collection[Path] = ()
    ) -> Iterator[DoctorFinding]:
        """Yield findings about the place itself, good and bad, for the doctor.

        They say whether a backup can be written there, who may read it, and which foreign names lie
        there.  A probe is made by *files*, and removed.  Directories that are *unmounted* are left
        alone: the disk below them is not the one of the backups.
        """
        yield from ()
