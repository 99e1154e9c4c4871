"""A backup and a restore, through all layers, may die or fail at each change to the disk."""

from __future__ import annotations

import itertools
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import BackupError, BrokenOff, NoRestorePoint
from collective.recipe.backup.operations.undo import undo
from collective.recipe.backup.restoring import swap
from collective.recipe.backup.restoring.journal import DONE, journal_path, read
from collective.recipe.backup.tests.blobtrees import content
from collective.recipe.backup.tests.faults.harness import Fault, FaultyFiles, survive_every_fault
from collective.recipe.backup.tests.runs import NOON, Operated, copied
from collective.recipe.backup.tests.samples import Site


@pytest.fixture
def worlds(tmp_path: Path):
    """Return a function that copies a site, so that each fault meets it as it was."""
    numbers = itertools.count()

    def copy(operated: Operated) -> Operated:
        return copied(operated, tmp_path / "worlds" / str(next(numbers)))

    (tmp_path / "worlds").mkdir()
    return copy


survive = partial(survive_every_fault, disk=lambda operated: operated.site.directory)


def sound(operated: Operated) -> None:
    """Check that every restore point is whole and can be verified."""
    assert list(operated.destination().verify(Depth.RECORDS)) == []


def told(outcome: BaseException | None, journal: Path) -> None:
    """Check that an error is BrokenOff exactly if it left the site half restored."""
    if isinstance(outcome, BackupError):
        assert isinstance(outcome, BrokenOff) == swap.is_pending(journal), outcome


def restorable(operated: Operated, contents: list) -> None:
    """Check that the newest restore point restores to one of *contents*."""
    operated.restore()
    assert operated.site.contents() in contents


def test_a_first_backup_dies_or_fails_anywhere(site: Site, worlds) -> None:
    site.commit({"a": 1}, {"b": b"blob", "c": b"other"}, at=NOON)
    first = Operated(site)
    contents = site.contents()

    def check(operated: Operated, outcome: BaseException | None) -> None:
        points = operated.points()
        assert [point for point in points if point.restorable] in ([], points)
        operated.backup()
        assert all(point.whole for point in operated.points())
        sound(operated)
        operated.site.lose()
        restorable(operated, [contents])

    survive(lambda: worlds(first), lambda it, files: it.backup(files=files), check)


@pytest.mark.parametrize("full", [False, True], ids=["incremental", "full"])
def test_a_later_backup_dies_or_fails_anywhere(site: Site, worlds, full: bool) -> None:
    first = Operated(site, keep=1)
    site.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    first.backup()
    old = site.contents()
    site.commit({"a": 2}, {"b": b"changed", "c": b"new"}, at=NOON + timedelta(minutes=90))
    new = site.contents()

    def check(operated: Operated, outcome: BaseException | None) -> None:
        good = [point for point in operated.points() if point.restorable]
        assert good
        assert all(point.whole for point in good)
        twin = worlds(operated)
        twin.site.lose()
        restorable(twin, [old, new] if outcome is not None else [new])
        operated.backup()
        sound(operated)
        operated.site.lose()
        restorable(operated, [new])

    survive(lambda: worlds(first), lambda it, files: it.backup(files=files, full=full), check)


@pytest.mark.parametrize("lost", [False, True], ids=["over", "empty"])
def test_a_restore_dies_or_fails_anywhere(site: Site, worlds, lost: bool) -> None:
    first = Operated(site)
    site.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    first.backup()
    backed_up = site.contents()
    site.commit({"a": 2}, {"b": b"changed"}, at=NOON + timedelta(minutes=90))
    live = site.contents()
    if lost:
        site.lose()

    def check(operated: Operated, outcome: BaseException | None) -> None:
        journal = journal_path(operated.site.filestorage)
        told(outcome, journal)
        if not lost and not journal.exists():
            assert operated.site.contents() == live
        operated.restore()
        assert operated.site.contents() == backed_up

    survive(lambda: worlds(first), lambda it, files: it.restore(files=files), check)


def test_a_restore_over_a_copy_of_yesterday_dies_or_fails_anywhere(site: Site, worlds) -> None:
    first = Operated(site)
    site.commit({"a": 1}, {f"b{number}": b"blob %d" % number for number in range(7)}, at=NOON)
    first.backup()
    backed_up = site.contents()
    gone, *_others = sorted(site.blobstorage.rglob("*.blob"))
    gone.unlink()
    site.commit({"a": 2}, {"b1": b"changed"}, at=NOON + timedelta(minutes=90))
    live = site.filestorage.read_bytes()

    def check(operated: Operated, outcome: BaseException | None) -> None:
        journal = journal_path(operated.site.filestorage)
        told(outcome, journal)
        if not journal.exists():
            assert operated.site.filestorage.read_bytes() == live
            assert len(list(operated.site.blobstorage.rglob("*.blob"))) == 7
        operated.restore()
        assert operated.site.contents() == backed_up
        assert len(list(operated.site.blobstorage.rglob("*.blob"))) == 7
        assert not list(operated.site.directory.rglob("*.restoring"))

    survive(
        lambda: worlds(first),
        lambda it, files: it.restore(files=files),
        check,
        faults=(Fault.POWER_CUT, Fault.EIO),
    )


def test_a_full_disk_leaves_nothing_half_and_says_so(site: Site, worlds) -> None:
    site.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    first = Operated(site)
    files = FaultyFiles(Fault.NO_SPACE, 4)

    with pytest.raises(BackupError, match="space"):
        worlds(first).backup(files=files)


def test_no_backup_is_no_restore_point(site: Site) -> None:
    with pytest.raises(NoRestorePoint, match="no restore point yet"):
        Operated(site).restore()


@pytest.mark.parametrize("in_place", [True, False], ids=["in place", "by name"])
@pytest.mark.parametrize("again", ["the same", "another"])
def test_wherever_a_restore_dies_an_undo_after_the_next_brings_back_the_site_before(
    site: Site, worlds, again: str, in_place: bool
) -> None:
    first = Operated(site)
    site.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    first.backup()
    older = first.points()[-1].moment
    site.commit({"a": 2}, {"c": b"new"}, at=NOON + timedelta(minutes=90))
    first.backup()
    site.commit({"a": 3}, {"b": b"changed"}, at=NOON + timedelta(minutes=150))
    if not in_place:  # what begins otherwise than the backups do gives way as a whole
        site.filestorage.write_bytes(b"no log at all")
    before = live_bytes(first)
    moment = older if again == "another" else None

    def check(operated: Operated, outcome: BaseException | None) -> None:
        found = read(journal_path(operated.site.filestorage))
        if outcome is None or (found.state == DONE and found.chosen is None):
            return  # it came to its end
        operated.restore(moment)
        assert operated.site.contents()["values"]["a"] == (1 if moment else 2)
        left = [found for name in ("*.partial", "*.restoring") for found in site_of(operated, name)]
        assert left == []
        undo(operated.run("restore"))
        assert live_bytes(operated) == before

    survive(
        lambda: worlds(first),
        lambda it, files: it.restore(files=files),
        check,
        faults=(Fault.AFTER, Fault.POWER_CUT),
    )


def site_of(operated: Operated, name: str) -> list[str]:
    """Return what lies in the site and is called *name*."""
    return [str(path) for path in operated.site.directory.rglob(name)]


def live_bytes(operated: Operated) -> tuple[bytes, dict]:
    """Return what is live, each byte of it."""
    return operated.site.filestorage.read_bytes(), content(operated.site.blobstorage)
