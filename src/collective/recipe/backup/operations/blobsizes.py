"""The bytes of the blobs that objects hold.  They are looked up, and no blob is read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from collective.recipe.backup.amounts import size
from collective.recipe.backup.blobs.marker import laid_out, size_at
from collective.recipe.backup.errors import BackupError, Interrupted, RequestsSpent, explained
from collective.recipe.backup.model import BlobId, Oid, Source
from collective.recipe.backup.objects.current import Held
from collective.recipe.backup.states import State
from collective.recipe.backup.times import Tid

logger = logging.getLogger("backup")

BLOB = "ZODB.blob.Blob"
"""The class of the objects that have one."""

BlobSizes = Callable[[Iterable[BlobId]], Iterator[int | None]]
"""Tells the bytes of each; None: not known."""

_TOGETHER = 1 << 15
"""Blobs that are looked up together, some 200 bytes of memory for each."""


class BlobAmount(NamedTuple):
    """The blobs of some objects."""

    number: int = 0  # of blobs
    size: int = 0  # bytes of those whose size is known
    unknown: int = 0  # how many have an unknown size: they are not in the backup, or in an archive

    @property
    def words(self) -> str:
        """The bytes, for people."""
        if self.unknown == self.number > 0:
            return "unknown"
        return f"{size(self.size)} at least" if self.unknown else size(self.size)


def sum_of(amounts: Iterable[BlobAmount]) -> BlobAmount:
    """Return what they come to together."""
    return BlobAmount(*map(sum, zip(*amounts, strict=True)))


def sizes_in(state: State) -> BlobSizes:
    """Return what tells the sizes of blobs of the backup *state*."""

    def sizes(blobs: Iterable[BlobId]) -> Iterator[int | None]:
        stored = state.blobs
        return (None for _blob in blobs) if stored is None else stored.sizes(blobs)

    return sizes


def live_sizes(source: Source) -> BlobSizes:
    """Return what tells the sizes of blobs of the live site."""

    def sizes(blobs: Iterable[BlobId]) -> Iterator[int | None]:
        root = source.blobstorage
        if root is not None:
            with explained("cannot look at the blobs", root):
                layout = laid_out(root)
                for blob in blobs:
                    yield size_at(root, layout, blob)

    return sizes


class BlobTally:
    """Adds up the blobs of several owners, which are numbers from 0 on."""

    def __init__(self, sizes: BlobSizes, owners: int) -> None:
        self._look_up = sizes
        self._amounts = [BlobAmount()] * owners
        self._waiting: list[tuple[bytes, bytes, int]] = []  # tid, oid, and owner
        self._has_failed = False

    def add(self, owner: int, held: Held) -> None:
        """Take *held* to the account of *owner*, if it has a blob."""
        if held.kind == BLOB:
            self._waiting.append((held.tid, held.oid, owner))
            if len(self._waiting) >= _TOGETHER:
                self._settle()

    def amounts(self) -> list[BlobAmount]:
        """Return what each owner has."""
        self._settle()
        return self._amounts

    def _settle(self) -> None:
        waiting, self._waiting = sorted(self._waiting), []
        found = self._known(BlobId(Oid(oid), Tid(tid)) for tid, oid, _owner in waiting)
        for _tid, _oid, owner in waiting:
            number, total, unknown = self._amounts[owner]
            known = next(found, None)
            self._amounts[owner] = BlobAmount(
                number + 1, total + (known or 0), unknown + (known is None)
            )

    def _known(self, blobs: Iterable[BlobId]) -> Iterator[int | None]:
        """Yield the size of each, and nothing any more once that has failed.

        All else about the objects is known, so it is told without.
        """
        if self._has_failed:
            return
        try:
            yield from self._look_up(blobs)
        except (Interrupted, RequestsSpent):
            raise
        except BackupError as error:
            self._has_failed = True
            logger.warning("not all sizes of blobs can be told: %s", error)
