"""The log of a filestorage: what is read of it, and what is refused."""

from __future__ import annotations

import os
import tracemalloc
from datetime import datetime, timedelta, timezone
from pathlib import Path
from threading import Event, Thread

import pytest
import ZODB
from ZODB.Connection import TransactionMetaData

from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.filestorage.blobrecords import blobs
from collective.recipe.backup.filestorage.log import MAGIC_SIZE
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.samples import FOUNDED, FileStorage, Site
from collective.recipe.backup.times import ZERO_TID, Tid, tid_at

HOUR = timedelta(hours=1)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a transaction each hour, ten of them, and an undone one."""
    site = Site(tmp_path)
    with site.opened():
        for hour in range(1, 10):
            site.commit({"key": "x" * hour}, at=FOUNDED + hour * HOUR)
        site.undo(site.commit({"other": 1}, at=FOUNDED + 10 * HOUR), at=FOUNDED + 11 * HOUR)
    return site


@pytest.fixture
def written(tmp_path: Path):
    """Write bytes as a filestorage and open the log of it."""
    opened = []

    def write(data: bytes) -> TransactionLog:
        path = tmp_path / "written.fs"
        path.write_bytes(data)
        opened.append(TransactionLog(path))
        return opened[-1]

    yield write
    for log in opened:
        log.close()


def test_every_transaction_is_found_with_its_tid_and_its_place(site):
    storage = ZODB.FileStorage.FileStorage(str(site.filestorage), read_only=True)
    expected = [(Tid(each.tid), each._tpos, each._tend + 8) for each in storage.iterator()]
    storage.close()
    with TransactionLog(site.filestorage) as log:
        found = list(log.transactions())
    assert [(each.tid, each.begin, each.end) for each in found] == expected
    assert not any(each.packed or each.undone for each in found)


def test_the_end_is_that_of_the_last_transaction(site):
    with TransactionLog(site.filestorage) as log:
        *_, last = log.transactions()
        assert log.end() == LogEnd(site.size, last.tid, last.begin, "", None)


def test_the_end_is_the_same_from_any_boundary(site):
    with TransactionLog(site.filestorage) as log:
        end = log.end()
        assert [log.end(each.end) for each in log.transactions()] == [end] * len(site.tids())


def test_a_walk_from_the_last_end_reads_only_what_is_new(written):
    data = logs.log(*[[b"x" * 1_000_000]] * 20)
    log = written(data)
    *_, before_last, end = logs.ends(data)
    reads = []

    def window(size=1 << 18, make=log.window):
        window = make(size)
        at = window.at
        window.at = lambda offset, size: reads.append(offset) or at(offset, size)
        return window

    log.window = window
    assert log.end(before_last).offset == end
    assert min(reads) >= logs.ends(data)[-3]


def test_transactions_are_found_from_the_end_on_as_well_and_little_is_read_for_that(site):
    class Counting(TransactionLog):
        taken = 0

        def read_at(self, offset, size):
            data = super().read_at(offset, size)
            self.taken += len(data)
            return data

    with Counting(site.filestorage) as log:
        assert list(log.backwards(log.size)) == list(log.transactions())[::-1]
        assert list(log.backwards(MAGIC_SIZE)) == []
        log.taken = 0
        next(log.backwards(log.size))
        assert log.taken < 100
        with pytest.raises(IntegrityError, match="no transaction ends"):
            next(log.backwards(log.size - 1))


def test_a_log_without_transactions_ends_after_its_magic_number(written):
    assert written(b"FS30").end() == LogEnd(4, None, 4, "")
    assert written(b"FS30").cut(logs.tid(1)) == LogEnd(4, None, 4, "")
    assert list(written(b"FS30").transactions()) == []


def test_what_python_2_wrote_is_a_filestorage_too(written):
    assert written(b"FS21" + logs.log([b"data"])[4:]).end().tid == logs.tid(1)


# a server at work


@pytest.fixture
def voted(site):
    """The site's storage, with a transaction that was voted for but not finished."""
    storage = FileStorage(str(site.filestorage))
    change = TransactionMetaData()
    storage.tpc_begin(change)
    storage.store(b"\0" * 7 + b"\x42", ZERO_TID, b"pickle" * 100, "", change)
    storage.tpc_vote(change)
    yield storage, change
    storage.tpc_abort(change)
    storage.close()


