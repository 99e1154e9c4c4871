"""What is read ahead changes nothing, and is not read long before it is copied."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from collective.recipe.backup import process
from collective.recipe.backup.blobs import checksums, readahead, sets
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.copying import CopyOrder
from collective.recipe.backup.blobs.layout import Entry, Kind
from collective.recipe.backup.blobs.readahead import Task, read, reading_ahead
from collective.recipe.backup.blobs.setstaging import stage
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.blobtrees import blob_id, children, put, tid, tree
from collective.recipe.backup.tests.childprocesses import none_left
from collective.recipe.backup.times import LAST_TID

COUNT = 100


@pytest.fixture
def live(tmp_path: Path) -> Path:
    for number in range(COUNT):
        put(tmp_path / "blobstorage", blob_id(number * 300, number + 1), bytes(1000))
    return tmp_path / "blobstorage"


@pytest.fixture
def blob_set(live: Path, tmp_path: Path) -> BlobSet:
    (tmp_path / "backups").mkdir()
    made, _copied = sets.begin(
        live,
        tmp_path / "backups",
        "2026-03-01-12-00-00",
        until=LAST_TID,
        previous=None,
        files=Files(),
        progress=Silent(),
    )
    return made


@pytest.fixture
def task(blob_set: BlobSet, tmp_path: Path) -> Task:
    return Task(blob_set.root, blob_set.checksums, tmp_path / "target", LAST_TID, os.getppid())


def test_all_that_is_to_be_copied_is_asked_for(task: Task) -> None:
    assert read(task, 10**9) == COUNT + 1
    assert read(task._replace(until=tid(10)), 10**9) == 10 + 1


def test_what_cannot_be_read_is_left_to_who_copies(task: Task) -> None:
    first, second, third, *_rest = sorted(task.root.rglob("*.blob"))
    for path in (first, second, third):
        path.unlink()
    second.symlink_to("/etc/passwd")
    os.mkfifo(third)
    assert read(task, 10**9) == COUNT + 1


def test_the_reading_ahead_waits_for_the_copy(task: Task, live: Path) -> None:
    asked = []
    thread = threading.Thread(target=lambda: asked.append(read(task, 20_000)))
    thread.start()
    time.sleep(0.1)
    assert not asked
    live.rename(task.target)
    thread.join(60)
    assert asked == [COUNT + 1]


def test_the_reading_ahead_ends_when_the_copier_has_died(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = iter([1234, 1234, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    assert 20 < read(task._replace(copier=1234), 20_000) < COUNT


def test_the_reading_ahead_ends_if_the_copier_had_died_before(task: Task) -> None:
    assert read(task._replace(copier=os.getpid()), 20_000) < COUNT


def orders(task: Task) -> Iterator[CopyOrder]:
    for each in task.checksums:
        yield CopyOrder(Entry(each.path, Kind.BLOB), each)


@pytest.mark.parametrize(("answer", "expected"), [(1, 0), (BlockingIOError(), 1), (OSError(), 1)])
def test_a_process_reads_ahead_once_a_file_is_not_in_the_memory(
    task: Task, monkeypatch: pytest.MonkeyPatch, answer: int | OSError, expected: int
) -> None:
    def preadv(*_arguments: object) -> int:
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(process, "can_compute", lambda: True)
    monkeypatch.setattr(os, "preadv", preadv)
    with reading_ahead(task) as watched:
        found = watched(orders(task))
        assert not children()
        next(iter(found))
        assert len(children()) == expected
        assert len([*found]) == COUNT
        assert len(children()) == expected
    assert not children()


@pytest.mark.parametrize("size", [None, 1])
def test_a_restore_is_the_same_with_it(
    blob_set: BlobSet, live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    monkeypatch.setattr(checksums, "LONG", 0)
    monkeypatch.setattr(process, "can_compute", lambda: True)
    with none_left():
        stage(
            blob_set,
            tmp_path / "target",
            live=None,
            until=LAST_TID,
            files=Files(),
            progress=Silent(),
            size=size,
        )
    assert tree(tmp_path / "target") == tree(live)


def test_nobody_waits_for_it(
    blob_set: BlobSet, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "LONG", 0)
    monkeypatch.setattr(process, "can_compute", lambda: True)
    monkeypatch.setattr(readahead, "AHEAD", 0)
    damaged = next(blob_set.root.rglob("*.blob"))
    damaged.chmod(0o600)
    damaged.write_bytes(b"x" * 1000)
    progress = Silent()
    with none_left(), pytest.raises(IntegrityError, match="damaged"):
        stage(blob_set, task.target, live=None, until=LAST_TID, files=Files(), progress=progress)
