"""The mark of a standby: that the filestorage beside it is one, and how its last round left it.

``Data.fs.standby.json`` is written before the first round, at the end of each one, and when the
standby is promoted.  One object:

    format       1
    filestorage  the path of the filestorage; in a copy of the directory the mark says nothing
    source       the name of the site, and where the backups lie that it comes from
    promoted     when it was promoted, ISO 8601, or null
    left         each filestorage as it was left: live (its path), inode, length in bytes, time of
                 its last change in nanoseconds since 1970
    blobs        the paths of the blobstorages that its last round left
    check        the CRC-32 of the same object without it
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, UnreadableError
from collective.recipe.backup.model import Source

SUFFIX = ".standby.json"
FORM = Form(version=1)


class AsLeft(NamedTuple):
    """The fingerprint of a filestorage that no program has written to since."""

    live: str  # its path
    inode: int  # number of the file in its file system
    length: int  # bytes
    time: int  # of its last change, in nanoseconds since 1970


@dataclass(frozen=True, kw_only=True)
class StandbyMark:
    """The facts about a standby."""

    source: str  # the name of the site, and where its backups lie, as errors call it
    left: tuple[AsLeft, ...] = ()  # the filestorages as its last round left them; none before one
    blobs: tuple[str, ...] = ()  # the paths of the blobstorages that were there then
    promoted: datetime | None = None  # None: it is a standby still

    def gone(self) -> str:
        """Return the path of something that was left and is not there now, "" if all is there."""
        gone = [each.live for each in self.left if not Path(each.live).is_file()]
        gone += [each for each in self.blobs if not Path(each).is_dir()]
        return gone[0] if gone else ""

    def has_all_of(self, targets: Iterable[Source]) -> bool:
        """Tell whether all files of *targets* are as they were left, unchanged."""
        left = {each.live: each for each in self.left}
        for target in targets:
            was = left.pop(str(target.filestorage), None)
            if left_now([target.filestorage]) != ((was,) if was else ()):
                return False
            if was is None and has_blobs(target):
                return False
        return not left and not self.gone()


def left_so(targets: Iterable[Source], source: str) -> StandbyMark:
    """Return the mark of a copy, from *source*, that is left as *targets* look now."""
    targets = list(targets)
    blobs = [each.blobstorage for each in targets if each.blobstorage and each.blobstorage.is_dir()]
    return StandbyMark(
        source=source,
        left=left_now(each.filestorage for each in targets),
        blobs=tuple(map(str, blobs)),
    )


def left_now(filestorages: Iterable[Path]) -> tuple[AsLeft, ...]:
    """Return how each of *filestorages* that is there looks now."""
    there = ((path, path.stat()) for path in filestorages if path.is_file())
    return tuple(AsLeft(str(path), it.st_ino, it.st_size, it.st_mtime_ns) for path, it in there)


def has_blobs(target: Source) -> bool:
    """Tell whether something lies in the blobstorage of *target*."""
    blobs = target.blobstorage
    if blobs is None or not blobs.is_dir():
        return False
    with os.scandir(blobs) as entries:
        return any(True for _entry in entries)


def mark_path(filestorage: Path) -> Path:
    """Return where the mark of *filestorage* lies."""
    return filestorage.with_name(filestorage.name + SUFFIX)


def write(filestorage: Path, mark: StandbyMark, files: Files) -> None:
    """Mark *filestorage*, which is no symbolic link, in one step."""
    path = mark_path(filestorage)
    content = {
        "filestorage": str(filestorage),
        "source": mark.source,
        "promoted": mark.promoted and mark.promoted.isoformat(),
        "left": [each._asdict() for each in mark.left],
        "blobs": list(mark.blobs),
    }
    with explained("cannot mark the standby", path):
        files.make_directories(path.parent)
        files.write(path, FORM.encode(content))


def read(filestorage: Path) -> StandbyMark | None:
    """Return the mark of *filestorage*, None if it has none of its own.

    Raises IntegrityError if the mark cannot be read.
    """
    path = mark_path(filestorage)
    try:
        with explained("cannot read the mark of the standby", path):
            table = FORM.load(path)
        if table is None or table.text("filestorage") != str(filestorage):
            return None
        promoted = table.value("promoted")
        return StandbyMark(
            source=table.text("source"),
            left=tuple(
                AsLeft(row.text("live"), *(row.number(name) for name in AsLeft._fields[1:]))
                for row in table.tables("left")
            ),
            blobs=tuple(table.texts("blobs")),
            promoted=None if promoted is None else table.moment("promoted"),
        )
    except UnreadableError as error:
        raise IntegrityError(
            f"the mark of the standby cannot be read: {error}",
            where=path,
            hint="if this copy was never promoted, remove the mark and all that lies beside it, "
            "and begin anew",
        ) from error
