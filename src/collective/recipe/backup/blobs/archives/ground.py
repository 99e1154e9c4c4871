"""The target of unpacking: a tree on a disk, or one in memory that is only examined.

No link is followed: each directory on the way to a name was made here, or there is an error.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator

from collective.recipe.backup.blobs.archives.archivereading import Member
from collective.recipe.backup.blobs.archives.gnu import show
from collective.recipe.backup.blobs.layout import Layout


class Refused(Exception):
    """A member does not fit the tree, or would reach out of it."""


class Ground(ABC):
    """A tree, at first an empty directory.  All paths are below it; it is "" itself."""

    @abstractmethod
    def enter(self, path: str, like: os.stat_result | None = None) -> bool:
        """Make the directory *path* as far as it is not there; True if it was not.

        It gets the rights of *like*.  Raises Refused if something else stands in its place or
        on the way to it.
        """

    @abstractmethod
    def holds(self, path: str) -> bool:
        """Tell whether something lies at *path*, whose directory was entered."""

    @abstractmethod
    def has_directory(self, path: str) -> bool:
        """Tell whether *path* is a directory that can be moved, as "" cannot."""

    @abstractmethod
    def has_file(self, path: str) -> bool:
        """Tell whether *path* is a regular file."""

    @abstractmethod
    def names(self, path: str) -> Iterator[tuple[str, bool]]:
        """Yield the names in the directory *path*; True for those of directories."""

    @abstractmethod
    def links(self) -> Iterator[tuple[str, str]]:
        """Yield each symbolic link with its text."""

    @abstractmethod
    def marked(self) -> Layout | None:
        """Return what the marker says that is there, None if there is none that ZODB knows."""

    @abstractmethod
    def laid_out(self) -> Layout:
        """Return the layout of the tree, whatever its marker is."""

    # changes

    @abstractmethod
    def write(self, path: str, member: Member, *, is_blob: bool) -> None:
        """Put the file *member* to *path*, which is free."""

    @abstractmethod
    def add_hard_link(self, source: str, path: str) -> None:
        """Put the file that lies at *source* to *path* as well, which is free."""

    @abstractmethod
    def add_symbolic_link(self, member: Member, path: str) -> None:
        """Put the symbolic link *member* to *path*, which is free."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove *path*, which is no directory."""

    @abstractmethod
    def clear(self, path: str) -> None:
        """Remove *path*, with all below it."""

    @abstractmethod
    def move(self, source: str, path: str) -> None:
        """Rename the directory *source* to *path*, which is free."""

    # one directory can be out of the tree, until both halves of a swap are done

    @property
    @abstractmethod
    def has_aside(self) -> bool:
        """Tell whether there is one."""

    @abstractmethod
    def set_aside(self, source: str) -> None:
        """Take the directory *source* out of the tree."""

    @abstractmethod
    def take_back(self, path: str) -> None:
        """Move the entry that was set aside to *path*, which is free."""

    @abstractmethod
    def drop_aside(self) -> None:
        """Remove the entry that was set aside, if there is one."""


def shown(path: str) -> str:
    """Return a path as messages have it."""
    return show(os.fsencode(path))


def with_parents(path: str) -> Iterator[str]:
    """Yield *path* and the directories that it lies in, without the root."""
    while path:
        yield path
        path = os.path.dirname(path)
