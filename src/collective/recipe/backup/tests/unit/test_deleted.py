"""What is gone between two moments: named with its path, its moment and who did it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from persistent.mapping import PersistentMapping

from collective.recipe.backup.cli import main
from collective.recipe.backup.operations.deleted import TwoMoments, compared, deleted
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_objects import Folder, filled


@contextmanager
def by(site: Site, user: str, at: datetime) -> Iterator[Any]:
    """Yield the application of *site*, to be changed by *user*."""
    with site._at(at) as db, db.transaction(note=f"/{user}/was/here") as connection:
        connection.transaction_manager.get().user = user
        yield connection.root()["Application"]


def minutes(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


@pytest.mark.parametrize("made", [Operated, OperatedInRepository])
def test_what_is_gone_is_told_with_who_did_it_and_what_moved_is_not_gone(
    site: Site, made: Callable[[Site], Operated]
) -> None:
    filled(site)
    operated = made(site)
    operated.backup()
    with by(site, "jane", minutes(1)) as app:
        del app.Plone._tree["news"]._tree["page-001"]
    with by(site, "joe", minutes(2)) as app:
        del app.Plone._tree["many"]
    with by(site, "rose", minutes(3)) as app:
        news = app.Plone._tree["news"]._tree
        news["renamed"] = news["page-002"]
        del news["page-002"]
    with by(site, "jim", minutes(4)) as app:
        app.Plone._tree["news"]._tree["page-000"] = PersistentMapping()
    with compared(operated.run("objects"), TwoMoments(before=None, after=None, live=True)) as both:
        found = {each.gone.path: each for each in deleted(both, "/")}
    told = {
        path: (each.gone.departure.user, each.objects, each.blobs[:2], each.gone.moved_to)
        for path, each in found.items()
        if each.gone.departure is not None and each.gone.departure.is_exact
    }
    many = found["/Plone/many"]
    assert told == {
        # a page, its mapping, the list in that, and the blob
        "/Plone/news/page-001": (b"jane", 4, (1, 4), ""),
        # 200 pages, and the folder with its tree and buckets
        "/Plone/many": (b"joe", many.objects, (0, 0), ""),
        "/Plone/news/page-002": (b"rose", 0, (0, 0), "/Plone/news/renamed"),
        "/Plone/news/page-000": (b"jim", 4, (1, 4), ""),
    }
    assert 202 < many.objects < 220
    assert [path for path, each in found.items() if each.gone.is_replaced] == [
        "/Plone/news/page-000"
    ]


def test_a_pack_hides_no_deletion(site: Site) -> None:
    filled(site)
    operated = Operated(site)
    operated.backup()
    with by(site, "jane", minutes(1)) as app:
        del app.Plone._tree["news"]
    with by(site, "last", minutes(2)) as app:
        app.Plone._tree["other"] = Folder(app.Plone)
    site.pack(minutes(3))
    with compared(operated.run("objects"), TwoMoments(before=None, after=None, live=True)) as both:
        [found] = deleted(both, "/")
    assert found.gone.path == "/Plone/news"
    # the state in which jane left it is gone, and the one after it is by another
    assert found.gone.departure is not None
    assert (found.gone.departure.user, found.gone.departure.is_exact) == (b"last", False)


def test_what_went_after_its_node_divided_went_when_it_was_deleted(site: Site) -> None:
    filled(site)
    operated = Operated(site)
    operated.backup()
    with by(site, "jane", minutes(1)) as app:
        many = app.Plone._tree["many"]._tree
        for number in range(150):  # page-199 comes into another node
            many[f"page-198-{number:03}"] = PersistentMapping()
    with by(site, "joe", minutes(2)) as app:
        del app.Plone._tree["many"]._tree["page-199"]
    with by(site, "rose", minutes(3)) as app:
        many = app.Plone._tree["many"]._tree
        app.Plone._tree["news"]._tree["moved"] = many["page-198"]
        del many["page-198"]
    with compared(operated.run("objects"), TwoMoments(before=None, after=None, live=True)) as both:
        found = [each.gone for each in deleted(both, "/")]
    assert [
        (each.path, each.moved_to, each.departure and each.departure.user) for each in found
    ] == [
        ("/Plone/many/page-199", "", b"joe"),
        ("/Plone/many/page-198", "/Plone/news/moved", b"rose"),
    ]


def test_what_moves_between_the_nodes_of_a_tree_is_not_told(site: Site) -> None:
    filled(site)
    operated = Operated(site)
    operated.backup()
    with by(site, "jane", minutes(1)) as app:
        many = app.Plone._tree["many"]._tree
        for number in range(150):  # buckets divide
            many[f"page-100-{number:03}"] = PersistentMapping()
    with by(site, "joe", minutes(2)) as app:
        many = app.Plone._tree["many"]._tree
        for number in range(40, 120):  # and buckets are given up
            many.pop(f"page-{number:03}")
    with compared(operated.run("objects"), TwoMoments(before=None, after=None, live=True)) as both:
        found = deleted(both, "/Plone/many")
    assert [each.gone.path for each in found] == [
        f"/Plone/many/page-{number:03}" for number in range(40, 120)
    ]
    assert {each.gone.departure and each.gone.departure.user for each in found} == {b"joe"}


class Catalog(PersistentMapping):
    """Stands for that of a site, which still knows what was deleted."""


Catalog.__module__ = "Products.ZCatalog.Catalog"


def test_what_only_a_tool_still_refers_to_is_gone(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType(Catalog.__module__)
    module.Catalog = Catalog  # type: ignore[attr-defined]
    for name in ("Products", "Products.ZCatalog", Catalog.__module__):
        monkeypatch.setitem(sys.modules, name, module)
    filled(site)
    operated = Operated(site)
    with by(site, "admin", minutes(-1)) as app:
        app.tool["catalog"] = Catalog(page=app.Plone._tree["news"]._tree["page-001"])
    operated.backup()
    with by(site, "jane", minutes(1)) as app:
        del app.Plone._tree["news"]._tree["page-001"]
    with compared(operated.run("objects"), TwoMoments(before=None, after=None, live=True)) as both:
        [found] = deleted(both, "/")
    assert (found.gone.path, found.gone.is_known, found.gone.moved_to) == (
        "/Plone/news/page-001",
        True,
        "",
    )


def test_a_moment_a_path_and_a_later_moment_are_named(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str, code: int = 0) -> str:
        assert main("objects", "standard", operated.config_path, arguments) == code
        return "".join(capsys.readouterr())

    filled(site)
    operated = Operated(site)
    operated.backup()
    with by(site, "jane", minutes(1)) as app:
        del app.Plone._tree["news"]._tree["page-001"]
        app.Plone._tree["news"]._tree["page-002"].annotations = PersistentMapping()
    operated.now = minutes(60)
    operated.backup()
    first = operated.points()[0].stamp
    words = told(first, "/Plone", "--deleted")
    assert "jane" in words and "/Plone/news/page-001: " in words and "page-002" not in words
    assert "and 1 attribute, see --attributes" in words
    assert words == told(first, "/Plone", "--deleted", "--until", minutes(90).isoformat())
    document = json.loads(told(first, "--deleted", "--attributes", "--json"))
    assert [each["path"] for each in document["deleted"]] == [
        "/Plone/news/page-001",
        "/Plone/news/page-002/annotations",
    ]
    assert [each["replaced"] for each in document["deleted"]] == [False, True]
    assert document["deleted"][0]["transaction"]["description"] == "/jane/was/here"
    assert document["deleted"][0]["transaction"]["exact"] is True
    assert (document["deleted"][0]["blobs"], document["deleted"][0]["blob_bytes"]) == (1, 4)
    assert "nothing is gone" in told("--deleted", "--path", "/Plone/many", first)
    said = told("--deleted")
    assert "nothing is gone between the newest restore point and the live site; an earl" in said
    said = told("--deleted", first, first, code=2)
    assert "the later moment stands after --until" in said
    assert "exchange them" in told(minutes(90).isoformat(), "--deleted", "--until", first, code=2)
    assert "--until is for --deleted" in told("--until", first, code=2)
    assert "--deleted compares two moments" in told("--deleted", "--live", code=2)
