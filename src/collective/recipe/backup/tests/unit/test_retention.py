from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.retention import Policy, plan
from collective.recipe.backup.times import stamp

NOW = datetime(2027, 3, 31, 12, tzinfo=timezone.utc)
EVERY_DAY = [NOW - timedelta(days=number) for number in range(1000)]
"""Readings of the clock that leave no doubt about it."""
NO_RULE = Policy(keep=None)
LOST = ("1 blob was missing at the source",)


def point(text, chain=None, *, problems=(), restorable=True):
    return RestorePoint(
        stamp=long(text),
        chain=long(chain or text),
        end=4,
        problems=problems,
        restorable=restorable,
    )


def long(text):
    return text + "2026-01-01-00-00-00"[len(text) :]


def bad(text, chain=None):
    return point(text, chain, problems=("its blobs are missing",), restorable=False)


def planned(points, policy, now=NOW):
    return plan(points, policy, now, witnesses=EVERY_DAY)


def removed(points, policy, now=NOW):
    chains = {point.chain for point in planned(points, policy, now).removed}
    return [chain.removesuffix("-00-00-00") for chain in sorted(chains)]


def reasons(points, policy, now=NOW):
    return [made.reasons for made in planned(points, policy, now).decisions]


def days(*numbers):
    return [point(f"2026-03-{number:02}") for number in numbers]


def test_there_may_be_nothing():
    assert planned([], Policy()).decisions == ()
    assert planned([], Policy()).removed == ()


def test_the_last_n_full_backups_stay():
    assert removed(days(1, 2, 3, 4), Policy(keep=2)) == ["2026-03-01", "2026-03-02"]


def test_incremental_backups_go_with_their_full_one():
    points = [
        point("2026-03-01"),
        point("2026-03-02", "2026-03-01"),
        point("2026-03-03"),
        point("2026-03-04", "2026-03-03"),
    ]
    made = planned(points, Policy(keep=1))
    assert [decision.kept for decision in made.decisions] == [False, False, True, True]
    assert made.removed == tuple(points[:2])


def test_decisions_come_oldest_first_whatever_the_order():
    points = days(2, 3, 1)
    made = planned(points, Policy())
    assert [decision.point for decision in made.decisions] == days(1, 2, 3)


def test_zero_keeps_all_even_what_cannot_be_restored():
    assert removed([bad("2026-03-01"), *days(2, 3)], Policy(keep=0)) == []


def test_the_newest_stays_without_any_rule():
    assert removed(days(1, 2, 3), NO_RULE) == ["2026-03-01", "2026-03-02"]


def test_the_newest_that_lacks_nothing_stays_beside_the_newest():
    lacking = [point(f"2026-03-0{day}", problems=LOST) for day in (3, 4, 5)]
    assert removed([*days(1, 2), *lacking], Policy(keep=1)) == [
        "2026-03-01",
        "2026-03-03",
        "2026-03-04",
    ]


def test_the_newest_stays_where_every_one_lacks_something():
    lacking = [point(f"2026-03-0{day}", problems=LOST) for day in (1, 2)]
    assert removed(lacking, NO_RULE) == ["2026-03-01"]


def test_what_cannot_be_restored_takes_nobodys_place():
    points = [*days(1, 2), *(bad(f"2026-03-{day:02}") for day in range(3, 30))]
    assert removed(points, Policy(keep=2)) == []
    assert removed(points, Policy(keep=1)) == ["2026-03-01"]


def test_what_cannot_be_restored_goes_once_enough_newer_ones_can():
    points = [bad("2026-03-01"), *days(2), bad("2026-03-03"), *days(4)]
    assert removed(points, Policy(keep=3)) == []
    assert removed(points, Policy(keep=2)) == ["2026-03-01"]
    assert removed(points, Policy(keep=1)) == ["2026-03-01", "2026-03-02", "2026-03-03"]


def test_a_disk_of_blobs_that_is_not_mounted_costs_no_backup():
    """The run without it made a good restore point; the others look as if they had no blobs."""
    points = [*(bad(f"2026-03-{day:02}") for day in range(1, 8)), *days(8)]
    assert removed(points, Policy(keep=2)) == []
    assert removed(points, Policy(keep=None, daily=2)) == []


def test_nothing_goes_while_nothing_can_be_restored():
    assert removed([bad("2026-03-01"), bad("2026-03-02")], NO_RULE) == []


def test_one_good_restore_point_keeps_its_chain():
    points = [
        bad("2026-03-01"),
        point("2026-03-02", "2026-03-01"),
        bad("2026-03-03", "2026-03-01"),
        *days(4),
    ]
    assert removed(points, Policy(keep=2)) == []
    assert removed(points, Policy(keep=1)) == ["2026-03-01"]


def test_the_newest_of_each_hour():
    points = [point(f"2026-03-01-{time}-00") for time in ("01-10", "01-50", "02-10", "02-50")]
    assert planned(points, Policy(keep=None, hourly=2)).removed == (points[0], points[2])


def test_only_days_that_have_one_count():
    points = days(1, 2, 10, 20)
    assert removed(points, Policy(keep=None, daily=3)) == ["2026-03-01"]


