"""``bin/backup-diff``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from collective.recipe.backup.cli import moments
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.arguments import Verb, destination_flag, json_flag, place_flag
from collective.recipe.backup.cli.tables import Column, table
from collective.recipe.backup.cli.verbs.chronicle import written
from collective.recipe.backup.cli.verbs.deletedlisting import LIVE, later_moment, nothing
from collective.recipe.backup.cli.verbs.objects import asked_moment, asked_path, path_flag
from collective.recipe.backup.errors import DONE, IntegrityError, UsageError, printable
from collective.recipe.backup.model import MAIN
from collective.recipe.backup.momentwords import understood
from collective.recipe.backup.times import When

if TYPE_CHECKING:
    from collective.recipe.backup.objects.current import Held
    from collective.recipe.backup.objects.folderchanges import Field, FolderChanges
    from collective.recipe.backup.operations.deleted import TwoMoments
    from collective.recipe.backup.operations.run import Run

DEPTH = 2
"""Steps below the path of which each folder is a line."""

USERS = 4
"""Users that a line names."""

WIDE = 300
"""Characters of a field that are shown."""

_BEFORE = 20
"""Characters that are shown before the first difference of two long texts."""

COLUMNS = (
    *(Column(title=each, right=True) for each in ("added", "changed", "removed")),
    Column(title="path"),
    Column(title="by"),
)


def _declare(parser: argparse.ArgumentParser) -> None:
    moments.declare(parser, "the earlier moment (default: the newest there is)")
    path_flag(parser)
    parser.add_argument(
        "--until",
        metavar="MOMENT",
        help="the later moment, in one of these forms too, or live for the site as it is now "
        "(the default); it may also follow MOMENT",
    )
    parser.add_argument(
        "--depth",
        type=_depth,
        metavar="N",
        help=f"a line for each folder up to N steps below the path (default: {DEPTH})",
    )
    parser.add_argument(
        "--fields",
        action="store_true",
        help="show which fields of the object at PATH itself have changed (the default for an oid)",
    )
    parser.add_argument(
        "--storage", default=MAIN, metavar="NAME", help="of which storage (default: the main one)"
    )
    json_flag(parser)
    destination_flag(parser)
    place_flag(parser)


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.objects.paths import is_oid
    from collective.recipe.backup.operations.deleted import TwoMoments

    path = asked_path(namespace, is_needed=False)
    _divide(run, namespace)
    when, until = asked_moment(run, namespace), later_moment(run, namespace)
    order = TwoMoments(
        before=when, after=until, live=until is None, storage=namespace.storage, path=path
    )
    about: dict[str, object] = {
        "moment": moments.as_json(when),
        "until": moments.as_json(until) or LIVE,
        "path": path,
    }
    if namespace.fields or is_oid(path):
        if namespace.depth is not None:
            raise UsageError("--depth is for folders", hint="the fields are those of one object")
        _tell_fields(run, order, about, answers)
    else:
        depth = DEPTH if namespace.depth is None else namespace.depth
        _tell_folders(run, order, about, depth, answers)
    return DONE


def _depth(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number, 0 or more, not {text!r}")
    return int(text)


def _divide(run: Run, namespace: argparse.Namespace) -> None:
    """Take the later moment from behind the earlier one, if two stand together."""
    words = namespace.moment
    if namespace.until or len(words) < (1 if namespace.before else 2):
        return
    for at in range(0 if namespace.before else 1, len(words)):
        first, last = " ".join(words[:at]), " ".join(words[at:])
        if _is_moment(run, first) and (last == LIVE or _is_moment(run, last)):
            namespace.moment, namespace.until = words[:at], last
            return


def _is_moment(run: Run, text: str) -> bool:
    try:
        return not text or bool(understood(text, run.now))
    except UsageError:
        return False


# folders


def _tell_folders(
    run: Run, order: TwoMoments, about: dict[str, object], depth: int, answers: Answers
) -> None:
    from collective.recipe.backup.objects.folderchanges import folders
    from collective.recipe.backup.operations.deleted import compared

    with compared(run, order) as both:
        found = folders(both.comparison, order.path, depth)
    if answers.json:
        answers.document({**about, "folders": [_as_json(each) for each in found]})
    elif found:
        answers.say("\n".join(table(COLUMNS, [_row(each) for each in found], answers.width)))
    else:
        answers.say(nothing("nothing has changed", order.before, order.after))


def _row(folder: FolderChanges) -> list[str]:
    users = sorted(map(written, folder.users))
    more = f" and {len(users) - USERS} more" if len(users) > USERS else ""
    counts = [f"{each:,}" for each in folder.counts]
    return [*counts, printable(folder.path), (", ".join(users[:USERS]) or "-") + more]


def _as_json(folder: FolderChanges) -> dict[str, object]:
    from collective.recipe.backup.transactions.filters import text_of

    added, changed, removed = folder.counts
    users = sorted(map(text_of, folder.users))
    return {
        "path": folder.path,
        "added": added,
        "changed": changed,
        "removed": removed,
        "users": users,
    }


# fields


def _tell_fields(run: Run, order: TwoMoments, about: dict[str, object], answers: Answers) -> None:
    from collective.recipe.backup.objects.folderchanges import changed_fields
    from collective.recipe.backup.objects.inert import UnreadableStateError

    before = _held(run, order, order.before, live=False)
    after = _held(run, order, order.after, live=order.live)
    if before is None and after is None:
        raise UsageError(f"there is nothing at {order.path} at either moment")
    try:
        found = changed_fields(before, after)
    except UnreadableStateError as error:
        raise IntegrityError(f"the object at {order.path} cannot be read: {error}") from error
    if answers.json:
        fields = [{"name": it.name, "before": it.before, "after": it.after} for it in found]
        answers.document({**about, "fields": fields})
        return
    lines = [line for field in found for line in _lines(field)]
    unchanged = nothing(f"no field of {printable(order.path)} differs", order.before, order.after)
    answers.say("\n".join(lines) or unchanged)


def _held(run: Run, order: TwoMoments, when: When | None, *, live: bool) -> Held | None:
    from collective.recipe.backup.objects.paths import place_of
    from collective.recipe.backup.operations.objects import opened_objects

    with opened_objects(run, when, order.storage, live=live) as opened:
        try:
            return place_of(opened.objects, order.path).held
        except UsageError:
            return None


def _lines(field: Field) -> Iterator[str]:
    yield f"{printable(field.name) or 'state'}:"
    texts = [each for each in (field.before, field.after) if each is not None]
    begin = len(os.path.commonprefix(texts)) - _BEFORE if len(texts) > 1 else 0
    if max(map(len, texts)) <= WIDE:
        begin = 0
    for sign, text in (("-", field.before), ("+", field.after)):
        if text is not None:
            piece = text[max(0, begin) :][:WIDE]
            head = "..." if begin > 0 else ""
            tail = "..." if len(text) > max(0, begin) + WIDE else ""
            yield f"  {sign} {head}{printable(piece)}{tail}"


VERB = Verb(
    summary="say what changed between two moments",
    description="Count what was added, changed and removed between two moments, folder by folder,\n"
    "and name who did it; or show what of one object has changed, as text.\n"
    "No class of the site is needed, and nothing that is stored is run.",
    examples=(
        ("yesterday", "what has changed in the site since yesterday, 0:00 UTC"),
        ("2026-03-01 2026-03-08 /Plone --depth 1", "a week, by the folders of the site"),
        ("yesterday /Plone/news --fields", "what of that object has changed, and from what"),
    ),
    declare=_declare,
    act=_act,
)
