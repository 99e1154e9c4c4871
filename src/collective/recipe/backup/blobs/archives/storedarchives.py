"""A chain of archives up to a transaction, as StoredBlobs.

An archive can be read forwards only, and a later one changes what earlier ones brought.  So to
list, or to find one blob, all of the chain is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from collective.recipe.backup.blobs.archives import archivestaging
from collective.recipe.backup.blobs.archives.archivelisting import Contents
from collective.recipe.backup.blobs.archives.archivenames import Archive
from collective.recipe.backup.blobs.archives.archivereading import mark_of
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.storedblobs import StoredContents, StoredFile
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Progress
from collective.recipe.backup.times import Tid


class ArchivedBlobs:
    """The blobs of *archives*, a chain, up to a transaction; see StoredBlobs."""

    def __init__(
        self, archives: Sequence[Archive], *, until: Callable[[], Tid], size: int | None = None
    ) -> None:
        """Ask *until* for the last transaction that counts, when it is needed.

        The files in all archives together have *size* bytes (None: unknown).
        """
        self._archives = archives
        self._until = until
        self._size = size

    @property
    def has_digests(self) -> bool:
        """Tell whether ours they are: a seal says as much as a digest of each file."""
        try:
            return mark_of(self._archives[-1]) is not None
        except IntegrityError:  # damaged; verify says so
            return False

    @property
    def layout(self) -> Layout | None:
        """Nothing: see StoredBlobs."""
        return None

    def count(self) -> int:
        """Return 0: it is not known."""
        return 0

    @property
    def _contents(self) -> Contents:
        return Contents(self._archives, self._until(), self._size)

    def listed(self) -> Iterator[StoredFile]:
        """Yield what the chain comes to, some 400 bytes of memory for each; see StoredBlobs."""
        return self._contents.listed()

    def open(self, blob: BlobId) -> BinaryIO:
        """Return *blob*, which is looked for in all of the chain; see StoredBlobs."""
        return self._contents.stream(blob)

    def file_of(self, blob: BlobId) -> Path | None:  # noqa: ARG002  as StoredBlobs has it
        """Return none: it is a part of an archive."""
        return None

    def sizes(self, blobs: Iterable[BlobId]) -> Iterator[int | None]:
        """Yield none: see StoredBlobs."""
        return (None for _blob in blobs)

    def contents(self, wanted: Callable[[str], bool]) -> Iterator[StoredContents]:
        """Yield the wanted files, in the order of the archives; see StoredBlobs."""
        return self._contents.each(wanted)

    def copy_into(
        self,
        directory: Path,
        *,
        wanted: Iterable[StoredFile] | None = None,
        live: Path | None = None,
        files: Files,
        progress: Progress,
    ) -> Copied:
        """Unpack the chain, or the wanted files of it; see StoredBlobs."""
        if wanted is not None:
            return self._contents.copy_some(wanted, directory, files, progress)
        return archivestaging.stage(
            self._archives,
            directory,
            live=live,
            until=self._until(),
            files=files,
            progress=progress,
            size=self._size,
        )
