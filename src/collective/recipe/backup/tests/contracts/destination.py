"""What every destination must do.  Subclass it and give an ``operated`` fixture."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.blobs.layout import MARKER
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.destinations.stopwatch import Stopwatch
from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.history import NAME
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.restoring.staging import Targets
from collective.recipe.backup.tests.faults.harness import FaultyFiles
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import contents_of
from collective.recipe.backup.tests.staged import stage_choice
from collective.recipe.backup.times import moment_of


def staged(operated: Operated, when: object, directory: Path) -> dict:
    """Return what the state at *when* holds, restored to *directory*."""
    directory.mkdir()
    destination = operated.destination()
    choice = choose(destination.restore_points(), when)
    targets = Targets(
        filestorage=directory / "Data.fs",
        index=directory / "Data.fs.index",
        blobstorage=directory / "blobstorage",
    )
    stage_choice(destination, choice, targets)
    return contents_of(targets.filestorage, targets.blobstorage)


class DestinationContract:
    """Restore points come whole, cost what changed and give back any moment."""

    left_behind = timedelta(0)
    """For so long what a restore left behind stays, however many backups follow."""

    def test_the_newest_restore_point_holds_all(self, operated: Operated, tmp_path: Path) -> None:
        operated.site.commit({"a": 1}, {"b": b"first"}, at=NOON)
        operated.backup()
        operated.site.commit({"a": 2}, {"c": b"second"}, at=NOON + timedelta(minutes=90))
        operated.backup()

        assert staged(operated, None, tmp_path / "to") == operated.site.contents()

    def test_each_restore_point_stays_what_it_was(self, operated: Operated, tmp_path: Path) -> None:
        states = {}
        for number in range(4):
            operated.site.commit({"a": number}, {f"b{number}": bytes([number]) * 99})
            stamp = operated.backup(full=number == 2).point.moment
            states[stamp] = operated.site.contents()

        for number, (stamp, contents) in enumerate(states.items()):
            assert staged(operated, stamp, tmp_path / str(number)) == contents

    def test_every_moment_is_restored_exactly(self, operated: Operated, tmp_path: Path) -> None:
        states = {}
        for number in range(6):
            at = NOON + timedelta(minutes=10 * number)
            tid = operated.site.commit({"a": number}, {f"b{number % 2}": b"%d" % number}, at=at)
            states[tid] = operated.site.contents()
            if number in (2, 5):
                operated.backup()

        for number, (tid, contents) in enumerate(states.items()):
            assert staged(operated, tid, tmp_path / f"tid{number}") == contents
            later = moment_of(tid) + timedelta(minutes=5)
            assert staged(operated, later, tmp_path / f"later{number}") == contents

    def test_a_moment_that_was_packed_away_is_refused(self, operated: Operated) -> None:
        for number in range(3):
            operated.site.commit({"a": number}, at=NOON + timedelta(minutes=number))
        operated.site.pack()
        operated.backup()

        with pytest.raises(NoRestorePoint) as caught:
            choose(operated.points(), NOON + timedelta(seconds=70))

        assert "these can be restored" in caught.value.hint

    def test_a_moment_before_a_restore_is_not_told_by_what_came_after(
        self, operated: Operated, tmp_path: Path
    ) -> None:
        for number in range(3):
            operated.site.commit({"a": number}, at=NOON + timedelta(minutes=number))
            if number != 1:
                operated.backup()
        lived = operated.site.contents()
        operated.restore(NOON)
        back = operated.site.contents()
        operated.site.commit({"a": "other"}, at=NOON + timedelta(hours=9))
        operated.now = NOON + timedelta(hours=9)
        operated.backup()

        assert staged(operated, NOON + timedelta(minutes=3), tmp_path / "before") == lived
        assert staged(operated, NOON + timedelta(hours=8), tmp_path / "between") == back
        assert staged(operated, None, tmp_path / "after") == operated.site.contents()

        # nor by any chain that begins later, when the first is long gone
        operated.now += self.left_behind
        for _number in range(2):
            operated.backup(full=True)
        for minutes in (1, 3, 110):
            with pytest.raises(NoRestorePoint):
                choose(operated.points(), NOON + timedelta(minutes=minutes))
        for hours in (0, 3, 8):
            to = tmp_path / f"{hours} hours"
            assert staged(operated, NOON + timedelta(hours=hours), to) == back
        assert staged(operated, None, tmp_path / "much later") == operated.site.contents()

    def test_no_change_writes_nothing_but_a_line_of_history(self, operated: Operated) -> None:
        operated.site.commit({"a": 1}, {"b": b"blob"})
        before = operated.backup()
        files = FaultyFiles()

        outcome = operated.backup(files=files)

        assert not outcome.changed
        assert outcome.point == before.point
        assert {path.name for _operation, path in files.changes} <= {NAME}

    def test_undo_and_pack_are_followed(self, operated: Operated, tmp_path: Path) -> None:
        operated.site.commit({"a": 1}, {"b": b"first"})
        tid = operated.site.commit({"a": 2}, {"b": b"second"})
        operated.backup()
        operated.site.undo(tid)
        operated.backup()
        assert staged(operated, None, tmp_path / "undone") == operated.site.contents()

        operated.site.pack()
        operated.backup()

        assert staged(operated, None, tmp_path / "packed") == operated.site.contents()

    def test_a_blob_that_the_site_lost_is_reported_with_its_name(
        self, operated: Operated, tmp_path: Path
    ) -> None:
        operated.site.commit({"a": 1}, {"b": b"blob", "c": b"other"})
        lost = sorted(operated.site.blobstorage.rglob("*.blob"))[0]
        data = lost.read_bytes()
        lost.unlink()

        with pytest.raises(IntegrityError, match="1 blob"):
            operated.backup()

        [point] = operated.points()
        assert point.restorable
        assert not point.whole
        assert lost.stem in point.problems[0]

        # it came back: the next run takes it, and the newest restore point is whole
        lost.write_bytes(data)
        operated.backup()
        point = operated.points()[-1]
        assert point.whole
        assert staged(operated, None, tmp_path / "to") == operated.site.contents()

    def test_a_changed_blob_is_named_until_the_site_has_it_as_it_was(
        self, operated: Operated
    ) -> None:
        operated.site.commit({"a": 1}, {"b": b"blob"})
        operated.backup()
        [blob] = operated.site.blobstorage.rglob("*.blob")
        blob.unlink()  # a backup may be a link to it
        blob.write_bytes(b"")
        for number, full in enumerate([True, False, False]):
            with pytest.raises(IntegrityError, match="1 blob of the site"):
                operated.backup(full=full)
            operated.site.commit({"a": 2 + number}, {"c": b"%d" % number})
        blob.unlink()
        blob.write_bytes(b"blob")
        assert operated.backup().point.doubts == ()

    def test_a_pack_between_the_log_and_the_blobs_loses_none(
        self, operated: Operated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(3):
            at = NOON + timedelta(minutes=number)
            operated.site.commit({"a": number}, {"b": b"%d" % number}, at=at)
        contents = operated.site.contents()
        phase = Stopwatch.phase

        def packing(watch: Stopwatch, name: str) -> AbstractContextManager[None]:
            if name == "blobs":
                operated.site.pack()
            return phase(watch, name)

        monkeypatch.setattr(Stopwatch, "phase", packing)
        assert operated.backup().point.whole
        assert len(list(operated.site.blobstorage.rglob("*.blob"))) == 1
        assert staged(operated, None, tmp_path / "to") == contents

    def test_a_blobstorage_without_any_blob_is_told_by_each_backup(
        self, operated: Operated, tmp_path: Path
    ) -> None:
        operated.site.commit({"a": 1}, {"b": b"the first"})
        operated.backup()
        contents = operated.site.contents()
        shutil.move(operated.site.blobstorage, tmp_path / "disk")
        operated.site.blobstorage.mkdir()
        # Zope may be started before the disk is mounted, and writes its note
        for marker in (False, True):
            if marker:
                shutil.copy(tmp_path / "disk" / MARKER, operated.site.blobstorage)
            with pytest.raises(IntegrityError, match="there is no blob any more"):
                operated.backup()
        assert staged(operated, None, tmp_path / "to") == contents
        shutil.rmtree(operated.site.blobstorage)
        shutil.move(tmp_path / "disk", operated.site.blobstorage)
        assert operated.backup().point.whole

    def test_restore_points_are_removed_and_the_others_stay(
        self, operated: Operated, tmp_path: Path
    ) -> None:
        states = {}
        for number in range(4):
            operated.site.commit({"a": number}, {f"b{number}": b"%d" % number, "b": b"%d" % number})
            states[operated.backup(full=number == 2).point.stamp] = operated.site.contents()
        destination, points = operated.destination(), operated.points()

        # what the second one needs stays, whoever names it
        destination.remove(points[:1])
        for number, point in enumerate(points[1:]):
            to = tmp_path / f"one {number}"
            assert staged(operated, point.moment, to) == states[point.stamp]
        destination.remove(points[:2])
        assert operated.points() == points[2:]
        for number, point in enumerate(points[2:]):
            to = tmp_path / f"two {number}"
            assert staged(operated, point.moment, to) == states[point.stamp]
        assert list(destination.verify(Depth.RECORDS)) == []

    def test_every_moment_is_restored_when_small_pieces_were_put_together(
        self, operated: Operated, tmp_path: Path
    ) -> None:
        states = {}
        for number in range(5):
            at = NOON + timedelta(minutes=20 * number)
            tid = operated.site.commit({"a": number}, {f"b{number % 2}": b"%d" % number}, at=at)
            states[tid] = operated.site.contents()
            operated.now = at - timedelta(hours=1)  # which a backup goes on
            newest = operated.backup().point

        destination = operated.destination()
        for _time in range(2):
            for sentence in destination.tidy(NOON + timedelta(hours=2)):
                assert sentence
        assert operated.points()[-1] == newest
        for number, (tid, contents) in enumerate(states.items()):
            assert staged(operated, tid, tmp_path / str(number)) == contents
        assert list(destination.verify(Depth.RECORDS)) == []

    def test_chains_that_are_removed_take_what_only_they_need(
        self, operated: Operated, tmp_path: Path
    ) -> None:
        for number in range(4):
            operated.site.commit({"a": number}, {f"b{number}": b"%d" % number})
            operated.backup(full=True)

        points = operated.points()
        assert len(points) == operated.config.options.keep
        assert staged(operated, None, tmp_path / "new") == operated.site.contents()
        staged(operated, points[0].moment, tmp_path / "old")
