"""A moment as a storage: it shows what ZODB reads from a restore to that moment, and no more."""

from __future__ import annotations

import gc
import os
import pickle
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import ZODB
from ZODB.blob import Blob, is_blob_record
from ZODB.FileStorage import FileStorage
from ZODB.interfaces import IBlobStorage
from ZODB.POSException import POSKeyError, ReadOnlyError, StorageError
from ZODB.utils import maxtid, p64, u64, z64

from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.storedlog import StoredLog
from collective.recipe.backup.operations.prune import prune
from collective.recipe.backup.repository.collecting import collect
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.served.loggedextensions import extension_of
from collective.recipe.backup.served.momentmaking import MomentCache, moment_storage
from collective.recipe.backup.served.momentstorage import MomentStorage
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import Tid, When

KINDS = {
    "plain": (Operated, {"gzip": False}),
    "gzip": (Operated, {"gzip": True}),
    "archives": (Operated, {"gzip": True, "archive_blob": True}),
    "repository": (OperatedInRepository, {}),
}


@contextmanager
def opened(
    operated: Operated, when: When | None = None, *, cache: MomentCache | None = None
) -> Iterator[MomentStorage]:
    destination = operated.destination()
    state = destination.open(choose(destination.restore_points(), when))
    room = operated.site.directory / "cache"
    with closing(
        moment_storage(state, "a moment", Files(), cache or MomentCache(room, 1 << 30))
    ) as storage:
        yield storage
    assert list(room.glob("*")) == []


def eventful(directory: Path) -> tuple[Site, list[Tid]]:
    """Return a site in which a lot has happened, and the tids that are worth a look."""
    site, tids = Site(directory), []
    at = NOON - timedelta(days=1)

    def later() -> Any:
        nonlocal at
        at += timedelta(minutes=1)
        return at

    with site.opened():
        site.commit({"a": 1, "b": "two"}, {"x": b"first", "y": b"why" * 999}, at=later(), by="jane")
        tids.append(site.commit({"a": 2}, {"x": b"second"}, at=later(), note="a change"))
        tids.append(site.commit({"new": "soon taken back"}, {"z": b"zed"}, at=later()))
        site.undo(tids[-1], at=later())
        site.undo(tids[0], at=later())
        site.commit_blob_twice("y", b"twice", at=later())
        for number in range(15):
            site.commit({f"n{number % 7}": str(number) * 50}, at=later())
        tids.append(site.commit({"large": "." * 300_000}, at=later()))
    return site, tids


def errors_of(ask: Any, *arguments: Any) -> Any:
    """Return what *ask* returns, or the kind of its error."""
    try:
        return ask(*arguments)
    except POSKeyError:
        return POSKeyError


def seen(storage: Any) -> dict[str, Any]:
    """Return all that can be asked of a storage."""
    # FileStorage closes the file of its iterator at the end
    transactions = [(each, [(it.oid, it.tid) for it in each]) for each in storage.iterator()]
    records = [it for _each, some in transactions for it in some]
    oids = sorted({oid for oid, _tid in records})
    all_tids = [each.tid for each, _some in transactions]
    found: dict[str, Any] = {
        "last": storage.lastTransaction(),
        "size": storage.getSize(),
        "len": len(storage),
        "transactions": [
            (it.tid, it.status, it.user, it.description, it.extension, it.extension_bytes)
            for it, _some in transactions
        ],
        "records": [
            (it.oid, it.tid, it.data, it.data_txn) for it in chain.from_iterable(storage.iterator())
        ],
        "some": [
            [it.tid for it in storage.iterator(start, stop)]
            for start, stop in ((all_tids[1], None), (None, all_tids[1]), (all_tids[-1],) * 2)
        ],
        "undo": (storage.undoLog(0, 1000), storage.undoLog(1, -2)),
        "undo of a user": storage.undoInfo(0, 1000, {"user_name": b"/ jane"}),
        "histories": [storage.history(oid, 100) for oid in oids],
    }
    for name in ("load", "getTid"):
        found[name] = [errors_of(getattr(storage, name), oid) for oid in oids]
    for oid, tid in {*records, *((oid, maxtid) for oid in oids), (p64(1 << 40), maxtid)}:
        for name in ("loadSerial", "loadBefore"):
            found[f"{name} {oid!r} {tid!r}"] = errors_of(getattr(storage, name), oid, tid)
    found["before"] = [
        errors_of(storage.loadBefore, oid, p64(u64(tid) + 1)) for oid, tid in records
    ]
    found["in order"] = list(in_order(storage))
    for oid, tid, data, _lender in found["records"]:
        if data and is_blob_record(data):
            found[f"blob {oid!r} {tid!r}"] = blob_of(storage, oid, tid)
    return found


