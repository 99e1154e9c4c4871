"""What long work tells of itself: a phase, how much there is to do, how much is done.

This room prints nothing; ``cli`` hands in a Progress that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of units (bytes or files) done since the last call."""

PhaseManager = AbstractContextManager[Advance]
"""A phase under way: it begins when entered, and ends however its body ends."""


class Progress(Protocol):
    """Where long work reports to.  Phases do not nest; *advance* may be called by any thread."""

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:
        """Return a context manager for one phase of *total* units that yields its Advance."""


class Silent:
    """A Progress that says nothing."""

    @contextmanager
    def _quiet(self) -> Iterator[Advance]:
        yield lambda _amount: None

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:  # noqa: ARG002  protocol
        """Return a phase that reports to nobody."""
        return self._quiet()
