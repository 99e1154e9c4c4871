from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from collective.recipe.backup.errors import NoRestorePoint
from collective.recipe.backup.model import Hole, RestorePoint
from collective.recipe.backup.restorepoints import (
    Choice,
    Range,
    choose,
    newest,
    newest_before,
    passed_over,
    ranges,
    spans,
)
from collective.recipe.backup.times import LAST_TID, ZERO_TID, Tid, moment_of, stamp, tid_at

UTC = timezone.utc
DAY = datetime(2026, 3, 1, tzinfo=UTC)
BAD = {"restorable": False, "problems": ("its blobs are missing: blobstorage.x",)}


def at(time, day=1):
    """Return the moment of ``HH:MM[:SS]`` on a day of the sample."""
    hours, minutes, *seconds = (int(part) for part in time.split(":"))
    return DAY + timedelta(days=day - 1, hours=hours, minutes=minutes, seconds=sum(seconds))


def ours(made, chain=None, *, last, since=None, taken=None, **more):
    """Return a restore point of our own: when it was made, its last transaction."""
    return RestorePoint(
        stamp=stamp(made),
        chain=stamp(chain or made),
        end=4,
        tid=tid_at(last),
        since=tid_at(since) if since else None,
        taken=taken or made,
        **more,
    )


def theirs(made, chain=None, **more):
    """Return a restore point of an older tool, of which only the moment is known."""
    return RestorePoint(stamp=stamp(made), chain=stamp(chain or made), end=4, **more)


FULL = ours(at("3:00"), last=at("2:00"), since=at("1:00"))
SECOND = ours(at("6:00"), FULL.moment, last=at("5:00"), since=at("1:00"))
THIRD = ours(at("9:00"), FULL.moment, last=at("8:00"), since=at("1:00"))
PACKED = ours(at("3:00", 2), last=at("2:00", 2), since=at("12:00"))
POINTS = [FULL, SECOND, THIRD, PACKED]


def refusal(points, when):
    with pytest.raises(NoRestorePoint) as caught:
        choose(points, when)
    assert caught.value.exit_code == 4
    return caught.value


def test_no_moment_is_the_newest_that_can_be_restored():
    broken = ours(at("3:00", 3), last=at("2:00", 3), since=at("12:00"), **BAD)
    assert newest([broken, *POINTS]) == PACKED
    assert choose([broken, *POINTS], None) == Choice(point=PACKED)


def test_without_restore_points_the_hint_says_what_to_do():
    error = refusal([], None)
    assert error.what == "there is no restore point yet"
    assert error.hint


def test_where_none_can_be_restored_the_newest_says_why():
    error = refusal([theirs(at("3:00"), **BAD), theirs(at("4:00"), **BAD)], at("3:00"))
    assert error.what == "none of 2 restore points can be restored"
    assert error.hint == "the newest, 2026-03-01-04-00-00: its blobs are missing: blobstorage.x"


@pytest.mark.parametrize("point", POINTS)
def test_a_stamp_is_that_restore_point_whole(point):
    assert choose(POINTS, point.moment) == Choice(point=point)


@pytest.mark.parametrize(
    ("when", "point"),
    [
        (at("1:00"), FULL),
        (at("2:00"), FULL),
        (at("2:00:01"), SECOND),
        (at("3:00:01"), SECOND),
        (at("8:00"), THIRD),
        (at("12:00"), PACKED),
        (at("1:00", 2), PACKED),
    ],
)
def test_a_moment_in_a_chain_is_the_next_restore_point_cut(when, point):
    expected = Choice(point=point, until=tid_at(when))
    assert choose(POINTS, when) == expected
    assert choose(POINTS, tid_at(when)) == expected


@pytest.mark.parametrize(("when", "point"), [(at("8:30"), THIRD), (at("2:59", 2), PACKED)])
def test_nothing_was_committed_between_the_end_of_a_chain_and_its_last_run(when, point):
    assert choose(POINTS, when) == Choice(point=point)
    assert choose(POINTS, tid_at(when)) == Choice(point=point)


