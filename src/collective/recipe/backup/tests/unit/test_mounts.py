"""The mount table tells what is mounted where: by real mounts, and without a table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collective.recipe.backup import mounts
from collective.recipe.backup.mounts import absent_mount, is_read_only, mount_of, mounts_in, type_of
from collective.recipe.backup.tests.blobtrees import ODD_NAMES
from collective.recipe.backup.tests.namespaces import (
    bind,
    make_read_only,
    mounted,
    tmpfs,
    unmount,
)


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A directory with two directories and a file in it."""
    top = tmp_path / "top"
    (top / "a" / "deep").mkdir(parents=True)
    (top / "b").mkdir()
    (top / "file").write_text("below")
    return top


def test_plain_directories_and_files_are_no_mounts(top: Path) -> None:
    assert mounts_in(top) == []
    assert mounts_in(top / "file") == []
    assert mounts_in(top / "not there") == []
    assert mount_of(top / "not there") == mount_of(top) == mount_of(top.parent)


@mounted
def test_a_disk_of_its_own_is_a_mount(top: Path) -> None:
    tmpfs(top)
    (top / "c").mkdir()
    tmpfs(top / "c")

    assert mounts_in(top) == [top, top / "c"]
    assert mount_of(top / "c" / "not there") == top / "c"
    assert mount_of(top / "other") == top


@mounted
def test_a_bind_mount_has_the_device_of_what_is_around_it_and_is_one(top: Path) -> None:
    (top.parent / "other").write_text("bound")
    bind(top / "b", top / "a" / "deep")
    bind(top.parent / "other", top / "file")

    assert (top / "a" / "deep").stat().st_dev == top.stat().st_dev
    assert mounts_in(top) == [top / "a" / "deep", top / "file"]
    assert mounts_in(top / "file") == [top / "file"]
    assert mount_of(top / "a" / "deep" / "x") == top / "a" / "deep"
    assert mounts_in(top / "b") == []


@mounted
def test_a_disk_that_fstab_has_and_that_is_not_mounted_is_named(top: Path, monkeypatch) -> None:
    shelf = top / "a disk"
    shelf.mkdir()
    fstab = top / "fstab"
    escaped = str(shelf).replace(" ", "\\040")
    fstab.write_text(
        "# a comment /mnt\n\nUUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n"
        f"UUID=3\t{escaped} ext4 noauto\nodd\n"
    )
    monkeypatch.setattr(mounts, "EXPECTED", fstab)

    assert absent_mount(shelf) == absent_mount(shelf / "not there" / "it") == shelf
    assert absent_mount(top) is None
    assert absent_mount(top / "a disk as well") is None
    tmpfs(shelf)
    assert absent_mount(shelf / "not there") is None
    (shelf / "another").mkdir()
    tmpfs(shelf / "another")
    assert absent_mount(shelf / "another" / "it") is None
    monkeypatch.setattr(mounts, "EXPECTED", top / "no fstab")
    assert absent_mount(top / "b") is None


@mounted
def test_a_mount_may_be_read_only(top: Path) -> None:
    tmpfs(top)
    assert not is_read_only(top)
    make_read_only(top)
    assert is_read_only(top)
    assert not is_read_only(top / "not there")


@mounted
def test_what_begins_with_the_same_letters_is_elsewhere(top: Path) -> None:
    (top.parent / "top2").mkdir()
    tmpfs(top.parent / "top2")

    assert mounts_in(top) == []


@mounted
def test_a_link_leads_to_what_is_mounted(top: Path, tmp_path: Path) -> None:
    tmpfs(top / "a")
    (tmp_path / "link").symlink_to(top)

    assert mounts_in(tmp_path / "link") == [top / "a"]
    assert mount_of(tmp_path / "link" / "a") == top / "a"


@mounted
def test_a_mount_that_a_later_one_covers_does_not_count(top: Path) -> None:
    tmpfs(top / "a" / "deep")
    tmpfs(top)
    (top / "a" / "deep").mkdir(parents=True)

    assert mounts_in(top) == [top]
    assert mount_of(top / "a" / "deep") == top

    unmount(top)

    assert mounts_in(top) == [top / "a" / "deep"]


@mounted
def test_every_name_that_a_file_system_allows(top: Path) -> None:
    for name in ODD_NAMES:
        (top / name).mkdir()
        tmpfs(top / name)

    assert mounts_in(top) == sorted(top / name for name in ODD_NAMES)
    assert mount_of(top / ODD_NAMES[0] / "x") == top / ODD_NAMES[0]


@mounted
def test_without_a_table_devices_decide(top: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "none")
    assert mounts_in(top) == []
    assert mounts_in(top / "not there") == []
    tmpfs(top / "a" / "deep")
    tmpfs(top / "b")

    assert mounts_in(top) == [top / "a" / "deep", top / "b"]
    assert mounts_in(top / "b") == [top / "b"]
    assert mount_of(top / "b" / "x") == top / "b"


@mounted
def test_without_numbers_every_line_counts(top: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mounts, "DESCRIPTORS", tmp_path / "none")
    bind(top / "b", top / "a")

    assert mounts_in(top) == [top / "a"]


def test_the_root_of_all_is_a_mount() -> None:
    assert Path("/") in mounts_in(Path("/"))
    assert mount_of(Path("/")) == Path("/")
    assert os.path.ismount("/")


def test_the_kind_of_a_file_system_is_a_word_of_the_kernel(tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.write_bytes(
        b"1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n2 1 0:3 / %s rw - tmpfs t rw\n"
        % os.fsencode(tmp_path)
    )
    assert type_of(Path("/proc/self")) == "proc"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mounts, "TABLE", table)
        patch.setattr(mounts, "DESCRIPTORS", tmp_path)
        assert type_of(tmp_path / "missing") == "tmpfs"
        assert type_of(tmp_path.parent) == "ext4"
        patch.setattr(mounts, "TABLE", tmp_path / "missing")
        assert type_of(tmp_path) == ""
