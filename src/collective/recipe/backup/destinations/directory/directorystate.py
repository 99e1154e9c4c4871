"""One moment of a directory, opened to be read: the log of a chain, and its blobs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

from collective.recipe.backup.destinations.directory.directorycontents import DirectoryContents
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.repozo.chainlog import ChainLog
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.states import State
from collective.recipe.backup.times import LAST_TID, Tid

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.storedblobs import StoredBlobs
    from collective.recipe.backup.destinations.directory.program import Repozo


def state_of(contents: DirectoryContents, choice: Choice, repozo: Repozo | None) -> State:
    """Return the state of *choice*; with *repozo* that program reads the filestorage part."""

    @cache
    def log() -> ChainLog:
        return _log(contents, choice, repozo)

    @cache
    def until() -> Tid:
        return choice.until or choice.point.tid or _last_tid(log())

    return State(choice, log=log, blobs=partial(_blobs, contents, choice, until))


def _log(contents: DirectoryContents, choice: Choice, repozo: Repozo | None) -> ChainLog:
    chain = contents.chain(choice.point.chain)
    if repozo is None:
        return ChainLog(chain, choice)
    from collective.recipe.backup.destinations.directory.program import ProgramLog

    return ProgramLog(chain, choice, repozo)


def _blobs(
    contents: DirectoryContents, choice: Choice, until: Callable[[], Tid]
) -> StoredBlobs | None:
    point = choice.point
    if contents.blobs is None or point.blobs is None:
        return None
    is_whole = choice.until in (None, point.tid) and point.tid is not None
    return contents.blobs.open(point.blobs, until, point.blob_bytes if is_whole else None)


def _last_tid(log: ChainLog) -> Tid:
    """Return the last transaction of a backup by an older release.

    If its filestorage is damaged, all of its blobs count, for users who restore only blobs.
    """
    try:
        return log.end().tid or LAST_TID
    except IntegrityError:
        return LAST_TID
