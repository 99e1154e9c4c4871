"""Which restore points stay, and why.  Pure: restore points, a policy and now in, a plan out.

``keep`` counts full backups, each with the incremental ones on it.  The finer rules keep
the newest restore point of an hour, a day, an ISO week, a month or a year (all in UTC),
for so many of those that have any, or all within a time.  The rules add up: what one of
them wants stays.

A restore point is worth nothing without the chain that it stands on, so chains stay or go
whole.  What decides is the moment that a restore point carries, never the time of a file.
Two rules stand above every policy:

* The newest restore point that can be restored stays, and so does the newest that lacks
  nothing, if that is another one.
* What cannot be restored, or was found damaged, takes nobody's place.  It is kept where a
  good one would be, but not counted: it may be about to be completed, or its other half may
  be on a disk that is not mounted today.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from collective.recipe.backup.model import RestorePoint


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How much to keep.

    *keep* is a number of full backups; 0 keeps everything, None leaves it to the other
    rules.  The others are numbers of periods, and a time.
    """

    keep: int | None = 2
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What happens to one restore point, and why: at least one reason."""

    point: RestorePoint
    kept: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A decision for each restore point, oldest first."""

    decisions: tuple[Decision, ...]

    @property
    def removed(self) -> tuple[str, ...]:
        """The stamps of the chains to remove, oldest first."""
        return tuple(sorted({made.point.chain for made in self.decisions if not made.kept}))


_INCOMPLETE = "the next run may complete it"

_Period = Callable[[RestorePoint], object]

_PERIODS: tuple[tuple[str, _Period], ...] = (
    ("hourly", lambda point: point.stamp[:13]),
    ("daily", lambda point: point.stamp[:10]),
    ("weekly", lambda point: tuple(point.moment.isocalendar())[:2]),
    ("monthly", lambda point: point.stamp[:7]),
    ("yearly", lambda point: point.stamp[:4]),
)


def plan(points: Iterable[RestorePoint], policy: Policy, now: datetime) -> Plan:
    """Decide about each of *points*."""
    points = sorted(points, key=lambda point: point.age)
    reasons: dict[RestorePoint, list[str]] = defaultdict(list)
    chains: dict[str, str] = {}
    for point, reason in _wanted(points, policy, now):
        reasons[point].append(reason)
        chains.setdefault(point.chain, f"its chain stays: {reason}")
    if policy.keep:
        # who is removed was not reached when that many had been counted
        unwanted = f"{policy.keep} newer full backups are kept, and no other rule wants it"
    else:
        unwanted = "no rule wants it"
    return Plan(
        decisions=tuple(
            Decision(
                point=point,
                kept=point.chain in chains,
                reasons=tuple(reasons[point]) or (chains.get(point.chain, unwanted),),
            )
            for point in points
        )
    )


def _wanted(
    points: Sequence[RestorePoint], policy: Policy, now: datetime
) -> Iterator[tuple[RestorePoint, str]]:
    """Yield each point that a rule wants, with the reason, once for each such rule."""
    good = [point for point in points if point.sound]
    for point in good[-1:]:
        yield point, "the newest that can be restored"
    for point in [point for point in good if point.whole][-1:]:
        yield point, "the newest that lacks nothing"
    for point in points:
        if not good or point.age > good[-1].age:
            yield point, "nothing newer is whole" if point.damaged else _INCOMPLETE
        if policy.keep == 0:
            yield point, "keep = 0 keeps all"
        if policy.within is not None and now - point.moment <= policy.within:
            yield point, "younger than keep_within"
    yield from _newest_of_each(points, "full backup", policy.keep or 0, lambda point: point.chain)
    for name, period in _PERIODS:
        yield from _newest_of_each(points, name, getattr(policy, name), period)


def _newest_of_each(
    points: Sequence[RestorePoint], name: str, count: int, period: _Period
) -> Iterator[tuple[RestorePoint, str]]:
    """Yield the newest good point of each of the *count* newest periods that have one.

    On the way there it yields the newest of each period, even if that cannot be restored.
    """
    counted: set[object] = set()
    passed: set[object] = set()
    for point in reversed(points):
        if len(counted) == count:
            return
        found = period(point)
        if found in counted:
            continue
        if point.sound:
            counted.add(found)
            yield point, f"{name} {len(counted)} of {count}"
        elif found not in passed:
            passed.add(found)
            why = "it is damaged" if point.damaged else "it cannot be restored"
            yield point, f"{name}, but not counted: {why}"
