"""Abilities that a file system may lack, and the sentence about what is lost without each.

A backup goes on without them.  FAT, SMB and FUSE refuse some of the calls; other file systems
accept them and do nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.files import Files


class Ability(NamedTuple):
    """An ability of a file system, which a probe shows."""

    what: str  # the ability, in words
    has: Callable[[Path, Files], bool]  # tries it with a probe; returns whether it works
    lost: str  # what is lost without it, in words


def lacking(probe: Path, files: Files) -> Iterator[Ability]:
    """Yield what the file system of *probe*, a file of ours, cannot do.  Raises OSError."""
    return (ability for ability in _ABILITIES if not ability.has(probe, files))


def _hard_links(probe: Path, files: Files) -> bool:
    link = files.partial_name(probe)  # which the next backup sweeps away should we die
    try:
        return files.link(probe, link)
    finally:
        files.clear(link)


def _symbolic_links(probe: Path, files: Files) -> bool:
    link = files.partial_name(probe)
    try:
        return files.point(link, probe.name)
    finally:
        files.clear(link)


_MODE = 0o640


def _modes(probe: Path, files: Files) -> bool:
    return files.chmod(probe, _MODE) and stat.S_IMODE(os.lstat(probe).st_mode) == _MODE


_TIME = 1_000_000_001_000_000_000
"""An odd second: FAT keeps even ones."""


def _times(probe: Path, files: Files) -> bool:
    return files.touch(probe, (_TIME, _TIME)) and os.lstat(probe).st_mtime_ns == _TIME


def _syncs(probe: Path, files: Files) -> bool:
    return files.sync_directory(probe.parent)


_ABILITIES = (
    Ability(
        "has no hard links",
        _hard_links,
        "each chain of backups will hold a full copy of all blobs: mind the room",
    ),
    Ability(
        "has no symbolic links",
        _symbolic_links,
        "there will be no link `latest` beside the blobs; nothing else is lost",
    ),
    Ability(
        "keeps no permissions",
        _modes,
        "who may read the backups is decided where it is mounted; restored files get the "
        "permissions that they have there",
    ),
    Ability(
        "does not keep the times of files",
        _times,
        "a restore over live blobs reads each of them to see whether it is the same",
    ),
    Ability(
        "cannot make the names in a directory durable",
        _syncs,
        "a power cut can cost the newest backup; verify tells, and the next backup makes it anew",
    ),
)
