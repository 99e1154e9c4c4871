"""Backups in directories, for the contract of states."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.restorepoints import Choice
from collective.recipe.backup.tests.contracts.state import Kept
from collective.recipe.backup.tests.runs import copied

DATA = {".fs", ".fsz", ".deltafs", ".deltafsz", ".blob", ".tar", ".gz"}
"""The endings of the files that hold what was backed up."""


class KeptDirectories(Kept):
    """Each file is a piece; it is called by its path."""

    def copied(self, directory: Path) -> KeptDirectories:
        return replace(self, operated=copied(self.operated, directory))

    def _places(self) -> list[Path]:
        """Return the directories in which the backups lie."""
        return [each for each in self.operated.place().directories if each.exists()]

    def snapshot(self) -> dict[Path, object]:
        found: dict[Path, object] = {}
        for place in self._places():
            for path in (place, *place.rglob("*")):
                status = path.lstat()
                data = path.read_bytes() if path.is_file() else None
                found[path] = status.st_ino, status.st_mtime_ns, status.st_ctime_ns, data
        return found

    def pieces(self) -> Sequence[str]:
        """Return all files in them, oddly named ones and links left out."""
        found = (path for place in self._places() for path in sorted(place.rglob("*")))
        return [str(path) for path in found if path.is_file() and not path.is_symlink()]

    def has_data(self, piece: str) -> bool:
        return Path(piece).suffix in DATA

    def is_needed(self, piece: str, stamp: str) -> bool:
        error = IntegrityError("it is damaged", where=piece)
        return stamp in self.operated.destination().problem_of(error).points

    def damaged(self, piece: str, damage: str) -> AbstractContextManager[bool]:
        return _damaged(Path(piece), damage)

    def is_named(self, piece: str, error: BackupError, choice: Choice) -> bool:
        path = Path(piece)
        # an archive in a rotation is known by the name that it has without its number
        archive = path.parent / (choice.point.blobs or "-")
        is_archive = path.suffix in (".tar", ".gz")
        return error.where == piece or (is_archive and error.where == str(archive))


@contextmanager
def _damaged(path: Path, damage: str) -> Iterator[bool]:
    """Damage the file at *path* inside the body; tell whether that changes anything."""
    status, data = path.stat(), path.read_bytes()
    middle = len(data) // 2
    others = {
        "flip": data[:middle] + bytes([data[middle] ^ 0x55 if data else 0]) + data[middle + 1 :],
        "zeros": bytes(len(data)),
        "cut": data[: len(data) * 2 // 3],
        "gone": None,
    }
    directory = path.parent.stat()
    aside = path.parent.parent / f"{path.name}.aside" if damage == "gone" else None
    if aside is not None:
        above = aside.parent.stat()
        path.rename(aside)
    else:
        _overwrite(path, others[damage] or b"", status)
    try:
        yield others[damage] != data
    finally:
        if aside is not None:
            aside.rename(path)
            os.utime(aside.parent, ns=(above.st_atime_ns, above.st_mtime_ns))
        else:
            _overwrite(path, data, status)
        os.utime(path.parent, ns=(directory.st_atime_ns, directory.st_mtime_ns))


def _overwrite(path: Path, data: bytes, status: os.stat_result) -> None:
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
