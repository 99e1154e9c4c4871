"""The faults that release 6.0.0 had, each met the way it was met there; none may be ours.

docs/development/contract.rst has the whole list: some are shown by tests of the room
that would have them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.operations.restore import describe
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site

STYLES = {
    "chain": {},
    "each": {"blob_snapshots": "each"},
    "numbered": {"blob_timestamps": False},
    "archives": {"archive_blob": True},
    "numbered-archives": {"archive_blob": True, "blob_timestamps": False},
    "deltas": {"archive_blob": True, "incremental_blobs": True},
    "rsync": {"use_rsync": True},
    "rsync-numbered": {"use_rsync": True, "blob_timestamps": False},
}
each_style = pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            options, id=name, marks=[pytest.mark.needs("rsync")] if "rsync" in name[:5] else []
        )
        for name, options in STYLES.items()
    ],
)
FAILING = {"use_rsync": True, "rsync_options": ("--no-such-option",)}


def everything(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if not path.is_symlink())


def with_options(operated: Operated, **options) -> Operated:
    """Return the same site with other options, a while later."""
    other = Operated(operated.site, **options)
    other.now = operated.now
    return other


@pytest.mark.needs("rsync")
@pytest.mark.parametrize("numbered", [False, True], ids=["stamped", "numbered"])
def test_a_failing_rsync_is_a_failure_and_costs_no_backup(site, tmp_path, numbered):
    """Faults 1, 3 and 4: exit code 0, a half copy taken for a backup, good ones rotated out."""
    site.commit({"page": "good"}, {"file": b"good"})
    good = site.contents()
    options = {"keep": 1, "blob_timestamps": not numbered}
    operated = Operated(site, **options)
    operated.backup()
    site.commit({"page": "later"}, {"file": b"later"})
    told = tmp_path / "post"
    failing = with_options(operated, **options, **FAILING, post_command=f"touch '{told}'")
    for _night in range(3):
        with pytest.raises(BackupError, match="rsync"):
            failing.backup(full=True)
        assert not told.exists()
    assert [point.whole for point in failing.points() if point.restorable] == [True]
    failing.restore()
    assert site.contents() == good


def test_an_rsync_that_is_not_there_is_an_error_with_a_hint(site, monkeypatch):
    """Fault 1, again: it was exit code 0."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BackupError) as caught:
        Operated(site, use_rsync=True).backup()
    assert "rsync" in str(caught.value)
    assert caught.value.hint


def test_a_restore_needs_no_rsync(site, monkeypatch):
    """Fault 2: a database with the blobs of another time, and exit code 0."""
    site.commit({"page": "good"}, {"file": b"good"})
    good = site.contents()
    operated = Operated(site)
    operated.backup()
    site.commit({"page": "bad"}, {"file": b"bad"})
    monkeypatch.setenv("PATH", "")
    with_options(operated, **FAILING).restore()
    assert site.contents() == good


@each_style
def test_names_are_data_in_every_style(tmp_path, monkeypatch, options):
    """Faults 5, 16 and 20: shells, dots and regular expressions."""
    monkeypatch.chdir(tmp_path)
    name = "blobs.v1.2 of $(touch pwned) [a-z]*.tar it's"
    site = Site(tmp_path / 'a site\'s "$HOME"')
    site.blobstorage = site.blobstorage.with_name(name)
    site.commit({"page": "good"}, {"file": b"good"})
    good = site.contents()
    operated = Operated(site, keep=1, **options)
    operated.backup()
    assert operated.points()[0].whole
    site.lose()
    operated.restore()
    assert site.contents() == good
    for number in range(2):
        site.commit({"page": number}, {"file": b"%d" % number})
        operated.backup(full=True)
    assert len(operated.points()) == 1
    kept = [path for path in operated.place().blobstorage.iterdir() if path.name.startswith(name)]
    assert len(kept) == 1
    assert not list(tmp_path.rglob("pwned"))


@each_style
def test_what_an_option_made_is_restored_after_it_was_changed(site, options):
    """Fault 8: the check of the blobs passed, the database was replaced, then exit code 1."""
    site.commit({"page": "good"}, {"file": b"good"})
    good = site.contents()
    operated = Operated(site, **options)
    operated.backup()
    for other in ({}, {"archive_blob": True}, {"blob_timestamps": False}):
        site.lose()
        with_options(operated, **other).restore()
        assert site.contents() == good


@each_style
def test_modification_times_mean_nothing(tmp_path, options):
    """Faults 10 and 12: a directory that was copied lost its newest backup."""
    site = Site(tmp_path / "site")
    operated, contents = Operated(site, keep=2, **options), []
    for number in range(3):
        site.commit({"page": number}, {f"file {number}": b"%d" % number})
        contents.append(site.contents())
        operated.backup(full=True)
    for newest_first, path in enumerate(everything(site.directory / "var")):
        if site.blobstorage not in path.parents:
            os.utime(path, (1e9 - newest_first, 1e9 - newest_first))
    points = operated.points()
    assert [point.full for point in points] == [True, True]
    for point, expected in zip(points, contents[1:], strict=True):
        operated.restore(point.moment)
        assert site.contents() == expected
    site.commit({"page": "last"})
    operated.backup(full=True)
    assert [point.stamp for point in operated.points()][:-1] == [points[-1].stamp]


def test_foreign_files_in_the_directories_stay(site):
    """Fault 10: foreign files were deleted, a subdirectory was a traceback."""
    operated = Operated(site, keep=1)
    operated.backup()
    place = operated.place()
    mine = []
    for directory in (place.filestorage, place.blobstorage):
        (directory / "subdirectory").mkdir()
        for name in ("README", "subdirectory/2020-01-01-00-00-00.fsz", "other.0", "z.txt"):
            mine.append(directory / name)
            mine[-1].write_text("mine")
            os.utime(mine[-1], (0, 0))
    for number in range(3):
        site.commit({"page": number}, {"file": b"%d" % number})
        operated.backup(full=True)
    assert [path.read_text() for path in mine] == ["mine"] * len(mine)
    assert len(operated.points()) == 1


@each_style
def test_an_empty_blobstorage_comes_back_empty(site, options):
    """Fault 17: it was left out, and a restore did nothing and said that all was well."""
    site.blobstorage.mkdir(exist_ok=True)
    operated = Operated(site, **options)
    operated.backup()
    assert operated.points()[-1].whole
    site.commit({"page": "later"}, {"file": b"later"})
    operated.restore()
    assert [path for path in site.blobstorage.rglob("*") if path.suffix == ".blob"] == []
    assert site.contents()["blobs"] == {}


def test_all_of_it_is_checked_before_anything_is_asked(site):
    """Fault 21: the repository was not looked at before the consequences."""
    operated = Operated(site)
    operated.backup()
    before = sorted(everything(site.directory / "var"))
    [data] = operated.place().filestorage.glob("*.fsz")
    whole = data.read_bytes()
    data.unlink()
    with pytest.raises(BackupError):
        describe(operated.run("restore"), RestoreOrder())
    data.write_bytes(whole)
    assert sorted(everything(site.directory / "var")) == before
    shutil.rmtree(operated.place().blobstorage)
    with pytest.raises(BackupError):
        describe(operated.run("restore"), RestoreOrder())


def test_a_backup_that_finds_nothing_new_removes_what_is_kept_no_longer(site):
    operated = Operated(site, keep=3)
    for number in range(3):
        site.commit({"page": number})
        operated.backup(full=True)
    rekept = with_options(operated, keep=1)
    assert not rekept.backup().changed
    assert len(rekept.points()) == 1
