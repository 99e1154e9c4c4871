"""The present paths of objects of an earlier moment that were moved since."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from collective.recipe.backup.model import Oid
from collective.recipe.backup.objects.current import Objects
from collective.recipe.backup.objects.graph import HELD, Graph, Numbering
from collective.recipe.backup.objects.graphpaths import GraphPaths


class Elsewhere(NamedTuple):
    """An object that is held now."""

    oid: Oid  # of the object
    path: str  # from the root of the live site


def held_now(now: Objects, oids: Iterable[Oid]) -> list[Elsewhere]:
    """Return which of *oids* something still holds: of what is held together, the uppermost.

    All objects are read only if one of *oids* is still known.  Raises IntegrityError.
    """
    known = [oid for oid in oids if oid in now]
    if not known:
        return []
    numbering = Numbering()
    graph = Graph(now, numbering)
    paths = GraphPaths(graph)
    numbers = {numbering.number(oid) for oid in known}
    return [
        Elsewhere(oid, paths.path(number))
        for oid in known
        if graph.reach(number := numbering.number(oid)) == HELD
        and graph.parent(number) not in numbers
    ]
