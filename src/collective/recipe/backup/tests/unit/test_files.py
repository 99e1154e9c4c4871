from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import stat
from pathlib import Path

import pytest

from collective.recipe.backup.files import Files, directories
from collective.recipe.backup.files.partials import is_partial
from collective.recipe.backup.smallfile import NotRegularError
from collective.recipe.backup.tests.blobtrees import nobody
from collective.recipe.backup.tests.conftest import SYNCFS
from collective.recipe.backup.tests.faults.harness import failing_reads
from collective.recipe.backup.tests.namespaces import mounted, tmpfs
from collective.recipe.backup.unreadable import CannotReadError, CutShortError

ODD_NAMES = [
    "a b",
    "new\nline",
    "quo'te\"",
    "$(touch x)",
    "é",
    b"\xff\xfe".decode("utf-8", "surrogateescape"),
    "-rf",
    "*",
]

NO_ROOM = OSError(errno.ENOSPC, "No space left on device")


class Recording(Files):
    """Files that write down what they do, and fail at one kind of operation if told to."""

    def __init__(self, fail=None, error=NO_ROOM, times=1000):
        super().__init__()
        self.done = []
        self.fail = fail
        self.error = error
        self.times = times

    def _change(self, operation, path, function, *args, **kwargs):
        if operation == self.fail and self.times:
            self.times -= 1
            raise self.error
        result = function(*args, **kwargs)
        self.done.append((operation, path.name))
        return result

    def operations(self):
        return [operation for operation, _name in self.done]


def _with(status, *, mode=None, uid=None):
    """Return a status that says something else of mode or owner."""
    fields = list(status)
    fields[0] = fields[0] if mode is None else stat.S_IFREG | mode
    fields[4] = fields[4] if uid is None else uid
    times = {"st_atime_ns": status.st_atime_ns, "st_mtime_ns": status.st_mtime_ns}
    return os.stat_result(fields, times)


@pytest.fixture
def files():
    return Recording()


def below(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


class TestWriting:
    def test_a_file_appears_when_its_body_succeeds(self, tmp_path, files):
        final = tmp_path / "final"
        with files.writing(final) as writer:
            assert writer.write(b"one ") == 4
            writer.write(memoryview(b"two"))
            assert writer.size == 7
            [partial] = os.listdir(tmp_path)
            assert is_partial(partial)
            assert writer.path.name == partial
        assert os.listdir(tmp_path) == ["final"]
        assert final.read_bytes() == b"one two"

    def test_a_file_is_fsynced_renamed_and_its_directory_fsynced_in_this_order(
        self, tmp_path, files
    ):
        files.write(tmp_path / "final", b"data")
        assert files.operations() == ["create", "write", "fsync", "rename", "fsync"]
        assert files.done[2][1].endswith(".partial")
        assert files.done[-1][1] == tmp_path.name

    def test_a_file_that_exists_is_replaced_at_the_end_and_not_before(self, tmp_path, files):
        final = tmp_path / "final"
        final.write_bytes(b"before")
        with files.writing(final) as writer:
            writer.write(b"after")
            assert final.read_bytes() == b"before"
        assert final.read_bytes() == b"after"

    def test_a_failing_body_leaves_nothing(self, tmp_path, files):
        final = tmp_path / "final"
        final.write_bytes(b"before")
        with pytest.raises(ZeroDivisionError), files.writing(final) as writer:
            writer.write(b"after")
            raise ZeroDivisionError
        assert os.listdir(tmp_path) == ["final"]
        assert final.read_bytes() == b"before"

    @pytest.mark.parametrize("operation", ["create", "write", "fsync", "rename"])
    def test_a_full_disk_leaves_what_was_there(self, tmp_path, operation):
        final = tmp_path / "final"
        final.write_bytes(b"before")
        with pytest.raises(OSError, match="No space") as caught:
            Recording(operation, times=1).write(final, b"after")
        assert caught.value is NO_ROOM
        assert os.listdir(tmp_path) == ["final"]
        assert final.read_bytes() == b"before"

    def test_an_error_names_the_final_file_and_not_its_temporary_name(self, tmp_path, files):
        final = tmp_path / "not there" / "final"
        with pytest.raises(FileNotFoundError) as caught:
            files.write(final, b"data")
        assert caught.value.filename == str(final)
        # the same within a tree, which has a temporary name as a whole
        with (
            pytest.raises(FileNotFoundError) as caught,
            files.staging(tmp_path / "tree") as staged,
            files.writing(staged / "below" / "file"),
        ):
            pass
        assert caught.value.filename == str(tmp_path / "tree" / "below" / "file")

    def test_the_error_that_is_reported_is_the_first_one(self, tmp_path):
        class Doomed(Recording):
            def _change(self, operation, path, function, *args, **kwargs):
                if operation == "unlink":
                    raise OSError(errno.EIO, "I/O error")
                return super()._change(operation, path, function, *args, **kwargs)

        with pytest.raises(OSError, match="No space"):
            Doomed("write").write(tmp_path / "final", b"data")
        [left] = os.listdir(tmp_path)
        assert is_partial(left)

    def test_short_writes_are_completed(self, tmp_path):
        class Slow(Files):
            def _change(self, operation, path, function, *args, **kwargs):
                if operation == "write":
                    descriptor, view = args
                    args = descriptor, view[:3]
                return super()._change(operation, path, function, *args, **kwargs)

        with Slow().writing(tmp_path / "final") as writer:
            assert writer.write(b"0123456789") == 10
            assert writer.write(b"") == 0
        assert (tmp_path / "final").read_bytes() == b"0123456789"

    def test_the_mode_is_what_the_umask_leaves_of_it(self, tmp_path, files):
        before = os.umask(0o027)
        try:
            files.write(tmp_path / "usual", b"")
            files.write(tmp_path / "private", b"", mode=0o600)
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "usual").stat().st_mode) == 0o640
        assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o600


