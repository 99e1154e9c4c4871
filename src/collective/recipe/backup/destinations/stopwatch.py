"""Seconds that the phases of a backup take."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from collective.recipe.backup.times import monotonic


class Stopwatch:
    """The seconds of each phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the body."""
        started = monotonic()
        try:
            yield
        finally:
            self.seconds[name] = monotonic() - started
