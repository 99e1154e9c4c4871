"""Has the store gone back in time?

The owner of the store can replace its state by an older one, all of it sealed and sound. A host
that has seen the newer state can tell: it remembers the newest restore point of each site, and one
that is at least as new must be there.  If it is not, the run stops with an error, and the user
decides: ``accept`` takes the present state.
"""

from __future__ import annotations

from collections.abc import Iterable

from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.jsonfile import Form, UnreadableError
from collective.recipe.backup.repository.controls import Control
from collective.recipe.backup.repository.names import place_of
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Point
from collective.recipe.backup.repository.pruning import trashed

_KEY = "seen"
_FORM = Form(version=1)


def note_seen(repository: Repository, points: Iterable[Point]) -> None:
    """Remember the newest of *points* of each site, if it is newer than the remembered one."""
    seen = _seen(repository)
    before = dict(seen)
    for point in points:
        tag = place_of(point.name)[1]
        if point.counter > seen.get(tag, (0, ""))[0]:
            seen[tag] = point.counter, point.name
    if seen != before:
        _remember(repository, seen)


def check_rollback(repository: Repository, control: Control, *, accept: bool = False) -> None:
    """Raise IntegrityError if remembered restore points are gone, and no newer ones are there.

    With *accept*, remember the newest ones that are there instead.
    """
    seen = _seen(repository)
    there = {entry.name for entry in control.points}
    missing = {tag: each for tag, each in seen.items() if each[1] not in there}
    gone = {
        tag: each
        for tag, each in missing.items()
        if not _is_explained(repository, control, tag, each)
    }
    if not gone:
        return
    if accept:
        _remember(repository, {tag: each for tag, each in seen.items() if tag not in gone})
        return
    raise IntegrityError(
        "the repository has gone back in time: the newest restore points that this host has "
        f"seen of {number_of(len(gone), 'site')} are not there",
        where=f"{repository.store.location}/{min(name for _counter, name in gone.values())}",
        hint="ask the people who run the store; if it was set back on purpose, accept it "
        "with repository accept-rollback",
    )


def _is_explained(
    repository: Repository, control: Control, tag: str, seen: tuple[int, str]
) -> bool:
    """Tell whether there is a restore point that is as new, or the one that was seen is trash."""
    counter, name = seen
    for entry in control.points:
        if place_of(entry.name)[1] == tag and repository.points.counter(entry) >= counter:
            return True
    return any(point.name == name for _entry, point in trashed(repository, control))


def _seen(repository: Repository) -> dict[str, tuple[int, str]]:
    data = repository.cache.get(_KEY)
    if data is None:
        return {}
    try:
        rows = _FORM.decode(data).rows("seen", 3)
        return {tag: (int(counter), name) for tag, counter, name in rows}
    except (UnreadableError, ValueError):
        return {}


def _remember(repository: Repository, seen: dict[str, tuple[int, str]]) -> None:
    rows = [[tag, str(counter), name] for tag, (counter, name) in sorted(seen.items())]
    repository.cache.set(_KEY, _FORM.encode({"seen": rows}))
