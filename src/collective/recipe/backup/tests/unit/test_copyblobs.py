"""The functions that other code has called for years, with directories of any files."""

from __future__ import annotations

import inspect
import os
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from collective.recipe.backup import copyblobs, times
from collective.recipe.backup.copyblobs import (
    backup_blobs,
    backup_blobs_archive,
    backup_blobs_gzip,
    restore_blobs,
    restore_blobs_archive,
    restore_blobs_gzip,
)
from collective.recipe.backup.errors import (
    BackupError,
    CommandFailed,
    IntegrityError,
    NoRestorePoint,
)
from collective.recipe.backup.tests.blobtrees import content

pytestmark = pytest.mark.usefixtures("leaping")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch) -> None:
    """A directory with ``blobs`` to copy, in which relative paths start."""
    monkeypatch.chdir(tmp_path)
    Path("blobs/dir").mkdir(parents=True)
    Path("blobs/a.txt").write_text("first")
    Path("blobs/dir/b.txt").write_text("b")


@pytest.fixture
def no_rsync(monkeypatch) -> None:
    monkeypatch.setattr(copyblobs.shutil, "which", lambda _program: None)


def change(number: int) -> dict[str, object]:
    """Change the blobs, and return what they are then."""
    Path("blobs/a.txt").write_text(f"number {number}")
    Path(f"blobs/{number}.txt").write_text("new")
    return content(Path("blobs"))


def names(directory: str = "backups") -> list[str]:
    return sorted(os.listdir(directory))


def filestorage_backups(*names: str) -> Path:
    Path("fs").mkdir(exist_ok=True)
    for name in names:
        Path("fs", name).write_text("")
    return Path("fs")


def parameters(function) -> dict[str, object]:
    return {
        name: None if found.default is inspect.Parameter.empty else found.default
        for name, found in inspect.signature(function).parameters.items()
    }


def test_parameters_are_those_that_callers_know() -> None:
    both = {"source": None, "destination": None}
    archives = {
        "keep": 0,
        "timestamps": False,
        "fs_backup_location": None,
        "compress_blob": False,
        "incremental_blobs": False,
        "full": False,
    }
    assert list(parameters(backup_blobs).items()) == [
        *both.items(),
        ("full", False),
        ("use_rsync", True),
        ("keep", 0),
        ("keep_blob_days", 0),
        ("archive_blob", False),
        ("rsync_options", ""),
        ("timestamps", False),
        ("fs_backup_location", None),
        ("compress_blob", False),
        ("incremental_blobs", False),
        ("rsync_hard_links_on_first_copy", False),
        ("gzip_blob", False),
    ]
    assert list(parameters(backup_blobs_archive).items()) == [*both.items(), *archives.items()]
    assert list(parameters(restore_blobs).items()) == [
        *both.items(),
        ("use_rsync", True),
        ("date", None),
        ("archive_blob", False),
        ("rsync_options", ""),
        ("timestamps", False),
        ("only_check", False),
        ("incremental_blobs", False),
        ("gzip_blob", False),
    ]
    assert list(parameters(restore_blobs_archive).items()) == [
        *both.items(),
        ("date", None),
        ("timestamps", False),
        ("only_check", False),
        ("incremental_blobs", False),
    ]
    assert parameters(backup_blobs_gzip) == {**both, "keep": 0}
    assert parameters(restore_blobs_gzip) == {**both, "date": None}


@pytest.mark.slow
@pytest.mark.parametrize("use_rsync", [pytest.param(True, marks=pytest.mark.needs("rsync")), False])
@pytest.mark.parametrize("full", [True, False])
def test_directories_rotate_and_share_what_did_not_change(use_rsync, full) -> None:
    states = []
    for number in range(3):
        states.insert(0, change(number))
        assert backup_blobs("blobs", "backups", full=full, use_rsync=use_rsync) is None

    assert names() == ["blobs.0", "blobs.1", "blobs.2"]
    for number, state in enumerate(states):
        assert content(Path(f"backups/blobs.{number}/blobs")) == state
    unchanged = [Path(f"backups/blobs.{number}/blobs/dir/b.txt").stat() for number in range(3)]
    assert {(each.st_ino, each.st_nlink) for each in unchanged} == {(unchanged[0].st_ino, 3)}
    assert Path("blobs/dir/b.txt").stat().st_nlink == 1


def test_without_rsync_our_own_copier_does_it(no_rsync) -> None:
    backup_blobs("blobs", "backups", use_rsync=True)
    assert content(Path("backups/blobs.0/blobs")) == content(Path("blobs"))


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 1, 2, "0", "2"])
@pytest.mark.parametrize("gzip", [False, True])
def test_the_last_n_are_kept(no_rsync, keep, gzip) -> None:
    for number in range(4):
        change(number)
        if gzip:
            backup_blobs_gzip("blobs", "backups", keep=keep)
        else:
            backup_blobs("blobs", "backups", keep=keep)
    ending = ".tar.gz" if gzip else ""
    assert names() == [f"blobs.{number}{ending}" for number in range(int(keep) or 4)]


