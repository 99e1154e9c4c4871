"""Restore points that a later one replaces, at sites that are backed up every few seconds.

A log that has only grown has every moment of its earlier states.  So of the restore points of an
hour with one log and equal further files, the last one replaces the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

from collective.recipe.backup.destinations.repository.pointcontents import contents_of
from collective.recipe.backup.destinations.repository.pointlist import ListedPoint
from collective.recipe.backup.errors import ConfigurationError, IntegrityError
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.times import beginning_of_hour


def served_by_others(listed: Iterable[ListedPoint], now: datetime) -> list[Point]:
    """Return those of *listed*, oldest first, that later ones of their hour replace.

    The present hour, of *now*, keeps all.  A restore point that is damaged, or lacks something,
    stays, and replaces no other.
    """
    last: dict[object, Point] = {}
    served = []
    for point, group in _comparable(listed):
        if group[0] >= beginning_of_hour(now):
            continue
        if group in last:
            served.append(last[group])
        last[group] = point
    return served


def _comparable(
    listed: Iterable[ListedPoint],
) -> Iterator[tuple[Point, tuple[datetime, object]]]:
    """Yield the restore points that are whole, each with its hour and what it has in common."""
    for each in listed:
        shown = each.shown
        if each.point is None or not (shown.sound and shown.whole):
            continue
        with suppress(ConfigurationError, IntegrityError):
            contents = contents_of(each.point)
            if contents.log is None:
                continue  # nothing tells what was there when earlier ones were made
            in_common = shown.line, shown.history, frozenset(shown.rights.items()), contents.files
            yield each.point, (beginning_of_hour(shown.moment), in_common)
