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
        self._known: OrderedDict[int, str | None] = OrderedDict()  # paths
        names = self._names(ROOT_NUMBER)
        self._has_application = any(each.name == APPLICATION for each in names.values())

    def step(self, number: int) -> Step:
        """Return the step to an object from what it is reached from."""
        container = self._graph.parent(number)
        child = self._child(number)
        if child is not None:
            while self._graph.parent(container) and self._child(container) is None:
                container = self._graph.parent(container)
        return Step(container, child)

    def path(self, number: int) -> str:
        """Return the path of an object; its oid if none leads there, beside ``Application``."""
        passed: list[int] = []
        at = number
        while self._graph.parent(at) and at not in self._known:
            passed.append(at)
            at = self._graph.parent(at)
        # the root of a site with an application has no path
        path = self._known.pop(at, None if self._has_application else "")
        self._known[at] = path
        for each in reversed(passed):
            path = self._below(path, each)
            self._known[each] = path
        while len(self._known) > max(_READ, len(passed)):
            self._known.popitem(last=False)
        return self._graph.numbering.oid(number).hex() if path is None else path or "/"

    def _below(self, path: str | None, number: int) -> str | None:
        """Return the path of an object whose parent has *path*; None: it is beside the site."""
        child = self._child(number)
        if child is None:
            return path
        if path is not None:
            return f"{path}/{child.name}"
        is_site = child.name == APPLICATION and self.step(number).container == ROOT_NUMBER
        return "" if is_site else None

    def _child(self, number: int) -> Child | None:
        """Return how the parent of an object calls it; None: a path goes through it."""
        parent = self._graph.parent(number)
        found = self._names(parent).get(self._graph.numbering.oid(number)) if parent else None
        return found if found is not None and found.name else None

    def _names(self, number: int) -> dict[Oid, Child]:
        found = self._read.pop(number, None)
        if found is None:
            held = self._graph.load(number)
            found = {} if held is None else steps_from(held)
        self._read[number] = found
        if len(self._read) > _READ:
            self._read.popitem(last=False)
        return found
