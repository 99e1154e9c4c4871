"""Sums over transactions: by user, by day and by kind of object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from collective.recipe.backup.times import moment_of
from collective.recipe.backup.transactions.logged import Logged

MOST = 10_000
"""Names of each kind that are told apart: memory must not grow with names of strangers."""

OTHERS = "(others)"


@dataclass
class Sum:
    """The sums of some transactions."""

    transactions: int = 0  # number
    objects: int = 0  # number
    size: int = 0  # bytes: in the log, or of the data for a kind of objects

    def add(self, objects: int, size: int) -> None:
        """Add what one transaction has."""
        self.transactions += 1
        self.objects += objects
        self.size += size


class Sums:
    """Sums by user, by day (UTC) and by kind of object; names are *shown* before they count."""

    def __init__(self, shown: Callable[[bytes], str]) -> None:
        self.users: dict[str, Sum] = {}
        self.days: dict[str, Sum] = {}
        self.kinds: dict[str, Sum] = {}
        self._shown = shown

    def add(self, entry: Logged) -> None:
        """Take one more transaction."""
        _of(self.users, self._shown(entry.user) or "(none)").add(entry.objects, entry.size)
        _of(self.days, _day(entry)).add(entry.objects, entry.size)
        for kind, amount in entry.kinds.items():
            _of(self.kinds, kind).add(amount.objects, amount.size)


def _of(sums: dict[str, Sum], name: str) -> Sum:
    if name not in sums and len(sums) >= MOST:
        name = OTHERS
    return sums.setdefault(name, Sum())


def _day(entry: Logged) -> str:
    try:
        return moment_of(entry.tid).date().isoformat()
    except ValueError:
        return "(no time)"
