"""The restore: stage beside what is live, verify, then swap.

    choose -> check room and parts -> lock -> say what will happen, ask -> pre_command
           -> stage each source -> swap each source -> post_command

Nothing live changes before everything of every source lies staged and verified.  The
filestorage's own lock is held from before the question until after the swap, so no ZEO
server can have it open or open it.  Where pre_command mounts the disk of the backups, the
question comes before anything is known of them, and they are chosen after it.  The
destination is locked as well where it can be: a backup that started in the middle would
take a mixture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from collective.recipe.backup import restored
from collective.recipe.backup.blobs.marker import refuse_cache
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.room import check_free
from collective.recipe.backup.errors import (
    BackupError,
    NoRestorePoint,
    UsageError,
    explained,
    printable,
)
from collective.recipe.backup.files.partials import PROBE
from collective.recipe.backup.history import UNDO
from collective.recipe.backup.model import (
    MAIN,
    Source,
)
from collective.recipe.backup.operations import missingdisk
from collective.recipe.backup.operations.announcing import (
    announced,
    announced_early,
    described,
    kept,
    needs_consent,
    passed_over,
    reached,
)
from collective.recipe.backup.operations.brokenoff import (
    Earlier,
    chosen_of,
    earlier,
    finish,
    go_on,
)
from collective.recipe.backup.operations.caches import Clients, last_tid
from collective.recipe.backup.operations.choosing import alternative_named, choice_of, warn_of_later
from collective.recipe.backup.operations.damagememory import warn_of_forgotten
from collective.recipe.backup.operations.hooks import Account, hooks_around
from collective.recipe.backup.operations.orders import Job, RestoreOrder
from collective.recipe.backup.operations.restorenote import restored_of
from collective.recipe.backup.operations.run import Run, one_run
from collective.recipe.backup.operations.targets import (
    hold_journal,
    journal_of,
    lives_of,
    lock_targets,
    targets_of,
)
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.restoring import giving_up, swap
from collective.recipe.backup.restoring.journal import end
from collective.recipe.backup.restoring.placing import RestorePlace, buildable, place_for
from collective.recipe.backup.times import monotonic, stamp

logger = logging.getLogger("backup")

ELSEWHERE = "elsewhere"
"""A number of the history: 1 if the live site was left alone."""


def restore(run: Run, order: RestoreOrder) -> bool:
    """Carry out *order*; False if the user said no.

    Raises NoRestorePoint, InUse, IntegrityError or BackupError, and then nothing live has
    changed, or the next restore finishes what this one began.
    """
    order = _of_what_there_is(run, order)
    with (
        one_run(run),
        run.opened() as destinations,
        ExitStack() as closed,
        ExitStack() as held,
    ):
        planned = partial(_jobs, run, order, destinations)
        targets = lock_targets(run, order.to, closed)
        journal = journal_of(targets)
        is_left = earlier(run, journal, ()) is not Earlier.NOTHING
        clients = _clients(run, order, targets, changed=is_left)
        _refuse_caches(targets, order)
        jobs = [] if _come_with_pre_command(run, destinations) else planned(targets, held)
        what = announced(jobs, order) if jobs else announced_early(targets, order)
        before = earlier(run, journal, chosen_of(jobs, order))
        question = f"{what}{_kept(before, targets, order)}{clients.question}"
        if run.ask is not None and needs_consent(jobs, targets, order) and not run.ask(question):
            return False
        started = monotonic()
        # a post_command may unmount the disk of the backups, so no lock on it is held by then
        with hooks_around(run) as account, held:
            jobs = jobs or planned(targets, held)
            account.points = {job.target.name: job.choice.point.stamp for job in jobs}
            account.numbers = {ELSEWHERE: int(order.to is not None)}
            before = earlier(run, journal, chosen_of(jobs, order))
            _sweep(run, targets)
            if not go_on(run, journal, before):
                _carry_out(run, order, jobs, account)
            clients.settle()  # post_command may start the site
        with explained("cannot note that the restore is done", journal):
            end(journal, run.files)
    if before is Earlier.SAME:
        logger.info("nothing else was left to do: --undo brings back what was live before it")
    else:
        logger.info("restored in %.1f s%s", monotonic() - started, _state(targets, order))
    clients.advise()
    return True


def _kept(before: Earlier, targets: Sequence[Source], order: RestoreOrder) -> str:
    """Return in words what becomes of what is there, and of what was broken off *before*."""
    replaced_now = before in (Earlier.NOTHING, Earlier.UNDO)
    return before.value + (kept(targets, order) if replaced_now else "")


def _carry_out(run: Run, order: RestoreOrder, jobs: Sequence[Job], account: Account) -> None:
    """Stage all, then put all of it in place."""
    began = monotonic()
    journal = journal_of([job.target for job in jobs])
    places = [
        place_for(
            job.target, run.files, filestorage=order.filestorage, blobstorage=order.blobstorage
        )
        for job in jobs
    ]
    moves = []
    with _nothing_left_of(places, journal, run):
        for job, place in zip(jobs, places, strict=True):
            with alternative_named(run, job.destination, job.choice, job.points):
                moves += _stage(run, job, place, is_noted=order.to is None)
        staged = monotonic()
        account.phases["stage"] = staged - began
        swap.swap(journal, moves, run.files, chosen=chosen_of(jobs, order))
    account.phases["swap"] = monotonic() - staged


def _clients(
    run: Run, order: RestoreOrder, targets: Sequence[Source], *, changed: bool = False
) -> Clients:
    """Return what ZEO clients may know of the live site that *order* changes.

    *changed* tells that it has changed already since they were running.
    """
    is_live = order.filestorage and order.to is None
    filestorages = [target.filestorage for target in targets if is_live]
    return Clients(run, filestorages, changed=changed, keep=order.keep_caches)


def describe(run: Run, order: RestoreOrder) -> str:
    """Return in words what *order* would do, having checked that it can be done.

    Nothing is locked: the site may be running, and so may a backup.
    """
    order = _of_what_there_is(run, order)
    targets = targets_of(run, order.to)
    with run.opened() as destinations:
        jobs = _jobs(run, order, destinations, targets, None)
    before = earlier(run, journal_of(targets), chosen_of(jobs, order))
    return f"{announced(jobs, order)}{before.value}{_clients(run, order, targets).question}"


def stream(run: Run, order: RestoreOrder, write: Callable[[memoryview], object]) -> None:
    """Give the filestorage of the main storage to *write*; the site is left alone."""
    with ExitStack() as stack:
        destination = stack.enter_context(run.opened())[-1]
        points = destination.restore_points()
        choice = choice_of(run, order.when, points)
        logger.info("writing %s", described(choice, order.when))
        stack.enter_context(alternative_named(run, destination, choice, points))
        state = stack.enter_context(destination.open(choice))
        if state.log is None:
            raise _no_filestorage(destination)
        advance = stack.enter_context(
            run.progress.phase("restoring the filestorage", choice.point.end)
        )
        for piece in state.log.pieces(0, advance):
            write(piece)


def undo(run: Run, *, keep_caches: bool = False) -> bool:
    """Put back what the last restore replaced; False if the user said no.

    *keep_caches*: see RestoreOrder.  Raises NoRestorePoint if it is not there.
    """
    order = _of_what_there_is(run, RestoreOrder(keep_caches=keep_caches))
    with one_run(run), ExitStack() as locks:
        targets = lock_targets(run, None, locks)
        journal = journal_of(targets)
        _sweep(run, targets)
        # another undo would take back what this one has been asked for
        is_undone = swap.is_undo(journal)
        is_left = earlier(run, journal, ()) is not Earlier.NOTHING
        clients = _clients(run, order, targets, changed=is_left)
        if not swap.is_pending(journal):
            swap.check_undo(journal)
        what = "This puts back what was live before the last restore:"
        paths = [] if is_undone else swap.replaced(journal) or _named(journal)
        if not _agreed(run, paths, what, clients.question):
            return False
        with hooks_around(replace(run, verb=UNDO)):
            finish(run, journal)
            if not is_undone:
                swap.undo(journal, run.files)
            clients.settle()
    logger.info("what was live before the last restore is live again")
    clients.advise()
    return True


def _named(journal: Path) -> list[Path]:
    """Return what a restore that was broken off was about to replace."""
    return [move.live for move in swap.named(journal)]


def let_go(run: Run) -> bool:
    """Remove what the last restore replaced; False if the user said no.

    The site may be running: what is live is not touched.
    """
    with one_run(run), ExitStack() as locks:
        targets = targets_of(run, None)
        hold_journal(targets, locks)
        journal = journal_of(targets)
        _sweep(run, targets)
        left = swap.left(journal)
        if left:
            if not _agreed(run, left, "This removes for good what the last restore replaced:"):
                return False
            logger.info("removing what the last restore replaced")
        else:
            logger.info("no restore has left anything to remove")
        with explained("cannot remove what was replaced"):
            swap.let_go(journal, run.files)
    return True


def give_up(run: Run) -> list[str] | None:
    """Set aside what a restore has left that cannot be finished; None if the user said no.

    Returns in lines what is where.  Raises NoRestorePoint if no restore was broken off.
    """
    with one_run(run), ExitStack() as locks:
        targets = targets_of(run, None)
        journal = journal_of(targets)
        if giving_up.check(journal):
            hold_journal(targets, locks)
        question = (
            "This gives up the restore that was broken off, and removes nothing.\n"
            "The site stays as it is now, part of it restored."
        )
        if run.ask is not None and not run.ask(question):
            return None
        lives = [live for target in targets for live in lives_of(target)]
        with explained("cannot give up the restore that was broken off"):
            return giving_up.give_up(journal, lives, stamp(run.now), run.files)


def _sweep(run: Run, targets: Sequence[Source]) -> None:
    """Remove the temporary names of a restore, an undo or a removal that died."""
    journal = journal_of(targets)
    names = {journal, journal.with_name(PROBE)}
    for live in (live for target in targets for live in lives_of(target)):
        names |= {swap.replaced_path(live), swap.staged_path(live), live.with_name(PROBE)}
    with explained("cannot remove what a run that died has left", journal.parent):
        for path in sorted(names):
            run.files.sweep(path.parent, of=path.name)


def _agreed(run: Run, replaced: Sequence[Path], what: str, more: str = "") -> bool:
    """Ask before what a restore replaced comes back or goes."""
    if run.ask is None or not replaced:
        return True
    paths = (f"    {printable(str(path))}" for path in replaced)
    return run.ask("\n".join([what, *paths]) + more)


def _of_what_there_is(run: Run, order: RestoreOrder) -> RestoreOrder:
    """Return *order* without the filestorage if only blobs are backed up."""
    if not run.config.options.only_blobs:
        return order
    if not order.blobstorage:
        raise UsageError(
            "there is no filestorage in these backups, since only_blobs is set",
            hint="leave --only-filestorage out",
        )
    return replace(order, filestorage=False)


def _jobs(
    run: Run,
    order: RestoreOrder,
    destinations: Sequence[Destination],
    targets: Sequence[Source],
    locks: ExitStack | None,
) -> list[Job]:
    """Return what to do, all of it checked; the destinations are locked where they can be."""
    if isinstance(order.when, datetime) and order.when > run.now:
        logger.warning("%s is in the future: the newest state is meant", stamp(order.when))
    jobs = []
    for destination, target in zip(destinations, targets, strict=True):
        if locks is not None and destination.home.may_be_locked():
            locks.enter_context(destination.home.locked(run.holder))
        points = destination.restore_points()
        warn_of_forgotten(run, points)
        try:
            choice = choice_of(run, order.when, points)
        except NoRestorePoint as error:
            missingdisk.warn(run)
            error.where = error.where or destination.home.label
            raise
        if order.blobstorage and target.blobstorage and choice.point.blobs is None:
            raise _without_blobs(choice)
        warn_of_later(choice, order.when, destination.source.filestorage)
        newer = [] if order.when else [each for each in points if each.age > choice.point.age]
        jobs.append(
            Job(
                destination=destination,
                choice=choice,
                target=target,
                when=order.when,
                points=points,
                newer=newer,
            )
        )
    is_there = earlier(run, journal_of(targets), chosen_of(jobs, order)) is Earlier.SAME
    for job in jobs if order.filestorage and not is_there else ():
        _check_room(job)
    return jobs


def _no_filestorage(destination: Destination) -> BackupError:
    return BackupError(
        "there is no filestorage in these backups, only_blobs is set",
        where=destination.home.label,
        hint="restore the blobs alone: --only-blobs",
    )


def _without_blobs(choice: Choice) -> NoRestorePoint:
    return NoRestorePoint(
        "this restore point was made when blobs were not backed up",
        where=choice.point.stamp,
        hint="--only-filestorage restores it, and leaves the blobs as they are",
    )


def _state(targets: Sequence[Source], order: RestoreOrder) -> str:
    """Return in words what a restore to a moment has come to, "" if none was asked for."""
    if order.when is None or not order.filestorage:
        return ""
    return reached([last_tid(target.filestorage) for target in targets], order.when)


def _refuse_caches(targets: Sequence[Source], order: RestoreOrder) -> None:
    """Refuse to put blobs where a ZEO client keeps its cache of them."""
    for target in targets if order.blobstorage else ():
        if target.blobstorage is not None:
            refuse_cache(target.blobstorage)


def _check_room(job: Job) -> None:
    """Refuse before anything is written if the filestorage cannot fit beside the live one."""
    live = buildable(job.target.filestorage)
    directory = job.target.filestorage.parent
    with explained("cannot look at the place to restore to", directory):
        check_free(
            directory,
            job.choice.point.end - (live.stat().st_size if live else 0),
            hint="the live data stays until its replacement is whole, so both must fit; "
            "free some room, or restore to another disk with --to",
        )


def _come_with_pre_command(run: Run, destinations: Sequence[Destination]) -> bool:
    """Tell whether there are no backups yet, and a pre_command that may mount their disk."""
    if not run.config.options.pre_command:
        return False
    return not any(destination.restore_points() for destination in destinations)


@contextmanager
def _nothing_left_of(places: Sequence[RestorePlace], journal: Path, run: Run) -> Iterator[None]:
    """Remove what was staged if the body fails: the disk may be full of it.

    Once live data has begun to change, it is needed to finish that.
    """
    try:
        yield
    except BaseException:
        with suppress(BackupError):
            if not swap.is_pending(journal):
                for place in places:
                    place.discard(run.files)
        raise


def _stage(run: Run, job: Job, place: RestorePlace, *, is_noted: bool) -> list[swap.Move]:
    """Write and verify one source beside what is live; return the moves that make it live."""
    storage = "" if job.target.name == MAIN else f" of storage {job.target.name}"
    logger.info("restoring %s%s", described(job.choice, job.when), storage)
    for problem in passed_over(job):
        logger.warning("%s", problem)
    with job.destination.open(job.choice) as state:
        staged = place.stage(state, run.files, run.progress)
    if is_noted and staged.log is not None:
        note = restored_of(run, job.destination, job.choice, job.points, staged.log.tid)
        restored.write(place.filestorage, note, run.files)
    return place.moves(staged, job.choice.point, run.files)
