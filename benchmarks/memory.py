"""The memory that each verb of a repository takes, with many blobs and with one large one.

``python -m benchmarks.memory --scratch DIRECTORY [--blobs N] [--large GB] [--bucket]`` makes a
site of N blobs of 100 bytes and one of so many GB, a hole on the disk, and lets ours alone do with
an encrypted repository what can be done with it: each verb once.  With 400,000 blobs it takes
3 GB of disk, and with a large one once as many GB as that has.  With ``--bucket`` the repository
lies in a bucket of SeaweedFS on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import ZODB
from ZODB.FileStorage import FileStorage
from ZODB.utils import p64, u64

from benchmarks.bucketkeepers import credentials
from benchmarks.bucketserver import Server, running
from benchmarks.measuring import compile_ours, take
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.tests.logs import framed, record
from collective.recipe.backup.times import ZERO_TID, Tid

MEGABYTES = 200
"""That any verb may take."""

SMALL = 100
"""Bytes of a blob."""

PAIR = ("third", "fourth")
"""Repositories that are backed up to at the same time."""

_OF_A_COMMIT = 10
_BLOB = b"cZODB.blob\nBlob\nq\x01.N."
"""The record of one."""
_PASSPHRASE = "correct horse battery staple"  # noqa: S105  of a site that is made up
_PROGRAM = Path(sys.executable).with_name("sitebackup")


class Memory:
    """A site in *scratch* with its repository, and a second one to copy to.

    They are directories there, or buckets of a *server*.
    """

    def __init__(self, scratch: Path, server: Server | None) -> None:
        self._scratch = scratch
        self._server = server
        self._site = scratch / "site"
        self._configuration = scratch / "sitebackup.toml"
        self._oids = 1_000
        self._last = ZERO_TID

    def fill(self, blobs: int, large: int) -> None:
        """Make the site with so many *blobs*, and one of *large* GB."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._site.mkdir(parents=True)
        (self._scratch / "logs").mkdir()
        (self._scratch / "passphrase").write_text(f"{_PASSPHRASE}\n")
        (self._scratch / "passphrase").chmod(0o600)
        settings = {
            "datafs": str(self._site / "Data.fs"),
            "blob_storage": str(self._site / "blobstorage"),
            "locationprefix": str(self._scratch / "cache"),
            "location": "none",
            "repository": self._url("repository"),
            "repository_passphrase_file": str(self._scratch / "passphrase"),
            "site_name": "benchmark",
        }
        lines = (f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
        self._configuration.write_text("".join(lines))
        if self._server is not None:
            os.environ.update(each.split("=", 1) for each in credentials())
            os.environ["AWS_ENDPOINT_URL"] = self._server.direct
            for bucket in ("repository", "second", *PAIR):
                self._server.make(bucket)
        self.grow(blobs, large)

    def _url(self, name: str) -> str:
        return str(self._scratch / name) if self._server is None else f"s3://{name}/benchmark"

    def grow(self, blobs: int, large: int = 0) -> None:
        """Add so many *blobs* to the site, and one of *large* GB.

        They are written as ZODB would write them, which takes far longer for that.
        """
        filestorage, blobstorage = self._site / "Data.fs", self._site / "blobstorage"
        with closing(FileStorage(str(filestorage), blob_dir=str(blobstorage))) as storage:
            ZODB.DB(storage)  # which makes the root object
            self._last = Tid(storage.lastTransaction())
        (self._site / "Data.fs.index").unlink()
        chance = random.Random(blobs)
        with filestorage.open("ab") as file:
            for begin in range(0, blobs, _OF_A_COMMIT):
                self._last = Tid(p64(u64(self._last) + 1))
                records = bytearray()
                for _number in range(begin, min(begin + _OF_A_COMMIT, blobs)):
                    self._oids += 1
                    records += record(file.tell(), self._last, oid=self._oids, data=_BLOB)
                    path = self._path(self._oids)
                    path.write_bytes(chance.randbytes(SMALL))
                file.write(framed(self._last, bytes(records)))
            if large:
                os.truncate(path, large << 30)

    def _path(self, oid: int) -> Path:
        """Return where a blob of the last transaction goes; its directory is there."""
        path = self._site / "blobstorage" / Layout.BUSHY.path(BlobId(Oid(p64(oid)), self._last))
        path.parent.mkdir(parents=True)
        return path

    def steps(self) -> Iterator[tuple[str, list[str | Path]]]:
        """Yield a title and a command for each, and prepare for it."""
        main = ("--from", "repository")
        repositories = [f"{name} {self._url(name)}" for name in ("repository", "second")]
        both = ("--set", "repository=" + "\n".join(repositories))
        pair = ("--set", "repository=" + "\n".join(f"{it} {self._url(it)}" for it in PAIR))
        yield "init", ["repository", "init"]
        yield "first backup", ["backup"]
        yield "nothing changed", ["backup"]
        self.grow(2_000)
        yield "after a day", ["backup"]
        yield "list", ["list", *main]
        yield "status", ["status"]
        yield "doctor", ["doctor"]
        yield "verify", ["verify", *main]
        yield "scrub", ["repository", "scrub"]
        self._damage()
        yield "heal", ["repository", "heal"]
        yield "init the second", ["repository", "init", "second", *both]
        yield "copy", ["repository", "copy", "repository", "--to", "second", *both]
        for name in PAIR:
            yield f"init the {name}", ["repository", "init", name, *pair]
        yield "first backup to both of these", ["backup", *pair]
        for name in ("second", *PAIR):
            shutil.rmtree(self._scratch / name, ignore_errors=True)
        shutil.rmtree(self._site)
        yield "rehearse", ["rehearse", *main]
        yield "restore into the empty", ["restore", "--no-prompt", *main]
        self._lose()
        yield "restore over the rest", ["restore", "--no-prompt", *main]
        yield "prune", ["prune", *main, "--yes", "--set", "repository_keep_within=0h"]
        yield "collect", ["repository", "collect"]

    def _damage(self) -> None:
        """Turn a bit of the largest object of the store."""
        if self._server is not None:
            self._server.spoil("repository")
            return
        objects = (path for path in (self._scratch / "repository").rglob("*") if path.is_file())
        largest = max(objects, key=lambda path: path.stat().st_size)
        with largest.open("r+b") as file:
            file.seek(largest.stat().st_size // 2)
            [byte] = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))

    def _lose(self) -> None:
        """Remove a hundred blobs of the site."""
        for number, path in enumerate((self._site / "blobstorage").rglob("*.blob")):
            if number == 100:
                return
            path.unlink()

    def measure(self, title: str, arguments: list[str | Path]) -> bool:
        """Print what a command takes; return whether that is not too much."""
        command = [_PROGRAM, *arguments, "--quiet", "--config", self._configuration]
        taken = take(command, self._scratch / "logs" / "memory.log")
        print(f"{title:<30} {taken.memory / 1e6:6.0f} MB {taken.seconds:8.2f} s", flush=True)
        return taken.memory <= MEGABYTES * 1_000_000


def main() -> int:
    """Make the site, measure, and print what each verb took; return 0 if none took too much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory")
    parser.add_argument("--scratch", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--blobs", type=int, default=40_000, help="small ones (%(default)s)")
    parser.add_argument("--large", type=int, default=0, help="GB of one more (%(default)s: none)")
    parser.add_argument("--bucket", action="store_true", help="in a bucket, not a directory")
    namespace = parser.parse_args()
    scratch = namespace.scratch.resolve()
    compile_ours()
    with ExitStack() as stack:
        server = stack.enter_context(running(scratch / "server")) if namespace.bucket else None
        memory = Memory(scratch / "memory", server)
        memory.fill(namespace.blobs, namespace.large)
        # a step is prepared when the one before it is done
        fits = [memory.measure(title, arguments) for title, arguments in memory.steps()]
    return 0 if all(fits) else 1


if __name__ == "__main__":
    sys.exit(main())
