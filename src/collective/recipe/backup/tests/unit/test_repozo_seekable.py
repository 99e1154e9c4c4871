"""The log that a chain holds, read at any place without a restore."""

from __future__ import annotations

import gc
import gzip
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from collective.recipe.backup.errors import BackupError, IntegrityError, NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.blobrecords import blobs
from collective.recipe.backup.filestorage.log import MAGIC_SIZE
from collective.recipe.backup.filestorage.records import records_of
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repozo import seekablelog
from collective.recipe.backup.repozo.blocks import (
    BLOCK_SIZE,
    DIGEST_SIZE,
    MEMBER,
    blocks_path,
    pack,
    read_blocks,
)
from collective.recipe.backup.repozo.blocksahead import BlocksAhead
from collective.recipe.backup.repozo.chainremoval import remove_chain
from collective.recipe.backup.repozo.merge import merge
from collective.recipe.backup.repozo.seekablelog import SeekableLog
from collective.recipe.backup.tests.vault import Vault

pytestmark = pytest.mark.usefixtures("leaping")

LARGE = BLOCK_SIZE * 7 // 2


def ours(vault: Vault) -> None:
    vault.take()
    vault.commit(size=LARGE)
    vault.take(level=0)
    vault.commit()
    vault.take()


def plain(vault: Vault) -> None:
    vault.take(level=None)
    vault.commit(size=LARGE)
    vault.take(level=None)


def older(vault: Vault) -> None:
    ours(vault)
    vault.make_digests_older()


def without_digests(vault: Vault) -> None:
    ours(vault)
    for part in vault.chain.parts:
        blocks_path(vault.directory, part.name).unlink()


def by_repozo(vault: Vault) -> None:
    vault.repozo_backup("-z")
    vault.commit(size=LARGE)
    vault.repozo_backup("-z")
    vault.commit()
    vault.repozo_backup()


def by_both(vault: Vault) -> None:
    by_repozo(vault)
    vault.commit(size=LARGE)
    vault.take()


WRITERS = [ours, plain, older, without_digests, by_repozo, by_both]


@pytest.fixture
def empty(tmp_path) -> Vault:
    """A site of four blocks, without a backup."""
    vault = Vault(tmp_path)
    vault.commit(size=LARGE)
    return vault


@pytest.fixture(params=WRITERS, ids=[writer.__name__ for writer in WRITERS])
def vault(request: pytest.FixtureRequest, empty: Vault) -> Vault:
    request.param(empty)
    return empty


def as_it_lies(vault: Vault) -> dict[str, tuple[int, int, bytes]]:
    """Return all files of the directory, with what would tell of a change."""
    return {
        name: (status.st_ino, status.st_mtime_ns, (vault.directory / name).read_bytes())
        for name in vault.names
        for status in [(vault.directory / name).stat()]
    }


def test_any_place_is_what_the_filestorage_has_there(vault: Vault) -> None:
    source = vault.source
    log = SeekableLog(vault.chain)
    assert log.size == len(source)
    bounds = {0, len(source), *(part.start for part in vault.chain.parts)}
    places = {
        place
        for bound in bounds
        for place in (bound - 1, bound, bound + 1, bound + BLOCK_SIZE - 1, bound + BLOCK_SIZE)
        if 0 <= place <= len(source)
    }
    for place in sorted(places, reverse=True):
        for size in (0, 1, 1000, BLOCK_SIZE + 1):
            assert log.read_at(place, size) == source[place : place + size]
    assert log.read(0, len(source)) == source
    assert log.read_at(len(source), 10) == b""


def test_reading_at_any_place_writes_nothing(vault: Vault) -> None:
    before = as_it_lies(vault)
    SeekableLog(vault.chain).read(0, len(vault.source))
    assert as_it_lies(vault) == before


