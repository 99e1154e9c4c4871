"""Homes: where a destination keeps restore points, and what it remembers on this machine.

A home is a directory of backups with one beside it for the blobs, or a store elsewhere, which
has neither a directory nor a lock here.  So whoever needs to know one of these things asks for
it by name, and nobody works with the path of "the" directory.
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

    directory: Path
    live: Path | None  # the part of the site whose copies lie there; None: the site has none


@dataclass(frozen=True, kw_only=True)
class Home:
    """Where the restore points of one source are at home."""

    label: str  # what lists and errors call it: a path, or the URL of a store
    state: Path  # local directory of the history, of what was found damaged, and of samples
    lock: Path | None  # directory that a writer locks; None: writers need not wait here
    fills: tuple[Filled, ...] = ()  # local directories of backups; (): they are elsewhere

    @property
    def identity(self) -> str:
        """What tells this home from the others that a note beside the site may speak of."""
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
        """Tell whether this user may hold it against writers; who only reads may not."""
        return self.lock is None or os.access(self.lock, os.W_OK)

    @contextmanager
    def locked(self, holder: str) -> Iterator[None]:
        """Hold it against every other writer, where it has a lock; *holder* says who we are.

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
        """Yield what is wrong with the place itself, and what is right, for the doctor.

        That is whether a backup can be written there, who may read it, and what lies there that
        is not ours.  A probe is made by *files*, and removed.  Directories that are *unmounted*
        are left alone: what is there now is the disk below.
        """
        yield from ()
