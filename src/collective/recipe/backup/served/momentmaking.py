"""The storage of a state, and what it holds as long as it is open."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.files import Files
from collective.recipe.backup.served.momentblobs import MomentBlobs
from collective.recipe.backup.served.momentrecords import MomentRecords
from collective.recipe.backup.served.momentstorage import MomentStorage
from collective.recipe.backup.served.privatecache import private_cache
from collective.recipe.backup.served.readpages import ReadPages
from collective.recipe.backup.states import State


class MomentCache(NamedTuple):
    """The directories in which a storage may copy bytes that it cannot read in place."""

    room: Path  # a directory, in which each storage gets its own
    size: int  # bytes of the log, and as many of blobs


def moment_storage(state: State, name: str, files: Files, cache: MomentCache) -> MomentStorage:
    """Return the storage of *state*, which is left when it is closed; logs call it *name*.

    Raises IntegrityError if what it needs to begin with is missing or damaged, BackupError if
    that cannot be read, and ConfigurationError if it has no filestorage.
    """
    with ExitStack() as stack:
        stack.enter_context(state)
        if state.log is None:
            raise ConfigurationError("only blobs are backed up here, and they tell of no objects")
        directory = stack.enter_context(private_cache(cache.room, files))
        aside = stack.enter_context(files.scratch(directory / "log"))
        # the file vanishes with this process, however it ends
        files.remove(Path(aside.path))
        pages = ReadPages(state.log, aside, cache.size)
        stack.callback(pages.close)
        records = MomentRecords(state.log, pages)
        found = state.blobs
        blobs = None if found is None else MomentBlobs(found, directory, files, cache.size)
        return MomentStorage(name, records, blobs, directory, stack.pop_all())
