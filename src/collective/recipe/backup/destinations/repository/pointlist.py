"""The restore points of one site in a repository, as lists and retention see them.

Each can be restored without the others.  So each is a chain of its own, and can be removed alone.

A restore point that does not follow the one before it begins a line of its own (see
``repository.standing``), so that it never replaces another one, whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from collective.recipe.backup.destinations.manifestpoint import point_of
from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.errors import ConfigurationError, IntegrityError, printable
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.repository.controls import Control
from collective.recipe.backup.repository.names import place_of
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.standing import lines, standing
from collective.recipe.backup.times import stamp_after

BLOBS = "blobs"
"""Name of the holding of the blobs of a restore point."""

LEFT_BEHIND = timedelta(days=14)
"""For so long after the first backup that follows a restore nothing goes that it came from."""


class ListedPoint(NamedTuple):
    """A restore point."""

    shown: RestorePoint  # as it is listed
    point: Point | None  # as the repository has it; None: it cannot be read
    name: str  # of its object
    lacks: bool = False  # whether it is known to lack data that it had


def listed_points(repository: Repository, control: Control, site: str) -> list[ListedPoint]:
    """Return the restore points of *site* in a listing, oldest first."""
    found = standing(repository, control)
    tag = repository.site_tag(site)
    listed = [
        ListedPoint(_unusable(place_of(entry.name)[0], "it cannot be read"), None, entry.name)
        for entry in found.damaged
        if place_of(entry.name)[1] == tag
    ]
    line = lines(found.readable)
    lacking = {point.name for point in found.void}
    for point in sorted(found.readable, key=lambda point: (point.stored, point.name)):
        if point.site == site:
            shown = replace(shown_point(point), line=line[point.name])
            lacks = point.name in lacking
            shown = _lacking(shown) if lacks else shown
            listed.append(ListedPoint(shown, point, point.name, lacks))
    listed = list(_with_begins(_with_left_behind(_each_once(listed))))
    return sorted(listed, key=lambda each: each.shown.age)


def mention_other_sites(repository: Repository, control: Control, site: str) -> None:
    """Warn of *site*, which has no restore points, that others have: it may be called otherwise."""
    others = sorted({printable(point.site) for point in standing(repository, control).readable})
    if others:
        repository.tell(
            f"the repository has no restore points of a site {printable(site)}, but of "
            f"{', '.join(others)}: site_name says which one this is"
        )


def _with_left_behind(listed: Iterable[ListedPoint]) -> Iterator[ListedPoint]:
    """Yield *listed*, in the order of the store, each with the restore points that stay with it.

    Each restore point is a chain of its own, so the first one after a restore would let go at once
    of those from before the restore.  The next ones hold them as well, for LEFT_BEHIND.
    """
    since: dict[str, datetime] = {}
    for each in listed:
        if each.point is not None:
            now = each.point.moment
            if each.shown.stays:
                # without the first one nothing would tell of it
                since.update(dict.fromkeys([*each.shown.stays, each.shown.stamp], now))
            held = (stamp for stamp, then in since.items() if now - then < LEFT_BEHIND)
            yield each._replace(shown=replace(each.shown, stays=tuple(sorted(held))))
        else:
            yield each


def _with_begins(listed: Iterable[ListedPoint]) -> Iterator[ListedPoint]:
    """Yield *listed*, in the order of the store, each with the begin of its log.

    A pack, or a restore, changes which moments a log has; between two of them it is one log.
    Without a log no moment between two restore points can be restored.
    """
    begins: dict[object, str] = {}
    for each in listed:
        shown = each.shown
        if shown.tid is None:
            yield each
            continue
        stamp = begins.setdefault((shown.line, shown.since, shown.holes), shown.stamp)
        yield each._replace(shown=replace(shown, begins=stamp))


def _each_once(listed: Sequence[ListedPoint]) -> Iterator[ListedPoint]:
    """Yield *listed*, each under a stamp of its own.

    Where two runs in one second did not see each other, both restore points have one stamp: the
    later one is shown under the next that is free.  One that cannot be restored, or that has the
    contents of the other one, is left out.
    """
    stamps: dict[str, ListedPoint] = {}
    for each in listed:
        first = stamps.get(each.shown.stamp)
        if first is None or (each.shown.sound and not first.shown.sound):
            stamps[each.shown.stamp] = each
    for each in listed:
        stamp = each.shown.stamp
        first = stamps[stamp]
        if each is first:
            yield each
        elif each.shown.sound and not _is_copy(each, first):
            with suppress(OverflowError):
                while stamp in stamps:
                    stamp = stamp_after(stamp)
                stamps[stamp] = each
                yield each._replace(shown=replace(each.shown, stamp=stamp, chain=stamp))


def _is_copy(one: ListedPoint, other: ListedPoint) -> bool:
    """Tell whether two restore points have all in common, as if ``copy`` ran twice at once."""
    return (
        one.point is not None and other.point is not None and one.point.roots == other.point.roots
    )


def shown_point(point: Point) -> RestorePoint:
    """Return *point* as it is listed, but for its line."""
    try:
        manifest = contents_of(point).manifest
        if manifest is None:
            return _unusable(point.stamp, "it does not say what it holds")
    except (IntegrityError, ConfigurationError) as error:
        return _unusable(point.stamp, error.what)
    shown = point_of(replace(manifest, stamp=point.stamp, chain=point.stamp))
    # no client is believed that says later than the store
    return replace(shown, taken=point.moment)


def _lacking(shown: RestorePoint) -> RestorePoint:
    """Return *shown* as one that can be restored in part, and that prune may remove."""
    return replace(shown, problems=(*shown.problems, "it lacks data"), damaged=True)


def _unusable(stamp: str, problem: str) -> RestorePoint:
    return RestorePoint(
        stamp=stamp, chain=stamp, end=0, problems=(problem,), restorable=False, damaged=True
    )
