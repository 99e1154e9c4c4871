"""The chunks of logs in a repository, got and stored."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from collective.recipe.backup.destinations.repository.kinds import LOG, RECORD_INDEX, SEGMENT, SPANS
from collective.recipe.backup.destinations.repository.sinks import ChunkSink
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.segments import ChunkKind, Chunks, ChunkStore, Linked
from collective.recipe.backup.repository.chunks import ChunkId
from collective.recipe.backup.repository.reading import ChunkReader

_KINDS = {ChunkKind.SEGMENT: SEGMENT, ChunkKind.INDEX: RECORD_INDEX, ChunkKind.SPANS: SPANS}


class StoredChunks(Chunks):
    """The chunks of logs in a repository."""

    def __init__(self, reader: ChunkReader) -> None:
        self._reader = reader

    def get(self, kind: ChunkKind, name: bytes) -> bytes:  # noqa: ARG002  the name has it
        """Return a chunk."""
        return self._reader.get(ChunkId(name))

    def get_linked(self, kind: ChunkKind, name: bytes) -> Linked:  # noqa: ARG002  as above
        """Return a chunk that names others."""
        node = self._reader.node(ChunkId(name))
        return Linked(node.refs, node.payload)

    def ahead(
        self,
        kind: ChunkKind,
        names: Iterable[bytes],
    ) -> Generator[tuple[bytes, bytes | IntegrityError], None, None]:
        """Yield chunks in their order, each with its bytes or the error of reading it."""
        # between the record indexes of segments lie the segments, which are far larger
        scattered = kind is ChunkKind.INDEX
        yield from self._reader.whichever(map(ChunkId, names), scattered=scattered)


class UnusableError(Exception):
    """The log or list of an earlier restore point cannot be read, or must not be built upon."""


class NewChunks(StoredChunks, ChunkStore):
    """The chunks of a log that is being stored."""

    def __init__(self, reader: ChunkReader, writer: ChunkSink) -> None:
        super().__init__(reader)
        self._writer = writer

    def get(self, kind: ChunkKind, name: bytes) -> bytes:
        """Return a chunk of the earlier log."""
        try:
            return super().get(kind, name)
        except IntegrityError as error:
            raise UnusableError from error

    def get_linked(self, kind: ChunkKind, name: bytes) -> Linked:
        """Return a chunk of the earlier log that names others."""
        try:
            return super().get_linked(kind, name)
        except IntegrityError as error:
            raise UnusableError from error

    def put(self, kind: ChunkKind, data: bytes) -> bytes:
        """Store a chunk, unless it is stored."""
        return self._writer.add(_KINDS[kind], data)

    def put_linked(self, kind: ChunkKind, linked: Linked) -> bytes:
        """Store a chunk that names others, unless it is stored."""
        return self._put_node(_KINDS[kind], linked)

    def put_root(self, root: Linked) -> ChunkId:
        """Store the root of a state, unless it is stored."""
        return self._put_node(LOG, root)

    def _put_node(self, kind: int, linked: Linked) -> ChunkId:
        names = [ChunkId(name) for name in linked.names]
        return self._writer.add_node(linked.data, names, kind)
