"""The styles in which blobs are kept: one for each way that options can ask for.

With every style, all blobs in the directory can be found and restored; a style only decides what
a backup adds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from collective.recipe.backup.blobs.holdings import Holdings
from collective.recipe.backup.files import Files
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.times import Tid

if TYPE_CHECKING:
    from collective.recipe.backup.blobs.copied import Copied


class Trust(NamedTuple):
    """The earlier copies on which a backup may build.

    Of what is called as one of *doubted* damage was found: nothing is linked to a file of theirs
    that has not been read.  With *accept* blobs that are not as they were backed up once are
    taken as they are now.
    """

    doubted: Collection[str] = ()
    """Names of holdings with damage: a file of theirs is linked only after it was read."""
    accept: bool = False  # whether changed blobs are stored as they are now


@dataclass(frozen=True, kw_only=True)
class WantedBlobs:
    """The blobs that a restore point is to have: all up to the transaction *until*."""

    stamp: str  # that names the new tree or archive
    until: Tid  # tid of the last transaction
    before: str | None = None
    """Holding of the restore point before it in its chain; None: it begins a chain."""
    named: Callable[[], Iterable[BlobId]] = tuple
    """Yields all blobs that the records name; nothing if there is no log."""
    new: Callable[[], Iterable[BlobId]] = tuple
    """Yields those that *before* may lack; nothing if there is no log."""
    scan: bool = False
    """Whether to walk through the whole blobstorage: the last backup could not copy all files."""
    differing: tuple[BlobId, ...] = ()  # blobs that the source lacked last time, or had changed
    others: str | None = ""
    """Fingerprint of the non-blob files, if *before* is an archive; "": there were none; None: only
    the archive can tell."""
    trust: Trust = Trust()  # the earlier copies on which to build


@dataclass(frozen=True, kw_only=True)
class BlobPlace:
    """The directories and tools with which each style works.

    *named* is what the names in *directory* begin with (None: as the blobstorage is called).
    """

    source: Path  # the live blobstorage
    directory: Path  # of the backups of blobs
    files: Files  # writes them
    progress: Progress  # progress of long work
    named: str | None = None
    """First part of the names in *directory*; None: the name of the blobstorage."""

    @property
    def storage(self) -> str:
        """The name of the blobstorage, with which all names in *directory* begin."""
        return self.named or self.source.name


class Style(Protocol):
    """One way to keep blobs.

    ``back_up`` that dies at any step leaves all that restore points name as it was, and
    nothing that could be taken for whole and is not; the next one begins again or goes on.
    """

    def back_up(self, demand: WantedBlobs, found: Holdings) -> tuple[str, Copied]:
        """Store the wanted blobs; return the name of the holding that has them now.

        Blobs that the source does not have are counted and named; they are no error.
        """

    def share(self, found: Holdings) -> tuple[float, float]:
        """Return what the first backup of a chain stores of all blobs, at least and at most.

        Both are shares of their bytes: 1.0 stands for all.
        """
