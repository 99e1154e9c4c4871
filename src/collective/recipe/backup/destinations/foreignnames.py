"""Names in the directories of backups that are not ours: never removed, so somebody should know.

A name is ours if a release of ours, ``repozo`` or an older release may have given it; what is
in it does not matter here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import listings
from collective.recipe.backup.destinations.homes import Filled, Home
from collective.recipe.backup.destinations.ownermarks import former_storages
from collective.recipe.backup.times import STAMP

_ANYWHERE = r"\.backup.*|.*\.partial|\.nfs.*|lost\+found"
_FILESTORAGE = re.compile(
    rf"{STAMP}\.(?:(?:delta)?fsz?|dat|index|blocks|json|dat\.pruned|dat\.merging)"
    rf"|.*\.orphan|{_ANYWHERE}",
    re.DOTALL,
)


class ForeignNames(NamedTuple):
    """What lies in a *directory* of backups and stays there for ever."""

    directory: Path
    names: Sequence[str]  # those that are not ours, sorted
    former: Mapping[str, int]  # by a name that blob_storage once had: how many backups of it


def foreign_in(home: Home, filled: Filled) -> ForeignNames:
    """Return what nobody removes in the directory *filled*, one of those of *home*.

    The first directory of a home is that of the filestorage backups.  Raises OSError.
    """
    backups, directory = home.fills[0].directory, filled.directory
    if filled == home.fills[0]:
        return ForeignNames(directory, list(_others(directory, _FILESTORAGE)), {})
    if filled.live is None:
        return ForeignNames(directory, [], {})
    storage = filled.live.name
    former = list(former_storages(directory, backups, storage))
    ours = "|".join((*map(_of_storage, (storage, *former)), "latest", _ANYWHERE))
    counts = {name: _count(directory, name) for name in former}
    return ForeignNames(
        directory,
        names=list(_others(directory, re.compile(ours, re.DOTALL))),
        former={name: count for name, count in counts.items() if count},
    )


def _count(directory: Path, storage: str) -> int:
    """Return how many backups of blobs of *storage* lie in *directory*."""
    pattern = re.compile(_of_storage(storage), re.DOTALL)
    return sum(pattern.fullmatch(name) is not None for name in _names(directory))


def _of_storage(storage: str) -> str:
    name = re.escape(storage)
    return rf"{name}\.(?:{STAMP}|[0-9]+)(?:(?:\.delta)?\.tar(?:\.gz)?|\.snar)?"


def _others(directory: Path, ours: re.Pattern[str]) -> Iterator[str]:
    """Yield what *ours* does not fit; nothing if the directory is not there."""
    with suppress(FileNotFoundError):
        yield from (name for name in _names(directory) if not ours.fullmatch(name))


def _names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in listings.entries(directory))
