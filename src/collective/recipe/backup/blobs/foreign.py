"""The fingerprint of the files in a blobstorage that are not blobs.

No log says when such a file changes.  A tree is compared with them file by file; an archive would
have to be read for that, so its restore point has the fingerprint: a digest of their names, sizes
and times, and of the targets of links.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from collective.recipe.backup.blobs.digesting import obstacle
from collective.recipe.backup.blobs.layout import Kind, walk
from collective.recipe.backup.blobs.refusing import refusal

_SIZE = 16


class Foreign:
    """A digest of foreign files, which come in the order of the walk."""

    def __init__(self) -> None:
        """Begin with none."""
        self._digest = blake3()
        self._any = False

    def add_file(self, path: str, status: os.stat_result) -> None:
        """Add a file: its *path* below the root, and what it is."""
        self._add(b"f", path, b"%d %d" % (status.st_size, status.st_mtime_ns))

    def add_link(self, path: str, text: str) -> None:
        """Add a symbolic link to *text*."""
        self._add(b"l", path, os.fsencode(text))

    def _add(self, kind: bytes, path: str, told: bytes) -> None:
        self._digest.update(b"\0".join([kind, os.fsencode(path), told, b""]))
        self._any = True

    def __str__(self) -> str:
        """Return the digest in hex, "" if there are none."""
        return self._digest.hexdigest(_SIZE) if self._any else ""


def foreign_of(source: Path, *, read: bool) -> tuple[str, int]:
    """Return the fingerprint of the non-blob files of *source* now, and how many cannot be copied.

    With *read* all of them are read, as a backup does it, and files that cannot be read to their
    end are not in the fingerprint.
    """
    found, left = Foreign(), 0
    for entry in walk(source):
        if entry.kind in (Kind.BLOB, Kind.DIRECTORY):
            continue
        # a file that has just gone away is none
        with suppress(FileNotFoundError):
            if obstacle(entry, source) if read else refusal(entry, source):
                left += 1
            elif entry.kind is Kind.FILE:
                found.add_file(entry.path, (source / entry.path).lstat())
            elif entry.kind is Kind.LINK:
                found.add_link(entry.path, os.readlink(source / entry.path))
    return str(found), left
