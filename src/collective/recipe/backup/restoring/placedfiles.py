"""Further files of a restore point, written below a directory of their own.

They belong to the administrator: they never replace live files.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from collective.recipe.backup.errors import BackupError, IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.furtherfiles import (
    FileSort,
    FurtherFile,
    FurtherFiles,
    counted,
)
from collective.recipe.backup.progress import Progress


def files_below(directory: Path) -> Path:
    """Return where further files are put by a restore to *directory*."""
    return directory / "files"


def check_no_files(directory: Path) -> None:
    """Raise BackupError if further files cannot be put below *directory*: some are there."""
    if os.path.lexists(files_below(directory)):
        raise BackupError(
            "there are files here, which a restore does not replace",
            where=files_below(directory),
            hint="move them away, or restore to another directory",
        )


def place_files(found: FurtherFiles, directory: Path, files: Files, progress: Progress) -> None:
    """Write the files *found* below *directory*; they appear there at once, and whole.

    Raises IntegrityError, and BackupError if that cannot be written.
    """
    final = files_below(directory)
    with explained("cannot restore the files", final):
        files.make_directories(directory)
        with files.staging(final) as staged:
            _Placing(found, staged, files).run(progress)


class _Placing:
    """Writes the files *found* into the directory *root*."""

    def __init__(self, found: FurtherFiles, root: Path, files: Files) -> None:
        self._found = found
        self._root = root
        self._files = files
        self._first: dict[bytes, Path] = {}  # of the names of one file
        self._open: list[tuple[Path, FurtherFile]] = []  # directories that are being filled

    def run(self, progress: Progress) -> None:
        """Write all of them."""
        with progress.phase("restoring the files", self._found.count, "files") as advance:
            for each, data in self._found.contents():
                path = self._root / os.fsdecode(each.path.lstrip(b"/"))
                self._close(path)
                self._write(each, path, data)
                advance(each.sort is FileSort.FILE)
            self._close(None)

    def _write(self, each: FurtherFile, path: Path, data: Iterator[bytes]) -> None:
        if path == self._root:
            return
        if path.parent != (self._open[-1][0] if self._open else None):
            self._make_above(path)
        if os.path.lexists(path):
            raise _damaged(each.path, "it is there a second time")
        if each.sort is FileSort.DIRECTORY:
            self._files.make_directory_like(path, each.status)
            self._open.append((path, each))
        elif each.sort is FileSort.LINK:
            self._files.make_link(os.fsdecode(each.target), path, each.status)
        elif each.same is None or not self._linked(each.same, path):
            self._fill(each, path, data)

    def _make_above(self, path: Path) -> None:
        """Make the directories above a path that was asked for; none of them is a link."""
        for above in reversed(path.parents):
            if self._root not in above.parents:
                continue
            if not os.path.lexists(above):
                self._files.make_directory(above)
            elif not stat.S_ISDIR(os.lstat(above).st_mode):
                place = os.fsencode(above.relative_to(self._root))
                raise _damaged(b"/" + place, "it is no directory, and something lies in it")

    def _linked(self, same: bytes, path: Path) -> bool:
        """Let *path* be another name of a file that is written, if it is."""
        first = self._first.setdefault(same, path)
        return first != path and self._files.link(first, path)

    def _fill(self, each: FurtherFile, path: Path, data: Iterator[bytes]) -> None:
        size = each.size - sum(length for _offset, length in each.holes)
        pieces, held = counted(data, size, each.path), memoryview(b"")
        with self._files.filling(path, each.status) as writer:
            for size, is_hole in each.parts:
                if is_hole:
                    writer.leave_hole(size)
                    continue
                left = size
                while left:
                    held = held or memoryview(next(pieces))
                    writer.write(held[:left])
                    left, held = max(left - len(held), 0), held[left:]
            deque(pieces, maxlen=0)  # whether there are more

    def _close(self, path: Path | None) -> None:
        """Finish the directories that *path*, which comes next, does not lie in."""
        while self._open and (path is None or self._open[-1][0] not in path.parents):
            directory, each = self._open.pop()
            self._files.touch(directory, (each.time, each.time))


def _damaged(path: bytes, flaw: str) -> IntegrityError:
    return IntegrityError(
        f"the list of further files is damaged: {os.fsdecode(path)}: {flaw}",
        hint="restore another restore point; verify tells more",
    )
