"""A live ZEO server: people commit, undo and pack, and the backups follow.

What was in the log is known independently of us: before each pack the log gets a second
name, and a log only grows.  It ends by counts, whatever a machine can do in a second.
"""

from __future__ import annotations

import hashlib
import threading
import time
from base64 import encodebytes
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.FileStorage import FileIterator
from ZODB.scripts import repozo

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import DONE, InUse, NoRestorePoint
from collective.recipe.backup.operations.restore import restore
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.repozo.chains import read_directory
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.scripts import PATIENCE, Script, running, wait_until
from collective.recipe.backup.tests.zeo import Zeo
from collective.recipe.backup.times import Tid, tid_at, utcnow

ROUNDS = 4
"""Each with some work, a restore point of it, more work and a pack."""
COMMITS = 40
"""What is committed at least in each third of a round."""
SAMPLE = 12
"""How many states of each kind are restored in the end."""
EVERY = 0.2
"""Seconds between two looks of the backups that follow."""


class Writer(threading.Thread):
    """Somebody who works on the site through ZEO: ``values[name]`` and ``blobs[name]``.

    Both say the same number after each transaction, also if it was undone.
    """

    def __init__(self, zeo: Zeo, name: str, calm: threading.Lock, *, shared: bool) -> None:
        """Take *calm*, a lock that is held from a transaction until it is undone."""
        super().__init__(name=name)
        self.tids: list[Tid] = []
        self.files: dict[tuple[str, str], str] = {}
        self.undone = 0
        self.failure: BaseException | None = None
        self._zeo = zeo
        self._calm = calm
        self._shared = shared
        self._end = threading.Event()

    def run(self) -> None:
        try:
            with self._zeo.client(shared=self._shared) as db:
                while not self._end.wait(0.02):
                    self._work(db)
        except Exception as error:
            self.failure = error
            raise

    def _work(self, db: ZODB.DB) -> None:
        if len(self.tids) % 7 != 3:
            self._commit(db)
            return
        with self._calm:
            self._commit(db)
            db.undo(encodebytes(self.tids[-1]).rstrip(b"\n"))
            transaction.commit()
            self._note(db)
            self.undone += 1

    def _commit(self, db: ZODB.DB) -> None:
        with db.transaction() as connection:
            root = connection.root()
            number = len(self.tids)
            root["values"][self.name].update(
                value=number,
                # garbage for the next pack, with and without a blob
                draft=PersistentMapping({"text": f"draft {number} " * 20}),
                scan=Blob(b"scan %d" % number),
            )
            with root["blobs"][self.name].open("w") as file:
                file.write(content(self.name, number))
        self._note(db)

    def _note(self, db: ZODB.DB) -> None:
        """Remember what was committed: its tid is that of an object that nobody else changes."""
        with db.transaction() as connection:
            root = connection.root()
            mine, blob = root["values"][self.name], root["blobs"][self.name]
            mine._p_activate()
            blob._p_activate()
            for each in (blob, mine["scan"]):
                each._p_activate()
                path = Path(each.committed())
                key = each._p_serial.hex(), each._p_oid.hex()
                self.files[key] = hashlib.sha256(path.read_bytes()).hexdigest()
            self.tids.append(Tid(mine._p_serial))

    def end(self) -> None:
        """Let it come to an end, and say if it went wrong."""
        self._end.set()
        self.join(PATIENCE)
        assert not self.is_alive()
        if self.failure is not None:
            raise self.failure


def content(name: str, number: int) -> bytes:
    """Return what the blob of *name* holds while its value is *number*."""
    return f"{name} {number}\n".encode() * 50


class Log(NamedTuple):
    """What was in a log: its bytes, and for each transaction where it ends."""

    data: bytes
    ends: dict[Tid, int]
    packed: Tid

    @classmethod
    def of(cls, path: Path) -> Log:
        ends, packed = {}, Tid(bytes(8))
        iterator = FileIterator(str(path))
        for each in iterator:
            ends[Tid(each.tid)] = each._tend + 8
            if each.status == "p":
                packed = Tid(each.tid)
        iterator.close()
        return cls(path.read_bytes(), ends, packed)

    def state(self, tid: Tid) -> bytes | None:
        """Return what the log was after *tid*; None if a pack changed what was before it."""
        return self.data[: self.ends[tid]] if tid in self.ends and tid >= self.packed else None


