"""The progress of long work: a bar on a terminal, a line now and then in a log.

Work only counts; a thread of its own looks at the count a few times a second.  So thousands of
calls a second cost nothing that can be measured, and work of less than two seconds prints nothing.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from collective.recipe.backup.amounts import amount, duration
from collective.recipe.backup.cli.screen import Screen
from collective.recipe.backup.errors import printable
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.progress import Advance, PhaseManager, Progress
from collective.recipe.backup.times import monotonic

logger = logging.getLogger("backup")

REMEMBERED = 10.0
"""Seconds that the rate is the mean of."""


@dataclass(frozen=True, kw_only=True)
class Rhythm:
    """The times at which a phase is reported."""

    first: float  # seconds until the first report
    every: float  # seconds between later ones


ON_A_TERMINAL = Rhythm(first=2.0, every=0.2)
IN_A_LOG = Rhythm(first=30.0, every=30.0)


def progress_on(screen: Screen) -> Progress:
    """Return the Progress that suits *screen*."""
    if screen.changes:
        return PhaseTelling(lambda state: screen.show(bar(state, screen.width)), ON_A_TERMINAL)
    return PhaseTelling(_log, IN_A_LOG)


@dataclass(frozen=True, kw_only=True)
class PhaseState:
    """The progress of a phase, or of several that go on at the same time."""

    title: str  # name of the phase
    done: int  # units
    total: int  # 0: not known
    unit: str  # of which done and total are counts
    rate: float  # in units a second
    left: float | None = None  # seconds until the last of several is done; None: by the rate

    @property
    def part(self) -> float:
        """The share that is done, from 0 to 1; a total is an estimate."""
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0

    @property
    def figures(self) -> str:
        """The amount, the rate and the time left; empty if nothing is counted."""
        if not self.done and self.total <= 0:
            return ""
        words = amount(self.done, self.unit)
        if self.total > 0:
            words += f" of {amount(self.total, self.unit)}"
        if self.rate > 0:
            words += f", {amount(self.rate, self.unit)}/s"
            if self.total > self.done:
                left = (self.total - self.done) / self.rate if self.left is None else self.left
                words += f", {duration(left)} left"
        return words


class PhaseTelling(Progress):
    """A Progress that gives *tell* the state of a phase, None when the phase is over.

    Of several at a time it is the one that began first.  But those of works side by side count
    together: what they have done since none of them was at work, at which rate, and how long
    the last of them still takes.
    """

    def __init__(self, tell: Callable[[PhaseState | None], object], rhythm: Rhythm) -> None:
        self._tell = tell
        self._rhythm = rhythm
        self._under_way: list[_Phase] = []
        self._over: list[_Phase] = []  # since one was under way without a break

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:
        """Return a phase of *total* units; see Progress."""
        return self.of("", title, total, unit)

    def beside(self, name: str) -> Progress:
        """Return the Progress of a work beside others; see Progress."""
        return _Beside(self, name)

    @contextmanager
    def of(self, name: str, title: str, total: int, unit: str) -> Iterator[Advance]:
        """Enter a phase of the work *name*, "" if it is the only one."""
        phase = _Phase(name, title, total, unit)
        ended = threading.Event()

        def watch() -> None:
            wait = self._rhythm.first
            while not ended.wait(wait):
                wait = self._rhythm.every
                under_way = tuple(self._under_way)
                if phase is under_way[0]:
                    self._tell(_state(under_way, tuple(self._over)))

        watcher = threading.Thread(target=watch, name="progress", daemon=True)
        self._under_way.append(phase)
        watcher.start()
        try:
            yield phase.advance
        finally:
            ended.set()
            watcher.join()
            self._over.append(phase)
            self._under_way.remove(phase)
            if not self._under_way:
                self._over.clear()
            self._tell(None)


class _Beside(Progress):
    """The Progress of the work *name* beside others."""

    def __init__(self, whole: PhaseTelling, name: str) -> None:
        self._whole = whole
        self._name = name

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:
        return self._whole.of(self._name, title, total, unit)


class _Phase:
    """A phase, and a number that any thread may raise: how much of it is done."""

    def __init__(self, name: str, title: str, total: int, unit: str) -> None:
        self.name = name  # of the work; "": there is only one
        self.title = title
        self.total = total  # 0: not known
        self.unit = unit
        self.done = 0
        self.rate = 0.0  # in units a second, when it was looked at last
        self._rate = _Rate(monotonic())
        self._lock = threading.Lock()

    def advance(self, by: int) -> None:
        with self._lock:
            self.done += by

    def look(self, now: float) -> None:
        """Find out how fast it is."""
        self.rate = self._rate.at(now, self.done)

    @property
    def left(self) -> float | None:
        """Seconds until it is done; None: that is not known."""
        if not self.total:
            return None
        left = max(0, self.total - self.done)
        return left / self.rate if self.rate > 0 else None if left else 0.0


def _state(under_way: Sequence[_Phase], over: Sequence[_Phase]) -> PhaseState:
    """Return the state of the first phase that is *under_way*, with those that count with it.

    These are the phases beside it that count in the unit of the first, and those that are *over*.
    """
    first = under_way[0]
    same = [each for each in under_way if each.name and each.unit == first.unit]
    beside = same if first.name else [first]
    ended = [each for each in over if first.name and each.name and each.unit == first.unit]
    now = monotonic()
    for each in beside:
        each.look(now)
    every = [*beside, *ended]
    left = [each.left for each in beside]
    known = [each for each in left if each is not None]
    return PhaseState(
        title=_title(beside),
        done=sum(each.done for each in every),
        total=sum(each.total for each in every) if all(each.total for each in beside) else 0,
        unit=first.unit,
        rate=sum(each.rate for each in beside),
        left=max(known) if first.name and len(known) == len(left) else None,
    )


def _title(phases: Sequence[_Phase]) -> str:
    """Return what is done, and in which works that is, if there are several."""
    names: dict[str, list[str]] = {}
    for each in phases:
        names.setdefault(each.title, []).append(each.name)
    return ", ".join(
        f"{title} ({', '.join(found)})" if any(found) else title for title, found in names.items()
    )


class _Rate:
    """The mean of the last seconds."""

    def __init__(self, started: float) -> None:
        self._seen = deque([(started, 0)])

    def at(self, now: float, done: int) -> float:
        while len(self._seen) > 1 and now - self._seen[1][0] >= REMEMBERED:
            self._seen.popleft()
        then, before = self._seen[0]
        self._seen.append((now, done))
        return (done - before) / (now - then) if now > then else 0.0


def bar(state: PhaseState | None, width: int) -> str:
    """Return *state* as one line of at most *width* columns, empty if there is none."""
    if state is None:
        return ""
    title, figures = printable(state.title), state.figures
    percent = f"{state.part:4.0%}" if state.total > 0 else ""
    room = min(30, width - len(title) - len(percent) - len(figures) - 6)
    if room >= 5 and percent:
        full = int(state.part * room)
        return f"{title} {percent} [{'#' * full}{'.' * (room - full)}] {figures}"
    return " ".join(filter(None, (title, percent, figures)))[:width]


def _log(state: PhaseState | None) -> None:
    if state is not None:
        percent = f"{state.part:.0%}" if state.total > 0 else ""
        words = ", ".join(filter(None, (percent, state.figures)))
        logger.info("%s", f"{state.title}: {words}" if words else state.title)
