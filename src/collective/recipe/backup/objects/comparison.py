"""Comparison of two moments: objects that are gone, and objects that have moved."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.current import Held, Objects
from collective.recipe.backup.objects.departure import Departure, Departures, HolderLink
from collective.recipe.backup.objects.graph import HELD, KNOWN, Graph, Numbering
from collective.recipe.backup.objects.graphpaths import GraphPaths, Step
from collective.recipe.backup.objects.paths import Child, children, steps_from

_LINKS = 100
"""Holders above each other that are asked when an object went: a BTree has some levels of nodes."""

_CONTAINERS = 8
"""Containers whose names at the later moment are held in memory at once."""


class GoneObject(NamedTuple):
    """Something that is no longer where it was."""

    path: str  # the path that it had
    held: Held  # as it was, without its data
    child: Child  # how its container had it
    moved_to: str  # the path that it has now; "": it is gone
    is_replaced: bool  # something else is at its path
    is_known: bool  # a tool of the site, such as the catalogue, still refers to it
    departure: Departure | None  # None: nothing tells when it went

    @property
    def marks(self) -> tuple[str, ...]:
        """Remarks about it, in words."""
        is_exact = self.departure is None or self.departure.is_exact
        words = {
            f"moved to {self.moved_to}": self.moved_to,
            "something else is there": self.is_replaced,
            "a tool still refers to it": self.is_known,
            "then or before": not is_exact,
        }
        return tuple(each for each, is_so in words.items() if is_so)


class Loss(NamedTuple):
    """Something that is gone, and all that went with it, itself included."""

    gone: GoneObject  # the uppermost of the objects that are gone together
    oids: list[Oid]  # all objects that are gone, that one included


class Comparison:
    """The objects *before* and *after*, which may be those of a backup and of the live site."""

    def __init__(self, before: Objects, after: Objects) -> None:
        """Read both.  Raises IntegrityError for a damaged log."""
        self.numbering = Numbering()
        self.before = Graph(before, self.numbering)
        self.after = Graph(after, self.numbering, self.before)
        self._paths_before = GraphPaths(self.before)
        self._paths_after = GraphPaths(self.after)
        self._departures = Departures(after)
        self._names: OrderedDict[int, dict[str, Oid]] = OrderedDict()

    def losses(self, below: str = "/") -> Iterator[Loss]:
        """Yield losses *below* a path; of objects that went together, only the uppermost."""
        owners = array("I", bytes(4 * len(self.numbering)))
        roots: dict[int, list[Oid]] = {}
        steps: dict[int, Step] = {}
        for number in self.before.held():
            if self.after.reach(number) == HELD:
                continue
            owner = owners[self.before.parent(number)]
            if not owner:
                step = self._paths_before.step(number)
                if step.child is None:
                    continue  # a node of a BTree, of which the entries count
                owner = number
                steps[number] = step
            owners[number] = owner
            roots.setdefault(owner, []).append(self.numbering.oid(number))
        for number, oids in roots.items():
            if is_below(self._paths_before.path(number), below):
                gone = self._gone(number, steps[number])
                if gone is not None:
                    yield Loss(gone, oids)

    def moves(self, below: str = "/") -> Iterator[GoneObject]:
        """Yield objects that were *below* a path, and now have another one."""
        for holder in self._renaming():
            for number in self._still_there(holder):
                yield from self._moved(number, below)

    def _renaming(self) -> Iterator[int]:
        """Yield each object that had another one under a name, or in a place, and has it not now.

        Most of what has changed has not changed any name.  So the names of each are compared by
        a hash: the states of the later moment are read in the order of its log, and then those of
        the earlier one, and none of them twice.
        """
        changed = array("I")
        in_place = self._in_place()
        for holder in self.before.held():
            if self._has_changed(holder) and any(self._still_there(holder)):
                if all(map(in_place.__getitem__, self._still_there(holder))):
                    changed.append(holder)
                else:
                    yield holder
        names = array("q", bytes(8 * len(self.numbering)))
        for holder in self.after.in_order(changed):
            names[holder] = self._hash_of_names(self.after, holder)
        for holder in self.before.in_order(changed):
            if names[holder] != self._hash_of_names(self.before, holder):
                yield holder

    def _has_changed(self, holder: int) -> bool:
        is_there = self.after.reach(holder) == HELD
        return not is_there or self.before.tid(holder) != self.after.tid(holder)

    def _still_there(self, holder: int) -> Iterator[int]:
        """Yield each object that was reached from *holder* and that anything holds now."""
        for number in self.before.targets(holder):
            if self.before.parent(number) == holder and self.after.reach(number) == HELD:
                yield number

    def _in_place(self) -> bytearray:
        """Return for each object whether it is reached through the same ones as before."""
        found = bytearray(len(self.numbering))
        for number in self.before.held():  # each parent first
            if self.after.reach(number) == HELD:
                parent = self.before.parent(number)
                found[number] = self.after.parent(number) == parent and (
                    not parent or found[parent]
                )
        return found

    def _hash_of_names(self, graph: Graph, holder: int) -> int:
        held = graph.load(holder)
        steps = {} if held is None else steps_from(held)
        found = map(steps.get, map(self.numbering.oid, self._still_there(holder)))
        return hash(tuple(child and child.name for child in found))

    def _moved(self, number: int, below: str) -> Iterator[GoneObject]:
        before, after = self._paths_before.step(number), self._paths_after.step(number)
        if before.child is None or after.child is None:
            return
        same = before.container == after.container and before.child.name == after.child.name
        if same or self._name(before).get(before.child.name) == self.numbering.oid(number):
            return
        path, now = self._paths_before.path(number), self._paths_after.path(number)
        gone = self._gone(number, before, now) if path != now and is_below(path, below) else None
        if gone is not None:
            yield gone

    def _gone(self, number: int, step: Step, moved_to: str = "") -> GoneObject | None:
        held = self.before.load(number)
        if held is None or step.child is None:
            return None
        when = self._departures.of_moved if moved_to else self._departures.of_gone
        return GoneObject(
            path=self._paths_before.path(number),
            held=held._replace(data=b""),
            child=step.child,
            moved_to=moved_to,
            is_replaced=step.child.name in self._name(step),
            is_known=self.after.reach(number) == KNOWN,
            departure=when(list(islice(self._links(number), _LINKS))),
        )

    def _links(self, number: int) -> Iterator[HolderLink]:
        """Yield the link to the holder of the object, then that to its holder, and so on."""
        graph = self.before
        while parent := graph.parent(number):
            tid = graph.tid(parent)
            child = self._paths_before.step(number).child
            if tid is not None:
                holder, oid = self.numbering.oid(parent), self.numbering.oid(number)
                yield HolderLink(holder, oid, child.name if child else "", tid)
            if self.after.reach(parent) == HELD:
                return
            number = parent

    def _name(self, step: Step) -> dict[str, Oid]:
        """Return what the container has at the later moment."""
        names = self._names.pop(step.container, None)
        if names is None:
            held = self.after.load(step.container)
            found = [] if held is None else children(self.after.objects, held)
            names = {each.name: each.oid for each in found}
        self._names[step.container] = names
        if len(self._names) > _CONTAINERS:
            self._names.popitem(last=False)
        return names


def is_below(path: str, above: str) -> bool:
    """Tell whether *path* is *above* or leads on from there."""
    return path == above or path.startswith(f"{above.rstrip('/')}/")
