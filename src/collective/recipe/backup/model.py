"""The words that the rooms share: sources, places, restore points.  Values only, no disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, NewType

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.rights import Rights
from collective.recipe.backup.times import Tid, from_stamp

Oid = NewType("Oid", bytes)
"""An object id: 8 bytes, big-endian, shown as 16 hex digits."""

DEFAULT_LEVEL = 2
"""How hard gzip compresses, of the levels 0 to 3 that ISA-L has."""
FILESTORAGE, DIRECTORY, BLOBSTORAGE = "filestorage", "directory", "blobstorage"
"""What a restore point knows the rights of: a file, the directory that it lies in, a directory."""
MAIN = "1"
"""The name of a site's main storage, as ``alternative_restore_source`` spells it."""


class BlobId(NamedTuple):
    """What names one ZODB blob file: the object, and the transaction that wrote it."""

    oid: Oid
    tid: Tid

    def __str__(self) -> str:
        return f"oid 0x{self.oid.hex()} tid 0x{self.tid.hex()}"


class Hole(NamedTuple):
    """Moments that a log cannot tell of: from *first* up to, but without, *end*."""

    first: Tid
    end: Tid  # the first that it can tell of again


@dataclass(frozen=True, kw_only=True)
class Source:
    """One storage of a site: a filestorage, its blobstorage, or both."""

    name: str
    filestorage: Path
    blobstorage: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a directory destination keeps the backups of one source."""

    name: str
    filestorage: Path
    blobstorage: Path | None = None

    @property
    def directories(self) -> tuple[Path, ...]:
        """The directories that the backups lie in; nothing else may lie there."""
        return (self.filestorage, *filter(None, [self.blobstorage]))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is not as it should be: where, what, and what to do about it.

    *harmless*: everything can be restored in spite of it.  *inherited*: it was so in the
    live site when that was backed up, and what is stored is as it was written.  *points* are
    the stamps of the restore points that it concerns, as far as a destination has said so.
    *told*: the restore point itself has said so since it was made, as its source lacked
    something; it can be restored without that.  *objects* are the names of the objects of a
    store that are damaged or gone, and have what the restore points need.
    """

    where: str
    what: str
    hint: str = ""
    harmless: bool = False
    inherited: bool = False
    points: tuple[str, ...] = ()
    told: bool = False
    objects: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, kw_only=True)
class RestorePoint:
    """A moment to which filestorage and blobstorage of one source can be restored together.

    *stamp* names it; *chain* is the stamp of the full backup that it stands on.  *end* is the
    size in bytes of the filestorage that it restores to and *tid* its greatest tid, which is
    that of its last transaction unless its tids are not in order.
    *since* is the earliest transaction that it can be cut after: the last one that a pack
    rewrote, or the first of all.  (None for either: unknown, an older tool wrote it.)
    *holes* are what it cannot tell of after that; *stays* are chains that stay as long as its
    own is the newest full backup: a restore came from them, or cut their history off.
    *begins* is the stamp of the first restore point whose log its own continues, where that says
    more than its chain ("": it does not).
    *line*: only restore points of one line may take each other's place when others are removed.
    *taken* is what the clock said; the stamp may differ, because stamps must increase.
    *blobs* is the name of what holds its blobs (None: it has none), *blob_bytes* how much
    that is in all (None: nobody counted), *stored* the bytes that it added.  *problems*
    says in sentences what is missing; a restore point without any is whole.  One that is
    not may still be *restorable*: a blob that the site itself had lost cannot be in any
    backup.  *damaged* says that what is stored of it is no longer as it was written, as far
    as anybody looked: it was a whole one once.  *forgotten* says that it is lost whether
    anything was found of it.  *doubts* says in sentences what was wrong in the site when it was
    made, although nothing is missing here.  *rights* are those of the FILESTORAGE, its DIRECTORY
    and the BLOBSTORAGE when they were backed up, as far as known.
    """

    stamp: str
    chain: str
    end: int
    tid: Tid | None = None
    since: Tid | None = None
    holes: tuple[Hole, ...] = ()
    stays: tuple[str, ...] = ()
    begins: str = field(default="", hash=False, compare=False)
    line: str = field(default="", hash=False, compare=False)
    taken: datetime | None = None
    blobs: str | None = None
    blob_bytes: int | None = None
    stored: int = 0
    problems: tuple[str, ...] = ()
    restorable: bool = True
    damaged: bool = False
    forgotten: bool = False
    doubts: tuple[str, ...] = ()
    rights: Mapping[str, Rights] = field(default_factory=dict, hash=False, compare=False)

    @property
    def moment(self) -> datetime:
        """The moment of the stamp."""
        return from_stamp(self.stamp)

    @property
    def age(self) -> tuple[str, str]:
        """What sorts restore points, oldest first: a chain ends where the next one begins."""
        return (self.chain, self.stamp)

    @property
    def history(self) -> str:
        """What it has in common with all whose logs are one, cut at several moments."""
        return self.begins or self.chain

    @property
    def full(self) -> bool:
        """Tell whether its filestorage part is a full backup."""
        return self.stamp == self.chain

    @property
    def whole(self) -> bool:
        """Tell whether nothing is missing."""
        return not self.problems

    @property
    def sound(self) -> bool:
        """Tell whether it can be restored, as far as anybody knows."""
        return self.restorable and not self.damaged
