"""Data records of a log: those that ZODB sees, and nothing that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import ZODB
from ZODB.FileStorage import format as law

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage import format as ours
from collective.recipe.backup.filestorage.blobrecords import blobs
from collective.recipe.backup.filestorage.records import RecordReader, records_of
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.samples import Site


def test_the_format_is_that_of_zodb():
    assert ours.TRANSACTION.format == law.TRANS_HDR
    assert ours.RECORD.format == law.DATA_HDR
    assert ours.MAGICS[0] == ZODB.FileStorage.packed_version


def test_each_record_is_where_zodb_finds_it(tmp_path):
    site = Site(tmp_path)
    site.commit({"key": 1}, {"blob": b"1"})
    site.undo(site.commit({"key": 2}))
    storage = ZODB.FileStorage.FileStorage(str(site.filestorage), read_only=True)
    expected = [(each.oid, each.tid, each.pos) for found in storage.iterator() for each in found]
    headers = [storage._read_data_header(pos) for _oid, _tid, pos in expected]
    storage.close()
    with TransactionLog(site.filestorage) as log:
        found = [record for each in log.transactions() for record in records_of(log, each)]
        for record, header in zip(found, headers, strict=True):
            assert record.previous == header.prev
            assert record.transaction == header.tloc
            assert (record.size, record.backpointer) == (header.plen, header.back)
            assert log.read(record.offset, 8) == record.oid
    assert [(each.oid, each.tid, each.offset) for each in found] == expected


def test_an_undone_transaction_has_no_records_that_count(tmp_path):
    path = tmp_path / "Data.fs"
    path.write_bytes(logs.log([b"one"], status=b"u"))
    with TransactionLog(path) as log:
        [undone] = log.transactions()
        assert undone.undone
        assert list(records_of(log, undone)) == []
        assert RecordReader(log).counted(undone) == (0, 0)


def test_records_are_counted_across_all_windows(tmp_path):
    path = tmp_path / "Data.fs"
    many = b"".join(logs.record(4, logs.tid(1), data=bytes(size)) for size in range(1, 2000))
    path.write_bytes(b"FS30" + logs.framed(logs.tid(1), many, texts=(b"", b"", b"")))
    with TransactionLog(path) as log:
        [transaction] = log.transactions()
        reader = RecordReader(log)
        assert reader.counted(transaction) == (1999, 0)
        assert len(list(reader.places(transaction))) == 1999


@pytest.mark.parametrize(
    ("records", "offset"),
    [
        (logs.record(5, logs.tid(1)), 27),
        (logs.record(4, logs.tid(1))[:-1], 27),
        (logs.record(4, logs.tid(1))[:20], 27),
        (logs.record(4, logs.tid(1)) + b"more", 27 + 46),
        (logs.record(4, logs.tid(1), data=b"")[:-1], 27),
        (logs.record(4, logs.tid(1))[:32] + b"\0\1" + logs.record(4, logs.tid(1))[34:], 27),
    ],
)
def test_a_record_that_does_not_fit_is_named_by_its_offset(tmp_path: Path, records, offset):
    path = tmp_path / "Data.fs"
    data = b"FS30" + logs.framed(logs.tid(1), records, texts=(b"", b"", b""))
    path.write_bytes(data)
    with TransactionLog(path) as log:
        [transaction] = log.transactions()
        with pytest.raises(IntegrityError, match=f"at byte {offset} ") as caught:
            list(records_of(log, transaction))
        with pytest.raises(IntegrityError, match=f"at byte {offset} "):
            RecordReader(log).counted(transaction)
        with pytest.raises(IntegrityError, match=f"at byte {offset} "):
            list(blobs(log, 4, len(data)))
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_a_backpointer_leads_to_the_record_that_has_the_data(tmp_path):
    path = tmp_path / "Data.fs"
    first = logs.record(4, logs.tid(1), data=b"data")
    data = b"FS30" + logs.framed(logs.tid(1), first)
    second = len(data)
    back = logs.record(second, logs.tid(2), data=b"", back=4 + 23 + 7)
    data += logs.framed(logs.tid(2), back)
    third = len(data)
    again = logs.record(third, logs.tid(3), data=b"", back=second + 23 + 7)
    gone = logs.record(third, logs.tid(3), oid=2, data=b"", back=0)
    path.write_bytes(data + logs.framed(logs.tid(3), again + gone))
    with TransactionLog(path) as log:
        reader = RecordReader(log)
        *_others, last = log.transactions()
        (record, _head), (removed, _head) = reader.records(last)
        origin = reader.origin(record)
        assert origin is not None
        assert (origin.tid, origin.offset, origin.size) == (logs.tid(1), 4 + 23 + 7, 4)
        assert reader.follow(record) == b"data"
        assert reader.counted(last) == (2, 2)
        assert reader.origin(removed) is None
