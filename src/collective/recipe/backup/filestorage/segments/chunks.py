"""The seam to whatever stores the pieces of segments, record indexes and pages of spans.

A *chunk* is a byte string that is named by its content: equal chunks of one kind have one name
and are stored once.  This package puts chunks and gets them again.  It does not know where
they lie, nor how they are compressed or encrypted.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

NAME_SIZE = 32
"""Bytes of the name of a chunk."""

GREATEST = 1 << 22
"""Bytes of the largest chunk that this package puts: 4 MiB."""


class ChunkKind(Enum):
    """What a chunk is; the value is the word for it in messages."""

    SEGMENT = "segment"  # bytes of a log, a whole segment or a piece of one
    INDEX = "record index"  # a record index, or a piece of one
    SPANS = "page of spans"  # a part of a state


class Chunks(Protocol):
    """Puts and gets chunks.  Names have 32 bytes."""

    def put(self, kind: ChunkKind, data: bytes) -> bytes:
        """Keep *data* and return their name, which depends on nothing but kind and data.

        When this returns, ``get`` may be asked for them.  Whether they are durable is up to the
        caller, who must see to that before the state that needs them is stored.
        """

    def get(self, kind: ChunkKind, name: bytes) -> bytes:
        """Return exactly what was put under *name*.

        Raises IntegrityError if it is missing or damaged.
        """