def test_a_range_beyond_the_end_of_a_chain_is_refused(vault: Vault) -> None:
    log = SeekableLog(vault.chain)
    with pytest.raises(IntegrityError, match=f"ends at byte {log.size}"):
        log.read(log.size - 5, 6)


def test_each_restore_point_is_where_its_log_ends(vault: Vault) -> None:
    for part in vault.chain.parts:
        log = SeekableLog(vault.chain, through=part.stamp)
        assert log.size == part.end
        assert log.read(part.start, part.size) == vault.source[part.start : part.end]
        assert log.read_at(part.end - 1, 10) == vault.source[part.end - 1 : part.end]


def test_each_moment_is_cut_where_a_restore_cuts_it(vault: Vault) -> None:
    for tid in vault.site.tids():
        log = vault.log(until=tid)
        assert log.size == len(vault.recovered(until=tid))
        last = log.before(log.size)
        assert last is not None
        assert last.tid == tid


def test_the_log_of_a_chain_has_the_transactions_and_records_of_the_filestorage(
    empty: Vault,
) -> None:
    empty.site.commit({"a": 1}, {"blob": b"blob", "other": b"other"})
    empty.take()
    empty.site.undo(empty.site.commit({"a": 2}, {"blob": b"new"}))
    empty.take()
    log = SeekableLog(empty.chain)
    with TransactionLog(empty.site.filestorage) as live:
        transactions = list(live.transactions())
        assert list(log.transactions()) == transactions
        assert [list(records_of(log, each)) for each in transactions] == [
            list(records_of(live, each)) for each in transactions
        ]
        named = list(blobs(live, MAGIC_SIZE, log.size))
        assert list(blobs(log, MAGIC_SIZE, log.size)) == named
        assert len(named) == 4
        assert log.end() == live.end()


def ruin(vault: Vault, number: int, begin: int, end: int) -> None:
    """Put zeros over some bytes of a data file of the newest chain."""
    path = vault.chain.path(vault.chain.parts[number])
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(bytes(end - begin))


def test_a_place_is_read_without_what_is_before_it(empty: Vault) -> None:
    ours(empty)
    full = empty.chain.parts[0]
    blocks = read_blocks(empty.directory, full)
    assert blocks is not None
    begins = [begin for (begin,) in MEMBER.iter_unpack(blocks.members or b"")]
    ruin(empty, 0, 0, begins[2])
    ruin(empty, 0, begins[3], blocks.stored)
    log = SeekableLog(empty.chain)
    start = full.start + 2 * BLOCK_SIZE
    assert log.read(start, BLOCK_SIZE) == empty.source[start : start + BLOCK_SIZE]
    assert log.read(full.end, 1000) == empty.source[full.end : full.end + 1000]
    for offset in (start - 1, start + BLOCK_SIZE):
        with pytest.raises(IntegrityError, match="are damaged in it") as caught:
            log.read(offset, 1)
        assert caught.value.where == str(empty.chain.path(full))
        begin = offset // BLOCK_SIZE * BLOCK_SIZE
        assert f"bytes {begin} to {min(begin + BLOCK_SIZE, full.end)} " in caught.value.what
        assert caught.value.hint == empty.chain.good_until(full)


@pytest.mark.parametrize("writer", [ours, plain, older, by_both])
def test_one_other_byte_in_a_block_is_named_and_other_blocks_can_be_read(
    empty: Vault, writer: Callable[[Vault], None]
) -> None:
    writer(empty)
    last = empty.chain.last
    path = empty.chain.path(last)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    log = SeekableLog(empty.chain)
    with pytest.raises(IntegrityError) as caught:
        log.read(last.start, last.size)
    assert caught.value.where == str(path)
    assert caught.value.exit_code == 3
    assert log.read(0, last.start) == empty.source[: last.start]


