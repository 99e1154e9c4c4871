"""The transaction that took an object out of its place.

The states of its holder are read, from the newest back to the one that still had the object. A
BTree that divides moves entries to another node in one transaction: the search goes on in that
node.  If a node that had the object is gone itself, the states of the holder of that node are read
as well.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.current import Held, Objects
from collective.recipe.backup.objects.inert import may_mention
from collective.recipe.backup.objects.paths import Child, steps_from
from collective.recipe.backup.objects.references import is_tree
from collective.recipe.backup.times import Tid

_READ = 64
"""States of which the names are held."""

_HOPS = 100
"""Holders that take an object over from each other, one after the other, before it is let go."""


class HolderLink(NamedTuple):
    """A *holder* referred to *oid* under a *name* in its state of *since*."""

    holder: Oid  # the object that refers
    oid: Oid  # the object that it refers to
    name: str  # as in the holder; "": it has none
    since: Tid  # tid of that state


class Departure(NamedTuple):
    """The transaction after which an object was no longer where it had been."""

    tid: Tid  # of that transaction
    user: bytes  # as written
    description: bytes  # as written
    is_exact: bool  # False: a pack has dropped states of the holder; it went then or before


class _Hop(NamedTuple):
    holder: Held  # as it is without the object
    is_exact: bool  # False: a pack has dropped states of the holder; it may have gone before
    following: HolderLink | None  # what took the object over
    is_inner: bool  # from one node of a BTree to another


class Departures:
    """Looks into *objects*, of the later moment."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._read: OrderedDict[tuple[Oid, Tid], Mapping[Oid, Child]] = OrderedDict()

    def of_gone(self, links: Sequence[HolderLink]) -> Departure | None:
        """Return the departure of an object that is gone.

        *links* has the link to its holder first, then that to the holder of the holder.  Returns
        None if no state tells, for example if the holder still refers to an object that a pack
        removed.
        """
        chains = [list(self._hops(link)) for link in links]
        last = [chain[-1] for chain in chains if chain]
        ends = [each for each in last if each.following is None] or last[:1]
        return self._told(min(ends, key=lambda each: each.holder.tid, default=None))

    def of_moved(self, links: Sequence[HolderLink]) -> Departure | None:
        """Return when an object that is elsewhere now went there; else as ``of_gone``."""
        hops = [hop for link in links[:1] for hop in self._hops(link)]
        outer = [hop for hop in hops if not hop.is_inner] or hops[-1:]
        return self._told(outer[0] if outer else None)

    def _told(self, hop: _Hop | None) -> Departure | None:
        if hop is None:
            return None
        held = hop.holder
        user, description = self._objects.user(held), self._objects.description(held)
        return Departure(held.tid, user, description, hop.is_exact)

    def _hops(self, link: HolderLink) -> Iterator[_Hop]:
        following: HolderLink | None = link
        for _hop in range(_HOPS):
            if following is None:
                return
            found = self._left(following)
            if found is None:
                return
            before, (holder, is_exact) = following, found
            following = self._taken_over(holder, before.oid)
            is_inner = following is not None and self._is_inner(before, following, holder)
            yield _Hop(holder, is_exact, following, is_inner)

    def _left(self, link: HolderLink) -> tuple[Held, bool] | None:
        """Return the first state of the holder without the object, and whether it is the first."""
        first: Held | None = None
        for held in self._objects.revisions(link.holder):
            child = self._step(held, link.oid)
            if held.tid <= link.since or (child is not None and child.name == link.name):
                is_known = held.tid == link.since or child is not None
                return None if first is None else (first, is_known)
            first = held._replace(data=b"")
        return None if first is None else (first, False)

    def _taken_over(self, holder: Held, oid: Oid) -> HolderLink | None:
        for held in self._objects.written_with(holder):
            child = self._step(held, oid)
            if child is not None:
                return HolderLink(held.oid, oid, child.name, held.tid)
        return None

    def _is_inner(self, before: HolderLink, after: HolderLink, holder: Held) -> bool:
        taker = self._objects.load(after.holder)
        is_node = taker is None or is_tree(taker.kind)
        return before.name == after.name and is_tree(holder.kind) and is_node

    def _step(self, held: Held, oid: Oid) -> Child | None:
        """Return how *held* calls an object, None if it has it not; few states are read for it."""
        return self._steps(held).get(oid) if may_mention(held.data, oid) else None

    def _steps(self, held: Held) -> Mapping[Oid, Child]:
        key = held.oid, held.tid
        found = self._read.pop(key, None)
        if found is None:
            found = steps_from(held)
        self._read[key] = found
        if len(self._read) > _READ:
            self._read.popitem(last=False)
        return found
