"""Reading chunks: each from the one range of a bundle where it lies, neighbours together.

All bytes that are returned are proved: the seal is that of this repository and of this place, and
the id is that of the bytes.  Where a place fails, the others are tried, and then the catalogs are
read again, because a bundle may have been written anew meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.repository.chunks import ChunkId, Node, decoded
from collective.recipe.backup.repository.compressing import decompressed
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.names import bundle_name
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.places import ChunkPlace
from collective.recipe.backup.repository.ranges import (
    NOWHERE,
    PLAIN,
    ChunkRange,
    Wanted,
    range_of,
    ranges_of,
)
from collective.recipe.backup.repository.sealing import BrokenSealError, Role, Seal, Sort
from collective.recipe.backup.stores import NoSuchObject

_THREADS = 2
"""Threads that get and decode, if a store wishes for no more."""


def opened_chunk(keyring: Keyring, seal: Seal, wanted: Wanted, sealed: bytes | memoryview) -> bytes:
    """Return the bytes of a chunk, proved; *seal* is that of its bundle.

    Raises BrokenSealError.
    """
    chunk, place = wanted
    stored = seal.opened(Role.CHUNK, place.offset, sealed)
    try:
        data = decompressed(place.form, stored, place.size)
    except ValueError as error:
        raise BrokenSealError(str(error)) from error
    if keyring.chunk_id(place.kind, data) != chunk:
        raise BrokenSealError("a chunk is not what its id says")
    return data


class ChunkReader:
    """Reads chunks of one repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        promises = repository.store.promises
        self._gap = promises.gap
        self._threads = max(_THREADS, promises.parallel)

    def get(self, chunk: ChunkId) -> bytes:
        """Return the bytes of one chunk.

        Raises IntegrityError if it is nowhere, or damaged wherever it is.
        """
        [(_chunk, data)] = self.each([chunk])
        return data

    def node(self, chunk: ChunkId) -> Node:
        """Return a node.  Raises IntegrityError."""
        [node] = self.nodes([chunk])
        return node

    def nodes(self, chunks: Iterable[ChunkId]) -> Iterator[Node]:
        """Yield nodes in the order of *chunks*, read ahead.  Raises IntegrityError."""
        for chunk, data in self.each(chunks):
            try:
                yield decoded(data)
            except ValueError as error:
                raise self._lost(chunk, str(error)) from error

    def each(self, chunks: Iterable[ChunkId]) -> Iterator[tuple[ChunkId, bytes]]:
        """Yield *chunks* in their order with their bytes, read ahead.

        Raises IntegrityError at the first that is nowhere, or damaged wherever it is.
        """
        for chunk, data in self.whichever(chunks):
            if isinstance(data, IntegrityError):
                raise data
            yield chunk, data

    def whichever(
        self, chunks: Iterable[ChunkId], *, scattered: bool = False
    ) -> Iterator[tuple[ChunkId, bytes | IntegrityError]]:
        """Yield *chunks* in their order, each with its bytes or the error of reading it.

        If they are *scattered*, what lies between them is not read: several come at a time.
        """
        ranges = ranges_of(chunks, self._repository.index, 0 if scattered else self._gap)
        some = list(islice(ranges, 2))
        if len(some) < 2:
            # for one there is nothing to do ahead
            for each in some:
                yield from self._proved(each, self._read(each))
            return
        yield from self._ahead(chain(some, ranges))

    def _ahead(
        self, ranges: Iterable[ChunkRange]
    ) -> Iterator[tuple[ChunkId, bytes | IntegrityError]]:
        """Yield the chunks of *ranges*, which threads read ahead: each holds one at most."""
        with ThreadPoolExecutor(self._threads, "read") as pool:
            waiting: deque[tuple[ChunkRange, Future[list[bytes | BrokenSealError]]]] = deque()
            ahead = 0
            try:
                for each in ranges:
                    waiting.append((each, pool.submit(self._read, each)))
                    ahead += each.size
                    while ahead > self._threads * PLAIN:
                        oldest, work = waiting.popleft()
                        ahead -= oldest.size
                        yield from self._proved(oldest, work.result())
                while waiting:
                    oldest, work = waiting.popleft()
                    yield from self._proved(oldest, work.result())
            finally:
                for _range, work in waiting:
                    work.cancel()

    def _proved(
        self, wanted: ChunkRange, found: Iterable[bytes | BrokenSealError]
    ) -> Iterator[tuple[ChunkId, bytes | IntegrityError]]:
        for (chunk, place), data in zip(wanted.wanted, found, strict=True):
            yield (
                chunk,
                self._elsewhere(chunk, place) if isinstance(data, BrokenSealError) else data,
            )

    def _read(self, wanted: ChunkRange) -> list[bytes | BrokenSealError]:
        """Read a range; return, for each chunk, its bytes or the error of opening it."""
        first = wanted.wanted[0][1]
        if first is NOWHERE:
            return [BrokenSealError("no catalog has it") for _each in wanted.wanted]
        try:
            name = bundle_name(first.bundle)
            data = self._repository.store.get(name, wanted.begin, wanted.end - wanted.begin)
        except (NoSuchObject, IntegrityError):
            if len(wanted.wanted) == 1:
                return [BrokenSealError("its bundle is gone, cut short or cannot be read")]
            # of a bundle that was cut short, the bytes before its end can be read
            return [data for each in wanted.wanted for data in self._read(range_of([each]))]
        return self._opened(wanted, data)

    def _opened(self, wanted: ChunkRange, data: bytes) -> list[bytes | BrokenSealError]:
        keyring = self._repository.keyring
        seal = keyring.seal(Sort.BUNDLE, wanted.wanted[0][1].salt)
        found: list[bytes | BrokenSealError] = []
        with memoryview(data) as view:
            for each in wanted.wanted:
                begin = each[1].offset - wanted.begin
                with view[begin : begin + each[1].stored] as sealed:
                    try:
                        found.append(opened_chunk(keyring, seal, each, sealed))
                    except BrokenSealError as error:
                        found.append(error)
        return found

    def _elsewhere(self, chunk: ChunkId, tried: ChunkPlace) -> bytes | IntegrityError:
        """Return a chunk from another place than *tried*, or the error of reading it."""
        problems = {tried: "it cannot be read there"}
        self._doubt(tried)
        for refresh in (False, True):
            if refresh:
                self._repository.index.refresh()
            for place in dict(self._repository.index.of([chunk])).get(chunk, []):
                if place in problems:
                    continue
                [data] = self._read(range_of([(chunk, place)]))
                if not isinstance(data, BrokenSealError):
                    return data
                problems[place] = str(data)
                self._doubt(place)
        bundles = [bundle_name(place.bundle) for place in problems if place is not NOWHERE]
        why = (
            f"it is damaged or gone in {' and '.join(bundles)}" if bundles else "no catalog has it"
        )
        return self._lost(chunk, why)

    def _doubt(self, place: ChunkPlace) -> None:
        if place is not NOWHERE:
            self._repository.index.doubt([place.bundle])

    def _lost(self, chunk: ChunkId, why: str) -> IntegrityError:
        return IntegrityError(
            f"a piece of the repository cannot be read: {why}",
            where=f"{self._repository.store.location}: {chunk.hex()}",
            hint="heal stores again what can be read, and what the site or its other backups have",
        )
