"""Retention against laws, and against a slow oracle that decides about one chain at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.retention import Policy, plan
from collective.recipe.backup.tests.lengths import examples
from collective.recipe.backup.times import stamp

START = datetime(2025, 12, 20, tzinfo=timezone.utc)
EVERY_DAY = [START + timedelta(days=number) for number in range(-10, 2000)]
"""Readings of the clock that leave no doubt about it, but where it goes back."""

law = settings(max_examples=examples(400))

steps = st.one_of(st.integers(1, 90), st.integers(1, 60 * 48), st.integers(1, 60 * 24 * 200))
"""Minutes from one restore point to the next: some in an hour, some in a year."""

kinds = st.sampled_from(["whole", "whole", "lacking", "bad", "damaged"])


@st.composite
def histories(draw, min_size=0):
    """Restore points as years of backups leave them, some lacking something, some of no use."""
    points, moment, chain = [], START, ""
    runs = st.lists(st.tuples(steps, st.booleans(), kinds), min_size=min_size, max_size=14)
    for minutes, full, kind in draw(runs):
        moment += timedelta(minutes=minutes)
        chain = stamp(moment) if full or not chain else chain
        points.append(made(stamp(moment), chain, kind))
    return points


def made(name, chain, kind):
    return RestorePoint(
        stamp=name,
        chain=chain,
        end=4,
        problems=() if kind == "whole" else (kind,),
        restorable=kind != "bad",
        damaged=kind == "damaged",
    )


few = st.integers(0, 4)
policies = st.builds(
    Policy,
    keep=st.one_of(st.none(), few),
    hourly=few,
    daily=few,
    weekly=few,
    monthly=few,
    yearly=few,
    within=st.one_of(st.none(), st.integers(0, 60 * 24 * 400).map(lambda m: timedelta(minutes=m))),
)
nows = st.integers(-1000, 60 * 24 * 1500).map(lambda minutes: START + timedelta(minutes=minutes))


def planned(points, policy, now):
    return plan(points, policy, now, witnesses=EVERY_DAY)


def stamps(plan):
    return [point.stamp for point in plan.removed]


def kept(points, policy, now):
    return [made.point for made in planned(points, policy, now).decisions if made.kept]


@law
@given(histories(), policies, nows)
def test_kept_and_removed_are_all_there_is(points, policy, now):
    found = planned(points, policy, now)
    assert [decision.point for decision in found.decisions] == points
    going = {point.chain for point in found.removed}
    assert all(decision.kept == (decision.point.chain not in going) for decision in found.decisions)
    assert found.removed == tuple(made.point for made in found.decisions if not made.kept)


@law
@given(histories(), policies, nows)
def test_every_decision_has_a_reason_and_none_twice(points, policy, now):
    for decision in planned(points, policy, now).decisions:
        assert all(decision.reasons)
        assert len(set(decision.reasons)) == len(decision.reasons) > 0


@law
@given(histories(), policies, nows)
def test_the_newest_good_restore_points_always_stay(points, policy, now):
    good = [point for point in points if point.sound]
    whole = [point for point in points if point.whole]
    stay = kept(points, policy, now)
    assert {*good[-1:], *whole[-1:]} <= set(stay)


@law
@given(histories(), policies, nows)
def test_planning_again_removes_nothing(points, policy, now):
    stay = kept(points, policy, now)
    assert kept(stay, policy, now) == stay


@law
@given(histories(min_size=1), st.data(), policies, nows)
def test_an_older_restore_point_never_removes_a_newer_one(points, data, policy, now):
    older = data.draw(st.sampled_from(points))
    before = set(kept([point for point in points if point is not older], policy, now))
    after = set(kept(points, policy, now))
    newer = {point for point in points if point.age > older.age}
    assert before & newer <= after


@law
@given(histories(), policies, nows, st.lists(st.tuples(steps, st.booleans()), max_size=30))
def test_failing_runs_never_cost_a_good_backup(points, policy, now, runs):
    """However many of them, of new chains or of the last one."""
    after = list(points)
    for minutes, full in runs:
        name = stamp((after[-1].moment if after else START) + timedelta(minutes=minutes))
        after.append(made(name, name if full or not after else after[-1].chain, "bad"))
    before = {point for point in kept(points, policy, now) if point.sound}
    assert before <= set(kept(after, policy, now))


@law
@given(histories(), policies, nows)
def test_keep_zero_keeps_all_restore_points(points, policy, now):
    assert kept(points, Policy(keep=0, daily=policy.daily), now) == points


@law
@given(histories(), policies, nows, st.randoms(use_true_random=False))
def test_the_order_of_the_question_does_not_matter(points, policy, now, random):
    shuffled = random.sample(points, len(points))
    assert planned(shuffled, policy, now) == planned(points, policy, now)


@pytest.mark.slow
@law
@given(histories(), policies, nows)
def test_the_plan_is_that_of_the_oracle(points, policy, now):
    removed = {chain for chain in chains(points) if not stays(chain, points, policy, now)}
    if points and points[-1].moment.date() > now.date():
        removed = set()  # the clock has gone back
    assert {point.chain for point in planned(points, policy, now).removed} == removed


def chains(points):
    return {point.chain for point in points}


def stays(chain, points, policy, now):
    """Ask each rule about each point of the chain anew, by counting what is newer."""
    return any(is_wanted(point, points, policy, now) for point in points if point.chain == chain)


def is_wanted(point, points, policy, now):
    newer = [other for other in points if other.moment > point.moment]
    good = [other for other in newer if other.sound]
    if policy.keep == 0 or not good:
        return True
    if point.whole and not any(other.whole for other in newer):
        return True
    if policy.within is not None and point.moment + policy.within >= now:
        return True
    if len(chains(good) - {point.chain}) < (policy.keep or 0):
        return True
    rules = [
        (policy.hourly, hour_of),
        (policy.daily, day_of),
        (policy.weekly, monday_of),
        (policy.monthly, lambda moment: (moment.year, moment.month)),
        (policy.yearly, lambda moment: moment.year),
    ]
    rivals = good if point.sound else newer
    return any(
        period(point.moment) not in {period(other.moment) for other in rivals}
        and len({period(other.moment) for other in good}) < count
        for count, period in rules
    )


def hour_of(moment):
    return (moment - START) // timedelta(hours=1)


def day_of(moment):
    return (moment - START) // timedelta(days=1)


def monday_of(moment):
    return day_of(moment) - moment.weekday()


@pytest.mark.slow
@law
@given(histories())
def test_the_samples_are_what_a_destination_gives(points):
    assert all(one.age < other.age and one.moment < other.moment for one, other in pairwise(points))


# clocks that lie

years = st.integers(60, 40_000).map(lambda days: timedelta(days=days))


@law
@given(st.integers(3, 40), st.integers(1, 6), years, policies, st.data())
def test_a_clock_that_was_ahead_for_some_nights_costs_nothing(before, wrong, ahead, policy, data):
    """As soon as it has been right for more nights than it was wrong."""
    after = wrong + data.draw(st.integers(0, 9))
    right = [made_at(START + timedelta(days=night)) for night in range(before + wrong + after)]
    lying = [
        replace(point, taken=point.moment + ahead) if before <= night < before + wrong else point
        for night, point in enumerate(right)
    ]
    now = START + timedelta(days=len(right))
    assert stamps(plan(lying, policy, now)) == stamps(plan(right, policy, now))


@law
@given(st.integers(7, 40), st.integers(1, 6), policies, st.booleans())
def test_nothing_goes_on_the_word_of_a_clock_that_has_leapt_or_gone_back(
    before, wrong, policy, is_ahead
):
    leap = timedelta(days=5000 if is_ahead else -5000)
    points = [made_at(START + timedelta(days=night)) for night in range(before)]
    for night in range(before, before + wrong):
        now = START + timedelta(days=night) + leap
        found = plan(points, policy, now)
        assert found.doubt
        assert found.removed == () or not policy.by_time
        points.append(replace(made_at(START + timedelta(days=night)), taken=now))


def made_at(moment):
    return replace(made(stamp(moment), stamp(moment), "whole"), taken=moment)