def test_a_moment_after_everything_is_the_newest():
    assert choose(POINTS, at("0:00", 30)) == Choice(point=PACKED)


def test_a_transaction_after_everything_is_refused():
    assert "tid ffffffffffffffff" in refusal(POINTS, LAST_TID).what


@pytest.mark.parametrize("when", [at("0:59:59"), at("9:00:01"), at("11:59:59")])
def test_a_moment_that_a_pack_rewrote_is_refused_with_those_that_can_be_had(when):
    error = refusal(POINTS, when)
    assert error.what == f"no restore point has the state at {stamp(when)}"
    assert error.hint == (
        "these can be restored: 2026-03-01-01-00-00 to 2026-03-01-09-00-00; "
        "2026-03-01-12-00-00 to 2026-03-02-03-00-00"
    )
    assert refusal(POINTS, tid_at(when)).hint == error.hint


def test_a_refusal_shows_fractions_of_a_second():
    when = at("9:00") + timedelta(microseconds=250)
    assert refusal(POINTS, when).what.endswith("2026-03-01T09:00:00.000250+00:00")


def test_a_moment_before_the_first_transaction_is_refused():
    refusal(POINTS, ZERO_TID)
    refusal(POINTS, datetime(1800, 1, 1, tzinfo=UTC))


def test_what_cannot_be_restored_is_passed_over_within_a_chain():
    points = [FULL, ours(SECOND.moment, FULL.moment, last=at("5:00"), **BAD), THIRD]
    expected = Choice(point=THIRD, until=tid_at(at("4:00")))
    assert choose(points, at("4:00")) == expected


def test_a_broken_restore_point_that_was_named_comes_from_the_next_one_if_that_has_it():
    points = [FULL, ours(SECOND.moment, FULL.moment, last=at("5:00"), **BAD), THIRD]
    expected = Choice(point=THIRD, until=tid_at(SECOND.moment))
    assert choose(points, SECOND.moment) == expected


@pytest.mark.parametrize("make", [ours, theirs])
def test_a_broken_restore_point_that_was_named_is_never_an_older_one(make):
    known = {"last": at("5:00", 3), "since": at("4:00", 3)} if make is ours else {}
    broken = make(at("6:00", 3), **known, **BAD)
    points = [*POINTS, theirs(at("1:00", 3)), broken]
    error = refusal(points, broken.moment)
    assert error.what == (
        "the restore point 2026-03-03-06-00-00 cannot be restored: "
        "its blobs are missing: blobstorage.x"
    )
    assert "2026-03-03-01-00-00" in error.hint


def test_a_full_backup_that_cannot_be_restored_does_not_narrow_its_chain():
    points = [ours(FULL.moment, last=at("2:00"), **BAD), SECOND]
    assert choose(points, at("1:30")) == Choice(point=SECOND, until=tid_at(at("1:30")))


def test_of_several_chains_the_oldest_serves():
    """Between them somebody may have restored an older state, which the later one tells."""
    later = ours(at("20:00"), last=at("19:00"), since=at("1:00"))
    assert choose([FULL, SECOND, later], at("4:00")).point == SECOND
    assert choose([FULL, SECOND, later], at("5:30")) == Choice(point=SECOND)
    assert choose([FULL, SECOND, later], at("7:00")).point == later


def test_a_chain_may_begin_after_its_last_transaction():
    """Something older was put in the place of the site at 12:00; nobody has changed it since."""
    restored = ours(at("13:00"), last=at("8:00"), since=at("12:00"))
    assert choose([restored], at("12:30")) == Choice(point=restored)
    refusal([restored], at("11:00"))


# clocks