class TestAppend:
    def test_what_is_appended_to_a_log_follows_what_is_there(self, tmp_path, files):
        log = tmp_path / "log"
        files.append(log, b"one\n")
        files.append(log, b"two\n")
        assert log.read_bytes() == b"one\ntwo\n"

    def test_a_pipe_in_the_place_of_a_log_is_refused_and_not_waited_for(self, tmp_path, files):
        os.mkfifo(tmp_path / "log")
        with pytest.raises(NotRegularError):
            files.append(tmp_path / "log", b"one\n")

    def test_each_line_is_durable_and_so_is_the_name_of_a_new_log(self, tmp_path, files):
        files.append(tmp_path / "log", b"one\n")
        assert files.done[-2:] == [("fsync", "log"), ("fsync", tmp_path.name)]
        files.append(tmp_path / "log", b"two\n")
        assert files.done[-1] == ("fsync", "log")


class TestCopy:
    def test_a_copy_has_the_bytes_times_and_mode(self, tmp_path, files):
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(bytes(range(256)) * 9000)
        source.chmod(0o640)
        os.utime(source, ns=(1_600_000_000_123_456_789, 1_500_000_000_987_654_321))
        assert files.copy(source, target) == 256 * 9000
        assert target.read_bytes() == source.read_bytes()
        assert target.stat().st_mtime_ns == 1_500_000_000_987_654_321
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        assert files.operations()[-1] == "fsync"

    def test_without_sync_the_caller_syncs_the_tree(self, tmp_path, files):
        (tmp_path / "source").write_bytes(b"data")
        files.copy(tmp_path / "source", tmp_path / "target", sync=False)
        assert "fsync" not in files.operations()

    def test_what_comes_from_elsewhere_is_filled_in_like_the_original(self, tmp_path, files):
        (tmp_path / "original").write_bytes(b"")
        (tmp_path / "original").chmod(0o640)
        os.utime(tmp_path / "original", ns=(1_000_000_001, 2_000_000_002))
        original = (tmp_path / "original").stat()
        with files.filling(tmp_path / "made", original) as writer:
            writer.write(b"bytes")
        made = (tmp_path / "made").stat()
        assert (tmp_path / "made").read_bytes() == b"bytes"
        assert made.st_mode == original.st_mode
        assert made.st_mtime_ns == 2_000_000_002
        with pytest.raises(FileExistsError), files.filling(tmp_path / "made", original):
            pass

    @pytest.mark.parametrize("number", [errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP])
    def test_where_the_kernel_cannot_copy_we_do(self, tmp_path, number):
        (tmp_path / "source").write_bytes(b"data" * 1_000_000)
        files = Recording("write", OSError(number, os.strerror(number)), times=1)
        assert files.copy(tmp_path / "source", tmp_path / "target") == 4_000_000
        assert (tmp_path / "target").read_bytes() == b"data" * 1_000_000

    def test_where_the_kernel_says_that_there_is_nothing_we_look(self, tmp_path):
        """procfs has files of size 0 that can be read; copy_file_range copies none of them."""
        assert Files().copy(Path("/proc/self/status"), tmp_path / "target") > 100
        assert (tmp_path / "target").read_bytes().startswith(b"Name:")

    def test_an_empty_file_is_copied(self, tmp_path, files):
        (tmp_path / "source").touch()
        assert files.copy(tmp_path / "source", tmp_path / "target") == 0
        assert (tmp_path / "target").read_bytes() == b""

    def test_a_full_disk_is_an_error_also_half_way(self, tmp_path):
        (tmp_path / "source").write_bytes(b"data")

        class FullAfterTheFirst(Recording):
            def _change(self, operation, path, function, *args, **kwargs):
                if operation == "write" and "write" in self.operations():
                    raise OSError(errno.EXDEV, "no matter which error: half is copied")
                return super()._change(operation, path, function, *args, **kwargs)

        with pytest.raises(OSError, match="half is copied"):
            FullAfterTheFirst().copy(tmp_path / "source", tmp_path / "target")

    def test_a_target_that_exists_is_left_alone(self, tmp_path, files):
        (tmp_path / "source").write_bytes(b"data")
        (tmp_path / "target").write_bytes(b"mine")
        with pytest.raises(FileExistsError):
            files.copy(tmp_path / "source", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"mine"

    def test_a_symbolic_link_is_not_followed(self, tmp_path, files):
        (tmp_path / "secret").write_bytes(b"data")
        (tmp_path / "source").symlink_to("secret")
        with pytest.raises(OSError, match="symbolic links"):
            files.copy(tmp_path / "source", tmp_path / "target")
        assert files.done == []

    @pytest.mark.parametrize("size", [0, 1, 5000, (1 << 20) - 1, 1 << 20, (1 << 21) + 1])
    def test_an_observer_gets_the_bytes_that_are_written(self, tmp_path, files, size):
        data = os.urandom(size)
        (tmp_path / "source").write_bytes(data)
        seen = bytearray()
        assert files.copy(tmp_path / "source", tmp_path / "target", observe=seen.extend) == size
        assert seen == data == (tmp_path / "target").read_bytes()

    def test_where_blocks_can_be_shared_nothing_is_written(self, tmp_path):
        class Sharing(Recording):
            """Stands in for a file system that does; it gets the place of both files."""

            def _change(self, operation, path, function, *args, **kwargs):
                if operation == "clone":
                    to, _request, origin = args
                    function, args = os.pwrite, (to, os.pread(origin, 100, 0), 0)
                return super()._change(operation, path, function, *args, **kwargs)

        (tmp_path / "source").write_bytes(b"data")
        for name, observe in (("one", None), ("other", bytearray().extend)):
            files = Sharing()
            assert files.copy(tmp_path / "source", tmp_path / name, observe=observe) == 4
            assert (tmp_path / name).read_bytes() == b"data"
            assert "write" not in files.operations()

    def test_a_disk_that_breaks_while_blocks_are_shared_is_tried_by_reading(self, tmp_path):
        """A read or a write tells which of the two files cannot be had."""
        (tmp_path / "source").write_bytes(b"data")
        files = Recording("clone", OSError(errno.EIO, "broken"))
        files.copy(tmp_path / "source", tmp_path / "target")
        assert (tmp_path / "target").read_bytes() == b"data"

    def test_a_full_disk_while_blocks_are_shared_is_an_error(self, tmp_path):
        (tmp_path / "source").write_bytes(b"data")
        with pytest.raises(OSError, match="No space"):
            Recording("clone").copy(tmp_path / "source", tmp_path / "target")

    @pytest.mark.parametrize("observe", [None, len])
    @pytest.mark.parametrize("after", [0, 2 << 20])
    def test_what_cannot_be_read_is_told_from_what_cannot_be_written(
        self, tmp_path, observe, after
    ):
        source = tmp_path / "source"
        source.write_bytes(os.urandom(3 << 20))
        with failing_reads(source, after=after), pytest.raises(CannotReadError) as caught:
            Files().copy(source, tmp_path / "target", observe=observe)
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(source))
        assert os.listdir(tmp_path) == ["source"]

    def test_what_cannot_be_opened_is_no_error_of_the_target(self):
        with nobody() as directory:
            (directory / "source").touch(0)
            with pytest.raises(CannotReadError, match="Permission denied"):
                Files().copy(directory / "source", directory / "target")

    def test_without_descriptors_nothing_is_said_of_a_file(self, tmp_path):
        (tmp_path / "source").touch()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(OSError, match="Too many open files") as caught:
                Files().copy(tmp_path / "source", tmp_path / "target")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not isinstance(caught.value, CannotReadError)

    def test_what_ends_early_is_not_a_copy(self, tmp_path):
        source = tmp_path / "source"
        source.write_bytes(b"0123456789")
        with failing_reads(source, after=4, number=None), pytest.raises(CutShortError) as caught:
            Files().copy(source, tmp_path / "target")
        assert caught.value.size == 10
        assert "4 bytes of 10 could be read" in str(caught.value)
        assert os.listdir(tmp_path) == ["source"]

    @pytest.mark.parametrize("change", [b"", b"01234", b"0123456789a"])
    def test_what_changes_its_size_meanwhile_is_a_copy_only_if_it_may(self, tmp_path, change):
        source = tmp_path / "source"
        source.write_bytes(b"0123456789")

        def observe(_data):
            source.write_bytes(change)

        with pytest.raises(CutShortError, match="its size changed"):
            Files().copy(source, tmp_path / "target", observe=observe, size=10)
        source.write_bytes(b"0123456789")
        assert Files().copy(source, tmp_path / "other", observe=observe) >= 10

    @pytest.mark.parametrize(
        ("code", "tried"), [(errno.EOPNOTSUPP, 1), (errno.EXDEV, 1), (errno.EINVAL, 3)]
    )
    def test_a_disk_that_never_shares_blocks_is_asked_once(self, tmp_path, code, tried):
        (tmp_path / "source").write_bytes(b"data")
        files = Recording("clone", OSError(code, "cannot"))
        before = files.times
        for number in range(3):
            files.copy(tmp_path / "source", tmp_path / f"target{number}")
            assert (tmp_path / f"target{number}").read_bytes() == b"data"
        assert before - files.times == tried

    @pytest.mark.parametrize("mode", [0o400, 0o444, 0o600, 0o640, 0o755, 0o044])
    def test_only_what_a_copy_lacks_is_given_to_it(self, tmp_path, mode):
        (tmp_path / "source").write_bytes(b"data")
        with Files().filling(tmp_path / "target", _with((tmp_path / "source").stat(), mode=mode)):
            pass
        assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == mode
        (tmp_path / "source").chmod(mode | 0o400)
        files = Recording()
        files.copy(tmp_path / "source", tmp_path / "copy")
        assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == mode | 0o400
        asked = set(files.operations()) & {"chown", "chmod"}
        assert asked == ({"chmod"} if mode & ~0o700 else set())

    @pytest.mark.parametrize("bit", [stat.S_ISUID, stat.S_ISGID])
    def test_no_file_lends_the_rights_of_its_owner(self, tmp_path, bit):
        """Others may have written what root restores, and an archive says what it likes."""
        (tmp_path / "source").write_bytes(b"data")
        (tmp_path / "source").chmod(0o755 | bit)
        like = (tmp_path / "source").stat()
        assert like.st_mode & bit
        with Files().filling(tmp_path / "filled", like):
            pass
        (tmp_path / "staged").touch()
        Files().make_like(tmp_path / "staged", like)
        Files().copy(tmp_path / "source", tmp_path / "copied")
        for name in ("filled", "staged", "copied"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o755

    def test_only_root_keeps_the_owner_and_only_as_far_as_it_may(self, tmp_path, monkeypatch):
        (tmp_path / "source").write_bytes(b"data")
        status = (tmp_path / "source").stat()
        for number, uid, expected in (
            (1000, status.st_uid + 1, False),
            (0, status.st_uid + 1, True),
            (0, status.st_uid, False),
        ):
            monkeypatch.setattr(os, "geteuid", lambda number=number: number)
            files = Recording("chown", PermissionError(errno.EPERM, "a container"))
            before = files.times
            target = tmp_path / f"target{number}-{uid}"
            with files.filling(target, _with(status, uid=uid)) as writer:
                writer.write(b"data")
            assert target.read_bytes() == b"data"
            assert (files.times < before) is expected

    def test_what_is_no_file_is_refused_and_never_waited_for(self, tmp_path, files):
        os.mkfifo(tmp_path / "source")
        with pytest.raises(OSError, match="not a regular file"):
            files.copy(tmp_path / "source", tmp_path / "target")
        with pytest.raises(OSError, match="not a regular file"):
            files.copy(tmp_path, tmp_path / "target")
        assert files.done == []


class TestPublishCopy:
    def test_the_copy_appears_in_one_step(self, tmp_path, files):
        (tmp_path / "source").write_bytes(b"data")
        assert files.publish_copy(tmp_path / "source", tmp_path / "final") == 4
        assert below(tmp_path) == ["final", "source"]
        assert files.operations()[-3:] == ["fsync", "rename", "fsync"]

    def test_a_copy_may_grow_in_another_directory(self, tmp_path, files):
        (tmp_path / "source").write_bytes(b"data")
        (tmp_path / "room").mkdir()
        (tmp_path / "place").mkdir()
        final, seen = tmp_path / "place" / "final", bytearray()
        files.publish_copy(tmp_path / "source", final, observe=seen.extend, room=tmp_path / "room")
        assert below(tmp_path) == ["place", "place/final", "room", "source"]
        assert final.read_bytes() == seen == b"data"
        assert sorted(files.done[-2:]) == [("fsync", "place"), ("fsync", "room")]

    @pytest.mark.parametrize("operation", ["create", "write", "chmod", "utime", "fsync", "rename"])
    def test_a_full_disk_leaves_what_was_there(self, tmp_path, operation):
        (tmp_path / "source").write_bytes(b"data")
        (tmp_path / "final").write_bytes(b"before")
        with pytest.raises(OSError, match="No space"):
            Recording(operation, times=1).publish_copy(tmp_path / "source", tmp_path / "final")
        assert below(tmp_path) == ["final", "source"]
        assert (tmp_path / "final").read_bytes() == b"before"


class TestLinks:
    def test_a_hard_link_is_the_same_file(self, tmp_path, files):
        (tmp_path / "source").write_bytes(b"data")
        assert files.link(tmp_path / "source", tmp_path / "target") is True
        assert (tmp_path / "source").samefile(tmp_path / "target")

    @pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP])
    def test_where_the_file_system_cannot_link_it_says_so(self, tmp_path, number):
        (tmp_path / "source").touch()
        files = Recording("link", OSError(number, os.strerror(number)))
        assert files.link(tmp_path / "source", tmp_path / "target") is False

    def test_a_link_that_fails_for_other_reasons_is_an_error(self, tmp_path, files):
        with pytest.raises(FileNotFoundError):
            files.link(tmp_path / "missing", tmp_path / "target")
        with pytest.raises(OSError, match="No space"):
            Recording("link").link(tmp_path / "missing", tmp_path / "target")

    def test_a_hard_link_to_a_symbolic_link_does_not_follow_it(self, tmp_path, files):
        (tmp_path / "source").symlink_to("nowhere")
        assert files.link(tmp_path / "source", tmp_path / "target")
        assert os.readlink(tmp_path / "target") == "nowhere"

    def test_a_symbolic_link_is_renewed_in_one_step(self, tmp_path, files):
        files.symlink("one", tmp_path / "latest")
        files.symlink("two", tmp_path / "latest")
        assert os.readlink(tmp_path / "latest") == "two"
        assert os.listdir(tmp_path) == ["latest"]
        assert files.operations() == ["symlink", "rename", "fsync"] * 2

    @pytest.mark.parametrize("operation", ["symlink", "rename"])
    def test_a_symbolic_link_that_cannot_be_renewed_stays(self, tmp_path, operation):
        Files().symlink("one", tmp_path / "latest")
        with pytest.raises(OSError, match="No space"):
            Recording(operation).symlink("two", tmp_path / "latest")
        assert os.readlink(tmp_path / "latest") == "one"
        assert os.listdir(tmp_path) == ["latest"]


