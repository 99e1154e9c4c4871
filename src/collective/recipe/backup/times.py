"""Moments, stamps and transaction ids; the only room that reads the clock.

A *moment* is an aware UTC datetime.  Its form in file names is a *stamp*,
``YYYY-MM-DD-HH-MM-SS``, which sorts like the moments do.  A transaction id (*tid*) is a
time as well: 8 bytes, big-endian, after ``persistent.TimeStamp``::

    4 bytes   minutes: (((year - 1900) * 12 + month - 1) * 31 + day - 1) * 24 * 60
                       + hour * 60 + minute
    4 bytes   seconds within the minute, in units of 60 / 2**32 seconds

so ids sort like moments too, and every ZODB makes them increase even if its clock does not.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import NewType, TypeAlias

from collective.recipe.backup.errors import Interrupted, UsageError

Tid = NewType("Tid", bytes)
"""A transaction id: 8 bytes, big-endian, shown as 16 hex digits."""

When: TypeAlias = datetime | Tid
"""A state of a site: that of a moment, or that after a transaction.

None in its place means the newest state.
"""

ZERO_TID = Tid(bytes(8))
LAST_TID = Tid(b"\xff" * 8)

STAMP = "[0-9]{4}(?:-[0-9]{2}){5}"
"""Pattern of a stamp, without groups, to be used in patterns of names."""
_SHORT = re.compile(r"\d{4}-\d{1,2}-\d{1,2}(?:-\d{1,2}){0,3}", re.ASCII)
_TID = re.compile(r"(?:0x)?([0-9a-fA-F]{16})")

MOMENT_FORMS = "YYYY-MM-DD[-HH[-MM[-SS]]] in UTC, ISO 8601 with a time zone, or a 16-digit tid"


def utcnow() -> datetime:
    """Return the present moment."""
    return datetime.now(timezone.utc)


def monotonic() -> float:
    """Return seconds since an arbitrary start, for measuring durations."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Wait for *seconds*."""
    time.sleep(seconds)


_ending = threading.Event()
_endable = threading.Lock()
"""Held in the body of ``endable_pauses``."""


def pause_or_end(seconds: float) -> None:
    """Wait for *seconds*.  Raises Interrupted as soon as ``end_pauses`` is called.

    It is for threads beside the first one, which no signal wakes.
    """
    if _ending.wait(seconds):
        raise _asked_to_end()


def end_if_asked() -> None:
    """Raise Interrupted in a thread beside the first one, once ``end_pauses`` was called.

    In the first one a signal has raised something already, and it takes back what is half done.
    """
    if _ending.is_set() and threading.current_thread() is not threading.main_thread():
        raise _asked_to_end()


def _asked_to_end() -> Interrupted:
    return Interrupted("this process was asked to end")


@contextmanager
def endable_pauses() -> Iterator[None]:
    """Let no call of ``end_pauses`` that comes in the body count after it.

    Where it is within the body of another one, that is so after that body.
    """
    outermost = not _endable.locked()
    if outermost:
        _endable.acquire()
    try:
        yield
    finally:
        if outermost:
            _ending.clear()
            _endable.release()


def end_pauses() -> None:
    """End all pauses that are under way, and those that are begun from now on."""
    _ending.set()


def stamp(moment: datetime) -> str:
    """Return the file-name form of *moment*; fractions of a second are dropped."""
    # not strftime: its %Y does not pad years before 1000 everywhere
    moment = moment.astimezone(timezone.utc)
    date = f"{moment.year:04}-{moment.month:02}-{moment.day:02}"
    return f"{date}-{moment.hour:02}-{moment.minute:02}-{moment.second:02}"


def beginning_of_hour(moment: datetime) -> datetime:
    """Return when the hour of *moment* began, in UTC."""
    return moment.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)


def in_words(moment: datetime) -> str:
    """Return *moment* as people read it, in UTC; fractions of a second are dropped."""
    date, time_of_day = stamp(moment)[:10], stamp(moment)[11:]
    return f"{date} {time_of_day.replace('-', ':')} UTC"


def from_stamp(text: str) -> datetime:
    """Return the moment of a stamp.  Raises ValueError if *text* is not exactly one."""
    if not re.fullmatch(STAMP, text):
        raise ValueError(f"not a stamp: {text!r}")
    year, month, day, hour, minute, second = map(int, text.split("-"))
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)


def stamp_after(text: str) -> str:
    """Return the stamp a second after the stamp *text*."""
    return stamp(from_stamp(text) + timedelta(seconds=1))


def free_stamp(newest: str, now: datetime) -> str:
    """Return a stamp that is later than the stamp *newest* ("": there is none).

    It is that of *now*.  If *newest* has the same second, this waits for the next one, so that
    stamps do not run ahead of the clock.  If *newest* is later than that, it is the stamp after it.
    Raises OverflowError where no later moment exists.
    """
    if stamp(now) > newest:
        return stamp(now)
    following = stamp_after(newest)
    early = (from_stamp(following) - now).total_seconds()
    if early <= 1:
        pause(early)
    return following


