"""The sink for chunks of a restore point: the protocol that makers of chunks write to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from collective.recipe.backup.repository.chunks import ChunkId, encoded
from collective.recipe.backup.repository.keyring import Keyring


class ChunkSink(Protocol):
    """Takes chunks, and returns their ids; see ``repository.writing.ChunkWriter``."""

    def add(self, kind: int, data: bytes) -> ChunkId:
        """Take a leaf."""

    def add_node(self, payload: bytes, refs: Sequence[ChunkId], kind: int) -> ChunkId:
        """Take a node that names the chunks *refs*."""


class LostNodes:
    """Stores nothing, but keeps the nodes among *lost*; see ChunkSink."""

    def __init__(self, keyring: Keyring, lost: Collection[ChunkId]) -> None:
        self._keyring = keyring
        self._lost = lost
        self.found: dict[ChunkId, tuple[int, bytes]] = {}  # kind and bytes of each

    def add(self, kind: int, data: bytes) -> ChunkId:
        """Let a leaf go."""
        return self._keyring.chunk_id(kind, data)

    def add_node(self, payload: bytes, refs: Sequence[ChunkId], kind: int) -> ChunkId:
        """Keep a node if it is lost."""
        data = encoded(payload, refs)
        chunk = self._keyring.chunk_id(kind, data)
        if chunk in self._lost:
            self.found[chunk] = kind, data
        return chunk
