"""Names in the directories of backups that are not ours: never removed, so somebody should know.

A name is ours if a release of ours, ``repozo`` or an older release may have given it; what is
in it does not matter here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_STAMP = r"\d{4}(?:-\d\d){5}"
_ANYWHERE = r"\.backup.*|.*\.partial|\.nfs.*|lost\+found"
_FILESTORAGE = re.compile(
    rf"{_STAMP}\.(?:(?:delta)?fsz?|dat|index|blocks|json|dat\.pruned|dat\.merging)"
    rf"|.*\.orphan|{_ANYWHERE}",
    re.DOTALL,
)


def among_filestorages(directory: Path) -> Iterator[str]:
    """Yield the names in a directory of filestorage backups that are not ours, sorted."""
    return _others(directory, _FILESTORAGE)


def among_blobs(directory: Path, storage: str) -> Iterator[str]:
    """Yield those in the directory of the blob backups of *storage*, sorted."""
    name = re.escape(storage)
    ours = rf"{name}\.(?:{_STAMP}|\d+)(?:(?:\.delta)?\.tar(?:\.gz)?|\.snar)?|latest|{_ANYWHERE}"
    return _others(directory, re.compile(ours, re.DOTALL))


def _others(directory: Path, ours: re.Pattern[str]) -> Iterator[str]:
    """Yield what *ours* does not fit; nothing if the directory is not there."""
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return
    yield from (name for name in names if not ours.fullmatch(name))
