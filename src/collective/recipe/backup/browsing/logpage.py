"""Transactions, the newest first: of all of them, or of one object."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from collective.recipe.backup.amounts import size
from collective.recipe.backup.browsing.askedpage import AskedPage
from collective.recipe.backup.browsing.pageframe import (
    Cell,
    anchor,
    card,
    form,
    pages,
    short,
    table,
    together,
)
from collective.recipe.backup.model import Oid
from collective.recipe.backup.operations.chronicle import ChronicleOrder, chronicles
from collective.recipe.backup.operations.lastplace import last_place
from collective.recipe.backup.operations.objects import held_oids, storage_number
from collective.recipe.backup.operations.otheroids import with_other_oids
from collective.recipe.backup.operations.run import Run
from collective.recipe.backup.report.markup import Markup, element
from collective.recipe.backup.times import show_moment, show_tid, tid_before
from collective.recipe.backup.transactions.coverage import Stretch, stretch_of
from collective.recipe.backup.transactions.filters import Filter, text_of
from collective.recipe.backup.transactions.logged import Logged

TITLE = "Transactions"
ROWS = 100

_TITLES = ("moment (UTC)", "by", "what", "objects", "bytes", "look")
_NUMBERS = ("objects", "bytes")


def sections(asked: AskedPage, run: Run) -> Iterator[Markup]:
    """Yield the transactions that are asked for, ROWS of them."""
    yield form(
        asked,
        "log",
        "Find",
        ("user", "User", asked.text("user")),
        ("grep", "Text in the description", asked.text("grep")),
        ("path", "Path", asked.text("path")),
        ("since", "Since", asked.text("since")),
        ("until", "Until", asked.text("until")),
    )
    stretch = stretch_of(asked.moment("since"), asked.moment("until"))
    oids, is_one = None, False
    if asked.text("path"):
        with last_place(run, asked.path, stretch, asked.storage) as found:
            held = held_oids(*found)
        oids, is_one = with_other_oids(run, held, asked.storage), len(held) == 1
    yield from _found(asked, run, stretch, oids, is_one=is_one)


def history_sections(asked: AskedPage, run: Run, oid: Oid) -> Iterator[Markup]:
    """Yield the transactions that wrote one object."""
    oids = with_other_oids(run, frozenset([oid]), asked.storage)
    yield from _found(asked, run, stretch_of(None, None), oids, is_one=True)


def _found(
    asked: AskedPage, run: Run, stretch: Stretch, oids: frozenset[Oid] | None, *, is_one: bool
) -> Iterator[Markup]:
    """Yield the transactions; if *is_one*, the oids are those of one object."""
    older = asked.tid("older")
    if older is not None:
        stretch = Stretch(stretch.first, min(stretch.last, tid_before(older)))
    wanted = Filter(user=asked.text("user") or None, text=asked.text("grep") or None).matches
    order = ChronicleOrder(stretch=stretch, oids=oids, wanted=wanted)
    number = storage_number(run, asked.storage)
    with chronicles(run, order) as every:
        newest = deque(every[number].entries, ROWS + 1)
    if not newest:
        yield card(element("p", "There is no such transaction.", class_="soft"))
        return
    oldest = newest.popleft() if len(newest) > ROWS else None
    shown = list(reversed(newest))
    yield card(
        table(_TITLES, _rows(asked, shown, is_one=is_one), _NUMBERS),
        pages(
            anchor("Earlier", asked.same(older=show_tid(shown[-1].tid))) if oldest else None,
            anchor("Newest", asked.same(older="")) if older else None,
        ),
    )


def _rows(asked: AskedPage, entries: Iterable[Logged], *, is_one: bool) -> Iterator[list[Cell]]:
    for entry in entries:
        tid = show_tid(entry.tid)
        of = entry.oid.hex() if is_one and entry.oid else ""
        words = [text_of(entry.description), *(f"({mark})" for mark in entry.marks)]
        yield [
            show_moment(entry.tid),
            short(text_of(entry.user)),
            " ".join(map(short, filter(None, words))),
            f"{entry.objects:,}",
            size(entry.size),
            together(
                anchor("before", asked.url_of("objects", before=tid, path=of)),
                anchor("after", asked.url_of("objects", at=tid, path=of)),
            ),
        ]
