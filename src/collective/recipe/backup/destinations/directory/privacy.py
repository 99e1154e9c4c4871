"""Readers of the backups: users who may not read the site should not read them either."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from collective.recipe.backup import locking
from collective.recipe.backup.audience import audience_of
from collective.recipe.backup.destinations.homes import Filled
from collective.recipe.backup.findings import DoctorFinding, Report


def readers(filled: Filled) -> Iterator[DoctorFinding]:
    """Look for what an older release, or another program, has made more open than the site."""
    report = Report("privacy")
    if filled.live is not None and os.path.exists(filled.live):
        with report.looking(filled.directory):
            _judge(report, filled.live, filled.directory)
    yield from report


def _judge(report: Report, live: Path, directory: Path) -> None:
    allowed = audience_of(live, beside=directory)
    if not directory.is_dir():
        return
    found = [path for path in _stored(directory) if audience_of(path, live).exceeds(allowed)]
    if found:
        closed = "o-rwx" if allowed.groups else "go-rwx"
        more = f" and {len(found) - 1:,} more here" if found[1:] else ""
        report.warning(
            f"users who may not read {live} may read this{more}: an older release or another "
            "program made it",
            found[0],
            f"chmod {closed} {directory} keeps them out of all that is in it",
        )


def _stored(directory: Path) -> Iterator[Path]:
    """Yield what tells of the site: files, files in directories there, and trees of blobs."""
    for path in sorted(directory.iterdir()):
        if path.is_symlink() or path.name == locking.LOCK_NAME:
            continue
        if path.is_file():
            yield path
        elif path.is_dir():
            with suppress(PermissionError):
                yield from (it for it in sorted(path.iterdir()) if not it.is_symlink())