def in_order(storage: Any) -> Iterator[Any]:
    following: bytes | None = None
    while True:
        try:
            oid, tid, data, following = storage.record_iternext(following)
        except POSKeyError:
            return  # its creation was taken back; FileStorage says so as well
        yield oid, tid, data
        if following is None:
            return


def blob_of(storage: Any, oid: bytes, tid: bytes) -> Any:
    assert IBlobStorage.providedBy(storage)
    path = errors_of(storage.loadBlob, oid, tid)
    if path is POSKeyError:
        return path
    content = Path(path).read_bytes()
    for blob in (None, Blob()):
        with storage.openCommittedBlobFile(oid, tid, blob) as file:
            assert file.read() == content
    return content


def restored(operated: Operated, when: When | None, directory: Path) -> dict[str, Any]:
    operated.restore(when, to=directory)
    [filestorage] = directory.rglob("Data.fs")
    blobs = directory / "blobstorage"
    with closing(FileStorage(str(filestorage), read_only=True, blob_dir=str(blobs))) as storage:
        return seen(storage)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_packed", [False, True], ids=["whole", "packed"])
def test_what_is_served_is_what_zodb_reads_from_a_restore(tmp_path, kind, is_packed):
    site, tids = eventful(tmp_path / "site")
    make, options = KINDS[kind]
    operated = make(site, **options)
    operated.backup()
    moments: list[When | None] = [None] if is_packed else [None, tids[0], tids[1], tids[2]]
    if is_packed:
        site.pack(NOON - timedelta(days=1) + timedelta(minutes=20))
        operated.backup()
    site.commit({"after": "the backup"}, {"after": b"too"}, at=operated.now)
    operated.backup()
    for number, when in enumerate(moments):
        wanted = restored(operated, when, tmp_path / str(number))
        with opened(operated, when) as storage:
            assert seen(storage) == wanted


def test_the_index_of_the_restore_point_saves_the_walk_over_what_it_knows(site, monkeypatch):
    with site.opened():
        for number in range(5):
            site.commit({str(number): number})
    operated = Operated(site, gzip=False)
    operated.backup()
    site.commit({"one more": 1})
    operated.backup()
    walked = []
    places = StoredLog.places
    monkeypatch.setattr(
        StoredLog, "places", lambda log, start: walked.append(start) or places(log, start)
    )
    with opened(operated) as storage:
        assert len(list(storage.iterator())) == 8
        assert errors_of(storage.load, z64) is not POSKeyError
    destination = operated.destination()
    with destination.open(choose(destination.restore_points(), None)) as state:
        [start] = walked
        assert 4 < start < state.log.size


def test_an_application_reads_it_as_any_database(tmp_path):
    site, tids = eventful(tmp_path)
    operated = Operated(site)
    operated.backup()
    with (
        opened(operated, tids[1]) as storage,
        closing(ZODB.DB(storage)) as db,
        db.transaction() as connection,
    ):
        root = connection.root()
        assert root["values"]["new"]["value"] == "soon taken back"
        assert "large" not in root["values"]
        with root["blobs"]["z"].open() as file:
            assert file.read() == b"zed"
        historical = db.open(before=tids[0])
        assert historical.root()["values"]["a"]["value"] == 1
        historical.close()


