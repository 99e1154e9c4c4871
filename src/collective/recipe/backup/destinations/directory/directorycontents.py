"""The contents of a directory for one source: chains, manifests, restore points, and blobs.

Each call reads the directory.  While a run has the destination open, ``listings`` repeats an
earlier answer until something changes there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from collective.recipe.backup.destinations import damage, manifest
from collective.recipe.backup.destinations.directory.blobpart import BlobPart
from collective.recipe.backup.destinations.directory.directorypoints import restore_points
from collective.recipe.backup.destinations.manifest import Manifest
from collective.recipe.backup.errors import IntegrityError, NoRestorePoint, explained
from collective.recipe.backup.filestorage.framing import DAMAGE_HINT
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.repozo.chains import Chain, read_directory
from collective.recipe.backup.repozo.ledger import ledger_path

if TYPE_CHECKING:
    from collective.recipe.backup.destinations.directory.lostpoints import Needs


class DirectoryContents:
    """The contents of *directory*, and the *blobs* beside it (None: they are not backed up).

    The directory *state* has the findings of damage.
    """

    def __init__(self, directory: Path, state: Path, blobs: BlobPart | None) -> None:
        self.directory = directory
        self.state = state
        self.blobs = blobs

    def restore_points(self) -> Sequence[RestorePoint]:
        """Return the restore points, oldest first, with earlier findings of damage."""
        return damage.marked(self.as_seen(), self.state)

    def as_seen(self) -> list[RestorePoint]:
        """Return the restore points as a quick look shows them."""
        return restore_points(self.directory, self.blobs)

    def chains(self) -> Sequence[Chain]:
        """Return the chains, oldest first.  Raises OSError."""
        return read_directory(self.directory).chains

    def chain(self, stamp: str) -> Chain:
        """Return the chain that began with *stamp*.

        Raises NoRestorePoint if it is gone, and IntegrityError if its ledger is damaged.
        """
        listing = read_directory(self.directory)
        for chain in listing.chains:
            if chain.stamp == stamp:
                return chain
        ledger = ledger_path(self.directory, stamp)
        for problem in listing.problems:
            if problem.where == os.fspath(ledger):
                what = f"the ledger of the full backup {stamp} is damaged: {problem.what}"
                raise IntegrityError(what, where=ledger, hint=DAMAGE_HINT)
        raise NoRestorePoint(
            f"the full backup {stamp} is gone",
            where=self.directory,
            hint="a backup may have removed it just now: look at the list again",
        )

    def newest(self) -> Manifest | None:
        """Return the newest manifest, None if there is none."""
        return self._newest_of(reversed(self.chains()))

    def newest_in(self, stamp: str) -> Manifest | None:
        """Return the newest manifest of the chain that began with *stamp*, None if none."""
        return self._newest_of(chain for chain in self.chains() if chain.stamp == stamp)

    def _newest_of(self, chains: Iterable[Chain]) -> Manifest | None:
        """Return the newest manifest of the first of *chains* that has one."""
        for chain in chains:
            for part in reversed(chain.parts):
                found = manifest.read(self.directory, part.stamp)
                if found is not None and found.chain == chain.stamp:
                    return found
        return None

    def needs(self) -> Needs:
        """Return what tells which restore points need what."""
        from collective.recipe.backup.destinations.directory.lostpoints import Needs

        with explained("cannot look at the backups", self.directory):
            chains = self.chains()
        return Needs(self.as_seen(), self.blobs.found() if self.blobs else {}, chains)
