"""Bundles: objects of 24 to 33 MB that hold sealed chunks and say themselves which.

::

    0    40    header (see sealing)
    40         sealed chunks, one after the other
    ..         sealed padding: zeros, as many as make the object as large as objects may be
    ..         sealed directory
    ..   8     number of bytes of the sealed directory

and the directory::

    0    4     number of entries, n
    4    42    an entry for each chunk, in their order, and one for the padding

    of each entry:
    0    1     kind of the chunk (0: padding)
    1    1     form of its bytes: 0 as they are, 1 a frame of zstd
    2    4     bytes that it takes as it is stored, with its tag of 16 bytes
    6    4     bytes that it has
    10   32    its id (padding: zeros)

The first piece begins at 40 and each other one where the one before it ends.  A bundle of a
run that had less to store is smaller.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.chunks import ID_SIZE, LARGEST, ChunkId
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.padding import padded
from collective.recipe.backup.repository.sealing import (
    HEADER_SIZE,
    TAG_SIZE,
    BrokenSealError,
    Role,
    Sort,
    header,
    new_salt,
)

FULL = 24 << 20
"""Bytes from which on a bundle is full: it gets no more chunks than fit into its padding."""

MOST_PIECES = 1 << 15
"""Chunks with which a bundle is full."""

PADDING = 0
"""The kind that the padding has in a directory."""

_COUNT = struct.Struct(">I")
_ENTRY = struct.Struct(">BBII32s")
_TRAILER = struct.Struct(">Q")
_NO_ID = ChunkId(bytes(ID_SIZE))


class Piece(NamedTuple):
    """A chunk as a directory has it."""

    kind: int  # LEAF, NODE or PADDING
    form: int  # 0: as it is; 1: a frame of zstd
    stored: int  # bytes, sealed
    size: int  # bytes of the chunk
    chunk: ChunkId  # id of the chunk


@dataclass(frozen=True)
class BundleDirectory:
    """The directory of a bundle: its chunks, in the order of their bytes."""

    bundle: bytes  # the ID of the bundle, 32 bytes
    salt: bytes  # 24 random bytes from the header of the bundle
    pieces: tuple[Piece, ...]  # in their order, the padding last

    def placed(self) -> Iterator[tuple[Piece, int]]:
        """Yield each chunk with the offset at which it is, without the padding."""
        offset = HEADER_SIZE
        for piece in self.pieces:
            if piece.kind != PADDING:
                yield piece, offset
            offset += piece.stored


class Compressed(NamedTuple):
    """A chunk that is ready to be sealed."""

    kind: int  # LEAF or NODE
    form: int  # 0: as it is; 1: a frame of zstd
    data: bytes | memoryview  # in that form
    size: int  # bytes of the chunk itself
    chunk: ChunkId  # id of the chunk


class NewBundle:
    """A bundle that is being made, in memory that goes back to the system when it is closed."""

    def __init__(self, keyring: Keyring, full: int = FULL) -> None:
        self._keyring = keyring
        self._full = full
        # room for the largest last chunk, the padding (less than a sixteenth) and the directory
        room = (full + LARGEST + (MOST_PIECES + 1) * _ENTRY.size) * 17 // 16 + (1 << 16)
        self._memory = mmap.mmap(-1, room)
        self._view = memoryview(self._memory)
        self._begin()

    def _begin(self) -> None:
        self._salt = new_salt()
        self._seal = self._keyring.seal(Sort.BUNDLE, self._salt)
        self._view[:HEADER_SIZE] = header(Sort.BUNDLE, self._salt)
        self._offset = HEADER_SIZE
        self._pieces: list[Piece] = []

    def __len__(self) -> int:
        """Return the number of chunks in it."""
        return len(self._pieces)

    def is_full_for(self, stored: Compressed) -> bool:
        """Tell whether this chunk should go into another bundle.

        From a certain size on that is so where it would need another step of padding: so the
        padding of a bundle takes less than one chunk.
        """
        if len(self._pieces) >= MOST_PIECES:
            return True
        if self._offset < self._full:
            return False
        size = self._whole_size()
        larger = size + len(stored.data) + TAG_SIZE + _ENTRY.size
        return padded(larger) > padded(size) or larger > self._full + LARGEST

    def _whole_size(self) -> int:
        """Return the bytes of the bundle as it is now, with no zeros in its padding."""
        return self._offset + TAG_SIZE + self._directory_size() + _TRAILER.size

    def _directory_size(self) -> int:
        return _COUNT.size + (len(self._pieces) + 1) * _ENTRY.size + TAG_SIZE

    def add(self, stored: Compressed) -> None:
        """Seal a chunk into it."""
        self._put(Role.CHUNK, stored.data)
        size = len(stored.data) + TAG_SIZE
        self._pieces.append(Piece(stored.kind, stored.form, size, stored.size, stored.chunk))

    def _put(self, role: Role, data: bytes | memoryview) -> None:
        end = self._offset + len(data) + TAG_SIZE
        self._seal.into(self._view[self._offset : end], role, self._offset, data)
        self._offset = end

    def finish(self) -> tuple[memoryview, bytes, tuple[Piece, ...]]:
        """Return all bytes of the bundle, valid until ``again`` or ``close``; salt and pieces."""
        directory, size = self._directory_size(), self._whole_size()
        zeros = padded(size) - size
        self._put(Role.PADDING, bytes(zeros))
        self._pieces.append(Piece(PADDING, 0, zeros + TAG_SIZE, zeros, _NO_ID))
        self._put(Role.DIRECTORY, directory_bytes(self._pieces))
        end = self._offset + _TRAILER.size
        self._view[self._offset : end] = _TRAILER.pack(directory)
        return self._view[:end], self._salt, tuple(self._pieces)

    def again(self) -> None:
        """Begin another bundle in the same memory."""
        self._begin()

    def close(self) -> None:
        """Give the memory back; if a put that failed still has it, as soon as that lets go."""
        with suppress(BufferError):
            self._view.release()
            self._memory.close()


def directory_bytes(pieces: Sequence[Piece]) -> bytes:
    """Return the directory of a bundle with these *pieces*."""
    return _COUNT.pack(len(pieces)) + b"".join(_ENTRY.pack(*piece) for piece in pieces)


def read_directory(data: bytes | memoryview, begin: int = 0) -> tuple[tuple[Piece, ...], int]:
    """Return the pieces in the directory at *begin*, and where it ends.  Raises ValueError."""
    if begin + _COUNT.size > len(data):
        raise ValueError("a directory is too short")
    (count,) = _COUNT.unpack_from(data, begin)
    begin += _COUNT.size
    end = begin + count * _ENTRY.size
    if end > len(data):
        raise ValueError("a directory is shorter than it says")
    entries = _ENTRY.iter_unpack(data[begin:end])
    pieces = tuple(map(Piece._make, entries))
    if any(piece.size > LARGEST or piece.stored < TAG_SIZE for piece in pieces):
        raise ValueError("a directory has a piece of an impossible size")
    return pieces, end


class Ends(NamedTuple):
    """The place of the directory in a bundle."""

    begin: int  # offset in the bundle
    size: int  # bytes, sealed


def directory_place(trailer: bytes, size: int) -> Ends:
    """Return where the directory is in a bundle of *size* bytes that ends in *trailer*.

    Raises BrokenSealError for a place that it cannot have.
    """
    (length,) = _TRAILER.unpack(trailer)
    begin = size - _TRAILER.size - length
    if begin < HEADER_SIZE or length < TAG_SIZE + _COUNT.size:
        raise BrokenSealError("its end does not say where its directory is")
    return Ends(begin, length)


TRAILER_SIZE = _TRAILER.size
