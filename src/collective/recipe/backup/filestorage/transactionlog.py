"""The log of transactions in a file, while ZEO may be writing to it.

One descriptor serves a whole run: a pack puts another file under the name, and in a file that was
opened again every offset would mean something else.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import TracebackType

from collective.recipe.backup.errors import BackupError, IntegrityError, explained
from collective.recipe.backup.filestorage import tail
from collective.recipe.backup.filestorage.format import (
    MAGIC_SIZE,
    MAGICS,
)
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.times import Tid


class TransactionLog(Log):
    """A filestorage, open for reading until the ``with`` block ends.

    Raises BackupError if the file cannot be read and IntegrityError if it is no filestorage.  All
    methods raise these as well, IntegrityError for a damaged log.
    """

    def __init__(self, path: Path) -> None:
        """Open *path*."""
        super().__init__(path)
        with explained("cannot open the filestorage", path):
            # not blocking, lest a named pipe in its place holds us up for ever
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            self._descriptor = os.open(path, flags)
        try:
            self._check()
        except BaseException:
            os.close(self._descriptor)
            raise

    def _check(self) -> None:
        status = os.fstat(self._descriptor)
        self.identity = status.st_dev, status.st_ino
        self.mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise BackupError(
                f"the filestorage is {kind}",
                where=self.path,
                hint="set datafs to the path of Data.fs itself",
            )
        if not status.st_size:
            raise IntegrityError(
                "the filestorage is empty, not even its first 4 bytes are there",
                where=self.path,
                hint="restore it, or remove it if this site never held anything",
            )
        with explained("cannot read the filestorage", self.path):
            magic = os.pread(self._descriptor, MAGIC_SIZE, 0)
        if magic not in MAGICS:
            raise IntegrityError(
                f"not a filestorage, it begins with {magic!r}",
                where=self.path,
                hint="is the path right? A damaged filestorage can be restored from its backup",
            )

    def __enter__(self) -> TransactionLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor; for callers that cannot use ``with``."""
        os.close(self._descriptor)

    @property
    def size(self) -> int:
        """Its size in bytes now, the tail included."""
        return os.fstat(self._descriptor).st_size

    def read_at(self, offset: int, size: int) -> bytes:
        """Return the bytes from *offset* on, *size* at most, fewer only where the log ends."""
        with explained("cannot read the filestorage", self.path):
            return os.pread(self._descriptor, size, offset)

    def _tail(self, begin: int, after: Tid) -> str | None:
        with explained("cannot read the filestorage", self.path):
            return tail.tail_at(self._descriptor, begin, after, self.path)
