"""The health of a site, as far as one can look at it in a moment.

A filestorage is walked from where its index or the newest backup says that a transaction
ended, and from its end some way back, record by record.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from collective.recipe.backup.amounts import number_of, size
from collective.recipe.backup.blobs.marker import flaw_of, laid_out, refuse_cache
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.filestorage import fsindex, tail
from collective.recipe.backup.filestorage.believing import is_believed
from collective.recipe.backup.filestorage.blobrecords import blobs
from collective.recipe.backup.filestorage.companions import index_of
from collective.recipe.backup.filestorage.log import MAGIC_SIZE
from collective.recipe.backup.filestorage.records import records_of
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.findings import DoctorFinding, Report
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.operations.standbyrefusal import refuse_standby
from collective.recipe.backup.times import moment_of, stamp

LOOKED_BACK = 1000
"""Transactions at the end that are looked into."""
SAMPLE = 2000
"""Blobs of these that are looked for."""
AHEAD = 300
"""Seconds that clocks may differ."""


def storages(run: Run, destination: Destination) -> Iterator[DoctorFinding]:
    """Look at the filestorage and the blobs of its source."""
    path = destination.source.filestorage
    if os.path.lexists(path):
        yield from filestorage(run, destination)
        yield from blobstorage(destination)
        return
    report = Report("filestorage")
    if run.config.options.only_blobs:
        report.ok("it is not here, and only the blobs are backed up", path)
        yield from report
        return
    report.problem(
        "the filestorage is not there",
        path,
        "is the path right, and is the disk mounted?  On a new machine a restore makes it: "
        f"{run.restore_command}",
    )
    yield from report


def filestorage(run: Run, destination: Destination) -> Iterator[DoctorFinding]:
    """Look at the filestorage of its source: its last part, its end and its index."""
    report = Report("filestorage")
    source = destination.source
    path = source.filestorage
    if source == run.config.sources[-1]:
        for doubt in run.config.doubts:
            what, _colon, hint = doubt.partition(": ")
            report.warning(what, path, hint)
    with report.looking(path):
        refuse_standby(source)
    with report.looking(path), TransactionLog(path) as log:
        end = log.end(_known_boundary(destination, log))
        begin, count = _back(log, end.offset)
        for transaction in log.transactions(begin, end.offset):
            # reads the heads of all its records, and refuses what does not fit
            for _record in records_of(log, transaction):
                pass
        report.ok(
            f"{size(log.size)}, whole up to byte {end.offset}; "
            f"looked into the last {number_of(count, 'transaction')}",
            path,
        )
        if end.tail == tail.CUT_SHORT:
            report.warning(
                f"its last {log.size - end.offset} bytes are no whole transaction",
                path,
                "a transaction was cut short, by a crash or a full disk: the backup leaves it "
                "out, and ZODB removes it when it opens the filestorage",
            )
        if end.reductions:
            found = number_of(end.reductions, "transaction has", "transactions have")
            report.warning(
                f"{found} an id that is not later than one before",
                path,
                "a clock was set back once, or a tool copied transactions; ZODB opens it, and "
                "it is backed up and restored whole",
            )
        if end.tid is not None and (moment_of(end.tid) - run.now).total_seconds() > AHEAD:
            report.warning(
                f"its last transaction is of {stamp(moment_of(end.tid))}, in the future",
                path,
                "set the clock of the machine that the site runs on, or of this one; ZODB goes "
                "on counting from there",
            )
        _look_at_index(report, path, log, end.offset)
    yield from report


def _known_boundary(destination: Destination, log: TransactionLog) -> int:
    """Return an offset where a transaction ends, as near to the end of the log as is known."""
    there = index_of(destination.source.filestorage)
    known = [fsindex.position(there), *_ends_of_backups(destination)]
    for offset in sorted((it for it in known if it and it <= log.size), reverse=True):
        with suppress(IntegrityError):  # the filestorage was packed or restored since
            log.before(offset)
            return offset
    return MAGIC_SIZE


def _back(log: TransactionLog, end: int) -> tuple[int, int]:
    """Return where the last transactions before *end* begin, and how many they are."""
    begin, count = end, 0
    for transaction in islice(log.backwards(end), LOOKED_BACK):
        begin, count = transaction.begin, count + 1
    return begin, count


def _ends_of_backups(destination: Destination) -> Iterator[int]:
    with suppress(BackupError, OSError):  # said elsewhere
        yield from [point.end for point in destination.restore_points()[-1:]]


def _look_at_index(report: Report, path: Path, log: TransactionLog, end: int) -> None:
    there = index_of(path)
    if not os.path.lexists(there):
        report.ok("there is no index: opening the filestorage reads all of it, once", there)
    elif fsindex.fits(there, log, end):
        if is_believed(there, log.read_at):
            report.ok("the index fits", there)
        else:
            report.ok("ZODB puts this index aside: opening the filestorage reads all of it", there)
    else:
        report.warning(
            "the index is not one of this filestorage",
            there,
            "remove it while the site is stopped; ZODB then makes a new one",
        )


def blobstorage(destination: Destination) -> Iterator[DoctorFinding]:
    """Look whether the blobs of the last transactions of its source are there."""
    report = Report("blobstorage")
    source = destination.source
    root = source.blobstorage
    if root is not None:
        with report.looking(root), TransactionLog(source.filestorage) as log:
            os.listdir(root)
            refuse_cache(root)
            flaw, layout = flaw_of(root), laid_out(root)
            if flaw is not None:
                report.problem(flaw.what, Path(flaw.where), flaw.hint)
            end = log.end(_known_boundary(destination, log)).offset
            begin, _count = _back(log, end)
            sample = list(islice(blobs(log, begin, end), SAMPLE))
            missing = [blob for blob in sample if not os.path.isfile(root / layout.path(blob))]
            _judge(report, root, len(sample), missing)
            there = (root / layout.path(blob) for blob in set(sample).difference(missing))
            _judge_legible(report, sorted(there))
    yield from report


def _judge(report: Report, root: Path, count: int, missing: list[BlobId]) -> None:
    if not missing:
        report.ok(f"all blobs of the last transactions are there, {count} in number", root)
        return
    report.problem(
        f"missing: {len(missing)} of {number_of(count, 'blob')} of the last transactions, "
        f"the first is {missing[0]}",
        root,
        "is this the blobstorage of this filestorage? If so, look for them in older backups; "
        "a full backup ends with exit code 3 as long as they are missing",
    )


def _judge_legible(report: Report, blobs: Iterable[Path]) -> None:
    """Complain of *blobs* that this user may not open."""
    refused = [blob for blob in blobs if not _may_be_read(blob)]
    if refused:
        report.problem(
            f"{number_of(len(refused), 'blob')} of the last transactions may not be read by this "
            "user",
            refused[0],
            "give the user who backs up the permission: each backup leaves them out, and ends "
            "with exit code 3",
        )


def _may_be_read(path: Path) -> bool:
    return os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids)
