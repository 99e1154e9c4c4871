"""Errors of reading, told apart from errors of writing.

A blob of the site that cannot be read is a fault of that blob: it is named, and the rest is backed
up.  A file of the backup that cannot be written is a fault of the backup, which ends.  Both are an
OSError of the kernel, and those of ``read`` and ``write`` name no file.  So a reader raises the
errors of this room.
"""

from __future__ import annotations

import errno
import os

StrPath = str | os.PathLike[str]

_OF_THE_PROCESS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class CannotReadError(OSError):
    """A file or a directory cannot be read: the written files are not at fault."""


class CutShortError(CannotReadError):
    """A file ended before its *size* in bytes, or that changed while it was read."""

    size = 0

    @classmethod
    def of(cls, path: StrPath, size: int, read: int) -> CutShortError:
        """Return the error that says so: of *size* bytes *read* could be read."""
        why = f"{read:,} bytes of {size:,} could be read, then it ended"
        if read >= size:
            why = f"its size changed while its {size:,} bytes were read"
        error = cls(errno.EIO, why, os.fspath(path))
        error.size = size
        return error


def unreadable(error: OSError, path: StrPath) -> OSError:
    """Return the error to raise for *error*, which occurred in reading *path*.

    That is a CannotReadError.  But a missing file is reported as missing, and an error of a process
    without memory or descriptors is not about any file.
    """
    if isinstance(error, FileNotFoundError | CannotReadError) or error.errno in _OF_THE_PROCESS:
        return error
    return CannotReadError(error.errno, error.strerror, os.fspath(path))
