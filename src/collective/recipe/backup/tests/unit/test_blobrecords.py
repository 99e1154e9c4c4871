"""Blob records: found where ZODB finds them, by looking at names only."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zlib
from datetime import timedelta
from pathlib import Path

import pytest
import transaction
import ZODB
import zodbpickle.pickle
from ZODB.blob import Blob, is_blob_record

from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.blobrecords import NamedBlobs, blobs, is_blob
from collective.recipe.backup.filestorage.log import MAGIC_SIZE
from collective.recipe.backup.filestorage.segments import Keys, Target, capture
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.samples import FOUNDED, Site, contents_of
from collective.recipe.backup.tests.segmented import SECRET, MemoryChunks
from collective.recipe.backup.times import Tid

BLOB = b"\x80\x03cZODB.blob\nBlob\nq\x01.\x80\x03N."
HOUR = timedelta(hours=1)


def named(path: Path) -> list[BlobId]:
    with TransactionLog(path) as log:
        found = list(blobs(log, MAGIC_SIZE, log.end().offset))
        noted = NamedBlobs(log, MAGIC_SIZE)
        target = Target(chunks=MemoryChunks(), keys=Keys(SECRET), blobs=noted)
        capture(log, log.end(), target)
    assert list(noted) == found
    return sorted(found)


def known_to_zodb(site: Site) -> list[BlobId]:
    revisions = contents_of(site.filestorage, site.blobstorage)["revisions"]
    return sorted(
        BlobId(Oid(bytes.fromhex(oid)), Tid(bytes.fromhex(tid))) for tid, oid in revisions
    )


def on_disk(site: Site) -> list[BlobId]:
    # the bushy layout: a directory for each byte of the oid
    return sorted(
        BlobId(
            Oid(bytes(int(part, 16) for part in path.parent.parts[-8:])),
            Tid(bytes.fromhex(path.name[2:18])),
        )
        for path in site.blobstorage.rglob("*.blob")
    )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    for number in range(4):
        site.commit({"key": number}, {"changed": b"%d" % number, f"new {number}": b""})
    return site


def test_each_blob_file_is_named_by_a_record(site):
    assert named(site.filestorage) == known_to_zodb(site) == on_disk(site)
    assert len(on_disk(site)) == 8


def test_a_blob_with_two_records_in_a_transaction_is_named_once(site):
    site.commit_blob_twice("changed", b"anew")
    assert named(site.filestorage) == known_to_zodb(site) == on_disk(site)
    assert len(on_disk(site)) == 9


def test_an_undone_change_of_a_blob_made_a_new_blob_file(site):
    undone = site.undo(site.commit(blobs={"changed": b"wrong"}))
    assert named(site.filestorage) == known_to_zodb(site) == on_disk(site)
    assert [each.tid for each in named(site.filestorage)].count(undone) == 1


def test_an_undone_undo_leads_on_through_backpointers(site):
    site.undo(site.undo(site.commit(blobs={"changed": b"right"})))
    assert named(site.filestorage) == known_to_zodb(site) == on_disk(site)


def test_an_undone_creation_left_no_blob_file(site):
    undone = site.undo(site.commit(blobs={"created": b"too early"}))
    assert named(site.filestorage) == known_to_zodb(site) == on_disk(site)
    assert undone not in {each.tid for each in named(site.filestorage)}


def test_a_deleted_object_names_no_blob(site):
    blob = named(site.filestorage)[0]
    storage = ZODB.FileStorage.FileStorage(str(site.filestorage), blob_dir=str(site.blobstorage))
    change = ZODB.Connection.TransactionMetaData()
    storage.tpc_begin(change)
    storage.deleteObject(blob.oid, storage.load(blob.oid)[1], change)
    storage.tpc_vote(change)
    tid = Tid(storage.tpc_finish(change))
    storage.close()
    assert BlobId(blob.oid, tid) not in named(site.filestorage)
    assert named(site.filestorage) == on_disk(site)


def test_packed_away_blobs_are_named_no_more(tmp_path):
    site = Site(tmp_path)
    for hour in range(1, 5):
        site.commit(blobs={"changed": b"%d" % hour}, at=FOUNDED + hour * HOUR)
    site.undo(site.commit(blobs={"changed": b"no"}, at=FOUNDED + 5 * HOUR), at=FOUNDED + 6 * HOUR)
    site.pack(FOUNDED + 3 * HOUR + HOUR / 2)
    assert named(site.filestorage) == known_to_zodb(site) == on_disk(site)
    site.pack(FOUNDED + 7 * HOUR)
    assert named(site.filestorage) == known_to_zodb(site) == on_disk(site)
    assert len(on_disk(site)) == 1


def test_a_range_names_the_blobs_of_its_transactions(site):
    with TransactionLog(site.filestorage) as log:
        boundaries = [MAGIC_SIZE, *(each.end for each in log.transactions())]
        by_transaction = [
            list(blobs(log, start, stop))
            for start, stop in zip(boundaries, boundaries[1:], strict=False)
        ]
        tids = [each.tid for each in log.transactions()]
        assert sum(by_transaction, []) == list(blobs(log, MAGIC_SIZE, boundaries[-1]))
    for tid, found in zip(tids, by_transaction, strict=True):
        assert {blob.tid for blob in found} <= {tid}


def test_a_site_with_compressed_records_names_its_blobs(tmp_path):
    zlibstorage = pytest.importorskip("zc.zlibstorage", exc_type=ImportError)
    storage = ZODB.FileStorage.FileStorage(
        str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "blobs")
    )
    db = ZODB.DB(zlibstorage.ZlibStorage(storage))
    with db.transaction() as connection:
        for number in range(20):
            connection.root()[f"{number}"] = Blob(b"%d" % number)
    with db.transaction() as connection:
        connection.root()["1"].open("w").close()
    db.undo(db.undoLog(0, 1)[0]["id"], transaction.get())
    transaction.commit()
    db.close()
    assert b".zx\x9c" in (tmp_path / "Data.fs").read_bytes()
    assert len(named(tmp_path / "Data.fs")) == len(list((tmp_path / "blobs").rglob("*.blob"))) == 22


def test_a_blob_record_may_be_compressed_itself_and_be_led_to_by_a_backpointer(tmp_path):
    path = tmp_path / "Data.fs"
    start = logs.log([b".z" + zlib.compress(BLOB + bytes(100_000))])
    serial = logs.tid(2)
    records = logs.record(len(start), serial, data=b"", back=4 + 23 + len(b"userext"))
    path.write_bytes(start + logs.framed(serial, records))
    oid = Oid(bytes(7) + b"\1")
    assert named(path) == [BlobId(oid, logs.tid(1)), BlobId(oid, serial)]


def test_a_record_with_a_backpointer_at_itself_or_ahead_is_refused(tmp_path):
    path = tmp_path / "Data.fs"
    start = logs.log([BLOB])
    serial = logs.tid(2)
    offset = len(start) + 23
    for back in (offset, offset + 1, 10**6, 2**64 - 1, 5, 40):
        records = logs.record(len(start), serial, data=b"", back=back)
        path.write_bytes(start + logs.framed(serial, records, texts=(b"", b"", b"")))
        if back < offset:
            # it leads to something that may be anything, but must not end in a crash or a loop
            assert len(named(path)) in (1, 2)
        else:
            with pytest.raises(IntegrityError, match=f"at byte {offset} "):
                named(path)


# the decision itself


class Other:
    pass


PICKLES = {
    "a blob": (BLOB, True),
    "protocol 0": (pickle.dumps(Blob, 0), True),
    "protocol 2": (pickle.dumps(Blob, 2), True),
    "protocol 4": (pickle.dumps(Blob, 4), True),
    "protocol 5": (pickle.dumps(Blob, 5), True),
    "compressed": (b".z" + zlib.compress(BLOB), True),
    "compressed, no blob": (b".z" + zlib.compress(pickle.dumps(Other, 3) + BLOB), False),
    "with a long state": (BLOB[:-4] + pickle.dumps("x" * 5000, 3), True),
    "another class": (pickle.dumps(Other, 3) + b"N.", False),
    "another of that module": (b"\x80\x03cZODB.blob\nBlobFile\nq\x01.N.", False),
    "one that refers to a blob": (pickle.dumps(Other, 3) + BLOB, False),
    "class with arguments": (pickle.dumps((Blob, ()), 3) + b"N.", False),
    "an instance": (b"\x80\x03cZODB.blob\nBlob\n)R.N.", False),
    "a new instance": (b"\x80\x03cZODB.blob\nBlob\n)\x81.N.", False),
    "a persistent reference": (b"\x80\x03cZODB.blob\nBlob\nQ.N.", False),
    "cut short": (BLOB[:15], False),
    "empty": (b"", False),
    "bad compression": (b".z" + BLOB, False),
    "only compressed in name": (b".z", False),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_record_is_a_blob_if_zodb_says_so(name):
    data, expected = PICKLES[name]
    assert is_blob(data[:512]) is expected
    if data[:2] not in (b"\x80\4", b"\x80\5"):  # ZODB knows no later protocol than 3 today
        plain = zlib.decompress(data[2:]) if data[:4] == b".zx\x9c" else data
        assert is_blob_record(plain) == expected


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_whatever_a_pickler_writes_for_the_class_is_understood(protocol):
    written = pickle.dumps(Blob, protocol)
    assert is_blob(written)
    assert is_blob(pickletools.optimize(written))
    file = io.BytesIO()
    pickler = pickle._Pickler(file, protocol)  # that of Python differs from that of C
    pickler.dump(Blob)
    assert is_blob(file.getvalue())
    if protocol <= 3:
        assert is_blob(zodbpickle.pickle.dumps(Blob, protocol))
        assert is_blob(file.getvalue().replace(b"q\0", b"r\0\1\0\0"))


def test_nothing_that_a_pickle_names_is_run(tmp_path):
    marker = tmp_path / "was run"

    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    for protocol in range(6):
        attack = pickle.dumps([Attack(), "ZODB.blob"], protocol)
        assert not is_blob(attack)
        assert not marker.exists()
        pickle.loads(attack)
        assert marker.exists()
        marker.rmdir()
