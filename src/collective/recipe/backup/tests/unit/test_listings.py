"""What a directory holds is read once by a run, and anew as soon as something changes."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from collective.recipe.backup import listings, process
from collective.recipe.backup.destinations.manifest import SUFFIX
from collective.recipe.backup.files import Files
from collective.recipe.backup.operations.listing import list_points
from collective.recipe.backup.operations.status import status
from collective.recipe.backup.tests.counting import Looks
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site

STYLES: list[dict[str, Any]] = [
    {},
    {"blob_snapshots": "each"},
    {"blob_timestamps": False},
    {"archive_blob": True},
    {"only_blobs": True},
]


def names(directory: Path) -> set[str]:
    return {entry.name for entry in listings.entries(directory)}


def backed_up(site: Site, **options: Any) -> Operated:
    operated = Operated(site, **options)
    for number in range(3):
        site.commit({"page": number}, {f"file {number}": b"%d" % number})
        operated.backup()
    return operated


def of_backups(operated: Operated, looks: Looks) -> tuple[set[int], Counter[Path]]:
    """Return how often directories of backups were listed, and which files of them were read."""
    directories = operated.place().directories
    listed = {count for path, count in looks.listed.items() if path in directories}
    read = {
        path: count
        for path, count in looks.opened.items()
        if path.parent in directories and path.suffix in (SUFFIX, ".dat")
    }
    return listed, Counter(read)


@pytest.mark.parametrize("options", STYLES)
def test_a_backup_with_nothing_changed_reads_each_directory_once(
    site: Site, options: dict[str, Any]
) -> None:
    operated = backed_up(site, **options)
    listed, read = of_backups(operated, Looks(operated.backup))
    assert listed == {1}
    assert set(read.values()) <= {1}


@pytest.mark.parametrize("options", STYLES)
@pytest.mark.parametrize(("verb", "act"), [("list", list_points), ("status", status)])
def test_a_verb_that_only_looks_reads_each_directory_once(
    site: Site, options: dict[str, Any], verb: str, act: Any
) -> None:
    operated = backed_up(site, **options)
    listed, read = of_backups(operated, Looks(lambda: act(operated.run(verb))))
    assert listed == {1}
    assert set(read.values()) <= {1}


def test_without_a_run_every_look_is_a_new_one(tmp_path: Path) -> None:
    looks = Looks(lambda: [names(tmp_path) for _time in range(3)])
    assert looks.listed == {tmp_path: 3}


def test_each_change_of_ours_is_seen_by_the_next_look(tmp_path: Path) -> None:
    files, path = Files(), tmp_path / "file"
    with listings.kept():
        assert names(tmp_path) == set()
        files.write(path, b"")
        assert names(tmp_path) == {"file"}
        files.link(path, tmp_path / "link")
        assert names(tmp_path) == {"file", "link"}
        files.rename(tmp_path / "link", tmp_path / "other")
        assert names(tmp_path) == {"file", "other"}
        files.remove(path)
        assert names(tmp_path) == {"other"}
        files.make_directory(tmp_path / "tree")
        files.write(tmp_path / "tree" / "leaf", b"")
        assert names(tmp_path / "tree") == {"leaf"}
        files.remove_tree(tmp_path / "tree")
        assert names(tmp_path) == {"other"}


def test_what_another_program_changes_is_seen_when_it_has_ended(tmp_path: Path) -> None:
    with listings.kept():
        assert names(tmp_path) == set()
        process.run(["touch", tmp_path / "file"], what="making a file")
        assert names(tmp_path) == {"file"}


def test_a_directory_that_another_has_taken_the_place_of_is_read_anew(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"in {name}").touch()
    with listings.kept():
        assert names(tmp_path / "one") == {"in one"}
        os.rename(tmp_path / "one", tmp_path / "gone")
        os.rename(tmp_path / "two", tmp_path / "one")
        assert names(tmp_path / "one") == {"in two"}


def test_what_another_process_changes_is_seen_by_the_times_of_the_directory(
    tmp_path: Path,
) -> None:
    with listings.kept():
        assert names(tmp_path) == set()
        (tmp_path / "file").touch()
        # whatever the clock of the disk is worth
        os.utime(tmp_path, ns=(1, 1))
        assert names(tmp_path) == {"file"}


def test_another_thread_looks_for_itself(tmp_path: Path) -> None:
    with listings.kept():
        names(tmp_path)
        other = threading.Thread(target=lambda: [names(tmp_path) for _time in range(2)])
        looks = Looks(lambda: (other.start(), other.join()))
        assert looks.listed == {tmp_path: 2}


def test_an_error_is_not_kept(tmp_path: Path) -> None:
    with listings.kept():
        with pytest.raises(FileNotFoundError):
            listings.entries(tmp_path / "directory")
        os.mkdir(tmp_path / "directory")
        assert names(tmp_path / "directory") == set()


def test_what_a_run_itself_adds_and_removes_is_seen_by_it(site: Site) -> None:
    operated = backed_up(site, keep=1)
    with operated.run("list").opened() as [destination]:
        before = [point.stamp for point in destination.restore_points()]
        site.commit({"page": "new"})
        added = operated.backup().point.stamp
        assert [point.stamp for point in destination.restore_points()] == [*before, added]
        full = operated.backup(full=True).point.stamp
        assert [point.stamp for point in destination.restore_points()] == [full]
