"""The times at which restore points were made, as far as clocks can be believed.  Pure.

A restore point carries the time of the clock when it was made: a *reading*.  One wrong reading must
cost no restore point, and a removal cannot be taken back.  Only the order in which restore points
were made is certain.  So:

* **Readings do not go back.**  Where they do, as few days of them as possible are taken to be
  wrong.  A restore point with a wrong reading counts as made between its neighbours.
* **The present reading is one of them.**  It is believed only if more days agree with it than
  speak against it.
* **A leap is not believed at once.**  The clock has leapt if it says more than LEAP after
  every earlier reading, and more than USUAL times the usual interval.  It is believed when it
  has gone on from there for SETTLED.

Days are counted, not restore points: a clock that was wrong for an hour is one witness, even
if a restore point was made in every second of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import RestorePoint
from collective.recipe.backup.times import Tid, moment_of, stamp

LEAP = timedelta(days=14)
"""A gap between two readings that needs no explanation: the machine was off for a while."""
USUAL = 3
"""Multiple of the usual gap that another gap may have: some sites are backed up once a month."""
SETTLED = timedelta(days=7)
"""Time that the clock must go on after a leap until it is believed."""
FAR = timedelta(days=366)
"""Farther than this not even a transaction of the database makes a leap credible."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The present reading of the clock, and the judgement on it."""

    now: datetime  # the reading
    doubt: str = ""  # why nothing may be removed on its word, a sentence; "": it is believed
    gone_back: bool = False  # whether it says less than earlier readings that are believed
    sudden: bool = False  # whether this is the first day on which it says so
    leapt_from: datetime | None = None  # the last reading before a leap; None: it has not leapt
    believed: tuple[bool, ...] = ()  # of each earlier reading, whether it is believed

    def name_for(self, newest: Tid | None) -> datetime:
        """Return the moment after which a restore point that is made now is named.

        That is the present one, unless the clock has leapt and the *newest* transaction (None:
        unknown) does not confirm it.  Then it is the last reading before the leap, so that later
        restore points can have true names again.
        """
        if self.leapt_from is None:
            return self.now
        committed = _moment(newest)
        agrees = committed is not None and abs(self.now - committed) <= LEAP
        return self.now if agrees and self.now - self.leapt_from <= FAR else self.leapt_from


@dataclass(frozen=True, kw_only=True)
class Chronology:
    """The times at which restore points were made, and the judgement on the clock."""

    made: Mapping[str, datetime]  # by the stamp of the restore point
    clock: Clock  # the judgement


def reading_of(point: RestorePoint) -> datetime:
    """Return what the clock said when *point* was made: its stamp if nothing else tells."""
    return point.moment if point.taken is None else point.taken


def committed_of(point: RestorePoint) -> datetime | None:
    """Return the moment of the last transaction in *point*, None if it is not known."""
    return _moment(point.tid)


def chronology(
    points: Iterable[RestorePoint],
    now: datetime,
    witnesses: Iterable[datetime] = (),
    *,
    certain: bool = False,
) -> Chronology:
    """Return when each of *points* was made, and the judgement on *now*; see judge."""
    points = sorted(points, key=lambda point: point.age)
    readings = [reading_of(point) for point in points]
    clock = judge(readings, now, witnesses, certain=certain)
    stamps = (point.stamp for point in points)
    made = dict(zip(stamps, _made(points, readings, clock), strict=True))
    return Chronology(made=made, clock=clock)


