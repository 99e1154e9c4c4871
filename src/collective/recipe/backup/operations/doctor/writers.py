"""Processes that write to a former filestorage, instead of the one that is there now.

A server that had ``Data.fs`` open when another file was put in its place goes on writing to the old
one.  If the old file has no name any more, all commits are lost when the server stops; if it has
another name, the backups never see the commits.  The lock may be lost as well: then nothing keeps a
second server from starting.

Linux tells which files a process has open, to root and to its own user, see proc_pid_fd(5)::

    /proc/4711/fd/7 -> /srv/site/var/filestorage/Data.fs.old (deleted)
    /proc/4711/fdinfo/7    flags:  0100002         octal, as of open(2): this one can write
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from collective.recipe.backup.errors import printable
from collective.recipe.backup.filestorage.format import MAGIC_SIZE, MAGICS
from collective.recipe.backup.findings import DoctorFinding, Report
from collective.recipe.backup.model import Source
from collective.recipe.backup.operations.doctor.users import user
from collective.recipe.backup.smallfile import open_regular
from collective.recipe.backup.times import pause

PROC = Path("/proc")

_DELETED = " (deleted)"
LOCK_SUFFIX = ".lock"
_FLAGS = re.compile(rb"^flags:\s*([0-7]+)$", re.MULTILINE)
_SECOND_LOOK = 0.3
"""Seconds after which a file that gave way to another is closed: a pack opens the new one."""


def at_work(source: Source, proc: Path = PROC) -> Iterator[DoctorFinding]:
    """Look for processes that write where *source* was, or hold its lock and write elsewhere."""
    report = Report("writers")
    place = _Place(Path(os.path.realpath(source.filestorage)))
    hidden = 0
    for number in _processes(proc):
        process = _Process(proc / number)
        try:
            if _stray(process, place):
                pause(_SECOND_LOOK)
                _judge(report, _Process(proc / number), place)
        except PermissionError:
            hidden += 1
    if not report:
        unseen = f" (not looked at, since they are of other users: {hidden})" if hidden else ""
        report.ok(f"no process writes to a file that was here{unseen}", place.path)
    yield from report


class _Place:
    """The path of a filestorage, and the file that is there at present."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = path.with_name(path.name + LOCK_SUFFIX)
        self.live = _identity(path)
        self.locked = _identity(self.lock)


class _Open:
    """A file that a process has open: its descriptor in /proc, and what that leads to."""

    def __init__(self, descriptor: Path) -> None:
        self.descriptor = descriptor
        self.target = os.readlink(descriptor)

    @property
    def is_lost(self) -> bool:
        """Tell whether it has no name any more."""
        return self.target.endswith(_DELETED)

    @property
    def path(self) -> Path:
        """The path under which it was opened, or its present one."""
        return Path(self.target.removesuffix(_DELETED))

    @cached_property
    def identity(self) -> tuple[int, int] | None:
        """The file itself, however it is called."""
        return _identity(self.descriptor)

    def is_filestorage(self, place: _Place) -> bool:
        """Tell whether it can be written and is a filestorage, by its begin or else by its name."""
        if not self._is_writable():
            return False
        try:
            with open_regular(self.descriptor) as file:
                return file.read(MAGIC_SIZE) in MAGICS
        except OSError:
            return self.path == place.path

    def _is_writable(self) -> bool:
        information = self.descriptor.parent.with_name("fdinfo") / self.descriptor.name
        try:
            found = _FLAGS.search(information.read_bytes())
        except OSError:
            return True
        return found is None or int(found[1], 8) & os.O_ACCMODE != os.O_RDONLY


class _Process:
    """A process, and the files that it has open.  Raises PermissionError where those are hidden."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __str__(self) -> str:
        try:
            name = (self._directory / "comm").read_text("utf-8", "replace").strip()
            owner = user(self._directory.stat().st_uid)
        except OSError:
            return f"process {self._directory.name} (it has ended)"
        return f"process {self._directory.name} ({printable(name)}, of user {owner})"

    @cached_property
    def files(self) -> Sequence[_Open]:
        """The files that it has open."""
        found = []
        with suppress(FileNotFoundError, ProcessLookupError, NotADirectoryError):  # it has ended
            for name in os.listdir(self._directory / "fd"):
                with suppress(FileNotFoundError, ProcessLookupError):
                    found.append(_Open(self._directory / "fd" / name))
        return found


def _stray(process: _Process, place: _Place) -> bool:
    """Tell whether there is anything to say of *process*."""
    report = Report("writers")
    _judge(report, process, place)
    return bool(report)


def _judge(report: Report, process: _Process, place: _Place) -> None:
    """Report files that *process* has open and that are not the ones that are there."""
    lost = [it for it in process.files if it.is_lost and it.path.parent == place.path.parent]
    old = next((it for it in lost if it.is_filestorage(place)), None)
    if old is not None:
        report.problem(
            f"{process} has an older file open that was here, as {printable(old.path.name)}: what "
            "it commits is lost when it ends",
            place.path,
            "stop it in an orderly way, and start it again; save the old file before that if "
            f"there is something in it to save: cp {old.descriptor} elsewhere",
        )
    elif any(it.path == place.lock for it in lost):
        report.problem(
            f"{process} holds a lock that was removed: nothing keeps a second server, or a "
            "restore, from opening the filestorage at the same time",
            place.lock,
            "stop it in an orderly way, and start it again; start nothing else before",
        )
    else:
        _judge_lock(report, process, place)


def _judge_lock(report: Report, process: _Process, place: _Place) -> None:
    """Find whether *process* holds the lock, and writes to a file by another name."""
    if place.locked is None or all(it.path.name != place.lock.name for it in process.files):
        return
    identities = {it.identity for it in process.files}
    if place.locked not in identities or place.live in identities:
        return
    locks = {it.path for it in process.files}
    strange = (
        each
        for each in process.files
        if each.path.with_name(each.path.name + LOCK_SUFFIX) not in locks
        and each.is_filestorage(place)
    )
    # a file beside it is more probably a former one than the filestorage of another site
    nearest = min(strange, key=lambda each: each.path.parent != place.path.parent, default=None)
    if nearest is not None:
        report.problem(
            f"{process} holds the lock of this filestorage, and writes to another file: "
            f"{printable(str(nearest.path))}",
            place.path,
            "stop it in an orderly way, and find out which of both is the site's: what was "
            "committed since one took the place of the other is in the one that it writes to",
        )


def _processes(proc: Path) -> Iterator[str]:
    with suppress(OSError):
        yield from (name for name in os.listdir(proc) if name.isdecimal())


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
