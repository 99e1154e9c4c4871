"""What was there at a moment and is gone later, when it went, and who did it."""

from __future__ import annotations

from collections.abc import Iterator

from collective.recipe.backup.amounts import number_of, size
from collective.recipe.backup.browsing.askedpage import LIVE, AskedPage
from collective.recipe.backup.browsing.pageframe import (
    Cell,
    anchor,
    card,
    form,
    pages,
    table,
    together,
)
from collective.recipe.backup.operations.deleted import Deleted, TwoMoments, compared, deleted
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.report.markup import Markup, element
from collective.recipe.backup.times import show_moment
from collective.recipe.backup.transactions.filters import text_of

TITLE = "What is gone"
ROWS = 200

_TITLES = ("went (UTC)", "by", "what", "objects", "bytes", "blobs", "look")
_NUMBERS = ("objects", "bytes", "blobs")


def sections(asked: AskedPage, run: Run) -> Iterator[Markup]:
    """Yield what is gone between two moments, once they are asked for."""
    yield card(
        form(
            "deleted",
            "Find",
            {"storage": asked.text("storage")},
            ("at", "There at, such as yesterday (UTC), or a tid", asked.text("at")),
            ("until", f"Gone at, or {LIVE} for the site as it is now", asked.text("until") or LIVE),
            ("path", "At this path or below", asked.path),
        )
    )
    if not asked.text("at") and not asked.text("before"):
        yield card(element("p", "Say when it was there.", class_="soft"))
        return
    until = None if asked.text("until") in ("", LIVE) else asked.moment("until")
    order = TwoMoments(
        before=asked.when, after=until, live=until is None, storage=asked.storage, path=asked.path
    )
    with compared(run, order) as comparison:
        found = [each for each in deleted(comparison, asked.path) if each.gone.child.is_entry]
    yield _told(asked, found) if found else card(element("p", "Nothing is gone.", class_="soft"))


def _told(asked: AskedPage, found: list[Deleted]) -> Markup:
    first = asked.number("from")
    more = first + ROWS < len(found)
    return card(
        element("p", number_of(len(found), "thing"), class_="soft"),
        table(_TITLES, [_row(asked, it) for it in found[first : first + ROWS]], _NUMBERS),
        pages(anchor("More", asked.same(**{"from": str(first + ROWS)})) if more else None),
    )


def _row(asked: AskedPage, each: Deleted) -> list[Cell]:
    gone, went = each.gone, each.gone.departure
    oid = gone.held.oid.hex()
    marks = "".join(f" ({mark})" for mark in gone.marks)
    return [
        show_moment(went.tid) if went else "",
        text_of(went.user) if went else "",
        together(gone.path, f" {gone.held.kind}{marks}"),
        f"{each.objects:,}",
        size(each.size),
        f"{each.blobs:,}" if each.blobs else "",
        together(
            anchor("objects", asked.url_of("objects", path=oid)),
            anchor(".zexp", asked.url_of("export", path=oid)),
        ),
    ]
