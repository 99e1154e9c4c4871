"""One thing brought back into the live site, by a script that its Zope runs."""

from __future__ import annotations

import base64
import json
import pickle
import random
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transaction
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.utils import p64

from collective.recipe.backup.cli import main
from collective.recipe.backup.model import Oid
from collective.recipe.backup.operations import zopescript
from collective.recipe.backup.operations.bringback import script_for
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import Operated, typed
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_extract import bytes_of
from collective.recipe.backup.transactions.renumbering import Lives, Renumbered, renumbered_by

INDEXED: list[str] = []
"""The titles of what the catalogue was told of."""

DATES: dict[str, Any] = {}
"""The dates that these had then, by title."""


class OfsFolder(Persistent):
    """Takes its contents as a folder of Zope does."""

    def __init__(self, title: str, parent: Any = None) -> None:
        self.title = title
        self._tree = OOBTree()
        self.__parent__ = parent

    def _getOb(self, name: str, default: Any) -> Any:
        return self._tree.get(name, default)

    def _setObject(self, name: str, found: Any, *, set_owner: int = 1) -> None:
        assert not set_owner
        self._tree[name] = found
        for each in (found, *getattr(found, "_tree", {}).values()):
            if hasattr(each, "modification_date"):
                each.modification_date = "now"  # as Plone has it of what is put into a folder

    def objectValues(self) -> list[Any]:
        return list(self._tree.values())

    def indexObject(self) -> None:
        INDEXED.append(self.title)
        DATES[self.title] = getattr(self, "modification_date", None)


class Catalog(Persistent):
    """Knows paths by uids, as that of Plone does."""

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known

    def unrestrictedSearchResults(self, UID: str) -> list[Any]:  # noqa: N803  as Plone has it
        return [SimpleNamespace(getPath=lambda: self.known[UID])] if UID in self.known else []


class Image(Persistent):
    def __init__(self, data: bytes) -> None:
        self.file = Blob(data)


def added(site: Site) -> None:
    with site._at(None) as db, db.transaction() as connection:
        app = connection.root()["Application"] = OfsFolder("app")
        app._tree["Plone"] = plone = OfsFolder("Plone", app)
        plone._tree["news"] = news = OfsFolder("news", plone)
        news._tree["logo"] = Image(b"pixels")
        news._tree["sub"] = OfsFolder("sub", news)
        plone._tree["page"] = Image(b"a page")
        plone._tree["plain"] = PersistentMapping(note=OOBTree({"text": "hello"}))


@contextmanager
def live(site: Site) -> Iterator[Any]:
    with site.opened() as db:
        connection = db.open()
        try:
            yield connection.root()["Application"]
        finally:
            transaction.abort()
            connection.close()


def run(app: Any, script: Path) -> None:
    """Run *script* as ``bin/instance run`` does."""
    exec(compile(script.read_text(), script, "exec"), {"app": app, "__name__": "__main__"})


def deleted(site: Site, folder: str, name: str) -> None:
    with live(site) as app:
        found = app._tree["Plone"]
        for step in filter(None, folder.split("/")):
            found = found._tree[step]
        contents = getattr(found, "_tree", found)
        del contents[name]
        transaction.commit()


def undelete(operated: Operated, path: str, export: Path, *more: str) -> int:
    arguments = ["--path", path, "--file", str(export), *more]
    return main("undelete", "standard", operated.config_path, arguments)


