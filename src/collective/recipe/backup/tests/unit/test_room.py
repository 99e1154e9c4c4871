"""Room for a full backup is looked for before anything of it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collective.recipe.backup.destinations.room import (
    LEAST_SHARE,
    Need,
    check_free,
    check_room,
    rooms,
    share_of_gzip,
    size_of_blobs,
)
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.mounts import type_of
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.faults.harness import FaultyFiles
from collective.recipe.backup.tests.namespaces import mounted, tmpfs
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site

HUGE = 1 << 60
"""Bytes that no disk has."""

plain = pytest.mark.skipif(
    type_of(Path(__file__)) not in {"ext4", "tmpfs"},
    reason="the file system may share or compress blocks",
)


@pytest.fixture
def operated(site: Site) -> Operated:
    site.commit({"a": 1}, {"b": b"blob"})
    return Operated(site)


def grow(site: Site) -> None:
    """Let a blob have more bytes than any disk, but no blocks."""
    blob = next(iter(site.blobstorage.rglob("*.blob")))
    blob.chmod(0o644)
    os.truncate(blob, 1 << 43)


def test_needs_on_one_file_system_are_one(tmp_path: Path) -> None:
    needs = [Need(tmp_path, 1, 2), Need(tmp_path / "missing" / "below", 10, 20)]
    [room] = rooms(needs)
    assert (room.directory, room.least, room.most) == (tmp_path, 11, 22)
    assert room.free > 0


def test_a_backup_that_fits_gives_no_warning_of_room(tmp_path: Path, caplog) -> None:
    check_room([Need(tmp_path, 1, 2)])
    assert caplog.text == ""


def test_what_may_not_fit_is_warned_of(tmp_path: Path, caplog) -> None:
    check_room([Need(tmp_path, 1, HUGE)])
    assert "there may not be enough room" in caplog.text


@plain
def test_what_surely_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="not enough room for a full backup") as caught:
        check_room([Need(tmp_path, HUGE, HUGE)])
    assert caught.value.where == str(tmp_path)
    assert "keep" in caught.value.hint


def test_what_is_written_as_it_is_must_fit_where_it_will_be(tmp_path: Path) -> None:
    check_free(tmp_path / "missing", 1, hint="more")
    with pytest.raises(BackupError, match=f"not enough room.* {HUGE} are needed") as caught:
        check_free(tmp_path / "missing" / "below", HUGE, hint="more")
    assert (caught.value.where, caught.value.hint) == (str(tmp_path), "more")


def test_a_file_system_that_may_share_blocks_is_given_a_try(
    tmp_path: Path, monkeypatch, caplog
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text("1 0 8:1 / / rw - btrfs /dev/sda1 rw\n")
    monkeypatch.setattr("collective.recipe.backup.mounts.TABLE", table)
    check_room([Need(tmp_path, HUGE, HUGE)])
    assert "there may not be enough room" in caplog.text


@plain
@pytest.mark.parametrize("options", [{}, {"archive_blob": True}, {"only_blobs": True}])
def test_a_full_backup_that_does_not_fit_writes_no_data(site: Site, options) -> None:
    site.commit({"a": 1}, {"b": b"blob"})
    grow(site)
    operated = Operated(site, **options)
    files = FaultyFiles()
    with pytest.raises(BackupError, match="not enough room"):
        operated.backup(files=files)
    made = {path.name for operation, path in files.changes if operation == "create"}
    # the mark and the history alone
    assert all(name.startswith(".backup") for name in made)


@plain
def test_blobs_that_are_linked_need_no_room(operated: Operated) -> None:
    operated.backup()
    grow(operated.site)
    [need] = operated.destination().room_for_full()
    assert need.directory == operated.place().filestorage


def test_an_incremental_backup_does_not_measure_the_blobs(site: Site) -> None:
    """It costs what changed, and fits where a full one would not."""
    site.commit({"a": 1}, {"b": b"blob"})
    operated = Operated(site, archive_blob=True, incremental_blobs=True)
    operated.backup()
    grow(site)
    site.commit({"a": 2}, {"c": b"more"})
    outcome = operated.backup()
    assert not outcome.point.full


def test_compression_is_expected_as_it_was_the_last_time(operated: Operated) -> None:
    assert share_of_gzip(operated.place().filestorage) == LEAST_SHARE
    operated.backup()
    [full] = operated.place().filestorage.glob("*.fsz")
    ratio = full.stat().st_size / operated.site.size
    assert LEAST_SHARE < share_of_gzip(operated.place().filestorage) < ratio


def test_the_bytes_of_all_blobs_are_counted(site: Site) -> None:
    site.commit(blobs={"a": b"12345", "b": b"123"})
    marker = len((site.blobstorage / ".layout").read_bytes())
    assert size_of_blobs(site.blobstorage, Silent()) == 8 + marker


@mounted
def test_a_full_disk_is_named_before_anything_is_written(site: Site) -> None:
    site.commit({"a": os.urandom(200_000)}, {"b": os.urandom(200_000)})
    operated = Operated(site)
    place = operated.place()
    assert place.blobstorage is not None
    for directory in (place.filestorage, place.blobstorage):
        directory.mkdir()
        tmpfs(directory, 64_000)

    with pytest.raises(BackupError, match="not enough room for a full backup") as caught:
        operated.backup()

    assert caught.value.where == str(place.blobstorage)
    made = [it.name for it in place.filestorage.iterdir()]
    assert all(name.startswith(".backup") for name in made)