class TestNamesAndAttributes:
    def test_a_rename_makes_both_directories_durable(self, tmp_path, files):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        (tmp_path / "a" / "one").touch()
        files.rename(tmp_path / "a" / "one", tmp_path / "b" / "two")
        assert below(tmp_path) == ["a", "b", "b/two"]
        assert files.done == [("rename", "two"), ("fsync", "b"), ("fsync", "a")]

    def test_remove_takes_a_link_and_not_what_it_points_to(self, tmp_path, files):
        (tmp_path / "file").touch()
        (tmp_path / "link").symlink_to("file")
        files.remove(tmp_path / "link")
        assert os.listdir(tmp_path) == ["file"]

    def test_times_and_mode_can_be_set(self, tmp_path, files):
        (tmp_path / "file").touch()
        files.touch(tmp_path / "file", (5, 7))
        files.chmod(tmp_path / "file", 0o400)
        status = (tmp_path / "file").stat()
        assert (status.st_atime_ns, status.st_mtime_ns) == (5, 7)
        assert stat.S_IMODE(status.st_mode) == 0o400


class TestDirectories:
    def test_missing_parents_are_made_durably(self, tmp_path, files):
        files.make_directories(tmp_path / "a" / "b")
        assert below(tmp_path) == ["a", "a/b"]
        assert files.done == [
            ("mkdir", "a"),
            ("fsync", tmp_path.name),
            ("mkdir", "b"),
            ("fsync", "a"),
        ]

    def test_a_directory_that_is_there_costs_nothing(self, tmp_path, files):
        files.make_directories(tmp_path)
        assert files.done == []

    @pytest.mark.parametrize("make", ["make_directory", "make_directories"])
    def test_a_file_in_the_way_is_an_error(self, tmp_path, files, make):
        (tmp_path / "file").touch()
        (tmp_path / "dangling").symlink_to("nowhere")
        for name in ("file", "dangling"):
            with pytest.raises(NotADirectoryError) as caught:
                getattr(files, make)(tmp_path / name)
            assert caught.value.filename == str(tmp_path / name)

    def test_a_directory_made_twice_is_one(self, tmp_path, files):
        files.make_directory(tmp_path / "a", mode=0o700)
        (tmp_path / "a" / "kept").touch()
        files.make_directory(tmp_path / "a")
        assert below(tmp_path) == ["a", "a/kept"]
        assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700

    @pytest.mark.parametrize("mode", [0o700, 0o755, 0o2770, 0o777, 0o555, 0o000])
    def test_a_directory_like_another_has_its_mode_but_can_be_filled(self, tmp_path, files, mode):
        (tmp_path / "original").mkdir()
        (tmp_path / "original").chmod(mode)
        old = os.umask(0o027)
        try:
            files.make_directory_like(tmp_path / "made", (tmp_path / "original").stat())
        finally:
            os.umask(old)
        assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == mode | 0o700

    def test_a_tree_of_any_size_and_depth_is_removed(self, tmp_path, files, monkeypatch):
        monkeypatch.setattr("collective.recipe.backup.descent._MANY_ENTRIES", 3)
        for number in range(10):
            (tmp_path / "tree" / str(number)).mkdir(parents=True)
            (tmp_path / "tree" / f"file {number}").touch()
            (tmp_path / "tree" / str(number) / "file").touch()
        deep = tmp_path / "tree"
        for _ in range(1100):  # deeper than Python calls itself
            deep = deep / "d"
            deep.mkdir()
        files.remove_tree(tmp_path / "tree")
        assert below(tmp_path) == []
        assert files.operations().count("unlink") == 20

    def test_a_tree_is_removed_and_links_in_it_are_not_followed(self, tmp_path, files):
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept" / "file").touch()
        tree = tmp_path / "tree"
        (tree / "a" / "b").mkdir(parents=True)
        (tree / "a" / "b" / "file").touch()
        (tree / "a" / "to directory").symlink_to(tmp_path / "kept")
        (tree / "to file").symlink_to(tmp_path / "kept" / "file")
        files.remove_tree(tree)
        assert below(tmp_path) == ["kept", "kept/file"]

    def test_a_link_instead_of_a_tree_is_not_followed_either(self, tmp_path, files):
        (tmp_path / "kept").mkdir()
        (tmp_path / "kept" / "file").touch()
        (tmp_path / "tree").symlink_to("kept")
        files.remove_tree(tmp_path / "tree")
        assert below(tmp_path) == ["kept", "kept/file"]

    def test_directories_that_cannot_be_fsynced_do_not_matter(self, tmp_path):
        Recording("fsync", OSError(errno.EINVAL, "Invalid argument")).sync_directory(tmp_path)
        with pytest.raises(OSError, match="I/O error"):
            Recording("fsync", OSError(errno.EIO, "I/O error")).sync_directory(tmp_path)

    def test_a_file_system_that_cannot_sync_is_an_error(self, tmp_path, files):
        files.sync_tree(tmp_path)
        assert files.done == [("syncfs", tmp_path.name)]
        with pytest.raises(OSError, match="I/O error"):
            Recording("syncfs", OSError(errno.EIO, "I/O error")).sync_tree(tmp_path)

    def test_of_a_little_tree_each_part_is_synced(self, tmp_path, files):
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "file").touch()
        (tmp_path / "a" / "link").symlink_to("/nowhere")
        files.sync_little_tree(tmp_path)
        names = ["file", "b", "a", tmp_path.name]
        assert files.done == [("fsync", name) for name in names]

    @pytest.mark.parametrize("more", [0, 1])
    def test_of_many_files_the_file_system_is_synced(self, tmp_path, files, more):
        for number in range(directories.FEW - 1 + more):
            (tmp_path / str(number)).touch()
        files.sync_little_tree(tmp_path)
        assert len(files.done) == (1 if more else directories.FEW)
        assert (("syncfs", tmp_path.name) in files.done) == bool(more)

    def test_where_one_cannot_be_synced_the_file_system_is(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path)
        refusing = Recording("fsync", OSError(errno.EINVAL, "Invalid argument"))
        for each in (tmp_path, tmp_path / "link"):
            refusing.sync_each([each], tmp_path)
            assert refusing.done[-1] == ("syncfs", tmp_path.name)
        with pytest.raises(OSError, match="I/O error"):
            Recording("fsync", OSError(errno.EIO, "I/O error")).sync_little_tree(tmp_path)

    def test_a_failing_syncfs_is_an_os_error(self, tmp_path, monkeypatch):
        class Library:
            @staticmethod
            def syncfs(_descriptor):
                ctypes.set_errno(errno.EIO)
                return -1

        monkeypatch.setattr(directories, "_syncfs", SYNCFS)
        monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_words: Library)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            Files().sync_tree(tmp_path)

    def test_without_syncfs_everything_is_synced(self, tmp_path, monkeypatch):
        synced = []
        monkeypatch.setattr(directories, "_syncfs", SYNCFS)
        monkeypatch.setattr(ctypes, "CDLL", lambda *_args, **_words: object())
        monkeypatch.setattr(os, "sync", lambda: synced.append("all"))
        Files().sync_tree(tmp_path)
        assert synced == ["all"]


