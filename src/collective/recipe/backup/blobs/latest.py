"""``latest``: a symbolic link to the newest blobs, for people; nothing here follows it.

So it is renewed if the file system and its owner permit.  Another kind of file of that name is not
ours: it stays as it is, with a warning, because a user may take it for the newest.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from collective.recipe.backup.errors import explained
from collective.recipe.backup.files import Files

logger = logging.getLogger("backup")

NAME = "latest"


def renew(directory: Path, name: str, files: Files) -> None:
    """Make the link in *directory* lead to *name* beside it, if there are links there."""
    link = directory / NAME
    if os.path.lexists(link) and not link.is_symlink():
        logger.warning(
            "%s is not the link that backups make to the newest blobs: move it away", link
        )
        return
    with explained("cannot renew the link to the newest blobs", link):
        if not link.is_symlink() or os.readlink(link) != name:
            files.point(link, name)


def forget(directory: Path, files: Files) -> None:
    """Remove the link, where one that leads to the newest would soon lead to another one."""
    link = directory / NAME
    with explained("cannot remove the link to the newest blobs", link):
        if link.is_symlink():
            files.remove(link)