def test_days_count_unless_the_backup_is_full(no_rsync, monkeypatch) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    for day in range(4):
        monkeypatch.setattr(times, "utcnow", lambda day=day: now + timedelta(days=day))
        backup_blobs("blobs", "backups", timestamps=True, keep=1, keep_blob_days="2")
    assert len(names()) == 4  # of two days, and latest: the youngest is two days younger
    backup_blobs("blobs", "backups", timestamps=True, keep=1, keep_blob_days=2, full=True)
    assert names() == ["blobs.2026-03-04-12-00-01", "latest"]


def test_no_backup_goes_because_of_its_age_where_the_clock_has_leapt(
    no_rsync, monkeypatch, caplog
) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    for day in (0, 1, 2, 3650):
        monkeypatch.setattr(times, "utcnow", lambda day=day: now + timedelta(days=day))
        backup_blobs("blobs", "backups", timestamps=True, keep=1, keep_blob_days=9)
    assert len(names()) == 5  # and latest
    assert "the clock has leapt by 3648 days" in caplog.text


@pytest.mark.needs("tar")
@pytest.mark.parametrize("compress", [False, True])
def test_archives_are_numbered_and_plain_tar_reads_them(compress) -> None:
    old = content(Path("blobs"))
    backup_blobs("blobs", "backups", archive_blob=True, compress_blob=compress)
    change(1)
    backup_blobs_archive("blobs", "backups", compress_blob=compress)

    ending = ".tar.gz" if compress else ".tar"
    assert names() == [f"blobs.0{ending}", f"blobs.1{ending}"]
    Path("plain").mkdir()
    subprocess.run(["tar", "-C", "plain", "-xf", f"backups/blobs.1{ending}"], check=True)
    assert content(Path("plain")) == old


def test_the_old_name_of_a_parameter_means_a_compressed_archive() -> None:
    backup_blobs("blobs", "backups", gzip_blob=True)
    assert names() == ["blobs.0.tar.gz"]


def test_the_stamp_is_that_of_the_newest_filestorage_backup(no_rsync) -> None:
    fs = filestorage_backups("2026-03-01-12-00-00.fsz", "2026-03-02-12-00-00.deltafsz", "other")
    for _again in range(2):
        backup_blobs("blobs", "backups", timestamps=True, fs_backup_location=fs)

    assert names() == ["blobs.2026-03-02-12-00-00", "latest"]
    assert os.readlink("backups/latest") == "blobs.2026-03-02-12-00-00"


def test_what_is_older_than_the_oldest_full_filestorage_backup_goes(no_rsync) -> None:
    for day in range(1, 4):
        fs = filestorage_backups(f"2026-03-0{day}-12-00-00.fsz")
        backup_blobs("blobs", "backups", timestamps=True, fs_backup_location=fs, keep=1)
    assert len(names()) == 4
    (fs / "2026-03-01-12-00-00.fsz").unlink()

    fs = filestorage_backups("2026-03-04-12-00-00.deltafsz")
    backup_blobs("blobs", "backups", timestamps=True, fs_backup_location=fs, keep=1)

    days = [name.split("-")[2] for name in names() if name != "latest"]
    assert days == ["02", "03", "04"]


@pytest.mark.parametrize("full", [False, True])
def test_incremental_archives_hold_what_is_new(full) -> None:
    blob = Path("blobs/0x01/0x0300.blob")
    for path in Path("blobs").rglob("*.txt"):
        path.unlink()
    Path("blobs/dir").rmdir()
    for number in range(3):
        blob = Path(f"blobs/0x01/0x03{number:02x}.blob")
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(bytes([number]))
        fs = filestorage_backups(f"2026-03-0{number + 1}-12-00-00.fsz")
        backup_blobs_archive(
            "blobs",
            "backups",
            timestamps=True,
            fs_backup_location=fs,
            incremental_blobs=True,
            full=full,
        )
    kind = "" if full else ".delta"
    assert [name for name in names() if name != "latest"] == [
        "blobs.2026-03-01-12-00-00.tar",
        f"blobs.2026-03-02-12-00-00{kind}.tar",
        f"blobs.2026-03-03-12-00-00{kind}.tar",
    ]
    restore_blobs("backups", "target/blobs", archive_blob=True, incremental_blobs=True)
    # with the marker that these blobs lack
    assert content(Path("target/blobs")) == {**content(Path("blobs")), ".layout": b"lawn"}
    restore_blobs_archive("backups", "target/blobs", date="2026-03-02-12-00-00")
    assert "0x01/0x0302.blob" not in content(Path("target/blobs"))