@pytest.mark.parametrize("writer", [without_digests, by_repozo])
def test_without_digests_damage_anywhere_in_a_data_file_is_named(
    empty: Vault, writer: Callable[[Vault], None]
) -> None:
    writer(empty)
    full, *_deltas = empty.chain.parts
    other = bytearray(empty.source[: full.end])
    other[-5] ^= 1
    empty.chain.path(full).write_bytes(gzip.compress(bytes(other)))
    with pytest.raises(IntegrityError, match="the ledger says") as caught:
        SeekableLog(empty.chain).read(0, 1)
    assert caught.value.where == str(empty.chain.path(full))


def test_digests_of_other_bytes_are_not_fulfilled(empty: Vault) -> None:
    ours(empty)
    full = empty.chain.parts[0]
    blocks = read_blocks(empty.directory, full)
    assert blocks is not None
    wrong = bytes(DIGEST_SIZE) + blocks.digests[DIGEST_SIZE:]
    path = blocks_path(empty.directory, full.name)
    path.write_bytes(pack(replace(blocks, digests=wrong)))
    with pytest.raises(IntegrityError, match="bytes 0 to 1048576"):
        SeekableLog(empty.chain).read(0, 1)


@pytest.mark.parametrize("members", [b"\xff" * 8, bytes(8), b"\0" * 7 + b"\1"])
def test_members_that_are_elsewhere_are_damage_and_no_flood_of_memory(
    empty: Vault, members: bytes
) -> None:
    ours(empty)
    full = empty.chain.parts[0]
    blocks = read_blocks(empty.directory, full)
    assert blocks is not None
    count = len(blocks.digests) // DIGEST_SIZE
    path = blocks_path(empty.directory, full.name)
    path.write_bytes(pack(replace(blocks, members=members * count)))
    with pytest.raises(IntegrityError, match="bytes 1048576 to 2097152"):
        SeekableLog(empty.chain).read(BLOCK_SIZE, 1)


def test_digests_of_huge_blocks_are_not_used(empty: Vault) -> None:
    plain(empty)
    full = empty.chain.parts[0]
    blocks = read_blocks(empty.directory, full)
    assert blocks is not None
    huge = replace(blocks, block_size=1 << 31, digests=bytes(DIGEST_SIZE))
    blocks_path(empty.directory, full.name).write_bytes(pack(huge))
    assert read_blocks(empty.directory, full) == huge
    assert SeekableLog(empty.chain).read(5, 5) == empty.source[5:10]


def test_a_missing_data_file_is_named_when_the_log_is_opened(vault: Vault) -> None:
    path = vault.chain.path(vault.chain.parts[1])
    path.unlink()
    with pytest.raises(IntegrityError, match="missing") as caught:
        SeekableLog(vault.chain)
    assert caught.value.where == str(path)


def test_a_data_file_that_goes_away_is_named(vault: Vault) -> None:
    log = SeekableLog(vault.chain)
    first, *_others = vault.chain.parts
    path = vault.chain.path(first)
    path.unlink()
    with pytest.raises(IntegrityError, match="missing") as caught:
        log.read(0, 1)
    assert caught.value.where == str(path)


def test_a_named_pipe_in_the_place_of_a_data_file_is_not_waited_for(vault: Vault) -> None:
    log = SeekableLog(vault.chain)
    path = vault.chain.path(vault.chain.parts[0])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BackupError) as caught:
        log.read(0, 1)
    assert caught.value.where == str(path)


def test_a_stamp_that_the_chain_has_not_is_no_restore_point(empty: Vault) -> None:
    ours(empty)
    with pytest.raises(NoRestorePoint, match="2001-01-01"):
        SeekableLog(empty.chain, through="2001-01-01-00-00-00")