def judge(
    readings: Sequence[datetime],
    now: datetime,
    witnesses: Iterable[datetime] = (),
    *,
    certain: bool = False,
) -> Clock:
    """Return the judgement on *now*, after earlier *readings* in the order of events.

    *witnesses* are other readings in any order, of earlier runs for example; they count only if the
    clock seems to have leapt.  *certain*: a user says that *now* is right.
    """
    days = [(day, len(list(same))) for day, same in groupby([*readings, now], datetime.date)]
    agreeing, agrees = _agreeing([day for day, _count in days], certain=certain)
    believed = [
        number in agreeing for number, (_day, count) in enumerate(days) for _each in range(count)
    ][:-1]
    if not agrees:
        latest = max(reading for reading in readings if reading > now)
        return Clock(
            now=now,
            doubt=f"the clock has gone back: earlier it said {stamp(latest)}",
            gone_back=True,
            sudden=next((each > now for each in reversed(readings) if each != now), False),
            believed=tuple(believed),
        )
    leap = None
    if not certain:
        good = [reading for reading, is_good in zip(readings, believed, strict=True) if is_good]
        leap = _leap(good, now)
        if leap is not None:
            # an earlier one than all of them would only make long pauses look usual
            seen = (witness for witness in witnesses if witness >= good[0])
            leap = _leap([*good, *seen], now)
    if leap is None:
        return Clock(now=now, believed=tuple(believed))
    last, next_day = leap
    return Clock(
        now=now,
        doubt=f"the clock has leapt by {(next_day - last.date()).days} days, "
        f"from {stamp(last)} to {next_day}",
        sudden=next_day == now.date(),
        leapt_from=last,
        believed=tuple(believed),
    )


def _agreeing(days: Sequence[date], *, certain: bool) -> tuple[set[int], bool]:
    """Return the places of most *days* that do not go back, and whether the last is one.

    It is one of them only if it makes them more.  If it is *certain*, they end with it.
    """
    lengths: list[int] = []
    before: list[int | None] = []
    ends: list[tuple[date, int]] = []  # of each length the earliest last day, and its place
    for place, day in enumerate(days):
        length = bisect_right(ends, day, key=lambda end: end[0])
        lengths.append(length + 1)
        before.append(ends[length - 1][1] if length else None)
        ends[length : length + 1] = [(day, place)]
    most = max(lengths[:-1], default=0)
    agrees = certain or lengths[-1] > most
    # of several as long the last one, which has the earliest last day
    at: int | None = len(days) - 1
    if not agrees:
        at = max(place for place, length in enumerate(lengths[:-1]) if length == most)
    agreeing = set()
    while at is not None:
        agreeing.add(at)
        at = before[at]
    return agreeing, agrees


def _leap(readings: Iterable[datetime], now: datetime) -> tuple[datetime, date] | None:
    """Return the last of *readings* before a leap that is not settled, and the day after it.

    Readings that are later than *now* do not count.
    """
    readings = [reading for reading in readings if reading <= now]
    days = sorted({reading.date() for reading in [*readings, now]})
    gaps = [later - earlier for earlier, later in pairwise(days)]
    for number in reversed(range(len(gaps))):
        if days[-1] - days[number + 1] >= SETTLED:
            return None
        others = [gap.days for gap in (*gaps[:number], *gaps[number + 1 :])]
        usual = timedelta(days=_median(others or [0]))
        if gaps[number] > LEAP and gaps[number] > USUAL * usual:
            last = max(reading for reading in readings if reading.date() <= days[number])
            return last, days[number + 1]
    return None


def _median(numbers: Sequence[int]) -> int:
    """Return the one in the middle, the lower of two; statistics has it, and imports a lot."""
    return sorted(numbers)[(len(numbers) - 1) // 2]


def _made(
    points: Sequence[RestorePoint], readings: Sequence[datetime], clock: Clock
) -> Iterator[datetime]:
    """Yield when each of *points* was made.

    Those whose reading is not believed are spread evenly between their neighbours.
    """
    earlier: datetime | None = None
    done = 0
    for is_believed, run in groupby(clock.believed):
        count = len(list(run))
        between, done = points[done : done + count], done + count
        if is_believed:
            earlier = readings[done - 1]
            yield from readings[done - count : done]
            continue
        later = readings[done] if done < len(readings) else clock.now
        if done == len(readings) and clock.gone_back and earlier is not None:
            later = earlier
        yield from _between(earlier or later, later, between)


def _between(
    earlier: datetime, later: datetime, points: Sequence[RestorePoint]
) -> Iterator[datetime]:
    """Yield a moment for each of *points*, none before its last transaction if that fits."""
    step = max(later - earlier, timedelta(0)) / (len(points) + 1)
    for number, point in enumerate(points, 1):
        committed = _moment(point.tid)
        guess = earlier + number * step
        yield max(guess, committed) if committed and committed <= later else guess


def _moment(tid: Tid | None) -> datetime | None:
    """Return the moment of *tid*, None if there is none or it is no time."""
    if tid is None:
        return None
    try:
        return moment_of(tid)
    except ValueError:
        return None
