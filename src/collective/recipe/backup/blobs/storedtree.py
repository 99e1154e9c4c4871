"""A tree of blobs up to a transaction, as StoredBlobs: the sets, and what older releases left."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

from collective.recipe.backup.blobs import setstaging
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.checksums import Checksum
from collective.recipe.backup.blobs.copied import Copied, Tally
from collective.recipe.backup.blobs.copying import CopyOrder
from collective.recipe.backup.blobs.layout import Entry, Kind, Layout
from collective.recipe.backup.blobs.marker import layout_of, marked, size_at
from collective.recipe.backup.blobs.restoration import damaged, missing, not_a_file
from collective.recipe.backup.blobs.storedblobs import StoredContents, StoredFile
from collective.recipe.backup.errors import IntegrityError, explained
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.smallfile import open_regular
from collective.recipe.backup.times import Tid

_PIECE = 1 << 20
"""Bytes of a file that are held at a time."""


class TreeBlobs:
    """The files of *blob_set* up to a transaction; see StoredBlobs."""

    def __init__(
        self, blob_set: BlobSet, *, until: Callable[[], Tid], size: int | None = None
    ) -> None:
        """Ask *until* for the last transaction that counts, when it is needed.

        If *size* is known, and the files in the checksums have as many bytes, there is no search
        for others.
        """
        self._set = blob_set
        self._until = until
        self._size = size

    @property
    def has_digests(self) -> bool:
        """See StoredBlobs."""
        try:
            return self._set.ours
        except IntegrityError:  # damaged; verify says so
            return False

    @property
    def layout(self) -> Layout | None:
        """See StoredBlobs; without a marker a copy gets one, which is not listed."""
        return marked(self._set.root)

    def count(self) -> int:
        """Return how many lines the checksums have."""
        return self._set.checksums.count()

    def listed(self) -> Iterator[StoredFile]:
        """Yield what the set has; see StoredBlobs."""
        root = os.fspath(self._set.root)
        with explained("cannot look at the backup", self._set.root):
            for entry, known in setstaging.wanted(self._set, self._until(), self._size):
                if entry.kind is Kind.DIRECTORY:
                    yield StoredFile(entry.path, entry.kind, 0, 0, None)
                    continue
                try:
                    status = os.lstat(f"{root}/{entry.path}")
                except (FileNotFoundError, NotADirectoryError):
                    raise missing(self._set.root / entry.path) from None
                self._check(entry, known, status)
                digest = known.digest if known else None
                yield StoredFile(entry.path, entry.kind, status.st_size, status.st_mtime_ns, digest)

    def _check(self, entry: Entry, known: Checksum | None, status: os.stat_result) -> None:
        """Raise IntegrityError if *status* is not that of *entry*."""
        is_what = stat.S_ISLNK if entry.kind is Kind.LINK else stat.S_ISREG
        if not is_what(status.st_mode):
            raise not_a_file(self._set.root / entry.path)
        if known and known.size not in (None, status.st_size):
            raise damaged(self._set.root / entry.path)

    def open(self, blob: BlobId) -> BinaryIO:
        """Return *blob*; see StoredBlobs."""
        with explained("cannot open a blob of the backup", self._set.root):
            path, known = self._found(blob)
            self._check(Entry(path, Kind.BLOB), known, os.lstat(self._set.root / path))
            file = open_regular(self._set.root / path, follow=False)
        return io.BufferedReader(_Verified(file, known, damaged(self._set.root / path)))

    def file_of(self, blob: BlobId) -> Path | None:
        """Return the file of the set; see StoredBlobs."""
        with explained("cannot open a blob of the backup", self._set.root):
            return self._set.root / self._found(blob)[0]

    def sizes(self, blobs: Iterable[BlobId]) -> Iterator[int | None]:
        """Look at the file of each; see StoredBlobs."""
        root, until = self._set.root, self._until()
        with explained("cannot look at the backup", root):
            layout = layout_of(root)
            for blob in blobs:
                yield size_at(root, layout, blob) if blob.tid <= until else None

    def _found(self, blob: BlobId) -> tuple[str, Checksum | None]:
        """Return where *blob* lies, which may be where the other layout has it, and its checksum.

        Raises KeyError if it is none of them, IntegrityError if it is one, but gone.
        """
        if blob.tid > self._until():
            raise KeyError(blob)
        for layout in dict.fromkeys((layout_of(self._set.root), *Layout)):
            path = layout.path(blob)
            known = self._set.checksums.of(path)
            if os.path.lexists(self._set.root / path):
                return path, known
            if known:
                raise missing(self._set.root / path)
        raise KeyError(blob)

    def contents(self, wanted: Callable[[str], bool]) -> Iterator[StoredContents]:
        """Yield the wanted files, in the order of the list; see StoredBlobs."""
        for file in self.listed():
            if wanted(file.path):
                yield StoredContents(file, self._pieces(file))

    def _pieces(self, file: StoredFile) -> Iterator[bytes]:
        path = self._set.root / file.path
        if file.kind is Kind.LINK:
            with explained("cannot read a link in the backup", path):
                yield os.fsencode(os.readlink(path))
        elif file.kind is not Kind.DIRECTORY:
            known = Checksum(file.path, file.size, file.digest) if file.digest else None
            with explained("cannot open a file of the backup", path):
                opened = open_regular(path, follow=False)
            with io.BufferedReader(_Verified(opened, known, damaged(path))) as reader:
                yield from iter(partial(reader.read, _PIECE), b"")

    def copy_into(
        self,
        directory: Path,
        *,
        wanted: Iterable[StoredFile] | None = None,
        live: Path | None = None,
        files: Files,
        progress: Progress,
    ) -> Copied:
        """Copy or link the wanted files; see StoredBlobs."""
        if wanted is None:
            return setstaging.stage(
                self._set,
                directory,
                live=live,
                until=self._until(),
                files=files,
                progress=progress,
                size=self._size,
            )
        orders = [_order(file) for file in wanted]
        with (
            explained("cannot restore the blobs", directory),
            progress.phase("restoring the blobs", len(orders), "files") as advance,
        ):
            tally = Tally(advance)
            for done in setstaging.copied(self._set, directory, orders, files):
                tally.add(done)
            files.sync_little_tree(directory)
        return tally.sum()


def _order(file: StoredFile) -> CopyOrder:
    size = None if file.kind is Kind.LINK else file.size
    known = Checksum(file.path, size, file.digest) if file.digest else None
    return CopyOrder(Entry(file.path, file.kind), known)


class _Verified(io.RawIOBase):
    """The bytes of *file*, which are compared with their checksum at the end."""

    def __init__(self, file: BinaryIO, known: Checksum | None, flaw: IntegrityError) -> None:
        self._file = file
        self._known = known
        self._flaw = flaw
        self._digest = blake3()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what io calls it with
        """Read what fits into *buffer*.  Raises IntegrityError at the end of a damaged file."""
        view = memoryview(buffer)
        with explained("cannot read a blob of the backup", self._flaw.where):
            size = self._file.readinto(view)  # type: ignore[attr-defined]  # it is a plain file
        self._digest.update(view[:size])
        if not size and self._known and self._digest.hexdigest() != self._known.digest:
            raise self._flaw
        return int(size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
