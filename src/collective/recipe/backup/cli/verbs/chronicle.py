"""``bin/backup-log``."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from heapq import nlargest
from itertools import chain, islice
from typing import TYPE_CHECKING

from collective.recipe.backup import times
from collective.recipe.backup.amounts import size
from collective.recipe.backup.cli import moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag, place_flag
from collective.recipe.backup.cli.contradictions import Contradiction
from collective.recipe.backup.cli.tables import Column, table
from collective.recipe.backup.errors import DONE, UsageError, printable
from collective.recipe.backup.model import MAIN, Oid

if TYPE_CHECKING:
    from collective.recipe.backup.operations.chronicle import Chronicle
    from collective.recipe.backup.operations.run import Run
    from collective.recipe.backup.transactions.coverage import Stretch
    from collective.recipe.backup.transactions.logged import Logged
    from collective.recipe.backup.transactions.sums import Sum

LARGEST = 20
"""Transactions that --large shows unless a number is given."""

LIVE_ALONE = Contradiction(
    ("--from", "--of"), ("--live",), "the live site has no places of backups: leave one of them out"
)

_AT_ONCE = 100
"""Lines that are written at once."""

KINDS = 3
"""Kinds of objects that --large shows of each transaction."""

TITLES = f"{'transaction':16}  {'moment (UTC)':19}  {'objects':>7}  {'bytes':>8}  user: description"
"""Above transactions, each ``as_line``."""
_BLANK = " " * 39  # above a kind of objects: the transaction and its moment


def _declare(parser: argparse.ArgumentParser) -> None:
    moments.span(parser)
    parser.add_argument(
        "--user", metavar="U", help="only those of this user: the id, or with the path before it"
    )
    parser.add_argument(
        "--grep", metavar="TEXT", help="only those with this text in the description"
    )
    parser.add_argument(
        "--path",
        metavar="PATH",
        help="only changes of the object at this path and of the objects in it; a deleted "
        "object is looked for in the newest restore point that has it; PATH is as for "
        "objects",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--last", type=_number, metavar="N", help="only the last N transactions that match"
    )
    which.add_argument(
        "--large",
        type=_number,
        nargs="?",
        const=LARGEST,
        metavar="N",
        help=f"only the N largest ({LARGEST}), the largest first, with the kinds of their objects; "
        "blobs do not count",
    )
    which.add_argument(
        "--stat",
        action="store_true",
        help="no transactions, but sums of them by user, by day and by kind of object",
    )
    parser.add_argument(
        "--live", action="store_true", help="of the site as it is now, not of its backups"
    )
    json_flag(parser)
    destination_flag(parser)
    place_flag(parser)


def _number(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"a whole number, 1 or more, not {text!r}")
    return number


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations.chronicle import ChronicleOrder, chronicles
    from collective.recipe.backup.transactions.filters import Filter

    stretch = _stretch(run, namespace)
    order = ChronicleOrder(
        stretch=stretch,
        live=namespace.live,
        oids=_oids(run, namespace, stretch) if namespace.path else None,
        with_kinds=namespace.stat or bool(namespace.large),
        wanted=Filter(user=namespace.user, text=namespace.grep).matches,
    )
    with chronicles(run, order) as all_of_them:
        found = [it for it in all_of_them if not namespace.path or it.source.name == MAIN]
        if namespace.stat:
            _tell_sums(found, answers)
        elif namespace.json:
            with answers.long_document("transactions") as write:
                for each in found:
                    for entry in _chosen(each.entries, namespace):
                        write({"storage": each.source.name, **as_document(entry)})
        else:
            _tell(found, namespace, answers)
    return DONE


def _oids(run: Run, namespace: argparse.Namespace, stretch: Stretch) -> frozenset[Oid]:
    from collective.recipe.backup.objects.paths import place_of
    from collective.recipe.backup.operations.lastplace import last_place
    from collective.recipe.backup.operations.objects import held_oids, opened_objects
    from collective.recipe.backup.operations.otheroids import with_other_oids

    if namespace.live:
        with opened_objects(run, None, live=True) as opened:
            oids = held_oids(opened.objects, place_of(opened.objects, namespace.path))
    else:
        with last_place(run, namespace.path, stretch) as found:
            oids = held_oids(*found)
    return with_other_oids(run, oids, live=namespace.live)


def _stretch(run: Run, namespace: argparse.Namespace) -> Stretch:
    """Return the transaction ids that are asked for.  Raises UsageError."""
    from collective.recipe.backup.transactions.coverage import stretch_of

    stretch = stretch_of(*moments.asked_span(run, namespace))
    if stretch.last < stretch.first:
        raise UsageError("--until is earlier than --since", hint="exchange them")
    return stretch


def _chosen(entries: Iterable[Logged], namespace: argparse.Namespace) -> Iterable[Logged]:
    if namespace.large:
        return nlargest(namespace.large, entries, key=lambda entry: entry.size)
    return deque(entries, namespace.last) if namespace.last else entries


# transactions


def _tell(found: Iterable[Chronicle], namespace: argparse.Namespace, answers: Answers) -> None:
    for each in found:
        if each.source.name != MAIN:
            answers.say(f"\nStorage {each.source.name}:")
        lines = chain.from_iterable(map(_lines, _chosen(each.entries, namespace)))
        is_first = True
        while some := list(islice(lines, _AT_ONCE)):
            answers.say("\n".join([TITLES, *some] if is_first else some))
            is_first = False
        if is_first:
            hint = (
                "" if namespace.live else " in the backups; --live looks in the site as it is now"
            )
            answers.say(f"no such transaction{hint}")


def _lines(entry: Logged) -> Iterator[str]:
    """Yield what is said of a transaction."""
    yield as_line(entry)
    for kind in sorted(entry.kinds, key=lambda it: -entry.kinds[it].size)[:KINDS]:
        amount = entry.kinds[kind]
        yield f"{_BLANK}{amount.objects:>7,}  {size(amount.size):>8}  {printable(kind)}"


def as_line(entry: Logged) -> str:
    """Return a transaction in one line, fit for a terminal."""
    words = [written(entry.description), *(f"({mark})" for mark in entry.marks)]
    return (
        f"{times.show_tid(entry.tid)}  {times.show_moment(entry.tid):19}"
        f"  {entry.objects:>7,}  {size(entry.size):>8}"
        f"  {written(entry.user) or '-'}: {' '.join(filter(None, words))}"
    )


def written(text: bytes) -> str:
    """Return what a stranger has written, fit for a terminal."""
    from collective.recipe.backup.transactions.filters import text_of

    return printable(text_of(text))


def as_document(entry: Logged) -> dict[str, object]:
    """Return a transaction as an object of JSON."""
    from collective.recipe.backup.transactions.filters import text_of

    try:
        moment = times.moment_of(entry.tid).isoformat()
    except ValueError:
        moment = None
    document: dict[str, object] = {
        "tid": times.show_tid(entry.tid),
        "moment": moment,
        "user": text_of(entry.user),
        "description": text_of(entry.description),
        "objects": entry.objects,
        "bytes": entry.size,
        "undo": bool(entry.undoing),
        "undone": entry.undone,
        "packed": entry.packed,
        "taken_back": entry.cut_off,
    }
    if entry.kinds:
        document["kinds"] = {
            kind: {"objects": amount.objects, "bytes": amount.size}
            for kind, amount in entry.kinds.items()
        }
    return document


# sums


def _tell_sums(found: Iterable[Chronicle], answers: Answers) -> None:
    from collective.recipe.backup.transactions.filters import text_of
    from collective.recipe.backup.transactions.sums import Sums

    documents = []
    for each in found:
        sums = Sums(text_of)
        for entry in each.entries:
            sums.add(entry)
        parts = (("user", sums.users), ("day", sums.days), ("kind of object", sums.kinds))
        if answers.json:
            names = ("users", "days", "kinds")
            told = {name: _sums(part) for name, (_, part) in zip(names, parts, strict=True)}
            documents.append({"storage": each.source.name, **told})
            continue
        if each.source.name != MAIN:
            answers.say(f"\nStorage {each.source.name}:")
        for title, part in parts:
            answers.say("\n".join([*_table(title, part), ""]))
    if answers.json:
        answers.document({"storages": documents})


def _sums(part: Mapping[str, Sum]) -> dict[str, object]:
    return {
        name: {"transactions": it.transactions, "objects": it.objects, "bytes": it.size}
        for name, it in part.items()
    }


def _table(title: str, part: Mapping[str, Sum]) -> Iterable[str]:
    names = sorted(part) if title == "day" else sorted(part, key=lambda it: -part[it].size)
    columns = (
        *(Column(title=it, right=True) for it in ("transactions", "objects", "bytes")),
        Column(title=title),
    )
    rows = [
        [f"{it.transactions:,}", f"{it.objects:,}", size(it.size), printable(name)]
        for name, it in ((name, part[name]) for name in names)
    ]
    return table(columns, rows, None)


VERB = Verb(
    summary="say who changed what and when",
    description="List the transactions that the backups know, also those that a pack has dropped\n"
    "since: moment, user, description, and how much was written.  The id of each is a moment for\n"
    "the other commands: with --before it is the state before that transaction.",
    examples=(
        ("--since yesterday", "what happened since yesterday, 0:00 UTC"),
        ("--grep /news --user jane", "what jane did in /news"),
        ("--stat --since '1 week ago'", "the sums of a week by user, day and kind of object"),
        ("--large 5", "the five transactions that wrote most"),
        ("--live --last 20", "the last 20 of the live site"),
    ),
    declare=_declare,
    act=_act,
    contradictions=(LIVE_ALONE,),
)
