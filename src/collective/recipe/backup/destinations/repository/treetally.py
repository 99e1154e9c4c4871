"""The result of a backup of further files: numbers, and sentences about problems."""

from __future__ import annotations

from collective.recipe.backup.blobs.copied import REASONS
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.furtherfiles import FurtherFile
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.smallfile import NotRegularError
from collective.recipe.backup.unreadable import CannotReadError, unreadable


@dataclass(frozen=True, kw_only=True)
class NewTree:
    """The further files of a site, stored by a backup."""

    root: ChunkId  # of the tree
    files: int  # how many there are
    size: int  # bytes of these but for holes
    read: int  # how many of them were read for this restore point
    left_out: int  # sockets, pipes and devices
    left: tuple[str, ...]  # the first of them
    lacking: int  # paths that are there, or are asked for, and could not be read
    lacks: str  # the first of them; "": there is none
    mentioned: int  # paths that are left out or not stored as they are, for a reason that is told
    reasons: tuple[str, ...]  # reason for the first path of each of the two lists


class TreeTally:
    """Counts, while a tree is stored."""

    def __init__(self) -> None:
        self.read = 0  # files that were read
        self._files = self._size = self._left_out = self._lacking = self._mentioned = 0
        self._left: list[str] = []
        self._lacks = ""
        self._reasons: list[str] = []

    def has(self, file: FurtherFile) -> None:
        """Count a file."""
        self._files += 1
        self._size += file.size - sum(size for _offset, size in file.holes)

    def leaves_out(self, path: str) -> None:
        """Count something that is no file, no directory and no link."""
        self._left_out += 1
        if len(self._left) < REASONS:
            self._left.append(path)

    def mentions(self, path: str, why: str) -> None:
        """Count a path that is left out, or changed or went while it was read, with the reason."""
        self._mentioned += 1
        self._tell(path, why)

    def lacks(self, path: str, why: str) -> None:
        """Count a path that should be stored and is not, with the reason."""
        self._lacking += 1
        self._lacks = self._lacks or path
        self._tell(path, why)

    def unreadable(self, path: str, error: OSError, *, is_wanted: bool) -> None:
        """Count a path that cannot be read; *is_wanted*: the options name it.

        Raises errors that are not about the file.
        """
        count = self.lacks if is_wanted else self.mentions
        if isinstance(error, FileNotFoundError):
            count(path, "it is not there (any more)")
        elif isinstance(error, NotRegularError):
            count(path, "it is no file (any more)")
        else:
            found = unreadable(error, path)
            if not isinstance(found, CannotReadError):
                raise found from error
            self.lacks(path, f"it cannot be read: {found.strerror}")

    def _tell(self, path: str, why: str) -> None:
        if len(self._reasons) < REASONS:
            self._reasons.append(f"{path}: {why}")

    def sum(self, root: ChunkId) -> NewTree:
        """Return what it came to."""
        return NewTree(
            root=root,
            files=self._files,
            size=self._size,
            read=self.read,
            left_out=self._left_out,
            left=tuple(self._left),
            lacking=self._lacking,
            lacks=self._lacks,
            mentioned=self._mentioned,
            reasons=tuple(self._reasons),
        )
