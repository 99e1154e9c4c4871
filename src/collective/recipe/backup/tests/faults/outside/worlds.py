"""A small site with its backups, which begins anew for each fault."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import Tid, utcnow

State = dict[str, str]
"""Digests of a filestorage and of each blob, by their names."""

LEFTOVERS = ("*.partial", "*.restoring", "*.pruned")
HOURS = 6
"""So long ago the site was founded: no clock leaps, and what is small may be merged."""


class World:
    """A site in ``site`` of *directory*, with the options *options*.

    ``states`` is what each moment of it has to be restored to, by the last transaction;
    ``live`` what the live site has to be.  *founded* is the beginning of an hour, which names
    depend on (None: HOURS ago).
    """

    def __init__(self, directory: Path, founded: datetime | None = None, **options: Any) -> None:
        self.directory = directory
        self.states: dict[Tid, State] = {}
        self.live: State = {}
        self._options = options
        self._saved = directory / "saved"
        self._numbers = itertools.count()
        now = utcnow().replace(minute=0, second=0, microsecond=0)
        self.founded = founded or now - timedelta(hours=HOURS)
        self.site = Site(directory / "site", founded=self.founded)
        self.operated = Operated(self.site, **options)

    # what makes it

    def grow(self, minutes: int, name: str = "") -> None:
        """Commit something, so many *minutes* after the site was founded, with a blob *name*.

        No two blobs are of one transaction, and so of one name: see strace.py.
        """
        at = self.founded + timedelta(minutes=minutes)
        self.site.commit({"count": minutes}, {name: f"blob {name} ".encode() * 300}, at=at)
        self.site.commit({"long": f"{minutes}" * 3000}, {"changing": b"%d" % minutes}, at=at)
        self.live = self.state()

    def back_up(self, minutes: int, *, full: bool = False) -> None:
        """Back up, so many *minutes* after the site was founded."""
        self.operated.now = self.founded + timedelta(minutes=minutes) - timedelta(hours=1)
        outcome = self.operated.backup(full=full)
        self.states[outcome.point.tid] = self.live

    def keep(self, **options: Any) -> None:
        """Let the site have other options from now on."""
        self._options |= options
        self.operated = Operated(self.site, **self._options)

    def save(self) -> None:
        """Let it begin anew from here."""
        _copy(self.site.directory, self._saved)

    def begin(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.site.directory, ignore_errors=True)
        for each in self.directory.glob("restored-*"):
            shutil.rmtree(each)
        _copy(self._saved, self.site.directory)
        self.operated.now = utcnow()

    # what it looks like

    def state(self, directory: Path | None = None) -> State:
        """Return the state of the live site, or of what was restored to *directory*."""
        filestorage = directory / "Data.fs" if directory else self.site.filestorage
        blobs = directory / "blobstorage" if directory else self.site.blobstorage
        found = {str(path.relative_to(blobs)): path for path in blobs.rglob("*.blob")}
        if filestorage.exists():
            found["Data.fs"] = filestorage
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()}

    def restored(self, tid: Tid | None = None) -> State:
        """Return the state that a restore to somewhere else gives (None: the newest)."""
        directory = self.directory / f"restored-{next(self._numbers)}"
        self.operated.restore(tid, to=directory)
        return self.state(directory)

    def problems(self) -> list[str]:
        """Return what verify says, at the depth of records."""
        return [str(each) for each in self.operated.destination().verify(Depth.RECORDS)]

    def leftovers(self) -> list[str]:
        """Return what no run should leave behind, below the site."""
        found = [path for each in LEFTOVERS for path in self.site.directory.rglob(each)]
        return sorted(str(path.relative_to(self.site.directory)) for path in found)


def _copy(source: Path, target: Path) -> None:
    """Copy a tree with its hard links."""
    subprocess.run(["cp", "-a", source, target], check=True)
