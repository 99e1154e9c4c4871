"""Paths of what a graph reaches, however deep it lies."""

from __future__ import annotations

from typing import Any

from persistent.mapping import PersistentMapping

from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.objects.current import Objects
from collective.recipe.backup.objects.graph import Graph, Numbering
from collective.recipe.backup.objects.graphpaths import GraphPaths
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_objects import filled

DEEP = 1500
"""More than Python may call itself, and than paths are remembered: the pieces of a large file."""


def paths_in(site: Site) -> dict[str, str]:
    """Return the path of each object by its oid."""
    with TransactionLog(site.filestorage) as log:
        graph = Graph(Objects(log), Numbering())
        paths = GraphPaths(graph)
        return {graph.numbering.oid(each).hex(): paths.path(each) for each in graph.held()}


def test_a_chain_of_any_length_has_paths(site: Site) -> None:
    with site._at(None) as db, db.transaction() as connection:
        inner: Any = PersistentMapping()
        for _piece in range(DEEP):
            inner = PersistentMapping(next=inner)
        connection.root()["first"] = inner
    found = paths_in(site).values()
    assert "/first" + "/next" * DEEP in found
    assert len(set(found)) >= DEEP


def test_what_is_beside_the_application_has_its_oid_for_a_path(site: Site) -> None:
    filled(site)
    with site._at(None) as db, db.transaction() as connection:
        connection.root()["other"] = other = PersistentMapping()
        other["Application"] = PersistentMapping()
    found = paths_in(site)
    assert found["0" * 16] == "0" * 16, "the root has none either"
    assert {"/", "/Plone", "/Plone/news/page-001"} < set(found.values())
    beside = [path for oid, path in found.items() if path == oid]
    assert len(beside) >= 3
