"""Names in the directories of backups that are not ours: never removed, so somebody should know.

A name is ours if a release of ours, ``repozo`` or an older release may have given it; what is
in it does not matter here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from collective.recipe.backup.times import STAMP

_ANYWHERE = r"\.backup.*|.*\.partial|\.nfs.*|lost\+found"
_FILESTORAGE = re.compile(
    rf"{STAMP}\.(?:(?:delta)?fsz?|dat|index|blocks|json|dat\.pruned|dat\.merging)"
    rf"|.*\.orphan|{_ANYWHERE}",
    re.DOTALL,
)


def among_filestorages(directory: Path) -> Iterator[str]:
    """Yield the names in a directory of filestorage backups that are not ours, sorted."""
    return _others(directory, _FILESTORAGE)


def among_blobs(directory: Path, storages: Iterable[str]) -> Iterator[str]:
    """Yield those in a directory of blob backups of *storages*, sorted."""
    ours = "|".join((*map(_of_storage, storages), "latest", _ANYWHERE))
    return _others(directory, re.compile(ours, re.DOTALL))


def of_storage(directory: Path, storage: str) -> list[str]:
    """Return the names of the blob backups of *storage* in *directory*."""
    pattern = re.compile(_of_storage(storage), re.DOTALL)
    return [name for name in os.listdir(directory) if pattern.fullmatch(name)]


def _of_storage(storage: str) -> str:
    name = re.escape(storage)
    return rf"{name}\.(?:{STAMP}|[0-9]+)(?:(?:\.delta)?\.tar(?:\.gz)?|\.snar)?"


def _others(directory: Path, ours: re.Pattern[str]) -> Iterator[str]:
    """Yield what *ours* does not fit; nothing if the directory is not there."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return
    yield from (name for name in names if not ours.fullmatch(name))