def is_stamp(text: str) -> bool:
    """Tell whether *text* is the stamp of a moment that exists."""
    try:
        from_stamp(text)
    except ValueError:
        return False
    return True


def parse(text: str, *, local: bool = False) -> When:
    """Return the moment or the tid of *text*; see MOMENT_FORMS.

    Parts that a short date leaves out are zero.  With *local* a moment without time zone is in that
    of this machine.  Raises UsageError with a hint.
    """
    text = text.strip()
    tid = _TID.fullmatch(text)
    if tid:
        return Tid(bytes.fromhex(tid[1]))
    try:
        if _SHORT.fullmatch(text):
            parts = [int(part) for part in text.split("-")]
            year, month, day, hour, minute, second = parts + [0] * (6 - len(parts))
            moment = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001  see below
            return _at_wall_clock(moment, text) if local else moment.replace(tzinfo=timezone.utc)
        # fromisoformat of Python 3.10 does not know the letter
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    except ValueError as error:
        why = f" ({error})" if _SHORT.fullmatch(text) else ""
        raise UsageError(f"{text!r} is not a moment{why}", hint=f"write {MOMENT_FORMS}") from error
    if moment.tzinfo is None and local:
        return _at_wall_clock(moment, text)
    if moment.tzinfo is None:
        raise UsageError(
            f"{text!r} has no time zone",
            hint=f"add one (2026-03-01T12:30:00+01:00, or a final Z for UTC), or {MOMENT_FORMS}",
        )
    try:
        return moment.astimezone(timezone.utc)
    except OverflowError as error:
        raise UsageError(
            f"{text!r} is not a moment in UTC", hint=f"write {MOMENT_FORMS}"
        ) from error


def wall_clock(moment: datetime) -> datetime:
    """Return what a clock on the wall of this machine shows at *moment*, without a zone."""
    return moment.astimezone().replace(tzinfo=None)


def show_local(moment: datetime) -> str:
    """Return *moment* by the time zone of this machine, with the difference to UTC."""
    return moment.astimezone().isoformat(" ", "seconds")


def _at_wall_clock(shown: datetime, text: str) -> datetime:
    """Return the moment at which a clock on the wall of this machine shows *shown*.

    Raises UsageError where it never does, or twice.
    """
    try:
        tries = [shown.replace(fold=fold).astimezone(timezone.utc) for fold in (0, 1)]
    except (OverflowError, OSError) as error:  # the time zone would leave the calendar
        raise UsageError(f"{text!r} is not a moment here", hint=f"write {MOMENT_FORMS}") from error
    found = sorted({moment for moment in tries if wall_clock(moment) == shown})
    if len(found) == 1:
        return found[0]
    why = "is a moment twice" if found else "is a moment that the clock leaves out"
    between = " or ".join(moment.astimezone().isoformat() for moment in found or sorted(tries))
    raise UsageError(f"{text!r} {why} in the time zone of this machine", hint=f"write {between}")


def tid_at(moment: datetime) -> Tid:
    """Return the greatest tid that is not later than *moment*."""
    moment = moment.astimezone(timezone.utc)
    days = ((moment.year - 1900) * 12 + moment.month - 1) * 31 + moment.day - 1
    minutes = (days * 24 + moment.hour) * 60 + moment.minute
    if not 0 <= minutes < 2**32:
        return ZERO_TID if minutes < 0 else LAST_TID
    # integers only: the last unit that is not later than the next microsecond's begin
    microseconds = moment.second * 1_000_000 + moment.microsecond
    units = -(-(microseconds + 1) * 2**32 // 60_000_000) - 1
    return Tid(minutes.to_bytes(4, "big") + units.to_bytes(4, "big"))


def moment_of(tid: Tid) -> datetime:
    """Return the moment of *tid*, to the microsecond.

    Raises ValueError for a tid that is no time, which only a damaged file holds.
    """
    minutes, units = int.from_bytes(tid[:4], "big"), int.from_bytes(tid[4:], "big")
    days, minute_of_day = divmod(minutes, 24 * 60)
    months, day = divmod(days, 31)
    years, month = divmod(months, 12)
    second, microsecond = divmod(units * 60_000_000 >> 32, 1_000_000)
    return datetime(
        years + 1900,
        month + 1,
        day + 1,
        *divmod(minute_of_day, 60),
        second,
        microsecond,
        tzinfo=timezone.utc,
    )


def show_moment(tid: Tid) -> str:
    """Return the moment of *tid* in UTC, to the second; one that is no time says so."""
    try:
        return moment_of(tid).replace(tzinfo=None).isoformat(" ", "seconds")
    except ValueError:
        return "no time"


def tid_after(tid: Tid) -> Tid:
    """Return the tid that follows *tid*; the last one follows itself."""
    if tid == LAST_TID:
        return tid
    return Tid((int.from_bytes(tid, "big") + 1).to_bytes(8, "big"))


def tid_before(tid: Tid) -> Tid:
    """Return the tid before *tid*; the first one comes before itself."""
    return Tid(max(0, int.from_bytes(tid, "big") - 1).to_bytes(8, "big"))


def show_tid(tid: Tid) -> str:
    """Return *tid* as 16 hex digits."""
    return tid.hex()