@pytest.mark.parametrize("archive", [False, True])
def test_a_restore_makes_all_as_it_was(no_rsync, archive) -> None:
    states = []
    for number in range(2):
        states.append(change(number))
        backup_blobs("blobs", "backups", archive_blob=archive)
    change(2)
    Path("blobs/dir/b.txt").unlink()

    assert restore_blobs("backups", "blobs", archive_blob=archive, only_check=True) is None
    assert not Path("blobs/dir/b.txt").exists()
    assert restore_blobs("backups", "blobs", archive_blob=archive) is None

    assert content(Path("blobs")) == states[1]
    assert names(".") == ["backups", "blobs"]


@pytest.mark.parametrize("timestamps", [False, True])
def test_a_restore_by_date_takes_the_newest_until_then(no_rsync, monkeypatch, timestamps) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    states = {}
    for day in range(3):
        monkeypatch.setattr(times, "utcnow", lambda day=day: now + timedelta(days=day))
        states[day] = change(day)
        backup_blobs("blobs", "backups", timestamps=timestamps)

    for date, day in (
        ("2026-03-01-12-00-00", 0),
        ("2026-03-02-11-59-59", 0),
        ("2026-3-3", 1),
        ("2026-03-09", 2),
    ):
        restore_blobs("backups", "blobs", date=date, timestamps=timestamps)
        assert content(Path("blobs")) == states[day]
    with pytest.raises(NoRestorePoint):
        restore_blobs("backups", "blobs", date="2026-03-01-11", only_check=True)


def test_compressed_archives_are_restored() -> None:
    state = content(Path("blobs"))
    backup_blobs_gzip("blobs/", "backups")
    change(1)
    restore_blobs_gzip("backups", "blobs/")
    assert content(Path("blobs")) == state


def test_the_target_may_be_called_otherwise(no_rsync) -> None:
    backup_blobs("blobs", "backups")
    restore_blobs("backups", "elsewhere/other")
    assert content(Path("elsewhere/other")) == content(Path("blobs"))


def test_what_rsync_made_for_older_releases_is_rotated_and_restored(no_rsync) -> None:
    state = content(Path("blobs"))
    Path("backups/blobs.0").mkdir(parents=True)
    os.rename("blobs", "backups/blobs.0/blobs")
    yesterday = time.time() - 86_400
    os.utime("backups/blobs.0", (yesterday, yesterday))
    Path("blobs").mkdir()
    Path("blobs/c.txt").write_text("c")
    backup_blobs("blobs", "backups")

    assert names() == ["blobs.0", "blobs.1"]
    restore_blobs("backups", "blobs", date=times.stamp(times.utcnow() - timedelta(hours=1)))
    assert content(Path("blobs")) == state


@pytest.mark.parametrize("function", [backup_blobs, backup_blobs_archive, backup_blobs_gzip])
def test_a_backup_of_nothing_raises_and_leaves_nothing(function) -> None:
    with pytest.raises(BackupError):
        function("not-there", "backups")
    assert names() == []


@pytest.mark.needs("rsync")
def test_a_failing_rsync_raises_and_the_good_ones_stay(capfd) -> None:
    backup_blobs("blobs", "backups", keep=1)
    good = content(Path("backups/blobs.0/blobs"))
    change(1)

    with pytest.raises(CommandFailed):
        backup_blobs("blobs", "backups", keep=1, rsync_options="--no-such-option")

    assert names() == ["blobs.0"]
    assert content(Path("backups/blobs.0/blobs")) == good


@pytest.mark.parametrize("function", [restore_blobs, restore_blobs_archive, restore_blobs_gzip])
def test_a_restore_of_nothing_raises_and_changes_nothing(function) -> None:
    before = content(Path("blobs"))
    Path("backups").mkdir()
    with pytest.raises(NoRestorePoint, match="no backup of blobs"):
        function("backups", "blobs")
    assert content(Path("blobs")) == before


def test_a_damaged_backup_raises_and_changes_nothing() -> None:
    backup_blobs_gzip("blobs", "backups")
    before = change(1)
    archive = Path("backups/blobs.0.tar.gz")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)

    with pytest.raises(BackupError):
        restore_blobs_gzip("backups", "blobs")

    assert content(Path("blobs")) == before


@pytest.mark.parametrize("archive", [False, True])
def test_what_cannot_be_copied_is_named_when_all_else_is_there(no_rsync, archive) -> None:
    state = content(Path("blobs"))
    os.mkfifo("blobs/fifo")
    for _again in range(3):
        with pytest.raises(IntegrityError, match="1 file or directory, .*fifo.*move it away"):
            backup_blobs("blobs", "backups", keep=2, archive_blob=archive)
    endings = ["0.tar", "1.tar"] if archive else ["0", "1"]
    assert names() == [f"blobs.{ending}" for ending in endings]
    Path("blobs").rename("away")
    restore_blobs("backups", "blobs", archive_blob=archive)
    assert content(Path("blobs")) == state
