"""The answer of ``bin/backup-objects --deleted``."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import TYPE_CHECKING

from collective.recipe.backup import times
from collective.recipe.backup.amounts import number_of, size
from collective.recipe.backup.cli import moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.tables import Column, table
from collective.recipe.backup.cli.verbs.chronicle import written
from collective.recipe.backup.errors import UsageError, printable
from collective.recipe.backup.momentwords import understood
from collective.recipe.backup.times import When

if TYPE_CHECKING:
    from collective.recipe.backup.objects.departure import Departure
    from collective.recipe.backup.operations.blobsizes import BlobAmount
    from collective.recipe.backup.operations.deleted import Deleted
    from collective.recipe.backup.operations.run import Run

COLUMNS = (
    Column(title="transaction"),
    Column(title="moment (UTC)"),
    Column(title="by"),
    Column(title="objects", right=True),
    Column(title="bytes", right=True),
    Column(title="blobs", right=True),
    Column(title="blob bytes", right=True),
    Column(title="path: class"),
)

LIVE = "live"


def later_moment(run: Run, namespace: argparse.Namespace) -> When | None:
    """Return the moment that --until names, None for the live site."""
    if namespace.until in (None, LIVE):
        return None
    return understood(namespace.until, run.now, local=namespace.local)


def nothing(what: str, when: When | None, until: When | None) -> str:
    """Return the answer that *what* is all there is to tell, with the two moments."""
    first = _named(when, "the newest restore point")
    return (
        f"{what} between {first} and {_named(until, 'the live site')}; "
        "an earlier MOMENT may have more"
    )


def _named(when: When | None, default: str) -> str:
    if when is None:
        return default
    return times.in_words(when) if isinstance(when, datetime) else f"tid {times.show_tid(when)}"


def tell_deleted(
    run: Run, namespace: argparse.Namespace, path: str, when: When | None, answers: Answers
) -> None:
    """List objects that were at *path* or below at *when* and are gone later."""
    from collective.recipe.backup.operations.deleted import TwoMoments, compared, deleted

    if namespace.live:
        raise UsageError(
            "--deleted compares two moments", hint="the live site is the later one unless --until"
        )
    until = later_moment(run, namespace)
    order = TwoMoments(
        before=when, after=until, live=until is None, storage=namespace.storage, path=path
    )
    with compared(run, order) as both:
        found = deleted(both, path)
    shown = [each for each in found if namespace.attributes or each.gone.child.is_entry]
    if answers.json:
        answers.document(
            {
                "moment": moments.as_json(when),
                "until": moments.as_json(until) or LIVE,
                "deleted": [_as_json(each) for each in shown],
            }
        )
        return
    if shown:
        rows = [_row(each) for each in shown]
        answers.say("\n".join(table(COLUMNS, rows, answers.width)))
    else:
        answers.say(nothing("nothing is gone", when, until))
    if len(found) > len(shown):
        answers.say(f"and {number_of(len(found) - len(shown), 'attribute')}, see --attributes")


def blobs_as_json(blobs: BlobAmount) -> dict[str, int]:
    """Return *blobs* as entries of a document."""
    return {
        "blobs": blobs.number,
        "blob_bytes": blobs.size,
        "blobs_of_unknown_size": blobs.unknown,
    }


def _row(each: Deleted) -> list[str]:
    gone = each.gone
    went = gone.departure
    words = f"{gone.path}: {gone.held.kind}"
    return [
        times.show_tid(went.tid) if went else "-",
        times.show_moment(went.tid) if went else "-",
        (written(went.user) if went else "") or "-",
        f"{each.objects:,}",
        size(each.size),
        f"{each.blobs.number:,}",
        each.blobs.words,
        " ".join([printable(words), *(f"({printable(mark)})" for mark in gone.marks)]),
    ]


def _as_json(each: Deleted) -> dict[str, object]:
    gone = each.gone
    return {
        "path": gone.path,
        "oid": gone.held.oid.hex(),
        "class": gone.held.kind,
        "contained": gone.child.is_entry,
        "moved_to": gone.moved_to or None,
        "replaced": gone.is_replaced,
        "referred_to": gone.is_known,
        "objects": each.objects,
        "bytes": each.size,
        **blobs_as_json(each.blobs),
        "transaction": _transaction(gone.departure),
    }


def _transaction(went: Departure | None) -> dict[str, object] | None:
    from collective.recipe.backup.transactions.filters import text_of

    if went is None:
        return None
    try:
        moment = times.moment_of(went.tid).isoformat()
    except ValueError:
        moment = None
    return {
        "tid": times.show_tid(went.tid),
        "moment": moment,
        "user": text_of(went.user),
        "description": text_of(went.description),
        "exact": went.is_exact,
    }
