"""Data.fs.index: the same as FileStorage writes, in bounded memory."""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
import ZODB
from hypothesis import given
from hypothesis import strategies as st
from ZODB.Connection import TransactionMetaData
from ZODB.fsIndex import fsIndex

from collective.recipe.backup import process
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage import indexing
from collective.recipe.backup.filestorage.fsindex import ENTRY, NewIndex, fits, position
from collective.recipe.backup.filestorage.indexing import build_index
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import Oid
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.childprocesses import none_left
from collective.recipe.backup.tests.faults.harness import survive_every_fault
from collective.recipe.backup.tests.samples import FOUNDED, FileStorage, Site

HOUR = timedelta(hours=1)


def named(number: int) -> Oid:
    return Oid(number.to_bytes(8, "big"))


def build(source: Path, final: Path, *, files: Files | None = None) -> None:
    """Write the index of the filestorage *source*."""
    build_index(source, final, files=files or Files(), progress=Silent())


def run(places: Iterable[tuple[int, int]]) -> bytes:
    """Return the run of these numbers of objects, and the offset of each."""
    return b"".join(sorted(ENTRY.pack(named(oid), offset) for oid, offset in dict(places).items()))


def scanned(source: Path) -> bytes:
    """Return the index that FileStorage makes when it has to read the whole log."""
    index = source.with_name(f"{source.name}.index")
    index.unlink(missing_ok=True)
    FileStorage(str(source)).close()
    return index.read_bytes()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a change each hour, and one undone."""
    site = Site(tmp_path)
    with site.opened():
        for hour in range(1, 10):
            values = {f"key {number}": hour for number in range(hour, 20)}
            site.commit(values, {"blob": b"%d" % hour}, at=FOUNDED + hour * HOUR)
        site.undo(site.commit({"other": 1}, at=FOUNDED + 10 * HOUR), at=FOUNDED + 11 * HOUR)
        site.undo(site.commit({"key 1": 99}, at=FOUNDED + 12 * HOUR), at=FOUNDED + 13 * HOUR)
    return site


def delete(site: Site) -> None:
    storage = ZODB.FileStorage.FileStorage(str(site.filestorage))
    oid = bytes(7) + b"\1"
    change = TransactionMetaData()
    storage.tpc_begin(change)
    storage.deleteObject(oid, storage.load(oid)[1], change)
    storage.tpc_vote(change)
    storage.tpc_finish(change)
    storage.close()


@pytest.mark.parametrize("objects", [1, 7, 1000])
@pytest.mark.parametrize("then", ["", "delete", "pack", "pack and change"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_an_index_is_to_the_byte_what_filestorage_writes(
    site, monkeypatch, objects, then, elsewhere
):
    monkeypatch.setattr(indexing, "OBJECTS", objects)
    monkeypatch.setattr(indexing, "LARGE", 0)
    monkeypatch.setattr(process, "can_compute", lambda: elsewhere)
    if then == "delete":
        delete(site)
    if then.startswith("pack"):
        site.pack(FOUNDED + 5 * HOUR)
    if then.endswith("change"):
        site.commit({"key 1": "changed", "new": 1})
    ours = site.directory / "ours.index"
    with none_left():
        build(site.filestorage, ours)
    assert ours.read_bytes() == scanned(site.filestorage)
    assert {path.name for path in site.directory.iterdir()} == {"var", "ours.index"}


@pytest.mark.parametrize("cut", [1, 8, 100])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_log_that_is_cut_short_has_none(site, monkeypatch, cut, elsewhere):
    monkeypatch.setattr(indexing, "LARGE", 0)
    monkeypatch.setattr(process, "can_compute", lambda: elsewhere)
    os.truncate(site.filestorage, site.size - cut)
    with pytest.raises(IntegrityError, match="no transaction ends"):
        build(site.filestorage, site.directory / "ours.index")
    assert not (site.directory / "ours.index").exists()


def test_a_filestorage_with_it_opens_without_reading_the_log_again(site, caplog):
    contents = site.contents()
    index = site.filestorage.with_name("Data.fs.index")
    index.unlink()
    build(site.filestorage, index)
    with site.opened() as db:
        assert db.storage._used_index == 1
        assert db.storage.getSize() == site.size
        assert dict(db.storage._index.items()) == dict(fsIndex.load(str(index))["index"].items())
    assert site.contents() == contents
    assert not caplog.records


def test_what_came_later_is_all_that_a_filestorage_reads_with_an_older_one(site):
    index = site.filestorage.with_name("Data.fs.index")
    older = index.read_bytes()
    site.commit({"key 1": "later"})
    index.write_bytes(older)
    with site.opened() as db:
        assert db.storage._used_index == 1
    assert site.contents()["values"]["key 1"] == "later"


def test_an_empty_log_has_an_empty_index(tmp_path):
    with NewIndex(tmp_path / "Data.fs.index", Files()) as writer:
        writer.write(4)
    assert len(fsIndex.load(str(tmp_path / "Data.fs.index"))["index"]) == 0
    assert position(tmp_path / "Data.fs.index") == 4


@pytest.mark.parametrize("script", ["sys.exit()", "os.kill(os.getpid(), 9)", "print('hello')"])
def test_what_another_process_does_not_do_is_done_here(site, monkeypatch, script):
    monkeypatch.setattr(indexing, "LARGE", 0)
    monkeypatch.setattr(process, "can_compute", lambda: True)
    first = "import os, pickle, sys; pickle.dump([20, bytes(16)], sys.stdout.buffer); "
    monkeypatch.setattr(process, "_COMPUTE", f"{first}sys.stdout.flush(); {script}")
    ours = site.directory / "ours.index"
    with none_left():
        build(site.filestorage, ours)
    assert ours.read_bytes() == scanned(site.filestorage)


@given(
    st.lists(st.integers(0, 300) | st.integers(0, 2**64 - 1), max_size=60),
    st.integers(1, 20),
    st.integers(1, 2**40),
)
def test_whatever_oids_there_are_the_last_place_of_each_is_found(tmp_path_factory, oids, at, step):
    final = tmp_path_factory.mktemp("index") / "Data.fs.index"
    places = [(oid, 4 + number * step) for number, oid in enumerate(oids)]
    with NewIndex(final, Files()) as writer:
        for begin in range(0, len(places), at):
            writer.add(run(places[begin : begin + at]))
        writer.write(2**47)
    loaded = fsIndex.load(str(final))
    assert loaded["pos"] == 2**47
    assert {int.from_bytes(oid, "big"): at for oid, at in loaded["index"].items()} == dict(places)


def test_memory_does_not_grow_with_the_number_of_objects(tmp_path):
    numbers = random.Random(1)
    with NewIndex(tmp_path / "Data.fs.index", Files()) as writer:
        tracemalloc.start()
        try:
            for begin in range(4, 400_000, 20_000):
                offsets = range(begin, begin + 20_000, 10)
                writer.add(run((numbers.getrandbits(24), offset) for offset in offsets))
            _, adding = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        writer.write(400_000)
    assert adding < 1_000_000
    assert len(fsIndex.load(str(tmp_path / "Data.fs.index"))["index"]) > 39_000


def test_a_log_is_read_in_runs_of_a_few_objects(site, monkeypatch):
    monkeypatch.setattr(indexing, "OBJECTS", 5)
    with TransactionLog(site.filestorage) as log:
        runs = list(indexing.runs_of(log))
    assert runs[-1][0] == site.size
    assert len(runs) > 5
    assert all(5 <= len(found) // ENTRY.size < 40 for _end, found in runs[:-1])


def test_a_large_index_is_written_piece_by_piece(tmp_path):
    places = {number * 7: 4 + number for number in range(150_000)}
    with NewIndex(tmp_path / "Data.fs.index", Files()) as writer:
        writer.add(run(places.items()))
        writer.write(200_000)
    loaded = fsIndex.load(str(tmp_path / "Data.fs.index"))["index"]
    assert {int.from_bytes(oid, "big"): at for oid, at in loaded.items()} == places


def test_after_any_fault_there_is_no_index_or_a_whole_one(site, monkeypatch):
    monkeypatch.setattr(indexing, "OBJECTS", 10)
    expected = scanned(site.filestorage)

    def make() -> Path:
        directory = site.directory / "restored"
        directory.mkdir(exist_ok=True)
        Files().sweep(directory)
        (directory / "Data.fs.index").unlink(missing_ok=True)
        return directory / "Data.fs.index"

    def act(final: Path, files: Files) -> None:
        build(site.filestorage, final, files=files)

    def check(final: Path, outcome: BaseException | None) -> None:
        assert outcome is None or not isinstance(outcome, OSError)
        if outcome is None or final.exists():
            assert final.read_bytes() == expected

    assert survive_every_fault(make, act, check) > 20


def test_a_full_disk_is_explained(tmp_path):
    class Full(Files):
        def _change(self, operation, path, function, *args, **kwargs):
            raise OSError(28, os.strerror(28), os.fspath(path))

    writer = NewIndex(tmp_path / "Data.fs.index", Full())
    with pytest.raises(BackupError, match="cannot write the index") as caught:
        writer.write(4)
    assert caught.value.hint
    writer.add(run([(1, 4)]))
    with pytest.raises(BackupError, match="cannot put a part of the index aside") as caught:
        writer.add(run([(1, 9)]))
    assert caught.value.hint


# reading


def test_the_position_is_read_without_the_rest(site):
    index = site.filestorage.with_name("Data.fs.index")
    assert position(index) == site.size == fsIndex.load(str(index))["pos"]


@pytest.mark.parametrize("number", [4, 255, 256, 46 * 257, 65536, 2**31 - 1, 2**31, 2**45 + 46])
def test_a_position_may_be_any_number(tmp_path, number):
    fsIndex().save(number, str(tmp_path / "index"))
    assert position(tmp_path / "index") == number


def test_an_index_that_is_missing_or_not_whole_has_no_position(site, tmp_path):
    index = site.filestorage.with_name("Data.fs.index")
    data = index.read_bytes()
    assert position(tmp_path / "missing") is None
    assert position(tmp_path) is None
    for size in range(len(data)):
        index.write_bytes(data[:size])
        assert position(index) is None
    for begin in (b"\x80\x03}q\0.", b"\x80\x03\x8a\xff", b"not a pickle"):
        index.write_bytes(begin + data)
        assert position(index) is None


def test_a_pipe_in_its_place_has_none_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "index")
    assert position(tmp_path / "index") is None


def test_an_index_fits_the_log_it_was_made_of(site):
    index = site.filestorage.with_name("Data.fs.index")
    before = site.size
    site.commit({"key 1": "later"})
    with TransactionLog(site.filestorage) as log:
        assert fits(index, log, log.size)
        assert not fits(index, log, before)
        fsIndex().save(before, str(index))
        assert fits(index, log, before)
        assert fits(index, log, log.size)
        for other in (before - 1, before + 1, log.size + 100):
            fsIndex().save(other, str(index))
            assert not fits(index, log, log.size + 1000)
        index.unlink()
        assert not fits(index, log, log.size)
