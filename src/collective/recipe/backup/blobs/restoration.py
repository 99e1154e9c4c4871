"""Copy files of a blob set, or link live ones, and prove each by its digest."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from collective.recipe.backup.blobs.checksums import Checksum
from collective.recipe.backup.blobs.copying import CopyOrder, Done, Transfer
from collective.recipe.backup.blobs.digesting import checksum_of, regular, unchanged
from collective.recipe.backup.blobs.layout import MARKER, Kind
from collective.recipe.backup.errors import IntegrityError

_HINT = "verify names all that is damaged; restore from another backup, or to an earlier moment"


@dataclass(frozen=True, kw_only=True)
class Restoration(Transfer):
    """A Transfer that compares with the digests of the set; *earlier* is the live blobstorage."""

    verify_live: bool = False  # whether live files are read and compared as well

    def attempt(self, order: CopyOrder) -> Done:
        """Carry out *order*: nothing may be left out."""
        return self.carry_out(order)

    def carry_out(self, order: CopyOrder) -> Done:
        """Copy or link one entry.  Raises IntegrityError for what cannot be right."""
        try:
            done = super().carry_out(order)
        except OSError as error:
            path = self.source / order.entry.path
            if error.filename == os.fspath(path) and not regular(path):
                raise not_a_file(path) from error
            raise
        if done.why is not None:  # entries that no backup of ours copies
            raise IntegrityError(done.why.what, where=done.why.where, hint=done.why.hint)
        if done.entry.kind is Kind.LINK:
            self._compare(order.known, done.checksum)
        return done._replace(checksum=order.known)

    def same(self, earlier: Path, path: str, known: Checksum | None) -> Checksum | None:
        """Return the checksum of the live file if it equals the one to restore."""
        here, there = regular(f"{self._from}/{path}"), regular(f"{earlier}/{path}")
        if here is None or there is None or here.st_size != there.st_size:
            return None
        expected = known or Checksum(path, here.st_size, "")
        if here.st_size != expected.size:
            return None  # the copy will tell
        if unchanged(here, there) and not self.verify_live and path != MARKER:
            return expected
        with suppress(OSError):  # the live one may be what is damaged
            live = checksum_of(earlier, path)
            if live == (known or checksum_of(self.source, path)):
                return live
        return None

    def copy(self, path: str, known: Checksum | None) -> Checksum:
        """Copy the file and compare the copy."""
        if known is None:
            return super().copy(path, known)
        copied = self._copied(path, None)  # the checksum has the size as well
        self._compare(known, copied)
        return copied

    def _compare(self, known: Checksum | None, found: Checksum | None) -> None:
        if known and found and known != found:
            raise damaged(self.source / found.path)


def damaged(path: Path) -> IntegrityError:
    """Return the error for a file of a set that is not what it was."""
    return IntegrityError("a file of the backup is damaged", where=path, hint=_HINT)


def missing(path: Path) -> IntegrityError:
    """Return the error for a file that a set should have."""
    return IntegrityError("a file of the backup is missing", where=path, hint=_HINT)


def not_a_file(path: Path, kind: str = "file") -> IntegrityError:
    """Return the error for what stands where a set should have a file, or a directory."""
    return IntegrityError(f"something else stands in the place of a {kind}", where=path, hint=_HINT)
