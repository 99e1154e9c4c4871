"""A slow line and a dead server, of a bucket and by SFTP: what is given up too early, or too late?

``python -m benchmarks.slowlink --scratch DIRECTORY`` starts SeaweedFS and OpenSSH's server on
this machine, with a wire before each that carries 1 Mbit a second, and puts an object of 32 MB:
it must come through, and be sent once.  Then the wire dies, while an object is put and while one
is got, and what counts is when that is noticed.  It takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.measuring import compile_ours
from collective.recipe.backup.errors import StoreUnreachable
from collective.recipe.backup.files import Files
from collective.recipe.backup.stores import Store
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.tests.servers import (
    BUCKET,
    KEY,
    SECRET,
    end,
    start_sshd,
    start_weed,
)
from collective.recipe.backup.tests.wires import Wire, wire_to

MEGABIT = 125_000
"""Bytes a second."""

OBJECT = 32_000_000
WORKS = ("slow", "put", "get")
NOTICED = 60
"""Seconds within which a dead server should be noticed."""


class Line(NamedTuple):
    """A store behind a wire."""

    name: str
    wire: Wire
    store: Store


class Measured(NamedTuple):
    """What came of one work."""

    title: str
    seconds: float
    is_good: bool
    said: str  # how it ended

    def __str__(self) -> str:
        good = "" if self.is_good else "  NOT REACHED"
        return f"{self.title:<46} {self.seconds:6.0f} s  {self.said}{good}"


@contextmanager
def server(kind: str, directory: Path) -> Iterator[int]:
    """Run a server during the body; yield its port."""
    directory.mkdir()
    started = start_weed(directory) if kind == "bucket" else start_sshd(directory)
    try:
        yield started.port
    finally:
        end(started)


@contextmanager
def lines(scratch: Path) -> Iterator[list[Line]]:
    """Yield both stores, each behind a wire."""
    with ExitStack() as stack:
        weed = stack.enter_context(server("bucket", scratch / "weed"))
        sshd = stack.enter_context(server("sftp", scratch / "sshd"))
        bucket = stack.enter_context(wire_to(weed))
        sftp = stack.enter_context(wire_to(sshd))
        ssh = scratch / "home" / ".ssh"
        ssh.mkdir(parents=True)
        key = (scratch / "sshd" / "host.pub").read_text()
        (ssh / "known_hosts").write_text(f"[127.0.0.1]:{sftp.port} {key}")
        (ssh / "config").write_text(f"Host *\n  IdentityFile {scratch}/sshd/site\n")
        (scratch / "far").mkdir()
        urls = {
            "bucket": f"s3://{BUCKET}/slow?endpoint=http://127.0.0.1:{bucket.port}",
            "sftp": f"sftp://127.0.0.1:{sftp.port}{scratch}/far",
        }
        found = [
            Line(name, wire, store_at(urls[name], Files()))
            for name, wire in (("bucket", bucket), ("sftp", sftp))
        ]
        try:
            yield found
        finally:
            for each in found:
                each.store.close()


def slow(line: Line) -> Measured:
    """Put a large object over the slow line."""
    data, began, before = random.randbytes(OBJECT), time.monotonic(), line.wire.sent
    try:
        line.store.put("large", data)
        said = f"{(line.wire.sent - before) / 1e6:.1f} MB sent"
        is_good = line.wire.sent - before < OBJECT * 1.05
    except StoreUnreachable as error:
        said, is_good = str(error), False
    return Measured(f"{line.name}: 32 MB at 1 Mbit/s", time.monotonic() - began, is_good, said)


def dead(line: Line, title: str, work: Callable[[Store], object], after: int) -> Measured:
    """Do *work*, and let the wire die when so many bytes have gone or come.

    That is noticed when the work has failed, or when it tries another connection; then the wire
    comes back.
    """
    wire = line.wire
    before = wire.sent + wire.got
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(work, line.store)
        while wire.sent + wire.got < before + after and not working.done():
            time.sleep(0.01)
        wire.dead.set()
        began, connections = time.monotonic(), wire.connections
        while not working.done() and wire.connections == connections:
            time.sleep(0.05)
        seconds = time.monotonic() - began
        wire.dead.clear()
        error = working.exception()
    is_good = seconds <= NOTICED and (error is None or isinstance(error, StoreUnreachable))
    said = "got by another connection" if error is None else str(error).partition(": s")[0]
    return Measured(f"{line.name}: {title}", seconds, is_good, said)


def put(store: Store) -> object:
    """Put what takes the slow line a while."""
    return store.put("dying", random.randbytes(OBJECT))


def get(store: Store) -> object:
    """Get what takes it a while."""
    return store.get("large")


def measured(scratch: Path, only: Sequence[str]) -> Iterator[Measured]:
    """Yield what came of each work, of those called *only*; both stores work at the same time."""
    for name, works in (
        ("slow", [slow]),
        ("put", [lambda line: dead(line, "dead while an object is put", put, 1_000_000)]),
        ("get", [slow, lambda line: dead(line, "dead while one is got", get, 1_000_000)]),
    ):
        if name not in only:
            continue
        place = scratch / name
        place.mkdir()
        with lines(place) as found, ThreadPoolExecutor(2) as threads:
            os.environ["HOME"] = str(place / "home")
            for work in works:
                for each in found:
                    each.wire.rate = None if (name, work) == ("get", slow) else MEGABIT
                results = list(threads.map(work, found))
                if name == "slow" or work is not slow:
                    yield from results


def main() -> int:
    """Measure, print, and return 0 if all goals were reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slowlink")
    parser.add_argument("--scratch", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--only", nargs="*", default=WORKS, choices=WORKS)
    given = parser.parse_args()
    scratch = given.scratch.resolve() / "slowlink"
    compile_ours()
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith(("AWS_", "SSH_AUTH"))]:
        del os.environ[name]
    os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"] = KEY, SECRET
    is_good = True
    for each in measured(scratch, given.only):
        print(each, flush=True)
        is_good = is_good and each.is_good
    shutil.rmtree(scratch)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
