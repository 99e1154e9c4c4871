from __future__ import annotations

import os

import pytest

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.repozo.blocks import (
    DIGEST_SIZE,
    MEMBER,
    Blocks,
    check_blocks,
    digest_of,
    pack,
    read_blocks,
    stored_as,
    unpack,
)
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.times import ZERO_TID, Tid

PART = Part("2026-03-01-12-00-00.fsz", 10, 2510, "0" * 32)


def blocks(**changes):
    values = {
        "start": 10,
        "end": 2510,
        "checksum": "0" * 32,
        "identity": (2**63 + 1, 17),
        "begin": 2400,
        "tid": Tid(b"01234567"),
        "packed": ZERO_TID,
        "stored": 999,
        "stored_digest": digest_of(b"stored"),
        "index": digest_of(b"index"),
        "digests": b"".join(map(digest_of, (b"first", b"second", b"third"))),
        "members": b"".join(map(MEMBER.pack, (0, 400, 900))),
        "block_size": 1000,
    }
    return Blocks(**{**values, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"index": None},
        {"packed": None},
        {"packed": Tid(b"00000001")},
        {"tid": ZERO_TID},
        {"members": b""},
        {"members": None},
        {"end": 10, "digests": b"", "members": b""},
    ],
)
def test_what_is_packed_is_what_is_unpacked(changes):
    assert unpack(pack(blocks(**changes))) == blocks(**changes)


def test_version_1_is_what_it_was_before_members_were_listed():
    older, newer = pack(blocks(members=None)), pack(blocks(members=b""))
    assert (older[8:10], newer[8:10]) == (b"\0\1", b"\0\2")
    assert older[10:-DIGEST_SIZE] == newer[10:-DIGEST_SIZE]


def resealed(data, at, new):
    """Return *data* with other bytes at an offset, and a checksum that fits."""
    body = data[:at] + new + data[at + len(new) : -DIGEST_SIZE]
    return body + digest_of(body)


@pytest.mark.parametrize("version", [0, 3, 65_535])
def test_a_version_that_is_not_known_is_refused(version):
    data = resealed(pack(blocks()), 8, version.to_bytes(2, "big"))
    with pytest.raises(ValueError, match=f"its version is {version}, this program knows 2"):
        unpack(data)


@pytest.mark.parametrize(
    ("changes", "at", "new"),
    [
        ({}, 11, b"\3"),  # members, and no flag that says so
        ({"members": b""}, 11, b"\7"),  # a flag, and no members
        ({}, 9, b"\1"),  # version 1 has none
        ({}, 12, bytes(4)),  # blocks without bytes
        ({}, 24, (10**6).to_bytes(8, "big")),  # many more blocks
    ],
)
def test_what_does_not_have_something_for_each_block_is_refused(changes, at, new):
    with pytest.raises(ValueError, match="it does not have a"):
        unpack(resealed(pack(blocks(**changes)), at, new))


def test_the_last_block_is_as_long_as_the_part():
    assert [(offset, size) for offset, size, _digest in blocks().ranges()] == [
        (10, 1000), (1010, 1000), (2010, 500),
    ]  # fmt: skip
    assert [digest for _offset, _size, digest in blocks().ranges()] == [
        digest_of(b"first"), digest_of(b"second"), digest_of(b"third"),
    ]  # fmt: skip
    assert list(blocks().ranges(-2)) == list(blocks().ranges())[-2:]
    assert list(blocks().ranges(-9)) == list(blocks().ranges())


def test_every_flipped_byte_is_seen():
    data = pack(blocks())
    for offset in range(len(data)):
        damaged = bytearray(data)
        damaged[offset] ^= 0x40
        with pytest.raises(ValueError, match="it|its"):
            unpack(bytes(damaged))


def test_every_length_but_its_own_is_seen():
    data = pack(blocks())
    for size in range(len(data)):
        with pytest.raises(ValueError, match="it"):
            unpack(data[:size])
    with pytest.raises(ValueError, match="checksum"):
        unpack(data + b"\0")


def test_what_lies_beside_a_part_is_read_only_if_it_is_of_that_part(tmp_path):
    path = tmp_path / "2026-03-01-12-00-00.blocks"
    assert read_blocks(tmp_path, PART) is None
    path.write_bytes(pack(blocks()))
    assert read_blocks(tmp_path, PART) == blocks()
    assert read_blocks(tmp_path, PART._replace(start=0)) is None
    path.write_bytes(path.read_bytes()[:-DIGEST_SIZE])
    assert read_blocks(tmp_path, PART) is None
    with pytest.raises(IntegrityError, match="digests of a backup are damaged"):
        check_blocks(tmp_path, PART)


def test_what_cannot_be_read_is_as_good_as_lost(tmp_path):
    path = tmp_path / "2026-03-01-12-00-00.blocks"
    path.mkdir()
    assert read_blocks(tmp_path, PART) is None
    with pytest.raises(BackupError, match="cannot read the digests"):
        check_blocks(tmp_path, PART)


def test_a_pipe_is_not_waited_for(tmp_path):
    path = tmp_path / "2026-03-01-12-00-00.blocks"
    os.mkfifo(path)
    assert read_blocks(tmp_path, PART) is None
    with pytest.raises(BackupError, match="cannot read the digests"):
        check_blocks(tmp_path, PART)
    with pytest.raises(BackupError, match="cannot read the backup"):
        stored_as(path)
