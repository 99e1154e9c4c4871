"""The other oids under which objects were kept, before they were brought back or since.

Changes nothing.  Of each log the headers of all transactions are read, and no data.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack

from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import MAIN, Oid
from collective.recipe.backup.operations.chronicle import log_of
from collective.recipe.backup.operations.objects import storage_number
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.transactions.coverage import EVERYTHING, shares
from collective.recipe.backup.transactions.renumbering import Lives, Renumbered, renumberings

logger = logging.getLogger("backup")


def with_other_oids(
    run: Run, oids: frozenset[Oid], storage: str = MAIN, *, live: bool = False
) -> frozenset[Oid]:
    """Return *oids* and all others that the same objects of *storage* had or have.

    They are looked for in the backups, or only in the *live* site.  Raises UsageError,
    NoRestorePoint, ConfigurationError and IntegrityError as ``chronicles`` does.
    """
    number = storage_number(run, storage)
    with ExitStack() as opened:
        found = Lives(_found(run, number, opened, live=live)).of(oids)
    if len(oids) == 1:
        for oid in sorted(found - oids):
            logger.info("the same object had or has the oid %s: it was brought back", oid.hex())
    return found


def _found(run: Run, number: int, opened: ExitStack, *, live: bool) -> Iterator[Renumbered]:
    if live:
        path = run.config.sources[number].filestorage
        yield from renumberings(opened.enter_context(TransactionLog(path)))
        return
    destination = opened.enter_context(run.opened())[number]
    for share in shares(destination.restore_points(), EVERYTHING):
        yield from renumberings(log_of(destination, share, opened), share.gaps)
