"""What a process that stays knows of a copy that it restores again and again.

A restore reads all of what is live to find out how much of it is right.  Who has just put it
there knows that already, as long as no other process has written to it.
"""

from __future__ import annotations

from pathlib import Path

from collective.recipe.backup.filestorage.storedlog import Block
from collective.recipe.backup.restoring.stagedblobs import Changeable

_Status = tuple[int, int, int, int]


class Remembered:
    """What is known of one live filestorage, and of the blobs beside it.

    It holds some 200 bytes for each 4 MB of the filestorage.
    """

    def __init__(self, filestorage: Path) -> None:
        self.blocks: set[Block] = set()
        """What the filestorage is known to have; only valid after ``look``."""
        self.may_change = Changeable.COMING
        """How much of the blobs may change: first what comes, so that no log lacks a blob."""
        self.surplus = 0
        """How many blobs that are not stored have stayed, the last time."""
        self._filestorage = filestorage
        self._left: _Status | None = None  # None: it has never been left by us

    def look(self) -> None:
        """Forget what is known if the filestorage is not as it was left."""
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