def test_a_stamp_that_had_to_be_later_than_the_clock_proves_nothing():
    """The clock was set back by hours: transactions go on a bit after the last one."""
    first = ours(at("10:00"), last=at("9:00"), since=at("1:00"))
    stamped = ours(at("10:01"), last=at("9:10"), since=at("1:00"), taken=at("9:15"))
    points = [first, stamped]
    assert choose(points, at("10:01")) == Choice(point=stamped)
    packed = ours(at("20:00"), last=at("19:00"), since=at("15:00"))
    assert choose([stamped, packed], at("9:12")) == Choice(point=stamped)
    assert (
        "2026-03-01-01-00-00 to 2026-03-01-09-15-00" in refusal([stamped, packed], at("9:30")).hint
    )


def test_a_moment_that_the_clock_showed_twice_is_the_first_a_tid_is_where_the_log_has_it():
    """Set back right after the backup; what was committed then is in the next chain only."""
    first = ours(at("10:00"), last=at("9:00"), since=at("1:00"))
    later = ours(at("20:00"), last=at("19:00"), since=at("9:20"))
    assert choose([first, later], at("9:30")) == Choice(point=first)
    tid = tid_at(at("9:30"))
    assert choose([first, later], tid) == Choice(point=later, until=tid)


def test_a_run_that_completed_an_older_part_does_not_vouch_for_the_time_between():
    completed = ours(at("3:00"), last=at("2:00"), since=at("1:00"), taken=at("8:00"))
    refusal([completed, PACKED], at("7:00"))


def test_transactions_may_be_later_than_the_clock():
    ahead = ours(at("9:00"), last=at("10:00"), since=at("1:00"))
    assert choose([ahead], at("9:30")) == Choice(point=ahead, until=tid_at(at("9:30")))
    assert choose([ahead], at("10:00:01")) == Choice(point=ahead)
    after_pack = ours(at("20:00"), last=at("19:00"), since=at("18:00"))
    refusal([ahead, after_pack], at("10:00:01"))


def test_transactions_decide_before_stamps_within_a_chain():
    """The clock of the database is behind: what it called 2:30 came after the backup."""
    assert choose([FULL, SECOND], at("2:30")) == Choice(point=SECOND, until=tid_at(at("2:30")))


# older tools

OLD = theirs(at("3:00"))
OLD_SECOND = theirs(at("6:00"), OLD.moment)
OLD_NEXT = theirs(at("3:00", 2))


def test_a_moment_in_a_chain_of_an_older_tool_is_the_next_restore_point_cut():
    when = at("4:00")
    expected = Choice(point=OLD_SECOND, until=tid_at(when))
    assert choose([OLD, OLD_SECOND], when) == expected
    assert choose([OLD, OLD_SECOND], tid_at(when)) == expected


@pytest.mark.parametrize(
    ("when", "point"),
    [(at("7:00"), OLD_SECOND), (at("2:59", 2), OLD_SECOND), (at("4:00", 9), OLD_NEXT)],
)
def test_a_moment_between_chains_of_older_tools_is_the_restore_point_before(when, point):
    assert choose([OLD, OLD_SECOND, OLD_NEXT], when) == Choice(point=point)


def test_the_restore_point_before_is_one_that_can_be_restored():
    points = [OLD, theirs(at("6:00"), **BAD), OLD_NEXT]
    assert choose(points, at("7:00")) == Choice(point=OLD)


def test_a_moment_before_all_of_an_older_tool_is_refused():
    assert refusal([OLD, OLD_SECOND], at("2:59")).hint == (
        "these can be restored: 2026-03-01-03-00-00 to 2026-03-01-06-00-00"
    )


def test_a_transaction_between_chains_of_older_tools_is_refused():
    refusal([OLD, OLD_SECOND, OLD_NEXT], tid_at(at("7:00")))


def test_an_older_tool_and_ours_may_have_taken_turns_in_a_chain():
    points = [OLD, ours(at("6:00"), OLD.moment, last=at("5:00"), since=at("1:00"))]
    assert choose(points, at("1:30")) == Choice(point=OLD, until=tid_at(at("1:30")))
    assert choose(points, at("4:00")) == Choice(point=points[1], until=tid_at(at("4:00")))
    points = [FULL, theirs(at("6:00"), FULL.moment)]
    assert choose(points, at("2:30")) == Choice(point=points[1], until=tid_at(at("2:30")))


