"""The day when nothing of this package works: repozo, and a copy of ``latest``.

repozo goes by the names of data files.  So none lies there before its blobs do: whatever a run
that died left, repozo and ``cp`` restore a site of which no blob is missing.
"""

from __future__ import annotations

import itertools
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from ZODB.scripts import repozo
from ZODB.scripts.repozo import NoFiles

from collective.recipe.backup.errors import BackupError, Interrupted
from collective.recipe.backup.tests.faults.harness import (
    CRASHES,
    Fault,
    Hasty,
    survive_every_fault,
)
from collective.recipe.backup.tests.runs import NOON, Operated, copied
from collective.recipe.backup.tests.samples import Site, contents_of


@pytest.fixture
def worlds(tmp_path: Path):
    """Return a function that copies a site, so that each fault meets it as it was."""
    numbers = itertools.count()
    (tmp_path / "worlds").mkdir()

    def copy(operated: Operated) -> Operated:
        return copied(operated, tmp_path / "worlds" / str(next(numbers)))

    return copy


def restored_by_hand(operated: Operated) -> dict | None:
    """Return what repozo and a copy of ``latest`` give, None if there is no backup.

    A blob that is missing raises POSKeyError.
    """
    place, to = operated.place(), operated.site.directory / "by-hand"
    assert place.blobstorage is not None
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir()
    arguments = ["-R", "-r", str(place.filestorage), "-o", str(to / "Data.fs")]
    options = repozo.parseargs(arguments)
    options.test_now = (9999, 1, 1, 0, 0, 0)
    try:
        repozo.do_recover(options)
    except (NoFiles, FileNotFoundError):
        return None
    shutil.copytree(place.blobstorage / "latest" / "blobstorage", to / "blobstorage")
    return contents_of(to / "Data.fs", to / "blobstorage")


@pytest.mark.parametrize("style", [{}, {"blob_snapshots": "each"}])
def test_a_first_backup_that_died_is_none_for_repozo(site: Site, worlds, style) -> None:
    site.commit({"a": 1}, {"b": b"blob", "c": b"other"}, at=NOON)
    first = Operated(site, **style)
    contents = site.contents()

    def check(operated: Operated, _outcome: BaseException | None) -> None:
        assert restored_by_hand(operated) in (None, contents)

    survive_every_fault(
        lambda: worlds(first),
        lambda it, files: it.backup(files=files),
        check,
        faults=CRASHES,
        disk=lambda it: it.site.directory,
    )


@pytest.mark.parametrize("full", [False, True], ids=["incremental", "full"])
def test_a_later_backup_that_died_is_none_for_repozo(site: Site, worlds, full: bool) -> None:
    first = Operated(site, keep=2)
    site.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    first.backup(files=Hasty())
    old = site.contents()
    site.commit({"a": 2}, {"b": b"changed", "c": b"new"}, at=NOON + timedelta(minutes=90))
    new = site.contents()

    def check(operated: Operated, _outcome: BaseException | None) -> None:
        assert restored_by_hand(operated) in (old, new)

    survive_every_fault(
        lambda: worlds(first),
        lambda it, files: it.backup(files=files, full=full),
        check,
        faults=(Fault.DURING, Fault.POWER_CUT),
        disk=lambda it: it.site.directory,
    )


def blobs_fail_with(error: BaseException) -> Hasty:
    """Return Files that raise *error* where the first blob is to be copied."""

    class Failing(Hasty):
        def copy(self, source, target, **more):
            if str(source).endswith(".blob"):
                raise error
            return super().copy(source, target, **more)

    return Failing()


def test_a_filestorage_whose_blobs_cannot_be_stored_is_kept_for_the_worst_day(site: Site) -> None:
    """The run says that it failed, and so does the list; the data are worth more than nothing."""
    site.commit({"a": 1}, {"b": b"blob"})
    operated = Operated(site)
    with pytest.raises(BackupError, match="No space"):
        operated.backup(files=blobs_fail_with(OSError(28, "No space left on device")))
    [point] = operated.points()
    assert not point.restorable
    assert "not backed up to the end" in point.problems[0]
    assert list(operated.place().filestorage.glob("*.fsz"))
    operated.backup()
    assert [point.whole for point in operated.points()] == [True]


@pytest.mark.parametrize("error", [Interrupted("stopped"), KeyboardInterrupt()])
def test_an_interrupted_backup_leaves_nothing_for_repozo(site: Site, error) -> None:
    site.commit({"a": 1}, {"b": b"blob"})
    operated = Operated(site)
    with pytest.raises(type(error)):
        operated.backup(files=blobs_fail_with(error))
    names = [path.name for path in operated.place().filestorage.iterdir()]
    assert [name for name in names if name[0] != "."] == []
