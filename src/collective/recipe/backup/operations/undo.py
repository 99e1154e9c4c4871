"""The former data after a restore: put back (undo), removed (let go), or set aside (given up)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from collective.recipe.backup.errors import (
    explained,
    printable,
)
from collective.recipe.backup.history import UNDO
from collective.recipe.backup.operations.brokenoff import (
    Earlier,
    earlier,
    finish,
)
from collective.recipe.backup.operations.caches import clients_of
from collective.recipe.backup.operations.hooks import hooks_around
from collective.recipe.backup.operations.restorejobs import (
    of_what_there_is,
)
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.run import Run, one_run
from collective.recipe.backup.operations.targets import (
    hold_journal,
    journal_of,
    lives_of,
    lock_targets,
    sweep_beside,
    targets_of,
)
from collective.recipe.backup.restoring import giving_up, letting_go, swap, undoing
from collective.recipe.backup.times import stamp

logger = logging.getLogger("backup")


def undo(run: Run, *, keep_caches: bool = False) -> bool:
    """Put back what the last restore replaced; False if the user said no.

    *keep_caches*: see RestoreOrder.  Raises NoRestorePoint if it is not there.
    """
    order = of_what_there_is(run, RestoreOrder(keep_caches=keep_caches))
    with one_run(run), ExitStack() as locks:
        targets = lock_targets(run, None, locks)
        journal = journal_of(targets)
        sweep_beside(run, targets)
        # another undo would take back what this one has been asked for
        is_undone = swap.is_undo(journal)
        is_left = earlier(run, journal, ()) is not Earlier.NOTHING
        clients = clients_of(run, order, targets, changed=is_left)
        if not swap.is_pending(journal):
            undoing.check_undo(journal)
        what = "This puts back what was live before the last restore:"
        paths = [] if is_undone else undoing.replaced(journal) or _named(journal)
        if not _agreed(run, paths, what, clients.question):
            return False
        with hooks_around(replace(run, verb=UNDO)):
            finish(run, journal)
            if not is_undone:
                undoing.undo(journal, run.files)
            clients.settle()
    logger.info("the data from before the last restore is live again")
    clients.advise()
    return True


def let_go(run: Run) -> bool:
    """Remove the data that the last restore replaced; False if the user said no.

    The site may be running: live data are not touched.
    """
    with one_run(run), ExitStack() as locks:
        targets = targets_of(run, None)
        hold_journal(targets, locks)
        journal = journal_of(targets)
        sweep_beside(run, targets)
        left = letting_go.left(journal)
        if left:
            if not _agreed(run, left, "This removes for good what the last restore replaced:"):
                return False
            logger.info("removing what the last restore replaced")
        else:
            logger.info("no restore has left anything to remove")
        with explained("cannot remove what was replaced"):
            letting_go.let_go(journal, run.files)
    return True


def give_up(run: Run) -> list[str] | None:
    """Set aside a restore that cannot be finished; None if the user said no.

    Returns, in lines, where its files are.  Raises NoRestorePoint if no restore was broken off.
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


def _agreed(run: Run, replaced: Sequence[Path], what: str, more: str = "") -> bool:
    """Ask before what a restore replaced comes back or goes."""
    if run.ask is None or not replaced:
        return True
    paths = (f"    {printable(str(path))}" for path in replaced)
    return run.ask("\n".join([what, *paths]) + more)


def _named(journal: Path) -> list[Path]:
    """Return what a restore that was broken off was about to replace."""
    return [move.live for move in undoing.named(journal)]
