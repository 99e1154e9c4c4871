"""The result of copying blobs: numbers, and the names of files that could not be copied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from collective.recipe.backup.blobs.copying import Done, How
from collective.recipe.backup.blobs.layout import Entry, Kind, blob_of
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Advance

NAMED = 1000
"""Missing blobs that are named; further ones are only counted."""
REASONS = 10
"""Files whose reason for not being copied is kept."""


@dataclass(frozen=True, kw_only=True)
class Copied:
    """The result of a copy."""

    files: int = 0  # number of files that were copied
    linked: int = 0  # number of files that were hard linked
    size: int = 0  # bytes of the copied files
    foreign: int = 0  # files of both that are no blobs
    vanished: int = 0  # files that vanished before they could be copied
    unverified: int = 0  # files without a digest to compare with
    lost: int = 0  # wanted blobs that the source does not have
    missing: tuple[BlobId, ...] = ()  # some of those
    whole: int | None = None  # bytes of all files that are there now; None: not all were looked at
    marker: How | None = None
    """Result for ZODB's note of the layout, which is one of the files; None: there is none."""
    others: str = ""  # fingerprint of the foreign files of an archive; "": there are none
    left_out: int = 0
    """Files besides blobs that could not be read, or are of a kind that is not copied."""
    left: str = ""  # path of the first of those below the source; "": there is none
    differ: int = 0
    """Blobs that the source lacks or has changed; whole earlier copies were taken over."""
    differing: tuple[BlobId, ...] = ()  # some of those
    reasons: tuple[str, ...] = ()  # for the first few files that could not be read, or have changed

    def __str__(self) -> str:
        """Return in words what a backup stored."""
        new = self.files - (self.marker is How.COPIED)
        words = [f"{new:,} new", f"{self.size:,} bytes"]
        linked = self.linked - (self.marker is How.LINKED)
        if linked:
            words.append(f"{linked:,} linked")
        if self.foreign:
            words.append(f"{self.foreign:,} of them no blobs")
        return ", ".join(words)

    def __add__(self, other: Copied) -> Copied:
        return Copied(
            files=self.files + other.files,
            linked=self.linked + other.linked,
            size=self.size + other.size,
            foreign=self.foreign + other.foreign,
            vanished=self.vanished + other.vanished,
            unverified=self.unverified + other.unverified,
            lost=self.lost + other.lost,
            missing=(self.missing + other.missing)[:NAMED],
            whole=None if self.whole is None else self.whole + other.size,
            marker=self.marker or other.marker,
            others=self.others or other.others,
            left_out=self.left_out + other.left_out,
            left=self.left or other.left,
            differ=self.differ + other.differ,
            differing=(self.differing + other.differing)[:NAMED],
            reasons=tuple(dict.fromkeys(self.reasons + other.reasons))[:REASONS],
        )

    def lacking(self, blobs: Iterable[BlobId]) -> Copied:
        """Return this result with just *blobs* as those that the source does not have."""
        rest = iter(blobs)
        missing = tuple(islice(rest, NAMED))
        lost = len(missing) + sum(1 for _more in rest)
        return replace(self, lost=lost, missing=missing)


class Tally:
    """Adds up what became of each file."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._numbers = dict.fromkeys(How, 0)
        self._size = 0
        self._linked_size = 0
        self._foreign = 0
        self._marker: How | None = None
        self._left = Left()
        self._differ = 0
        self._differing: list[BlobId] = []

    def add(self, done: Done) -> None:
        """Count one."""
        self._advance(1)
        if done.entry.kind is Kind.DIRECTORY:
            return
        self._numbers[done.how] += 1
        if done.how is How.LEFT_OUT:
            self._left.add(done.entry, done.why)
            return
        if done.why is not None:
            self._note_differing(done.entry, done.why)
        if done.how is How.COPIED and done.checksum:
            self._size += done.checksum.size or 0
        if done.how in (How.LINKED, How.UPHELD) and done.checksum:
            self._linked_size += done.checksum.size or 0
        if done.entry.kind is Kind.MARKER:
            self._marker = done.how
        if done.entry.foreign and done.how is not How.VANISHED:
            self._foreign += 1

    def _note_differing(self, entry: Entry, why: BackupError) -> None:
        self._differ += 1
        self._left.give(why)
        if (blob := entry.blob) and len(self._differing) < NAMED:
            self._differing.append(blob)

    def sum(self) -> Copied:
        """Return the sum so far."""
        return Copied(
            files=self._numbers[How.COPIED],
            linked=self._numbers[How.LINKED] + self._numbers[How.UPHELD],
            vanished=self._numbers[How.VANISHED],
            size=self._size,
            foreign=self._foreign,
            whole=self._size + self._linked_size,
            marker=self._marker,
            left_out=self._left.number,
            left=self._left.first,
            differ=self._differ,
            differing=tuple(self._differing),
            reasons=tuple(self._left.reasons),
        )


class Left:
    """Counts files that were left out: *number* and *first* without blobs; *reasons* of all."""

    def __init__(self) -> None:
        self.number = 0
        self.first = ""
        self.reasons: list[str] = []

    def add(self, entry: Entry, why: BackupError | None) -> None:
        """Count one."""
        if blob_of(entry.path) is None:
            self.number += 1
            self.first = self.first or entry.path
        if why is not None:
            self.give(why)

    def give(self, why: BackupError) -> None:
        """Add a reason."""
        if len(self.reasons) < REASONS:
            self.reasons.append(f"{why} ({why.hint})" if why.hint else str(why))
