"""The caches of ZEO clients, which may hold transactions that a restore takes back.

A ZEO client that has a name (``client`` in its ``zope.conf``) keeps what it has read in a file
``CLIENT-STORAGE.zec``, in the directory ``var`` of that section or in the one that it is
started in.  It begins with ``ZEC3`` and the tid of the last transaction that the client knows,
8 bytes; see ``ZEO/cache.py``.  A client that knows a later transaction than its server has
serves no page ("Server behind client").  Once the server has newer ones, that client shows
objects of a time that was taken back.  To remove the file is safe: the client reads again what
it needs.

Only caches on this machine can be found: those that the configuration of the site names, and those
beside the filestorage, in its ``var`` and in the directories there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from collective.recipe.backup import locking
from collective.recipe.backup.destinations.configured import all_directories
from collective.recipe.backup.errors import BackupError, explained, printable
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import Source
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.smallfile import regular
from collective.recipe.backup.times import ZERO_TID, Tid

logger = logging.getLogger("backup")

SUFFIX = ".zec"
_MAGIC = b"ZEC"  # and the version of the format, a digit
_FILESTORAGES = "filestorage"  # how buildouts call the directory in var


class Clients:
    """The caches of ZEO clients of *filestorages* that a restore is about to change."""

    def __init__(
        self, run: Run, filestorages: Iterable[Path], *, changed: bool = False, keep: bool = False
    ) -> None:
        """Look at what there is.

        *changed* tells that clients may know a state before the present one; with *keep*
        their caches stay.
        """
        self._run = run
        self._before = {path: None if changed else last_tid(path) for path in filestorages}
        self._caches = existing_caches(run) if self._before else []
        self._keep = keep
        self._behind = False  # whether the site may lack what clients know

    @property
    def question(self) -> str:
        """Return the part of the question about caches to remove, "" if there are none."""
        if self._keep or not self._caches:
            return ""
        head = (
            "\nIf this takes the site back in time, these caches of ZEO clients are removed, "
            "since no client works with a cache that is later than the site:"
        )
        return "\n".join([head, *(f"    {printable(str(path))}" for path in self._caches)])

    def settle(self) -> None:
        """Remove the caches if they may know later transactions than the site now has.

        A cache that is in use, or cannot be removed, is warned of: the site is back all the same.
        """
        now = {path: last_tid(path) for path in self._before}
        newest = max((tid or ZERO_TID for tid in now.values()), default=ZERO_TID)
        self._behind = any(_is_earlier(now[path], tid) for path, tid in self._before.items())
        self._behind |= any(_known_to(cache) > newest for cache in self._caches)
        for cache in self._caches if self._behind else ():
            if self._keep:
                logger.warning("remove this cache before you start its ZEO client: %s", cache)
            else:
                self._remove(cache)

    def advise(self) -> None:
        """Say what to do about clients that cannot be reached from here."""
        if self._behind:
            logger.info(
                "ZEO clients may be ahead of the site now: restart each, on other machines as "
                "well, and remove its *%s file first (client in zope.conf)",
                SUFFIX,
            )

    def _remove(self, cache: Path) -> None:
        try:
            with locking.closed_cache(cache), explained("cannot remove it", cache):
                self._run.files.remove(cache)
                self._run.files.sync_directory(cache.parent)
        except BackupError as error:
            logger.warning("%s; remove this cache before you start its ZEO client", error)
        else:
            logger.info("removed the cache of a ZEO client: %s", cache)


def existing_caches(run: Run) -> list[Path]:
    """Return the caches of ZEO clients that are on this machine, sorted."""
    return sorted({path for path in _candidates(run) if _known_to(path) > ZERO_TID})


def last_tid(filestorage: Path) -> Tid | None:
    """Return the last transaction of *filestorage*, None if it cannot be told."""
    try:
        with TransactionLog(filestorage) as log:
            last = log.before(log.size)
    except (BackupError, OSError):
        return None
    return last.tid if last else None


def _known_to(cache: Path) -> Tid:
    """Return the last transaction that the file *cache* knows, ZERO_TID if it is no cache."""
    with suppress(OSError):
        descriptor = regular(cache, os.O_RDONLY)
        try:
            head = os.read(descriptor, len(_MAGIC) + 1 + len(ZERO_TID))
        finally:
            os.close(descriptor)
        if head.startswith(_MAGIC) and len(head) == len(_MAGIC) + 1 + len(ZERO_TID):
            return Tid(head[-len(ZERO_TID) :])
    return ZERO_TID


def _is_earlier(now: Tid | None, before: Tid | None) -> bool:
    return now is None or before is None or now < before


def _candidates(run: Run) -> Iterator[Path]:
    yield from run.config.caches
    held = set(_held(run))
    for directory in {source.filestorage.parent for source in run.config.sources}:
        yield from _caches_in(directory)
        # elsewhere, what lies above may be of other sites
        if directory.name == _FILESTORAGES:
            yield from _caches_in(directory.parent)
            # a directory of blobs has too many entries to be looked through
            for place in set(_directories_in(directory.parent)) - held:
                yield from _caches_in(place)


def _held(run: Run) -> Iterator[Path]:
    """Yield what the blobs of the site and its backups lie in."""
    yield from filter(None, (source.blobstorage for source in run.config.sources))
    yield from all_directories(run.config)


def _directories_in(directory: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield Path(entry)


def _caches_in(directory: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX):
                yield Path(entry)


def clients_of(
    run: Run, order: RestoreOrder, targets: Sequence[Source], *, changed: bool = False
) -> Clients:
    """Return what ZEO clients may know of the live site that *order* changes.

    *changed* tells that it has changed already since they were running.
    """
    is_live = order.filestorage and order.to is None
    filestorages = [target.filestorage for target in targets if is_live]
    return Clients(run, filestorages, changed=changed, keep=order.keep_caches)
