from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
import zc.lockfile
import ZODB.FileStorage

from collective.recipe.backup.errors import BackupError, InUse
from collective.recipe.backup.locking import (
    LOCK_NAME,
    alone,
    closed_filestorage,
    holder_of,
    one_writer,
)

HOLD = """
import sys
from pathlib import Path
from collective.recipe.backup.locking import closed_filestorage, one_writer
lock, path = sys.argv[1:]
with one_writer(Path(path), "the first") if lock == "writer" else closed_filestorage(Path(path)):
    print("held", flush=True)
    sys.stdin.read()
"""
OPEN = """
import sys, ZODB.FileStorage
storage = ZODB.FileStorage.FileStorage(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
storage.close()
"""


@contextmanager
def another_process(code, *arguments):
    """Run *code* until it says that it holds the lock; it ends when the body does."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.stdin.close()
            process.wait()


def test_a_second_writer_stops_and_names_the_first(tmp_path):
    with another_process(HOLD, "writer", tmp_path):
        with pytest.raises(InUse) as caught, one_writer(tmp_path, "the second"):
            pytest.fail("two writers")
        assert caught.value.what == "another run is at work here (the first)"
        assert caught.value.where == str(tmp_path)
        assert caught.value.hint
    with one_writer(tmp_path, "the second"):
        assert holder_of(tmp_path) == "the second"


def test_a_second_writer_in_the_same_process_stops_as_well(tmp_path):
    with one_writer(tmp_path, "the first"), pytest.raises(InUse):
        one_writer(tmp_path, "the second").__enter__()


def test_a_removed_lock_file_lets_no_second_writer_in(tmp_path):
    """The directory is locked as well; the kernel knows by which process."""
    with another_process(HOLD, "writer", tmp_path) as process:
        (tmp_path / LOCK_NAME).unlink()
        for _time in range(2):
            with pytest.raises(InUse) as caught, one_writer(tmp_path, "the second"):
                pytest.fail("two writers")
            assert caught.value.what == f"another run is at work here (process {process.pid})"
            assert caught.value.where == str(tmp_path)
            assert holder_of(tmp_path) == f"process {process.pid}"
    assert holder_of(tmp_path) is None
    with one_writer(tmp_path, "the second"):
        assert holder_of(tmp_path) == "the second"


def test_single_functions_and_a_writer_keep_each_other_out(tmp_path):
    with one_writer(tmp_path, "before"):
        pass
    with alone(tmp_path), pytest.raises(InUse, match=f"process {os.getpid()}"):
        one_writer(tmp_path, "the second").__enter__()
    with one_writer(tmp_path, "the second"):
        pass


def test_a_directory_that_cannot_be_locked_has_the_lock_of_its_file(tmp_path, monkeypatch):
    """NFS locks nothing that is not open for writing, and so no directory."""
    flock = fcntl.flock

    def files_only(descriptor, operation):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", files_only)
    with one_writer(tmp_path, "the first"):
        assert holder_of(tmp_path) == "the first"
        with pytest.raises(InUse, match="the first"):
            one_writer(tmp_path, "the second").__enter__()
    assert holder_of(tmp_path) is None


def test_a_lock_ends_with_its_process_however_it_dies(tmp_path):
    with another_process(HOLD, "writer", tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / LOCK_NAME).read_text() == "the first\n"
        assert holder_of(tmp_path) is None
        with one_writer(tmp_path, "2nd"):
            assert (tmp_path / LOCK_NAME).read_text() == "2nd\n"


def test_a_lock_ends_with_an_error_of_its_body(tmp_path):
    with pytest.raises(ZeroDivisionError), one_writer(tmp_path, "the first"):
        raise ZeroDivisionError
    with one_writer(tmp_path, "the second"):
        pass


def test_two_directories_do_not_wait_for_each_other(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with one_writer(tmp_path / "a", "one"), one_writer(tmp_path / "b", "two"):
        assert (holder_of(tmp_path / "a"), holder_of(tmp_path / "b")) == ("one", "two")


def test_nobody_holds_what_was_never_locked(tmp_path):
    assert holder_of(tmp_path) is None
    assert holder_of(tmp_path / "missing") is None


def test_asking_who_holds_it_does_not_turn_a_writer_away(tmp_path):
    """Who asks has the lock for an instant: a writer that comes in it tries again."""
    descriptor = os.open(tmp_path / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    asking = threading.Timer(0.02, os.close, [descriptor])
    asking.start()
    with one_writer(tmp_path, "the writer"):
        asking.join()
        assert holder_of(tmp_path) == "the writer"


def test_a_holder_cannot_steer_the_terminal_of_the_second(tmp_path):
    with one_writer(tmp_path, "evil\x1b[2J\udcff"):
        with pytest.raises(InUse) as caught:
            one_writer(tmp_path, "the second").__enter__()
        assert str(caught.value).startswith("another run is at work here (evil\\x1b[2J?)")


@pytest.mark.parametrize(
    ("lock", "name"), [(one_writer, LOCK_NAME), (closed_filestorage, "Data.fs.lock")]
)
def test_a_pipe_in_the_place_of_a_lock_is_an_error_in_words_and_not_waited_for(
    tmp_path, lock, name
):
    os.mkfifo(tmp_path / name)
    held = lock(tmp_path, "me") if lock is one_writer else lock(tmp_path / "Data.fs")
    with pytest.raises(BackupError, match="not a regular file") as caught, held:
        pass
    assert caught.value.where == str(tmp_path / name)
    assert "move it away" in caught.value.hint
    assert holder_of(tmp_path) is None


def test_a_directory_that_is_not_there_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(BackupError) as caught:
        one_writer(tmp_path / "missing", "me").__enter__()
    assert not isinstance(caught.value, InUse)
    assert caught.value.hint


@pytest.mark.parametrize("lock", [one_writer, closed_filestorage])
def test_a_file_system_without_locks_is_an_error_in_words(tmp_path, monkeypatch, lock):
    def no_locks(_descriptor, _operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(BackupError, match="No locks available"):
        lock(tmp_path, *["me"] * (lock is one_writer)).__enter__()


@pytest.fixture
def filestorage(tmp_path):
    path = tmp_path / "Data.fs"
    ZODB.FileStorage.FileStorage(str(path)).close()
    return path


def test_an_open_filestorage_is_in_use(filestorage):
    with another_process(OPEN, filestorage) as process:
        with pytest.raises(InUse) as caught, closed_filestorage(filestorage):
            pytest.fail("locked twice")
        assert caught.value.what == f"the filestorage is open by process {process.pid}"
        assert caught.value.where == str(filestorage)
    with closed_filestorage(filestorage):
        pass


def test_nobody_can_open_a_filestorage_that_we_hold(filestorage):
    held = another_process(HOLD, "filestorage", filestorage)
    with held, pytest.raises(zc.lockfile.LockError):
        ZODB.FileStorage.FileStorage(str(filestorage))
    ZODB.FileStorage.FileStorage(str(filestorage)).close()


def test_a_lock_file_without_a_word_is_still_a_lock(filestorage):
    with closed_filestorage(filestorage):
        filestorage.with_name("Data.fs.lock").write_bytes(b"")
        with pytest.raises(InUse) as caught:
            closed_filestorage(filestorage).__enter__()
        assert caught.value.what == "the filestorage is open"


def test_a_filestorage_that_is_not_there_yet_can_be_held(tmp_path):
    with closed_filestorage(tmp_path / "Data.fs"), pytest.raises(zc.lockfile.LockError):
        ZODB.FileStorage.FileStorage(str(tmp_path / "Data.fs"))
