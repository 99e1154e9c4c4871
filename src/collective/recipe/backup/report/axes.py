"""The axes of a plot: places of moments and amounts, and their labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from collective.recipe.backup.amounts import size
from collective.recipe.backup.frozen import dataclass

MOST_NAMES, MOST_HOURS = 5, 4
"""As many dates as a phone has room for, and as many with their hours, a line below the day."""

_STEPS = tuple(
    timedelta(minutes=minutes)
    for minutes in (
        *(5, 15, 30, 60, 3 * 60, 6 * 60, 12 * 60),
        *(day * 1440 for day in (1, 2, 7, 14)),
    )
)
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600)
"""Steps for longer times; these are steps of the calendar, so that no month is named twice."""


@dataclass(frozen=True)
class TimeAxis:
    """The time from *first* to *last*."""

    first: datetime  # moment at the left edge
    last: datetime  # moment at the right edge

    def at(self, moment: datetime) -> float:
        """Return where *moment* lies: from 0, the first, to 1, the last; never outside."""
        whole = (self.last - self.first).total_seconds()
        share = (moment - self.first).total_seconds() / whole if whole else 1.0
        return min(max(share, 0.0), 1.0)

    def names(self) -> Iterator[tuple[float, str]]:
        """Yield places and their labels, from left to right."""
        whole = self.last - self.first
        if not whole:
            yield 1.0, _date(self.last, timedelta(0))
            return
        # a place for the last one, whose name is as wide as the others
        step = next((step for step in _STEPS if whole / step < _most(step)), None)
        yield from self._months() if step is None else self._steps(step)

    def _steps(self, step: timedelta) -> Iterator[tuple[float, str]]:
        origin = datetime(1970, 1, 1, tzinfo=self.first.tzinfo)
        moment = origin + -((origin - self.first) // step) * step
        if moment > self.last:
            yield 1.0, _date(self.last, timedelta(0))
        while moment <= self.last:
            if moment >= self.first:
                yield self.at(moment), _date(moment, step)
            moment += step

    def _months(self) -> Iterator[tuple[float, str]]:
        """Yield names at the beginnings of months, or of years if there are many."""
        before, last = (each.year * 12 + each.month - 1 for each in (self.first, self.last))
        step = next((step for step in _MONTHS if (last - before) / step <= MOST_NAMES), _MONTHS[-1])
        for month in range(before // step * step + step, last + 1, step):
            year, of_year = divmod(month, 12)
            moment = datetime(year, of_year + 1, 1, tzinfo=self.first.tzinfo)
            yield self.at(moment), f"{moment:%Y}" if step % 12 == 0 else f"{moment:%b %Y}"


@dataclass(frozen=True)
class AmountAxis:
    """Bytes or seconds from 0 to *highest* and a bit above."""

    highest: float  # bytes or seconds

    @property
    def top(self) -> float:
        """The upper end: a round number."""
        if self.highest <= 1:
            return 1.0
        power = 10.0 ** math.floor(math.log10(self.highest))
        steps = (step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10))
        return next((step for step in steps if step >= self.highest), self.highest)

    def at(self, amount: float) -> float:
        """Return how high *amount* is: from 0 to 1."""
        return amount / self.top

    def byte_names(self) -> Iterator[tuple[float, str]]:
        """Yield heights and their labels, from below."""
        for share in (0.0, 0.5, 1.0):
            yield share, size(share * self.top) if share else "0"


def _most(step: timedelta) -> int:
    return MOST_NAMES if step >= timedelta(days=1) else MOST_HOURS


def day(moment: datetime) -> str:
    """Return the day of *moment* as it is written at an axis."""
    return _date(moment, timedelta(days=1))


def hour(moment: datetime) -> str:
    """Return the day and the time of *moment* as they are written at an axis."""
    return _date(moment, timedelta(0))


def _date(moment: datetime, step: timedelta) -> str:
    if step >= timedelta(days=1):
        return f"{moment.day} {moment:%b}"
    return f"{moment.day} {moment:%b}\n{moment:%H:%M}"
