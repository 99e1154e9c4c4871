"""The clock of a run: other readings to compare with, and the messages about a doubt."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime

from collective.recipe.backup import history
from collective.recipe.backup.chronology import Clock, chronology
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.operations.run import Run, history_directory

logger = logging.getLogger("backup")


def clock_of(run: Run, points: Iterable[RestorePoint]) -> Clock:
    """Return the judgement on the clock of *run*, where *points* were made before."""
    return chronology(points, run.now, witnesses(run)).clock


def witnesses(run: Run) -> Iterator[datetime]:
    """Yield what the clock said at other times: in this process, and when earlier runs began."""
    yield from run.seen
    for record in history.read(history_directory(run)):
        if record.started != run.now:
            yield record.started


def warn_of(run: Run, doubt: str) -> None:
    """Warn that the clock is in doubt, once in a process."""
    if doubt in run.told:
        return
    run.told.add(doubt)
    logger.warning(
        "%s: no old restore point is removed while the clock may be wrong; if it is "
        "right, say so with prune --clock-is-right, or wait until it has gone on for a "
        "week",
        doubt,
    )
