"""Whether time and memory stay what they are when a filestorage is many times as large.

``python -m benchmarks.large --scratch DIRECTORY [--size MEGABYTES]`` writes a log of that
size, transaction by transaction, without ZODB, and measures ours alone: a full backup,
nothing changed, a day, verify and restore.  Each object of the log is written once.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from benchmarks import contestants
from benchmarks.measuring import compile_ours, take
from benchmarks.site import FOUNDED, Texts
from benchmarks.states import States
from collective.recipe.backup.tests.logs import MAGIC, framed, record
from collective.recipe.backup.times import tid_at

RECORDS = 12
"""Of a transaction."""
A_DAY = 20_000_000


def main() -> None:
    """Write the log, measure, and print what each work took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large")
    parser.add_argument("--scratch", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--size", type=int, default=10_000, help="MB of Data.fs (%(default)s)")
    namespace = parser.parse_args()
    scratch = namespace.scratch.resolve()
    compile_ours()
    states = States(scratch / "site")
    states.filestorage.parent.mkdir(parents=True, exist_ok=True)
    for directory in (states.blobstorage, scratch / "logs"):
        directory.mkdir(exist_ok=True)
    ours = contestants.ours(scratch, states)
    shutil.rmtree(ours.backups("filestorage"), ignore_errors=True)
    log = Log(states.filestorage)
    log.grow(namespace.size * 1_000_000)
    backup = [ours.script("filestorage"), "--quiet"]
    _measure(scratch, "full backup with gzip", backup)
    _measure(scratch, "nothing changed", backup)
    log.grow(namespace.size * 1_000_000 + A_DAY)
    _measure(scratch, "after a day", backup)
    _measure(scratch, "verify", [ours.script("filestorage-verify"), "--quiet"])
    restored = scratch / "restored"
    shutil.rmtree(restored, ignore_errors=True)
    restore = [ours.script("filestorage-restore"), "--quiet", "--no-prompt", "--to", restored]
    _measure(scratch, "restore with verification", restore)
    os.truncate(restored / "Data.fs", namespace.size * 1_000_000 // 2)
    _measure(scratch, "restore over the first half", restore)


class Log:
    """A Data.fs that is written anew, and grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._transactions = self._made(random.Random(7))
        path.write_bytes(MAGIC)

    def grow(self, size: int) -> None:
        """Add transactions until there are *size* bytes."""
        with self._path.open("ab") as file:
            while file.tell() < size:
                self._begin = file.tell()
                file.write(next(self._transactions))

    def _made(self, chance: random.Random) -> Iterator[bytes]:
        texts = Texts(chance)
        text = texts.written(texts.text(2_000_000)).encode("ascii")
        moment, number = FOUNDED, 0
        while True:
            moment += timedelta(seconds=10)
            tid = tid_at(moment)
            records = bytearray()
            for _number in range(RECORDS):
                number += 1
                start, size = chance.randrange(len(text) - 10_000), chance.randint(100, 6_000)
                data = text[start : start + size]
                records += record(self._begin, tid, oid=number, data=data)
            yield framed(tid, bytes(records))


def _measure(scratch: Path, title: str, command: list[str | Path]) -> None:
    taken = take(command, scratch / "logs" / "large.log")
    print(f"{title:<28} {taken.seconds:8.2f} s {taken.memory / 1e6:6.0f} MB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
