"""The path by which an object of a graph is reached from the root.

A path goes from *anchor* to anchor: objects that have a name where they are reached from, and the
root.  All others, such as the nodes of a BTree, have the path of the anchor above them.  Strangers
can nest a million objects, so the anchor of each is remembered, 4 bytes for each object, and a path
that would be longer than LONGEST is cut: see ``CUT``.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import NamedTuple

from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.graph import ROOT_NUMBER, Graph
from collective.recipe.backup.objects.paths import APPLICATION, Child, steps_from

LONGEST = 8192
"""Characters of a path."""

CUT = "..."
"""In the place of all further steps of a longer one: objects there share one path."""

_READ = 256
"""Objects of which the names are held: a node of a BTree has some dozens."""

_PATHS = 4096
"""Paths that are held."""


class Step(NamedTuple):
    """The last step of a path."""

    container: int  # the number of what has the name; 0: there is none, as of the root
    child: Child | None  # None: a path goes through the object without a step


class GraphPaths:
    """Names for what *graph* reaches."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._read: OrderedDict[int, dict[Oid, Child]] = OrderedDict()
        self._known: OrderedDict[int, str | None] = OrderedDict()  # paths of anchors
        size = len(graph.numbering)
        self._anchors = array("I", bytes(4 * size))  # 0: not known yet
        self._cuts = array("I", bytes(4 * size))
        """Of an anchor the first one on its path that would be too long; 0: none, or not known."""
        names = self._names(ROOT_NUMBER)
        self._has_application = any(each.name == APPLICATION for each in names.values())

    def step(self, number: int) -> Step:
        """Return the step to an object from what it is reached from."""
        parent, child = self._graph.parent(number), self._child(number)
        return Step(self._anchor(parent) if child is not None else parent, child)

    def path(self, number: int) -> str:
        """Return the path of an object; its oid if none leads there, beside ``Application``."""
        passed: list[int] = []
        at = self._anchor(number)
        at = self._cuts[at] or at
        while self._graph.parent(at) and at not in self._known:
            passed.append(at)
            at = self._anchor(self._graph.parent(at))
            if self._cuts[at]:
                at = self._cuts[at]
        # the root of a site with an application has no path
        path = self._known.pop(at, None if self._has_application else "")
        self._known[at] = path
        cut = self._cuts[at]
        for each in reversed(passed):
            if cut:
                self._cuts[each] = cut
                continue
            path = self._below(path, each)
            if path is not None and len(path) > LONGEST:
                path = f"{path[:LONGEST].rpartition('/')[0]}/{CUT}"
                cut = self._cuts[each] = each
            self._known[each] = path
        while len(self._known) > _PATHS:
            self._known.popitem(last=False)
        return self._graph.numbering.oid(number).hex() if path is None else path or "/"

    def _below(self, path: str | None, number: int) -> str | None:
        """Return the path of an anchor below *path*; None: it is beside the site."""
        child = self._child(number)
        if child is None:
            return path
        if path is not None:
            return f"{path}/{child.name}"
        is_site = child.name == APPLICATION and self.step(number).container == ROOT_NUMBER
        return "" if is_site else None

    def _anchor(self, number: int) -> int:
        """Return *number* if it has a name or is the root, else the next one above it that does."""
        passed: list[int] = []
        at = number
        while not self._anchors[at] and self._graph.parent(at) and self._child(at) is None:
            passed.append(at)
            at = self._graph.parent(at)
        found = self._anchors[at] or at
        self._anchors[at] = found
        for each in passed:
            self._anchors[each] = found
        return found

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
