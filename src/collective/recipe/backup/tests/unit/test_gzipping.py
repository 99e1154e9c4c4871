"""Gzip by several threads gives what one reader of gzip gives, whoever wrote it."""

from __future__ import annotations

import gzip
import random
import threading
from pathlib import Path

import pytest

from collective.recipe.backup import gzipping
from collective.recipe.backup.gzipping import (
    BAD_GZIP,
    LEVELS,
    compressed,
    inflate_member,
    inflated,
    member_begins,
)

BLOCK = 1 << 20
BLOCKS = [
    bytes(BLOCK),
    random.Random(7).randbytes(BLOCK),
    b"text " * (BLOCK // 5),
    b"the end",
]


def read(path: Path) -> bytes:
    with path.open("rb") as file:
        pieces = list(inflated(path, file))
    assert all(pieces)
    return b"".join(pieces)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.gz"


@pytest.mark.parametrize("level", LEVELS)
def test_compressed_blocks_are_read_as_they_were(path: Path, level: int) -> None:
    path.write_bytes(b"".join(compressed(BLOCKS * 4, level)))
    assert read(path) == b"".join(BLOCKS * 4) == gzip.decompress(path.read_bytes())


def test_a_file_of_ours_is_inflated_by_several_threads(path: Path, monkeypatch) -> None:
    path.write_bytes(b"".join(compressed(BLOCKS * 4, 2)))
    threads = set()
    real = gzipping._member_inflated

    def noted(member):
        threads.add(threading.current_thread().name)
        return real(member)

    monkeypatch.setattr(gzipping, "_member_inflated", noted)
    read(path)
    assert len(threads) == 2


OURS = b"".join(compressed(BLOCKS, 2))
OTHERS = {
    "one stream": gzip.compress(b"".join(BLOCKS) * 2),
    "small": gzip.compress(b"small"),
    "ours, then one with a time": OURS + gzip.compress(b"more", mtime=1),
    "one with a time, then ours": gzip.compress(b"more", mtime=1) + OURS,
    "two alike with a time": gzip.compress(b"more", mtime=1) * 2,
    "headers in what is stored": b"".join(compressed([gzipping._HEADER * 100, *BLOCKS], 0)),
    "a header in a name": b"\x1f\x8b\x08\x08" + gzip.compress(b"x")[4:10] + b"n\x00"
    + gzip.compress(b"x" * 99)[10:],
    "an empty member": OURS + b"".join(compressed([b""], 2)) + OURS,
    "zeros at the end": OURS + bytes(1000),
}  # fmt: skip


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS.keys())
def test_all_that_gzip_can_be_is_what_gzip_says(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert read(path) == gzip.decompress(data)


def test_a_header_across_two_reads_is_one(path: Path, monkeypatch) -> None:
    path.write_bytes(OURS)
    for size in (1000, 1001, 4099):
        monkeypatch.setattr(gzipping, "_READ", size)
        assert read(path) == b"".join(BLOCKS)


@pytest.mark.parametrize("at", [0, 3, 500, len(OURS) // 2, len(OURS) - 8, len(OURS) - 1])
def test_a_changed_byte_in_a_gzip_file_is_damage(path: Path, at: int) -> None:
    data = bytearray(OURS)
    data[at] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(BAD_GZIP):
        read(path)
    path.write_bytes(OURS[:at] if at else OURS + b"no gzip")
    if at:
        with pytest.raises(BAD_GZIP):
            read(path)


def test_a_small_file_cannot_fill_the_memory(path: Path) -> None:
    """What inflates to a thousand times its size comes in pieces all the same."""
    path.write_bytes(gzip.compress(bytes(100 * BLOCK), mtime=0))
    with path.open("rb") as file:
        sizes = [len(piece) for piece in inflated(path, file)]
    assert sum(sizes) == 100 * BLOCK
    assert max(sizes) <= 2 * BLOCK


@pytest.mark.parametrize("reads", [1 << 20, 13, 1000, 4099])
def test_where_members_begin_is_found_whatever_is_read_at_once(path, monkeypatch, reads) -> None:
    monkeypatch.setattr(gzipping, "_READ", reads)
    whole = [bytes(1000), random.Random(8).randbytes(1000)] * 5
    for each in (whole, [*whole, b"the end"]):
        members = list(compressed(each, 2))
        path.write_bytes(b"".join(members))
        with path.open("rb") as file:
            found = list(member_begins(file, 1000))
        assert found == [sum(map(len, members[:number])) for number in range(len(members))]


def test_one_member_is_inflated_to_exactly_what_it_holds() -> None:
    [member] = compressed([BLOCKS[2]], 2)
    assert inflate_member(member, len(BLOCKS[2])) == BLOCKS[2]
    for size in (len(BLOCKS[2]) - 1, len(BLOCKS[2]) + 1, 1):
        with pytest.raises(EOFError):
            inflate_member(member, size)
    for flawed in (member[:-1], member + member, member + b"more", b"", b"no gzip"):
        with pytest.raises(BAD_GZIP):
            inflate_member(flawed, len(BLOCKS[2]))
    for at in (0, 100, len(member) - 7):
        damaged = bytearray(member)
        damaged[at] ^= 0x55
        with pytest.raises(BAD_GZIP):
            inflate_member(bytes(damaged), len(BLOCKS[2]))