def test_a_transaction_that_is_being_written_does_not_count(site, voted):
    *_, last = site.tids()
    with TransactionLog(site.filestorage) as log:
        end = log.end()
        assert (end.tid, end.tail) == (last, "being written")
        assert log.size > end.offset
        assert [each.tid for each in log.transactions()] == site.tids()


def test_a_transaction_counts_once_it_is_finished(site, voted):
    storage, change = voted
    with TransactionLog(site.filestorage) as log:
        before = log.end()
        tid = storage.tpc_finish(change)
        assert log.end(before.offset) == LogEnd(log.size, Tid(tid), before.offset, "")


def test_a_transaction_is_gone_when_it_was_aborted(site, voted):
    storage, change = voted
    with TransactionLog(site.filestorage) as log:
        before = log.end()
        storage.tpc_abort(change)
        assert log.end(before.offset) == before._replace(tail="")


def test_a_transaction_may_have_been_written_up_to_any_byte(site, voted, written):
    data = site.filestorage.read_bytes()
    with TransactionLog(site.filestorage) as log:
        end = log.end().offset
    for size in range(end + 1, len(data)):
        found = written(data[:size]).end()
        assert found.offset == end
        assert found.tail == ("cut short" if size < end + 31 else "being written")


def test_a_walk_keeps_up_with_a_writer(tmp_path):
    site = Site(tmp_path)
    stop = Event()
    committed: list[Tid] = []

    def write() -> None:
        with site.opened():
            while not stop.is_set():
                committed.append(site.commit({"key": os.urandom(40_000).hex()}))

    writer = Thread(target=write)
    with TransactionLog(site.filestorage) as log:
        ends = [log.end()]
        writer.start()
        try:
            while len(ends) < 2000 and len(committed) < 200:
                ends.append(log.end(ends[-1].offset))
                assert ends[-1].tail in ("", "being written", "cut short")
        finally:
            stop.set()
            writer.join()
        boundaries = {each.end: each.tid for each in log.transactions()}
        assert log.end(ends[-1].offset).tid == committed[-1]
    assert len({end.offset for end in ends}) > 2
    assert all(boundaries[end.offset] == end.tid for end in ends)
    assert [end.offset for end in ends] == sorted(end.offset for end in ends)


def test_a_pack_that_swaps_the_file_changes_nothing(site):
    with TransactionLog(site.filestorage) as log:
        end, found = log.end(), list(log.transactions())
        data = log.read(0, end.offset)
        site.pack(FOUNDED + 9 * HOUR + HOUR / 2)
        assert os.stat(site.filestorage).st_ino != log.identity[1]
        assert (log.end(), list(log.transactions())) == (end, found)
        assert log.read(0, end.offset) == data


def test_what_a_pack_rewrote_is_known(site):
    site.pack(FOUNDED + 9 * HOUR + HOUR / 2)
    with TransactionLog(site.filestorage) as log:
        packed = [each.tid for each in log.transactions() if each.packed]
        assert packed[-1] == tid_at(FOUNDED + 9 * HOUR)
        assert log.end().packed == packed[-1]
        assert log.cut(packed[0]).packed == packed[0]
        first = next(log.transactions())
        assert log.end(first.end).packed == packed[-1]


# cuts


def test_a_cut_at_each_tid_ends_with_its_transaction(site):
    with TransactionLog(site.filestorage) as log:
        found = list(log.transactions())
        for each in found:
            cut = LogEnd(each.end, each.tid, each.begin, "")
            assert log.cut(each.tid) == cut
            assert {log.cut(each.tid, start.end) for start in found} == {cut}


def test_a_cut_at_a_moment_ends_with_the_last_transaction_at_or_before_it(site):
    microsecond = timedelta(microseconds=1)
    with TransactionLog(site.filestorage) as log:
        for hour in range(1, 12):
            moment = FOUNDED + hour * HOUR
            at = log.cut(moment)
            assert at.tid == tid_at(moment)
            assert log.cut(moment + HOUR - microsecond) == at
            assert log.cut(moment - microsecond).offset == at.begin


