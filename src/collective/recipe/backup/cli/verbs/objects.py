"""``bin/backup-objects``."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from collective.recipe.backup import times
from collective.recipe.backup.amounts import size
from collective.recipe.backup.cli import moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag, place_flag
from collective.recipe.backup.cli.tables import Column, table
from collective.recipe.backup.cli.verbs.chronicle import (
    LIVE_ALONE,
    TITLES,
    as_document,
    as_line,
    written,
)
from collective.recipe.backup.cli.verbs.deletedlisting import blobs_as_json, tell_deleted
from collective.recipe.backup.errors import DONE, UsageError, printable
from collective.recipe.backup.model import MAIN, Oid
from collective.recipe.backup.times import When

if TYPE_CHECKING:
    from collective.recipe.backup.objects.paths import Location
    from collective.recipe.backup.operations.objects import Item
    from collective.recipe.backup.operations.run import Run

COLUMNS = (
    Column(title="changed (UTC)"),
    Column(title="by"),
    Column(title="own bytes", right=True),
    Column(title="objects", right=True),
    Column(title="bytes", right=True),
    Column(title="blobs", right=True),
    Column(title="blob bytes", right=True),
    Column(title="oid"),
    Column(title="path: class"),
)


def _declare(parser: argparse.ArgumentParser) -> None:
    moments.declare(parser, "what the site was at this moment (default: the newest there is)")
    path_flag(parser)
    parser.add_argument(
        "--attributes",
        action="store_true",
        help="list what an object has as attributes too, not only what it contains",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--history",
        action="store_true",
        help="list who changed the object at PATH, and when, out of all backups",
    )
    instead.add_argument(
        "--deleted",
        action="store_true",
        help="list what was there at the moment, at PATH or below, and is not there later, with "
        "the transaction that took it away",
    )
    parser.add_argument(
        "--until",
        metavar="MOMENT",
        help="with --deleted, the later moment, in one of these forms too, or live for the "
        "site as it is now (the default)",
    )
    parser.add_argument(
        "--storage", default=MAIN, metavar="NAME", help="of which storage (default: the main one)"
    )
    parser.add_argument(
        "--live", action="store_true", help="of the site as it is now, not of its backups"
    )
    json_flag(parser)
    destination_flag(parser)
    place_flag(parser)


def path_flag(parser: argparse.ArgumentParser) -> None:
    """Declare --path, which may also stand behind the moment."""
    parser.add_argument(
        "--path",
        metavar="PATH",
        help="where to look: a path like /Plone/news, or the oid of an object, 16 hex digits "
        "(default: the root); either may stand behind the moment as well, and one that begins "
        "with / alone",
    )


def asked_path(namespace: argparse.Namespace, *, is_needed: bool) -> str:
    """Return the path that was asked for, and take it from behind the moment.

    An oid looks like a transaction: alone it is a path only where one *is_needed*.
    """
    from collective.recipe.backup.objects.paths import is_oid

    if namespace.path is None and namespace.moment:
        *before, last = namespace.moment
        if "/" in last or (is_oid(last) and (before or is_needed)):
            namespace.moment, namespace.path = before, last
    path: str = namespace.path or "/"
    return path if path.startswith("/") or is_oid(path) else f"/{path}"


def asked_moment(run: Run, namespace: argparse.Namespace) -> When | None:
    """Return the moment that was asked for, beside a path.  Raises UsageError."""
    try:
        return moments.asked_for(run, namespace)
    except UsageError as error:
        if namespace.moment and not namespace.path:
            error.hint += "; a path begins with a slash"
        raise


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.objects.paths import place_of
    from collective.recipe.backup.operations.objects import items, opened_objects

    if namespace.until and not namespace.deleted:
        raise UsageError("--until is for --deleted", hint="a single moment stands alone")
    if namespace.history and namespace.attributes:
        raise UsageError("--attributes is not for --history", hint="leave one of them out")
    if namespace.history:
        _tell_history(run, namespace, answers)
        return DONE
    if namespace.deleted:
        tell_deleted(run, namespace, *_asked(run, namespace), answers)
        return DONE
    path, when = _asked(run, namespace)
    with opened_objects(run, when, namespace.storage, live=namespace.live) as opened:
        place = place_of(opened.objects, path)
        found = items(opened, place)
    if not namespace.attributes and any(each.is_entry for each in found[1:]):
        found = [each for each in found if each.is_entry]
    if answers.json:
        documents = [_as_json(each, place) for each in found]
        answers.document({"moment": moments.as_json(when), "objects": documents})
    else:
        rows = [_row(each, place) for each in found]
        answers.say("\n".join(table(COLUMNS, rows, answers.width)))
    return DONE


def _asked(run: Run, namespace: argparse.Namespace) -> tuple[str, When | None]:
    """Return the path and the moment that were asked for."""
    path = asked_path(namespace, is_needed=namespace.history)
    try:
        when = asked_moment(run, namespace)
    except UsageError as error:
        if namespace.deleted and not namespace.until:
            error.hint += "; the later moment stands after --until"
        raise
    if namespace.live and when is not None:
        raise UsageError("--live takes no moment", hint="the live site is what it is now")
    return path, when


def _oid(run: Run, namespace: argparse.Namespace) -> Oid:
    """Return the oid of the object at the path: at the moment, or when it was last there."""
    from collective.recipe.backup.objects.paths import place_of
    from collective.recipe.backup.operations.lastplace import last_place
    from collective.recipe.backup.operations.objects import opened_objects

    path, when = _asked(run, namespace)
    if when is None and not namespace.live:
        with last_place(run, path, storage=namespace.storage) as (_objects, place):
            return place.held.oid
    with opened_objects(run, when, namespace.storage, live=namespace.live) as opened:
        return place_of(opened.objects, path).held.oid


def _tell_history(run: Run, namespace: argparse.Namespace, answers: Answers) -> None:
    from collective.recipe.backup.operations.chronicle import ChronicleOrder, chronicles
    from collective.recipe.backup.operations.otheroids import with_other_oids

    oid = frozenset([_oid(run, namespace)])
    oids = with_other_oids(run, oid, namespace.storage, live=namespace.live)
    order = ChronicleOrder(live=namespace.live, oids=oids, with_kinds=True)
    with chronicles(run, order) as found:
        [chronicle] = [each for each in found if each.source.name == namespace.storage]
        if answers.json:
            with answers.long_document("transactions") as write:
                for entry in chronicle.entries:
                    write({"storage": namespace.storage, **as_document(entry)})
        else:
            answers.say(TITLES)
            for entry in chronicle.entries:
                answers.say(as_line(entry))


def _path(item: Item, place: Location) -> str:
    return f"{place.path}/{item.name}" if item.name else place.path or "/"


def _own_bytes(item: Item) -> str:
    total = size(item.own_size + item.own_blob.size)
    return f"{total} at least" if item.own_blob.unknown else total


def _row(item: Item, place: Location) -> list[str]:
    return [
        times.show_moment(item.changed),
        written(item.user) or "-",
        _own_bytes(item),
        f"{item.objects:,}",
        size(item.size),
        f"{item.blobs.number:,}",
        item.blobs.words,
        item.held.oid.hex(),
        f"{printable(_path(item, place))}: {printable(item.held.kind)}",
    ]


def _as_json(item: Item, place: Location) -> dict[str, object]:
    from collective.recipe.backup.transactions.filters import text_of

    return {
        "path": _path(item, place),
        "oid": item.held.oid.hex(),
        "class": item.held.kind,
        "contained": item.is_entry,
        "tid": times.show_tid(item.held.tid),
        "bytes": item.own_size,
        **blobs_as_json(item.own_blob),
        "held": {
            "tid": times.show_tid(item.changed),
            "user": text_of(item.user),
            "objects": item.objects,
            "bytes": item.size,
            **blobs_as_json(item.blobs),
        },
    }


VERB = Verb(
    summary="look at the objects of a moment",
    description="List what was in the site at a moment: what an object contains, with the last\n"
    "change, its own size, and the number and the size of the objects that it holds and of\n"
    "their blobs.\n"
    "No class of the site is needed, and nothing that is stored is run.",
    examples=(
        ("", "the root of the site, in the newest restore point"),
        ("yesterday /Plone/news", "what was in that folder yesterday, 0:00 UTC"),
        ("--path /Plone/news --history", "who changed that folder, and when"),
        ("yesterday /Plone --deleted", "what is gone since yesterday, 0:00 UTC, and who did it"),
        ("--live --path /Plone --attributes", "all that the live site has, attributes as well"),
    ),
    declare=_declare,
    act=_act,
    contradictions=(LIVE_ALONE,),
)
