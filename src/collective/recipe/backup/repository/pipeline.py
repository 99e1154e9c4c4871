"""From chunks to bundles in the store, by threads, within bounded memory.

::

    the caller        reads, names chunks and says which are new
    two threads       compress, a batch of about a megabyte at a time
    one thread        seals what they return, in the order in which it came, into a bundle
    threads for puts  make the ID of a bundle that is full, and put it

Compressing, sealing, hashing and putting let other threads run.  Leaves and nodes lie in bundles of
their own, so that a host without a cache reads the structure of the repository with few requests.

Memory: two bundles of leaves for a store that wants one put at a time, one bundle of nodes, and
BEHIND bytes of batches before and after compression.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from collective.recipe.backup.errors import BackupError, RequestsSpent
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.repository.bundles import BundleDirectory, Compressed, NewBundle
from collective.recipe.backup.repository.chunks import ChunkId, is_node
from collective.recipe.backup.repository.compressing import compressed
from collective.recipe.backup.repository.keyring import Keyring
from collective.recipe.backup.repository.names import bundle_name, id_of
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.stores import Store

_COMPRESSORS = 2
_BATCH = 1 << 20
"""Bytes of chunks that one thread compresses at a time; a larger chunk goes alone."""

BEHIND = 12 << 20
"""Bytes of chunks that may wait to be compressed or sealed."""

_FULL_NODES = 8 << 20
_MOST_PUTS = 3
"""Bundles that may be put at the same time, whatever a store wishes: each takes 35 MB."""

Raw = tuple[int, ChunkId, bytes]
"""Kind, id and bytes of a chunk."""


class Durable(NamedTuple):
    """A bundle that the store has."""

    directory: BundleDirectory  # its directory
    size: int  # bytes
    stored: datetime  # when, by the clock of the store


@dataclass(frozen=True)
class _Batch:
    size: int  # bytes of its chunks
    work: Future[None]  # done when all of them are sealed


class Pipeline:
    """Puts chunks into bundles; *done* is called with each bundle once it is durable.

    All methods are for one thread, which is also the one that calls *done*.  An error
    of a put is raised by the call that finds it.
    """

    def __init__(self, store: Store, keyring: Keyring, done: Callable[[Durable], None]) -> None:
        self._store = store
        self._keyring = keyring
        self._done = done
        self._compressors = ThreadPoolExecutor(_COMPRESSORS, "compress")
        self._sealer = ThreadPoolExecutor(1, "seal")
        puts = min(store.promises.parallel, _MOST_PUTS)
        self._putters = ThreadPoolExecutor(puts, "put")
        self._leaves = _Lane(self, None, puts, bulk=True)
        self._nodes = _Lane(self, _FULL_NODES, 1)
        self._raw: list[Raw] = []
        self._raw_size = 0
        self._batches: deque[_Batch] = deque()
        self._waiting = 0  # bytes in the batches
        self._durable: deque[Durable] = deque()  # bundles that the caller does not know of yet
        self.is_unsure = False  # whether the store may have a bundle whose put failed

    def add(self, kind: int, chunk: ChunkId, data: bytes) -> None:
        """Store a chunk; *data* must not change afterwards."""
        self._raw.append((kind, chunk, data))
        self._raw_size += len(data)
        if self._raw_size >= _BATCH:
            self._submit()
            while self._waiting > BEHIND:
                self._wait_for_oldest()

    def flush(self) -> None:
        """Put all chunks that were added; chunks that are added afterwards begin new bundles."""
        self._submit()
        while self._batches:
            self._wait_for_oldest()
        for lane in (self._nodes, self._leaves):
            self._sealer.submit(lane.flush).result()
            self.tell()

    def settle_begun(self) -> None:
        """Wait for the puts that were begun, and begin no more; ``tell`` tells which were done."""
        for threads in (self._compressors, self._sealer):
            threads.shutdown(cancel_futures=True)
        for lane in (self._nodes, self._leaves):
            lane.settle_begun()

    def close(self) -> None:
        """End the threads.  Chunks that were not flushed are not stored."""
        for threads in (self._compressors, self._sealer, self._putters):
            threads.shutdown(cancel_futures=True)
        for lane in (self._nodes, self._leaves):
            lane.close()

    def _submit(self) -> None:
        if self._raw:
            compressing = self._compressors.submit(_compress, self._raw)
            batch = _Batch(self._raw_size, self._sealer.submit(self._seal, compressing))
            self._batches.append(batch)
            self._waiting += batch.size
            self._raw, self._raw_size = [], 0

    def _wait_for_oldest(self) -> None:
        batch = self._batches.popleft()
        self._waiting -= batch.size
        batch.work.result()
        self.tell()

    def tell(self) -> None:
        """Tell which bundles are durable since this was done last."""
        while self._durable:
            self._done(self._durable.popleft())

    def _seal(self, compressing: Future[list[Compressed]]) -> None:
        for stored in compressing.result():
            lane = self._nodes if is_node(stored.kind) else self._leaves
            lane.add(stored)

    def put(self, packing: NewBundle, *, bulk: bool) -> Future[Durable]:
        """Let a thread put a bundle; for lanes."""
        return self._putters.submit(self._put, packing, bulk=bulk)

    def _put(self, packing: NewBundle, *, bulk: bool) -> Durable:
        data, salt, pieces = packing.finish()
        bundle = bytes.fromhex(id_of(data))
        try:
            stored = put(self._store, bundle_name(bundle), data, bulk=bulk)
        except RequestsSpent:  # nothing was sent
            raise
        except BaseException:
            self.is_unsure = True
            raise
        return Durable(BundleDirectory(bundle, salt, pieces), len(data), stored)

    def settle(self, work: Future[Durable]) -> None:
        """Wait until a bundle is durable; the caller learns it when it waits next.  For lanes."""
        self._durable.append(work.result())


class _Lane:
    """Bundles of one kind of chunks: one that is filled, and those that are being put.

    All but ``close`` is for the thread that seals.
    """

    def __init__(
        self, pipeline: Pipeline, full: int | None, puts: int, *, bulk: bool = False
    ) -> None:
        self._pipeline = pipeline
        self._full = full
        self._puts = puts
        self._bulk = bulk
        self._packing: NewBundle | None = None
        self._free: list[NewBundle] = []
        self._putting: deque[tuple[NewBundle, Future[Durable]]] = deque()

    def add(self, stored: Compressed) -> None:
        if self._packing is not None and self._packing.is_full_for(stored):
            self._send()
        if self._packing is None:
            self._packing = self._fresh()
        self._packing.add(stored)

    def _fresh(self) -> NewBundle:
        while len(self._putting) >= self._puts:
            self._settle_oldest()
        if self._free:
            packing = self._free.pop()
            packing.again()
            return packing
        return self._new()

    def _new(self) -> NewBundle:
        keyring = self._pipeline._keyring
        return NewBundle(keyring) if self._full is None else NewBundle(keyring, self._full)

    def _send(self) -> None:
        packing, self._packing = self._packing, None
        if packing is not None:
            self._putting.append((packing, self._pipeline.put(packing, bulk=self._bulk)))

    def _settle_oldest(self) -> None:
        packing, work = self._putting.popleft()
        self._free.append(packing)
        self._pipeline.settle(work)

    def flush(self) -> None:
        self._send()
        while self._putting:
            self._settle_oldest()

    def settle_begun(self) -> None:
        while self._putting:
            with suppress(BackupError):
                self._settle_oldest()

    def close(self) -> None:
        every = [*self._free, *(packing for packing, _work in self._putting)]
        for packing in every if self._packing is None else [*every, self._packing]:
            packing.close()


def _compress(batch: Sequence[Raw]) -> list[Compressed]:
    return [Compressed(kind, *compressed(data), len(data), chunk) for kind, chunk, data in batch]
