"""When restore points were made, where clocks were ahead, behind, or right all the time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from collective.recipe.backup.chronology import Chronology, Clock, chronology, judge
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.times import Tid, stamp, tid_at

NIGHT = datetime(2026, 3, 1, 3, tzinfo=timezone.utc)
DAY = timedelta(days=1)
TEN_YEARS = 3653 * DAY


def nights(*numbers: float) -> list[datetime]:
    return [NIGHT + number * DAY for number in numbers]


def point(number: int, taken: datetime, *, tid: Tid | None = None) -> RestorePoint:
    """Return the restore point of a night, when the clock said *taken*."""
    name = stamp(NIGHT + number * DAY)
    return RestorePoint(stamp=name, chain=name, end=4, taken=taken, tid=tid)


def found(readings: list[datetime], now: datetime, **more) -> Chronology:
    return chronology([point(number, at) for number, at in enumerate(readings)], now, **more)


def made(readings: list[datetime], now: datetime, **more) -> list[datetime]:
    return list(found(readings, now, **more).made.values())


def test_a_clock_that_was_always_right_is_believed() -> None:
    readings = nights(0, 1, 2, 3)
    assert made(readings, NIGHT + 4 * DAY) == readings
    assert found(readings, NIGHT + 4 * DAY).clock == Clock(
        now=NIGHT + 4 * DAY, believed=(True,) * 4
    )


def test_without_restore_points_the_clock_is_believed() -> None:
    assert chronology([], NIGHT).clock == Clock(now=NIGHT)


def test_where_nothing_else_tells_the_stamp_is_the_reading() -> None:
    old = RestorePoint(stamp=stamp(NIGHT), chain=stamp(NIGHT), end=4)
    assert chronology([old], NIGHT + DAY).made == {stamp(NIGHT): NIGHT}


@pytest.mark.parametrize("wrong", [TEN_YEARS, 2 * DAY, -TEN_YEARS])
def test_one_night_with_a_wrong_clock_counts_as_between_its_neighbours(wrong: timedelta) -> None:
    readings = [*nights(0, 1, 2), NIGHT + 3 * DAY + wrong, *nights(4, 5)]
    assert made(readings, NIGHT + 6 * DAY) == nights(0, 1, 2, 3, 4, 5)
    assert found(readings, NIGHT + 6 * DAY).clock.doubt == ""


def test_several_such_nights_are_spread_evenly() -> None:
    ahead = [NIGHT + number * DAY + TEN_YEARS for number in (1, 2, 3)]
    readings = [NIGHT, *ahead, *nights(4, 5, 6, 7)]
    assert made(readings, NIGHT + 8 * DAY) == nights(0, 1, 2, 3, 4, 5, 6, 7)


def test_a_wrong_reading_counts_as_no_earlier_than_its_last_transaction() -> None:
    committed = NIGHT + 1.9 * DAY
    points = [
        point(0, NIGHT),
        point(1, NIGHT + TEN_YEARS, tid=tid_at(committed)),
        *(point(number, NIGHT + number * DAY) for number in (2, 3)),
    ]
    times = chronology(points, NIGHT + 4 * DAY)
    assert abs(times.made[points[1].stamp] - committed) < timedelta(milliseconds=1)


def test_the_newest_with_a_wrong_reading_is_not_later_than_now() -> None:
    readings = [*nights(0, 1, 2, 3), NIGHT + TEN_YEARS]
    now = NIGHT + 5 * DAY
    assert made(readings, now, certain=True)[-1] <= now


def test_the_first_with_a_wrong_reading_is_not_later_than_the_second() -> None:
    readings = [NIGHT + TEN_YEARS, *nights(1, 2)]
    assert made(readings, NIGHT + 3 * DAY) == nights(1, 1, 2)


def test_a_clock_that_goes_back_is_believed_as_soon_as_more_days_say_so() -> None:
    readings = [*nights(0, 1), NIGHT + TEN_YEARS]
    clock = found(readings, NIGHT + 3 * DAY).clock
    assert clock.doubt == "the clock has gone back: earlier it said 2036-03-01-03-00-00"
    assert (clock.gone_back, clock.sudden) == (True, True)
    later = found([*readings, NIGHT + 3 * DAY], NIGHT + 4 * DAY).clock
    assert later == Clock(now=NIGHT + 4 * DAY, believed=(True, True, False, True))


def test_the_second_run_of_a_day_is_no_second_witness() -> None:
    readings = [*nights(0, 1), NIGHT + TEN_YEARS, *nights(3, 3.1, 3.2)]
    clock = found(readings, NIGHT + 3.3 * DAY).clock
    assert clock.gone_back
    assert not clock.sudden


def test_a_restore_point_a_second_is_one_witness_a_day() -> None:
    ahead = [NIGHT + TEN_YEARS + timedelta(seconds=number) for number in range(1000)]
    readings = [NIGHT, *ahead, NIGHT + 2 * DAY]
    assert found(readings, NIGHT + 3 * DAY).clock.doubt == ""


def test_a_clock_far_behind_is_not_believed_against_all_others() -> None:
    clock = found(nights(0, 1, 2, 3), NIGHT - TEN_YEARS).clock
    assert clock.gone_back
    assert made(nights(0, 1, 2, 3), NIGHT - TEN_YEARS) == nights(0, 1, 2, 3)


def test_a_clock_that_leaps_is_believed_after_it_has_gone_on_for_a_week() -> None:
    readings = nights(0, 1, 2)
    doubts = []
    for number in range(9):
        now = NIGHT + TEN_YEARS + number * DAY
        clock = found(readings, now).clock
        doubts.append((clock.doubt, clock.sudden, clock.leapt_from))
        readings.append(now)
    said = "the clock has leapt by 3651 days, from 2026-03-03-03-00-00 to 2036-03-01"
    leapt_from = NIGHT + 2 * DAY
    assert doubts[0] == (said, True, leapt_from)
    assert doubts[1:7] == [(said, False, leapt_from)] * 6
    assert doubts[7:] == [("", False, None)] * 2


@pytest.mark.parametrize(("pause", "doubted"), [(13, False), (14, False), (15, True)])
def test_a_pause_of_two_weeks_is_no_leap(pause: int, doubted: bool) -> None:
    assert bool(found(nights(0, 1, 2), NIGHT + (2 + pause) * DAY).clock.doubt) is doubted


def test_where_long_pauses_are_usual_they_are_no_leap() -> None:
    readings = nights(0, 31, 62)
    assert found(readings, NIGHT + 93 * DAY).clock.doubt == ""
    assert found(readings, NIGHT + TEN_YEARS).clock.doubt


def test_a_witness_in_between_explains_a_leap() -> None:
    now = NIGHT + 40 * DAY
    assert found(nights(0, 1), now).clock.doubt
    assert found(nights(0, 1), now, witnesses=nights(13, 26, 39)).clock.doubt == ""


def test_a_witness_of_a_wrong_clock_explains_nothing() -> None:
    witnesses = [NIGHT + 2 * TEN_YEARS, NIGHT - TEN_YEARS]
    assert found(nights(0, 1), NIGHT + TEN_YEARS, witnesses=witnesses).clock.doubt


def test_witnesses_are_asked_only_if_the_clock_has_leapt() -> None:
    def nobody():
        raise AssertionError("asked")
        yield

    assert found(nights(0, 1), NIGHT + 2 * DAY, witnesses=nobody()).clock.doubt == ""


def test_a_human_being_who_is_certain_overrides_all_doubt() -> None:
    for now in (NIGHT + TEN_YEARS, NIGHT + 3 * DAY):
        readings = [*nights(0, 1), NIGHT + 2 * TEN_YEARS]
        times = found(readings, now, certain=True)
        assert times.clock.doubt == ""
        assert max(times.made.values()) <= now


# names


def test_a_name_is_the_present_moment() -> None:
    assert judge(nights(0, 1), NIGHT + 2 * DAY).name_for(None) == NIGHT + 2 * DAY


@pytest.mark.parametrize(
    ("leap", "behind", "believed"),
    [
        (60 * DAY, DAY, True),
        (60 * DAY, 50 * DAY, False),
        (60 * DAY, None, False),
        (TEN_YEARS, DAY, False),
    ],
)
def test_after_a_leap_a_name_follows_the_last_reading_unless_the_database_agrees(
    leap: timedelta, behind: timedelta | None, believed: bool
) -> None:
    now = NIGHT + leap
    newest = None if behind is None else tid_at(now - behind)
    named = judge(nights(-2, -1, 0), now).name_for(newest)
    assert named == (now if believed else NIGHT)


def test_a_transaction_id_that_is_no_time_is_no_witness() -> None:
    now = NIGHT + 60 * DAY
    assert judge(nights(0), now).name_for(Tid(b"\xff" * 8)) == NIGHT
