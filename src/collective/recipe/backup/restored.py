"""The note that a restore leaves beside a filestorage, for the backups after it.

The next backup needs it: from the log alone it can see that history was cut off, but neither when,
nor up to which moment the restored state is known to be that of the site.

``Data.fs.restored.json`` is written before the restored data becomes live, and stays until the
next restore.  Readers compare it with the log, so the note of a restore that never came to its
end has no effect.  One object:

    format       1
    filestorage  the path of the filestorage; in a copy of the site the note says nothing
    restored     when, ISO 8601
    own          whether it came from backups of this site, not from those of another one
    directory    where these backups lie
    chain        the stamp of the full backup that it came from
    newest       the stamp of the newest restore point that was there
    tid          the last transaction of what was restored, 16 hex digits, or null
    until        up to this tid the site was what was restored
    since        the earliest transaction that it can be cut after, or null
    holes        [first, end] of what it cannot tell, 16 hex digits each
    check        the CRC-32 of the same object without it
"""

from __future__ import annotations

from pathlib import Path

from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.jsonfile import Form, Table, UnreadableError, eight_bytes
from collective.recipe.backup.lineage import Restored
from collective.recipe.backup.model import Hole
from collective.recipe.backup.times import Tid

SUFFIX = ".restored.json"
FORM = Form(version=1)


def note_path(filestorage: Path) -> Path:
    """Return where the note of a restore of *filestorage* lies."""
    return filestorage.with_name(filestorage.name + SUFFIX)


def write(filestorage: Path, restored: Restored, files: Files) -> None:
    """Note what takes the place of *filestorage*, which is no symbolic link."""
    content = {
        "filestorage": str(filestorage),
        "restored": restored.when.isoformat(),
        "own": restored.own,
        "directory": restored.directory,
        "chain": restored.chain,
        "newest": restored.newest,
        "tid": restored.tid and restored.tid.hex(),
        "until": restored.until.hex(),
        "since": restored.since and restored.since.hex(),
        "holes": [[hole.first.hex(), hole.end.hex()] for hole in restored.holes],
    }
    path = note_path(filestorage)
    with explained("cannot note what is restored", path):
        files.write(path, FORM.encode(content))


def read(filestorage: Path) -> Restored | None:
    """Return what the last restore of *filestorage* noted, None if nothing is known of one.

    Raises IntegrityError if the note cannot be read.
    """
    path = note_path(filestorage)
    try:
        with explained("cannot read what the last restore noted", path):
            table = FORM.load(path)
        return None if table is None else _decode(table, filestorage)
    except UnreadableError as error:
        raise IntegrityError(
            f"what the last restore noted cannot be read: {error}",
            where=path,
            hint="move it away; the next chain of backups then tells less of the time before",
        ) from error


def _decode(table: Table, filestorage: Path) -> Restored | None:
    if table.text("filestorage") != str(filestorage):
        return None
    return Restored(
        when=table.moment("restored"),
        own=table.flag("own"),
        directory=table.text("directory"),
        chain=table.text("chain"),
        newest=table.text("newest"),
        tid=_tid(table.id_or_none("tid")),
        until=Tid(table.id("until")),
        since=_tid(table.id_or_none("since")),
        holes=tuple(
            Hole(Tid(eight_bytes(first)), Tid(eight_bytes(end)))
            for first, end in table.rows("holes", 2)
        ),
    )


def _tid(data: bytes | None) -> Tid | None:
    return None if data is None else Tid(data)
