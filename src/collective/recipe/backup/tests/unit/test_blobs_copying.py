from __future__ import annotations

import errno
import os
import shutil
import threading

import pytest

from collective.recipe.backup.blobs import copying
from collective.recipe.backup.blobs.checksums import Checksum
from collective.recipe.backup.blobs.copying import CopyOrder, How, Transfer, in_order
from collective.recipe.backup.blobs.digesting import checksum_of
from collective.recipe.backup.blobs.layout import walk
from collective.recipe.backup.blobs.refusing import leads_out
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.tests.blobtrees import ODD_NAMES, blob_id, nobody, put, tree
from collective.recipe.backup.tests.faults.harness import failing_reads


class Refusing(Files):
    """Files of a file system that refuses one kind of operation."""

    def __init__(self, refused, number):
        super().__init__()
        self.refused, self.number = refused, number

    def _change(self, operation, path, function, *args, **kwargs):
        if operation == self.refused:
            raise OSError(self.number, os.strerror(self.number), str(path))
        return function(*args, **kwargs)


@pytest.fixture
def source(tmp_path):
    for number in range(5):
        put(tmp_path / "source", blob_id(number, 7 + number))
    return tmp_path / "source"


@pytest.fixture
def run(source, tmp_path):
    """Return a function that copies the source to tmp_path / "target"."""

    def run(earlier=None, known=None, files=None, entries=None):
        transfer = Transfer(
            source=source, target=tmp_path / "target", earlier=earlier, files=files or Files()
        )
        known = known or {}
        entries = list(walk(source)) if entries is None else entries
        return list(transfer.run(CopyOrder(entry, known.get(entry.path)) for entry in entries))

    return run


def hows(done):
    return {each.how for each in done}


def open_descriptors():
    return len(os.listdir("/proc/self/fd"))


def status(path):
    found = path.lstat()
    return found.st_mode, found.st_mtime_ns, found.st_size, found.st_uid, found.st_gid


@pytest.fixture
def started():
    """Return what tells the threads that the test has started and that still run."""
    before = set(threading.enumerate())
    return lambda: set(threading.enumerate()) - before


class TestInOrder:
    def test_results_come_in_the_order_of_the_items(self):
        assert list(in_order(lambda item: item * 2, range(5000))) == list(range(0, 10000, 2))

    def test_long_work_is_done_by_two_threads(self):
        both = threading.Barrier(copying.THREADS, timeout=10)
        # each waits until another thread is at work on one
        items = range(2 * copying.THREADS)
        threads = set(in_order(lambda item: (both.wait(), threading.get_ident())[1], items))
        assert len(threads) == copying.THREADS
        assert threading.get_ident() not in threads

    def test_short_work_is_done_at_once_while_long_work_goes_on(self):
        by, all_done = {}, threading.Event()

        def work(item):
            by[item] = threading.get_ident()
            if item == 0:
                assert all_done.wait(10)
            elif item == 50:
                all_done.set()
            return item

        assert list(in_order(work, range(51), lambda item: item == 0)) == list(range(51))
        assert by.pop(0) != threading.get_ident()
        assert set(by.values()) == {threading.get_ident()}

    def test_items_are_not_taken_long_before_their_results(self):
        items = iter(range(10_000))
        results = in_order(str, items)
        next(results)
        assert next(items) <= copying.AHEAD + 1
        results.close()

    @pytest.mark.parametrize("error", [OSError("x"), KeyboardInterrupt(), BackupError("x")])
    def test_an_error_of_the_work_ends_it(self, started, error):
        def fail(item):
            if item == 70:
                raise error
            return item

        with pytest.raises(type(error)):
            list(in_order(fail, range(100_000)))
        assert not started()

    def test_an_error_of_the_items_ends_it(self, started):
        def items():
            yield from range(100)
            raise BackupError("no more")

        with pytest.raises(BackupError, match="no more"):
            list(in_order(str, items()))
        assert not started()

    def test_a_caller_that_takes_no_more_results_stops_the_work(self, started):
        done = []
        results = in_order(done.append, range(100_000))
        next(results)
        results.close()
        assert not started()
        assert len(done) <= copying.AHEAD + 1


