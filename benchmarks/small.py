"""A site of many small blobs, each in a directory of its own, restored into the empty.

That is mostly making files and directories.  The older release leaves it to ``rsync -a``, which
neither compares the blobs with digests nor waits until they are on the disk.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import transaction
import ZODB
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage

from benchmarks.contestants import Contestant
from benchmarks.measuring import Trash
from benchmarks.works import Entry, Goal, Work

COUNT = 12_000
LEAST, MOST = 1_000, 8_000
"""Bytes of a blob."""
_OF_A_COMMIT = 1_000


@dataclass(frozen=True, kw_only=True)
class SmallBlobs:
    """A site of small blobs for each of *contestants*, and its backup."""

    contestants: tuple[Contestant, ...]
    trash: Trash

    def works(self) -> Iterator[Work]:
        """Yield what is measured."""
        yield Work(
            name="small-restore",
            title=f"{COUNT:,} small blobs into the empty",
            goal=Goal(times=2, megabytes=100),
            entries=[
                Entry(
                    name=each.name,
                    command=(each.script("small-restore"), "--quiet", "--no-prompt"),
                    surroundings=partial(self._lost, each),
                    check=partial(_is_whole, each.small_site),
                )
                for each in self.contestants
            ],
        )

    def _lost(self, contestant: Contestant) -> AbstractContextManager[object]:
        """Prepare for a restore of all: there is a backup, and the site is gone."""
        site = contestant.small_site
        if not contestant.backups("small").exists():
            if site.exists():
                self.trash.take(site)
            _fill(site)
            subprocess.run([contestant.script("small"), "--quiet"], check=True)
        self.trash.take(site)
        (site / "filestorage").mkdir(parents=True)
        return nullcontext()


def _fill(site: Path) -> None:
    """Make the site."""
    (site / "filestorage").mkdir(parents=True)
    chance = random.Random(7)
    storage = FileStorage(str(site / "filestorage" / "Data.fs"), blob_dir=str(site / "blobstorage"))
    db = ZODB.DB(storage)
    root = db.open().root()
    for number in range(1, COUNT + 1):
        root[number] = Blob(chance.randbytes(chance.randint(LEAST, MOST)))
        if number % _OF_A_COMMIT == 0:
            transaction.commit()
    db.close()


def _is_whole(site: Path) -> bool:
    blobs = sum(1 for _path in (site / "blobstorage").rglob("*.blob"))
    return blobs == COUNT and (site / "filestorage" / "Data.fs").exists()
