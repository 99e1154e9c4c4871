"""Transactions whose ids are not in order: ZODB serves such a file, so it is backed up whole."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import IntegrityError, NoRestorePoint
from collective.recipe.backup.filestorage import tids as room
from collective.recipe.backup.filestorage.tids import Tids
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.operations.backup import tidy_now
from collective.recipe.backup.operations.doctor import examine
from collective.recipe.backup.restorepoints import choose, spans
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.vault import Vault
from collective.recipe.backup.times import Tid, tid_at

pytestmark = pytest.mark.usefixtures("leaping")

EARLIER = tid_at(NOON - timedelta(days=300))

numbers = st.lists(st.integers(1, 12), min_size=1, max_size=12)


def number_of(tid: Tid) -> int:
    return int.from_bytes(tid[3:], "big")


@given(numbers)
def test_a_moment_is_in_a_hole_if_all_up_to_it_are_no_begin_of_the_log(order: list[int]) -> None:
    tids = Tids()
    for number in order:
        tids.add(logs.tid(number))
    assert number_of(tids.greatest) == max(order)
    for moment in range(14):
        up_to = [number for number in order if number <= moment]
        in_hole = any(hole.first <= logs.tid(moment) < hole.end for hole in tids.holes)
        assert in_hole == (up_to != order[: len(up_to)])


@given(numbers, numbers)
def test_what_is_added_later_may_make_holes_with_what_was_before(
    before: list[int], after: list[int]
) -> None:
    whole, second = Tids(), Tids(logs.tid(max(before)))
    for number in before:
        whole.add(logs.tid(number))
    for number in after:
        whole.add(logs.tid(number))
        second.add(logs.tid(number))
    first = Tids()
    for number in before:
        first.add(logs.tid(number))
    assert tuple(room.joined([*first.holes, *second.holes])) == whole.holes


def test_memory_does_not_grow_with_the_number_of_holes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST", 10)
    tids = Tids()
    for number in range(1, 1000, 3):
        for each in (number + 1, number):
            tids.add(logs.tid(each))
        assert len(tids.holes) <= 10
    assert [number_of(tid) for tid in (tids.holes[0].first, tids.holes[-1].end)] == [1, 998]


class Odd(Operated):
    """A site with blobs, of which one backup after the other meets tids that are not in order."""

    def __init__(self, site: Site, **options: object) -> None:
        super().__init__(site, keep=0, **options)
        self.states: dict[str, dict] = {}

    def live(self, number: int) -> None:
        at = NOON + timedelta(minutes=60 * number + 30)
        self.site.commit({"a": number}, {f"b{number}": b"blob %d" % number}, at=at)

    def turn(self, number: int) -> None:
        """Let time seem to go back, and come back to itself before *number*."""
        later = tid_at(NOON + timedelta(minutes=60 * number + 20))
        self.site.commit_out_of_order(EARLIER, later)

    def note(self, *, full: bool = False) -> None:
        point = self.backup(full=full).point
        self.states[point.stamp] = self.site.contents()


@pytest.fixture(params=[{}, {"archive_blob": True, "incremental_blobs": True}, {"gzip": False}])
def odd(request, site: Site) -> Odd:
    """A site in which it happened before the first backup, between two, and at the very end."""
    odd = Odd(site, **request.param)
    odd.live(0)
    odd.turn(1)
    odd.live(1)
    odd.note()
    odd.live(2)
    odd.note()
    odd.turn(3)
    odd.live(3)
    odd.note()
    site.commit_out_of_order(EARLIER)
    odd.note()
    return odd


def test_each_restore_point_of_an_odd_log_is_whole_and_comes_back(odd: Odd, tmp_path: Path) -> None:
    assert [point.full for point in odd.points()] == [True, False, False, False]
    assert all(point.whole for point in odd.points())
    assert list(odd.destination().verify(Depth.RECORDS)) == []
    for point in odd.points():
        to = tmp_path / point.stamp
        odd.restore(point.moment, to=to)
        assert contents_of(to / "Data.fs", to / "blobstorage") == odd.states[point.stamp]


def test_an_odd_log_is_restored_over_what_is_there(odd: Odd) -> None:
    for point in reversed(odd.points()):
        odd.restore(point.moment)
        assert odd.site.contents() == odd.states[point.stamp]
    for point in odd.points():
        odd.restore(point.moment)
        assert odd.site.contents() == odd.states[point.stamp]


def test_parts_of_an_odd_log_are_merged(odd: Odd, tmp_path: Path) -> None:
    odd.now += timedelta(hours=1)
    tidy_now(odd.run("backup"))
    assert list(odd.destination().verify(Depth.RECORDS)) == []
    odd.restore(to=tmp_path / "to")
    contents = contents_of(tmp_path / "to" / "Data.fs", tmp_path / "to" / "blobstorage")
    assert contents == odd.site.contents()


@pytest.mark.parametrize("apart", [False, True])
def test_a_moment_that_an_odd_log_cannot_tell_is_refused_and_all_others_are_had(
    site: Site, tmp_path: Path, apart: bool
) -> None:
    odd = Odd(site)
    odd.live(0)
    if apart:
        odd.note()
    before = site.contents()
    site.commit_out_of_order(*(tid_at(NOON + timedelta(minutes=each)) for each in (10, 80)))
    odd.live(1)
    odd.note()
    odd.live(2)
    odd.note(full=True)

    for chains in (2, 1):
        assert len({point.chain for point in odd.points()}) == chains
        for minutes in (10, 20, 29):
            with pytest.raises(NoRestorePoint):
                choose(odd.points(), NOON + timedelta(minutes=minutes))
        to = tmp_path / f"at first {chains}"
        odd.restore(NOON + timedelta(minutes=9), to=to)
        assert "a" not in contents_of(to / "Data.fs", to / "blobstorage")["values"]
        to = tmp_path / f"later {chains}"
        odd.restore(NOON + timedelta(minutes=95), to=to)
        values = contents_of(to / "Data.fs", to / "blobstorage")["values"]
        assert values == {"a": 1} != before["values"]
        held = spans(odd.points())
        assert all(not first <= NOON + timedelta(minutes=20) <= last for first, last in held)
        first = odd.points()[0].chain
        odd.destination().remove([point for point in odd.points() if point.chain == first])


def test_nothing_new_in_an_odd_log_is_nothing_new(odd: Odd) -> None:
    assert not odd.backup().changed


def test_an_odd_log_is_warned_of_by_backup_and_doctor(odd: Odd, caplog) -> None:
    odd.turn(4)
    odd.live(4)
    caplog.clear()
    odd.backup()
    assert "1 transaction of the filestorage has an id that is not later" in caplog.text
    odd.backup(full=True)
    assert "4 transactions of the filestorage have an id that is not later" in caplog.text
    odd.site.filestorage.with_name("Data.fs.index").unlink()
    odd.place().filestorage.rename(odd.place().filestorage.with_name("elsewhere"))
    [finding] = [it for it in examine(odd.run("doctor")) if "not later than" in it.what]
    assert finding.severity.value == "warning"


def test_what_repozo_made_of_an_odd_log_is_recovered_and_continued(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    vault.commit()
    later = int.from_bytes(max(vault.site.tids()), "big") + 1
    vault.site.commit_out_of_order(EARLIER, Tid(later.to_bytes(8, "big")))
    vault.repozo_backup("-z")
    vault.commit()
    vault.repozo_backup("-z")
    assert vault.recovered() == vault.source
    assert vault.problems() == []
    vault.site.commit_out_of_order(EARLIER)
    greatest = max(vault.site.tids())
    assert not vault.take().full
    assert vault.take().tid == greatest
    assert vault.recovered() == vault.source
    assert vault.problems() == []


def test_a_wrong_offset_of_the_record_before_is_no_damage(site: Site, tmp_path: Path) -> None:
    """ZODB logs an error, opens the file and serves it."""
    site.commit({"a": 1}, {"b": b"blob"})
    with TransactionLog(site.filestorage) as log:
        second = list(log.transactions())[1]
    with site.filestorage.open("r+b") as file:
        file.seek(second.records + 16)
        file.write(b"\0" * 4 + b"\1" * 4)
    site.filestorage.with_name("Data.fs.index").unlink()
    contents = site.contents()
    operated = Operated(site)
    operated.backup()
    assert list(operated.destination().verify(Depth.RECORDS)) == []
    operated.restore(to=tmp_path / "to")
    assert contents_of(tmp_path / "to" / "Data.fs", tmp_path / "to" / "blobstorage") == contents


def test_a_log_that_holds_bytes_twice_is_damaged_still(site: Site) -> None:
    """ZODB does not open it."""
    site.commit({"a": 1})
    site.commit({"a": 2})
    with TransactionLog(site.filestorage) as log:
        last = list(log.transactions())[-1]
        again = log.read(last.begin, last.end - last.begin)
    with site.filestorage.open("ab") as file:
        file.write(again)
    with pytest.raises(IntegrityError, match="written for another place"):
        Operated(site).backup()


def test_a_tid_that_its_data_do_not_have_is_damage_still(site: Site) -> None:
    site.commit({"a": 1})
    site.commit({"a": 2})
    with TransactionLog(site.filestorage) as log:
        second = list(log.transactions())[1]
    with site.filestorage.open("r+b") as file:
        file.seek(second.begin)
        file.write(b"\xf0")
    with pytest.raises(IntegrityError, match=f"at byte {second.begin} is not sound"):
        Operated(site).backup()
