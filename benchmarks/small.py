"""Many small blobs, each in a directory of its own, restored into the empty.

That is mostly making files and directories.  The older release left it to ``rsync -a``, which
neither compares the blobs with digests nor waits until they are on the disk.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from benchmarks.measuring import Trash
from benchmarks.works import Entry, Goal, Work
from collective.recipe.backup.blobs.layout import MARKER, Layout
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.times import Tid

COUNT = 12_000
LEAST, MOST = 1_000, 8_000
"""Bytes of a blob."""

BUILDOUT = """\
[buildout]
parts = blobs
offline = true
newest = false

[blobs]
recipe = collective.recipe.backup
datafs = {directory}/var/filestorage/Data.fs
blob_storage = {blobstorage}
blobbackuplocation = {backups}
only_blobs = true
"""


class SmallBlobs:
    """A blobstorage of small blobs in *directory*, and its backup."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._blobstorage = directory / "var" / "blobstorage"
        self._backups = directory / "backups"
        self._restored = directory / "restored"
        self._bin = directory / "bin"
        self.trash = Trash(directory / "trash")

    def works(self) -> Iterator[Work]:
        """Yield what is measured."""
        yield Work(
            name="blobs-restore",
            title=f"{COUNT:,} small blobs into the empty",
            goal=Goal(times=2, megabytes=100),
            entries=[
                Entry(
                    name="ours",
                    command=(
                        *(self._bin / "blobs-restore", "--quiet", "--no-prompt", "--to"),
                        self._restored,
                    ),
                    surroundings=self._empty,
                    check=self._is_whole,
                ),
                Entry(
                    name="rsync -a",
                    command=("rsync", "-a", f"{self._backups}/latest/blobstorage/", self._restored),
                    surroundings=self._empty,
                    check=self._is_whole,
                ),
            ],
        )

    def _empty(self) -> AbstractContextManager[object]:
        if not self._backups.exists():
            self._back_up()
        if self._restored.exists():
            self.trash.take(self._restored)
        return nullcontext()

    def _back_up(self) -> None:
        """Make the blobs and their backup."""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._fill()
        text = BUILDOUT.format(
            directory=self._directory, blobstorage=self._blobstorage, backups=self._backups
        )
        (self._directory / "buildout.cfg").write_text(text)
        buildout = Path(sys.executable).parent / "buildout"
        subprocess.run([buildout, "-q"], cwd=self._directory, check=True)
        subprocess.run([self._bin / "blobs", "--quiet"], check=True)

    def _fill(self) -> None:
        chance = random.Random(7)
        for number in range(1, COUNT + 1):
            name = number.to_bytes(8, "big")
            path = self._blobstorage / Layout.BUSHY.path(BlobId(Oid(name), Tid(name)))
            path.parent.mkdir(parents=True)
            path.write_bytes(chance.randbytes(chance.randint(LEAST, MOST)))
        (self._blobstorage / MARKER).write_text(Layout.BUSHY.value)

    def _is_whole(self) -> bool:
        return sum(1 for _path in self._restored.rglob("*.blob")) == COUNT
