from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from datetime import datetime, timedelta, timezone

import pytest

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.repozo.blocks import blocks_path
from collective.recipe.backup.tests.faults.harness import FaultyFiles
from collective.recipe.backup.tests.vault import HOUR, Vault
from collective.recipe.backup.times import ZERO_TID, tid_at

pytestmark = pytest.mark.usefixtures("leaping")


@pytest.fixture
def vault(tmp_path):
    vault = Vault(tmp_path / "vault")
    vault.commit()
    return vault


def test_the_first_backup_is_full_and_the_next_one_holds_what_is_new(vault):
    first = vault.take()
    assert (first.full, first.start, first.changed) == (True, 0, True)
    assert first.reason == "there is no backup yet"
    tid = vault.commit()
    second = vault.take()
    assert (second.full, second.start, second.chain) == (False, first.end, first.stamp)
    assert (second.tid, second.packed, second.reason) == (tid, ZERO_TID, "")
    assert vault.names == [
        "2026-03-01-13-00-00.blocks",
        "2026-03-01-13-00-00.dat",
        "2026-03-01-13-00-00.fsz",
        "2026-03-01-13-00-00.index",
        "2026-03-01-14-00-00.blocks",
        "2026-03-01-14-00-00.deltafsz",
    ]
    assert vault.recovered() == vault.source == vault.repozo_recovered()


def test_nothing_changed_writes_nothing_at_all(vault):
    taken = vault.take()
    vault.now += HOUR
    files = FaultyFiles()
    again = vault.take(files=files)
    assert files.changes == []
    assert not again.changed
    assert (again.stamp, again.chain, again.end) == (taken.stamp, taken.chain, taken.end)
    assert (again.tid, again.packed) == (taken.tid, taken.packed)


def test_nothing_changed_reads_next_to_nothing(vault, monkeypatch):
    vault.commit(size=5_000_000)
    vault.take()
    vault.commit()
    vault.take()
    read = []
    original = TransactionLog.read

    def counting(self, offset, size):
        read.append(size)
        return original(self, offset, size)

    monkeypatch.setattr(TransactionLog, "read", counting)
    assert not vault.take().changed
    assert sum(read) < 4_000_000


@pytest.mark.parametrize("level", [None, 0, 1, 2, 3])
def test_each_level_can_be_read_by_everybody(vault, level):
    vault.commit(size=3_500_000)
    vault.take(level=level)
    vault.commit(size=2_500_000)
    vault.take(level=level)
    assert vault.recovered() == vault.source == vault.repozo_recovered()
    suffix = "" if level is None else "z"
    parts = [vault.chain.path(part) for part in vault.chain.parts]
    assert [path.suffix for path in parts] == [f".fs{suffix}", f".deltafs{suffix}"]
    if level is not None:
        assert b"".join(gzip.decompress(path.read_bytes()) for path in parts) == vault.source
        for path in parts:
            with path.open("rb") as stdin:
                subprocess.run(["gzip", "-t"], stdin=stdin, check=True)


def test_a_pack_begins_a_new_chain(vault):
    for _ in range(3):
        vault.commit()
    vault.take()
    vault.commit()
    vault.site.pack()
    vault.commit(size=100_000)
    taken = vault.take()
    assert taken.full
    assert "packed" in taken.reason
    assert taken.packed not in {None, ZERO_TID}
    assert vault.recovered() == vault.source == vault.repozo_recovered()
    vault.commit()
    assert vault.take().packed == taken.packed


def test_a_pack_during_a_backup_changes_nothing(vault):
    vault.commit()
    before = vault.source

    class Packing(Files):
        def writing(self, final, mode=0o666):
            if final.suffix == ".fsz":
                vault.site.pack()
                vault.commit(size=10_000)
            return super().writing(final, mode)

    vault.take(files=Packing())
    assert vault.recovered() == before
    assert vault.take().full
    assert vault.recovered() == vault.source


