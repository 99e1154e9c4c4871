"""Sites that are backed up to a repository, as a destination does it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from collective.recipe.backup import times
from collective.recipe.backup.blobs.layout import Layout, walk
from collective.recipe.backup.destinations.repository import (
    blobpages,
    blobs,
    filesahead,
    newfiles,
    pagedblobs,
)
from collective.recipe.backup.destinations.repository.blobs import (
    NewBlobs,
    store_blobs,
)
from collective.recipe.backup.destinations.repository.logmemory import LogMemory, look_at
from collective.recipe.backup.destinations.repository.logs import (
    NewLog,
    earlier_log,
    store_log,
    stored_log,
)
from collective.recipe.backup.destinations.repository.newfiles import BlobSource
from collective.recipe.backup.destinations.repository.pointblobs import stored_blobs
from collective.recipe.backup.destinations.repository.pointcontents import (
    BlobsPart,
    LogPart,
    PointContents,
)
from collective.recipe.backup.filestorage import blobrecords
from collective.recipe.backup.filestorage.segments import StateLog
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.progress import Silent, ignore
from collective.recipe.backup.repository.healing import heal
from collective.recipe.backup.repository.opened import Repository
from collective.recipe.backup.repository.points import Draft, Point
from collective.recipe.backup.repository.writing import ChunkWriter, write
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.repositories import World
from collective.recipe.backup.times import Tid


class SiteBackups:
    """Restore points of one *site*, whose filestorage is *path*, in the repository of *world*.

    *blobs* is its blobstorage, None: it is not backed up.
    """

    def __init__(
        self,
        world: World,
        path: Path,
        *,
        blobs: Path | None = None,
        site: str = "site",
        cache: str | None = "c",
    ) -> None:
        self.world = world
        self.path = path
        self.blobs = blobs
        self.site = site
        self.cache = cache
        self.added = 0  # bytes of bundles, of the last backup
        self.new: NewLog | None = None  # of the last backup
        self.new_blobs: NewBlobs | None = None  # likewise

    def back_up(self) -> Point | None:
        """Make a restore point; return None if nothing has changed since the newest one."""
        with self.world.open(self.cache) as repository:
            look, control = look_at(self.path), repository.look()
            memory = LogMemory(repository.cache, self.site)
            newest = repository.points.newest(control, self.site)
            if newest is not None and memory.recall(newest.name) == look:
                return None
            with TransactionLog(self.path) as log:
                earlier = earlier_log(repository, control, self.site, log)
                point = write(repository, self.site, lambda writer: self._draft(
                    log, repository, writer, earlier))  # fmt: skip
            memory.remember(point.name, look)
            return point

    def restore_blobs(
        self, point: Point, target: Path, until: Tid | None = None
    ) -> dict[str, bytes]:
        """Copy the blobs of *point*, up to the transaction *until*, to *target*; return them."""
        with self.world.open(self.cache) as repository:
            found = stored_blobs(repository, point, until)
            assert found is not None
            found.copy_into(target, files=Hasty(), progress=Silent())
        return files_of(target)

    def _draft(self, log, repository: Repository, writer: ChunkWriter, earlier) -> Draft:
        before = writer.added
        self.new = new = store_log(log, repository, writer, earlier)
        part = None
        if self.blobs is not None:
            source = BlobSource.at(self.blobs, repository)
            self.new_blobs = store_blobs(log, new, earlier, source, writer)
            part = BlobsPart(root=self.new_blobs.root)
        writer.store_all()
        self.added = writer.added - before
        contents = PointContents(log=LogPart(root=new.root, mode=log.mode), blobs=part)
        now = repository.store.clock()
        return Draft(
            stamp=times.stamp(now),
            claimed=now,
            roots=contents.roots,
            payload=contents.payload(),
            tid=new.state.last.hex(),
            records=new.state.records,
        )

    def restored(self, point: Point, until: Tid | None = None) -> bytes:
        """Return the filestorage of *point*, up to the transaction *until*."""
        with self.world.open(self.cache) as repository:
            return all_of(opened(repository, point, until))


def opened(repository: Repository, point: Point, until: Tid | None = None) -> StateLog:
    log = stored_log(repository, point, until)
    assert log is not None
    return log


def all_of(log: StateLog) -> bytes:
    return b"".join(map(bytes, log.pieces(0, ignore)))


def stored_bytes(world: World) -> int:
    """Return how many bytes the store has."""
    assert isinstance(world.store, MemoryStore)
    return sum(entry.size for entry in world.store.list())


def bundles_of(world: World) -> set[str]:
    """Return the names of all bundles."""
    return {entry.name for entry in world.store.list("bundles/")}


def spoil_bundles(world: World, names: Iterable[str] | None = None) -> None:
    """Damage the chunks of bundles with these *names*, of all by default, and say so by heal."""
    assert isinstance(world.store, MemoryStore)
    spoilt = bundles_of(world) if names is None else set(names)
    for name in spoilt:
        data, stored = world.store.objects[name]
        broken = bytearray(data)
        # but for the header and the directory
        for at in range(50, max(60, len(broken) - 4000), 500):
            broken[at] ^= 1
        world.store.objects[name] = bytes(broken), stored
    with world.open() as repository:
        heal(repository, [bytes.fromhex(name.rpartition("/")[2]) for name in spoilt])


_WITH_PIECES = blobpages, blobs, filesahead, newfiles, pagedblobs


@contextmanager
def small_pages(piece: int = 4096, page: int = 8) -> Iterator[None]:
    """Make pieces of blobs, and pages, small during the body."""
    with ExitStack() as stack:
        for module, name, value in (
            *((module, "PIECE", piece) for module in _WITH_PIECES),
            (blobpages, "PIECES_OF_A_NODE", 3),
            (blobs, "BLOBS_OF_A_PAGE", page),
            (blobs, "_LEAST_OF_A_PAGE", page // 2),
        ):
            stack.enter_context(patch.object(module, name, value))
        yield


def files_of(root: Path) -> dict[str, bytes]:
    """Return the blobs below *root* by their paths."""
    found = walk(root) if root.is_dir() else ()
    return {each.path: (root / each.path).read_bytes() for each in found if each.blob is not None}


def named_in(filestorage: Path) -> set[str]:
    """Return the paths of the blobs that the records of a filestorage name."""
    with TransactionLog(filestorage) as log:
        return {Layout.BUSHY.path(each) for each in blobrecords.blobs(log, 4, log.end().offset)}
