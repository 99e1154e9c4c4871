"""The place of the current record of each object: some 9 bytes for each.

It comes from the index that was stored with the log, if that is believed, and from the headers
of the records behind it; else from those of all records.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ZODB.fsIndex import fsIndex

from collective.recipe.backup.filestorage.believing import is_believed
from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.fsindex import start_of_entries
from collective.recipe.backup.filestorage.indexpairs import UnbelievableError, pairs
from collective.recipe.backup.filestorage.storedlog import StoredLog
from collective.recipe.backup.smallfile import open_regular


def index_of(log: StoredLog) -> fsIndex:
    """Return the places of all objects of *log*.  Raises IntegrityError if it is damaged."""
    saved = log.saved_index()
    index, start = (saved and _read(saved, log)) or (fsIndex(), MAGIC_SIZE)
    for oid, place in log.places(start):
        index[oid] = place
    return index


def _read(path: Path, log: StoredLog) -> tuple[fsIndex, int] | None:
    """Return the index at *path*, and where the log ended for it; None: it is not believed."""
    with suppress(OSError, UnbelievableError):
        if is_believed(path, log.read_at):
            with open_regular(path) as file:
                end = start_of_entries(file)
                found = list(pairs(file))
            index = fsIndex()
            # as ZODB itself reads an index that it has pickled
            index.__setstate__({"state_version": 1, "_data": found})
            if end is not None:
                return index, end
    return None