@pytest.mark.parametrize("strict", [False, True])
def test_a_shorter_filestorage_begins_a_new_chain(vault, strict):
    vault.take()
    end = vault.chain.end
    vault.commit()
    vault.take()
    os.truncate(vault.site.filestorage, end)
    vault.now += HOUR
    taken = vault.take(strict=strict)
    assert taken.full
    assert "shorter" in taken.reason
    assert vault.recovered() == vault.source


@pytest.mark.parametrize("strict", [False, True])
def test_a_filestorage_cut_and_grown_again_begins_a_new_chain(vault, strict):
    vault.take()
    end = vault.chain.end
    vault.commit()
    vault.take()
    os.truncate(vault.site.filestorage, end)
    vault.site.filestorage.with_name("Data.fs.index").unlink()
    vault.commit(size=10_000)
    taken = vault.take(strict=strict)
    assert taken.full
    assert vault.recovered() == vault.source


def test_another_filestorage_in_its_place_begins_a_new_chain(vault, tmp_path):
    vault.take()
    other = Vault(tmp_path / "other")
    for _ in range(9):
        other.commit(size=1_000)
    shutil.copy(other.site.filestorage, vault.site.filestorage.with_name("new"))
    vault.site.filestorage.with_name("new").replace(vault.site.filestorage)
    vault.now += HOUR
    assert vault.take().full
    assert vault.recovered() == vault.source


@pytest.mark.parametrize("blocks", [True, False])
def test_a_copy_in_its_place_continues_the_chain(vault, blocks):
    vault.commit(size=2_500_000)
    vault.take()
    vault.commit()
    vault.take()
    copy = vault.site.filestorage.with_name("copy")
    shutil.copy(vault.site.filestorage, copy)
    copy.replace(vault.site.filestorage)
    if not blocks:
        for path in vault.directory.glob("*.blocks"):
            path.unlink()
    vault.commit()
    assert not vault.take().full
    assert vault.recovered() == vault.source == vault.repozo_recovered()


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_copy_that_differs_anywhere_begins_a_new_chain(vault, where):
    vault.commit(size=3_500_000)
    vault.take()
    vault.commit()
    vault.take()
    data = bytearray(vault.source)
    data[int(len(data) * where)] ^= 1
    copy = vault.site.filestorage.with_name("copy")
    copy.write_bytes(data)
    copy.replace(vault.site.filestorage)
    vault.now += HOUR
    assert vault.take().full
    assert vault.recovered() == bytes(data)


@pytest.mark.parametrize("offset", [60, -60, -2_000_000])
def test_the_same_file_with_another_begin_or_end_begins_a_new_chain(vault, offset):
    vault.commit(size=3_500_000)
    vault.take()
    vault.commit()
    vault.take()
    data = bytearray(vault.source)
    data[offset] ^= 1
    vault.source = data
    vault.commit()
    assert vault.take().full is (offset != -2_000_000)  # quick reads no more than the ends


def test_without_digests_the_last_range_decides(vault):
    for _ in range(2):
        vault.commit()
        vault.repozo_backup("-Q")
    data = bytearray(vault.source)
    data[-60] ^= 1
    vault.source = data
    vault.commit()
    assert vault.take().full
    assert vault.recovered() == vault.source


