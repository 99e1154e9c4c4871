"""The messages of a restore, before it begins and after it is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from collective.recipe.backup.amounts import number_of, size
from collective.recipe.backup.errors import printable
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.operations.restoreorder import Job, RestoreOrder
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.stores import StoredObject
from collective.recipe.backup.times import Tid, When, in_words, moment_of, show_tid, tid_at

_KEPT = "\nWhat is there now is kept, and --undo puts it back."
_REPLACED = "\nWhat is there now is replaced."
"""Of a directory: only a site can be undone."""


def announced(jobs: Iterable[Job], order: RestoreOrder) -> str:
    """Return in lines what will happen, which the user is asked to agree to."""
    lines: list[str] = []
    for job in jobs:
        lines.extend(_replaced(job.target, order))
        lines.append(f"with {described(job.choice, job.when)}.")
        lines.extend(f"Note: {each}" for each in _notes(job))
    return "\n".join(lines)


def announced_early(targets: Iterable[Source], order: RestoreOrder) -> str:
    """Return what a restore will do, as far as it is known before pre_command has run."""
    lines = [line for target in targets for line in _replaced(target, order)]
    return "\n".join([*lines, "with what the backups hold once pre_command has run."])


def kept(targets: Iterable[Source], order: RestoreOrder) -> str:
    """Return in words what happens to the present data, "" if there are none."""
    if not _is_anything_there(targets, order):
        return ""
    return _KEPT if order.to is None else _REPLACED


def in_cold_storage(jobs: Iterable[Job]) -> str:
    """Return in lines what stores have to be asked for before *jobs*, "" if it is nothing."""
    objects: dict[str, StoredObject] = {}
    for job in jobs:
        with job.destination.open(job.choice) as state:
            objects |= {each.name: each for each in state.cold}
    if not objects:
        return ""
    count = number_of(len(objects), "object")
    whole = size(sum(each.size for each in objects.values()))
    names = "".join(f"\n    {name}" for name in objects)
    return (
        f"\nIn cold storage lie {count}, {whole}; ask the store for each of them first, which "
        f"takes {number_of(len(objects), 'request')}:{names}"
    )


def needs_consent(jobs: Iterable[Job], targets: Iterable[Source], order: RestoreOrder) -> bool:
    """Tell whether to ask: not where nothing is replaced, beside the site, without a note."""
    if order.to is None or _is_anything_there(targets, order):
        return True
    return any(True for job in jobs for _note in _notes(job))


def described(choice: Choice, when: When | None) -> str:
    """Return in words what *choice* restores for a user who asked for *when*."""
    point = choice.point
    if choice.until is None:
        return f"the restore point {point.stamp}"
    state = in_words(when) if isinstance(when, datetime) else transaction_in_words(choice.until)
    return f"the state at {state}, from the restore point {point.stamp}"


def reached(last: Iterable[Tid | None], when: When) -> str:
    """Return in words the state that a restore to *when* has reached.

    *last* are the last transactions of the restored storages; None: unknown.  Returns "" if that is
    later than *when*, as with a restore point of a clock that was wrong.
    """
    newest = max((tid for tid in last if tid is not None), default=None)
    is_moment = isinstance(when, datetime)
    if newest is None or newest > (tid_at(when) if isinstance(when, datetime) else when):
        return ""
    asked = "before your moment" if is_moment else "up to that tid"
    return f": this is the state at {transaction_in_words(newest)}, the last change {asked}"


def passed_over(job: Job) -> Iterator[str]:
    """Yield in words that something newer would have been restored if it could be."""
    if job.newer:
        last = job.newer[-1]
        count = number_of(len(job.newer), "newer restore point") if job.newer[1:] else "a newer one"
        yield f"{count} cannot be restored; {last.stamp}: {'; '.join(last.problems)}"


def _notes(job: Job) -> Iterator[str]:
    yield from job.choice.point.problems
    yield from passed_over(job)


def transaction_in_words(tid: Tid) -> str:
    """Return in words the moment of *tid*, followed by the tid itself."""
    try:
        return f"{in_words(moment_of(tid))} (tid {show_tid(tid)})"
    except ValueError:
        return f"tid {show_tid(tid)}"


def _replaced(target: Source, order: RestoreOrder) -> Iterator[str]:
    """Yield in lines what *order* replaces of *target*."""
    yield "This will replace" + (f" (storage {target.name}):" if target.name != MAIN else ":")
    for path in live_of(target, order):
        missing = "" if os.path.lexists(path) else "  (there is none now)"
        yield f"    {printable(str(path))}{missing}"


def _is_anything_there(targets: Iterable[Source], order: RestoreOrder) -> bool:
    return any(os.path.lexists(it) for each in targets for it in live_of(each, order))


def live_of(target: Source, order: RestoreOrder) -> Iterator[Path]:
    """Yield what *order* replaces of *target*."""
    if order.filestorage:
        yield target.filestorage
    if order.blobstorage and target.blobstorage:
        yield target.blobstorage
