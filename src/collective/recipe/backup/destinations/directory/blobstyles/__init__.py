"""How the blobs of a restore point are kept: one style for each way that options can ask for.

Whatever the style, everything that lies in the directory can be found and restored; a style
only decides what a backup adds.
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
    """What a backup may build upon.

    Of what is called as one of *doubted* damage was found: nothing is linked to a file of theirs
    that has not been read.  With *accept* blobs that are not as they were backed up once are
    taken as they are now.
    """

    doubted: Collection[str] = ()
    accept: bool = False


@dataclass(frozen=True, kw_only=True)
class WantedBlobs:
    """The blobs that a restore point is to have.

    They are those up to the transaction *until*; *stamp* names what is made for them.
    *before* is what holds those of the restore point before it in its chain (None: it
    begins one).  *named* gives the blobs that the records name, *new* those of them that
    *before* may lack; without a log there is nobody to name any.  *scan* says that no log tells
    all: something besides blobs could not be copied last time.  *differing* are blobs that the
    source lacked then, or had otherwise than they had been backed up.  *others* is by what the
    files that are no blobs are known again, if *before* is an archive ("": there were none; None:
    only the archive itself can tell).
    """

    stamp: str
    until: Tid
    before: str | None = None
    named: Callable[[], Iterable[BlobId]] = tuple
    new: Callable[[], Iterable[BlobId]] = tuple
    scan: bool = False
    differing: tuple[BlobId, ...] = ()
    others: str | None = ""
    trust: Trust = Trust()


@dataclass(frozen=True, kw_only=True)
class BlobPlace:
    """What each style works with.

    *named* is what the names in *directory* begin with (None: as the blobstorage is called).
    """

    source: Path
    directory: Path
    files: Files
    progress: Progress
    named: str | None = None

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
        """Store what is wanted; return the name of what holds it now.

        Blobs that the source does not have are counted and named, no error.
        """

    def share(self, found: Holdings) -> tuple[float, float]:
        """Return what the first backup of a chain stores of all blobs, at least and at most.

        Both are shares of their bytes: 1.0 stands for all.
        """
