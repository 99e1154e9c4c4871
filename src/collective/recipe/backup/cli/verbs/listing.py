"""``bin/backup-list``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from collective.recipe.backup import times
from collective.recipe.backup.amounts import age, size
from collective.recipe.backup.cli import messages, moments
from collective.recipe.backup.cli.answers import Answers, error_as_json
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag, place_flag
from collective.recipe.backup.cli.contradictions import Contradiction
from collective.recipe.backup.cli.tables import Column, table
from collective.recipe.backup.errors import DONE, UsageError, printable
from collective.recipe.backup.model import MAIN, RestorePoint, Source
from collective.recipe.backup.restorepoints import spans

if TYPE_CHECKING:
    from collective.recipe.backup.operations.listing import Listed, ListedPlace
    from collective.recipe.backup.operations.run import Run

COLUMNS = (
    Column(title="restore point"),
    Column(title="age", right=True),
    Column(title="kind"),
    Column(title="stored", right=True),
    Column(title="restores", right=True),
)
LONG_COLUMNS = (Column(title="last transaction"), Column(title="blobs"))
STATE = Column(title="state")


def _declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--long",
        action="store_true",
        help="show the last transaction and the directory of the blobs as well",
    )
    parser.add_argument(
        "--content",
        action="store_true",
        help="list what is in the newest restore point, or in that of MOMENT; of several "
        "places the first one is taken, unless --from names another",
    )
    moments.declare(parser, "with --content, the moment", with_path=True)
    json_flag(parser)
    destination_flag(parser)
    place_flag(parser, default="all of them")
    moments.past_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    if namespace.content:
        from collective.recipe.backup.cli.verbs.contentlisting import list_contents

        return list_contents(run, namespace, answers)
    if namespace.moment or namespace.before or (namespace.local and namespace.as_of is None):
        raise UsageError(
            "a list of restore points takes no moment and no path", hint="--content does"
        )
    from collective.recipe.backup.operations.listing import list_places

    places = list_places(run)
    if namespace.json:
        answers.document(_document(places, run.now))
    else:
        for line in _lines(places, run.now, long=namespace.long, width=answers.width):
            answers.say(line)
    failures = [each.failure for each in places if each.failure is not None]
    for failure in failures:
        messages.report(failure)
    return failures[0].exit_code if failures else DONE


def _document(places: Sequence[ListedPlace], now: datetime) -> dict[str, object]:
    """Return what the first place has, and of several what each has, or why that is not known."""
    found = {
        place.name: {
            "storages": [_as_json(each, now) for each in place.storages],
            "error": None if place.failure is None else error_as_json(place.failure),
        }
        for place in places
    }
    document: dict[str, object] = {"storages": found[places[0].name]["storages"]}
    if len(places) > 1:
        document["places"] = found
    return document


def _lines(
    places: Sequence[ListedPlace], now: datetime, *, long: bool, width: int | None
) -> Iterator[str]:
    for place in places:
        if len(places) > 1:
            yield from () if place is places[0] else ("",)
            yield f"{printable(place.title)}:"
        if place.failure is not None:
            yield f"cannot be looked at: {place.failure}"
        for each in place.storages:
            if each.source.name != MAIN:
                yield f"\nStorage {each.source.name}:"
            yield _as_text(each, now, long=long, width=width)


def source_as_json(source: Source) -> dict[str, object]:
    """Return what names a storage in all JSON."""
    return {"storage": source.name, "filestorage": str(source.filestorage)}


def point_as_json(point: RestorePoint, now: datetime) -> dict[str, object]:
    """Return a restore point as an object of JSON."""
    return {
        "stamp": point.stamp,
        "moment": point.moment.isoformat(),
        "taken": None if point.taken is None else point.taken.isoformat(),
        "age": max(0, round(_age(point, now))),
        "kind": _kind(point),
        "chain": point.chain,
        "stored": point.stored,
        "size": point.end,
        "tid": point.tid and times.show_tid(point.tid),
        "blobs": point.blobs,
        "whole": point.whole,
        "restorable": point.restorable,
        "damaged": point.damaged,
        "forgotten": point.forgotten,
        "problems": list(point.problems),
        "doubts": list(point.doubts),
    }


def _as_json(listed: Listed, now: datetime) -> dict[str, object]:
    return {
        **source_as_json(listed.source),
        "restore_points": [point_as_json(point, now) for point in listed.points],
        "moments": [
            {
                "chain": span.chain,
                "first": span.first.isoformat(),
                "last": span.last.isoformat(),
            }
            for span in listed.ranges
        ],
    }


def _as_text(listed: Listed, now: datetime, *, long: bool, width: int | None) -> str:
    if not listed.points:
        there = "nothing in" if listed.home.is_there() else "there is no"
        return (
            f"no restore points of {printable(str(listed.source.filestorage))} yet: {there} "
            f"{printable(listed.home.label)}"
        )
    columns = (*COLUMNS, *(LONG_COLUMNS if long else ()), STATE)
    rows = [_row(point, now, long=long) for point in listed.points]
    lines = list(table(columns, rows, width))
    found = spans(listed.points)
    if found:
        lines.append("Any moment in these ranges can be restored (UTC):")
    for number, (first, last) in enumerate(found):
        if number:
            lines.append(f"  {_gap(found[number - 1][1], first, listed.restores)}")
        lines.append(f"  {times.stamp(first)} to {times.stamp(last)}")
    return "\n".join(lines)


def _gap(begin: datetime, end: datetime, restores: Sequence[datetime]) -> str:
    """Return in words why no moment after *begin* and before *end* can be restored."""
    between = [each for each in restores if begin <= each <= end]
    if between:
        return (
            f"(a restore at {times.stamp(between[-1])} took the site back: changes between the "
            "last backup before it and the restore are in no backup)"
        )
    return (
        "(no backup has these moments: backups of that time were removed, or a pack or a restore "
        "came before the next backup)"
    )


def _row(point: RestorePoint, now: datetime, *, long: bool) -> list[str]:
    more = [times.show_tid(point.tid) if point.tid else "unknown", point.blobs or "none"]
    return [
        point.stamp,
        age(_age(point, now)),
        _kind(point),
        size(point.stored),
        size(point.end),
        *(map(printable, more) if long else ()),
        printable(_state(point)),
    ]


def _age(point: RestorePoint, now: datetime) -> float:
    """Return the age in seconds, by the clock, or by its stamp if the clock was ahead."""
    made = point.taken if point.taken is not None and point.taken <= now else point.moment
    return (now - made).total_seconds()


def _kind(point: RestorePoint) -> str:
    return "full" if point.full else "incremental"


def _state(point: RestorePoint) -> str:
    if point.whole:
        whole = "whole, as far as known" if point.forgotten else "whole"
        return "; ".join([whole, *point.doubts])
    problems = "; ".join(point.problems)
    return problems if point.restorable else f"cannot be restored: {problems}"


VERB = Verb(
    summary="list what can be restored",
    description="List the restore points, and the moments that can be restored.",
    examples=(
        ("", "list them"),
        ("--long", "with the last transaction of each, and where its blobs are"),
        ("--content yesterday 14:30", "what the state at that moment holds"),
        ("--json", "in JSON, for a program"),
    ),
    declare=_declare,
    act=_act,
    everywhere=True,
    contradictions=(
        Contradiction(("--long",), ("--content",), "it is for the list of restore points"),
    ),
)
