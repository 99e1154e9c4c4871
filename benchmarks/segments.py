"""How quick segments of a filestorage are, and how small: captures, a pack, and reading again.

``python -m benchmarks.segments --scratch DIRECTORY [--size MEGABYTES]`` captures the site of the
other benchmarks as it was yesterday, after a day and after a pack, and reads the states again.
Each work is a process of its own.  Chunks are files, neither compressed nor encrypted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import sys
from collections import Counter
from pathlib import Path

from blake3 import blake3

from benchmarks.measuring import take
from benchmarks.states import DAY, PACKED, YESTERDAY, made
from collective.recipe.backup.filestorage.segments import (
    ChunkKind,
    Keys,
    Linked,
    LogState,
    RebuiltLog,
    Target,
    capture,
    has_grown,
    read_log_state,
)
from collective.recipe.backup.filestorage.transactionlog import TransactionLog

CAPTURE, READ = "capture", "read"


class Files:
    """Chunks as files in *directory*."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.stored: Counter[ChunkKind] = Counter()
        self._key = bytes(32)

    def put(self, kind: ChunkKind, data: bytes) -> bytes:
        """Write a file, unless it is there."""
        name = blake3(data, key=self._key).digest()
        path = self._directory / name.hex()
        if not path.exists():
            path.write_bytes(data)
            self.stored[kind] += len(data)
        return name

    def put_linked(self, kind: ChunkKind, linked: Linked) -> bytes:
        """Write a file with the names before the data."""
        return self.put(
            kind, b"".join([struct.pack(">I", len(linked.names)), *linked.names, linked.data])
        )

    def get_linked(self, kind: ChunkKind, name: bytes) -> Linked:
        """Read such a file."""
        data = self.get(kind, name)
        (count,) = struct.unpack_from(">I", data)
        end = 4 + 32 * count
        return Linked(tuple(data[at : at + 32] for at in range(4, end, 32)), data[end:])

    def get(self, kind: ChunkKind, name: bytes) -> bytes:
        """Read a file."""
        return (self._directory / name.hex()).read_bytes()


def main() -> None:
    """Measure, and print what each work took; or do one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.segments")
    parser.add_argument("--scratch", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument("--size", type=int, default=1000, help="MB of Data.fs (%(default)s)")
    parser.add_argument("--work", nargs="*", help=argparse.SUPPRESS)
    namespace = parser.parse_args()
    scratch = namespace.scratch.resolve()
    if namespace.work:
        print(json.dumps(Work(scratch, namespace.size, *namespace.work).do()))
        return
    states = made(scratch, namespace.size, 0, lambda words: print(words, file=sys.stderr))
    shutil.rmtree(scratch / "chunks", ignore_errors=True)
    (scratch / "chunks").mkdir()
    (scratch / "logs").mkdir(exist_ok=True)
    measuring = Measuring(scratch, namespace.size)
    states.switch(YESTERDAY)
    measuring.do("first capture", CAPTURE, "yesterday", "-", "other")
    measuring.do("nothing changed", CAPTURE, "nothing", "yesterday", "same")
    states.switch(DAY)
    measuring.do("after a day", CAPTURE, "day", "yesterday", "same")
    measuring.do("the same, not known to be the same file", CAPTURE, "day", "yesterday", "other")
    measuring.do("another host, without a state", CAPTURE, "host", "-", "other")
    states.switch(PACKED)
    measuring.do("after a pack", CAPTURE, "packed", "day", "other")
    measuring.do("reading the state before the pack", READ, "day")
    measuring.do("reading the state after the pack", READ, "packed")


class Measuring:
    """Has works done in processes of their own, and prints what they took."""

    def __init__(self, scratch: Path, size: int) -> None:
        self._scratch = scratch
        self._size = size

    def do(self, title: str, *work: str) -> None:
        """Do a work, and print a line."""
        log = self._scratch / "logs" / "segments.log"
        command = [sys.executable, "-m", "benchmarks.segments"]
        command += ["--scratch", str(self._scratch), "--size", str(self._size), "--work", *work]
        taken = take(command, log)
        done = json.loads(log.read_text())
        speed = done["bytes"] / taken.seconds / 1e6
        print(
            f"{title:<40} {taken.seconds:6.2f} s ({taken.cpu:5.2f} of the processor)"
            f" {speed:6.0f} MB/s {taken.memory / 1e6:4.0f} MB of memory",
            *(f"{size / 1e6:.2f} MB {kind}" for kind, size in done["stored"].items()),
            flush=True,
        )


class Work:
    """One work: what to do, the name of the state, and for a capture the last state."""

    def __init__(self, scratch: Path, size: int, work: str, name: str, *since: str) -> None:
        self._scratch = scratch
        self._filestorage = scratch / f"site-{size}-0" / "var" / "filestorage" / "Data.fs"
        self._chunks = Files(scratch / "chunks")
        self._work = work
        self._name = name
        self._since = since

    def do(self) -> dict[str, object]:
        """Do it; return the bytes of Data.fs, and the bytes of new chunks by kind."""
        size = self._capture() if self._work == CAPTURE else self._read()
        stored = {kind.value: size for kind, size in self._chunks.stored.items()}
        return {"bytes": size, "stored": stored}

    def _capture(self) -> int:
        last, sameness = self._since
        target = Target(chunks=self._chunks, keys=Keys(bytes(32)))
        with TransactionLog(self._filestorage) as log:
            state = None if last == "-" else self._state(last)
            # as a backup does: the end is looked for from where the last one was
            same = sameness == "same"
            grown = bool(same and state and has_grown(state, self._chunks, log, log.size))
            end = log.end(state.size) if state and grown else log.end()
            captured = capture(log, end, target, state, grown=grown)
        root = self._chunks.put_linked(ChunkKind.SPANS, captured.state.root())
        self._root(self._name).write_bytes(root)
        return captured.state.size

    def _read(self) -> int:
        state = self._state(self._name)
        return sum(map(len, RebuiltLog(state, self._chunks, Path(self._name)).stream()))

    def _state(self, name: str) -> LogState:
        root = self._root(name).read_bytes()
        return read_log_state(self._chunks.get_linked(ChunkKind.SPANS, root))

    def _root(self, name: str) -> Path:
        return self._scratch / "chunks" / f"{name}.state"


if __name__ == "__main__":
    main()
