"""After a restore: the past can still be had, and what the restore came from stays for a while."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup import restored
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.destinations.past import Ordered, Past, knows_any
from collective.recipe.backup.errors import NoRestorePoint
from collective.recipe.backup.filestorage.format import MAGIC_SIZE
from collective.recipe.backup.filestorage.logcut import LogEnd
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.operations.prune import prune
from collective.recipe.backup.operations.restore import restore
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.undo import undo
from collective.recipe.backup.restorepoints import choose, spans
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.times import stamp

HOUR = timedelta(hours=1)


class Lived:
    """A site with a transaction an hour, and what it held after each."""

    def __init__(self, site: Site, **options) -> None:
        self.site = site
        self.operated = Operated(site, **options)
        self.states: dict[int, dict] = {}

    def live(self, *hours: int) -> None:
        for hour in hours:
            at = NOON + hour * HOUR
            self.site.commit({"hour": hour}, {"blob": b"%d" % hour}, at=at)
            self.states[hour] = self.site.contents()

    def back_up(self, hour: float, **more):
        self.operated.now = NOON + (hour - 1) * HOUR
        return self.operated.backup(**more)

    def restore(self, when: float | None, hour: float) -> None:
        self.operated.now = NOON + hour * HOUR
        self.operated.restore(None if when is None else NOON + when * HOUR)

    def at(self, hour: float, directory: Path) -> dict:
        """Return what the site held at *hour*, as the backups have it."""
        to = directory / str(hour)
        order = RestoreOrder(when=NOON + hour * HOUR, to=to)
        assert restore(self.operated.run("restore"), order)
        return contents_of(to / "Data.fs", to / "blobstorage")

    def refuses(self, hour: float) -> bool:
        try:
            choose(self.operated.points(), NOON + hour * HOUR)
        except NoRestorePoint:
            return True
        return False

    def chains(self) -> list[str]:
        return sorted({point.chain for point in self.operated.points()})


@pytest.fixture
def lived(site: Site) -> Lived:
    """A site that was restored to half past two, and lived on, with one old chain."""
    lived = Lived(site, keep=1)
    lived.live(1, 2, 3, 4)
    lived.back_up(5)
    lived.restore(2.5, 6)
    lived.live(7)
    return lived


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "backup")
    return caplog


STYLES = [{}, {"blob_snapshots": "each"}, {"archive_blob": True, "incremental_blobs": True}]


@pytest.mark.parametrize("style", STYLES)
def test_moments_up_to_the_cut_outlive_the_chain_that_had_them(
    site: Site, style: dict, tmp_path: Path
) -> None:
    lived = Lived(site, keep=1, **style)
    lived.live(1, 2, 3, 4)
    lived.back_up(5)
    lived.restore(2.5, 6)
    lived.live(7)
    lived.back_up(8)
    for hour in (9, 10):
        lived.live(hour)
        lived.back_up(hour + 0.5, full=True)

    assert len(lived.chains()) == 1
    for asked, hour in ((1, 1), (1.5, 1), (2, 2), (2.5, 2), (7, 7), (9.2, 9), (10, 10)):
        assert lived.at(asked, tmp_path) == lived.states[hour]
    # from the restore on it was again what it had been at two
    assert lived.at(6.5, tmp_path) == lived.states[2]


def test_what_was_cut_off_is_in_the_old_chain_only(lived: Lived, tmp_path: Path) -> None:
    lived.back_up(8)
    assert lived.at(3, tmp_path) == lived.states[3]
    for hour in (9, 10):
        lived.live(hour)
        lived.back_up(hour + 0.5, full=True)
    for hour in (2.6, 3, 4.5, 5.9):
        assert lived.refuses(hour)
    [before, after] = [
        (stamp(first), stamp(last)) for first, last in spans(lived.operated.points())
    ]
    assert before[1] == "2026-03-01-14-30-00"
    assert after[0] == "2026-03-01-18-00-00"


def test_the_log_says_that_a_restore_made_a_new_chain_necessary(lived: Lived, said) -> None:
    assert lived.back_up(8).point.full
    assert "(because of the restore at 2026-03-01-18-00-00)" in said.text
    assert "packed" not in said.text


def test_a_restore_by_other_means_is_told_as_well(lived: Lived, said, tmp_path: Path) -> None:
    restored.note_path(lived.site.filestorage).unlink()
    lived.back_up(8)
    said_of = "(because of a restore to an earlier state, that of 2026-03-01-14-00-00)"
    assert said_of in said.text
    # nothing proves the time before it
    for hour in (9, 10):
        lived.live(hour)
        lived.back_up(hour + 0.5, full=True)
    assert lived.refuses(2)
    assert lived.at(7, tmp_path) == lived.states[7]


def test_a_restore_by_other_means_keeps_what_a_restore_point_proves(
    site: Site, tmp_path: Path
) -> None:
    lived = Lived(site, keep=1)
    lived.live(1, 2)
    lived.back_up(2.5)
    lived.live(3, 4)
    lived.back_up(4.5)
    lived.restore(2.5, 6)
    restored.note_path(site.filestorage).unlink()
    lived.live(7)
    for hour in (8, 9, 10):
        lived.back_up(hour, full=True)
    assert len(lived.chains()) == 1
    assert lived.at(1.5, tmp_path) == lived.states[1]
    assert lived.at(2, tmp_path) == lived.states[2]
    assert lived.refuses(3)


def test_no_run_removes_the_chain_of_the_last_restore_before_another_full_backup(
    lived: Lived,
) -> None:
    [old] = lived.chains()
    new = lived.back_up(8).point.chain
    assert lived.chains() == [old, new]
    for hour in (9, 10):
        lived.live(hour)
        lived.back_up(hour + 0.5)
        prune(lived.operated.run("prune"))
    assert lived.chains() == [old, new]
    [plan] = prune(lived.operated.run("prune"))
    [kept] = [made for made in plan.plan.decisions if made.point.chain == old]
    assert kept.reasons == ("a restore left it behind, and may have been a mistake",)

    lived.live(11)
    newest = lived.back_up(11.5, full=True).point.chain
    assert lived.chains() == [newest]


def test_no_run_before_the_first_backup_after_a_restore_removes_its_chain(site: Site) -> None:
    lived = Lived(site, keep=0)
    for hour in (1, 2, 3):
        lived.live(hour)
        lived.back_up(hour + 0.5, full=True)
    oldest, _middle, newest = lived.chains()
    lived.restore(1, 4)
    again = Operated(site, keep=1)
    again.now = lived.operated.now
    [plan] = prune(again.run("prune"))
    assert lived.chains() == [oldest, newest]
    assert plan.plan.decisions[0].reasons == (
        "the last restore came from it, and no backup was made since",
    )


def test_the_chain_that_was_cut_off_stays_beside_the_one_that_was_restored(site: Site) -> None:
    lived = Lived(site, keep=2)
    lived.live(1)
    lived.back_up(1.5)
    lived.live(2)
    lived.back_up(2.5, full=True)
    restored_from, cut_off = lived.chains()
    lived.restore(1, 3)
    lived.live(4)
    again = Operated(site, keep=1)
    again.now = NOON + 4 * HOUR
    new = again.backup().point.chain
    assert lived.chains() == [restored_from, cut_off, new]


def test_what_was_lost_with_a_restore_of_the_newest_is_told_by_no_backup(
    site: Site, tmp_path: Path
) -> None:
    lived = Lived(site)
    lived.live(1)
    lived.back_up(1.5)
    lived.live(2)
    lived.restore(None, 3)
    lived.live(4)
    outcome = lived.back_up(4.5)
    assert not outcome.point.full
    assert lived.refuses(2.5)
    assert lived.at(1.4, tmp_path) == lived.states[1]
    assert lived.at(3.5, tmp_path) == lived.states[1]
    assert lived.at(4, tmp_path) == lived.states[4]


def test_after_an_undo_everything_that_was_lived_can_be_had(site: Site, tmp_path: Path) -> None:
    lived = Lived(site)
    lived.live(1, 2, 3)
    lived.back_up(3.5)
    lived.live(4)
    lived.restore(1, 5)
    assert undo(lived.operated.run("restore"))
    lived.live(6)
    outcome = lived.back_up(6.5)
    assert not outcome.point.full
    for hour in (1, 2, 3, 4, 6):
        assert lived.at(hour, tmp_path) == lived.states[hour]


def test_two_restores_leave_two_holes(lived: Lived, tmp_path: Path) -> None:
    lived.back_up(8)
    lived.live(9, 10)
    lived.back_up(10.5)
    lived.restore(9.5, 11)
    lived.live(12)
    for hour in (13, 14, 15):
        lived.back_up(hour, full=True)
    assert len(lived.chains()) == 1
    for hour in (1, 2, 7, 9, 12):
        assert lived.at(hour, tmp_path) == lived.states[hour]
    for hour in (3, 4, 10):
        assert lived.refuses(hour)


def test_a_note_that_cannot_be_read_costs_nothing_but_what_it_would_tell(
    lived: Lived, said
) -> None:
    note = restored.note_path(lived.site.filestorage)
    note.write_bytes(note.read_bytes().replace(b'"own": true', b'"own": trve'))
    [old] = lived.chains()
    assert lived.back_up(8).point.whole
    assert "what the last restore noted cannot be read" in said.text
    lived.live(9)
    lived.back_up(9.5, full=True)
    # nor does anything go while nobody knows what it says
    assert old in lived.chains()
    note.unlink()
    prune(lived.operated.run("prune"))
    assert old not in lived.chains()


def test_a_note_that_came_with_a_copy_of_the_site_says_nothing(
    lived: Lived, tmp_path: Path
) -> None:
    note = restored.note_path(lived.site.filestorage)
    copy = tmp_path / "Data.fs"
    restored.note_path(copy).write_bytes(note.read_bytes())
    assert restored.read(copy) is None
    assert restored.read(lived.site.filestorage) is not None


def test_a_restore_to_another_place_notes_nothing(lived: Lived, tmp_path: Path) -> None:
    note = restored.note_path(lived.site.filestorage).read_bytes()
    lived.at(1, tmp_path)
    assert not list((tmp_path / "1").rglob("*.restored.json"))
    assert restored.note_path(lived.site.filestorage).read_bytes() == note


def test_what_another_site_was_is_not_told_as_the_past_of_this_one(
    site: Site, tmp_path: Path
) -> None:
    from collective.recipe.backup.config import ALTERNATIVE

    other = Lived(Site(tmp_path / "other"))
    other.live(1, 2)
    other.back_up(2.5)
    lived = Lived(site)
    lived.operated.config.destinations[ALTERNATIVE] = other.operated.config.destinations["standard"]
    lived.operated.now = NOON + 3 * HOUR
    run = lived.operated.run("restore", destination=ALTERNATIVE)
    assert restore(run, RestoreOrder(when=NOON + HOUR))
    lived.live(4)
    lived.back_up(4.5)
    assert lived.refuses(1.5)
    assert not lived.refuses(3.5)


def test_a_filestorage_is_known_by_its_last_transactions_or_by_an_earlier_one(site, tmp_path):
    lived, filestorage = Lived(site), site.filestorage
    lived.live(1, 2, 3)
    lived.back_up(4)
    points = lived.operated.points()
    site.pack(NOON + 2.5 * HOUR)
    assert knows_any(filestorage, points)
    lived.live(5)
    with filestorage.open("ab") as file:
        file.write(b"\0" * 8)  # as a server that has just begun to write
    assert knows_any(filestorage, points)
    other = Site(tmp_path / "other", founded=NOON + 99 * HOUR)
    other.commit({"other": 1})
    assert not knows_any(other.filestorage, points)
    assert knows_any(other.filestorage, [])


class _Unwalked(TransactionLog):
    """A log of which no more may be walked through than what is near its end."""

    def cut(self, *_where: object, **_more: object) -> LogEnd:
        raise AssertionError("it was walked through")


def test_transactions_in_order_tell_of_the_past_from_the_end_on(lived, tmp_path) -> None:
    lived.back_up(8)
    lived.live(9)
    lived.site.pack(NOON + 5 * HOUR)
    filestorage, points = lived.site.filestorage, lived.operated.points()
    past = Past(filestorage, tmp_path, lambda: points, Clock(now=NOON + 10 * HOUR))
    with TransactionLog(filestorage) as log, _Unwalked(filestorage) as unwalked:
        end = log.end()
        walked = past.begin(log, "2026-03-02", end.packed)
        ordered = Ordered(MAGIC_SIZE, end.offset)
        assert past.begin(unwalked, "2026-03-02", end.packed, ordered) == walked
        # what lies before the ordered ones is walked through
        last = log.before(end.offset)
        only = Ordered(last.begin, end.offset)
        assert past.begin(log, "2026-03-02", end.packed, only) == walked
        with pytest.raises(AssertionError):
            past.begin(unwalked, "2026-03-02", end.packed, only)