class TestStaging:
    def test_a_tree_appears_when_its_body_succeeds(self, tmp_path, files):
        final = tmp_path / "final"
        with files.staging(final) as staged:
            files.make_directory(staged / "inner")
            (staged / "inner" / "file").write_bytes(b"data")
            assert is_partial(staged.name)
            assert not final.exists()
        assert below(tmp_path) == ["final", "final/inner", "final/inner/file"]
        assert files.operations() == ["mkdir", "mkdir", "syncfs", "rename", "fsync"]

    def test_a_failing_body_leaves_nothing(self, tmp_path, files):
        with pytest.raises(ZeroDivisionError), files.staging(tmp_path / "final") as staged:
            (staged / "file").touch()
            raise ZeroDivisionError
        assert below(tmp_path) == []

    @pytest.mark.parametrize("operation", ["mkdir", "syncfs", "rename"])
    def test_a_full_disk_leaves_nothing(self, tmp_path, operation):
        files = Recording(operation)
        with pytest.raises(OSError, match="No space"), files.staging(tmp_path / "final") as staged:
            (staged / "file").touch()
        assert below(tmp_path) == []

    def test_an_empty_directory_is_replaced_and_a_full_one_is_not(self, tmp_path, files):
        (tmp_path / "empty").mkdir()
        with files.staging(tmp_path / "empty") as staged:
            (staged / "new").touch()
        with pytest.raises(OSError, match="not empty"), files.staging(tmp_path / "empty") as staged:
            (staged / "newer").touch()
        assert below(tmp_path) == ["empty", "empty/new"]