def test_ours_does_not_fall_back_to_what_an_older_tool_left():
    refusal([OLD, ours(at("3:00", 2), last=at("2:00", 2), since=at("1:00", 2)), PACKED], DAY)
    points = [OLD, ours(at("6:00"), last=at("5:00"), since=at("4:00")), PACKED]
    refusal(points, at("7:00"))


# ranges and the hint


def test_a_range_for_each_chain():
    found = [(span.chain, span.first, span.last) for span in ranges(POINTS)]
    assert found == [
        (FULL.stamp, at("1:00"), at("9:00")),
        (PACKED.stamp, at("12:00"), at("3:00", 2)),
    ]


def test_a_range_has_whole_seconds_that_can_be_asked_for():
    half = timedelta(milliseconds=500)
    point = ours(at("1:00"), last=at("2:00") + half, since=at("0:30") + half)
    [span] = ranges([point])
    assert (span.first, span.last) == (at("0:30:01"), at("2:00"))


def test_a_range_without_a_whole_second_is_the_stamp():
    tid = tid_at(at("2:00") + timedelta(milliseconds=500))
    point = RestorePoint(
        stamp=stamp(at("1:00")), chain=stamp(at("1:00")), end=4, tid=tid, since=tid
    )
    [span] = ranges([point])
    assert span.first == span.last == at("1:00")
    assert refusal([point], at("0:30")).hint == "these can be restored: 2026-03-01-01-00-00"


def test_a_last_transaction_within_the_second_is_not_all_of_it():
    tid = Tid(tid_at(at("2:00"))[:7] + b"\0")
    assert moment_of(tid) == at("2:00")
    point = RestorePoint(
        stamp=stamp(at("1:00")), chain=stamp(at("1:00")), end=4, tid=tid, since=tid_at(DAY)
    )
    assert ranges([point])[0].last == at("1:59:59")


@pytest.mark.parametrize("tid", [Tid(b"\xff" * 8), Tid(b"\xf0" + b"\xff" * 7)])
def test_a_tid_that_is_no_time_spoils_no_hint(tid):
    point = RestorePoint(
        stamp=stamp(at("1:00")), chain=stamp(at("1:00")), end=4, tid=tid, since=tid
    )
    assert refusal([point, PACKED], at("0:30")).hint.startswith(
        "these can be restored: 2026-03-01-01-00-00; "
    )


def weekly(*, packs):
    chains = []
    for week in range(300):
        made = at("3:00") + timedelta(weeks=week)
        since = made - timedelta(hours=2) if packs else DAY
        chains.append(ours(made, last=made - timedelta(hours=1), since=since))
    return chains


def test_the_hint_names_what_is_near_and_counts_the_rest():
    middle = at("12:00") + timedelta(weeks=149)
    hint = refusal(weekly(packs=True), middle).hint
    assert hint.count(" to ") == 6
    before, after = at("1:00") + timedelta(weeks=149), at("1:00") + timedelta(weeks=150)
    assert f"; {stamp(before)} to " in hint
    assert f"; {stamp(after)} to " in hint
    assert hint.endswith("; and 294 more, see the list of restore points")
    assert len(hint) < 400


def test_the_hint_joins_what_overlaps():
    points = weekly(packs=False)
    hint = refusal(points, DAY - timedelta(days=1)).hint
    assert hint == f"these can be restored: {stamp(DAY)} to {points[-1].stamp}"


def test_the_hint_joins_what_lies_within():
    points = [
        ours(at("9:00"), last=at("12:00"), since=at("1:00")),
        ours(at("9:01"), last=at("8:00"), since=at("2:00")),
    ]
    assert refusal(points, DAY).hint == (
        "these can be restored: 2026-03-01-01-00-00 to 2026-03-01-12-00-00"
    )


