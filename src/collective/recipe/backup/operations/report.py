"""The facts of the report about the backups of a part.

The room ``report`` below makes a page of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from collective.recipe.backup import history, links, retention
from collective.recipe.backup.amounts import age, duration, size
from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.destinations import Destination
from collective.recipe.backup.destinations.configured import DIRECTORY
from collective.recipe.backup.errors import BackupError, Interrupted, explained
from collective.recipe.backup.history import RunRecord
from collective.recipe.backup.model import MAIN, RestorePoint
from collective.recipe.backup.operations.clockdoubts import witnesses
from collective.recipe.backup.operations.run import Run, history_directory
from collective.recipe.backup.operations.sitestatus import SiteStatus
from collective.recipe.backup.operations.status import status_of, unseen_status
from collective.recipe.backup.report import PageFacts, Tale, Tile, words
from collective.recipe.backup.report.page import page
from collective.recipe.backup.restorepoints import outermost, ranges
from collective.recipe.backup.times import stamp


def report(run: Run) -> str:
    """Return the page, which has all places that *run* goes to.  Changes nothing.

    Of several, one that cannot be looked at hides no other.
    """
    if not run.places:
        return page(_facts(run))
    first, *others = (_facts_or_failure(each) for each in run.beside)
    # hooks run around all places
    beside = (
        replace(each, records=[replace(it, hooks=()) for it in each.records]) for each in others
    )
    return page(first, *beside)


def _facts(run: Run) -> PageFacts:
    with run.opened() as destinations:
        return _told(run, status_of(run, destinations), destinations)


def _facts_or_failure(run: Run) -> PageFacts:
    try:
        return replace(_facts(run), place=run.title)
    except Interrupted:
        raise
    except (BackupError, OSError) as error:
        return replace(_told(run, unseen_status(run, error), ()), place=run.title)


def _told(run: Run, found: SiteStatus, destinations: Sequence[Destination]) -> PageFacts:
    records = history.read(history_directory(run))
    here = (it.at(run.label) for it in records)
    return PageFacts(
        host=os.uname().nodename,
        site=_site(run.config.sources[-1].filestorage),
        part=run.config.part,
        destination=run.destination,
        place="" if run.name == DIRECTORY else run.title,
        now=run.now,
        tiles=[*_of_storages(found), *_of_proofs(found), *_of_rooms(found)],
        findings=[(it.severity.name.lower(), it.what) for it in found.findings],
        tales=[_tale(run, destination) for destination in destinations],
        records=[it for it in here if it is not None],
        restores=[it for it in records if it.restored_site],
    )


def _site(filestorage: Path) -> Path:
    """Return the directory of the site, as far as its *filestorage* tells."""
    directory = filestorage.parent
    return directory.parents[1] if directory.parts[-2:] == ("var", "filestorage") else directory


def write(run: Run, path: Path) -> None:
    """Write the page to *path*, in one step.

    It tells much of the site, so a new file is open to no more users than the site.
    """
    data = report(run).encode("utf-8")
    with explained("cannot write the report", path):
        for source in run.config.sources:
            run.files.limit(links.real(path), source.filestorage)
        run.files.publish(path, data)


def usual_path(run: Run) -> Path:
    """Return where the page goes if the caller does not say where.

    That is report_file, or else a file beside the directories of the backups.
    """
    names = [] if run.destination == STANDARD else [run.destination]
    if run.name != DIRECTORY and not run.everywhere:
        names.append(run.name)
    of = "".join(f"-{name}" for name in names)
    chosen = run.config.options.report_file
    if chosen is not None:
        return chosen.with_name(f"{chosen.stem}{of}{chosen.suffix}")
    prefix = run.config.options.locationprefix or history_directory(run).parent
    return prefix / f"{run.config.part}{of}-report.html"


def _tale(run: Run, destination: Destination) -> Tale:
    points = destination.restore_points()
    decisions = retention.plan(points, run.policy, run.now, witnesses=witnesses(run)).decisions
    # later than all that is there, as a stamp must be
    moment = max([run.now, *(point.moment + timedelta(seconds=1) for point in points)])
    to_come = RestorePoint(stamp=stamp(moment), chain=stamp(moment), end=0)
    after = retention.plan([*points, to_come], run.policy, moment, witnesses=witnesses(run))
    return Tale(
        source=destination.source,
        points=points,
        ranges=outermost(ranges(points)),
        decisions=decisions,
        next_gone=frozenset(point.stamp for point in after.removed),
    )


def _of_storages(found: SiteStatus) -> list[Tile]:
    tiles = []
    for storage in found.storages:
        of = "" if storage.source.name == MAIN else f" of {storage.source.name}"
        old = storage.age(found.now)
        tiles.append(
            Tile(
                name=f"Newest restore point{of}",
                value="none" if old is None else f"{age(old.total_seconds())} old",
                more="" if storage.newest is None else storage.newest.stamp,
            )
        )
        lacking = storage.count - storage.whole
        more = f"{lacking} not whole" if lacking else "all whole"
        tiles.append(
            Tile(
                name=f"Restore points{of}",
                value=f"{storage.count:,}",
                more=f"{more}, {size(storage.stored)}" if storage.count else "",
            )
        )
    return tiles


def _of_proofs(found: SiteStatus) -> list[Tile]:
    return [
        _of_proof(found, name, found.newest.get(verb))
        for name, verb in (("Last verify", "verify"), ("Last rehearsal", "rehearse"))
    ]


def _of_proof(found: SiteStatus, name: str, record: RunRecord | None) -> Tile:
    if record is None:
        return Tile(name=name, value="never")
    old = f"{age((found.now - record.started).total_seconds())} ago"
    if record.started > found.now:
        old = "later than now"
    took = "" if record.seconds is None else f", took {duration(record.seconds)}"
    return Tile(name=name, value=old, more=f"{words.outcome(record)}{took}")


def _of_rooms(found: SiteStatus) -> list[Tile]:
    return [
        Tile(name="Room left", value=size(room.free), more=f"of {size(room.size)} at {room.path}")
        for room in found.rooms
    ]
