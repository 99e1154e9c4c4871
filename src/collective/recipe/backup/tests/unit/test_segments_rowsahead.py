"""Rows that another process reads are those that this one would read."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup import process
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.segments import Keys, rowsahead
from collective.recipe.backup.filestorage.segments.rows import Rows
from collective.recipe.backup.filestorage.segments.rowsahead import RowsWanted, rows_of
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests.childprocesses import none_left
from collective.recipe.backup.tests.samples import FOUNDED, Site
from collective.recipe.backup.tests.segmented import SECRET, Captures, small_sizes
from collective.recipe.backup.times import ZERO_TID, Tid

DAY = timedelta(days=1)

ENDS = """\
import itertools, os, signal, sys
sys.path[:] = sys.argv[2:]
from collective.recipe.backup.filestorage.segments import rowsahead
batches, rowsahead._BATCH = rowsahead._batches, 5
def some(rows):
    yield from itertools.islice(batches(rows), 2)
    sys.stdout.buffer.flush()
    {}
rowsahead._batches = some
rowsahead.main()
"""
"""The other process, which does something else after two batches."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Return a site with blobs, a pack, undone and deleted objects, and transactions after it."""
    site = Site(tmp_path_factory.mktemp("rows"))
    with site.opened():
        for number in range(40):
            day = FOUNDED + (number + 1) * DAY
            values = {str(number % 7): f"value {number} " * (number % 5 * 200 + 1)}
            last = site.commit(values, {"blob": b"%d" % number}, at=day)
        site.undo(last, at=FOUNDED + 50 * DAY)
    site.pack(FOUNDED + 20 * DAY)
    site.commit({"1": "after the pack"}, at=FOUNDED + 60 * DAY)
    site.commit_out_of_order(last)
    return site


@pytest.fixture(autouse=True)
def _batches_of_few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(rowsahead, "LARGE", 0)
    monkeypatch.setattr(process, "can_compute", lambda: True)
    with none_left():
        yield


def columns(rows: Rows) -> tuple[object, ...]:
    return tuple(getattr(rows, name) for name in Rows.__slots__)


def every(
    log: TransactionLog, begin: int = MAGIC_SIZE, greatest: Tid = ZERO_TID
) -> list[tuple[object, ...]]:
    wanted = RowsWanted(begin, log.end().offset, greatest)
    return [columns(rows) for rows in rows_of(log, wanted, Keys(SECRET), blobs=True)]


def read_here(path: Path, begin: int = MAGIC_SIZE, greatest: Tid = ZERO_TID) -> object:
    with pytest.MonkeyPatch.context() as patch, TransactionLog(path) as log:
        patch.setattr(rowsahead, "LARGE", 1 << 40)
        return every(log, begin, greatest)


def test_another_process_reads_all_columns_as_this_one_does(site):
    with TransactionLog(site.filestorage) as log:
        transactions = list(log.transactions())
        middle = transactions[len(transactions) // 2]
        assert every(log) == read_here(site.filestorage)
        found = every(log, middle.end, middle.tid)
        assert found == read_here(site.filestorage, middle.end, middle.tid)
    assert len(found) == len(transactions) - len(transactions) // 2 - 1


@pytest.mark.parametrize(
    "then",
    ["sys.exit()", "os.kill(os.getpid(), signal.SIGKILL)", "print('hello')", "raise OSError"],
)
def test_rows_that_another_process_does_not_come_to_are_read_here(site, monkeypatch, then):
    monkeypatch.setattr(process, "_COMPUTE", ENDS.format(then))
    with TransactionLog(site.filestorage) as log:
        assert every(log) == read_here(site.filestorage)


def test_a_file_that_a_pack_put_in_its_place_gives_no_row(site, tmp_path):
    path = tmp_path / "Data.fs"
    path.write_bytes(site.filestorage.read_bytes())
    expected = read_here(path)
    with TransactionLog(path) as log:
        other = tmp_path / "Data.fs.pack"
        Site(tmp_path / "other").filestorage.rename(other)
        other.rename(path)
        assert every(log) == expected


def test_damage_that_another_process_meets_is_named(site, tmp_path):
    path = tmp_path / "Data.fs"
    path.write_bytes(site.filestorage.read_bytes())
    with TransactionLog(path) as log:
        transaction = list(log.transactions())[9]
        with path.open("r+b") as file:
            file.seek(transaction.records + 24)
            file.write(b"\xff")
        with pytest.raises(IntegrityError, match="stands no data record"):
            every(log)


def test_a_capture_is_that_of_a_run_with_one_process(site, tmp_path):
    captured = []
    for elsewhere in (True, False):
        with pytest.MonkeyPatch.context() as patch, small_sizes():
            patch.setattr(rowsahead, "LARGE", 0 if elsewhere else 1 << 40)
            captures = Captures()
            captures.capture(site.filestorage)
            captured.append((captures.taken, captures.chunks.held))
    assert captured[0] == captured[1]
