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
"""Level of gzip, from 0 to 3 as in ISA-L."""
FILESTORAGE, DIRECTORY, BLOBSTORAGE = "filestorage", "directory", "blobstorage"
"""The sources whose rights a restore point knows; DIRECTORY is the one of the filestorage."""
MAIN = "1"
"""The name of a site's main storage, as ``alternative_restore_source`` spells it."""


class BlobId(NamedTuple):
    """The identity of one ZODB blob file."""

    oid: Oid  # of the object
    tid: Tid  # of the transaction that wrote it

    def __str__(self) -> str:
        return f"oid 0x{self.oid.hex()} tid 0x{self.tid.hex()}"


class Hole(NamedTuple):
    """A span of moments that a log does not know: from *first* up to, but without, *end*."""

    first: Tid  # first tid of the span
    end: Tid  # the first that it can tell of again


@dataclass(frozen=True, kw_only=True)
class Source:
    """One storage of a site: a filestorage, its blobstorage, or both."""

    name: str  # of the storage; MAIN for the main one
    filestorage: Path  # absolute path
    blobstorage: Path | None = None
    """Absolute path; None: it has no blobs, or they are not backed up."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The directories of the backups of one source."""

    name: str  # of the storage
    filestorage: Path  # directory of the filestorage backups, absolute
    blobstorage: Path | None = None  # directory of the blob backups, absolute; None: there are none

    @property
    def directories(self) -> tuple[Path, ...]:
        """The directories that the backups lie in; nothing else may lie there."""
        return (self.filestorage, *filter(None, [self.blobstorage]))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem of the site or of its backups."""

    where: str  # path, or name of a restore point
    what: str  # in words
    hint: str = ""  # what to do about it; "": nothing is known
    harmless: bool = False  # whether everything can be restored in spite of it
    inherited: bool = False
    """Whether the live site had it when it was backed up: the stored bytes are as they were
    written."""
    points: tuple[str, ...] = ()  # stamps of the restore points that it concerns, as far as known
    told: bool = False
    """Whether the restore point itself has recorded it, since its source lacked blobs; the rest of
    it can be restored."""
    objects: tuple[str, ...] = ()
    """Names of the objects of a store that are damaged or gone, and that the restore points need.
    """

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" ({self.hint})" if self.hint else "")


@dataclass(frozen=True, kw_only=True)
class RestorePoint:
    """A moment to which filestorage and blobstorage of one source can be restored together.

    A restore point without problems is *whole*.
    """

    stamp: str  # its name
    chain: str  # stamp of the full backup on which it builds
    end: int  # bytes of the filestorage that it restores
    tid: Tid | None = None
    """Greatest tid, the last one's unless tids are not in order; None: an older tool wrote it."""
    since: Tid | None = None
    """Earliest transaction at which it can be cut: the last one that a pack rewrote, or the first
    of all; None: unknown."""
    holes: tuple[Hole, ...] = ()  # spans of moments after *since* that it does not know
    stays: tuple[str, ...] = ()
    """Stamps of chains that stay as long as its own is the newest full backup, since a restore came
    from them or cut their history off."""
    begins: str = field(default="", hash=False, compare=False)
    """Stamp of the first restore point whose log its own continues, if that is not the one of its
    chain; else ""."""
    line: str = field(default="", hash=False, compare=False)
    """Only restore points of one line may take each other's place in retention."""
    taken: datetime | None = None
    """By the clock; the stamp may differ, because stamps must increase; None: unknown."""
    blobs: str | None = None  # name of the holding of its blobs; None: it has none
    blob_bytes: int | None = None  # bytes of its blobs in all; None: not counted
    stored: int = 0  # bytes that it added
    problems: tuple[str, ...] = ()  # sentences about missing parts
    restorable: bool = True
    """Whether it can be restored in spite of its problems: a blob that the site itself had lost
    cannot be in any backup."""
    damaged: bool = False
    """Whether stored bytes are known to differ from those that were written: it was whole once."""
    forgotten: bool = False  # whether findings about it may have been lost
    doubts: tuple[str, ...] = ()
    """Sentences about faults of the site when it was made, although its parts are complete."""
    rights: Mapping[str, Rights] = field(default_factory=dict, hash=False, compare=False)
    """Of FILESTORAGE, DIRECTORY and BLOBSTORAGE when they were backed up, as far as known."""

    @property
    def moment(self) -> datetime:
        """The moment of the stamp."""
        return from_stamp(self.stamp)

    @property
    def age(self) -> tuple[str, str]:
        """The key to sort restore points, oldest first: a chain ends where the next one begins."""
        return (self.chain, self.stamp)

    @property
    def history(self) -> str:
        """The key of its log: equal for restore points that are cuts of one log."""
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
        """Tell whether it can be restored, as far as is known."""
        return self.restorable and not self.damaged