def test_nothing_can_be_written(site):
    site.commit({"a": 1})
    operated = Operated(site)
    operated.backup()
    with opened(operated) as storage:
        assert storage.isReadOnly()
        for name in ("new_oid", "store", "storeBlob", "restore", "restoreBlob", "deleteObject"):
            with pytest.raises(ReadOnlyError):
                getattr(storage, name)()
        for name in ("tpc_begin", "tpc_vote", "tpc_finish", "undo", "pack"):
            with pytest.raises(ReadOnlyError):
                getattr(storage, name)()


@pytest.mark.parametrize("kind", ["plain", "repository"])
def test_a_small_cache_shows_the_same_as_a_large_one(tmp_path, kind, monkeypatch):
    """What was put aside first makes room, and is read again."""
    monkeypatch.setattr("collective.recipe.backup.served.readpages.LEAST", 700_000)
    monkeypatch.setattr("collective.recipe.backup.served.readpages._FILES", 0)
    monkeypatch.setattr("collective.recipe.backup.served.momentblobs._KEPT", 1)
    site, _tids = eventful(tmp_path)
    for number in range(4):
        site.commit({"large": str(number) * 500_000}, at=NOON + timedelta(minutes=number))
    make, options = KINDS[kind]
    operated = make(site, **options)
    operated.backup()
    with opened(operated) as storage:
        wanted = seen(storage)
    small = MomentCache(tmp_path / "cache", 1)
    with opened(operated, cache=small) as storage:
        assert seen(storage) == wanted


def test_a_damaged_byte_is_an_error_and_no_object(site):
    with site.opened():
        for number in range(5):
            site.commit({str(number): str(number) * 700_000})
    operated = Operated(site, gzip=False)
    operated.backup()
    [part] = operated.place().filestorage.glob("*.fs")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with opened(operated) as storage:
        assert storage.load(z64)[1] == storage.lastTransaction()
        with pytest.raises(StorageError, match=r"damaged.*\.fs"):
            for each in storage.iterator():
                for record in each:
                    assert record.data


def test_a_damaged_blob_is_an_error_and_no_file(tmp_path):
    site, tids = eventful(tmp_path)
    operated = Operated(site)
    operated.backup()
    with opened(operated) as storage:
        [oid] = {
            it.oid
            for it in chain.from_iterable(storage.iterator(tids[1], tids[1]))
            if it.data and is_blob_record(it.data)
        }
        for path in operated.place().blobstorage.rglob(f"0x{tids[1].hex()}.blob"):
            os.chmod(path, 0o600)
            path.write_bytes(b"zod")
        with pytest.raises(StorageError, match="damaged"):
            storage.loadBlob(oid, tids[1])
        with pytest.raises(POSKeyError):
            storage.loadBlob(oid, tids[0])


def test_what_is_open_stays_as_it_was_while_backups_come_and_go(tmp_path):
    """Plain data files are held open: their removal takes nothing away."""
    site, _tids = eventful(tmp_path)
    operated = Operated(site, gzip=False, keep=1)
    operated.backup()
    with opened(operated) as storage:
        before, wanted = seen(storage), records_in(storage)
        site.commit({"a": "later"}, at=operated.now)
        operated.backup()
        assert seen(storage) == before
        operated.backup(full=True)
        assert prune(operated.run("prune"))
        # the blobs have gone with the restore point, and nothing else is shown in their place
        assert records_in(storage) == wanted
        with pytest.raises(StorageError, match="cannot open a blob of the backup"):
            seen(storage)


def test_what_is_open_stays_as_it_was_while_small_pieces_are_put_together(site):
    operated = Operated(site, gzip=True)
    for number in range(4):
        at = NOON + timedelta(minutes=20 * number)
        site.commit({str(number): str(number) * 700_000}, at=at)
        operated.now = at - timedelta(hours=1)
        operated.backup()
    with opened(operated) as storage:
        assert storage.load(z64)
        before = sorted(operated.place().filestorage.glob("*z"))
        assert list(operated.destination().tidy(NOON + timedelta(hours=3)))
        assert sorted(operated.place().filestorage.glob("*z")) != before
        with closing(FileStorage(str(site.filestorage), read_only=True)) as live:
            assert records_in(storage) == records_in(live)


