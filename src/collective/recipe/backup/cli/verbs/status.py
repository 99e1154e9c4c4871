"""``bin/backup-status``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from collective.recipe.backup import times
from collective.recipe.backup.amounts import age, duration, number_of, size
from collective.recipe.backup.cli.answers import Answers, for_nagios
from collective.recipe.backup.cli.arguments import Verb, destination_flag, place_flag
from collective.recipe.backup.cli.verbs.listing import source_as_json
from collective.recipe.backup.errors import DONE, IntegrityError, printable
from collective.recipe.backup.history import RunRecord
from collective.recipe.backup.model import MAIN

if TYPE_CHECKING:
    from collective.recipe.backup.operations.run import Run
    from collective.recipe.backup.operations.sitestatus import (
        SiteStatus,
        StatusSeverity,
        Storage,
    )


def _declare(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--nagios",
        action="store_true",
        help="answer in one line, and end as a plugin of Nagios does: 0 ok, 1 warning, "
        "2 critical, 3 unknown",
    )
    how.add_argument("--json", action="store_true", help="answer in JSON, errors included")
    destination_flag(parser)
    place_flag(parser, default="all of them")


def _act(run: Run, namespace: argparse.Namespace, answers: Answers) -> int:
    from collective.recipe.backup.operations import measures
    from collective.recipe.backup.operations.sitestatus import StatusSeverity
    from collective.recipe.backup.operations.status import statuses

    found = statuses(run)
    worst = max(each.severity for each in found)
    if run.everywhere:
        measures.write(run, found)
    if namespace.nagios:
        answers.say(_for_nagios(run, found, worst))
        return int(worst)
    if namespace.json:
        answers.document(_document(found, worst))
    else:
        for line in _as_text(found, run.restore_command):
            answers.say(line)
    return IntegrityError.exit_code if worst is StatusSeverity.CRITICAL else DONE


# for people


def _as_text(found: Sequence[SiteStatus], restore: str) -> Iterator[str]:
    if len(found) == 1:
        yield from _of_place(found[0], [*_rows(found[0]), *_of_the_site(found[0], restore)])
        return
    for each in found:
        yield f"{printable(each.title)}:"
        yield from _of_place(each, _rows(each))
        yield ""
    for name, value in _of_the_site(found[0], restore):
        yield f"{name}  {printable(value)}"


def _of_place(found: SiteStatus, rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield from (f"{it.severity.name}: {printable(it.what)}" for it in found.findings)
    if not found.findings:
        yield "all is well"
    rows = [*rows]
    width = max(len(name) for name, _value in rows) + 2
    yield from (f"{name:<{width}}{printable(value)}" for name, value in rows)


def _rows(found: SiteStatus) -> Iterator[tuple[str, str]]:
    for storage in found.storages:
        of = "" if storage.source.name == MAIN else f" of {printable(storage.source.name)}"
        old = storage.age(found.now)
        if storage.newest is not None and old is not None:
            stamp = storage.newest.stamp
            yield f"newest restore point{of}", f"{stamp}, {age(old.total_seconds())} old"
        yield f"restore points{of}", f"{storage.count:,}, of these whole {storage.whole:,}"
    for verb in ("backup", "verify", "rehearse"):
        yield f"last {verb}", _told(found.newest.get(verb), found)
    for room in found.rooms:
        yield "room left", f"{size(room.free)} of {size(room.size)} at {room.path}"


def _of_the_site(found: SiteStatus, restore: str) -> Iterator[tuple[str, str]]:
    if found.under_way:
        yield "under way", found.under_way
    for path in found.replaced:
        yield "replaced by a restore", f"{path} ({restore} --let-go removes it)"


def _told(record: RunRecord | None, found: SiteStatus) -> str:
    if record is None:
        return "never"
    old = f"{age((found.now - record.started).total_seconds())} ago"
    if record.started > found.now:
        old = "later than now"
    took = "" if record.seconds is None else f" in {duration(record.seconds)}"
    return f"{times.stamp(record.started)}, {old}, {record.outcome}{took}"


# for Nagios


def _for_nagios(run: Run, found: Sequence[SiteStatus], worst: StatusSeverity) -> str:
    """Return one line: the state, the worst of it in words, and the numbers behind a bar."""
    words = [
        f"{'' if each is found[0] else f'{each.name}: '}{for_nagios(it.what)}"
        for each in found
        for it in each.findings
    ]
    numbers = " ".join(
        number
        for each in found
        for number in _performance(run, each, "" if each is found[0] else f"_{each.name}")
    )
    return f"BACKUP {worst.name} - {'; '.join(words) or _summary(found)} | {numbers}"


def _summary(found: Sequence[SiteStatus]) -> str:
    ages = [storage.age(each.now) for each in found for storage in each.storages]
    oldest = max((it.total_seconds() for it in ages if it is not None), default=0)
    count = sum(storage.count for each in found for storage in each.storages)
    return f"newest restore point {age(oldest)} old, {number_of(count, 'restore point')}"


def _performance(run: Run, found: SiteStatus, at: str) -> Iterator[str]:
    """Yield numbers as Nagios reads them: name=value;warning;critical;minimum;maximum."""
    options = run.config.options
    limit = f"{options.max_age.total_seconds():.0f}" if options.max_age else ""
    fewest = f"{options.minimum_restore_points}:" if options.minimum_restore_points else ""
    for storage in found.storages:
        of = "" if storage.source.name == MAIN else f"_{for_nagios(storage.source.name)}"
        old = storage.age(found.now)
        if old is not None:
            yield f"'age{at}{of}'={old.total_seconds():.0f}s;;{limit};0"
        yield f"'restore_points{at}{of}'={storage.whole};;{fewest};0"
    for number, room in enumerate(found.rooms):
        wanted = options.minimum_free.of(room.size)
        least = f"{wanted}:" if wanted else ""
        yield f"'free{at}{number or ''}'={room.free}B;;{least};0;{room.size}"


# for programs


def _document(found: Sequence[SiteStatus], worst: StatusSeverity) -> dict[str, object]:
    """Return the first place as an object of JSON, with all places in it if there are several."""
    document = {**_as_json(found[0]), "severity": worst.name.lower()}
    if len(found) > 1:
        document["places"] = {each.name: _as_json(each) for each in found}
    return document


def _as_json(found: SiteStatus) -> dict[str, object]:
    return {
        "part": found.part,
        "destination": found.destination,
        "severity": found.severity.name.lower(),
        "findings": [
            {"severity": it.severity.name.lower(), "what": it.what} for it in found.findings
        ],
        "storages": [_storage_as_json(storage, found) for storage in found.storages],
        "rooms": [
            {"path": str(room.path), "free": room.free, "size": room.size} for room in found.rooms
        ],
        "runs": {verb: _record_as_json(record) for verb, record in found.newest.items()},
        "under_way": found.under_way or None,
        "died": [_record_as_json(record) for record in found.died],
        "replaced": [str(path) for path in found.replaced],
    }


def _storage_as_json(storage: Storage, found: SiteStatus) -> dict[str, object]:
    old = storage.age(found.now)
    return {
        **source_as_json(storage.source),
        "restore_points": storage.count,
        "whole": storage.whole,
        "stored": storage.stored,
        "newest": None if storage.newest is None else storage.newest.stamp,
        "as_of": None if storage.as_of is None else storage.as_of.isoformat(),
        "age": None if old is None else round(old.total_seconds()),
    }


def _record_as_json(record: RunRecord) -> dict[str, object]:
    return {
        "verb": record.verb,
        "started": record.started.isoformat(),
        "outcome": record.outcome,
        "exit_code": record.exit_code,
        "seconds": record.seconds,
        "error": record.error or None,
    }


VERB = Verb(
    summary="say whether there is a backup to rely on",
    description="Say whether there is a backup to rely on, and whether anything keeps the next "
    "from it.\nThe options max_age, minimum_restore_points and minimum_free say when to "
    "complain.\nNothing is changed, but metrics_file is written anew.  Exit code 3 if there is "
    "something\nto act on; with --nagios what Nagios wants.",
    examples=(
        ("", "say what there is, and what is wrong about it"),
        ("--nagios", "for Nagios, Icinga and similar programs"),
        ("--json", "in JSON, for another program"),
    ),
    declare=_declare,
    act=_act,
    everywhere=True,
)
