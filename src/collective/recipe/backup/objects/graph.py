"""The references between all objects at a moment, and what the root reaches: all in arrays.

All current records are read once, in the order of the log.  Records that two moments have in common
are read for the first of them alone.  Objects have numbers here, from 1 on: some 50 bytes for each,
and 4 for each reference.

Objects to which only the *tools* of a site lead (see ``subtree``) are reached after all others: a
catalogue that still knows a page does not bring it back, and nodes of its BTrees come and go.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.current import Held, Objects, OidNumbers
from collective.recipe.backup.objects.inert import UnreadableStateError
from collective.recipe.backup.objects.paths import ROOT
from collective.recipe.backup.objects.references import leading_down
from collective.recipe.backup.objects.subtree import OUTSIDE
from collective.recipe.backup.times import Tid

ROOT_NUMBER = 1

HELD, KNOWN = 1, 2
"""Ways in which an object is reached: from an object that holds it, or only from a tool."""

_SITES = ("OFS.Application.", "Products.CMFPlone.Portal.")
_TOOLS = tuple(each for each in OUTSIDE if each not in _SITES)
_ROOM = 4096


class Numbering:
    """A number for each object, and what the records that were read refer to."""

    def __init__(self) -> None:
        self._numbers = OidNumbers()
        self._oids = array("Q", [0])
        self.targets = array("I")
        self.number(ROOT)

    def __len__(self) -> int:
        """Return one more than the greatest number."""
        return len(self._oids)

    def number(self, oid: Oid) -> int:
        """Return the number of *oid*, which gets one if it has none."""
        number = self._numbers[oid]
        if not number:
            number = self._numbers[oid] = len(self._oids)
            self._oids.append(int.from_bytes(oid, "big"))
        return number

    def oid(self, number: int) -> Oid:
        """Return which object has *number*."""
        return Oid(self._oids[number].to_bytes(8, "big"))


class Graph:
    """The references between *objects*; see the top of the module."""

    def __init__(self, objects: Objects, numbering: Numbering, known: Graph | None = None) -> None:
        """Read all, but for records that the *known* graph has as well.

        Raises IntegrityError if the log is damaged.
        """
        self.objects = objects
        self.numbering = numbering
        self.unreadable = 0
        """Objects whose state cannot be read; their references are taken from *known*."""
        self._tids, self._first, self._count = array("Q"), array("Q"), array("I")
        self._tools = bytearray()
        if known is not None:
            for oid in objects.unchanged():
                number = numbering.number(oid)
                self._make_room(number)
                self._take(number, known)
        for record in objects.records():
            number = numbering.number(record.oid)
            self._make_room(number)
            if known is not None and known.tid(number) == record.tid:
                self._take(number, known)
                continue
            held = objects.held(record)
            if held is not None:
                self._read(number, held, known)
        self._make_room(len(numbering))
        self._walk()

    def tid(self, number: int) -> Tid | None:
        """Return which transaction wrote an object; None: it is not there."""
        tid = self._tids[number] if number < len(self._tids) else 0
        return Tid(tid.to_bytes(8, "big")) if tid else None

    def targets(self, number: int) -> Sequence[int]:
        """Return what an object refers to."""
        first = self._first[number] if number < len(self._first) else 0
        return self.numbering.targets[first : first + self._count[number]] if first else ()

    def reach(self, number: int) -> int:
        """Return how an object is reached: HELD, KNOWN, or 0 for not at all."""
        return self._reached[number] if number < len(self._reached) else 0

    def parent(self, number: int) -> int:
        """Return from where an object is reached first; 0: it is the root, or not reached."""
        return self._parents[number]

    def held(self) -> Iterator[int]:
        """Yield the objects that the root holds, each parent before the objects reached from it."""
        return iter(self._order)

    def in_order(self, numbers: Iterable[int]) -> array[int]:
        """Return *numbers* in the order of the log, in which their objects are read quickest."""
        found = array("I", numbers)
        oids = self.objects.in_order(map(self.numbering.oid, found))
        return array("I", map(self.numbering.number, oids))

    def load(self, number: int) -> Held | None:
        """Return an object."""
        return self.objects.load(self.numbering.oid(number))

    def _make_room(self, number: int) -> None:
        lacking = number + 1 - len(self._tids)
        if lacking > 0:
            room = max(lacking, _ROOM)
            for each in (self._tids, self._first, self._count):
                each.frombytes(bytes(room * each.itemsize))
            self._tools.extend(bytes(room))

    def _take(self, number: int, known: Graph) -> None:
        for mine, theirs in (
            (self._tids, known._tids),
            (self._first, known._first),
            (self._count, known._count),
        ):
            mine[number] = theirs[number]
        self._tools[number] = known._tools[number]

    def _read(self, number: int, held: Held, known: Graph | None) -> None:
        targets = self.numbering.targets
        try:
            found = leading_down(held.data)
        except UnreadableStateError:
            self.unreadable += 1
            if known is not None and known.tid(number) is not None:
                self._take(number, known)
        else:
            if not targets:
                targets.append(0)  # so that no place is 0
            self._first[number], self._count[number] = len(targets), len(found)
            targets.extend(map(self.numbering.number, found))
        self._tids[number] = int.from_bytes(held.tid, "big")
        self._tools[number] = held.kind.startswith(_TOOLS)

    def _walk(self) -> None:
        self._reached = bytearray(len(self._tids))
        self._parents = array("I", bytes(4 * len(self._tids)))
        self._order = array("I")
        level, tools = [ROOT_NUMBER], array("I")
        self._reached[level[0]] = HELD
        for how in (HELD, KNOWN):
            while level:
                if how == HELD:
                    self._order.extend(level)
                level = list(self._next(level, how, tools))
            level = list(tools)

    def _next(self, level: Sequence[int], how: int, tools: array[int]) -> Iterator[int]:
        reached, parents, tids = self._reached, self._parents, self._tids
        for number in level:
            if how == HELD and self._tools[number]:
                tools.append(number)
                continue
            for target in self.targets(number):
                if not reached[target] and tids[target]:
                    reached[target] = how
                    parents[target] = number
                    yield target
