"""The backup: every source to its destination, then unneeded restore points are removed.

    lock -> pre_command -> look for the disk -> make directories
         -> each source -> prune -> post_command

A restore that was broken off leaves a mixture of old and new until it is finished.  The backup
makes no restore point of a mixture, and removes none for it.

Pruning comes after everything succeeded, and counts the restore points that are there then, so a
run that fails never costs an older restore point.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from collective.recipe.backup.blobs.layout import Kind, Layout, walk
from collective.recipe.backup.blobs.marker import refuse_cache
from collective.recipe.backup.destinations import Destination, Outcome, damage
from collective.recipe.backup.destinations.configured import DIRECTORY
from collective.recipe.backup.errors import (
    BrokenOff,
    IntegrityError,
    StoreRefused,
    explained,
    printable,
)
from collective.recipe.backup.history import INCOMPLETE
from collective.recipe.backup.model import MAIN
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.clockdoubts import clock_of, warn_of
from collective.recipe.backup.operations.damagememory import Spoilt
from collective.recipe.backup.operations.everyplace import (
    back_up_everywhere,
    incomplete,
    tell_failure,
)
from collective.recipe.backup.operations.hooks import hooks_around, let_in, put_down
from collective.recipe.backup.operations.passing import in_passing
from collective.recipe.backup.operations.passphrasewarning import warn_of_exposed_passphrase
from collective.recipe.backup.operations.prune import prune_one, sweep, warn_of_refusal
from collective.recipe.backup.operations.run import Run, one_run
from collective.recipe.backup.operations.standbyrefusal import refuse_standby
from collective.recipe.backup.restoring.journal import journal_path, read
from collective.recipe.backup.times import monotonic

logger = logging.getLogger("backup")

_NO_BLOBS = max(len(layout.value) for layout in Layout)
"""Bytes of a blobstorage that has nothing but ZODB's note of its layout."""

_OF_ZODB = Kind.MARKER, Kind.DIRECTORY
"""Entries that ZODB makes in a new blobstorage."""


def back_up(run: Run, *, why_full: str = "", accept_changed: bool = False) -> list[Outcome]:
    """Make a restore point of every source that changed since its last one.

    *why_full* says why all of them are to be full ones, "" if they need not.  With
    *accept_changed* blobs that differ from earlier copies are taken as they are.  A run that
    goes everywhere backs up to each of its places; one that fails stops no other.
    Raises IntegrityError at the very end if a source lacks blobs that its records name:
    the restore point is there then, and says so, and post_command has run.
    """
    back_up_one = partial(_back_up_locked, why_full=why_full, accept_changed=accept_changed)
    warn_of_exposed_passphrase(run)
    with let_in(run):
        with hooks_around(run) as account:
            outcomes, failures = back_up_everywhere(run, back_up_one, account)
            if failures:
                for failure in failures[1:]:
                    tell_failure(failure)
                raise failures[0]
            lacking = incomplete(outcomes)
            if lacking is not None:
                account.found_wrong(lacking, outcome=INCOMPLETE)
        if lacking is not None:
            raise lacking
    return outcomes


def back_up_now(run: Run, *, in_any_case: bool = False) -> list[Outcome]:
    """Back up to one place, without hooks; blobs that a source lacks are only warned of.

    The history has the run if there was something to add, or *in_any_case*.
    """
    began = monotonic()
    with one_run(run):
        outcomes = _back_up_locked(run)
        if in_any_case or any(outcome.changed for outcome in outcomes):
            put_down(run, outcomes, monotonic() - began)
    for outcome in outcomes:
        for problem in (*outcome.point.problems, *outcome.point.doubts):
            logger.warning("%s", problem)
    return outcomes


def _back_up_locked(run: Run, why_full: str = "", *, accept_changed: bool = False) -> list[Outcome]:
    started = monotonic()
    for doubt in run.config.doubts:
        logger.warning("%s", doubt)
    with run.opened() as destinations, ExitStack() as locks:
        _look_for_earlier(run)
        _refuse_copies(run)
        for destination in destinations:
            destination.prepare()
            locks.enter_context(destination.home.locked(run.holder))
        for destination in destinations:
            _refuse_mixture(destination)
            destination.claim()
            sweep(destination)
        outcomes = [
            _one(run, destination, why_full, accept_changed=accept_changed)
            for destination in destinations
        ]
        for destination in destinations:
            _prune(run, destination)
        with in_passing("cannot note where the backups lie"):
            missingdisk.note(run)
    logger.info("%s", _closing_line(outcomes, monotonic() - started))
    return outcomes


def _prune(run: Run, destination: Destination) -> None:
    """Remove restore points that no rule keeps, unless the credential may only add."""
    try:
        prune_one(run, destination, partial(warn_of_refusal, run))
    except StoreRefused as error:
        logger.warning(
            "%s; so it stays until prune runs with a credential that may remove it", error
        )


