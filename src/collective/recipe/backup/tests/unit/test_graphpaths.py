"""Paths of what a graph reaches, however deep it lies."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from persistent.mapping import PersistentMapping
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.utils import p64, z64

from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.objects import graphpaths
from collective.recipe.backup.objects.current import Objects
from collective.recipe.backup.objects.graph import Graph, Numbering
from collective.recipe.backup.objects.graphpaths import GraphPaths
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_hostile_site import FIRST, MAPPING, record, to
from collective.recipe.backup.tests.unit.test_objects import filled

EVIL = b"cevil\nClass\n"

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


CHAIN = 3000


def chained(site: Site) -> None:
    """Let a chain of names lie in *site*, and one of nodes without names, with a leaf at each."""
    names = {FIRST + at: record(b"}U\x01n" + to(at + 1, EVIL) + b"s") for at in range(CHAIN)}
    nodes = {
        FIRST + CHAIN + at: record(
            b"(" + to(CHAIN + at + 1, EVIL) + b"}U\x01l" + to(2 * CHAIN + at + 1, EVIL) + b"st"
        )
        for at in range(1, CHAIN)
    }
    ends = [FIRST + CHAIN, *(FIRST + 2 * CHAIN + at for at in range(CHAIN + 1))]
    storage = FileStorage(str(site.filestorage))
    try:
        meta = TransactionMetaData("attacker", "raw")
        storage.tpc_begin(meta)
        for number, data in {**names, **nodes, **dict.fromkeys(ends, record(b"}"))}.items():
            storage.store(p64(number), z64, data, "", meta)
        root, serial = storage.load(z64)
        first = b"U\x05names" + to(0, EVIL) + b"U\x05nodes" + to(CHAIN + 1, EVIL)
        storage.store(z64, serial, record(b"}U\x04data}(" + first + b"us", MAPPING), "", meta)
        storage.tpc_vote(meta)
        storage.tpc_finish(meta)
    finally:
        storage.close()


def test_chains_of_a_million_objects_cost_no_more_for_each_of_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in text nor in steps upwards, in whatever order one asks; nothing is left out."""
    monkeypatch.setattr(graphpaths, "LONGEST", 100)
    monkeypatch.setattr(graphpaths, "_PATHS", 20)
    steps = 0

    def counted(self: Graph, number: int) -> int:
        nonlocal steps
        steps += 1
        return parent(self, number)

    parent = Graph.parent
    chained(site)
    with TransactionLog(site.filestorage) as log:
        graph = Graph(Objects(log), Numbering())
        monkeypatch.setattr(Graph, "parent", counted)
        order = list(graph.held())
        found = []
        for wanted in (order, order[::-1], order[::2] + order[1::2]):
            paths = GraphPaths(graph)
            found.append({number: paths.path(number) for number in wanted})
            assert {number: paths.path(number) for number in wanted} == found[-1]
            for number in wanted:
                paths.step(number)
    assert found[0] == found[1] == found[2]
    paths_of = Counter(path.split("/")[1] for path in found[0].values())
    assert (paths_of["names"], paths_of["nodes"]) == (CHAIN + 1, 2 * CHAIN - 1)
    assert 90 < max(map(len, found[0].values())) <= 100 + len("/...")
    assert Counter(found[0].values())["/nodes/l"] == CHAIN - 1
    assert steps < 60 * len(order)