@pytest.mark.parametrize("looked_before", [True, False])
def test_a_merge_meanwhile_is_followed(empty: Vault, looked_before: bool) -> None:
    ours(empty)
    empty.commit(size=LARGE)
    empty.take()
    chain, source = empty.chain, empty.source
    log = SeekableLog(chain)
    until = SeekableLog(chain, through=chain.parts[2].stamp)
    if looked_before:
        assert log.read(0, len(source)) == source
    merge(chain, chain.parts[1:], files=Files(), progress=Silent())
    assert log.read(chain.parts[1].start - 5, 100) == source[chain.parts[1].start - 5 :][:100]
    assert log.read(0, len(source)) == source
    end = chain.parts[2].end
    assert until.read_at(end - 100, 200) == source[end - 100 : end]


def test_a_chain_that_was_removed_meanwhile_is_damage(empty: Vault) -> None:
    ours(empty)
    log = SeekableLog(empty.chain)
    path = empty.chain.path(empty.chain.parts[0])
    empty.take(full=True)
    remove_chain(empty.chains[0], files=Files())
    with pytest.raises(IntegrityError, match="missing") as caught:
        log.read(0, 1)
    assert caught.value.where == str(path)


LONG = 12 * BLOCK_SIZE


def long(vault: Vault, *, compressed: bool) -> SeekableLog:
    """Return a log of more blocks than are got ahead."""
    vault.commit(size=LONG)
    vault.take(level=0 if compressed else None)
    return SeekableLog(vault.chain)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_reader_of_blocks_gets_the_same_whatever_is_read_between(
    empty: Vault, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    monkeypatch.setattr(seekablelog, "can_compute", lambda: True)
    log, source, usual = long(empty, compressed=compressed), empty.source, sys.getswitchinterval()
    wanted: list[int] = []
    take = BlocksAhead.take

    def seen(self: BlocksAhead, begin: int) -> bytes | None:
        found = take(self, begin)
        wanted.extend([begin] if found is not None else [])
        return found

    monkeypatch.setattr(BlocksAhead, "take", seen)
    for begin in range(0, len(source), 100_000):
        assert log.read_at(begin, 100_000) == source[begin : begin + 100_000]
        if begin == 3_000_000:
            assert log.read_at(len(source) - 1000, 1000) == source[-1000:]
    assert len(wanted) > LONG // BLOCK_SIZE // 2, "they were got ahead"
    until = time.monotonic() + 10
    while sys.getswitchinterval() != usual and time.monotonic() < until:
        time.sleep(0.01)  # the other thread has given its last block, and is about to end its turn
    assert sys.getswitchinterval() == usual


def test_damage_that_is_met_ahead_is_told_only_where_it_is_read(
    empty: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seekablelog, "can_compute", lambda: True)
    log, source = long(empty, compressed=False), empty.source
    ruin(empty, 0, 6 * BLOCK_SIZE, 7 * BLOCK_SIZE)
    for number in range(6):
        begin = number * BLOCK_SIZE
        assert log.read_at(begin, BLOCK_SIZE) == source[begin : begin + BLOCK_SIZE]
    for _each in range(2):
        with pytest.raises(IntegrityError, match=f"bytes {6 * BLOCK_SIZE} to"):
            log.read_at(6 * BLOCK_SIZE, BLOCK_SIZE)
    for number in range(7, 12):
        begin = number * BLOCK_SIZE
        assert log.read_at(begin, BLOCK_SIZE) == source[begin : begin + BLOCK_SIZE]


def test_a_log_that_nobody_holds_leaves_no_thread(
    empty: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seekablelog, "can_compute", lambda: True)
    before = set(threading.enumerate())
    log = long(empty, compressed=True)
    assert log.read(0, len(empty.source)) == empty.source
    started = set(threading.enumerate()) - before
    assert started
    del log
    gc.collect()
    for each in started:
        each.join(10)
        assert not each.is_alive()


def test_few_blocks_are_held(empty: Vault) -> None:
    plain(empty)
    log = SeekableLog(empty.chain)
    for offset in range(0, log.size, 1000):
        log.read_at(offset, 1)
    assert 0 < sum(map(len, log._held.values())) <= 8 * BLOCK_SIZE