def test_a_hint_before_everything_begins_with_the_oldest():
    hint = refusal(weekly(packs=True), DAY).hint
    assert hint.startswith("these can be restored: 2026-03-01-01-00-00 to 2026-03-01-03-00-00; ")
    assert hint.endswith("; and 297 more, see the list of restore points")


# what was found damaged

HURT = {"damaged": True, "problems": ("damage was found on 2026-03-04: x.deltafsz",)}


def test_what_is_damaged_is_never_taken_for_the_newest():
    hurt = ours(at("6:00", 2), PACKED.moment, last=at("5:00", 2), since=at("12:00"), **HURT)
    choice = choose([*POINTS, hurt], None)
    assert choice == Choice(point=PACKED)
    assert newest_before([*POINTS, hurt], None) == Choice(point=PACKED)
    assert passed_over([*POINTS, hurt], None, choice) == [hurt]


def test_what_is_damaged_can_be_named():
    hurt = ours(at("6:00", 2), PACKED.moment, last=at("5:00", 2), since=at("12:00"), **HURT)
    points = [*POINTS, hurt]
    for way in choose, newest_before:
        assert way(points, hurt.moment) == Choice(point=hurt)
        assert passed_over(points, hurt.moment, way(points, hurt.moment)) == []
    assert choose([hurt], hurt.moment) == Choice(point=hurt)
    with pytest.raises(NoRestorePoint, match="none of 1 restore point"):
        choose([hurt], None)


def test_a_moment_comes_from_what_is_sound_and_else_from_what_is_damaged():
    hurt = ours(at("6:00"), FULL.moment, last=at("5:00"), since=at("1:00"), **HURT)
    later = ours(at("3:00", 2), last=at("2:00", 2), since=at("1:00"))
    when = at("4:00")
    assert choose([FULL, hurt], when) == Choice(point=hurt, until=tid_at(when))
    assert choose([FULL, hurt, later], when) == Choice(point=later, until=tid_at(when))
    assert ranges([FULL, hurt]) == ranges([FULL])


def test_a_moment_after_all_does_not_quietly_mean_an_older_one():
    hurt = ours(at("6:00"), FULL.moment, last=at("5:00"), since=at("1:00"), **HURT)
    choice = choose([FULL, hurt], at("12:00", 9))
    assert choice == Choice(point=FULL)
    assert passed_over([FULL, hurt], at("12:00", 9), choice) == [hurt]
    exact = choose([FULL, hurt], at("2:30"))
    assert passed_over([FULL, hurt], at("2:30"), exact) == []
    assert passed_over([FULL], None, choose([FULL], None)) == []


def test_the_range_of_a_chain_ends_with_its_newest_stamp_if_that_is_a_second_ahead():
    bumped = ours(at("9:00:01"), FULL.moment, last=at("8:00"), taken=at("9:00"), since=at("1:00"))
    assert [each.last for each in ranges([FULL, bumped])] == [bumped.moment]
    ahead = ours(at("9:05"), FULL.moment, last=at("8:00"), taken=at("9:00"), since=at("1:00"))
    assert [each.last for each in ranges([FULL, ahead])] == [at("9:00")]


def test_ranges_that_overlap_are_one_span():
    assert spans(POINTS) == [(at("1:00"), at("9:00")), (at("12:00"), at("3:00", 2))]
    again = ours(at("10:00"), last=at("8:00"), since=at("4:00"))
    assert spans([*POINTS, again])[0] == (at("1:00"), at("10:00"))
    assert spans([]) == []


def test_no_range_goes_beyond_what_a_chain_serves_because_a_hole_begins_there():
    # the clock of the restore was right, and that of the backup after it was set back
    made, hole = at("9:00"), Hole(tid_at(at("8:00:03")), tid_at(at("8:30")))
    point = ours(made, last=at("8:00"), since=at("8:00"), taken=at("7:00"), holes=(hole,))
    assert ranges([point]) == [Range(chain=stamp(made), first=at("8:00"), last=at("8:00"))]
