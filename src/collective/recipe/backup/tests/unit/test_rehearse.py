"""Rehearsals: what they open, what they find, and that they leave nothing behind."""

from __future__ import annotations

import json
import os
import time
import zlib
from contextlib import closing
from pathlib import Path

import pytest
import ZODB.FileStorage
from ZODB.Connection import TransactionMetaData

from collective.recipe.backup import history, locking
from collective.recipe.backup.cli import main
from collective.recipe.backup.errors import BackupError, NoRestorePoint, UsageError
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.operations import rehearse as room
from collective.recipe.backup.operations.rehearse import (
    Rehearsed,
    RehearseOrder,
    Which,
    outcome,
    rehearse,
)
from collective.recipe.backup.operations.siteopening import open_everything
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.scripts import Mark, Script, running


@pytest.fixture
def operated(site: Site) -> Operated:
    """A site with three restore points in two chains."""
    operated = Operated(site)
    site.commit({"a": 1}, {"b": b"first"})
    operated.backup()
    site.commit({"a": 2}, {"b": b"second", "c": b"third"})
    operated.backup()
    site.commit({"a": 3})
    operated.backup(full=True)
    return operated


def rehearsed(operated: Operated, **order) -> list[Rehearsed]:
    told: list[Rehearsed] = []
    order = {"draw": lambda points: points[0], **order}
    done = rehearse(operated.run("rehearse"), RehearseOrder(**order), told.append)
    assert told == done
    return done


def everything(operated: Operated) -> list[Path]:
    """Return all that there is, but for locks and the history."""
    found = operated.site.directory.rglob("*")
    return sorted(path for path in found if not path.name.startswith(".backup"))


def test_the_newest_is_rehearsed_and_counted(operated: Operated) -> None:
    before = everything(operated)

    [done] = rehearsed(operated)

    storage = ZODB.FileStorage.FileStorage(str(operated.site.filestorage), read_only=True)
    records = sum(1 for each in storage.iterator() for _record in each)
    objects = len(storage)
    storage.close()
    assert done.problem is None
    assert done.opened is not None
    assert (done.opened.objects, done.opened.records) == (objects, records)
    assert (done.opened.blobs, done.opened.blob_bytes) == (3, len(b"firstsecondthird"))
    assert done.size == operated.site.size
    assert done.choice.point == operated.points()[-1]
    assert 0 < done.seconds < 60
    assert outcome([done], RehearseOrder(draw=lambda points: points[0])) is None
    assert everything(operated) == before


def test_any_one_each_or_a_moment(operated: Operated) -> None:
    first, second, third = operated.points()

    def stamps(**order) -> list[str]:
        return [done.choice.point.stamp for done in rehearsed(operated, **order) if done.opened]

    assert stamps(which=Which.RANDOM) == [first.stamp]
    assert stamps(which=Which.RANDOM, draw=lambda points: points[1]) == [second.stamp]
    assert stamps(which=Which.EACH) == [third.stamp, second.stamp, first.stamp]
    assert stamps(when=second.moment) == [second.stamp]
    [cut] = rehearsed(operated, when=operated.site.tids()[2])
    assert cut.opened is not None
    assert cut.opened.blobs == 1


def test_a_moment_is_as_large_as_that_state_was(operated: Operated) -> None:
    when = operated.site.tids()[1]
    [cut] = rehearsed(operated, when=when)
    with TransactionLog(operated.site.filestorage) as log:
        assert cut.size == log.cut(when).offset
    assert cut.size < cut.choice.point.end


def test_a_blob_with_two_records_in_a_transaction_is_counted_once(site: Site) -> None:
    site.commit({}, {"a": b"first", "b": b"second"})
    site.commit_blob_twice("a", b"the first anew")
    operated = Operated(site)
    operated.backup()
    [done] = rehearsed(operated)
    assert done.opened is not None
    assert (done.opened.blobs, done.opened.blob_bytes) == (3, len(b"firstsecondthe first anew"))


