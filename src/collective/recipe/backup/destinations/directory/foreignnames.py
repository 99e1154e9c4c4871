"""Foreign names in the directories of backups: they are never removed, so the doctor names them.

A name is ours if this or an older release, or ``repozo``, may have given it; the content does not
matter here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import listings
from collective.recipe.backup.amounts import number_of
from collective.recipe.backup.destinations.homes import Filled
from collective.recipe.backup.destinations.ownermarks import NAME, former_storages
from collective.recipe.backup.errors import printable
from collective.recipe.backup.findings import DoctorFinding, Report
from collective.recipe.backup.times import STAMP

_ANYWHERE = r"\.backup.*|.*\.partial|\.nfs.*|lost\+found"
_FILESTORAGE = re.compile(
    rf"{STAMP}\.(?:(?:delta)?fsz?|dat|index|blocks|json|dat\.pruned|dat\.merging)"
    rf"|.*\.orphan|{_ANYWHERE}",
    re.DOTALL,
)

_NAMED = 5
"""Number of names that are mentioned, of any number."""


class ForeignNames(NamedTuple):
    """Names in a *directory* of backups that no run ever removes."""

    directory: Path  # in which they lie
    names: Sequence[str]  # those that are not ours, sorted
    former: Mapping[str, int]  # by a name that blob_storage once had: how many backups of it


def mention(filled: Filled, *, beside: Filled) -> Iterator[DoctorFinding]:
    """Mention names in *filled* that are never removed.

    *beside* is the directory of the filestorage backups, which may be the same.
    """
    report = Report("backups")
    with report.looking(filled.directory):
        _mention(report, _foreign_in(filled, beside))
    yield from report


def _mention(report: Report, found: ForeignNames) -> None:
    """Mention names that are not ours, and ours that have a former name of the blobstorage."""
    for name, count in found.former.items():
        backups = number_of(count, "backup of blobs is", "backups of blobs are")
        report.warning(
            f"{backups} from when blob_storage was a directory called {printable(name)}; nothing "
            "removes them",
            found.directory,
            "if no restore point of that time is wanted any more, remove what begins with "
            f"{printable(name)}. there, and {NAME}.{printable(name)}",
        )
    names = found.names
    if names:
        more = f" and {len(names) - _NAMED} more" if names[_NAMED:] else ""
        shown = ", ".join(names[:_NAMED])
        report.ok(f"not ours, so it stays here for ever: {shown}{more}", found.directory)


def _foreign_in(filled: Filled, backups: Filled) -> ForeignNames:
    """Return the foreign names in *filled*; *backups* are of the filestorage.  Raises OSError."""
    directory = filled.directory
    if filled == backups:
        return ForeignNames(directory, list(_others(directory, _FILESTORAGE)), {})
    if filled.live is None:
        return ForeignNames(directory, [], {})
    storage = filled.live.name
    former = list(former_storages(directory, backups.directory, storage))
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
