"""Retention: decide which restore points stay, and why.  Pure.

``keep`` counts full backups, each with the incremental ones on it.  The finer rules keep the newest
restore point of an hour, a day, an ISO week, a month or a year (all in UTC), for the last N of
those that have any, or all within a time.  The rules add up: a restore point stays if one of them
wants it.

A restore point is worth nothing without its chain, so chains stay or go whole.  Its age is the one
that chronology finds: not that of its name, and never the time of a file.  Five rules stand above
every policy:

* Restore points of different lines take nobody's place in another one: all of this goes for
  each line by itself.  In a directory there is one line.
* The newest restore point that can be restored stays, and so does the newest that lacks
  nothing, if that is another one.
* What cannot be restored, or was found damaged, takes nobody's place.  It is kept where a
  good one would be, but not counted: it may be about to be completed, or its other half may
  be on a disk that is not mounted today.
* A chain that the last restore came from, or that it cut off, stays until there is another full
  backup besides the one that the restore made necessary: it may have been a mistake.  In a
  repository it stays longer (see ``destinations.repository.pointlist``).
* Nothing goes on the word of a clock that is in doubt.  On the first day of a doubt nothing
  goes at all; later what depends on no clock goes as ever: ``keep`` only counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain

from collective.recipe.backup.chronology import chronology
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import RestorePoint


@dataclass(frozen=True, kw_only=True)
class Policy:
    """The rules of retention."""

    keep: int | None = 2  # full backups; 0: all; None: only the other rules count
    hourly: int = 0  # hours of which the newest restore point stays
    daily: int = 0  # days
    weekly: int = 0  # ISO weeks
    monthly: int = 0  # months
    yearly: int = 0  # years
    within: timedelta | None = None  # time within which all stay; None: no such rule

    @property
    def by_time(self) -> bool:
        """Tell whether what stays depends on when restore points were made."""
        counts = (self.hourly, self.daily, self.weekly, self.monthly, self.yearly)
        return self.within is not None or any(counts)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The decision about one restore point."""

    point: RestorePoint  # the restore point
    kept: bool  # whether it stays
    reasons: tuple[str, ...]  # at least one, in words


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A decision for each restore point, oldest first."""

    decisions: tuple[Decision, ...]  # in the order of age
    doubt: str = ""  # doubt about the clock, a sentence; "": there is none
    sudden: bool = False  # whether it says so for the first day
    withheld: tuple[RestorePoint, ...] = ()  # those that would go if it were not for the doubt

    @property
    def removed(self) -> tuple[RestorePoint, ...]:
        """The restore points to remove, oldest first."""
        return _removed(self.decisions)


_INCOMPLETE = "the next run may complete it"

_Period = Callable[[datetime], object]

_PERIODS: tuple[tuple[str, _Period], ...] = (
    ("hourly", lambda made: (made.date(), made.hour)),
    ("daily", lambda made: made.date()),
    ("weekly", lambda made: made.isocalendar()[:2]),
    ("monthly", lambda made: (made.year, made.month)),
    ("yearly", lambda made: made.year),
)


def plan(
    points: Iterable[RestorePoint],
    policy: Policy,
    now: datetime,
    *,
    spared: Mapping[str, str] | None = None,
    witnesses: Iterable[datetime] | None = (),
) -> Plan:
    """Decide about each of *points*.

    *spared* are chains that stay for a reason which the points do not tell, each with that
    reason.  *witnesses* are other readings of the clock (see chronology.judge); None: a human
    being says that *now* is right.
    """
    points = sorted(points, key=lambda point: point.age)
    times = chronology(points, now, witnesses or (), certain=witnesses is None)
    lines = _lines(points)
    of = " of its history" if len(lines) > 1 else ""
    wanted = [_wanted(line, policy, times.made, now, of) for line in lines]
    decisions = _decisions(points, policy, chain(*wanted, _spared(points, spared or {})))
    doubt = times.clock.doubt
    if not (times.clock.sudden or (doubt and policy.by_time)):
        return Plan(decisions=decisions, doubt=doubt, sudden=times.clock.sudden)
    withheld = _removed(decisions)
    return Plan(
        decisions=tuple(
            made if made.kept else replace(made, kept=True, reasons=(f"it stays for now: {doubt}",))
            for made in decisions
        ),
        doubt=doubt,
        sudden=times.clock.sudden,
        withheld=withheld,
    )


def _removed(decisions: Iterable[Decision]) -> tuple[RestorePoint, ...]:
    return tuple(made.point for made in decisions if not made.kept)


def _decisions(
    points: Sequence[RestorePoint], policy: Policy, wanted: Iterable[tuple[RestorePoint, str]]
) -> tuple[Decision, ...]:
    """Decide about each of *points*, of which some are *wanted* for a reason."""
    reasons: dict[RestorePoint, list[str]] = defaultdict(list)
    chains: dict[str, str] = {}
    for point, reason in wanted:
        reasons[point].append(reason)
        chains.setdefault(point.chain, f"its chain stays: {reason}")
    if policy.keep:
        # a removed restore point comes after the one with that count
        unwanted = f"{policy.keep} newer full backups are kept, and no other rule wants it"
    else:
        unwanted = "no rule wants it"
    return tuple(
        Decision(
            point=point,
            kept=point.chain in chains,
            reasons=tuple(reasons[point]) or (chains.get(point.chain, unwanted),),
        )
        for point in points
    )


def _lines(points: Iterable[RestorePoint]) -> Collection[list[RestorePoint]]:
    """Return the restore points of each line, oldest first."""
    lines: dict[str, list[RestorePoint]] = defaultdict(list)
    for point in points:
        lines[point.line].append(point)
    return lines.values()


def _wanted(
    points: Sequence[RestorePoint],
    policy: Policy,
    made: Mapping[str, datetime],
    now: datetime,
    of: str,
) -> Iterator[tuple[RestorePoint, str]]:
    """Yield each point that a rule wants, with the reason, once for each such rule.

    *of* are words for what the newest of *points* is the newest of; "": of all there are.
    """
    good = [point for point in points if point.sound]
    for point in good[-1:]:
        yield point, f"the newest{of} that can be restored"
    for point in [point for point in good if point.whole][-1:]:
        yield point, f"the newest{of} that lacks nothing"
    for point in points:
        if not good or point.age > good[-1].age:
            yield point, "nothing newer is whole" if point.damaged else _INCOMPLETE
        if policy.keep == 0:
            yield point, "keep = 0 keeps all"
        if policy.within is not None and now - made[point.stamp] <= policy.within:
            yield point, "younger than keep_within"
    chains = [(point, point.chain) for point in points]
    yield from _newest_of_each(chains, "full backup", policy.keep or 0)
    for name, period in _PERIODS:
        periods = [(point, period(made[point.stamp])) for point in points]
        yield from _newest_of_each(periods, name, getattr(policy, name))


def _spared(
    points: Sequence[RestorePoint], spared: Mapping[str, str]
) -> Iterator[tuple[RestorePoint, str]]:
    """Yield the newest point of each chain that stays whatever the policy says, with the reason.

    Those are *spared*, and those that a restore left behind.
    """
    newest = {point.chain: point for point in points}
    last = next((point.chain for point in reversed(points) if point.sound), "")
    stays = {stamp for point in points if point.chain == last for stamp in point.stays}
    for stamp in sorted(stays & newest.keys()):
        yield newest[stamp], "a restore left it behind, and may have been a mistake"
    for stamp in sorted(newest.keys() & spared.keys()):
        yield newest[stamp], spared[stamp]


def _newest_of_each(
    points: Sequence[tuple[RestorePoint, object]], name: str, count: int
) -> Iterator[tuple[RestorePoint, str]]:
    """Yield the newest good point of each of the *count* newest periods that have one.

    Each of *points*, oldest first, comes with its period.  On the way there it yields the
    newest of each period, even if that cannot be restored.
    """
    counted: set[object] = set()
    passed: set[object] = set()
    for point, found in reversed(points):
        if len(counted) == count:
            return
        if found in counted:
            continue
        if point.sound:
            counted.add(found)
            yield point, f"{name} {len(counted)} of {count}"
        elif found not in passed:
            passed.add(found)
            why = "it is damaged" if point.damaged else "it cannot be restored"
            yield point, f"{name}, but not counted: {why}"
