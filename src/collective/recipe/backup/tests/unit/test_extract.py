"""One thing out of a backup: an export that ZODB imports, and blobs as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef
from ZODB.blob import Blob
from ZODB.DemoStorage import DemoStorage

from collective.recipe.backup.cli import main
from collective.recipe.backup.errors import NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.objects.current import Objects
from collective.recipe.backup.objects.inert import (
    Reference,
    UnreadableStateError,
    all_references,
    state_of,
)
from collective.recipe.backup.objects.paths import place_of
from collective.recipe.backup.objects.zexp import with_cuts
from collective.recipe.backup.operations.extract import extract, extract_blobs, safe_name
from collective.recipe.backup.operations.objects import opened_objects
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_objects import Folder, filled


def bytes_of(blob: Blob) -> bytes:
    with blob.open() as file:
        data = file.read()
    assert isinstance(data, bytes)
    return data


def described(folder: Any) -> dict[str, Any]:
    """Return all that a folder of pages holds."""
    return {
        name: (
            page.__parent__ is folder,
            bytes_of(page.file),
            list(page.annotations["notes"]),
        )
        for name, page in folder._tree.items()
    }


EXPECTED = {f"page-00{number}": (True, b"text", ["a note"]) for number in range(3)}


@pytest.mark.parametrize("made", [Operated, OperatedInRepository])
def test_an_export_is_imported_by_zodb_into_an_empty_database_and_the_live_one(
    site: Site, made: Callable[[Site], Operated], tmp_path: Path
) -> None:
    filled(site)
    operated = made(site)
    operated.backup()
    target = tmp_path / "news.zexp"
    with opened_objects(operated.run("extract"), None) as opened:
        place = place_of(opened.objects, "/Plone/news")
        done = extract(opened, place, target, Files())
    assert (done.objects, done.blobs) == (14, 3)
    assert target.stat().st_mode & 0o777 == 0o600, "it may be what only few may see"
    [(name, _oid, kind)] = done.cuts
    assert (name, kind.rpartition(".")[2]) == ("__parent__", "Folder")
    with site._at(None) as db, db.transaction() as connection:
        del connection.root()["Application"].Plone._tree["news"]
    for database in (ZODB.DB(DemoStorage()), None):
        with site.opened() as live:
            manager = transaction.TransactionManager()
            connection = (database or live).open(manager)
            news = connection.importFile(str(target))
            connection.root()["back"] = news
            manager.commit()
            assert isinstance(news, Folder)
            assert news.__parent__ is None
            assert described(connection.root()["back"]) == EXPECTED
            connection.close()
            if database is not None:
                database.close()


def test_blobs_come_by_the_names_that_the_site_has_for_them(site: Site, tmp_path: Path) -> None:
    names = ["logo.png", "../../etc/passwd", "logo.png", "\x1b[2J\n", "-rf", "C:\\x.txt"]
    with site._at(None) as db, db.transaction() as connection:
        files = connection.root()["files"] = PersistentMapping()
        for number, name in enumerate(names):
            image = files[str(number)] = Folder()
            image.filename, image.contentType = name, "image/png"
            image._blob = Blob(str(number).encode())
    operated = Operated(site)
    operated.backup()
    with opened_objects(operated.run("extract"), None) as opened:
        place = place_of(opened.objects, "/files")
        found, flaws = extract_blobs(opened, place, tmp_path / "here", Files())
    assert flaws == []
    assert all(path.parent == tmp_path / "here" for path, _kind in found)
    assert sorted(path.read_bytes() for path, _kind in found) == [b"%d" % n for n in range(6)]
    plain = {path.name for path, _kind in found}
    assert {"logo.png", "passwd", "_[2J_", "rf", "x.txt"} < plain
    [other] = plain - {"logo.png", "passwd", "_[2J_", "rf", "x.txt"}
    assert other.endswith("-logo.png")
    assert {kind for _path, kind in found} == {"image/png"}


@pytest.mark.parametrize("place", ["blobs", "below the blobs", "backups", "by a link"])
@pytest.mark.parametrize("verb", ["extract --to", "extract --file", "undelete --file"])
def test_nothing_is_written_to_where_the_site_or_its_backups_live(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, verb: str
) -> None:
    filled(site)
    operated = Operated(site)
    operated.backup()
    link = tmp_path / "link"
    link.symlink_to(site.blobstorage)
    directory = {
        "blobs": site.blobstorage,
        "below the blobs": site.blobstorage / "new",
        "backups": operated.place().filestorage,
        "by a link": link,
    }[place]
    name, flag = verb.split()
    target = directory if flag == "--to" else directory / "it.zexp"
    before = {path for path in tmp_path.rglob("*")}
    arguments = ["--path", "/Plone/news", flag, str(target)]
    assert main(name, "standard", operated.config_path, arguments) == 2
    assert {path for path in tmp_path.rglob("*")} == before
    assert "nothing else may be put there" in capsys.readouterr().err


def test_a_blob_that_the_backup_lacks_is_named_and_no_export_is_left(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(site)
    operated = Operated(site)
    operated.backup()
    for blob in operated.place().blobstorage.rglob("*.blob"):  # type: ignore[union-attr]
        blob.unlink()
    target = tmp_path / "news.zexp"
    arguments = ["--path", "/Plone/news", "--file", str(target)]
    assert main("extract", "standard", operated.config_path, arguments) == 3
    assert "ERROR" in capsys.readouterr().err
    assert list(tmp_path.glob("*zexp*")) == []


def test_blobs_that_cannot_be_had_are_named_and_the_others_are_written(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(site)
    operated = Operated(site)
    operated.backup()
    blob, *_others = operated.place().blobstorage.rglob("*.blob")  # type: ignore[union-attr]
    blob.unlink()
    arguments = ["--path", "/Plone/news", "--to", str(tmp_path / "here")]
    assert main("extract", "standard", operated.config_path, arguments) == 3
    told = capsys.readouterr()
    assert "a file of the backup is missing" in told.err
    assert len(list((tmp_path / "here").iterdir())) == len(told.out.splitlines()) == 2


def test_an_object_that_cannot_be_read_is_named_since_it_may_hold_blobs(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    filled(site)
    data = site.filestorage.read_bytes()
    page = data.rindex(b"test_objects\nPage\n")
    site.filestorage.write_bytes(data[:page] + b"test_objects\nPage\xff" + data[page + 18 :])
    operated = Operated(site)
    operated.backup()
    arguments = ["--path", "/Plone/news", "--to", str(tmp_path / "here")]
    assert main("extract", "standard", operated.config_path, arguments) == 3
    assert "cannot be read" in capsys.readouterr().err
    assert len(list((tmp_path / "here").iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ä" * 300 + ".jpeg", "ä" * 87 + ".jpeg"),
        ("x" * 300, "x" * 180),
        ("a." + "x" * 300, "a." + "x" * 178),
        (".png", "png"),
        ("logo.png", "logo.png"),
        ("\ud800.png", "_.png"),
    ],
)
def test_a_long_name_is_cut_by_its_bytes_and_keeps_its_ending(name: str, expected: str) -> None:
    assert safe_name(name) == expected


def test_a_class_that_is_not_ascii_is_refused_in_words() -> None:
    data = "cmödule\nClass\n.".encode() + b"\x80\x03}U\x01aU\x0812345678Qs."
    with pytest.raises(UnreadableStateError, match="references cannot be found"):
        with_cuts(data, lambda _reference: False)


def test_what_was_deleted_comes_back_from_the_moment_before(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(site)
    with site._at(None) as db, db.transaction() as connection:
        del connection.root()["Application"].Plone._tree["news"]
    operated = Operated(site)
    operated.now += timedelta(days=30_000)  # the site was changed by the clock of today
    operated.backup()
    monkeypatch.chdir(tmp_path)
    before = ["--before", site.tids()[-1].hex()]
    assert main("extract", "standard", operated.config_path, ["/Plone/news"]) == 2
    capsys.readouterr()
    asked = [*before, "/Plone/news", "--json"]
    assert main("extract", "standard", operated.config_path, asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(tmp_path / "news.zexp")
    assert (told["objects"], told["cuts"][0]["name"]) == (14, "__parent__")
    # no file is written over
    Path("news-2.zexp").touch()
    assert main("extract", "standard", operated.config_path, [*before, "/Plone/news"]) == 2
    told = capsys.readouterr().err
    assert "there is a file of this name already, and it is not overwritten: " in told
    assert "such as --file news-3.zexp" in told
    # a moment that cannot be had is more wrong than a name that is taken
    early = ["1990-01-01", "/Plone/news"]
    assert main("extract", "standard", operated.config_path, early) == NoRestorePoint.exit_code
    assert main("undelete", "standard", operated.config_path, early) == NoRestorePoint.exit_code
    capsys.readouterr()
    (tmp_path / "news.zexp").unlink()
    assert main("extract", "standard", operated.config_path, [*before, "/Plone/news"]) == 0
    told = capsys.readouterr()
    assert "cut 1 time: __parent__ to" in told.out
    # a message may name the transaction before
    assert f"--before {before[1]} is taken for tid " in told.err
    assert main("extract", "standard", operated.config_path, ["/"]) == 2


def test_what_an_import_does_not_know_is_cut(site: Site) -> None:
    with site._at(None) as db, db.transaction() as connection:
        target = connection.root()["values"]
        connection.root()["weak"] = PersistentMapping(
            weak=WeakRef(target), strong=PersistentMapping(n=1)
        )
    with TransactionLog(site.filestorage) as log:
        held = place_of(Objects(log), "/weak").held
        data, cut = with_cuts(held.data, lambda _reference: True)
        assert [each.is_weak for each in cut if isinstance(each, Reference)] == [True]
        before, after = state_of(held.data), state_of(data)
        assert after.kind == before.kind
        assert after.value["data"] == {**before.value["data"], "weak": None}
        assert with_cuts(held.data, lambda _reference: False)[1] == all_references(held.data)
