"""A restore by two processes is what it is by one, whatever becomes of the other."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from collective.recipe.backup import patience, process
from collective.recipe.backup.blobs import checksums, sets, sharing
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.checksums import Checksum
from collective.recipe.backup.blobs.copying import CopyOrder
from collective.recipe.backup.blobs.layout import Entry, Kind, Layout
from collective.recipe.backup.blobs.setstaging import stage
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.blobtrees import ODD_NAMES, blob_id, children, put, tree
from collective.recipe.backup.tests.namespaces import mounted, tmpfs
from collective.recipe.backup.times import LAST_TID

COUNT = 120
SHARE = 10
GIVEN = 20
"""So many blobs the helper is asked for at once, at least: two shares."""


class Counting(Files):
    """Files that count what this process has made; *then* is called at the first."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.made: list[str] = []
        self.cleared: list[Path] = []
        self._then = then

    def _change(self, operation, path, function, *args, **kwargs):  # type: ignore[no-untyped-def]
        if operation == "create":
            if not self.made:
                self._then()
            self.made.append(os.fspath(path))
        return super()._change(operation, path, function, *args, **kwargs)

    def clear(self, path: Path) -> None:
        self.cleared.append(path)
        super().clear(path)


@pytest.fixture(autouse=True)
def _two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "LONG", 0)
    monkeypatch.setattr(process, "can_compute", lambda: True)
    monkeypatch.setattr(sharing, "SHARE", SHARE)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    for number in range(COUNT):
        put(tmp_path / "blobstorage", blob_id(number * 30, number + 1), bytes(1000 + number))
    return tmp_path / "blobstorage"


@pytest.fixture
def blob_set(live: Path, tmp_path: Path) -> BlobSet:
    return begin(live, tmp_path)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "blobstorage.restoring"


def begin(live: Path, directory: Path) -> BlobSet:
    blob_set, _copied = sets.begin(
        live,
        directory,
        "2026-03-01-12-00-00",
        until=LAST_TID,
        previous=None,
        files=Files(),
        progress=Silent(),
    )
    return blob_set


def restore(blob_set: BlobSet, target: Path, files: Files, *, knows_all: bool = True) -> int:
    """Restore all; return how many files that were."""
    size = sum(each.size or 0 for each in blob_set.checksums) if knows_all else None
    copied = stage(
        blob_set,
        target,
        live=None,
        until=LAST_TID,
        files=files,
        progress=Silent(),
        size=size,
    )
    return copied.files