class TestDebris:
    def test_temporary_names_are_known_and_differ(self, tmp_path, files):
        names = {files.partial_name(tmp_path / "Data.fs").name for _ in range(100)}
        assert len(names) == 100
        assert all(map(is_partial, names))

    @pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
    def test_temporary_names_are_known_whatever_the_name(self, name):
        assert is_partial(Files(lambda: "0123abcd").partial_name(Path("/somewhere", name)).name)

    @pytest.mark.parametrize(
        "name",
        [
            "Data.fs",
            "Data.fs.partial",
            "Data.fs.0123abc.partial",
            "Data.fs.0123ABCD.partial",
            "Data.fs.0123abcd.partial.old",
            "Data.fs.0123abcd.partial\n",
            ".0123abcd.partial",
        ],
    )
    def test_what_is_no_temporary_name_of_ours(self, name):
        assert not is_partial(name)

    def test_a_sweep_removes_what_died_runs_left_and_nothing_else(self, tmp_path, files):
        kept = tmp_path / "kept.partial"
        kept.mkdir()
        (kept / "a.0123abcd.partial").touch()  # below: not ours to look at
        left = [tmp_path / f"{name}.0123abcd.partial" for name in ("file", "tree", "link")]
        left[0].touch()
        (left[1] / "inner").mkdir(parents=True)
        left[2].symlink_to(kept)
        assert sorted(files.sweep(tmp_path)) == sorted(left)
        assert below(tmp_path) == ["kept.partial", "kept.partial/a.0123abcd.partial"]

    def test_a_sweep_of_one_name_leaves_the_others(self, tmp_path, files):
        for name in ("a.json", "b.a.json", "a.json.json", "a"):
            (tmp_path / f"{name}.0123abcd.partial").touch()
        assert files.sweep(tmp_path, of="a.json") == [tmp_path / "a.json.0123abcd.partial"]
        assert len(below(tmp_path)) == 3

    @pytest.mark.parametrize("alone", [True, False])
    def test_a_sweep_leaves_what_a_living_writer_is_at(self, tmp_path, files, alone):
        with files.writing(tmp_path / "metrics") as writer:
            writer.write(b"whole")
            assert Files().sweep(tmp_path, alone=alone) == []
        assert (tmp_path / "metrics").read_bytes() == b"whole"
        assert below(tmp_path) == ["metrics"]

    def test_a_writer_is_alive_until_its_file_has_its_name(self, tmp_path):
        swept = []

        class Sweeping(Files):
            def _change(self, operation, path, function, *args, **kwargs):
                if operation == "rename":
                    swept.extend(Files().sweep(tmp_path))
                return super()._change(operation, path, function, *args, **kwargs)

        Sweeping().write(tmp_path / "metrics", b"whole")

        assert swept == []
        assert below(tmp_path) == ["metrics"]

    def test_a_sweep_that_comes_before_the_lock_of_a_new_file_costs_nothing(self, tmp_path):
        swept = []

        class Swept(Files):
            def _change(self, operation, path, function, *args, **kwargs):
                result = super()._change(operation, path, function, *args, **kwargs)
                if operation == "create" and not swept:
                    swept.extend(Files().sweep(tmp_path))
                return result

        Swept().write(tmp_path / "metrics", b"whole")

        assert len(swept) == 1
        assert (tmp_path / "metrics").read_bytes() == b"whole"
        assert below(tmp_path) == ["metrics"]

    def test_a_sweep_without_a_lock_removes_only_files_that_can_be_locked(self, tmp_path, files):
        dead, tree, link = (tmp_path / f"{name}.0123abcd.partial" for name in ("a", "b", "c"))
        dead.touch()
        tree.mkdir()
        link.symlink_to(tmp_path)
        assert files.sweep(tmp_path, alone=False) == [dead]
        assert below(tmp_path) == [tree.name, link.name]

    def test_where_there_are_no_locks_only_who_is_alone_sweeps(self, tmp_path, files, monkeypatch):
        def refused(*_args):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", refused)
        files.write(tmp_path / "metrics", b"whole")
        left = tmp_path / "a.0123abcd.partial"
        left.touch()
        assert files.sweep(tmp_path, alone=False) == []
        assert files.sweep(tmp_path) == [left]
        assert below(tmp_path) == ["metrics"]

    def test_what_a_user_named_is_published_without_what_a_dead_writer_left(self, tmp_path, files):
        for name in ("report.html", "other.html"):
            (tmp_path / f"{name}.0123abcd.partial").touch()
        with Files().writing(tmp_path / "report.html") as other:
            other.write(b"earlier")
            files.publish(tmp_path / "report.html", b"later")
        assert (tmp_path / "report.html").read_bytes() == b"earlier"
        assert below(tmp_path) == ["other.html.0123abcd.partial", "report.html"]

    def test_a_directory_that_is_not_there_holds_no_debris(self, tmp_path, files):
        assert files.sweep(tmp_path / "missing") == []


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_names_with_any_bytes_are_names_of_files(tmp_path, files, name):
    directory = tmp_path / name
    files.make_directories(directory / name)
    files.write(directory / "source", b"data")
    files.publish_copy(directory / "source", directory / f"{name}.copy")
    files.link(directory / "source", directory / f"{name}.link")
    files.symlink(name, directory / f"{name}.symlink")
    with files.staging(directory / f"{name}.tree") as staged:
        files.copy(directory / "source", staged / name)
    endings = ("", ".copy", ".link", ".symlink", ".tree")
    assert sorted(os.listdir(directory)) == sorted(["source", *(name + each for each in endings)])
    files.remove_tree(directory)
    assert os.listdir(tmp_path) == []


