from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from persistent.timestamp import TimeStamp

from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.times import (
    LAST_TID,
    ZERO_TID,
    Tid,
    from_stamp,
    is_stamp,
    moment_of,
    monotonic,
    parse,
    pause,
    show_tid,
    stamp,
    tid_at,
    utcnow,
)

UTC = timezone.utc


def between(first, last):
    return st.integers(0, (last - first) // timedelta(microseconds=1)).map(
        lambda microseconds: first + timedelta(microseconds=microseconds)
    )


moments = between(datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
zodb_moments = between(datetime(1900, 1, 1, tzinfo=UTC), datetime(9900, 1, 1, tzinfo=UTC))
tids = st.binary(min_size=8, max_size=8).map(Tid)


def second_of(moment):
    return moment.replace(microsecond=0)


def next_tid(tid):
    return Tid((int.from_bytes(tid, "big") + 1).to_bytes(8, "big"))


@given(moments)
def test_a_stamp_reads_as_the_second_that_was_written(moment):
    assert from_stamp(stamp(moment)) == second_of(moment)
    assert parse(stamp(moment)) == second_of(moment)
    assert is_stamp(stamp(moment))


@given(moments, moments)
def test_stamps_sort_like_their_moments(one, other):
    assert (stamp(one) < stamp(other)) == (second_of(one) < second_of(other))


@given(moments, st.integers(-23, 23))
def test_a_stamp_is_utc_wherever_its_moment_comes_from(moment, hours):
    zone = timezone(timedelta(hours=hours))
    assert stamp(moment.astimezone(zone)) == stamp(moment)


@given(moments, st.integers(-23, 23))
def test_iso_8601_with_a_zone_reads_as_its_moment(moment, hours):
    zone = timezone(timedelta(hours=hours))
    assert parse(moment.astimezone(zone).isoformat()) == moment


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-3-1", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01-12", datetime(2026, 3, 1, 12, tzinfo=UTC)),
        ("2026-03-01-12-30", datetime(2026, 3, 1, 12, 30, tzinfo=UTC)),
        (" 2026-03-01-12-30-05\n", datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2026-03-01T12:30:05Z", datetime(2026, 3, 1, 12, 30, 5, tzinfo=UTC)),
        ("2026-03-01 12:30:05+01:00", datetime(2026, 3, 1, 11, 30, 5, tzinfo=UTC)),
        ("2026-03-01T12:30:05.250000z", datetime(2026, 3, 1, 12, 30, 5, 250000, tzinfo=UTC)),
    ],
)
def test_the_forms_of_a_moment(text, moment):
    assert parse(text) == moment


@pytest.mark.parametrize("text", ["040df1c000000047", "0x040DF1C000000047"])
def test_a_tid_reads_as_a_tid(text):
    assert parse(text) == bytes.fromhex("040df1c000000047")


@given(tids)
def test_a_shown_tid_reads_as_itself(tid):
    assert parse(show_tid(tid)) == tid


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "2026-12",
        "2026-13-01",
        "2026-02-29",
        "2026-03-01-25",
        "2026-03-01-12-30-05-07",
        "yesterday",
        "0x040df1c0",
        "2026-03-01T12:30:05",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
        "٢٠٢٦-٠٣-٠١",
    ],
)
def test_what_is_no_moment_is_refused_with_a_hint(text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert repr(text) in str(caught.value)
    assert "YYYY-MM-DD" in caught.value.hint


@given(st.text())
def test_any_text_is_a_moment_or_a_usage_error(text):
    with suppress(UsageError):
        assert parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01",
        "2026-03-01-12-30-5",
        "2026-02-30-00-00-00",
        "2026-03-01-24-00-00",
        "2026-03-01-12-30-05\n",
        "x2026-03-01-12-30-05",
        "٢٠٢٦-٠٣-٠١-١٢-٣٠-٠٥",
    ],
)
def test_a_text_that_is_no_stamp_is_refused(text):
    assert not is_stamp(text)
    with pytest.raises(ValueError):  # noqa: PT011  the name says it
        from_stamp(text)


@given(zodb_moments)
def test_the_tid_at_a_moment_is_the_last_one_that_is_not_later(moment):
    tid = tid_at(moment)
    assert moment_of(tid) == moment
    after = moment_of(next_tid(tid)) if moment.microsecond < 999_999 else None
    assert after is None or after == moment + timedelta(microseconds=1)


@given(zodb_moments, zodb_moments)
def test_tids_sort_like_their_moments(one, other):
    assert (tid_at(one) < tid_at(other)) == (one < other)


@given(zodb_moments)
def test_a_tid_is_what_zodb_makes_of_that_time(moment):
    seconds = moment.second + moment.microsecond / 1e6
    zodb = TimeStamp(*moment.timetuple()[:5], seconds).raw()
    # ZODB rounds down to a unit, and there are 71 units in the microsecond that we cover
    difference = int.from_bytes(tid_at(moment), "big") - int.from_bytes(zodb, "big")
    assert 0 <= difference <= 72


@given(zodb_moments)
def test_zodb_reads_a_tid_as_the_same_time(moment):
    theirs = TimeStamp(tid_at(moment))
    assert (theirs.year(), theirs.month(), theirs.day()) == moment.timetuple()[:3]
    assert (theirs.hour(), theirs.minute()) == moment.timetuple()[3:5]
    assert theirs.second() == pytest.approx(moment.second + moment.microsecond / 1e6, abs=2e-6)


def test_moments_that_no_tid_can_hold_are_before_or_after_all():
    assert tid_at(datetime(1899, 12, 31, 23, 59, 59, tzinfo=UTC)) == ZERO_TID
    assert tid_at(datetime(1900, 1, 1, tzinfo=UTC)) > ZERO_TID
    assert tid_at(datetime(9999, 1, 1, tzinfo=UTC)) == LAST_TID


@given(tids)
def test_any_tid_is_a_moment_or_a_value_error(tid):
    with suppress(ValueError):
        assert tid <= tid_at(moment_of(tid))


def test_a_tid_that_is_no_time_is_a_value_error():
    thirty_first_of_february = ((126 * 12 + 1) * 31 + 30) * 24 * 60
    with pytest.raises(ValueError, match="day"):
        moment_of(Tid(thirty_first_of_february.to_bytes(4, "big") + bytes(4)))


def test_the_clock_is_aware_and_durations_grow():
    assert utcnow().utcoffset() == timedelta(0)
    start = monotonic()
    pause(0.01)
    assert monotonic() - start >= 0.01