def modes_and_times(root: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        time = 0 if path.is_dir() else status.st_mtime_ns
        found[str(path.relative_to(root))] = (status.st_mode, time)
    return found


def kill_the_helper() -> None:
    for child in children():
        os.kill(child, signal.SIGKILL)


def stop_the_helper() -> None:
    for child in children():
        os.kill(child, signal.SIGSTOP)


def a_blob(root: Path, number: int) -> Path:
    return root / Layout.BUSHY.path(blob_id(number * 30, number + 1))


def spoil(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"x" * path.stat().st_size)


@pytest.mark.parametrize("knows_all", [True, False])
def test_what_two_processes_restore_is_what_one_does(
    blob_set: BlobSet, live: Path, target: Path, knows_all: bool
) -> None:
    files = Counting()

    assert restore(blob_set, target, files, knows_all=knows_all) == COUNT + 1

    assert tree(target) == tree(live)
    assert modes_and_times(target) == modes_and_times(live)
    # so the other one has made the rest
    assert len(files.made) <= COUNT + 1 - GIVEN
    assert not children()


def test_foreign_files_among_the_blobs_come_back(live: Path, tmp_path: Path, target: Path) -> None:
    for number, name in enumerate(ODD_NAMES * 3):
        place = a_blob(live, number * 4).parent
        (place / name).mkdir()
        (place / name / name).write_bytes(os.fsencode(name))
        (place.parent / f"file {name}").touch()
    (live / "link").symlink_to("0x00")
    (live / "empty").mkdir()

    restore(begin(live, tmp_path), target, Counting())

    assert tree(target) == tree(live)


def test_what_is_in_one_directory_is_of_one_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHARE", 2)
    places = ["a/1", "a/2", "a/3", "a/b/1", "b/1", "c/1", "c/2"]

    found = list(sharing.shares(orders(places)))

    assert [[order.entry.path for order in share] for share in found] == [
        ["a/1", "a/2", "a/3", "a/b/1"],
        ["b/1", "c/1", "c/2"],
    ]


def test_large_blobs_make_shares_of_few() -> None:
    found = list(sharing.shares(orders(["a/1", "b/1", "c/1"], size=sharing.SHARE_SIZE)))

    assert [len(share) for share in found] == [1, 1, 1]


def orders(paths: list[str], size: int = 1) -> Iterator[CopyOrder]:
    for path in paths:
        yield CopyOrder(Entry(path, Kind.BLOB), Checksum(path, size, "0" * 64))


def test_what_a_killed_helper_was_asked_for_is_done_here(
    blob_set: BlobSet, live: Path, target: Path
) -> None:
    files = Counting(then=kill_the_helper)

    restore(blob_set, target, files)

    assert tree(target) == tree(live)
    assert len(files.cleared) >= SHARE


def test_what_a_stopped_helper_was_asked_for_is_done_here(
    blob_set: BlobSet, live: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.5)
    files = Counting(then=stop_the_helper)

    restore(blob_set, target, files)

    assert tree(target) == tree(live)
    assert len(files.cleared) >= SHARE
    assert not children()


def test_a_helper_that_is_stopped_takes_no_endless_question() -> None:
    with pytest.MonkeyPatch.context() as patch, process.helping(sharing.__name__) as helper:
        patch.setattr(patience, "PATIENCE", 0.1)
        stop_the_helper()
        assert helper is not None
        with pytest.raises(OSError, match="takes nothing"):
            helper.asked.write(bytes(1 << 20))
        assert helper.answers.read() == b""


def test_a_helper_that_cannot_be_started_is_not_missed(
    blob_set: BlobSet, live: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    files = Counting()

    restore(blob_set, target, files)

    assert tree(target) == tree(live)
    assert len(files.made) == COUNT + 1


@pytest.mark.parametrize("said", ["share 1 is done", "share 2 is done", "x" * 100_000, ""])
def test_other_words_of_the_helper_are_no_answer(
    blob_set: BlobSet,
    live: Path,
    target: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
) -> None:
    (tmp_path / "odd").mkdir()
    # such a module runs in each Python that is started
    (tmp_path / "odd" / "sitecustomize.py").write_text(f"print('oh', {said!r}, flush=True)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "odd"))

    restore(blob_set, target, Counting())

    assert tree(target) == tree(live)


@pytest.mark.parametrize("number", range(0, COUNT, 17))
def test_a_damaged_blob_is_named_whoever_copies_it(
    blob_set: BlobSet, target: Path, number: int
) -> None:
    spoil(a_blob(blob_set.root, number))

    with pytest.raises(IntegrityError, match="damaged") as caught:
        restore(blob_set, target, Counting())

    assert caught.value.where == str(a_blob(blob_set.root, number))
    assert not children()


@pytest.mark.parametrize("number", range(0, COUNT, 17))
def test_a_missing_blob_is_named_whoever_copies_it(
    blob_set: BlobSet, target: Path, number: int
) -> None:
    a_blob(blob_set.root, number).unlink()

    with pytest.raises(IntegrityError, match="missing") as caught:
        restore(blob_set, target, Counting())

    assert caught.value.where == str(a_blob(blob_set.root, number))


def test_what_only_the_helper_could_not_read_is_read_once_more_here(
    blob_set: BlobSet, live: Path, target: Path
) -> None:
    blob = a_blob(blob_set.root, 15)  # this process has the first ten, which .layout is with
    whole = blob.read_bytes()
    spoil(blob)

    class Mending(Counting):
        def clear(self, path: Path) -> None:
            blob.write_bytes(whole)
            blob.chmod(0o400)
            os.utime(blob, ns=(live_status.st_atime_ns, live_status.st_mtime_ns))
            super().clear(path)

    live_status = a_blob(live, 15).stat()
    files = Mending()

    restore(blob_set, target, files)

    assert tree(target) == tree(live)
    assert modes_and_times(target) == modes_and_times(live)
    assert a_blob(target, 15) in files.cleared


@pytest.mark.needs("strace")
@pytest.mark.parametrize("fault", ["error=EIO", "error=ENOSPC", "signal=KILL"])
@pytest.mark.parametrize("call", ["mkdirat", "write", "utimensat"])
def test_what_fails_in_the_helper_alone_is_done_here(
    blob_set: BlobSet,
    live: Path,
    target: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    fault: str,
) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\nexec strace -f -qq -o /dev/null -e trace={call} "
        f'-e inject={call}:{fault}:when=7+ {sys.executable} "$@"\n'
    )
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    files = Counting()

    restore(blob_set, target, files)

    assert tree(target) == tree(live)
    assert modes_and_times(target) == modes_and_times(live)
    assert files.cleared


@mounted
def test_a_full_disk_is_told_and_nothing_is_left_running(blob_set: BlobSet, target: Path) -> None:
    target.mkdir()
    tmpfs(target, 64 * 4096)

    with pytest.raises(BackupError, match="No space left") as caught:
        restore(blob_set, target, Counting())

    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert not children()


SLOW = """\
    import os, sys
    from pathlib import Path
    from collective.recipe.backup import process
    from collective.recipe.backup.blobs import sharing
    from collective.recipe.backup.files import Files
    from collective.recipe.backup.tests.blobtrees import children
    from collective.recipe.backup.tests.unit.test_blobs_sharing import Counting, orders
    from collective.recipe.backup.blobs.restoration import Restoration

    def wait():
        print(*children(), flush=True)
        sys.stdin.read()

    process.can_compute = lambda: True
    sharing.SHARE = 1
    restoration = Restoration(
        source=Path(sys.argv[1]), target=Path(sys.argv[2]), earlier=None, files=Counting(wait)
    )
    with sharing.sharing(restoration) as run:
        list(run(orders(sys.argv[3:])))
"""


def test_a_helper_ends_when_nobody_is_left_to_ask_it(blob_set: BlobSet, target: Path) -> None:
    paths = [each.path for each in blob_set.checksums if each.path.endswith(".blob")]
    arguments = [sys.executable, "-c", textwrap.dedent(SLOW), blob_set.root, target, *paths[:9]]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        [helper] = map(int, asking.stdout.readline().split())
        asking.kill()

    until = monotonic() + 60
    while process.is_running(helper) and monotonic() < until:
        sleep(0.01)
    assert not process.is_running(helper)