def test_a_week_begins_on_monday_and_belongs_to_the_year_of_its_thursday():
    # 2026-12-31 is a Thursday, 2027-01-04 the Monday after
    points = [point("2026-12-28"), point("2027-01-03"), point("2027-01-04")]
    assert removed(points, Policy(keep=None, weekly=3)) == ["2026-12-28"]


def test_the_newest_of_each_month_and_year():
    points = [point(text) for text in ("2024-12-30", "2025-05-01", "2025-05-02", "2026-05-01")]
    assert removed(points, Policy(keep=None, monthly=3)) == ["2025-05-01"]
    assert removed(points, Policy(keep=None, yearly=2)) == ["2024-12-30", "2025-05-01"]
    assert removed(points, Policy(keep=None, yearly=3)) == ["2025-05-01"]


@pytest.mark.parametrize(
    ("rule", "one", "other"),
    [
        ("hourly", "2026-03-01-03", "2026-03-02-03"),
        ("daily", "2026-03-01", "2026-04-01"),
        ("weekly", "2025-03-03", "2026-03-02"),
        ("monthly", "2025-03-01", "2026-03-01"),
    ],
)
def test_periods_that_look_alike_are_two(rule, one, other):
    points = [point(one), point(other)]
    assert removed(points, Policy(keep=None, **{rule: 2})) == []
    assert planned(points, Policy(keep=None, **{rule: 1})).removed == (points[0],)


def test_of_those_of_a_day_that_cannot_be_restored_the_newest_stays():
    points = [bad("2026-03-01-01"), bad("2026-03-01-02"), *days(2)]
    assert planned(points, Policy(keep=None, daily=2)).removed == (points[0],)


def test_all_within_a_time_stay_its_last_instant_included():
    policy = Policy(keep=None, within=timedelta(days=2))
    points = days(1, 2, 3, 4)
    midnight = datetime(2026, 3, 4, tzinfo=timezone.utc)
    assert removed(points, policy, midnight) == ["2026-03-01"]
    later = midnight + timedelta(microseconds=1)
    assert removed(points, policy, later) == ["2026-03-01", "2026-03-02"]


def test_stamps_later_than_the_clock_count_as_young():
    policy = Policy(keep=None, within=timedelta(hours=1))
    assert removed(days(1, 2, 3), policy, datetime(2026, 1, 1, tzinfo=timezone.utc)) == []


def test_the_rules_add_up():
    points = days(1, 2, 3, 4, 5, 6, 7, 8)
    policy = Policy(keep=1, daily=2, weekly=2, within=timedelta(days=3))
    now = datetime(2026, 3, 8, 1, tzinfo=timezone.utc)
    # 2026-03-01 is a Sunday
    assert removed(points, policy, now) == [stamp(at.moment)[:10] for at in points[1:5]]


def test_each_rule_gives_its_reason():
    points = [bad("2026-02-01"), *days(1, 2), bad("2026-03-03")]
    policy = Policy(keep=2, daily=1, within=timedelta(days=1))
    assert reasons(points, policy, datetime(2026, 3, 3, 1, tzinfo=timezone.utc)) == [
        ("2 newer full backups are kept, and no other rule wants it",),
        ("full backup 2 of 2",),
        (
            "the newest that can be restored",
            "the newest that lacks nothing",
            "full backup 1 of 2",
            "daily 1 of 1",
        ),
        (
            "the next run may complete it",
            "younger than keep_within",
            "full backup, but not counted: it cannot be restored",
            "daily, but not counted: it cannot be restored",
        ),
    ]


def test_a_point_that_stays_for_another_has_that_reason():
    points = [point("2026-03-01"), point("2026-03-02", "2026-03-01")]
    assert reasons(points, Policy(keep=1))[0] == (
        "its chain stays: the newest that can be restored",
    )


def test_a_point_that_goes_without_a_count_has_that_reason():
    assert reasons(days(1, 2), NO_RULE)[0] == ("no rule wants it",)


def test_zero_is_a_reason():
    assert reasons(days(1, 2), Policy(keep=0))[0] == ("keep = 0 keeps all",)


def hurt(text, chain=None):
    return replace(point(text, chain, problems=("damage was found",)), damaged=True)


def test_what_is_damaged_takes_nobodys_place():
    points = [*days(1, 2), hurt("2026-03-03")]
    assert removed(points, Policy(keep=2)) == []
    assert removed(points, Policy(keep=1)) == ["2026-03-01"]
    assert reasons(points, Policy(keep=1))[-1] == (
        "nothing newer is whole",
        "full backup, but not counted: it is damaged",
    )
    assert removed([*points, *days(4)], Policy(keep=1)) == [f"2026-03-0{day}" for day in (1, 2, 3)]


def test_restore_points_of_different_lines_take_nobodys_place():
    ours = [replace(each, line="ours") for each in days(1, 2, 3)]
    strange = [replace(each, line="strange") for each in days(4, 5, 6)]
    # each has a newest one, and says of what
    assert [found for found in reasons([*ours, *strange], NO_RULE) if "the newest" in found[0]] == [
        (
            "the newest of its history that can be restored",
            "the newest of its history that lacks nothing",
        )
    ] * 2
    assert removed([*ours, *strange], Policy(keep=2)) == ["2026-03-01", "2026-03-04"]
