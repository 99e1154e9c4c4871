"""The care that a store takes of its objects, once for all sources that are in it.

On a grid each object is asked for, its leases are renewed and its shares counted: that costs a
request for each, however many sources of a site lie there.
"""

from __future__ import annotations

from collections.abc import Sequence

from collective.recipe.backup.stores import Store, Weakness


class StoreCare:
    """Remembers what stores keep worse than they should, as long as a run lasts."""

    def __init__(self) -> None:
        self._found: dict[str, Sequence[Weakness]] = {}  # by the location of the store

    def of(self, store: Store) -> Sequence[Weakness]:
        """Let *store* take care of its objects, unless it has; return what it found."""
        location = str(store.location)
        if location not in self._found:
            self._found[location] = tuple(store.care())
        return self._found[location]