def test_a_site_without_blobs_is_rehearsed_as_well(site: Site) -> None:
    operated = Operated(site, blobs=False)
    site.commit({"a": 1}, {"b": b"not backed up"})
    operated.backup()
    [done] = rehearsed(operated)
    assert done.opened is not None
    assert done.opened.blobs == 0


def damage_the_filestorage(operated: Operated) -> None:
    path = sorted(operated.place().filestorage.glob("*.fsz"))[-1]
    path.write_bytes(path.read_bytes()[:-9])


def damage_a_blob(operated: Operated) -> None:
    for path in Path(operated.place().blobstorage).rglob("*.blob"):
        path.chmod(0o644)
        path.write_bytes(b"x" * path.stat().st_size)


@pytest.mark.parametrize("damage", [damage_the_filestorage, damage_a_blob])
def test_what_is_damaged_fails_with_its_name_and_leaves_nothing(
    operated: Operated, damage, capsys
) -> None:
    damage(operated)
    before = everything(operated)

    [done] = rehearsed(operated)

    assert done.opened is None
    assert done.problem is not None
    assert done.problem.where
    assert everything(operated) == before
    assert main("rehearse", "standard", operated.config_path, ["--json"]) == 3
    out, err = capsys.readouterr()
    [told] = json.loads(out)["rehearsals"]
    assert (told["outcome"], told["objects"]) == ("failed", None)
    assert told["problem"]["what"] in err
    record = history.read(operated.place().filestorage)[-1]
    assert (record.verb, record.exit_code) == ("rehearse", 3)


def test_a_rehearsal_that_fails_stops_no_other(operated: Operated) -> None:
    damage_the_filestorage(operated)
    done = rehearsed(operated, which=Which.EACH)
    assert [each.opened is not None for each in done] == [False, True, True]
    error = outcome(done, RehearseOrder(draw=lambda points: points[0]))
    assert error is not None
    assert str(error) == f"1 of 3 rehearsals failed: {done[0].choice.point.stamp}"
    assert error.exit_code == 3


def test_what_only_zodb_can_tell_fails_too(site: Site) -> None:
    site.commit({"a": "a text"})
    data = site.filestorage.read_bytes()
    site.filestorage.write_bytes(
        data.replace(b"X\x06\x00\x00\x00a text", b"X\xff\x00\x00\x00a text")
    )
    operated = Operated(site)
    operated.backup()
    [done] = rehearsed(operated)
    assert done.problem is not None
    assert "cannot be loaded" in str(done.problem)
    assert "oid 0x" in str(done.problem)


def test_a_blob_that_the_site_had_lost_fails(site: Site) -> None:
    site.commit({}, {"b": b"blob"})
    lost = next(site.blobstorage.rglob("*.blob"))
    lost.unlink()
    operated = Operated(site)
    with pytest.raises(BackupError):
        operated.backup()
    [done] = rehearsed(operated)
    assert done.problem is not None
    assert "the blob of oid" in str(done.problem)
    assert lost.stem in str(done.problem)


