"""A standby behind a busy source, both killed at random: how far it is behind, what is lost.

``python -m benchmarks.standby --scratch DIRECTORY`` lets a site commit 20 times a second.  One
process follows it into a repository, another one keeps a copy.  Both are killed by SIGKILL, one
or the other every few seconds, and started again at once.  The source is packed now and then.

    behind    from the moment at which a restore point is told to be stored until the copy has it
    lost      a restore point that the copy had and has no more, or a blob that it lacks
    fsync     of 4 KB each quarter of a second, beside it: how long the disk lets anybody wait

While the standby is down, ZODB opens the copy read-only and each blob of it is looked up.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import transaction
import ZODB.FileStorage
from BTrees.OOBTree import OOBTree
from ZODB.blob import Blob, is_blob_record

from benchmarks.measuring import compile_ours

_PROGRAM = str(Path(sys.executable).with_name("sitebackup"))
_COMMITS = 20
"""Commits of the source in a second."""
_PACKS = 60
"""Seconds between two packs of the source."""
_PATIENCE = 180
"""Seconds after which the copy should have all that there is, however busy the disk is."""
_QUIET = 20
"""Seconds without a new restore point, after which there is none to come."""
_KEPT = 1000
"""Each fifth commit has a blob, which takes the place of one that is so many commits old."""


class Service:
    """A process that is started again when it was killed, and tells what it has done."""

    def __init__(self, name: str, place: Path, command: list[str]) -> None:
        self.name = name
        self.told: dict[str, float] = {}  # when each restore point was told of
        self._place = place
        self._command = [_PROGRAM, *command]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._address = place / f"{name}.socket"
        self._address.unlink(missing_ok=True)
        self._socket.bind(str(self._address))
        self._socket.setblocking(False)
        self.starts: list[float] = []
        self._process = self._started()

    def again(self) -> None:
        """Start it once more."""
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        self.starts.append(time.monotonic())
        with (self._place / f"{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                self._command,
                cwd=self._place,
                stderr=log,
                stdout=log,
                env={"NOTIFY_SOCKET": str(self._address), "PATH": "/usr/bin:/bin"},
            )

    def kill(self) -> None:
        """Kill it at once."""
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """Ask it to end."""
        self._process.terminate()
        return self._process.wait()

    def listen(self) -> None:
        """Take what it has told since the last time.  Raises RuntimeError if it has ended."""
        with suppress(BlockingIOError):
            while True:
                words = self._socket.recv(4096).decode().split()
                if "point" in words:
                    self.told.setdefault(words[words.index("point") + 1], time.monotonic())
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} has ended by itself: see its log in {self._place}")


class Probe(threading.Thread):
    """Waits for the disk again and again, and knows how long that took at most."""

    def __init__(self, place: Path) -> None:
        super().__init__(daemon=True)
        self.slowest = 0.0
        self._path = place / "probe"

    def run(self) -> None:
        """Do it until the process ends."""
        with self._path.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
                began = time.monotonic()
                os.fsync(file.fileno())
                self.slowest = max(self.slowest, time.monotonic() - began)
                time.sleep(0.25)


def commit(filestorage: str, blobs: str, seconds: str) -> None:
    """Be the source: commit for so many *seconds*."""
    end = time.monotonic() + float(seconds)
    packed, number = time.monotonic(), 0
    storage = ZODB.FileStorage.FileStorage(filestorage, blob_dir=blobs)
    with closing(ZODB.DB(storage)) as db, closing(db.open()) as connection:
        tree = connection.root()["tree"] = OOBTree()
        while (began := time.monotonic()) < end:
            number += 1
            tree[number] = "x" * 500
            if number % 5 == 0:
                blob = tree[-(number % _KEPT)] = Blob()
                with blob.open("w") as file:
                    file.write(b"%d" % number * 1000)
            transaction.commit()
            if began - packed > _PACKS:
                db.pack()
                packed = time.monotonic()
            time.sleep(max(0.0, 1 / _COMMITS - (time.monotonic() - began)))
    print(f"commits: {number}, {number / float(seconds):.1f} a second")


def looked_through(copy: Path) -> tuple[bytes, int]:
    """Return the last transaction of the *copy*, and how many blobs of it are missing."""
    missing = 0
    blobs = str(copy / "blobs")
    with closing(
        ZODB.FileStorage.FileStorage(str(copy / "Data.fs"), read_only=True, blob_dir=blobs)
    ) as storage:
        for one in storage.iterator():
            for record in one:
                if record.data and is_blob_record(record.data):
                    path = storage.fshelper.getBlobFilename(record.oid, record.tid)
                    missing += not Path(path).is_file()
        return storage.lastTransaction(), missing


def made(scratch: Path) -> tuple[Path, Path]:
    """Return the directories of two machines with one repository."""
    places = scratch / "source", scratch / "standby"
    shutil.rmtree(scratch, ignore_errors=True)
    for place in places:
        place.mkdir(parents=True)
        (place / "sitebackup.toml").write_text(
            f'datafs = "{place}/Data.fs"\nblob_storage = "{place}/blobs"\n'
            f'repository = "far {scratch}/far"\nsite_name = "site"\nlocation = "none"\n'
        )
    subprocess.run(
        [_PROGRAM, "repository", "init", "--unencrypted", "-n"],
        cwd=places[0],
        check=True,
    )
    return places


def run(scratch: Path, seconds: float, every: float, seed: int) -> bool:
    """Do it for so many *seconds*; print what came of it, and return whether all is well."""
    chance = random.Random(seed)
    source, place = made(scratch)
    copy = place / "copy"
    code = "import sys; from benchmarks.standby import commit; commit(*sys.argv[1:])"
    site = subprocess.Popen(
        [sys.executable, "-c", code, str(source / "Data.fs"), str(source / "blobs"), str(seconds)]
    )
    time.sleep(2)
    follow = Service("follow", source, ["backup", "--follow", "--every", "0.5", "--to", "far"])
    stand = ["standby", "--from", "far", "--to", str(copy), "--every", str(every)]
    standby = Service("standby", place, stand)
    services = follow, standby
    probe = Probe(scratch)
    probe.start()
    kills, lost, last, opened = 0, 0, b"", 0
    next_kill = time.monotonic() + 15
    while site.poll() is None:
        for each in services:
            each.listen()
        if time.monotonic() >= next_kill:
            each = chance.choice(services)
            each.kill()
            kills += 1
            if each is standby and (copy / "Data.fs").exists():
                tid, missing = looked_through(copy)
                lost += missing + (tid < last)
                last, opened = tid, opened + 1
            each.again()
            next_kill = time.monotonic() + chance.uniform(2, 12)
        time.sleep(0.02)
    slowest = probe.slowest
    _settle(services)
    same = (copy / "Data.fs").read_bytes() == (source / "Data.fs").read_bytes()
    lost += looked_through(copy)[1]
    behind, undisturbed = _behind(follow, standby)
    print(f"restore points stored: {len(follow.told)}, killed: {kills}, opened then: {opened}")
    print(f"behind, at most: {max(undisturbed):.2f} s, with a kill between: {max(behind):.2f} s")
    print(f"slowest fsync of 4 KB beside it: {slowest:.2f} s")
    print(f"half of them: {sorted(undisturbed)[len(undisturbed) // 2]:.2f} s or less")
    print(f"lost: {lost}; the copy is the source in the end: {same}")
    promotion = [_PROGRAM, "standby", "--to", str(copy), "--promote"]
    subprocess.run(promotion, cwd=place, check=True)
    return same and not lost and max(undisturbed) <= every + 2


def _settle(services: tuple[Service, Service]) -> None:
    """Let what was committed last come to the copy, and end both."""
    follow, standby = services
    quiet = time.monotonic()
    stored = len(follow.told)
    end = quiet + _PATIENCE
    while time.monotonic() < end:
        for each in services:
            each.listen()
        if len(follow.told) != stored:
            stored, quiet = len(follow.told), time.monotonic()
        has_all = max(standby.told, default="") >= max(follow.told, default="")
        if has_all and time.monotonic() > quiet + _QUIET:
            break
        time.sleep(0.02)
    for each in services:
        each.end()


def _behind(follow: Service, standby: Service) -> tuple[list[float], list[float]]:
    """Return how long it took until the copy had each restore point: all, and undisturbed."""
    every, undisturbed = [], []
    for stamp, stored in follow.told.items():
        there = min((moment for other, moment in standby.told.items() if other >= stamp), default=0)
        if there:
            every.append(there - stored)
            if not any(stored <= start <= there for start in standby.starts):
                undisturbed.append(there - stored)
    return every, undisturbed


def main() -> int:
    """Run it as the arguments say; return 0 if nothing was lost and the copy kept up."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.standby")
    parser.add_argument("--scratch", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--minutes", type=float, default=5, help="how long (%(default)s)")
    parser.add_argument("--every", type=float, default=2, help="of the standby (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the kills (%(default)s)")
    given = parser.parse_args()
    compile_ours()
    return 0 if run(given.scratch.resolve(), given.minutes * 60, given.every, given.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
