"""A place for chunks, and segments so small that a small log has many of them."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch
from zipfile import ZIP_DEFLATED, ZipFile

from blake3 import blake3

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.blobrecords import NamedBlobs, blobs
from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.segments import (
    Captured,
    ChunkKind,
    Keys,
    Linked,
    LogState,
    RebuiltLog,
    Target,
    capture,
    has_grown,
    newsegments,
    newstate,
    read_log_state,
    rebuilding,
    rebuiltlog,
    rows,
    segmentends,
    selecting,
    spans,
)
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests.samples import FOUNDED, Site

SECRET = bytes(range(32))
DAY = timedelta(days=1)


class MemoryChunks:
    """Holds chunks, and counts what is put and got."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}
        self.stored: Counter[ChunkKind] = Counter()  # bytes that were new
        self.got: Counter[ChunkKind] = Counter()  # how often one was asked for
        self.together: list[int] = []  # how many were asked for at a time, where it may be several

    def put(self, kind: ChunkKind, data: bytes) -> bytes:
        name = blake3(kind.value.encode() + b"\0" + data).digest()
        if name not in self.held:
            self.held[name] = bytes(data)
            self.stored[kind] += len(data)
        return name

    def put_linked(self, kind: ChunkKind, linked: Linked) -> bytes:
        assert all(name in self.held for name in linked.names)
        return self.put(kind, encoded(linked))

    def get_linked(self, kind: ChunkKind, name: bytes) -> Linked:
        return decoded(self.get(kind, name))

    def get(self, kind: ChunkKind, name: bytes) -> bytes:
        self.got[kind] += 1
        if name not in self.held:
            raise IntegrityError(f"the {kind.value} {name.hex()} is missing")
        return self.held[name]

    def ahead(
        self, kind: ChunkKind, names: Iterable[bytes]
    ) -> Generator[tuple[bytes, bytes | IntegrityError], None, None]:
        self.together.append(0)
        for name in names:
            self.together[-1] += 1
            try:
                yield name, self.get(kind, name)
            except IntegrityError as error:
                yield name, error


def encoded(linked: Linked) -> bytes:
    """Return names and data as one, as the page has it."""
    return b"".join([struct.pack(">I", len(linked.names)), *linked.names, linked.data])


def decoded(data: bytes) -> Linked:
    (count,) = struct.unpack_from(">I", data)
    end = 4 + 32 * count
    return Linked(tuple(data[at : at + 32] for at in range(4, end, 32)), data[end:])


class Captures:
    """Captures one filestorage after the other, and remembers what each was."""

    def __init__(self, **target: object) -> None:
        self.chunks = MemoryChunks()
        self.target = Target(chunks=self.chunks, keys=Keys(SECRET), **target)  # type: ignore[arg-type]
        self.taken: list[tuple[Linked, bytes]] = []  # the root and the file of each state
        self.last: LogState | None = None

    def capture(self, path: Path, *, same_file: bool = False) -> Captured:
        with TransactionLog(path) as log:
            end = log.end()
            grown = bool(
                same_file and self.last and has_grown(self.last, self.chunks, log, end.offset)
            )
            named = NamedBlobs(log, self.last.size if self.last and grown else MAGIC_SIZE)
            target = replace(self.target, blobs=named)
            captured = capture(log, end, target, self.last, grown=grown)
            begin = named.since if grown else MAGIC_SIZE + captured.kept
            assert list(named) == list(blobs(log, begin, end.offset))
            self.taken.append((captured.state.root(), log.read(0, end.offset)))
        # as another run would find it
        self.last = read_log_state(captured.state.root())
        return captured

    def rebuilt(self, number: int = -1) -> RebuiltLog:
        return RebuiltLog(read_log_state(self.taken[number][0]), self.chunks, Path("rebuilt"))

    def stored(self) -> int:
        """Return the bytes of all new chunks but record indexes since the last call."""
        counts, self.chunks.stored = self.chunks.stored, Counter()
        return counts[ChunkKind.SEGMENT] + counts[ChunkKind.SPANS]


SAMPLE = Path(__file__).parent / "formats" / "segments-1.zip"


def write_sample(site: Site, path: Path = SAMPLE) -> None:
    """Write states with spans of all rules, and the files that they are of.

    This made SAMPLE, which is read for ever and never made anew.
    """
    captures = Captures()
    with site.opened():
        for day in range(1, 30):
            values = {str(key): f"day {day} " * 40 for key in range(day % 5 + 1)}
            site.commit(values, {"blob": b"%d" % day}, at=FOUNDED + day * DAY)
        changed = site.commit({"0": "wrong", "7": "wrong"}, at=FOUNDED + 30 * DAY)
        site.undo(changed, at=FOUNDED + 31 * DAY)
        captures.capture(site.filestorage)
        for day in range(32, 40):
            site.commit({"1": f"day {day} " * 40}, at=FOUNDED + day * DAY)
        captures.capture(site.filestorage)
    for pack in (33, 36):
        site.pack(FOUNDED + pack * DAY)
        site.commit({"2": f"after pack {pack}"}, at=FOUNDED + (pack + 10) * DAY)
        captures.capture(site.filestorage)
    # pointers that no rule gives
    data = bytearray(site.filestorage.read_bytes())
    with TransactionLog(site.filestorage) as log:
        for transaction in list(log.transactions())[::4]:
            data[transaction.records + 23] ^= 1
    site.filestorage.write_bytes(data)
    captures.capture(site.filestorage)
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=9) as archive:
        for number, (root, file) in enumerate(captures.taken):
            archive.writestr(f"{number}.state", encoded(root))
            archive.writestr(f"{number}.fs", file)
        for name, chunk in captures.chunks.held.items():
            archive.writestr(f"chunks/{name.hex()}", chunk)


def read_sample() -> Captures:
    """Return the captures of SAMPLE."""
    captures = Captures()
    with ZipFile(SAMPLE) as archive:
        for name in archive.namelist():
            if name.startswith("chunks/"):
                captures.chunks.held[bytes.fromhex(Path(name).name)] = archive.read(name)
            elif name.endswith(".state"):
                file = archive.read(name.replace(".state", ".fs"))
                captures.taken.append((decoded(archive.read(name)), file))
    return captures


@contextmanager
def small_sizes(greatest: int = 4096) -> Iterator[None]:
    """Make all sizes small during the body, in the proportions that they have."""
    with ExitStack() as stack:
        for module, name, size in (
            (segmentends, "LEAST", greatest // 4),
            (segmentends, "MEAN", greatest // 4),
            (segmentends, "GREATEST", greatest),
            (selecting, "ISLAND", greatest // 64),
            (newstate, "SPANS_OF_A_PAGE", 4),
            (newsegments, "GREATEST", greatest),
            (rebuilding, "GREATEST", greatest),
            (rebuilding, "_PART", greatest // 4),
            (rows, "_PIECE", greatest // 4),
            *(
                (module, "BLOCK", greatest)
                for module in (newsegments, rebuilding, rebuiltlog, spans)
            ),
        ):
            stack.enter_context(patch.object(module, name, size))
        yield
