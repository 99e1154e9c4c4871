"""Objects that were there at a moment and are gone later: when they went, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from collective.recipe.backup.amounts import number_of, size
from collective.recipe.backup.browsing.askedpage import LIVE, AskedPage
from collective.recipe.backup.browsing.pageframe import (
    Cell,
    anchor,
    blobs_of,
    card,
    form,
    pages_of,
    short,
    shown_of,
    table,
    together,
)
from collective.recipe.backup.operations.deleted import Deleted, TwoMoments, compared, deleted
from collective.recipe.backup.operations.objects import storage_number
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.report.markup import Markup, element
from collective.recipe.backup.times import show_moment
from collective.recipe.backup.transactions.filters import text_of

TITLE = "What is gone"
ROWS = 200
_DAY = timedelta(days=1)

_TITLES = ("went (UTC)", "by", "what", "objects", "bytes", "blobs", "look")
_NUMBERS = ("objects", "bytes", "blobs")


def sections(asked: AskedPage, run: Run) -> Iterator[Markup]:
    """Yield the objects that are gone between two moments, once the user has named them.

    To find it takes seconds for each GB of the site, so it is not done unasked.
    """
    is_asked = bool(asked.text("at") or asked.text("before"))
    at = asked.text("at") if is_asked else _usual_moment(run, asked.storage)
    yield form(
        asked,
        "deleted",
        "Find",
        ("at", "There at, such as yesterday (UTC), or a tid", at),
        ("until", f"Gone at, or {LIVE} for the site as it is now", asked.text("until") or LIVE),
        ("path", "At this path or below", asked.path),
    )
    if not is_asked:
        words = "Say when it was there, or take the moment that stands above."
        yield card(element("p", words, class_="soft"))
        return
    until = None if asked.text("until") in ("", LIVE) else asked.moment("until")
    order = TwoMoments(
        before=asked.when, after=until, live=until is None, storage=asked.storage, path=asked.path
    )
    with compared(run, order) as both:
        found = [each for each in deleted(both, asked.path) if each.gone.child.is_entry]
    yield _told(asked, found) if found else card(element("p", "Nothing is gone.", class_="soft"))


def _usual_moment(run: Run, storage: str) -> str:
    """Return the newest restore point that is a day old; if there is none, the oldest of all."""
    with run.opened() as destinations:
        points = destinations[storage_number(run, storage)].restore_points()
    sound = sorted((each for each in points if each.sound), key=lambda each: each.age)
    before = [each for each in sound if each.moment <= run.now - _DAY]
    found = before[-1:] or sound[:1]
    return found[0].stamp if found else ""


def _told(asked: AskedPage, found: list[Deleted]) -> Markup:
    rows = [_row(asked, each) for each in shown_of(asked, found, ROWS)]
    return card(
        element("p", number_of(len(found), "thing"), class_="soft"),
        table(_TITLES, rows, _NUMBERS),
        pages_of(asked, len(found), ROWS),
    )


def _row(asked: AskedPage, each: Deleted) -> list[Cell]:
    gone, went = each.gone, each.gone.departure
    oid = gone.held.oid.hex()
    marks = "".join(f" ({short(mark)})" for mark in gone.marks)
    return [
        show_moment(went.tid) if went else "",
        short(text_of(went.user)) if went else "",
        together(short(gone.path), f" {short(gone.held.kind)}{marks}"),
        f"{each.objects:,}",
        size(each.size),
        blobs_of(each.blobs),
        together(
            anchor("objects", asked.url_of("objects", path=oid)),
            anchor(".zexp", asked.url_of("export", path=oid)),
        ),
    ]
