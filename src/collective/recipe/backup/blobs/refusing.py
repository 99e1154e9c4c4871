"""Files in a blobstorage that are not copied: the reason, and what to do about it."""

from __future__ import annotations

import os
from pathlib import Path

from collective.recipe.backup.blobs.layout import Entry, Kind
from collective.recipe.backup.errors import BackupError, from_os_error
from collective.recipe.backup.unreadable import unreadable

_COPIED = Kind.BLOB, Kind.FILE, Kind.MARKER, Kind.DIRECTORY


def refusal(entry: Entry, root: Path) -> BackupError | None:
    """Return why an entry below *root* is not copied, None if it is.

    A symbolic link may lead to a path below *root*, not out of it: the copy, restored elsewhere,
    would reach, and change, files that were never backed up.
    """
    if entry.kind in _COPIED:
        return None
    path = root / entry.path
    if entry.kind is Kind.LINK and not _leads_out(entry, path):
        return None
    if entry.kind is Kind.UNREADABLE:
        return _unreadable_directory(path)
    what, hint = _REFUSED[entry.kind]
    return BackupError(what, where=path, hint=hint)


_REFUSED = {
    Kind.IMPOSTOR: (
        "a symbolic link stands where a blob or a directory of blobs is expected",
        "put what it points to in its place; to spread blobs over disks, use a bind mount",
    ),
    Kind.SPECIAL: (
        "this is neither file, directory nor symbolic link",
        "nothing but blobs belongs here: move it away",
    ),
    Kind.LINK: (
        "a symbolic link leads out of the blobstorage",
        "remove it, or put what it points to in its place",
    ),
}


def _unreadable_directory(path: Path) -> BackupError:
    """Return why the directory *path* cannot be looked into."""
    try:
        os.listdir(path)
    except OSError as error:
        return from_os_error(error, "cannot be read", path)
    return BackupError("it could not be looked into a moment ago", where=path)


def _leads_out(entry: Entry, path: Path) -> bool:
    try:
        return leads_out(entry.path, os.readlink(path))
    except OSError:  # the copy that follows reports it
        return False


def text_of(link: Path) -> str:
    """Return the text of a symbolic link.  Raises CannotReadError."""
    try:
        return os.readlink(link)
    except OSError as error:
        raise unreadable(error, link) from error


def leads_out(path: str, text: str) -> bool:
    """Tell whether a symbolic link at *path* with *text* may lead out of the tree."""
    if text.startswith("/"):
        return True
    names = [name for name in text.split("/") if name not in ("", ".")]
    up = 0
    while up < len(names) and names[up] == "..":
        up += 1
    # after a name, which may be a link itself, ".." can lead anywhere
    return up > path.count("/") or ".." in names[up:]
