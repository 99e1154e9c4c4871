"""The mark of a standby: that the filestorage beside it is one, and how its last round left it.

``Data.fs.standby.json`` is written before the first round, at the end of each, and when
the standby is promoted.  One object:

    format       1
    filestorage  the path of the filestorage; in a copy of the directory the mark says nothing
    source       where the backups lie that it comes from
    point        the stamp of the restore point that it has come to, or null
    promoted     when it was promoted, ISO 8601, or null
    left         each filestorage as it was left: live (its path), inode, length in bytes, time of
                 its last change in nanoseconds since 1970
    check        the CRC-32 of the same object without it
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import Form, UnreadableError

SUFFIX = ".standby.json"
FORM = Form(version=1)


class AsLeft(NamedTuple):
    """By what a filestorage is known again that nothing has written to."""

    live: str  # its path
    inode: int
    length: int  # bytes
    time: int  # of its last change, in nanoseconds since 1970


@dataclass(frozen=True, kw_only=True)
class StandbyMark:
    """What is known of a standby."""

    source: str  # where the backups lie, as lists and errors call it
    left: tuple[AsLeft, ...]  # the filestorages as its last round left them
    promoted: datetime | None = None  # None: it is a standby still
    point: str | None = None  # the stamp of what it is; None: not known, or nothing came yet

    @property
    def is_as_left(self) -> bool:
        """Tell whether no filestorage has changed in any way since it was left."""
        return self.left == left_now(Path(each.live) for each in self.left)


def left_now(filestorages: Iterable[Path]) -> tuple[AsLeft, ...]:
    """Return how each of *filestorages* that is there looks now."""
    there = ((path, path.stat()) for path in filestorages if path.is_file())
    return tuple(AsLeft(str(path), it.st_ino, it.st_size, it.st_mtime_ns) for path, it in there)


def mark_path(filestorage: Path) -> Path:
    """Return where the mark of *filestorage* lies."""
    return filestorage.with_name(filestorage.name + SUFFIX)


def write(filestorage: Path, mark: StandbyMark, files: Files) -> None:
    """Mark *filestorage*, which is no symbolic link, in one step."""
    path = mark_path(filestorage)
    content = {
        "filestorage": str(filestorage),
        "source": mark.source,
        "point": mark.point,
        "promoted": mark.promoted and mark.promoted.isoformat(),
        "left": [each._asdict() for each in mark.left],
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
            point=table.text_or_none("point"),
            left=tuple(
                AsLeft(row.text("live"), *(row.number(name) for name in AsLeft._fields[1:]))
                for row in table.tables("left")
            ),
            promoted=None if promoted is None else table.moment("promoted"),
        )
    except UnreadableError as error:
        raise IntegrityError(
            f"the mark of the standby cannot be read: {error}",
            where=path,
            hint="if this copy was never promoted, remove the mark and all that lies beside it, "
            "and begin anew",
        ) from error
