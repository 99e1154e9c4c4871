"""Facts about a copy that a process restores again and again.

A restore reads all live data to find out how much of them is right.  A process that has just put
them there knows that already, as long as no other process has written to them.
"""

from __future__ import annotations

from pathlib import Path

from collective.recipe.backup.filestorage.storedlog import Block
from collective.recipe.backup.restoring.stagedblobs import Changeable

_Status = tuple[int, int, int, int]


class Remembered:
    """The facts about one live filestorage, and about the blobs beside it.

    It holds some 200 bytes for each 4 MB of the filestorage.
    """

    def __init__(self, filestorage: Path) -> None:
        self.blocks: set[Block] = set()
        """Blocks that the filestorage is known to have; only valid after ``look``."""
        self.may_change = Changeable.COMING
        """The blobs that may be changed: new ones come first, so that no log lacks a blob."""
        self.surplus = 0
        """Number of blobs that are not in the backup and have stayed, the last time."""
        self._filestorage = filestorage
        self._left: _Status | None = None  # None: it has never been left by us

    def look(self) -> None:
        """Forget the facts if the filestorage has changed since."""
        if self._left is None or self._left != self._status():
            self.blocks.clear()

    def left(self, keep: int | None) -> None:
        """Take note that the filestorage is now as it is to be left.

        Its first *keep* bytes are those that it had; None: it is another file.
        """
        end = keep or 0
        self.blocks = {block for block in self.blocks if block.offset + block.size <= end}
        self._left = self._status()

    def _status(self) -> _Status | None:
        try:
            status = self._filestorage.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
