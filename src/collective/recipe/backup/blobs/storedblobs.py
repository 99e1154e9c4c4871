"""The blobs that a destination has stored for one moment: listed, opened, copied.

Readers need not know in which kind of destination they are.  Only ``copy_into`` writes, to a
directory of the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.layout import Kind, Layout
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Progress


class StoredFile(NamedTuple):
    """A blob, or a foreign file, directory or link."""

    path: str  # below the root of the blobstorage
    kind: Kind  # its kind
    size: int  # bytes; of a directory 0, of a symbolic link those of its text
    time: int  # of its last change, nanoseconds since 1970; 0 for a directory
    digest: str | None  # BLAKE3 in hex, of a link that of its text; None: there is none


class StoredContents(NamedTuple):
    """A StoredFile with its bytes."""

    file: StoredFile  # its digest may be None
    pieces: Iterator[bytes | memoryview]  # of a file, or the text of a link; of a directory none
    same: str = ""  # the path of a file that came before and is this one too: then no pieces


class StoredBlobs(Protocol):
    """The blobs of one moment, and the foreign files among them.

    All methods raise IntegrityError that names a missing or damaged file, and BackupError for one
    that cannot be read.
    """

    @property
    def has_digests(self) -> bool:
        """Tell whether the files were stored with digests; older releases had none."""

    @property
    def layout(self) -> Layout | None:
        """The layout of the paths of the blobs; None: only a copy of all of it shows that.

        If it is known, ``listed`` costs a look at each file, and reads none.
        """

    def count(self) -> int:
        """Return the number of files, perhaps an estimate, without looking at them."""

    def listed(self) -> Iterator[StoredFile]:
        """Yield what there is, in the order of ``layout.walk``.

        Files that no list names, since it is damaged, may come at the end, without a digest.
        """

    def open(self, blob: BlobId) -> BinaryIO:
        """Return *blob*, to be read once from its begin to its end, and then closed.

        The bytes can be relied on at the end, where they were compared with their digest.
        Raises KeyError if it is none of them.
        """

    def file_of(self, blob: BlobId) -> Path | None:
        """Return the file that *blob* is, as it is kept; None: it is no file of its own.

        Nothing of it was read.  Raises KeyError if it is none of them.
        """

    def sizes(self, blobs: Iterable[BlobId]) -> Iterator[int | None]:
        """Yield the bytes of each of *blobs*, in their order; None: it is none of these, or lost.

        Nothing of a blob is read, so an archive, of which all would have to be, does not know any.
        It is quickest in the order of their tids.
        """

    def contents(self, wanted: Callable[[str], bool]) -> Iterator[StoredContents]:
        """Yield the files whose path is *wanted*, in the order that is fastest to read.

        The pieces of each must be taken before the next file is asked for.  The bytes are proved
        only at the end of the iteration.
        """

    def copy_into(
        self,
        directory: Path,
        *,
        wanted: Iterable[StoredFile] | None = None,
        live: Path | None = None,
        files: Files,
        progress: Progress,
    ) -> Copied:
        """Copy them into *directory*, which is missing or holds only rooms (see contents).

        The copy is verified and durable then.  *wanted* are some of the files of ``listed``, in
        that order; None: all.  If all are wanted, files of *live*, a blobstorage, with the same
        size and time may be linked.
        """
