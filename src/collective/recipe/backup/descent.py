"""The removal of a tree, of which one directory at a time is in memory.

No link leads out of it, however its owner exchanges what lies in it meanwhile; and however
deep it is, that takes one descriptor.
"""

from __future__ import annotations

import errno
import os
from itertools import islice
from pathlib import Path

from collective.recipe.backup import held
from collective.recipe.backup.errors import naming

_MANY_ENTRIES = 1000
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Descent:
    """A directory of a tree, the top of it at first.  To be closed, as a context manager."""

    def __init__(self, top: Path) -> None:
        """Begin at *top*.  Raises NotADirectoryError if it is none: a link, say."""
        with held.place(top) as at:
            self.descriptor = at.open_directory()
        self.path = top
        self._above: list[os.stat_result] = []

    def __enter__(self) -> Descent:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self.descriptor)

    def some_entries(self) -> tuple[list[str], list[str]]:
        """Return names of directories and of others, not more than memory should hold."""
        directories: list[str] = []
        others: list[str] = []
        # of a descriptor an error names no path
        with naming(self.path), os.scandir(self.descriptor) as entries:
            for entry in islice(entries, _MANY_ENTRIES):
                (directories if entry.is_dir(follow_symlinks=False) else others).append(entry.name)
        return directories, others

    def down(self, name: str) -> None:
        """Go into a directory of the present one."""
        here = os.fstat(self.descriptor)
        self._go(name, self.path / name)
        self._above.append(here)

    def up(self) -> str:
        """Go back; return the name of the directory that was left."""
        name = self.path.name
        self._go("..", self.path.parent)
        if not os.path.samestat(os.fstat(self.descriptor), self._above.pop()):
            what = "a directory was moved while it was removed"
            raise OSError(errno.ESTALE, what, os.fspath(self.path / name))
        return name

    def _go(self, name: str, path: Path) -> None:
        try:
            descriptor = os.open(name, _DIRECTORY, dir_fd=self.descriptor)
        except OSError as error:
            error.filename = os.fspath(path)
            raise
        os.close(self.descriptor)
        self.descriptor, self.path = descriptor, path