class Unlinked(Recording):
    """Files on a file system that says *number* when it is asked for a hard link; None: it has."""

    def __init__(self, number=None):
        super().__init__()
        self.number = number

    def _change(self, operation, path, function, *args, **kwargs):
        if operation == "link" and self.number:
            raise OSError(self.number, os.strerror(self.number))
        return super()._change(operation, path, function, *args, **kwargs)


class TestCreating:
    @pytest.fixture(
        params=[None, errno.EPERM, errno.EOPNOTSUPP],
        ids=["hard links", "no hard links", "no hard links, as others say it"],
    )
    def files(self, request):
        return Unlinked(request.param)

    def test_a_file_appears_when_its_body_succeeds(self, tmp_path, files):
        with files.creating(tmp_path / "final") as writer:
            writer.write(b"bytes")
            assert not (tmp_path / "final").exists()
        assert (tmp_path / "final").read_bytes() == b"bytes"
        assert below(tmp_path) == ["final"]

    def test_a_file_that_exists_stays(self, tmp_path, files):
        final = tmp_path / "final"
        final.write_bytes(b"first")
        with pytest.raises(FileExistsError), files.creating(final) as writer:
            writer.write(b"second")
        assert final.read_bytes() == b"first"
        assert below(tmp_path) == ["final"]

    def test_a_created_file_is_fsynced_named_and_its_directory_fsynced_in_this_order(
        self, tmp_path, files
    ):
        with files.creating(tmp_path / "final") as writer:
            writer.write(b"bytes")
        operations = [each for each in files.operations() if each != "unlink"]
        assert operations[:4] == ["create", "write", "utime", "fsync"]
        assert operations[4] in {"rename", "link"}
        assert files.done[-1] == ("fsync", tmp_path.name)

    def test_the_time_of_a_created_file_is_that_of_its_making(self, tmp_path, files):
        final = tmp_path / "final"
        with files.creating(final) as writer:
            writer.write(b"bytes")
            os.utime(writer.descriptor, (0, 0))
        assert final.stat().st_mtime > 1e9

    def test_a_failing_body_leaves_nothing(self, tmp_path, files):
        with pytest.raises(ZeroDivisionError), files.creating(tmp_path / "final"):
            1 / 0  # noqa: B018  the error is the point
        assert below(tmp_path) == []

    def test_a_created_file_is_private(self, tmp_path, files):
        with files.creating(tmp_path / "final"):
            pass
        assert stat.S_IMODE((tmp_path / "final").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_of_created_files_are_data(tmp_path, files, name):
    with files.creating(tmp_path / name) as writer:
        writer.write(b"bytes")
    assert os.listdir(tmp_path) == [name]


def test_a_disk_that_breaks_while_a_file_gets_its_name_is_an_error(tmp_path):
    files = Recording("link", OSError(errno.EIO, "I/O error"))
    with pytest.raises(OSError, match="I/O"), files.creating(tmp_path / "final"):
        pass
    assert below(tmp_path) == []


def test_what_is_scratch_can_be_read_again_and_is_gone_afterwards(tmp_path, files):
    with files.scratch(tmp_path / "final") as writer:
        writer.write(b"data")
        assert os.pread(writer.descriptor, 10, 1) == b"ata"
        assert [is_partial(name) for name in below(tmp_path)] == [True]
    assert below(tmp_path) == []


def test_scratch_is_gone_when_its_body_fails(tmp_path, files):
    with pytest.raises(ValueError, match="no"), files.scratch(tmp_path / "final"):
        raise ValueError("no")
    assert below(tmp_path) == []


def test_what_the_disk_could_not_write_is_told_when_it_is_asked_to(tmp_path, monkeypatch):
    """A later sync of another descriptor would not tell it again."""

    def failing(_descriptor):
        raise OSError(errno.EIO, "I/O error")

    Files.write_back(tmp_path)
    monkeypatch.setattr(directories, "_syncfs", failing)
    with pytest.raises(OSError, match="I/O error"):
        Files.write_back(tmp_path)


@pytest.fixture
def room(tmp_path):
    (tmp_path / "room").mkdir()
    return tmp_path / "room"


@pytest.mark.parametrize("kind", ["file", "link", "directory", "full directory"])
def test_a_rename_is_tried_and_nothing_moves(tmp_path, room, files, kind):
    path = tmp_path / "it"
    if kind == "link":
        path.symlink_to("somewhere")
    elif kind == "file":
        path.write_text("data")
    else:
        path.mkdir()
        if "full" in kind:
            (path / "a").mkdir()
    before = path.lstat().st_ino

    with files.trying_renames(room) as refusal:
        assert refusal(path) is None
        assert len(os.listdir(room)) == 1

    assert path.lstat().st_ino == before
    assert os.listdir(room) == []


@mounted
def test_a_mount_point_and_another_disk_refuse_a_rename(tmp_path, room):
    (tmp_path / "disk").mkdir()
    tmpfs(tmp_path / "disk")
    (tmp_path / "disk" / "directory").mkdir()
    (tmp_path / "disk" / "file").touch()

    with Files().trying_renames(room) as refusal:
        assert refusal(tmp_path / "disk").errno == errno.EBUSY
        assert refusal(tmp_path / "disk" / "directory").errno == errno.EXDEV
        assert refusal(tmp_path / "disk" / "file").filename == str(tmp_path / "disk" / "file")


def test_a_missing_permission_to_rename_is_reported():
    with nobody() as directory:
        (directory / "parent" / "it").mkdir(parents=True)
        (directory / "room").mkdir()
        (directory / "parent").chmod(0o555)

        with Files().trying_renames(directory / "room") as refusal:
            assert refusal(directory / "parent" / "it").errno == errno.EACCES
        trial = Files().trying_renames(directory / "parent")
        with pytest.raises(PermissionError) as caught, trial:
            pass

        assert caught.value.filename == str(directory / "parent")
        (directory / "parent").chmod(0o755)


def test_an_error_of_the_disk_is_no_refusal(tmp_path, room):
    class Broken(Files):
        def _change(self, operation, path, function, *args, **kwargs):
            if operation == "try":
                raise OSError(errno.EIO, "I/O error")
            return super()._change(operation, path, function, *args, **kwargs)

    with pytest.raises(OSError, match="I/O error"), Broken().trying_renames(room) as refusal:
        refusal(tmp_path)
    assert os.listdir(room) == []


def test_a_disk_that_removes_nothing_is_no_place_to_rename_in(tmp_path, room):
    class Broken(Files):
        def _change(self, operation, path, function, *args, **kwargs):
            if operation == "rmdir":
                raise OSError(errno.EIO, "I/O error", str(path))
            return super()._change(operation, path, function, *args, **kwargs)

    with pytest.raises(OSError, match="I/O error") as caught, Broken().trying_renames(room):
        pass
    assert Path(caught.value.filename).is_relative_to(room)


def test_where_a_rename_succeeds_that_cannot_it_is_taken_back(tmp_path, room):
    """No file system does so; one that did would have moved live data."""

    class Strange(Files):
        def _change(self, operation, path, function, *args, **kwargs):
            if operation == "try":
                (args[1] / ".backup").rmdir()
            return super()._change(operation, path, function, *args, **kwargs)

    (tmp_path / "it" / "x").mkdir(parents=True)
    with Strange().trying_renames(room) as refusal:
        assert refusal(tmp_path / "it") is None
    assert (tmp_path / "it" / "x").is_dir()
    assert os.listdir(room) == []


def test_only_who_may_write_to_a_file_passes_the_trial(tmp_path, files):
    (tmp_path / "it").write_text("data")
    files.check_writable(tmp_path / "it")
    assert (tmp_path / "it").read_text() == "data"
    with nobody() as directory:
        (directory / "it").touch(0o400)
        with pytest.raises(PermissionError):
            Files().check_writable(directory / "it")
