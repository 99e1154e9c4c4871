"""The decision of a restore about an earlier one that was broken off.

    of the same state     it is finished, and that is all there is to do
    of another state      it is taken back: it never went live, and what was live before it is
                          what an undo must bring back, whichever restore comes to its end
    an undo               it is finished: what was live before is live again

The journal of an older release does not say of which state it is, so that is another one.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Sequence
from pathlib import Path

from collective.recipe.backup.operations.announcing import live_of
from collective.recipe.backup.operations.restoreorder import Job, RestoreOrder
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.restoring import swap, undoing
from collective.recipe.backup.restoring.journal import Chosen
from collective.recipe.backup.restoring.mixture import OF_DIRECTORY, OF_SITE, OF_STANDBY, Mixture
from collective.recipe.backup.times import show_tid

logger = logging.getLogger("backup")


_UNDONE = "\nWhat was there before it is kept, and --undo puts it back."


class Earlier(enum.Enum):
    """A restore that was broken off here, and in words what will happen to it."""

    NOTHING = ""
    UNDO = "\nAn undo was broken off here, and is finished first."
    SAME = "\nThis restore was broken off here, and is finished."
    OTHER = "\nA restore of another state was broken off here, and is taken back first."
    UNKNOWN = (
        "\nA restore was broken off here. If it was this one it is finished, else taken back first."
    )

    def in_words(self, order: RestoreOrder) -> str:
        """Return what happens to it before *order* is carried out; only a site can be undone."""
        is_undone = order.to is None and self not in (Earlier.NOTHING, Earlier.UNDO)
        return self.value + (_UNDONE if is_undone else "")


def mixture_of(order: RestoreOrder) -> Mixture:
    """Return the words for an *order* that is broken off in the middle."""
    if order.follows:
        return OF_STANDBY
    return OF_SITE if order.to is None else OF_DIRECTORY


def chosen_of(jobs: Sequence[Job], order: RestoreOrder) -> tuple[Chosen, ...]:
    """Return what the journal is to say of *jobs*."""
    return tuple(
        Chosen(
            directory=job.destination.home.label,
            point=job.choice.point.stamp,
            until=show_tid(job.choice.until) if job.choice.until else None,
            lives=tuple(map(str, live_of(job.target, order))),
        )
        for job in jobs
    )


def earlier(
    run: Run, journal: Path, chosen: Sequence[Chosen], mixture: Mixture = OF_SITE
) -> Earlier:
    """Return the restore that was broken off, compared with *chosen* now (empty: not known yet).

    Raises IntegrityError, in the words of *mixture*, in a copy of a site.
    """
    found = swap.broken_off(journal, command=run.restore_command, mixture=mixture)
    if found.state is None:
        return Earlier.NOTHING
    if found.is_undo:
        return Earlier.UNDO
    if not chosen:
        return Earlier.UNKNOWN
    return Earlier.SAME if found.chosen == tuple(chosen) else Earlier.OTHER


def go_on(run: Run, journal: Path, what: Earlier, mixture: Mixture) -> bool:
    """Finish or take back *what* was broken off; True if nothing is left to restore."""
    if what is Earlier.OTHER:
        undoing.take_back(journal, run.files, mixture)
        logger.warning(
            "took back a restore of another state that had been broken off: what was live before "
            "it is what --undo brings back"
        )
    elif what is not Earlier.NOTHING:
        finish(run, journal, mixture)
    return what is Earlier.SAME


def finish(run: Run, journal: Path, mixture: Mixture = OF_SITE) -> None:
    """Finish a restore or an undo that was broken off, if there is one."""
    what = "an undo" if swap.is_undo(journal) else "a restore"
    if swap.finish(journal, run.files, command=run.restore_command, mixture=mixture):
        logger.warning("finished %s that had been broken off", what)