def test_records_that_a_wrapper_compressed_are_opened(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    storage = ZODB.FileStorage.FileStorage(str(site.filestorage))
    with closing(storage):
        data, serial = storage.load(bytes(8))[:2]
        change = TransactionMetaData()
        storage.tpc_begin(change)
        storage.store(bytes(8), serial, b".z" + zlib.compress(data), "", change)
        storage.tpc_vote(change)
        storage.tpc_finish(change)
    assert open_everything(site.filestorage, None, Silent()).records > 1


def test_there_must_be_something_to_rehearse(site: Site) -> None:
    for which in Which:
        with pytest.raises(NoRestorePoint):
            rehearsed(Operated(site), which=which)


# scratch


def test_scratch_may_be_elsewhere(operated: Operated, tmp_path: Path, monkeypatch) -> None:
    scratch = tmp_path / "a disk with room"
    scratch.mkdir()
    seen = []
    opening = room.open_everything

    def watched(filestorage, blobstorage, progress):
        seen.append(filestorage)
        return opening(filestorage, blobstorage, progress)

    monkeypatch.setattr(room, "open_everything", watched)
    [done] = rehearsed(operated, scratch=scratch)
    assert done.opened
    assert seen[0].is_relative_to(scratch)
    assert list(scratch.iterdir()) == []


def test_scratch_must_be_there_and_have_room(
    operated: Operated, tmp_path: Path, monkeypatch
) -> None:
    records = list(history.read(operated.place().filestorage))
    (tmp_path / "a file").touch()
    for name in ("not there", "a file"):
        with pytest.raises(UsageError, match="scratch"):
            rehearsed(operated, scratch=tmp_path / name)
    # a mistake in the command line is no rehearsal that failed
    assert list(history.read(operated.place().filestorage)) == records

    class Full:
        f_bavail, f_bfree, f_frsize = 1, 1, 1

    monkeypatch.setattr(os, "statvfs", lambda _path: Full)
    with pytest.raises(BackupError, match="not enough room") as caught:
        rehearsed(operated, scratch=tmp_path)
    assert "--scratch" in caught.value.hint
    assert caught.value.exit_code == 1


def test_a_rehearsal_that_was_killed_is_swept_by_the_next(operated: Operated) -> None:
    before = everything(operated)
    script = Script(operated.config_path, "rehearse", mark=Mark("syncfs", "blobstorage"))
    with running(script):
        script.wait_for_mark()
        # while the blobs wait for the mark, the filestorage comes to its end
        left = [path for path in everything(operated) if path not in before and path.is_dir()]
        # one that is at work is left alone
        rehearsed(operated)
        assert [path for path in left if not path.is_dir()] == []
    assert left

    rehearsed(operated)

    assert [path for path in everything(operated) if "marker" not in path.name] == before


def test_what_is_not_ours_is_not_swept(operated: Operated) -> None:
    beside = operated.place().filestorage.parent
    for name in ("backups.rehearsal.mine", "other.rehearsal.77"):
        (beside / name).mkdir()
    (beside / "other.rehearsal.77" / locking.LOCK_NAME).touch()
    before = everything(operated)
    rehearsed(operated)
    assert everything(operated) == before


def test_backups_that_nobody_may_change_can_be_rehearsed(
    operated: Operated, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    place = operated.place().filestorage
    (place / locking.LOCK_NAME).unlink(missing_ok=True)
    before = sorted(path.name for path in place.iterdir())
    rehearsed(operated, scratch=scratch)
    assert sorted(path.name for path in place.iterdir()) == before


# time


def test_a_rehearsal_stops_when_its_time_is_over_and_says_how_far_it_came(
    operated: Operated, capsys, monkeypatch
) -> None:
    before = everything(operated)
    monkeypatch.setattr(room, "open_everything", slow(room.open_everything))

    assert main("rehearse", "standard", operated.config_path, ["--max-seconds", "0.3"]) == 1

    err = capsys.readouterr().err
    assert "WARNING: the time was over before 2026-03-01-15-00-00 was done" in err
    assert "it was restored, but not all opened" in err
    assert "not one restore point could be rehearsed in 0.3 seconds" in err
    assert everything(operated) == before


def test_as_many_as_there_is_time_for_are_a_success(
    operated: Operated, capsys, monkeypatch
) -> None:
    original, calls = room.open_everything, []

    def slower(*arguments):
        calls.append(arguments)
        return (slow(original) if len(calls) > 1 else original)(*arguments)

    monkeypatch.setattr(room, "open_everything", slower)
    arguments = ["--each", "--max-seconds", "20", "--json"]
    monkeypatch.setattr(room, "monotonic", Clock(calls))
    assert main("rehearse", "standard", operated.config_path, arguments) == 0
    content = json.loads(capsys.readouterr().out)
    assert [each["outcome"] for each in content["rehearsals"]] == ["good", "out of time"]
    assert content["good"] is True


class Clock:
    """A clock on which each rehearsal takes a minute."""

    def __init__(self, calls: list) -> None:
        self._calls = calls

    def __call__(self) -> float:
        return max(0, len(self._calls) - 1) * 60.0


def slow(opening):
    def slowly(filestorage, blobstorage, progress):
        time.sleep(0.4)
        return opening(filestorage, blobstorage, progress)

    return slowly
