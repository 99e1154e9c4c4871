"""The blobs that a destination has stored for one moment: listed, opened, copied.

What reads them need not know who keeps them, and how.  Nothing is written, but by ``copy_into``
to the directory that it is given.
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
    """One file, or a directory or link that is not ZODB's."""

    path: str  # below the root of the blobstorage
    kind: Kind
    size: int  # bytes; of a directory 0, of a symbolic link those of its text
    time: int  # of its last change, nanoseconds since 1970; 0 for a directory
    digest: str | None  # BLAKE3 in hex, of a link that of its text; None: there is none


class StoredContents(NamedTuple):
    """One of these, with what it holds."""

    file: StoredFile  # its digest may be None
    pieces: Iterator[bytes | memoryview]  # of a file, or the text of a link; of a directory none
    same: str = ""  # the path of a file that came before and is this one too: then no pieces


class StoredBlobs(Protocol):
    """The blobs of one moment, and what lies beside them.

    All methods raise IntegrityError that names what is missing or damaged, and BackupError for
    what cannot be read.
    """

    @property
    def has_digests(self) -> bool:
        """Tell whether who stored them wrote digests of the files; older releases did not."""

    @property
    def layout(self) -> Layout | None:
        """How the paths of the blobs are made up; None: only a copy of all of it tells.

        Where it is known, ``listed`` costs a look at each file, and reads none.
        """

    def count(self) -> int:
        """Return how many files there are, or about so many, without looking at them."""

    def listed(self) -> Iterator[StoredFile]:
        """Yield what there is, in the order of ``layout.walk``.

        Files that no list names, since it is damaged, may come at the end, without a digest.
        """

    def open(self, blob: BlobId) -> BinaryIO:
        """Return *blob*, to be read once from its begin to its end, and then closed.

        What was read is to be relied on at the end, where it was compared with its digest.
        Raises KeyError if it is none of them.
        """

    def file_of(self, blob: BlobId) -> Path | None:
        """Return the file that *blob* is, as it is kept; None: it is no file of its own.

        Nothing of it was read.  Raises KeyError if it is none of them.
        """

    def contents(self, wanted: Callable[[str], bool]) -> Iterator[StoredContents]:
        """Yield what there is of which the path is *wanted*, in whichever order is read fastest.

        The pieces of each are to be taken before the next one is asked for.  What was read is to
        be relied on at the end of all.
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
        """Copy them into *directory*, which is not there or holds only rooms (see contents).

        That is verified and on the disk then.  *wanted* are some of what is ``listed``, in that
        order; None: all.  What *live*, a blobstorage, has with the same size and time may be
        linked from there, if all are wanted.
        """
