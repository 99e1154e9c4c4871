"""The bytes of an archive: read once, hashed and inflated on the way.

One thread reads, hashes and inflates a little ahead of the caller.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, cast

from blake3 import blake3

from collective.recipe.backup.blobs.archives.archivenames import Archive
from collective.recipe.backup.blobs.archives.seal import sealed, size_of_seal
from collective.recipe.backup.errors import IntegrityError, from_os_error
from collective.recipe.backup.gzipping import BAD_GZIP, inflating
from collective.recipe.backup.progress import Advance
from collective.recipe.backup.smallfile import open_regular, regular

PIECE_SIZE = 1 << 20


class Stored(io.RawIOBase):
    """The stored bytes of an archive, without its seal; all that is read is hashed."""

    def __init__(self, archive: Archive, advance: Advance) -> None:
        self._archive = archive
        self._advance = advance
        self._digest = blake3()
        self._file = io.FileIO(archive.path, opener=regular)
        self._left = os.fstat(self._file.fileno()).st_size
        self.seal = self._read_seal()

    def _read_seal(self) -> str | None:
        """Return the digest in the seal, if there is one, and leave that out of the bytes."""
        size = size_of_seal(compressed=self._archive.compressed)
        tail = os.pread(self._file.fileno(), size, max(self._left - size, 0))
        found = sealed(tail, compressed=self._archive.compressed)
        if found:
            self._left -= size
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what io calls it with
        """Read what fits into *buffer*."""
        view = memoryview(buffer)[: self._left]
        size = self._file.readinto(view) or 0
        self._left -= size
        self._digest.update(view[:size])
        self._advance(size)
        return size

    def pieces(self, size: int = PIECE_SIZE) -> Generator[bytes, None, None]:
        """Yield what the archive holds, inflated if it is compressed; none is empty."""
        file = inflating(cast("IO[bytes]", self)) if self._archive.compressed else self
        while data := file.read(size):
            yield data

    def check_seal(self) -> None:
        """Compare all bytes, which must have been read, with the seal, if there is one."""
        while self.read(PIECE_SIZE):
            pass
        if self.seal and self.seal != self._digest.hexdigest():
            raise ValueError("its bytes do not match its seal")


class Stream:
    """The bytes that an archive holds, to be taken in pieces of any size."""

    def __init__(self, archive: Archive, pieces: Generator[bytes, None, None]) -> None:
        self.archive = archive
        self._pieces = pieces
        self._piece = memoryview(b"")

    def close(self) -> None:
        """Read nothing any more."""
        self._pieces.close()

    def some(self, limit: int) -> memoryview:
        """Return at least one byte and at most *limit*; none at the end."""
        if not self._piece:
            with explaining(self.archive):
                self._piece = memoryview(next(self._pieces, b""))
        found, self._piece = self._piece[:limit], self._piece[limit:]
        return found

    def read(self, size: int) -> bytes:
        """Return *size* bytes, fewer only at the end."""
        found = bytes(self.some(size))
        if len(found) == size:
            return found
        parts = [found]
        size -= len(found)
        while size and (part := self.some(size)):
            parts.append(bytes(part))
            size -= len(part)
        return b"".join(parts)

    def skip(self, size: int) -> bool:
        """Pass over *size* bytes; False if there are fewer."""
        while size and (piece := self.some(min(size, PIECE_SIZE))):
            size -= len(piece)
        return not size


class Seeking(Stream):
    """The bytes of an archive that is not compressed; bytes that are skipped are not read."""

    def __init__(self, archive: Archive) -> None:
        """Open *archive*.  Raises OSError."""
        self.archive = archive
        self._file = open_regular(archive.path)
        self._size = os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def some(self, limit: int) -> memoryview:
        """Return at least one byte and at most *limit*; none at the end."""
        with explaining(self.archive):
            return memoryview(self._file.read(min(limit, PIECE_SIZE)))

    def skip(self, size: int) -> bool:
        """Pass over *size* bytes; False if there are fewer."""
        return self._file.seek(size, os.SEEK_CUR) <= self._size


@contextmanager
def explaining(archive: Archive) -> Iterator[None]:
    """Say in the errors of the body that it is *archive* which cannot be read or is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise IntegrityError("the archive is missing", where=archive.path) from None
    except BAD_GZIP as error:
        raise damaged(archive, f"damaged gzip: {error}") from error
    except ValueError as error:
        raise damaged(archive, str(error)) from error
    except OSError as error:
        raise from_os_error(error, "cannot read the archive", archive.path) from error


def other_size(archives: Sequence[Archive], *, found: int | None, expected: int) -> IntegrityError:
    """Return the error that *archives*, a chain, hold *found* bytes of files, not *expected*."""
    several = f" and the {len(archives) - 1} that it builds on" if archives[1:] else ""
    return damaged(
        archives[-1],
        f"it{several} should hold {expected:,} bytes of files in all, and not {found:,}",
    )


def damaged(archive: Archive, why: str) -> IntegrityError:
    """Return the error that says that *archive* cannot be trusted."""
    return IntegrityError(
        f"the archive cannot be used ({why})",
        where=archive.path,
        hint="restore another backup; plain tar may still get single files out of this one",
    )
