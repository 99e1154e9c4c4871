"""The transactions in the backups, or in the live site: who did what, and when.

Changes nothing.  Logs are read from the begin to the end, and no transaction is held.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.filestorage.log import Log
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import Oid, Source
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.restorepoints import Choice, newest
from collective.recipe.backup.transactions.coverage import EVERYTHING, Share, Stretch, shares
from collective.recipe.backup.transactions.logged import Logged, logged
from collective.recipe.backup.transactions.merging import merged


@dataclass(frozen=True, kw_only=True)
class ChronicleOrder:
    """The transactions that a user asks for."""

    stretch: Stretch = EVERYTHING  # span of time
    live: bool = False  # of the site as it is now, not of the backups
    oids: Container[Oid] | None = None  # only what was written of these; None: everything
    with_kinds: bool = False  # with the classes of the objects; that reads more
    wanted: Callable[[Logged], bool] = lambda _entry: True  # tells whether a transaction is wanted


class Chronicle(NamedTuple):
    """The transactions of one storage, oldest first, each read when it is asked for."""

    source: Source  # its source
    entries: Iterator[Logged]  # read while they are taken


@contextmanager
def chronicles(run: Run, order: ChronicleOrder) -> Iterator[list[Chronicle]]:
    """Yield what happened in each storage; it is to be read before the ``with`` block ends.

    Raises NoRestorePoint where there is no restore point, and ConfigurationError if only blobs
    are backed up; reading raises IntegrityError for a log that is damaged.
    """
    with ExitStack() as opened:
        if order.live:
            yield [_live(source, order, opened) for source in run.config.sources]
            return
        destinations = opened.enter_context(run.opened())
        missingdisk.warn(run)
        yield [_backed_up(each, order, opened) for each in destinations]


def _live(source: Source, order: ChronicleOrder, opened: ExitStack) -> Chronicle:
    log = opened.enter_context(TransactionLog(source.filestorage))
    found = logged(log, [order.stretch], with_kinds=order.with_kinds, oids=order.oids)
    return Chronicle(source, filter(order.wanted, found))


def _backed_up(destination: Destination, order: ChronicleOrder, opened: ExitStack) -> Chronicle:
    points = destination.restore_points()
    if not any(point.restorable for point in points):
        newest(points)  # says why
    found = shares(points, order.stretch)
    logs = [
        logged(
            log_of(destination, share, opened),
            share.gaps,
            with_kinds=order.with_kinds,
            oids=order.oids,
        )
        for share in found
    ]
    told = merged(logs, [share.lost for share in found])
    return Chronicle(destination.source, filter(order.wanted, told))


def log_of(destination: Destination, share: Share, opened: ExitStack) -> Log:
    """Return the log of a *share*, open until *opened* is left.

    Raises ConfigurationError if only blobs are backed up.
    """
    log = opened.enter_context(destination.open(Choice(point=share.point))).log
    if log is None:
        raise ConfigurationError(
            "only blobs are backed up here, and they do not tell who did what",
            hint="--live reads the log of the site itself",
        )
    return log