def test_a_cut_before_the_first_transaction_is_empty(site):
    with TransactionLog(site.filestorage) as log:
        before = log.cut(datetime(2000, 1, 1, tzinfo=timezone.utc))
        assert before == LogEnd(MAGIC_SIZE, None, MAGIC_SIZE, "")
        *_, last = log.transactions()
        assert log.cut(ZERO_TID, last.end) == before


def test_a_cut_goes_no_further_than_it_may(site):
    with TransactionLog(site.filestorage) as log:
        *_, before_last, last = log.transactions()
        assert log.cut(last.tid, stop=before_last.end).tid == before_last.tid


# boundaries


def test_only_a_boundary_will_do_as_start_or_stop(site):
    with TransactionLog(site.filestorage) as log:
        size = log.size
        boundaries = {MAGIC_SIZE, *(each.end for each in log.transactions())}
        for offset in [*range(600), size - 1, size + 1, 1 << 62, 1 << 70]:
            if offset not in boundaries:
                with pytest.raises(IntegrityError, match=f"no transaction ends at byte {offset} "):
                    log.end(offset)
                with pytest.raises(IntegrityError, match=f"no transaction ends at byte {offset} "):
                    list(log.transactions(stop=offset))


def test_transactions_end_where_they_are_to_stop(site):
    with TransactionLog(site.filestorage) as log:
        found = list(log.transactions())
        assert list(log.transactions(found[2].end, found[5].end)) == found[3:6]
        assert list(log.transactions(found[2].end, found[2].end)) == []


def test_reading_gives_exactly_what_was_asked_for(site):
    data = site.filestorage.read_bytes()
    with TransactionLog(site.filestorage) as log:
        assert log.read(10, 20) == data[10:30]
        with pytest.raises(IntegrityError, match=f"ends at byte {len(data)}") as caught:
            log.read(10, len(data))
    assert caught.value.where == str(site.filestorage)
    assert caught.value.hint


# what is no filestorage


def refused(path: Path) -> BackupError:
    with pytest.raises(BackupError) as caught:
        TransactionLog(path)
    assert caught.value.where == str(path)
    assert caught.value.hint
    return caught.value


def test_a_missing_filestorage_is_an_error_of_access(tmp_path):
    error = refused(tmp_path / "Data.fs")
    assert type(error) is BackupError
    assert "No such file" in str(error)


def test_a_directory_is_no_filestorage(tmp_path):
    assert "a directory" in str(refused(tmp_path))
    assert type(refused(tmp_path)) is BackupError


def test_a_named_pipe_is_no_filestorage_and_does_not_hold_us_up(tmp_path):
    os.mkfifo(tmp_path / "Data.fs")
    assert "no regular file" in str(refused(tmp_path / "Data.fs"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_filestorage_is_an_error_of_access(site):
    site.filestorage.chmod(0)
    assert type(refused(site.filestorage)) is BackupError


@pytest.mark.parametrize(
    ("data", "what"), [(b"", "empty"), (b"FS", "b'FS'"), (b"PK\3\4 and more", "not a filestorage")]
)
def test_other_contents_are_an_error_of_integrity(tmp_path, data, what):
    (tmp_path / "Data.fs").write_bytes(data)
    error = refused(tmp_path / "Data.fs")
    assert type(error) is IntegrityError
    assert what in str(error)


def test_nothing_stays_open_after_a_refusal(tmp_path):
    before = len(os.listdir("/dev/fd"))
    refused(tmp_path)
    assert len(os.listdir("/dev/fd")) == before


# memory


@pytest.mark.slow
def test_memory_does_not_grow_with_the_log(tmp_path):
    path = tmp_path / "Data.fs"
    data = logs.log([b"x" * 5_000_000], *[[b"y" * 300]] * 5_000, [b"z" * 5_000_000])
    path.write_bytes(data)
    with TransactionLog(path) as log:
        tracemalloc.start()
        try:
            assert log.end().offset == len(data)
            assert list(blobs(log, MAGIC_SIZE, len(data))) == []
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 2_000_000
