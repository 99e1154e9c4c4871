"""The site at a moment: an object, its children, and links to more about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from collective.recipe.backup.amounts import number_of, size
from collective.recipe.backup.browsing.askedpage import AskedPage
from collective.recipe.backup.browsing.pageframe import (
    LONGEST,
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
from collective.recipe.backup.objects.paths import Child, Location, is_oid, place_of
from collective.recipe.backup.operations.extract import NamedBlob, named_blobs
from collective.recipe.backup.operations.objects import Item, OpenedObjects, listing
from collective.recipe.backup.report.markup import Markup, element, text
from collective.recipe.backup.times import show_moment
from collective.recipe.backup.transactions.filters import text_of

ROWS = 200
COUNTED = 1000
"""Objects that are looked at unasked, also for their blobs: more takes longer than one waits."""

_TITLES = ("name", "changed (UTC)", "by", "objects", "bytes", "blobs", "look")
_NUMBERS = ("objects", "bytes", "blobs")


def title(asked: AskedPage) -> str:
    """Return the heading of the page."""
    if asked.text("before"):
        return f"Objects before transaction {asked.text('before')}"
    moment = asked.text("at")
    return f"Objects at {moment}" if moment else "Objects of the newest restore point"


def sections(asked: AskedPage, opened: OpenedObjects) -> Iterator[Markup]:
    """Yield the sections of the object at the requested path."""
    place = place_of(opened.objects, asked.path)
    most = None if asked.text("count") else COUNTED
    found = listing(opened, place, most)
    itself = found.itself
    yield card(_steps(asked, place), *_described(asked, place, itself))
    if itself.blobs.number > 0 and itself.objects <= COUNTED:
        blobs = list(named_blobs(opened, place))
        yield card(element("h2", "Files in it"), *(_blob(asked, place, each) for each in blobs))
    for heading, is_entry in (("Contents", True), ("Other attributes", False)):
        things = [each for each in found.things if each.is_entry is is_entry]
        if things:
            yield _listed(asked, place, heading, things, found.item)
    yield form(
        asked,
        "objects",
        "Look",
        ("path", "Path or oid", place.path or "/"),
        ("at", "At a moment, such as yesterday 14:30 (UTC), or a tid", asked.text("at")),
    )


def _steps(asked: AskedPage, place: Location) -> Markup:
    """Return the path, each step of it a link."""
    if is_oid(place.path):
        return element("p", "object ", element("code", place.path), class_="steps")
    parts: list[Cell] = [anchor("/", asked.url_of("objects", path="/"))]
    path = ""
    for step in filter(None, place.path.split("/")):
        path = f"{path}/{step}"
        parts += [anchor(step, asked.url_of("objects", path=path)), "/"]
    return element("p", *parts, class_="steps")


def _described(asked: AskedPage, place: Location, item: Item) -> Iterator[Markup]:
    oid = item.held.oid.hex()
    user = f" by {short(text_of(item.user))}" if item.user else ""
    counts = (
        f"{number_of(item.objects, 'object')} with {size(item.size)} and "
        f"{number_of(item.blobs.number, 'blob')}"
        f"{f' ({item.blobs.words})' if item.blobs.number else ''}, "
    )
    yield element(
        "p",
        f"{short(item.held.kind)}, oid ",
        element("code", oid),
        f": {counts if item.objects else ''}last changed {show_moment(item.changed)}{user}",
    )
    if not item.objects:
        yield element(
            "p",
            f"It holds more than {number_of(COUNTED, 'object')}. ",
            anchor("Count them", asked.same(count="all")),
            ", which may take some minutes.",
        )
    export = anchor("Download as .zexp", asked.url_of("export", path=place.path))
    history = anchor("History of this object", asked.url_of("history", path=oid))
    is_root = not place.path.strip("/")
    yield element("p", history, *([] if is_root else [text(" · "), export]))


def _blob(asked: AskedPage, place: Location, blob: NamedBlob) -> Markup:
    oid = blob.blob.oid.hex()
    target = asked.url_of("blob", path=place.held.oid.hex(), blob=oid)
    return element("p", anchor(blob.name or f"{oid}.blob", target), f" {short(blob.content_type)}")


def _listed(
    asked: AskedPage,
    place: Location,
    heading: str,
    found: list[Child],
    look: Callable[[Child], Item | None],
) -> Markup:
    shown = filter(None, map(look, shown_of(asked, found, ROWS)))
    return card(
        element("h2", heading),
        element("p", number_of(len(found), "thing"), class_="soft"),
        table(_TITLES, [_row(asked, place, each) for each in shown], _NUMBERS),
        pages_of(asked, len(found), ROWS),
    )


def _path_of(place: Location, item: Item) -> str:
    """Return the path of a child of *place*, or its oid if no URL can hold the path."""
    path = f"{place.path}/{item.name}"
    is_fit = item.name.isprintable() and "/" not in item.name and not is_oid(place.path)
    return path if is_fit and len(path) <= LONGEST else item.held.oid.hex()


def _row(asked: AskedPage, place: Location, item: Item) -> list[Cell]:
    oid = item.held.oid.hex()
    path = _path_of(place, item)
    return [
        together(
            anchor(item.name, asked.url_of("objects", path=path)), f" {short(item.held.kind)}"
        ),
        show_moment(item.changed),
        short(text_of(item.user)),
        f"{item.objects:,}" if item.objects else "",
        size(item.size) if item.objects else "",
        blobs_of(item.blobs),
        together(
            anchor("history", asked.url_of("history", path=oid)),
            anchor(".zexp", asked.url_of("export", path=path)),
        ),
    ]
