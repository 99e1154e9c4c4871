"""Chunks: the pieces of data that a repository stores once, and names by their content.

A chunk is a *leaf*, whose bytes mean nothing here, or a *node*, which names other chunks and has
bytes of its own.  All chunks of a restore point can be reached from its roots over nodes.  This
package knows no more about them.

The id of a chunk is a keyed digest of its kind and its bytes, so that nobody without the key can
confirm a guess.  The bytes of a node are::

    0   4   number of chunks that it names, n
    4   32  the id of each, n times
    ..      its own bytes

Its own bytes must refer to the others by their numbers, from 0, and never by their ids: in a
copy of the repository the ids are others.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NewType

from collective.recipe.backup.frozen import dataclass

ChunkId = NewType("ChunkId", bytes)
"""32 bytes."""

ID_SIZE = 32

LARGEST = 8 << 20
"""Bytes that a chunk may have."""

LEAF = 1
NODE = 128
"""The least kinds of either.  Those that use this package may have others, up to 127 and 255."""

_COUNT = struct.Struct(">I")


@dataclass(frozen=True)
class Node:
    """A chunk that names others."""

    refs: tuple[ChunkId, ...]  # ids of the chunks that it names, in an order that means something
    payload: bytes  # its own bytes, which this package does not look into


def is_node(kind: int) -> bool:
    """Tell whether chunks of this *kind* name others."""
    return kind >= NODE


def encoded(payload: bytes, refs: Sequence[ChunkId]) -> bytes:
    """Return the bytes of a node."""
    return b"".join([_COUNT.pack(len(refs)), *refs, payload])


def decoded(data: bytes) -> Node:
    """Return what ``encoded`` was given.  Raises ValueError if it was not."""
    if len(data) < _COUNT.size:
        raise ValueError("a node has no number of chunks")
    (count,) = _COUNT.unpack_from(data)
    begin, end = _COUNT.size, _COUNT.size + count * ID_SIZE
    if end > len(data):
        raise ValueError("a node names more chunks than it has room for")
    refs = (ChunkId(data[at : at + ID_SIZE]) for at in range(begin, end, ID_SIZE))
    return Node(tuple(refs), data[end:])