def test_strict_finds_what_changed_in_place(vault):
    vault.commit(size=3_500_000)
    vault.take()
    data = bytearray(vault.source)
    data[len(data) // 2] ^= 1
    vault.site.filestorage.write_bytes(data)  # the same file: identity and ends are equal
    vault.commit()
    assert vault.take(strict=True).full
    assert vault.recovered() == vault.source


@pytest.mark.parametrize("damage", ["lost", "flipped", "short", "of another part"])
def test_the_digests_are_only_a_cache(vault, damage):
    vault.take()
    vault.commit(size=2_000_000)
    vault.take()
    first, last = (blocks_path(vault.directory, part.name) for part in vault.chain.parts)
    data = bytearray(last.read_bytes())
    if damage == "lost":
        last.unlink()
    elif damage == "flipped":
        data[200] ^= 1
        last.write_bytes(data)
    elif damage == "short":
        last.write_bytes(data[:100])
    else:
        shutil.copy(first, last)
    assert not vault.take().changed
    vault.commit()
    assert not vault.take().full
    assert vault.recovered() == vault.source


def test_a_transaction_that_is_being_written_is_left_for_the_next_backup(vault):
    vault.take()
    end = len(vault.source)
    vault.commit()
    whole = vault.source
    vault.site.filestorage.write_bytes(whole[: end + 50])
    assert not vault.take().changed
    vault.site.filestorage.write_bytes(whole)
    assert vault.take().end == len(whole)
    assert vault.recovered() == whole


def test_a_damaged_filestorage_is_no_backup(vault):
    vault.take()
    end = len(vault.source)
    vault.commit()
    vault.commit()
    data = bytearray(vault.source)
    data[end + 8] ^= 1
    vault.site.filestorage.write_bytes(data)
    names = vault.names
    with pytest.raises(IntegrityError):
        vault.take()
    assert vault.names == names


def test_an_empty_filestorage_is_backed_up_as_it_is(vault):
    vault.site.filestorage.write_bytes(b"FS30")
    taken = vault.take()
    assert (taken.end, taken.tid, taken.full) == (4, None, True)
    assert vault.recovered() == b"FS30"
    assert not vault.take().changed


# stamps


def test_two_backups_in_one_second(vault):
    first = vault.take()
    now = vault.now
    vault.commit()
    vault.now = now
    second = vault.take()
    assert first.stamp == "2026-03-01-13-00-00"
    assert second.stamp == "2026-03-01-13-00-01"
    assert second.reason == ""
    assert vault.recovered() == vault.source


def test_a_clock_that_was_set_back(vault):
    vault.now += timedelta(days=300)
    first = vault.take()
    vault.now -= timedelta(days=299)
    vault.commit()
    second = vault.take()
    assert second.chain == first.stamp
    assert second.stamp == "2026-12-26-13-00-01"
    assert "clock set back" in second.reason
    assert vault.recovered() == vault.source == vault.repozo_recovered()
    full = vault.take(full=True)
    assert full.stamp == "2026-12-26-13-00-02"
    assert full.reason.startswith("a full backup was asked for. The newest backup has the stamp")
    assert vault.recovered() == vault.source == vault.repozo_recovered()


def test_stamps_of_backups_are_right_on_a_leap_day(vault):
    vault.now = datetime(2028, 2, 28, 23, 59, 59, tzinfo=timezone.utc)
    assert vault.take().stamp == "2028-02-28-23-59-59"
    now = vault.now
    vault.commit()
    vault.now = now
    assert vault.take().stamp == "2028-02-29-00-00-00"
    vault.commit()
    vault.now = datetime(2028, 2, 29, 12, tzinfo=timezone.utc)
    assert vault.take().stamp == "2028-02-29-12-00-00"
    assert vault.recovered() == vault.source


# recover


def test_every_tid_can_be_recovered(vault):
    vault.take()
    for _ in range(4):
        vault.commit()
        vault.commit()
        vault.take()
    ends = {}
    with TransactionLog(vault.site.filestorage) as log:
        for transaction in log.transactions():
            ends[transaction.tid] = transaction.end
    assert len(ends) > 8
    source = vault.source
    for tid, end in ends.items():
        assert vault.recovered(until=tid) == source[:end]
    early = tid_at(datetime(1990, 1, 1, tzinfo=timezone.utc))
    assert vault.recovered(until=early) == source[:4]
    for part in vault.chain.parts:
        assert vault.recovered(through=part.stamp) == source[: part.end]


def test_recovering_up_to_a_tid_reads_no_part_after_it(vault):
    tid = vault.commit()
    vault.take()
    end = len(vault.source)
    vault.commit()
    vault.take()
    vault.chain.path(vault.chain.last).write_bytes(b"")
    assert vault.recovered(until=tid) == vault.source[:end]
