"""Progress of long work: a phase, the amount of work, and the amount that is done.

This room prints nothing; ``cli`` hands in a Progress that does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import chain, islice
from typing import Protocol, TypeVar

A = TypeVar("A")

FEW = 1000
"""So many things are counted beforehand; of more it costs too much to know the total."""

Advance = Callable[[int], None]
"""Called with the number of units (bytes or files) done since the last call."""


def ignore(_amount: int) -> None:
    """Drop the amount: an Advance without a reader."""


PhaseManager = AbstractContextManager[Advance]
"""A phase under way: it begins when entered, and ends however its body ends."""


class Progress(Protocol):
    """The receiver of progress.  Any thread may have a phase, and call its *advance*."""

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:
        """Return a context manager for one phase of *total* units that yields its Advance."""

    def beside(self, name: str) -> Progress:  # noqa: ARG002  for those who tell them apart
        """Return the Progress of one of several works that go on at the same time.

        It is called *name*.  One that does not say otherwise tells them not apart.
        """
        return self


def counted(items: Iterable[A]) -> tuple[int, Iterator[A]]:
    """Return how many *items* there are, 0 if that is not known at once, and all of them."""
    rest = iter(items)
    first = list(islice(rest, FEW))
    return len(first) if len(first) < FEW else 0, chain(first, rest)


class Silent(Progress):
    """A Progress that says nothing."""

    @contextmanager
    def _quiet(self) -> Iterator[Advance]:
        yield ignore

    def phase(self, title: str, total: int, unit: str = "B") -> PhaseManager:  # noqa: ARG002  protocol
        """Return a phase that is not shown anywhere."""
        return self._quiet()
