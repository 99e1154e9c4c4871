"""Notes about damage, written after a look at restore points; see destinations.damage.

Only restore points that a quick look finds whole need a note: the list shows the problems of all
others anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.destinations import Destination, damage
from collective.recipe.backup.destinations.damage import DamageFinding, Look
from collective.recipe.backup.destinations.homes import Home
from collective.recipe.backup.errors import BackupError, from_os_error, printable
from collective.recipe.backup.model import Problem, RestorePoint
from collective.recipe.backup.operations.run import Run

logger = logging.getLogger("backup")

FORGOTTEN = "what verify found cannot be read"


class Spoilt:
    """The meaning of problems for the restore points of *destination*."""

    def __init__(self, run: Run, destination: Destination) -> None:
        self._run = run
        self._destination = destination
        self._findings: dict[str, DamageFinding] = {}
        self._concerned: set[str] = set()
        self._others = False
        self._objects: set[str] = set()

    @property
    def newest(self) -> str | None:
        """The newest restore point that a problem concerns; None if one concerns another thing.

        Once it is gone, nothing is left of all that was found.
        """
        return None if self._others else max(self._concerned, default=None)

    def add(self, problem: Problem) -> None:
        """Take note of *problem*, which has the restore points that it concerns."""
        self._concerned.update(problem.points)
        self._objects.update(problem.objects)
        self._others = self._others or not problem.points
        if problem.harmless or problem.told:
            return
        where = Path(problem.where).name
        for stamp in problem.points:
            finding = DamageFinding(
                found=self._run.now,
                what=printable(problem.what if where == stamp else f"{where}: {problem.what}"),
                inherited=problem.inherited,
            )
            known = self._findings.get(stamp)
            if known is None or (known.inherited and not finding.inherited):
                self._findings[stamp] = finding

    def remember(self, *, read: Collection[str] = (), loaded: bool = False) -> None:
        """Write the notes, also that restore points of *read* are whole again.

        A note that cannot be written is only warned of.  An earlier state of a store gets no notes:
        it says nothing of other moments.
        """
        if self._run.as_of is not None:
            return
        directory = self._destination.home.state
        if not self._findings and not self._objects and not damage.read(directory):
            return
        look = Look(
            findings=self._findings, read=read, loaded=loaded, objects=frozenset(self._objects)
        )
        try:
            points = self._destination.restore_points()
            stamps = {point.stamp for point in points if point.restorable}
            damage.remember(directory, look, stamps, self._run.files)
        except OSError as error:
            said = from_os_error(error, "cannot remember what was found", directory / damage.NAME)
            logger.warning("%s: the list will not tell", said)
        except BackupError as error:
            logger.warning("cannot remember what was found: %s", error)


def remember_objects(run: Run, homes: Iterable[Home], names: Collection[str]) -> None:
    """Note at each of *homes* that the objects with these *names* are damaged.

    The restore points that need them need not be known: the next backup, and the next copy, rely on
    none of these objects.  A note that cannot be written is only warned of.
    """
    for home in homes if names else ():
        try:
            run.files.make_directories(home.state)
            damage.remember_objects(home.state, names, run.files)
        except OSError as error:
            said = from_os_error(error, "cannot remember what was found", home.state / damage.NAME)
            logger.warning("%s: the next backup will not store it again", said)


def warn_of_forgotten(run: Run, points: Iterable[RestorePoint]) -> None:
    """Warn that findings about some of *points* are lost, once in a process."""
    forgotten = sum(point.forgotten for point in points)
    if not forgotten or FORGOTTEN in run.told:
        return
    run.told.add(FORGOTTEN)
    logger.warning(
        "%s of %s: any of them may be damaged, so none is removed, and nothing is added "
        "to them; run verify, which looks again and ends this",
        FORGOTTEN,
        number_of(forgotten, "restore point"),
    )


def read_with(point: RestorePoint, points: Sequence[RestorePoint]) -> list[str]:
    """Return the stamps of restore points that are whole if *point* is.

    They are *point* and those before it in its chain, without those whose blobs are in a holding
    that was not read.
    """
    earlier = (each for each in points if each.chain == point.chain and each.age <= point.age)
    return [each.stamp for each in earlier if each.blobs in (None, point.blobs)]
