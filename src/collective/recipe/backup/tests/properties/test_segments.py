"""Whatever a filestorage goes through, each of its moments can be had again from segments."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from hypothesis import given, settings
from hypothesis import strategies as st
from persistent.mapping import PersistentMapping
from zc.zlibstorage import ZlibStorage
from ZODB.blob import Blob
from ZODB.Connection import Connection, TransactionMetaData
from ZODB.FileStorage.format import CorruptedError
from ZODB.POSException import POSError
from ZODB.serialize import referencesf
from ZODB.utils import z64

from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests import segmentreader
from collective.recipe.backup.tests.samples import FOUNDED, FileStorage
from collective.recipe.backup.tests.segmented import Captures, encoded, small_sizes
from collective.recipe.backup.times import ZERO_TID, tid_at

HOUR = timedelta(hours=1)
FIRST = "initial database creation", "first"
"""Notes of the transactions without which there is no database."""


class Life:
    """A filestorage in *directory*, to which all happens that happens to one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / "Data.fs"
        self.now = FOUNDED
        self.compress = False
        with self.opened() as db, db.transaction(note="first") as connection:
            _objects(connection)

    @contextmanager
    def opened(self) -> Iterator[ZODB.DB]:
        storage = FileStorage(str(self.path), blob_dir=str(self.directory / "blobs"))
        storage.moment = self.tick()
        db = ZODB.DB(ZlibStorage(storage, compress=self.compress))
        try:
            yield db
        finally:
            transaction.abort()
            db.close()

    def tick(self) -> datetime:
        self.now += HOUR
        return self.now

    def commit(self, names: list[int], size: int, *, blob: bool) -> None:
        with self.opened() as db, db.transaction(note="x" * (size % 7)) as connection:
            objects = _objects(connection)
            for name in names:
                if not isinstance(objects.get(name), PersistentMapping):
                    objects[name] = PersistentMapping()
                try:
                    objects[name]["text"] = str(self.now) * (size // 20)
                except POSError:
                    # a pack has taken it, and an undo brought back what leads to it
                    objects[name] = PersistentMapping()
            if blob and names:
                objects[-names[0] - 1] = Blob(b"blob" * size)

    def remove(self, names: list[int]) -> None:
        with self.opened() as db, db.transaction() as connection:
            for name in names:
                _objects(connection).pop(name, None)

    def undo(self, back: int) -> None:
        with self.opened() as db:
            log = db.undoLog(0, 100)
            found = [each["id"] for each in log if each["description"] not in FIRST]
            if found:
                # what was packed away, or changed again since, cannot be undone
                with suppress(POSError):
                    db.undo(found[back % len(found)], transaction.get())
                    transaction.commit()

    def pack(self, hours: int, *, gc: bool) -> None:
        when = max(FOUNDED + HOUR, self.now - hours * HOUR).timestamp()
        # FileStorage gives up where pointers lead to what another pack has taken
        with self.opened() as db, suppress(*GIVEN_UP):
            db.storage.pack(when, referencesf, gc)

    def set_back(self, hours: int) -> None:
        """Commit with a tid that is not later, as a clock that was set back once made it."""
        with closing(FileStorage(str(self.path))) as storage, suppress(POSError):
            data, _serial = storage.load(z64)
            # what ZODB shows is what a later one says
            for moment in (self.now - hours * HOUR, self.tick()):
                tid, about = tid_at(moment), TransactionMetaData()
                storage.tpc_begin(about, tid)
                storage.restore(z64, tid, data, "", None, about)
                storage.tpc_vote(about)
                storage.tpc_finish(about)

    def convert(self) -> None:
        new = self.directory / "new.fs"
        source, target = FileStorage(str(self.path), read_only=True), FileStorage(str(new))
        with closing(source), closing(target), suppress(POSError):
            target.copyTransactionsFrom(source)
            self._take(new)
        for path in self.directory.glob("new.fs*"):
            path.unlink()

    def go_back(self, transactions: int) -> None:
        with TransactionLog(self.path) as log:
            ends, greatest = [], ZERO_TID
            for each in log.transactions():
                # ZODB commits nothing behind a tid that is not the greatest
                if each.tid > greatest:
                    ends.append(each.end)
                greatest = max(greatest, each.tid)
            founded = min(len(FIRST), len(ends)) - 1
            data = log.read(0, ends[max(founded, len(ends) - 1 - transactions)])
        new = self.directory / "new.fs"
        new.write_bytes(data)
        self._take(new)

    def wrap(self) -> None:
        self.compress = not self.compress

    def _take(self, new: Path) -> None:
        for path in self.directory.glob("Data.fs*"):
            path.unlink()
        new.rename(self.path)


def _objects(connection: Connection) -> PersistentMapping:
    """Return the objects by name, new ones if they are gone."""
    root = connection.root()
    try:
        root["objects"].get(0)
    except (KeyError, POSError):
        root["objects"] = PersistentMapping()
    return root["objects"]


GIVEN_UP = POSError, KeyError, AssertionError, CorruptedError
NAMES = st.lists(st.integers(0, 30), max_size=20, unique=True)
PLAIN: st.SearchStrategy[tuple[Any, ...]] = st.one_of(
    st.tuples(st.just("commit"), NAMES, st.integers(0, 400), st.booleans()),
    st.tuples(st.just("commit"), NAMES, st.integers(0, 60), st.booleans()),
    st.tuples(st.just("commit"), NAMES, st.integers(0, 2000), st.just(False)),
    st.tuples(st.just("remove"), NAMES),
    st.tuples(st.just("undo"), st.integers(0, 4)),
    st.tuples(st.just("pack"), st.integers(0, 20), st.booleans()),
    st.tuples(st.just("wrap")),
)
STEPS = st.one_of(
    PLAIN,
    st.tuples(st.just("convert")),
    st.tuples(st.just("go_back"), st.integers(0, 5)),
    st.tuples(st.just("set_back"), st.integers(0, 10)),
)


def carry_out(life: Life, step: tuple[Any, ...]) -> None:
    name, *arguments = step
    if name == "commit":
        names, size, blob = arguments
        life.commit(names, size, blob=blob)
    elif name == "pack":
        hours, gc = arguments
        life.pack(hours, gc=gc)
    else:
        getattr(life, name)(*arguments)


def compare(captures: Captures) -> None:
    """Compare each moment of each state with the file as it was then."""
    for number, (root, data) in enumerate(captures.taken):
        held = captures.chunks.held
        assert segmentreader.filestorage(encoded(root), held.__getitem__, block=4096) == data
        rebuilt = captures.rebuilt(number)
        assert b"".join(rebuilt.stream()) == data
        # where the first transaction that is later than a moment begins, and what is before it
        begins = [(each.tid, each.begin) for each in rebuilt.transactions()]
        for tid, _begin in begins:
            end = captures.rebuilt(number).cut(tid)
            later = [begin for each, begin in begins if each > tid]
            assert end.offset == min(later, default=len(data))
            before = [each for each, begin in begins if begin < end.offset]
            assert end.tid == max(before, default=None)


# FileStorage leaves a file open where it gives up a pack
ignoring_open_files = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <_io.FileIO:pytest.PytestWarning"
)