class World:
    """A site that is served by ZEO and followed by backups."""

    def __init__(self, site: Site, zeo: Zeo, operated: Operated) -> None:
        self.site = site
        self.zeo = zeo
        self.operated = operated
        self.writers: list[Writer] = []
        self.calm = threading.Lock()
        self._links: list[Path] = []

    def work(self, commits: int = COMMITS) -> None:
        """Wait until so many more transactions are committed."""
        goal = self._committed() + commits
        wait_until(lambda: self._committed() >= goal, "nobody is working")

    def _committed(self) -> int:
        for writer in self.writers:
            assert writer.failure is None, writer.failure
        return sum(len(writer.tids) for writer in self.writers)

    def last(self) -> Tid:
        """Return the last transaction that somebody knows to be committed."""
        return max(writer.tids[-1] for writer in self.writers)

    def wait_for_restore_point(self, tid: Tid) -> None:
        """Wait until a restore point holds *tid*; those who look never disturb the backups."""

        def there() -> bool:
            return any((point.tid or b"") >= tid for point in self.operated.points())

        wait_until(there, "no backup follows")

    def moment(self) -> float:
        """Return a moment to pack: no transaction before it will be undone after it.

        ZODB packs away what such an undo would bring back.
        """
        with self.calm:
            return time.time()

    def pack(self, at: float) -> None:
        """Pack, after the log got a second name, under which it grows until it is replaced."""
        self._links.append(self.site.directory / f"log-{len(self._links)}")
        self._links[-1].hardlink_to(self.site.filestorage)
        self.zeo.pack(at)

    def logs(self) -> list[Log]:
        """Return what was in each log, oldest first."""
        return [Log.of(path) for path in (*self._links, self.site.filestorage)]


@pytest.fixture
def world(site: Site) -> Iterator[World]:
    names = ("ann", "bob", "eve")
    site.commit(dict.fromkeys(names), {name: content(name, -1) for name in names})
    operated = Operated(site, keep=0)
    with Zeo(site) as zeo, ExitStack() as stack:
        world = World(site, zeo, operated)
        for name in names:
            writer = Writer(zeo, name, world.calm, shared=name != "eve")
            world.writers.append(writer)
            writer.start()
            stack.callback(writer.end)
        yield world


def follower(world: World) -> Script:
    return Script(world.operated.config_path, "backup", "--follow", "--every", EVERY)


def plain_backup(world: World) -> None:
    """Make a backup as cron does; while the other one is at work, it waits for its turn."""

    def done() -> bool:
        script = Script(world.operated.config_path, "backup")
        assert script.wait() in (DONE, InUse.exit_code), script.output
        return script.process.returncode == DONE

    wait_until(done, "there is never a turn")


def test_every_state_of_a_busy_site_comes_back(world: World, tmp_path: Path) -> None:
    promised: list[Tid] = []
    with running(follower(world)) as script:
        for number in range(ROUNDS):
            begin = tid_at(utcnow())
            world.work()
            middle = world.moment()
            world.work()
            if number % 2:
                plain_backup(world)
            last = world.last()
            world.wait_for_restore_point(last)
            promised += [
                tid for writer in world.writers for tid in list(writer.tids) if begin < tid <= last
            ]
            world.work()
            world.pack(middle if number % 2 else world.moment())
        world.work()
        for writer in world.writers:
            writer.end()
        world.wait_for_restore_point(world.last())
        script.process.terminate()
        assert script.wait() == DONE, script.output
    world.zeo.stop()
    plain_backup(world)

    logs = world.logs()
    check_backups(world, logs, tmp_path)
    assert sum(writer.undone for writer in world.writers) > ROUNDS
    others = {tid for writer in world.writers for tid in writer.tids} - {*promised}
    for number, tid in enumerate(sample(sorted(promised))):
        assert check_restore(world, logs, tid, tmp_path / f"promised-{number}")
    for number, tid in enumerate(sample(sorted(others))):
        check_restore(world, logs, tid, tmp_path / f"other-{number}")


def sample(tids: list[Tid]) -> list[Tid]:
    """Return some of *tids*, evenly, the first and the last among them."""
    return [tids[number * (len(tids) - 1) // (SAMPLE - 1)] for number in range(SAMPLE)]


def check_backups(world: World, logs: list[Log], tmp_path: Path) -> None:
    """Check that the backups are sound: for us, and for repozo against what was in the logs."""
    assert list(world.operated.destination().verify(Depth.RECORDS)) == []
    directory = world.operated.place().filestorage
    chains = read_directory(directory).chains
    assert len(chains) >= 2
    for chain in chains:
        target = tmp_path / f"{chain.stamp}.fs"
        repozo.main(["-R", "-r", str(directory), "-D", chain.parts[-1].stamp, "-o", str(target)])
        assert any(log.data.startswith(target.read_bytes()) for log in logs)


def check_restore(world: World, logs: list[Log], tid: Tid, target: Path) -> bool:
    """Check that the state at *tid* comes back exactly; False if no backup could take it."""
    world.operated.now = utcnow()
    try:
        assert restore(world.operated.run("restore"), RestoreOrder(when=tid, to=target))
    except NoRestorePoint:
        return False
    restored = target / "Data.fs"
    assert restored.read_bytes() in [log.state(tid) for log in logs]
    found = contents_of(restored, target / "blobstorage")  # opens every blob of every record
    for writer in world.writers:
        number = found["values"][writer.name]
        number = -1 if number is None else number
        digest = hashlib.sha256(content(writer.name, number)).hexdigest()
        assert found["blobs"][writer.name] == digest
        for key in found["revisions"].keys() & writer.files.keys():
            assert found["revisions"][key] == writer.files[key]
    return True
