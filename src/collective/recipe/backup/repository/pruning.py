"""Removing restore points, and bringing them back.

A restore point is one object, and only that object is removed. A copy of it is kept as *trash*
first, and its chunks stay in the store until collect has found them unneeded twice, with ``GRACE``
between.  Until then ``bring_back`` puts the restore point back.

Another room decides which restore points go. Here is only a floor: to remove the last restore point
of a site, or more than half of all, needs a yes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.errors import BackupError, IntegrityError, NoRestorePoint
from collective.recipe.backup.repository.boxes import Sealed
from collective.recipe.backup.repository.controls import Control, seal_trash
from collective.recipe.backup.repository.names import id_in, place_of
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point, read_point
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.repository.tickets import (
    Pass,
    StartOver,
    must_be_alone,
    tickets_of_others,
)
from collective.recipe.backup.stores import NoSuchObject, StoredObject

GRACE = timedelta(hours=48)
"""Removed restore points, and unneeded bundles, stay at least this long, by the store's clock."""

MOST_AT_ONCE = 0.5
"""The share of the restore points of a site that goes without a yes, if there are several."""

UNDELETE = "undelete"
"""The purpose in the ticket of a run that brings a restore point back."""

LIFETIME = timedelta(hours=1)
"""Of that ticket; a run that dies keeps others away for so long."""

FEW = 4
"""Of so few restore points any share may go, but for the last one."""


def prune(repository: Repository, points: Iterable[Point], *, yes: bool = False) -> int:
    """Remove *points*; return how many were removed.

    Raises BackupError for a removal that needs a yes, and StoreRefused where the store lets us
    remove nothing: both before anything is removed.

    Some stores refuse only to remove objects that are there: a disk or a bucket to which one may
    only add.  There the trash is put before the refusal, and stays.  The next run sees it, begins
    with that restore point, and puts nothing.
    """
    wanted, control = list(points), repository.look()
    kept = _kept_already(repository, control, wanted)
    going = sorted(wanted, key=lambda point: point.name not in kept)
    refusal = "" if yes else floor(control, going)
    if refusal:
        raise BackupError(refusal, hint="is the clock right, and is the retention policy meant so?")
    there = {entry.name: entry for entry in control.points}
    removed = 0
    for point in going:
        if point.name in there:
            before = kept.get(point.name)
            _remove(repository, there[point.name], before, first=not removed)
            removed += 1
    return removed


def _kept_already(
    repository: Repository, control: Control, points: Sequence[Point]
) -> dict[str, str]:
    """Return those of *points* that trash has though they are there, each with its trash."""
    places = {place_of(point.name) for point in points}
    found = {}
    for entry in control.trash:
        if place_of(entry.name) in places:
            with suppress(NoSuchObject, IntegrityError):
                found[repository.controls.trashed(entry).name] = entry.name
    return found


def _remove(
    repository: Repository, entry: StoredObject, before: str | None, *, first: bool
) -> None:
    """Remove a restore point; trash *before* has it already, None: there is none."""
    try:
        sealed = repository.controls.sealed(entry)
    except NoSuchObject:
        return
    _away(repository, sealed, before, ask=first or before is not None)


def _away(repository: Repository, sealed: Sealed, before: str | None, *, ask: bool) -> None:
    """Put the trash of a restore point, then remove it; see ``_remove``."""
    stamp, tag = place_of(sealed.name)
    trash = seal_trash(repository.keyring, sealed, f"{stamp}-{tag}-")
    if ask:
        # a store that lets us remove nothing says so now, of *before* or of what is not there;
        # trash from before may be about to go, and until the new one is put, the point is there
        repository.store.delete(before or trash.name)
    put(repository.store, trash.name, trash.data)
    repository.store.delete(sealed.name)


def floor(control: Control, going: Sequence[Point]) -> str:
    """Return why *going* are not removed unless the user says yes, "" if they may go."""
    names = {point.name for point in going}
    sites: dict[str, list[bool]] = {}
    for entry in control.points:
        sites.setdefault(place_of(entry.name)[1], []).append(entry.name in names)
    for goes in sites.values():
        if all(goes):
            return "that would leave a site without any restore point; nothing is removed"
        if len(goes) > FEW and sum(goes) > MOST_AT_ONCE * len(goes):
            several = number_of(len(goes), "restore point")
            return f"that would remove {sum(goes)} of {several} of a site; nothing is removed"
    return ""


def trashed(repository: Repository, control: Control) -> list[tuple[StoredObject, Point]]:
    """Return what can be brought back: trash, and the restore point in it, oldest first.

    Trash beside a restore point that is there (its removal was interrupted) is left out.
    """
    there = {id_in(entry.name) for entry in control.points}
    found = []
    for entry in control.trash:
        try:
            point = _point_in(repository, entry)
        except (NoSuchObject, IntegrityError):
            continue
        if point.id not in there:
            found.append((entry, point))
    return sorted(found, key=lambda each: (each[1].stamp, each[1].name))


def _point_in(repository: Repository, entry: StoredObject) -> Point:
    sealed = repository.controls.trashed(entry)
    return read_point(repository.store, repository.keyring, sealed, entry.stored)


def bring_back(repository: Repository, trash: StoredObject) -> Point:
    """Put the restore point in *trash* where it was; return it.

    Raises NoRestorePoint if it is too late: collect removes trash before what it needs. Then the
    restore point is trash again.  Raises InUse while another run brings back restore points: if
    that ended in between, its success would look like the work of collect.
    """
    from collective.recipe.backup.repository.reaching import is_whole

    way = Pass(repository, UNDELETE, lifetime=LIFETIME)
    try:
        control = repository.look()
        running, _over = tickets_of_others(repository, control, way.begun, way.names)
        must_be_alone(running, UNDELETE, way.begun, way.names[0])
        sealed = repository.controls.trashed(trash)
        was_there = any(entry.name == sealed.name for entry in control.points)
        if not _has(control, trash):
            raise _back_already(trash) if was_there else _too_late(trash)
        point = _back(repository, way, sealed, trash)
        # a run of collect that took the trash meanwhile knows of it only if it was there before
        is_known = was_there or _has(repository.look(), trash)
        if not (is_known and is_whole(repository, point, again=True)):
            if not was_there:
                way.check()  # else another run may have brought it back
                # collect may have taken the trash, and perhaps before this one was there again
                _away(repository, sealed, trash.name, ask=True)
            raise _too_late(trash)
        repository.store.delete(trash.name)
        return point
    except (NoSuchObject, StartOver) as error:
        raise _too_late(trash) from error
    finally:
        way.end()


def _has(control: Control, trash: StoredObject) -> bool:
    return any(entry.name == trash.name for entry in control.trash)


def _back(repository: Repository, way: Pass, sealed: Sealed, trash: StoredObject) -> Point:
    way.check()
    stored = put(repository.store, sealed.name, sealed.data)
    return read_point(repository.store, repository.keyring, sealed, stored)


def _too_late(trash: StoredObject) -> NoRestorePoint:
    return NoRestorePoint(
        "this restore point cannot be brought back any more",
        where=trash.name,
        hint="collect has begun to remove what it needs, or a part of it is lost",
    )


def _back_already(trash: StoredObject) -> NoRestorePoint:
    return NoRestorePoint(
        "this restore point is there again",
        where=trash.name,
        hint="another run of undelete has brought it back",
    )