class TestTransfer:
    def test_no_directory_stays_open_wherever_it_ends(self, source, tmp_path):
        (source / "a directory").mkdir()
        orders = [CopyOrder(entry) for entry in walk(source)]
        before = open_descriptors()
        for number in range(len(orders) + 1):
            target = tmp_path / f"target {number}"
            done = Transfer(source=source, target=target, earlier=None, files=Files()).run(orders)
            assert target.is_dir()
            for _each in zip(range(number), done, strict=False):
                # the directories on the way to a blob, in both trees
                assert open_descriptors() <= before + 2 * 9
            done.close()
            assert open_descriptors() == before
            assert len([*target.rglob("*.blob")]) <= number

    def test_a_tree_is_copied_with_what_it_is(self, source, tmp_path, run):
        for name in ODD_NAMES:
            (source / name).mkdir()
            (source / name / name).write_text(name, errors="surrogateescape")
        (source / "empty").mkdir()
        (source / "link").symlink_to("empty")
        done = run()
        assert tree(tmp_path / "target") == tree(source)
        for each in done:
            if each.checksum:
                assert each.checksum == checksum_of(source, each.entry.path)
        assert hows(done) == {How.COPIED}

    def test_modes_times_and_owners_are_kept(self, source, tmp_path, run):
        [blob, *_rest] = source.rglob("*.blob")
        if os.geteuid() == 0:
            os.chown(blob, 1234, 5678)
            os.chown(blob.parent, 1234, 5678)
        blob.chmod(0o640)
        blob.parent.chmod(0o2770)
        source.chmod(0o700)
        run()
        for path in (blob, blob.parent, source):
            copy = tmp_path / "target" / path.relative_to(source)
            assert copy.stat().st_mode == path.stat().st_mode
            assert copy.stat().st_uid == path.stat().st_uid
        copy = tmp_path / "target" / blob.relative_to(source)
        assert status(copy) == status(blob)

    def test_the_umask_does_not_matter(self, source, tmp_path, run):
        (source / "0x00").chmod(0o777)
        old = os.umask(0o077)
        try:
            run()
        finally:
            os.umask(old)
        assert (tmp_path / "target" / "0x00").stat().st_mode & 0o777 == 0o777

    def test_a_directory_that_nobody_may_enter_can_still_be_filled(self, source, tmp_path):
        with nobody() as place:
            put(place / "source", blob_id(1, 1))
            (place / "source" / "0x00").chmod(0o500)
            transfer = Transfer(
                source=place / "source", target=place / "target", earlier=None, files=Files()
            )
            list(transfer.run(CopyOrder(entry) for entry in walk(place / "source")))
            assert tree(place / "target") == tree(place / "source")
            (place / "source" / "0x00").chmod(0o700)

    def test_unchanged_blobs_are_linked_to_the_earlier_copy(self, source, tmp_path, run):
        known = {each.entry.path: each.checksum for each in run()}
        earlier = (tmp_path / "target").rename(tmp_path / "earlier")
        new = put(source, blob_id(9, 9)).relative_to(source)
        done = run(earlier=earlier, known=known)
        for each in done:
            linked = (tmp_path / "target" / each.entry.path).stat().st_nlink == 2
            assert linked is (each.how is How.LINKED) is (each.entry.path != str(new))
            assert each.checksum == checksum_of(source, each.entry.path)

    def test_a_blob_of_another_size_or_time_is_copied(self, source, tmp_path, run):
        known = {each.entry.path: each.checksum for each in run()}
        earlier = (tmp_path / "target").rename(tmp_path / "earlier")
        size, time, *_rest = source.rglob("*.blob")
        keep = size.stat()
        size.chmod(0o600)
        size.write_bytes(b"longer than before, and by far")
        os.utime(size, ns=(keep.st_atime_ns, keep.st_mtime_ns))
        os.utime(time, ns=(0, keep.st_mtime_ns + 1))
        done = {each.entry.path: each for each in run(earlier=earlier, known=known)}
        for path in (size, time):
            each = done.pop(str(path.relative_to(source)))
            assert each.how is How.COPIED
            assert each.checksum == checksum_of(source, each.entry.path)
        assert hows(done.values()) == {How.LINKED}

    def test_whole_seconds_do_where_a_file_system_knows_no_more(self, source, tmp_path, run):
        known = {each.entry.path: each.checksum for each in run()}
        for path in tmp_path.glob("target/**/*.blob"):
            os.utime(path, (0, int(path.stat().st_mtime)))
        earlier = (tmp_path / "target").rename(tmp_path / "earlier")
        done = [each for each in run(earlier=earlier, known=known) if each.entry.blob]
        assert hows(done) == {How.LINKED}

    def test_without_checksums_the_bytes_decide(self, source, tmp_path, run):
        run()
        earlier = (tmp_path / "target").rename(tmp_path / "earlier")
        damaged, *_rest = earlier.rglob("*.blob")
        keep = damaged.stat()
        damaged.chmod(0o600)
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"X")
        os.utime(damaged, ns=(keep.st_atime_ns, keep.st_mtime_ns))
        done = {each.entry.path: each for each in run(earlier=earlier)}
        assert done.pop(str(damaged.relative_to(earlier))).how is How.COPIED
        assert hows(done.values()) == {How.LINKED}
        assert tree(tmp_path / "target") == tree(source)

    @pytest.mark.parametrize("number", [errno.EMLINK, errno.EXDEV, errno.EPERM])
    def test_what_cannot_be_linked_is_copied(self, source, tmp_path, run, number):
        known = {each.entry.path: each.checksum for each in run()}
        earlier = (tmp_path / "target").rename(tmp_path / "earlier")
        done = run(earlier=earlier, known=known, files=Refusing("link", number))
        assert hows(done) == {How.COPIED}
        assert tree(tmp_path / "target") == tree(source)

    def test_a_directory_that_is_made_anew_meanwhile_is_copied_on(self, source, tmp_path, run):
        class MadeAnew(Files):
            def _change(self, operation, path, function, *args, **kwargs):
                if operation == "create" and str(path).endswith("/theme/a"):
                    shutil.rmtree(source / "theme")
                    fill("new")
                return super()._change(operation, path, function, *args, **kwargs)

        def fill(text):
            (source / "theme" / "sub").mkdir(parents=True)
            for name in ("a", "b", "sub/c"):
                (source / "theme" / name).write_text(text)

        fill("old")
        assert hows(run(files=MadeAnew())) == {How.COPIED}
        copied = tmp_path / "target" / "theme"
        texts = [(copied / name).read_text() for name in ("a", "b", "sub/c")]
        assert texts == ["old", "new", "new"]

    def test_a_blob_that_vanishes_is_left_out_and_said_so(self, source, tmp_path, run):
        entries = list(walk(source))
        gone = [entry for entry in entries if entry.blob][2]
        (source / gone.path).unlink()
        (source / gone.path).parent.rmdir()
        done = {each.entry: each for each in run(entries=entries)}
        assert done[gone] == (gone, How.VANISHED, None, None)
        assert (tmp_path / "target" / gone.path).parent.is_dir()
        assert sum(each.how is How.COPIED for each in done.values()) == len(entries) - 1

    def left_out(self, done):
        """Return what was left out, and where and why."""
        [left] = [each for each in done if each.how is How.LEFT_OUT]
        assert left.checksum is None
        return left.entry.path, left.why

    def test_a_blob_without_permission_is_left_out_and_said_so(self):
        with nobody() as place:
            path = put(place / "source", blob_id(1, 1))
            put(place / "source", blob_id(1, 2))
            path.chmod(0)
            transfer = Transfer(
                source=place / "source", target=place / "target", earlier=None, files=Files()
            )
            left, why = self.left_out(
                transfer.run(CopyOrder(entry) for entry in walk(place / "source"))
            )
            assert left == str(path.relative_to(place / "source"))
            assert why.what == "cannot be read: Permission denied"
            assert why.where == str(path)
            assert not (place / "target" / left).exists()

    def test_a_directory_without_permission_is_left_out_and_said_so(self):
        with nobody() as place:
            put(place / "source", blob_id(1, 1))
            (place / "source" / "0x01").mkdir(0)
            (place / "source" / "notes").mkdir(0)
            transfer = Transfer(
                source=place / "source", target=place / "target", earlier=None, files=Files()
            )
            done = list(transfer.run(CopyOrder(entry) for entry in walk(place / "source")))
            left = {each.entry.path: each.why for each in done if each.how is How.LEFT_OUT}
            assert sorted(left) == ["0x01", "notes"]
            assert {why.what for why in left.values()} == {"cannot be read: Permission denied"}
            assert sorted(os.listdir(place / "target")) == [".layout", "0x00"]

    @pytest.mark.parametrize("size", [10, 3 << 20])
    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, None])
    def test_a_blob_that_cannot_be_read_to_its_end_is_left_out(
        self, source, tmp_path, run, size, number
    ):
        path = put(source, blob_id(3, 99), os.urandom(size))
        with failing_reads(path, after=size // 2, number=number):
            left, why = self.left_out(run())
        assert left == str(path.relative_to(source))
        assert why.where == str(path)
        assert tree(tmp_path / "target") == {
            name: data for name, data in tree(source).items() if name != left
        }

    @pytest.mark.parametrize("number", [errno.EIO, None])
    def test_a_blob_of_which_reading_stumbles_once_is_copied_whole_if_it_ended_early(
        self, source, tmp_path, run, number
    ):
        path = put(source, blob_id(3, 99), b"0123456789")
        with failing_reads(path, after=5, number=number, times=1):
            done = run()
        if number is None:
            assert tree(tmp_path / "target") == tree(source)
        else:
            self.left_out(done)

    def test_a_blob_that_is_cut_while_it_is_read_is_left_out(self, source, run, monkeypatch):
        path = put(source, blob_id(3, 99), b"0123456789")
        read = os.read

        def cutting(descriptor, size):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                os.truncate(path, 0)
            return read(descriptor, size)

        monkeypatch.setattr(os, "read", cutting)
        left, why = self.left_out(run())
        assert left == str(path.relative_to(source))
        assert "0 bytes of 10" in why.what or "its size changed" in why.what

    @pytest.mark.parametrize("name", [".layout", "0x01", "0x00/0x01"])
    def test_a_link_in_the_place_of_a_blob_or_directory_is_left_out(self, source, run, name):
        (source / ".layout").unlink()
        (source / name).symlink_to(source)
        left, why = self.left_out(run())
        assert left == name
        assert "symbolic link stands where" in why.what
        assert why.where == str(source / name)

    def test_a_special_file_is_left_out(self, source, run):
        os.mkfifo(source / "fifo")
        left, why = self.left_out(run())
        assert (left, why.where) == ("fifo", str(source / "fifo"))
        assert "neither file" in why.what

    def test_a_link_that_leads_out_is_left_out(self, source, run):
        (source / "out").symlink_to("../elsewhere")
        left, why = self.left_out(run())
        assert (left, why.where) == ("out", str(source / "out"))
        assert "leads out" in why.what

    def test_an_earlier_copy_that_cannot_be_read_is_not_linked(self, source, tmp_path, run):
        run()
        earlier = (tmp_path / "target").rename(tmp_path / "earlier")
        sick, *_rest = earlier.rglob("*.blob")
        with failing_reads(sick):
            done = {each.entry.path: each for each in run(earlier=earlier)}
        assert done.pop(str(sick.relative_to(earlier))).how is How.COPIED
        assert hows(done.values()) == {How.LINKED}


class TestLeadsOut:
    @pytest.mark.parametrize(
        ("path", "text"),
        [("a", "b"), ("a", "b/c"), ("a", "."), ("a/b", "../c"), ("a/b/c", "../../d"), ("a", "b/.")],
    )
    def test_a_link_within_the_tree_does_not_lead_out(self, path, text):
        assert not leads_out(path, text)

    @pytest.mark.parametrize(
        ("path", "text"),
        [("a", "/b"), ("a", ".."), ("a", "../a"), ("a/b", "../../c"), ("a", "b/../../c")],
    )
    def test_a_link_out_of_the_tree_leads_out(self, path, text):
        assert leads_out(path, text)

    def test_a_link_back_through_a_directory_that_may_be_a_link_leads_out(self):
        assert leads_out("a/b", "c/../d")


class TestChecksumOf:
    def test_a_file_is_read_in_pieces(self, tmp_path):
        data = os.urandom((1 << 21) + 5)
        (tmp_path / "file").write_bytes(data)
        from blake3 import blake3

        assert checksum_of(tmp_path, "file") == Checksum(
            "file", len(data), blake3(data).hexdigest()
        )

    def test_a_link_is_its_text(self, tmp_path):
        (tmp_path / "link").symlink_to("text")
        (tmp_path / "file").write_text("text")
        link, file = (checksum_of(tmp_path, name) for name in ("link", "file"))
        assert (link.size, file.size) == (None, 4)
        assert link.digest == file.digest
