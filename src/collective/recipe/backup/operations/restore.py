"""The restore: stage beside the live data, verify, then swap.

    choose -> check room and parts -> lock -> say what will happen, ask -> pre_command
           -> stage each source -> swap each source -> post_command

Nothing live changes before everything of every source lies staged and verified.  The filestorage's
own lock is held from before the question until after the swap, so no ZEO server can have it open or
open it.  If pre_command mounts the disk of the backups, the question comes before the restore
points are known, and the choice after it.  The destination is locked as well where it can be: a
backup that started in the middle would take a mixture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from collective.recipe.backup import history
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.errors import (
    BackupError,
    explained,
)
from collective.recipe.backup.model import Source
from collective.recipe.backup.operations.announcing import (
    announced,
    announced_early,
    described,
    in_cold_storage,
    kept,
    needs_consent,
    reached,
)
from collective.recipe.backup.operations.brokenoff import (
    Earlier,
    chosen_of,
    earlier,
    go_on,
    mixture_of,
)
from collective.recipe.backup.operations.caches import clients_of, last_tid
from collective.recipe.backup.operations.carryingout import carry_out
from collective.recipe.backup.operations.choosing import alternative_named, choice_of
from collective.recipe.backup.operations.hooks import hooks_around
from collective.recipe.backup.operations.restorejobs import (
    come_with_pre_command,
    jobs_of,
    of_what_there_is,
    refuse_caches,
)
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.run import Run, one_run
from collective.recipe.backup.operations.standbyrefusal import refuse_restore_over
from collective.recipe.backup.operations.targets import (
    journal_of,
    lock_targets,
    sweep_beside,
    targets_of,
)
from collective.recipe.backup.restoring.journal import end
from collective.recipe.backup.times import monotonic

logger = logging.getLogger("backup")


def restore(run: Run, order: RestoreOrder) -> bool:
    """Carry out *order*; False if the user said no.

    Raises NoRestorePoint, InUse, IntegrityError or BackupError, and then nothing live has
    changed, or the next restore finishes what this one began.
    """
    order = of_what_there_is(run, order)
    with (
        one_run(run),
        run.opened() as destinations,
        ExitStack() as closed,
        ExitStack() as held,
    ):
        planned = partial(jobs_of, run, order, destinations)
        targets = lock_targets(run, order.to, closed)
        journal = journal_of(targets)
        mixture = mixture_of(order)
        is_left = earlier(run, journal, (), mixture) is not Earlier.NOTHING
        clients = clients_of(run, order, targets, changed=is_left)
        refuse_caches(targets, order)
        for target in targets:
            refuse_restore_over(target.filestorage)
        jobs = [] if come_with_pre_command(run, destinations) else planned(targets, held)
        what = announced(jobs, order) if jobs else announced_early(targets, order)
        before = earlier(run, journal, chosen_of(jobs, order), mixture)
        question = f"{what}{_kept(before, targets, order)}{clients.question}"
        if run.ask is not None and needs_consent(jobs, targets, order) and not run.ask(question):
            return False
        started = monotonic()
        # a post_command may unmount the disk of the backups, so no lock on it is held by then
        with hooks_around(run) as account, held:
            jobs = jobs or planned(targets, held)
            account.points = {job.target.name: job.choice.point.stamp for job in jobs}
            account.numbers = {history.ELSEWHERE: int(order.to is not None)}
            before = earlier(run, journal, chosen_of(jobs, order), mixture)
            sweep_beside(run, targets)
            if not go_on(run, journal, before, mixture):
                carry_out(run, order, jobs, account)
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
    """Return in words what happens to the present data, and to a restore broken off *before*."""
    replaced_now = before in (Earlier.NOTHING, Earlier.UNDO)
    return before.in_words(order) + (kept(targets, order) if replaced_now else "")


def describe(run: Run, order: RestoreOrder) -> str:
    """Return in words what *order* would do, having checked that it can be done.

    Nothing is locked: the site may be running, and so may a backup.
    """
    order = of_what_there_is(run, order)
    targets = targets_of(run, order.to)
    with run.opened() as destinations:
        jobs = jobs_of(run, order, destinations, targets, None)
        cold = in_cold_storage(jobs)
    before = earlier(run, journal_of(targets), chosen_of(jobs, order), mixture_of(order))
    clients = clients_of(run, order, targets)
    return f"{announced(jobs, order)}{before.in_words(order)}{clients.question}{cold}"


def stream(run: Run, order: RestoreOrder, write: Callable[[memoryview], object]) -> None:
    """Give the filestorage of the main storage to *write*; the site is left alone."""
    with ExitStack() as stack:
        destination = stack.enter_context(run.opened())[-1]
        points = destination.restore_points()
        choice = choice_of(run, destination, order.when, points)
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


def _no_filestorage(destination: Destination) -> BackupError:
    return BackupError(
        "there is no filestorage in these backups, only_blobs is set",
        where=destination.home.label,
        hint="restore the blobs alone: --only-blobs",
    )


def _state(targets: Sequence[Source], order: RestoreOrder) -> str:
    """Return in words what a restore to a moment has come to, "" if none was asked for."""
    if order.when is None or not order.filestorage:
        return ""
    return reached([last_tid(target.filestorage) for target in targets], order.when)
