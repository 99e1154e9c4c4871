"""The places of records that an index tells which was stored with a log, if it is believed."""

from __future__ import annotations

from contextlib import suppress

from collective.recipe.backup.filestorage.believing import is_believed
from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.fsindex import start_of_entries
from collective.recipe.backup.filestorage.indexpairs import UnbelievableError, pairs
from collective.recipe.backup.filestorage.storedlog import StoredLog
from collective.recipe.backup.smallfile import open_regular


def saved_places(log: StoredLog) -> tuple[dict[bytes, bytes], int]:
    """Return the entries of the index by their prefix, and where the log ended for it.

    Without an index that is believed there are none, and all of the log has to be read.
    """
    path = log.saved_index()
    with suppress(OSError, UnbelievableError):
        if path is not None and is_believed(path, log.read_at):
            with open_regular(path) as file:
                end = start_of_entries(file)
                found = dict(pairs(file))
            if end is not None:
                return found, end
    return {}, MAGIC_SIZE
