"""The path by which an object of a graph is reached from the root."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.graph import ROOT_NUMBER, Graph
from collective.recipe.backup.objects.paths import APPLICATION, Child, steps_from

_READ = 256
"""Objects of which the names are held: a node of a BTree has some dozens."""


class Step(NamedTuple):
    """The last step of a path."""

    container: int  # the number of what has the name; 0: there is none, as of the root
    child: Child | None  # None: a path goes through the object without a step


class GraphPaths:
    """Names for what *graph* reaches."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._read: OrderedDict[int, dict[Oid, Child]] = OrderedDict()
        names = self._names(ROOT_NUMBER)
        self._has_application = any(each.name == APPLICATION for each in names.values())

    def step(self, number: int) -> Step:
        """Return the step to an object from what it is reached from."""
        parent = self._graph.parent(number)
        if not parent:
            return Step(0, None)
        child = self._names(parent).get(self._graph.numbering.oid(number))
        if child is None or not child.name:
            return Step(parent, None)
        container = parent
        while self._graph.parent(container) and self.step(container).child is None:
            container = self._graph.parent(container)
        return Step(container, child)

    def path(self, number: int) -> str:
        """Return the path of an object; its oid if none leads there, beside ``Application``."""
        names: list[str] = []
        at = number
        while self._graph.parent(at):
            step = self.step(at)
            if step.child is not None:
                names.append(step.child.name)
            at = step.container
        if self._has_application and names.pop() != APPLICATION:
            return self._graph.numbering.oid(number).hex()
        return "/" + "/".join(reversed(names))

    def _names(self, number: int) -> dict[Oid, Child]:
        found = self._read.pop(number, None)
        if found is None:
            held = self._graph.load(number)
            found = {} if held is None else steps_from(held)
        self._read[number] = found
        if len(self._read) > _READ:
            self._read.popitem(last=False)
        return found
