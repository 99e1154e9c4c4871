"""The moments that people name, exactly or as they say them: ``yesterday 14:30``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from collective.recipe.backup import times
from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.times import When

FORMS = f"{times.MOMENT_FORMS}; or '2 hours ago', yesterday, 'yesterday 14:30', 'today 9:00'"

_UNITS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_AGO = re.compile(rf"(an?|\d{{1,9}}) ({'|'.join(_UNITS)})s? ago")
_DAY = re.compile(r"(today|yesterday)(?: (\d{1,2}):(\d\d)(?::(\d\d))?)?")


def understood(text: str, now: datetime, *, local: bool = False) -> When:
    """Return the moment or the tid that a user means by *text* at the moment *now*.

    With *local* what says no time zone is by that of this machine.  Raises UsageError.
    """
    words = " ".join(text.lower().split())
    ago, day = _AGO.fullmatch(words), _DAY.fullmatch(words)
    try:
        if ago:
            number = 1 if ago[1].startswith("a") else int(ago[1])
            return now.replace(microsecond=0) - number * _UNITS[ago[2]]
        if day:
            return _on(day, now, local=local)
        return times.parse(text, local=local)
    except OverflowError as error:
        raise UsageError(f"{text!r} is too long ago", hint=f"write {FORMS}") from error
    except UsageError as error:
        error.hint = error.hint.replace(times.MOMENT_FORMS, FORMS)
        raise


def _on(day: re.Match[str], now: datetime, *, local: bool) -> When:
    """Return the moment of a day, which is its begin, or of a time of that day."""
    hour, minute, second = (int(each or 0) for each in day.groups()[1:])
    here = times.wall_clock(now) if local else now
    date = here.date() - timedelta(days=day[1] == "yesterday")
    return times.parse(f"{date}-{hour}-{minute}-{second}", local=local)