def test_a_deleted_folder_comes_back_with_its_blobs_and_the_catalogue_is_told(
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    added(site)
    operated = Operated(site)
    operated.backup()
    deleted(site, "", "news")
    export = tmp_path / "news.zexp"
    assert undelete(operated, "/Plone/news", export) == 0
    script = tmp_path / "news.zexp.py"
    assert str(script) in capsys.readouterr().out
    assert "collective.recipe" not in script.read_text()
    INDEXED.clear()
    before = site.filestorage.read_bytes()
    with live(site) as app:
        monkeypatch.setattr(sys, "argv", ["instance", "--dry-run"])
        run(app, script)
        assert "nothing was written" in capsys.readouterr().out
        assert site.filestorage.read_bytes() == before
        monkeypatch.setattr(sys, "argv", ["instance"])
        run(app, script)
        assert "it is back; the catalogue was told of 2" in capsys.readouterr().out
    after = site.filestorage.read_bytes()
    assert after.count(b"/Plone/news: brought back from a backup") == 1
    with live(site) as app:
        plone = app._tree["Plone"]
        news = plone._tree["news"]
        assert bytes_of(news._tree["logo"].file) == b"pixels"
        assert news.__parent__ is plone
        assert news._tree["sub"].__parent__ is news
        assert INDEXED == ["news", "sub"]
        with pytest.raises(SystemExit, match="the name is taken"):
            run(app, script)
    assert site.filestorage.read_bytes() == after


def test_each_conflict_is_named_and_nothing_is_written(site: Site, tmp_path: Path) -> None:
    added(site)
    operated = Operated(site)
    operated.backup()
    assert undelete(operated, "/Plone/news/sub", tmp_path / "sub") == 0
    deleted(site, "", "news")
    before = site.filestorage.read_bytes()
    with live(site) as app:
        with pytest.raises(SystemExit, match="the parent is gone: there is no '/Plone/news'"):
            run(app, tmp_path / "sub.py")
        transaction.abort()
        app._tree["Plone"]._tree["news"] = Image(b"in its place")
        with pytest.raises(SystemExit, match="the parent is no folder, but a Image"):
            run(app, tmp_path / "sub.py")
        (tmp_path / "sub").unlink()
        with pytest.raises(SystemExit, match="there is no export"):
            run(app, tmp_path / "sub.py")
    assert site.filestorage.read_bytes() == before


def test_what_was_in_a_plain_mapping_comes_back_into_it(site: Site, tmp_path: Path) -> None:
    added(site)
    operated = Operated(site)
    operated.backup()
    deleted(site, "plain", "note")
    assert undelete(operated, "/Plone/plain/note", tmp_path / "note.zexp") == 0
    with live(site) as app:
        run(app, tmp_path / "note.zexp.py")
    with live(site) as app:
        assert app._tree["Plone"]._tree["plain"]["note"]["text"] == "hello"


def test_a_class_that_the_site_lacks_is_named_and_nothing_is_written(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(site)
    operated = Operated(site)
    operated.backup()
    deleted(site, "", "page")
    assert undelete(operated, "/Plone/page", tmp_path / "page.zexp") == 0
    before = site.filestorage.read_bytes()
    monkeypatch.delattr(sys.modules[__name__], "Image")
    with live(site) as app, pytest.raises(ImportError, match="Image"):
        run(app, tmp_path / "page.zexp.py")
    assert site.filestorage.read_bytes() == before


@pytest.mark.parametrize("name", ["'+exit(9)+'", "\n\nexit(9)\n#", '"""', "{0}\\", "ü\udcff\u2028"])
def test_a_hostile_name_is_no_code_in_the_script(name: str, tmp_path: Path) -> None:
    text = script_for(tmp_path / f"{name}.zexp", f"/Plone/{name}/{name}", name)
    found: dict[str, Any] = {"__name__": "looked at"}
    exec(compile(text.encode("ascii"), "script", "exec"), found)
    assert (found["ABOVE"], found["NAME"], found["UID"]) == (["Plone", name], name, name)
    assert found["EXPORT"] == str(tmp_path / f"{name}.zexp")
    found["NOTE"].encode()


def test_a_script_can_be_run_at_once(
    site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    added(site)
    operated = Operated(site)
    operated.backup()
    instance = tmp_path / "instance"
    instance.write_text('#!/bin/sh\necho "$@"\nexit 1\n')
    instance.chmod(0o755)
    export = tmp_path / "news.zexp"
    more = ["--run", str(instance), "--dry-run"]
    assert undelete(operated, "/Plone/news", export, *more) != 0
    told = capfd.readouterr().err
    assert f"run {export}.py --dry-run" in told
    assert told.count("exit status") == 1
    assert "exit status 1" in told
    assert not export.exists() and not export.with_name("news.zexp.py").exists()
    assert undelete(operated, "/Plone/news", tmp_path / "other.zexp", "--dry-run") != 0
    assert not (tmp_path / "other.zexp").exists()


def test_what_a_pack_has_removed_comes_back_under_its_old_oids(site: Site, tmp_path: Path) -> None:
    added(site)
    operated = Operated(site)
    operated.backup()
    with live(site) as app:
        news = app._tree["Plone"]._tree["news"]
        old = {news._p_oid, news._tree["logo"].file._p_oid, news._tree["sub"]._p_oid}
    deleted(site, "", "news")
    assert undelete(operated, "/Plone/news", tmp_path / "first.zexp") == 0
    site.pack()
    with live(site) as app:
        # the next new objects of the site would get those oids
        run(app, tmp_path / "first.zexp.py")
        news = app._tree["Plone"]._tree["news"]
        assert news._p_oid not in old
        transaction.begin()
        del app._tree["Plone"]._tree["news"]
        transaction.commit()
        for _each in range(2 * zopescript.RESERVED):
            app._p_jar.new_oid()
        run(app, tmp_path / "first.zexp.py")
    with live(site) as app:
        news = app._tree["Plone"]._tree["news"]
        assert {news._p_oid, news._tree["logo"].file._p_oid, news._tree["sub"]._p_oid} == old
        assert bytes_of(news._tree["logo"].file) == b"pixels"
        assert news._tree["sub"].__parent__ is news


@pytest.mark.parametrize("made", [Operated, OperatedInRepository])
def test_the_history_of_what_came_back_under_a_new_oid_has_what_was_before(
    site: Site,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    made: type[Operated],
) -> None:
    """Also of a part, of an earlier life, over two times and a pack, and of the live site."""

    def told(verb: str, *arguments: str) -> list[str]:
        capsys.readouterr()
        assert act(verb, *arguments) == 0
        return [
            each["description"] or each["user"]
            for each in json.loads(capsys.readouterr().out)["transactions"]
        ]

    def act(verb: str, *arguments: str) -> int:
        return typed(operated, verb, *arguments, "--json")

    def edited(note: str) -> None:
        with live(site) as app:
            app._tree["Plone"]._tree["news"]._tree["logo"].note = note
            transaction.get().note(note)
            transaction.commit()

    added(site)
    operated = made(site, keep=0)
    oids = []
    for life in ("first", "second", "third"):
        edited(f"edited in its {life} life")
        operated.backup()
        with live(site) as app:
            oids.append(app._tree["Plone"]._tree["news"]._tree["logo"]._p_oid.hex())
        deleted(site, "", "news")
        export = tmp_path / f"{life}.zexp"
        arguments = ["--path", "/Plone/news", "--file", str(export)]
        assert act("undelete", *arguments) == 0
        with live(site) as app:
            run(app, export.with_name(f"{export.name}.py"))
        operated.backup()
    assert len(set(oids)) == 3
    site.pack()
    edited("edited in its last life")
    operated.backup()
    expected = ["edited in its first life", "/Plone/news: brought back from a backup"]
    expected += ["edited in its second life", "/Plone/news: brought back from a backup"]
    expected += ["edited in its third life", "/Plone/news: brought back from a backup"]
    expected += ["edited in its last life"]
    for asked in ("/Plone/news/logo", *oids):
        assert told("objects", "--path", asked, "--history")[-7:] == expected
        assert told("log", "--path", asked)[-7:] == expected
    assert (
        expected[-2:] == told("objects", "--path", "/Plone/news/logo", "--history", "--live")[-2:]
    )


def test_which_oids_were_replaced_is_read_as_the_script_writes_it() -> None:
    """What has no room goes from the end, and what was not replaced is not told."""
    some = {p64(1 << number): p64(3 * number) for number in range(64)}
    for oids in ({}, {p64(5): p64(5)}, {p64(2**64 - 1): p64(1), p64(1): p64(2**64 - 1)}, some):
        text = zopescript.renumbered_in_words(oids)
        found = [tuple(each) for each in renumbered_by(pickle.dumps({"backup-undelete": text}))]
        assert found == [pair for pair in oids.items() if pair[0] != pair[1]]
    draw = random.Random(1)
    many = {draw.randbytes(8): draw.randbytes(8) for _number in range(5000)}
    found = [tuple(each) for each in renumbered_by(zopescript.renumbered_in_words(many).encode())]
    assert len(found) > 1000
    assert found == list(many.items())[: len(found)]


@pytest.mark.parametrize(
    "extension",
    [
        b"backup-undelete:;",
        b"backup-undelete:AAAA;",
        b"backup-undelete:A;",
        b"backup-undelete:" + base64.b64encode(zlib.compress(b"odd")) + b";",
        b"backup-undelete:" + base64.b64encode(zlib.compress(bytes(1 << 26))),
    ],
)
def test_an_extension_of_another_kind_tells_nothing(extension: bytes) -> None:
    assert list(renumbered_by(extension)) == []


def test_lives_that_go_round_in_a_circle_end() -> None:
    bomb = b"backup-undelete:" + base64.b64encode(zlib.compress(bytes(1 << 25))) + b";"
    assert sum(1 for _each in renumbered_by(bomb)) < 1 << 19
    pairs = [Renumbered(Oid(p64(number)), Oid(p64((number + 1) % 9))) for number in range(9)]
    assert Lives(pairs).of([Oid(p64(4))]) == {Oid(p64(number)) for number in range(9)}
    assert Lives(pairs[:5]).of([Oid(p64(7))]) == {Oid(p64(7))}


def test_what_lives_elsewhere_now_is_a_conflict(site: Site, tmp_path: Path) -> None:
    added(site)
    with live(site) as app:
        setattr(app._tree["Plone"]._tree["news"], "_plone.uuid", "0123abcd")
        transaction.commit()
    operated = Operated(site)
    operated.backup()
    deleted(site, "", "news")
    assert undelete(operated, "/Plone/news", tmp_path / "news.zexp") == 0
    with live(site) as app:
        app._tree["Plone"].portal_catalog = Catalog({"0123abcd": "/Plone/page"})
        with pytest.raises(SystemExit, match="it was not deleted: it is at '/Plone/page'"):
            run(app, tmp_path / "news.zexp.py")
        # an entry that was left behind, and leads to nothing
        app._tree["Plone"].portal_catalog = Catalog({"0123abcd": "/Plone/news"})
        run(app, tmp_path / "news.zexp.py")
        assert "news" in app._tree["Plone"]._tree


def test_what_was_moved_is_a_conflict_also_where_no_catalogue_knows_it(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added(site)
    operated = Operated(site)
    operated.backup()
    with live(site) as app:
        plone = app._tree["Plone"]
        plone._tree["archive"] = OfsFolder("archive", plone)
        moved = plone._tree["news"]
        del plone._tree["news"]
        plone._tree["archive"]._tree["old"] = moved
        transaction.commit()
    assert undelete(operated, "/Plone/news", tmp_path / "news.zexp") == 2
    assert "it was not deleted: it is at '/Plone/archive/old'" in capsys.readouterr().err
    assert not list(tmp_path.glob("news.zexp*"))
    deleted(site, "archive", "old")
    assert undelete(operated, "/Plone/news", tmp_path / "news.zexp") == 0


def test_a_part_that_was_moved_away_before_is_named_as_one_that_comes_back_as_a_copy(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added(site)
    operated = Operated(site)
    operated.backup()
    with live(site) as app:
        plone = app._tree["Plone"]
        plone._tree["kept"] = plone._tree["news"]._tree["sub"]
        del plone._tree["news"]
        transaction.commit()
    assert undelete(operated, "/Plone/news", tmp_path / "news.zexp") == 0
    assert capsys.readouterr().err.count("still exists, at '/Plone/kept': a copy comes back") == 1
    with live(site) as app:
        run(app, tmp_path / "news.zexp.py")
        plone = app._tree["Plone"]
        assert plone._tree["kept"]._p_oid != plone._tree["news"]._tree["sub"]._p_oid
    capsys.readouterr()
    assert undelete(operated, "/Plone/news", tmp_path / "again.zexp", "--json") == 0
    assert json.loads(capsys.readouterr().out)["copies_of"] == ["/Plone/kept"]


def test_the_dates_of_what_comes_back_are_as_they_were(site: Site, tmp_path: Path) -> None:
    added(site)
    with live(site) as app:
        app._tree["Plone"]._tree["news"].modification_date = "long ago"
        transaction.commit()
    operated = Operated(site)
    operated.backup()
    deleted(site, "", "news")
    assert undelete(operated, "/Plone/news", tmp_path / "news.zexp") == 0
    with live(site) as app:
        run(app, tmp_path / "news.zexp.py")
    with live(site) as app:
        news = app._tree["Plone"]._tree["news"]
        assert news.modification_date == DATES["news"] == "long ago"
        assert not hasattr(news._tree["sub"], "modification_date")


def test_a_deletion_that_no_backup_knows_yet_needs_no_moment(
    site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its transaction is refused with words that say so; the newest restore point has the thing."""
    added(site)
    operated = Operated(site)
    operated.backup()
    deleted(site, "", "news")
    export, tid = tmp_path / "news.zexp", site.tids()[-1].hex()
    assert undelete(operated, "/Plone/news", export, "--before", tid) == 4
    assert "without a moment it is the newest of them" in capfd.readouterr().err
    instance = tmp_path / "instance"
    instance.write_text("#!/bin/sh\n")
    instance.chmod(0o755)
    assert undelete(operated, "/Plone/news", export, "--run", str(instance)) == 0
    assert f"{instance} runs it now" in capfd.readouterr().out
    assert main("log", "standard", operated.config_path, ["--grep", "delete"]) == 0
    assert "no such transaction in the backups; --live looks" in capfd.readouterr().out


def test_json_names_the_script(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    added(site)
    operated = Operated(site)
    operated.backup()
    capsys.readouterr()
    assert undelete(operated, "/Plone/news", tmp_path / "news.zexp", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["script"] == f"{tmp_path}/news.zexp.py"
    assert (told["file"], told["blobs"]) == (f"{tmp_path}/news.zexp", 1)
    assert told["brought_back"] is False