def _look_for_earlier(run: Run) -> None:
    """Refuse to begin anew where a disk is not mounted, and say so where all is just gone."""
    for each in missingdisk.gone(run):
        if each.unmounted:
            raise each.error(missingdisk.note_path(run))
        logger.warning("the backups that were in %s are gone: beginning anew", each.directory)


def _refuse_copies(run: Run) -> None:
    """Refuse a standby, and what a ZEO client keeps in the place of a blobstorage.

    That comes before anything is written.
    """
    for source in run.config.sources:
        refuse_standby(source)
        if source.blobstorage is not None:
            refuse_cache(source.blobstorage)


def _refuse_mixture(destination: Destination) -> None:
    live = Path(os.path.realpath(destination.source.filestorage))
    journal = journal_path(live)
    found = read(journal)
    if found.is_pending:
        what = "the undo" if found.is_undo else "the restore"
        raise BrokenOff(
            "a restore was broken off here: part of the site is what it was, part is restored",
            where=journal,
            hint=f"run {what} again, which finishes it",
        )


def tidy_now(run: Run) -> None:
    """Merge the small pieces that were stored before this hour.

    Raises IntegrityError if one of them is damaged, which is remembered then.
    """
    with one_run(run), run.opened() as destinations, ExitStack() as locks:
        for destination in destinations:
            locks.enter_context(destination.home.locked(run.holder))
            destination.claim()
            sweep(destination)
            try:
                for sentence in destination.tidy(run.now):
                    logger.info("%s", sentence)
            except IntegrityError as error:
                # the next backup begins a new chain, or else this would be met again each hour
                spoilt = Spoilt(run, destination)
                spoilt.add(destination.problem_of(error))
                spoilt.remember()
                raise


def _one(run: Run, destination: Destination, why_full: str, *, accept_changed: bool) -> Outcome:
    name = destination.source.name
    where = "" if name == MAIN else f" of storage {name}"
    if run.name != DIRECTORY:
        where += f" to {run.name}, {printable(destination.home.label)}"
    logger.info("backing up %s%s", printable(str(destination.source.filestorage)), where)
    points = destination.restore_points()
    with in_passing("cannot note again what verify found"):
        damage.write_anew(destination.home.state, points, run.files)
    why_full = why_full or damage.why_new_chain(destination.home.state, points)
    clock = clock_of(run, points)
    if clock.sudden:
        warn_of(run, clock.doubt)
    backup = partial(destination.backup, run.now, clock=clock, accept_changed=accept_changed)
    try:
        outcome = backup(why_full=why_full)
    except IntegrityError as error:
        if why_full or not destination.home.holds(Path(error.where)):
            raise  # it is of the site, or there is no other way
        spoilt = Spoilt(run, destination)
        spoilt.add(destination.problem_of(error))
        spoilt.remember()
        logger.warning("%s; nothing can be added to it, so a new chain begins", error)
        outcome = backup(why_full=damage.DAMAGED)
    for note in outcome.notes:
        logger.warning("%s", note)
    logger.info("%s", outcome.summary)
    return _with_emptied(outcome, destination.source.blobstorage)


def _with_emptied(outcome: Outcome, blobstorage: Path | None) -> Outcome:
    """Return *outcome* with a doubt if it has something of a blobstorage that is empty now.

    A backup that adds little looks at no old blob, and so it does not see that a disk is gone.
    Zope may have begun a blobstorage there, in the directory to which the disk was mounted.
    """
    point = outcome.point
    if blobstorage is None or point.problems or point.doubts:
        return outcome
    if point.blob_bytes is None or point.blob_bytes <= _NO_BLOBS:
        return outcome
    with explained("cannot read the blobstorage", blobstorage):
        if blobstorage.is_dir() and any(it.kind not in _OF_ZODB for it in walk(blobstorage)):
            return outcome
    doubt = f"there is no blob any more in {printable(str(blobstorage))}: is its disk mounted?"
    return replace(outcome, point=replace(point, doubts=(doubt,)))


def _closing_line(outcomes: Sequence[Outcome], seconds: float) -> str:
    phases: dict[str, float] = {}
    for outcome in outcomes:
        for phase, spent in outcome.phases.items():
            phases[phase] = phases.get(phase, 0.0) + spent
    times = ", ".join(f"{phase} {spent:.1f} s" for phase, spent in phases.items())
    stamps = sorted({outcome.point.stamp for outcome in outcomes})
    verb = "done" if any(outcome.changed for outcome in outcomes) else "nothing changed since"
    return f"{verb} {', '.join(stamps)} in {seconds:.1f} s ({times})"
