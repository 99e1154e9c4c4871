"""What a log can tell of the past: carried over a restore, but for the hole that it left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

import pytest

from collective.recipe.backup.lineage import (
    Lineage,
    Restored,
    begun,
    continued,
    is_cut_off,
    of_restore,
)
from collective.recipe.backup.model import Hole, RestorePoint
from collective.recipe.backup.times import ZERO_TID, Tid, stamp, tid_after, tid_at

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


def tid(hours: float) -> Tid:
    return tid_at(at(hours))


def hole(first: float, end: float) -> Hole:
    """Return what is unknown from just after *first* up to *end*."""
    return Hole(tid_after(tid(first)), tid(end))


@dataclass(frozen=True)
class Log:
    """A log with a transaction at each of some hours."""

    hours: tuple[float, ...]
    packed: Tid | None = ZERO_TID

    def last_at(self, limit: Tid) -> Tid | None:
        return max([tid(each) for each in self.hours if tid(each) <= limit], default=None)

    def first_after(self, limit: Tid | None) -> Tid | None:
        found = [tid(each) for each in self.hours if limit is None or tid(each) > limit]
        return min(found, default=None)


def point(last: float, made: float | None = None, **more) -> RestorePoint:
    """Return a restore point of a log that ends at the hour *last*."""
    made = last + 0.5 if made is None else made
    facts = {"stamp": stamp(at(made)), "chain": stamp(at(made)), "taken": at(made)}
    return RestorePoint(end=4, tid=tid(last), **{"since": tid(1), **facts, **more})


def noted(before: RestorePoint, when: float, until: float, last: float, **more) -> Restored:
    """Return the note of a restore at *when*, of what was so from *last* *until*."""
    facts = {
        "when": at(when),
        "own": True,
        "directory": "/backups",
        "chain": before.chain,
        "newest": before.stamp,
        "tid": tid(last),
        "until": tid(until),
        "since": tid(1),
    }
    return Restored(**{**facts, **more})


def started(log: Log, before: RestorePoint | None, note: Restored | None = None, shared=None):
    return begun(log, before, note, at(100), lambda: shared)


BEFORE = point(4)
LOG = Log((1, 2, 9))
"""What is left of 1 2 3 4 after a restore to half past two, and one transaction since."""
NOTE = noted(BEFORE, when=8, until=2.5, last=2)


def test_a_first_chain_tells_all_that_its_log_holds() -> None:
    assert started(Log((1, 2)), None) == Lineage(since=tid(1))
    assert started(Log((1, 2, 3), packed=tid(2)), None) == Lineage(since=tid(2))


@pytest.mark.parametrize("log", [Log(()), Log((1, 2), packed=None)])
def test_of_a_log_that_nobody_has_read_nothing_is_known(log: Log) -> None:
    assert started(log, BEFORE, NOTE) == Lineage(since=None)


def test_a_chain_after_a_pack_tells_no_more_than_the_pack_left() -> None:
    before = point(4, since=tid(2), holes=(hole(2.5, 3), hole(1, 1.5)))
    assert started(Log((1, 2, 3, 4, 5)), before) == Lineage(since=tid(2), holes=(hole(2.5, 3),))
    assert started(Log((1, 4, 5), packed=tid(4)), before) == Lineage(since=tid(4))


def test_a_log_that_lacks_the_last_transaction_of_the_newest_restore_point_was_cut() -> None:
    assert is_cut_off(LOG, BEFORE)
    assert not is_cut_off(Log((1, 2, 3, 4, 5)), BEFORE)
    assert not is_cut_off(Log((1, 5), packed=tid(5)), BEFORE)
    assert not is_cut_off(LOG, None)


def test_after_a_restore_the_past_is_carried_over_with_a_hole_where_history_was_cut_off() -> None:
    assert started(LOG, BEFORE, NOTE) == Lineage(since=tid(1), holes=(hole(2.5, 8),), restored=NOTE)


def test_where_the_clock_of_the_restore_was_wrong_the_hole_ends_with_the_next_transaction() -> None:
    for when in (2, 1000):
        assert started(LOG, BEFORE, replace(NOTE, when=at(when))).holes == (hole(2.5, 9),)
    unchanged = started(Log((1, 2)), BEFORE, replace(NOTE, when=at(2)))
    assert unchanged.holes == (hole(2.5, 100),)


def test_without_a_note_the_past_goes_as_far_as_a_restore_point_proves_it() -> None:
    proof = point(2, since=tid(1.5), holes=(hole(1.6, 1.7),))
    assert started(LOG, BEFORE, None, proof) == Lineage(
        since=tid(1.5), holes=(hole(1.6, 1.7), hole(2, 9))
    )
    assert started(LOG, BEFORE) == Lineage(since=tid(9))
    assert started(Log((1, 2)), BEFORE) == Lineage(since=tid(100))


def test_holes_of_several_restores_add_up() -> None:
    before = point(12, holes=(hole(2.5, 8),))
    note = noted(before, when=14, until=10, last=9, holes=before.holes)
    found = started(Log((1, 2, 9, 15)), before, note)
    assert found.holes == (hole(2.5, 8), hole(10, 14))


def test_a_restore_to_before_an_earlier_hole_makes_one_of_both() -> None:
    before = point(12, holes=(hole(2.5, 8),))
    note = noted(before, when=14, until=1.5, last=1, holes=before.holes)
    assert started(Log((1, 15)), before, note).holes == (hole(1.5, 14),)


def test_a_restore_to_a_packed_state_leaves_its_hole_after_a_backup_from_before_the_pack() -> None:
    # 1 was live, 3 packed it away, 1 was restored and backed up; then the packed state came back
    before = point(1, made=5, holes=(hole(1.5, 4.5),))
    note = noted(before, when=8, until=3.5, last=3, since=tid(3))
    found = started(Log((3, 9), packed=tid(3)), before, note)
    assert found == Lineage(since=tid(3), holes=(hole(3.5, 8),), restored=note)


def test_a_restore_from_a_chain_before_a_pack_tells_what_the_pack_took() -> None:
    before = point(4, since=tid(4))
    note = noted(before, when=8, until=4.5, last=4, since=tid(2), holes=(hole(2.5, 3),))
    found = started(Log((1, 2, 4, 9)), before, note)
    assert found == Lineage(since=tid(2), holes=(hole(2.5, 3), hole(4.5, 8)), restored=note)


def test_a_restore_of_what_ends_after_the_newest_restore_point_leaves_its_hole() -> None:
    # 1 5 was live, 1 4 was restored and backed up, and then 1 5 again
    before = point(4, made=7, holes=(hole(4, 7),))
    note = noted(before, when=9, until=5, last=5, since=tid(5))
    found = started(Log((1, 5, 10)), before, note)
    assert found == Lineage(since=tid(5), holes=(hole(5, 9),), restored=note)


def test_a_first_chain_after_a_restore_has_the_holes_of_what_was_restored() -> None:
    note = replace(NOTE, holes=(hole(1.2, 1.6),))
    found = started(LOG, None, note)
    assert found == Lineage(since=tid(1), holes=(hole(1.2, 1.6), hole(2.5, 8)), restored=note)


def test_what_was_lived_after_the_newest_restore_point_and_lost_with_a_restore_is_a_hole() -> None:
    note = noted(BEFORE, when=8, until=4.5, last=4)
    log = Log((1, 2, 3, 4, 9))
    assert started(log, BEFORE, note).holes == (hole(4.5, 8),)
    assert continued(log, BEFORE, note, at(100)) == (hole(4.5, 8),)
    # and is one only once
    after = point(9, holes=(hole(4.5, 8),))
    assert continued(Log((1, 2, 3, 4, 9, 10)), after, note, at(100)) == after.holes


def test_a_restore_to_the_very_end_of_what_was_lived_leaves_no_hole() -> None:
    note = noted(BEFORE, when=4.5, until=4.5, last=4)
    assert started(Log((1, 2, 3, 4, 9)), BEFORE, note).holes == ()


def test_an_undo_leaves_no_hole_but_up_to_what_was_lived_next() -> None:
    note = noted(BEFORE, when=8, until=4.5, last=4)
    assert continued(Log((1, 2, 3, 4, 5, 6)), BEFORE, note, at(100)) == (hole(4.5, 5),)


def test_a_note_that_an_earlier_restore_point_knows_of_is_old() -> None:
    made_since = point(11, made=12)
    assert of_restore(LOG, made_since, NOTE) is None
    assert of_restore(LOG, BEFORE, NOTE) == NOTE
    elsewhere = replace(NOTE, newest="")
    assert of_restore(LOG, made_since, elsewhere) is None
    assert of_restore(LOG, BEFORE, elsewhere) == elsewhere


def test_a_note_of_something_else_than_what_is_there_does_not_count() -> None:
    assert of_restore(Log((1, 9)), BEFORE, NOTE) is None
    assert of_restore(Log((1, 2, 3, 4, 9)), BEFORE, NOTE) is None


def test_of_what_another_site_was_nothing_is_told() -> None:
    note = replace(NOTE, own=False)
    assert started(LOG, BEFORE, note) == Lineage(since=tid(8), restored=note)
    assert started(LOG, None, note) == Lineage(since=tid(8), restored=note)


def test_the_first_backup_after_a_restore_from_elsewhere_has_the_hole_as_well() -> None:
    assert started(LOG, None, NOTE).holes == (hole(2.5, 8),)


def test_what_a_pack_rewrote_after_the_restore_point_before_is_a_hole() -> None:
    before = point(4, since=tid(4))
    packed = Log((4, 6, 7), packed=tid(6))
    assert continued(packed, before, None, at(100)) == (hole(4, 6),)
    # and told once
    after = point(7, since=tid(4), holes=(hole(4, 6),))
    assert continued(Log((4, 6, 7, 8), packed=tid(6)), after, None, at(100)) == (hole(4, 6),)