def test_what_a_repository_has_let_go_is_an_error_and_nothing_else(site):
    """What was read before stays."""
    operated = OperatedInRepository(site)
    for number in range(3):
        site.commit({"a": str(number) * 3_000_000, "b": number}, {"x": b"%d" % number})
    operated.backup()
    with opened(operated) as storage:
        known = storage.load(z64)
        first = operated.points()
        site.pack()
        for number in range(3):
            site.commit({"a": str(number) * 3_000_000})
        site.pack()
        operated.backup()
        operated.destination().remove(first, certain=True)
        for _run in range(4):
            operated.now += timedelta(days=9)
            with operated.destination()._repository() as repository:
                collect(repository, yes=True)
        assert storage.load(z64) == known
        with pytest.raises(StorageError, match="a piece of the repository"):
            records_in(storage)


def test_an_index_that_is_wrong_or_hostile_is_not_used(site, tmp_path, monkeypatch):
    """It belongs to a part by repozo, of which no digest of the index is known."""
    monkeypatch.chdir(tmp_path)
    site.commit({"a": 1})
    operated = Operated(site, gzip=False)
    operated.backup()
    [part] = operated.place().filestorage.glob("*.fs")
    part.with_suffix(".blocks").unlink()
    size = part.stat().st_size
    for entries in (
        pickle.dumps(Dangerous(), 3),
        pickle.dumps((bytes(6), b"\0\1" + bytes(6)), 3) + pickle.dumps(None, 3),
        b"\x80\x03C\x06",
    ):
        part.with_suffix(".index").write_bytes(pickle.dumps(size, 3) + entries)
        with opened(operated) as storage:
            assert storage.load(z64)[1] <= storage.lastTransaction()
            assert len(storage) == len({oid for oid, _tid, _data in records_in(storage)})
    assert not (tmp_path / "taken-over").exists()


def records_in(storage: MomentStorage) -> list[Any]:
    return [(it.oid, it.tid, it.data) for it in chain.from_iterable(storage.iterator())]


def test_a_closed_moment_says_so(site):
    operated = Operated(site)
    operated.backup()
    with opened(operated) as storage:
        pass
    with pytest.raises(StorageError, match="closed"):
        storage.load(z64)
    storage.close()
    del storage
    gc.collect()


class Dangerous:
    def __reduce__(self) -> Any:
        return os.mkdir, ("taken-over",)


def test_the_extension_of_a_transaction_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = {"request_type": "PUT", "numbers": [1, 2]}
    assert extension_of(pickle.dumps(good)) == good
    assert extension_of(pickle.dumps({**good, "evil": Dangerous()})) == good
    assert extension_of(pickle.dumps(Dangerous())) == {}
    assert extension_of(b"cos\nsystem\n(S'touch x'\ntR.") == {}
    assert extension_of(b"\x80") == extension_of(b"") == {}
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_left_in_the_cache_goes_with_the_next_one(site):
    operated = Operated(site)
    operated.backup()
    room = site.directory / "cache"
    dead = room / "backup-open.01234567.partial"
    dead.mkdir(parents=True)
    (dead / "lock.89abcdef.partial").touch()
    with opened(operated), opened_beside(operated):
        assert not dead.exists()
        assert len(list(room.iterdir())) == 2


@contextmanager
def opened_beside(operated: Operated) -> Iterator[MomentStorage]:
    destination = operated.destination()
    state = destination.open(choose(destination.restore_points(), None))
    cache = MomentCache(operated.site.directory / "cache", 1 << 30)
    with closing(moment_storage(state, "another", Files(), cache)) as storage:
        yield storage