@ignoring_open_files
@settings(derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.lists(STEPS, min_size=1, max_size=6), st.booleans()), max_size=6))
def test_each_moment_of_a_filestorage_can_be_had_again(lives):
    with tempfile.TemporaryDirectory() as directory, small_sizes():
        life = Life(Path(directory))
        captures = Captures()
        captures.capture(life.path)
        for steps, same_file in lives:
            for step in steps:
                carry_out(life, step)
            replaced = {"convert", "go_back"} & {name for name, *_arguments in steps}
            captures.capture(life.path, same_file=same_file and not replaced)
        compare(captures)


@ignoring_open_files
@settings(derandomize=True, max_examples=40)
@given(st.lists(PLAIN, max_size=12))
def test_a_pack_stores_no_record_again_and_corrects_nothing(steps):
    with tempfile.TemporaryDirectory() as directory, small_sizes():
        life = Life(Path(directory))
        captures = Captures()
        for step in [*steps, ("pack", 2, True)]:
            if step[0] == "pack":
                captures.capture(life.path, same_file=True)
            carry_out(life, step)
            if step[0] == "pack":
                captured = captures.capture(life.path, same_file=True)
                assert captured.added == 0
                found = captured.state.all_spans(captures.chunks)
                assert not any(span.corrections for span in found)
