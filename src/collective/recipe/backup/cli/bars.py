"""How far long work has come: a bar on a terminal, a line now and then in a log.

Work only counts; a thread of its own looks at the count a few times a second.  So thousands
of calls a second cost nothing that can be measured, and what takes less than two seconds
says nothing at all.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
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
    """When a phase speaks: *first* after so many seconds, then *every* so many."""

    first: float
    every: float


ON_A_TERMINAL = Rhythm(first=2.0, every=0.2)
IN_A_LOG = Rhythm(first=30.0, every=30.0)


def progress_on(screen: Screen) -> Progress:
    """Return the Progress that suits *screen*."""
    if screen.changes:
        return PhaseTelling(lambda state: screen.show(bar(state, screen.width)), ON_A_TERMINAL)
    return PhaseTelling(_log, IN_A_LOG)


@dataclass(frozen=True, kw_only=True)
class PhaseState:
    """How far a phase has come; *rate* is in units a second."""

    title: str
    done: int
    total: int
    unit: str
    rate: float

    @property
    def part(self) -> float:
        """How much of it is done, from 0 to 1; a total is an estimate."""
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0

    @property
    def figures(self) -> str:
        """How much, how fast, how long still; empty where nothing is counted."""
        if not self.done and self.total <= 0:
            return ""
        words = amount(self.done, self.unit)
        if self.total > 0:
            words += f" of {amount(self.total, self.unit)}"
        if self.rate > 0:
            words += f", {amount(self.rate, self.unit)}/s"
            if self.total > self.done:
                words += f", {duration((self.total - self.done) / self.rate)} left"
        return words


class PhaseTelling:
    """A Progress that gives *tell* the state of a phase, None when the phase is over.

    Of several at a time it is the one that began first.
    """

    def __init__(self, tell: Callable[[PhaseState | None], object], rhythm: Rhythm) -> None:
        self._tell = tell
        self._rhythm = rhythm
        self._under_way: list[_Count] = []

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:
        """Return a phase of *total* units; see Progress."""
        return self._phase(title, total, unit)

    @contextmanager
    def _phase(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        count = _Count()
        ended = threading.Event()

        def watch() -> None:
            wait, rate = self._rhythm.first, _Rate(monotonic())
            while not ended.wait(wait):
                wait = self._rhythm.every
                if count is not self._under_way[0]:
                    continue
                self._tell(
                    PhaseState(
                        title=title,
                        done=count.done,
                        total=total,
                        unit=unit,
                        rate=rate.at(monotonic(), count.done),
                    )
                )

        watcher = threading.Thread(target=watch, name="progress", daemon=True)
        self._under_way.append(count)
        watcher.start()
        try:
            yield count.advance
        finally:
            ended.set()
            watcher.join()
            self._under_way.remove(count)
            self._tell(None)


class _Count:
    """A number that any thread may raise."""

    def __init__(self) -> None:
        self.done = 0
        self._lock = threading.Lock()

    def advance(self, by: int) -> None:
        with self._lock:
            self.done += by


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
