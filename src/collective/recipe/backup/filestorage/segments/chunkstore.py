"""The interface to a store of chunks: pieces of segments, record indexes and pages of spans.

A *chunk* is a byte string that is named by its content: equal chunks of one kind have one name
and are stored once.  This package puts chunks and gets them again.  It does not know where
they lie, nor how they are compressed or encrypted.

A chunk that names others lists their names, and refers to them by their numbers.  So a store of
chunks knows which others a chunk needs, and may give them other names in a copy.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from enum import Enum
from typing import NamedTuple, Protocol

from collective.recipe.backup.errors import IntegrityError

GREATEST = 1 << 22
"""Bytes of the largest chunk that this package puts: 4 MiB."""


class ChunkKind(Enum):
    """The kinds of chunks; the value is the word for messages."""

    SEGMENT = "segment"  # bytes of a log, a whole segment or a piece of one
    INDEX = "record index"  # a record index, or a piece of one
    SPANS = "page of spans"  # a part of a state


class Linked(NamedTuple):
    """Bytes that name chunks."""

    names: tuple[bytes, ...]  # each once, in the order in which *data* first have its number
    data: bytes  # a chunk is the number of its name, from 0


class Chunks(Protocol):
    """Gets chunks.  Names have 32 bytes.

    Those that get one raise IntegrityError if it is missing or damaged.
    """

    def get(self, kind: ChunkKind, name: bytes) -> bytes:
        """Return exactly the bytes that were put under *name*."""

    def get_linked(self, kind: ChunkKind, name: bytes) -> Linked:
        """Return exactly the chunk that was put under *name*, together with the names in it."""

    def ahead(
        self, kind: ChunkKind, names: Iterable[bytes]
    ) -> Generator[tuple[bytes, bytes | IntegrityError], None, None]:
        """Yield each of *names* with its bytes, or the error of getting them.

        They come in their order.  Some are got before they are asked for.
        """


class ChunkStore(Chunks, Protocol):
    """Puts chunks as well.

    Nothing that a capture puts is got before it has ended.  To see to it that all is durable
    before the state that needs it is stored is up to the caller.
    """

    def put(self, kind: ChunkKind, data: bytes) -> bytes:
        """Keep *data* and return their name, which depends on nothing but kind and data."""

    def put_linked(self, kind: ChunkKind, linked: Linked) -> bytes:
        """Keep a chunk that names others, and return its name; the others were put before."""
