"""The first page: the restore points, the newest first, and a way to any moment."""

from __future__ import annotations

from collections.abc import Iterator

from collective.recipe.backup.amounts import number_of, size
from collective.recipe.backup.browsing.askedpage import AskedPage
from collective.recipe.backup.browsing.pageframe import (
    Cell,
    anchor,
    card,
    form,
    pages_of,
    shown_of,
    table,
)
from collective.recipe.backup.model import MAIN, RestorePoint
from collective.recipe.backup.operations.listing import Listed, list_points
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.report.markup import Markup, element
from collective.recipe.backup.times import in_words, show_moment

TITLE = "Time line"
ROWS = 60

_TITLES = ("restore point", "last transaction", "state", "filestorage", "blobs", "look")
_NUMBERS = ("filestorage", "blobs")


def sections(asked: AskedPage, run: Run) -> Iterator[Markup]:
    """Yield what can be restored from the place of *run*."""
    words = "A moment, such as yesterday 14:30 (UTC), or a tid"
    yield form(asked, "objects", "Look", ("at", words, ""))
    for listed in list_points(run):
        yield _storage(asked, listed)


def _storage(asked: AskedPage, listed: Listed) -> Markup:
    name = listed.source.name
    heading = "Restore points" if name == MAIN else f"Restore points of storage {name}"
    points = sorted(listed.points, key=lambda point: point.age, reverse=True)
    begin = "from" if name == MAIN else f"from {name}"
    if not points:
        return card(element("h2", heading), element("p", "There is none yet.", class_="soft"))
    storage = "" if name == MAIN else name
    rows = [_row(point, storage) for point in shown_of(asked, points, ROWS, begin)]
    return card(
        element("h2", heading),
        element("p", number_of(len(points), "restore point"), class_="soft"),
        table(_TITLES, rows, _NUMBERS),
        pages_of(asked, len(points), ROWS, begin, ("Earlier", "Later")),
    )


def _row(point: RestorePoint, storage: str) -> list[Cell]:
    asked = AskedPage(view="", arguments={"storage": storage}, now=point.moment)
    return [
        in_words(point.moment),
        show_moment(point.tid) if point.tid else "",
        _state(point),
        size(point.end),
        "" if point.blob_bytes is None else size(point.blob_bytes),
        anchor("objects", asked.url_of("objects", at=point.stamp)) if point.sound else "",
    ]


def _state(point: RestorePoint) -> Cell:
    if point.sound:
        return "whole" if point.whole else "incomplete"
    return element("span", "damaged", class_="pill critical")
