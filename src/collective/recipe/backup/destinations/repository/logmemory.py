"""Notes on this machine about the filestorage that was backed up last.

They only save work.  A filestorage that looks as it did when the newest restore point was made has
nothing new; one that is still the same file, and longer, has only grown.
"""

from __future__ import annotations

import os
from pathlib import Path

from collective.recipe.backup.errors import explained
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, UnreadableError
from collective.recipe.backup.repository.cache import Cache

_FORM = Form(version=1)


@dataclass(frozen=True, kw_only=True)
class FileLook:
    """Facts about a file that are known without reading it."""

    device: int  # number of its file system
    inode: int  # its number there
    size: int  # bytes
    changed: int  # when its bytes were last changed, nanoseconds since 1970


def look_at(path: Path) -> FileLook:
    """Return what a look at the filestorage tells.  Raises BackupError if it cannot be seen.

    It is to be taken before the filestorage is opened, lest a change in between go unseen.
    """
    with explained("cannot open the filestorage", path):
        status = os.stat(path)
    return FileLook(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        changed=status.st_mtime_ns,
    )


class LogMemory:
    """The notes in *cache* about the filestorage of one *site*."""

    def __init__(self, cache: Cache, site: str) -> None:
        self._cache = cache
        self._key = f"log {site}"

    def remember(self, point: str, look: FileLook) -> None:
        """Remember how the filestorage looked of which the restore point *point* was made.

        *point* is the name of its object.
        """
        self._cache.set(self._key, _FORM.encode({"point": point, **vars(look)}))

    def recall(self, point: str) -> FileLook | None:
        """Return how it looked; None: that is not known of this restore point."""
        try:
            said = _FORM.decode(self._cache.get(self._key) or b"")
            if said.text("point") != point:
                return None
            return FileLook(
                device=said.number("device"),
                inode=said.number("inode"),
                size=said.number("size"),
                changed=said.number("changed"),
            )
        except UnreadableError:
            return None
