"""Who writes to a filestorage that is not there any more.

A server that had ``Data.fs`` open when somebody put another file in its place goes on
writing to the old one, which has no name: all that is committed then is lost when the
server stops.  Linux tells which files a process has open, to root and to its own user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.model import Source
from collective.recipe.backup.operations.doctor.findings import Finding, Report

PROC = Path("/proc")
_DELETED = " (deleted)"


def unlinked(source: Source, proc: Path = PROC) -> Iterator[Finding]:
    """Look for processes that have a filestorage open that was at the place of *source*."""
    report = Report("writers")
    path = os.path.realpath(source.filestorage)
    hidden = 0
    for process in _processes(proc):
        try:
            lost = next((it for it in _open_files(proc / process / "fd") if it.lost(path)), None)
        except PermissionError:
            hidden += 1
            continue
        if lost is not None:
            report.problem(
                f"process {process} ({_name(proc / process)}) has an older file open that was "
                "here: what it commits is lost when it ends",
                path,
                "stop it in an orderly way, and start it again; save the old file before that "
                f"if there is something in it to save: cp {lost.descriptor} elsewhere",
            )
    if not report:
        unseen = f" (not looked at, since they are of other users: {hidden})" if hidden else ""
        report.ok(f"no process has a file open that is not there any more{unseen}", path)
    yield from report


def _processes(proc: Path) -> Iterator[str]:
    with suppress(OSError):
        yield from (name for name in os.listdir(proc) if name.isdecimal())


class _Open(NamedTuple):
    """A file that a process has open: its descriptor in /proc, and what that leads to."""

    descriptor: Path
    target: str

    def lost(self, path: str) -> bool:
        """Tell whether it was at *path* and is not there any more."""
        return self.target == f"{path}{_DELETED}"


def _open_files(descriptors: Path) -> Iterator[_Open]:
    """Yield what a process has open.  Raises PermissionError where that is not told."""
    try:
        names = os.listdir(descriptors)
    except (FileNotFoundError, ProcessLookupError, NotADirectoryError):
        return  # it has ended
    for name in names:
        with suppress(FileNotFoundError, ProcessLookupError):
            yield _Open(descriptors / name, os.readlink(descriptors / name))


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "it has ended"
