"""Exchange of single files in a live tree: files that are right in it stay.

So a tree of yesterday costs one day's files.  A *difference* turns one tree into another.  It
is a directory::

    files/     the files that come, each at its path below the tree
    changes    a line for each path that changes: what leaves, what comes, the path

Carried out, it leaves its inverse behind, a difference as well: in ``files`` what has left,
in ``changes`` the same paths with the roles exchanged.  That list is written before the
first file moves, and whoever finds the work broken off goes by it::

    1. what leaves is renamed into the inverse; a path that is there already has left
    2. if something leaves, a sync, so that no power cut brings it back once something else is
       there
    3. what comes is renamed into the tree; a path that is gone from ``files`` has come
    4. directories that have nothing left in them go, and another sync

A file whose size or time is neither that of the leaving nor of the coming file was made by
another program since then; it is neither moved nor overwritten.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from itertools import chain, takewhile
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.pathlines import escaped, in_blocks, path_of
from collective.recipe.backup.smallfile import open_regular

FILES = "files"
CHANGES = "changes"
CARRIED_OUT = "carried-out"
"""Name of an empty difference after its work, in its inverse: only directories and the list."""

_ROOM = "made"

_LINE = re.compile(rb"(-|\d{1,19}:-?\d{1,19}) (-|\d{1,19}:-?\d{1,19}) (.+)\n", re.DOTALL)


class Status(NamedTuple):
    """The fingerprint of a file: its size and its modification time."""

    size: int  # bytes
    time: int  # nanoseconds since 1970


class Change(NamedTuple):
    """The change at one path of the tree."""

    path: str  # below the tree
    leaves: Status | None  # the file that is removed; None: there is none
    comes: Status | None  # the file that is put there; None: there is none


def status_of(path: Path) -> Status | None:
    """Return the fingerprint of the file at *path*, None if there is none.

    Raises IntegrityError for anything but a regular file.
    """
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        raise IntegrityError(
            "something else stands in the place of a file that a restore replaces",
            where=path,
            hint="move it away, then run the restore again",
        )
    return Status(found.st_size, found.st_mtime_ns)


def write_changes(difference: Path, changes: Iterable[Change], files: Files) -> None:
    """Write the list of the *difference*, durably."""
    with files.writing(difference / CHANGES) as writer:
        for block in in_blocks(map(_line, changes)):
            writer.write(block)


def read_changes(difference: Path) -> Iterator[Change]:
    """Yield what the list of the *difference* says.  Raises IntegrityError if it is damaged."""
    with open_regular(difference / CHANGES) as file:
        for line in file:
            found = _LINE.fullmatch(line)
            if not found:
                raise IntegrityError("the list of a restore is damaged", where=difference / CHANGES)
            yield Change(path_of(found[3]), _parsed(found[1]), _parsed(found[2]))


def try_out(live: Path, difference: Path, files: Files) -> None:
    """Raise OSError if a file of the *difference* could not leave *live*, or not come there."""
    with files.trying_renames(difference) as refusal:
        for change in read_changes(difference):
            if change.leaves:
                error = refusal(live / change.path)
                if error is not None:
                    raise OSError(error.errno, error.strerror, os.fspath(live / change.path))
            elif not os.access(_nearest((live / change.path).parent), os.W_OK | os.X_OK):
                place = os.fspath((live / change.path).parent)
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), place)


def _nearest(directory: Path) -> Path:
    """Return *directory*, or the nearest one above it that is there."""
    while not directory.is_dir():
        directory = directory.parent
    return directory


def prepare(live: Path, difference: Path, inverse: Path, files: Files) -> None:
    """Make the *inverse* of the *difference* for *live*, before any file has moved."""
    files.make_directory(inverse)
    files.make_directory_like(inverse / FILES, live.stat())
    changes = (
        Change(
            change.path,
            leaves=status_of(difference / FILES / change.path),
            comes=status_of(live / change.path),
        )
        for change in read_changes(difference)
    )
    write_changes(inverse, changes, files)
    files.sync_directory(inverse.parent)


def transplant(live: Path, difference: Path, inverse: Path, files: Files) -> None:
    """Carry out the *difference* on *live*; *inverse* was made by prepare.

    It may have been begun before.  Raises IntegrityError if *live* has become something else, and
    then changes nothing.
    """
    coming, left = difference / FILES, inverse / FILES
    _check(live, coming, left, inverse)
    leave = _Mover(live, left, inverse / _ROOM, files)
    does_leave = False
    for change in read_changes(inverse):
        # the list is that of the inverse: the files that come with it are those that leave now
        does_leave = does_leave or change.comes is not None
        if change.comes and not os.path.lexists(left / change.path):
            leave.move(change.path)
    if does_leave:
        files.sync_each(chain(_places(inverse, left, live), [inverse]), live)
    come = _Mover(coming, live, difference / _ROOM, files)
    for change in read_changes(inverse):
        if change.leaves:
            come.move(change.path)
    for change in read_changes(inverse):
        if not change.leaves:
            _remove_emptied(live, change.path, files)
    files.sync_each(chain(_places(inverse, live, coming), [difference]), live)


def _check(live: Path, coming: Path, left: Path, inverse: Path) -> None:
    """Raise IntegrityError if *live* has a file that is neither what leaves nor what comes."""
    for change in read_changes(inverse):
        here = status_of(live / change.path)
        has_come = change.leaves and not os.path.lexists(coming / change.path)
        if here is None or has_come:
            continue
        has_left = os.path.lexists(left / change.path)
        if has_left or here != change.comes:
            raise IntegrityError(
                "this file was made or written to after a restore had been broken off",
                where=live / change.path,
                hint="move it away, then run the restore again",
            )


def _places(inverse: Path, target: Path, source: Path) -> Iterator[Path]:
    """Yield the directories whose entries change when files are moved from *source* to *target*.

    No file is gone for good from its old place before it is in the new one, nor from there
    before the directories around that are.  These are all places from the beginning on, whoever
    was killed in the middle of it.
    """
    for tree in (target, source):
        seen = {tree}
        yield tree
        for change in read_changes(inverse):
            around = takewhile(tree.__ne__, (tree / change.path).parents)
            for place in reversed([*around]):
                if place not in seen and place.is_dir():
                    yield place
                seen.add(place)


class _Mover:
    """Moves files from one tree to the same place of another, with the directories they need.

    A directory is made in *room* first: it comes with its mode and owner, or not at all.
    """

    def __init__(self, source: Path, target: Path, room: Path, files: Files) -> None:
        self._source = source
        self._target = target
        self._room = room
        self._files = files
        self._made: list[str] = []

    def move(self, path: str) -> None:
        """Move one file, if it is there."""
        if not os.path.lexists(self._source / path):
            return
        names = path.split("/")[:-1]
        common = len(os.path.commonprefix([self._made, names]))
        for depth in range(common, len(names)):
            self._make_directory("/".join(names[: depth + 1]))
        self._made = names
        self._files.move(self._source / path, self._target / path)

    def _make_directory(self, path: str) -> None:
        if not os.path.lexists(self._target / path):
            self._files.make_directory_like(self._room, (self._source / path).lstat())
            self._files.move(self._room, self._target / path)


def _remove_emptied(live: Path, path: str, files: Files) -> None:
    """Remove the directories that held the file at *path*, from below, if they are empty."""
    place = (live / path).parent
    while place != live and files.remove_empty(place):
        place = place.parent


def _line(change: Change) -> bytes:
    return b"%s %s %s\n" % (_shown(change.leaves), _shown(change.comes), escaped(change.path))


def _shown(status: Status | None) -> bytes:
    return b"%d:%d" % status if status else b"-"


def _parsed(text: bytes) -> Status | None:
    if text == b"-":
        return None
    size, _colon, time = text.partition(b":")
    return Status(int(size), int(time))
