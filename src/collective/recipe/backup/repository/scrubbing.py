"""Scrub: compare each object with the digest in its name.  It takes no key.

The name of an object is made of its bytes, so every reader of the store can compare them: the host
of the disk, or a service that holds it.  Scrub cannot tell whether an object is missing, or whether
the bytes mean anything; verification does, with the keys.
"""

from __future__ import annotations

from collections.abc import Iterator

import blake3

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.jsonfile import UnreadableError
from collective.recipe.backup.progress import Advance, Progress, ignore
from collective.recipe.backup.repository.format import parse_format
from collective.recipe.backup.repository.names import FORMAT, id_in
from collective.recipe.backup.stores import NoSuchObject, Store, StoredObject

_STEP = 8 << 20
"""Bytes of one get."""

_READS = 2
"""Times that an object is read before it counts as damaged: a network may have been at fault."""


@dataclass(frozen=True)
class Scrubbed:
    """The result of a scrub."""

    objects: int  # objects that were read
    size: int  # bytes of all
    damaged: tuple[str, ...]  # names of objects whose bytes have changed
    strange: tuple[str, ...]  # names that no object of a repository has


def scrub(store: Store, progress: Progress) -> Scrubbed:
    """Read all objects of *store*, and compare each with its name."""
    entries = list(_sizes(store))
    damaged: list[str] = []
    strange: list[str] = []
    with progress.phase("Scrubbing", sum(size for _name, size in entries)) as advance:
        for name, _size in entries:
            if name != FORMAT and id_in(name) is None:
                strange.append(name)
            elif not is_sound(store, name, advance):
                damaged.append(name)
    return Scrubbed(
        len(entries), sum(size for _name, size in entries), tuple(damaged), tuple(strange)
    )


def _sizes(store: Store) -> Iterator[tuple[str, int]]:
    entry: StoredObject
    for entry in store.list():
        yield entry.name, entry.size


def is_sound(store: Store, name: str, advance: Advance) -> bool:
    """Tell whether an object is as it was stored, or was removed meanwhile."""
    return _reads_sound(store, name, advance) or any(
        _reads_sound(store, name, ignore) for _again in range(1, _READS)
    )


def _reads_sound(store: Store, name: str, advance: Advance) -> bool:
    try:
        if name == FORMAT:
            parse_format(store.get(FORMAT))
            return True
        return _digest(store, name, advance) in {id_in(name), None}
    except (UnreadableError, IntegrityError):
        return False


def _digest(store: Store, name: str, advance: Advance) -> str | None:
    """Return the ID that the bytes of an object have now; None if it is gone."""
    hasher = blake3.blake3()
    entry = next((each for each in store.list(name) if each.name == name), None)
    if entry is None:
        return None
    for begin in range(0, entry.size, _STEP):
        try:
            data = store.get(name, begin, min(_STEP, entry.size - begin))
        except NoSuchObject:
            return None
        hasher.update(data)
        advance(len(data))
    return hasher.hexdigest()
