"""Existing backups: locks that are held, and restore points that lack something."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from collective.recipe.backup import locking
from collective.recipe.backup.amounts import duration, number_of
from collective.recipe.backup.destinations import Depth, Destination, damage
from collective.recipe.backup.errors import BackupError, ConfigurationError
from collective.recipe.backup.findings import DoctorFinding, Report
from collective.recipe.backup.operations.damagememory import FORGOTTEN
from collective.recipe.backup.operations.run import Run

AHEAD = 60
"""Seconds that the stamp of a backup may be ahead: two runs in one second, and little more."""

_LACKING = "it can be restored without that, and goes with the retention"
_HINT = "a full backup begins anew without it: backup --full makes one now"


def locks(run: Run) -> Iterator[DoctorFinding]:
    """Find locks that are held, and their holders."""
    report = Report("locks")
    part = run.config_path.parent
    holders = {str(part): locking.holder_of(part)}
    holders |= {home.label: home.holder() for home in run.homes}
    for where, holder in holders.items():
        if holder is not None:
            report.warning(
                f"a run is at work ({holder or 'it does not say who'})",
                where,
                "wait until it has ended; if it should have ended long ago, end its process",
            )
    if not report:
        report.ok("no other run is at work")
    yield from report


def owners(destinations: Iterable[Destination]) -> Iterator[DoctorFinding]:
    """Ask whether a backup may write there, or is refused since the backups are another site's."""
    report = Report("owner")
    for destination in destinations:
        # a site that cannot be read, or is damaged, is told of elsewhere
        with suppress(BackupError, OSError):
            try:
                destination.check_owner()
            except ConfigurationError as error:
                report.problem(error.what, error.where, error.hint)
    if not report:
        report.ok("no backups of another site are in the way")
    yield from report


def restore_points(run: Run, destinations: Iterable[Destination]) -> Iterator[DoctorFinding]:
    """Check the names, sizes and stamps of restore points."""
    for destination in destinations:
        report = Report("backups")
        home = destination.home
        with report.looking(home.label):
            if not home.is_there():
                report.ok("there are none yet: the first backup is a full one", home.label)
            else:
                _look(run, destination, report)
        yield from report


def _look(run: Run, destination: Destination, report: Report) -> None:
    points = destination.restore_points()
    newest = points[-1].stamp if points else ""
    for problem in destination.verify(Depth.NAMES):
        if problem.told and newest not in problem.points:
            report.warning(problem.what, problem.where, _LACKING)
            continue
        report.problem(problem.what, problem.where, problem.hint or _HINT)
    where = destination.home.label
    if any(point.forgotten for point in points):
        report.warning(
            FORGOTTEN,
            destination.home.state / damage.NAME,
            "run verify, which looks again: until then no restore point is removed",
        )
    if not report:
        count = number_of(len(points), "restore point")
        report.ok(f"{count}, and all their files are there", where)
    ahead = max(((point.moment - run.now).total_seconds() for point in points), default=0)
    if ahead > AHEAD:
        report.warning(
            f"the newest restore point is {duration(ahead)} in the future",
            where,
            "set the clock: until then new ones are counted on from there, second by second",
        )
