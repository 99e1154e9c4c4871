"""The caches of ZEO clients: found, removed if the site goes back in time, and told of."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from ZEO.cache import ClientCache
from ZEO.Exceptions import ClientDisconnected

from collective.recipe.backup.cli import main
from collective.recipe.backup.config import STANDARD, dump
from collective.recipe.backup.config.zope_parts import ZopePart
from collective.recipe.backup.findings import DoctorSeverity
from collective.recipe.backup.operations.doctor import examine
from collective.recipe.backup.operations.restore import describe, restore
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.operations.undo import undo
from collective.recipe.backup.restoring import swap
from collective.recipe.backup.restoring.journal import journal_path
from collective.recipe.backup.sitebackup.databases import read_configuration
from collective.recipe.backup.tests.faults.harness import Dying
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.zeo import Zeo
from collective.recipe.backup.times import LAST_TID, Tid

pytestmark = pytest.mark.usefixtures("leaping")

ADVICE = "ZEO clients may be ahead of the site now"


def make_cache(path: Path, tid: Tid) -> Path:
    """Make a cache as ZEO does, of a client that knows *tid*; it is closed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cache = ClientCache(str(path), 2**20)
    cache.setLastTid(tid)
    cache.close()
    return path


@pytest.fixture
def operated(site: Site) -> Operated:
    """A site that was backed up, and changed since then."""
    site.commit({"a": 1}, {"b": b"blob"}, at=NOON)
    operated = Operated(site)
    operated.backup()
    site.commit({"a": 2}, at=NOON + timedelta(minutes=90))
    return operated


@pytest.fixture
def cache(operated: Operated) -> Path:
    """The cache of a client that knows the newest transaction."""
    return make_cache(operated.site.directory / "var" / "i1-1.zec", operated.site.tids()[-1])


def configured(operated: Operated, *caches: Path) -> None:
    operated.config = replace(operated.config, caches=caches)
    operated.config_path.write_bytes(dump(operated.config))


def findings(operated: Operated, where: Path) -> list[tuple[DoctorSeverity, str]]:
    found = examine(operated.run("doctor"))
    return [(it.severity, it.what) for it in found if it.where == str(where)]


# what a restore does about them


def test_a_client_with_a_cache_works_after_a_restore_to_an_earlier_state(site: Site) -> None:
    cache = site.directory / "var" / "i1-1.zec"
    with Zeo(site) as zeo:
        with zeo.client(kept=cache) as db, db.transaction() as connection:
            connection.root()["page"] = "old"
        zeo.stop()
        operated = Operated(site)
        operated.backup()
        zeo.start()
        with zeo.client(kept=cache) as db, db.transaction() as connection:
            connection.root()["page"] = "new"
        zeo.stop()

        operated.restore(keep_caches=True)
        zeo.start()
        with pytest.raises(ClientDisconnected), zeo.client(kept=cache, patience=2):
            pass  # the server is behind the client
        zeo.stop()

        operated.restore()
        assert not cache.exists()
        zeo.start()
        with zeo.client(kept=cache) as db, db.transaction() as connection:
            assert connection.root()["page"] == "old"


def test_a_cache_is_named_in_the_question_and_removed_after_it(operated, cache, caplog) -> None:
    caplog.set_level("INFO", "backup")
    questions: list[str] = []

    assert not restore(
        operated.run("restore", ask=lambda it: bool(questions.append(it))), RestoreOrder()
    )
    assert str(cache) in questions[0]
    assert cache.exists()

    operated.restore()
    assert not cache.exists()
    assert f"removed the cache of a ZEO client: {cache}" in caplog.messages
    assert caplog.messages[-1].startswith(ADVICE)


def test_a_dry_run_names_a_cache_and_leaves_it(operated: Operated, cache: Path) -> None:
    assert str(cache) in describe(operated.run("restore"), RestoreOrder())
    assert cache.exists()


def test_a_restore_that_does_not_go_back_leaves_the_cache_and_says_nothing(
    operated: Operated, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "backup")
    operated.backup()
    operated.restore()
    assert cache.exists()
    assert ADVICE not in caplog.text


@pytest.mark.parametrize("part", ["blobs", "elsewhere"])
def test_a_restore_that_leaves_the_live_filestorage_leaves_the_cache(
    operated: Operated, cache: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "backup")
    if part == "blobs":
        operated.restore(filestorage=False)
    else:
        operated.restore(to=operated.site.directory / "copy")
    assert cache.exists()
    assert ADVICE not in caplog.text


def test_a_cache_may_be_kept_and_is_named(operated, cache, caplog) -> None:
    questions: list[str] = []
    order = RestoreOrder(keep_caches=True)
    run = operated.run("restore", ask=lambda it: not questions.append(it))
    assert restore(run, order)
    assert str(cache) not in questions[0]
    assert cache.exists()
    assert f"remove this cache before you start its ZEO client: {cache}" in caplog.text


def test_a_cache_in_use_is_left_and_warned_of(operated, cache, caplog) -> None:
    running = ClientCache(str(cache), 2**20)
    try:
        operated.restore()
    finally:
        running.close()
    assert cache.exists()
    assert "the cache of a ZEO client is open" in caplog.text
    assert operated.site.contents()["values"] == {"a": 1}


def test_where_the_site_was_lost_caches_are_removed(operated: Operated, cache: Path) -> None:
    operated.site.lose()
    operated.restore()
    assert not cache.exists()


def test_where_the_end_of_the_site_was_lost_caches_are_removed(
    operated: Operated, cache: Path
) -> None:
    with operated.site.filestorage.open("r+b") as file:
        file.truncate(operated.points()[-1].end)
    operated.restore()
    assert not cache.exists()


def test_an_undo_removes_the_caches_of_the_time_since_the_restore(
    operated: Operated, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "backup")
    operated.restore()
    later = operated.site.commit({"a": 3})
    make_cache(cache, later)
    undo(operated.run("restore"), keep_caches=True)
    assert cache.exists()
    undo(operated.run("restore"))
    caplog.clear()
    undo(operated.run("restore"))
    assert not cache.exists()
    assert caplog.messages[-1].startswith(ADVICE)


def test_a_restore_that_finishes_a_broken_one_removes_the_caches(operated, cache, caplog) -> None:
    """Even those of clients that know no more than the state that it finishes."""
    caplog.set_level("INFO", "backup")
    make_cache(cache.with_name("i2-1.zec"), operated.site.tids()[-2])
    changes = 0
    while not swap.is_pending(journal_path(operated.site.filestorage)):
        changes += 3
        with pytest.raises(KeyboardInterrupt):
            operated.restore(files=Dying(changes))
    assert cache.exists()
    operated.restore()
    assert list(cache.parent.glob("*.zec")) == []
    assert caplog.messages[-1].startswith(ADVICE)


def test_wherever_a_restore_dies_the_next_one_leaves_no_cache_that_is_ahead(
    operated: Operated, cache: Path
) -> None:
    """Also after the last change of the site, where there is nothing to finish."""
    deaths, changes = 0, 0
    while True:
        ahead = operated.site.commit({"a": changes}, at=NOON + timedelta(hours=2, seconds=changes))
        make_cache(cache, ahead)
        changes += 2
        try:
            operated.restore(files=Dying(changes))
        except KeyboardInterrupt:
            deaths += 1
        else:
            break
        operated.restore()
        assert not cache.exists(), f"after {changes} changes"
    assert deaths > 10


# where they are looked for


def test_caches_are_found_in_var_and_in_its_directories(operated: Operated) -> None:
    var = operated.site.directory / "var"
    paths = [var / "a-1.zec", var / "instance" / "b-1.zec", var / "filestorage" / "c-1.zec"]
    for path in paths:
        make_cache(path, LAST_TID)
    operated.restore()
    assert not any(map(os.path.exists, paths))


def test_caches_that_the_configuration_names_are_found_wherever_they_are(
    operated: Operated, tmp_path: Path
) -> None:
    there, missing = tmp_path / "caches" / "i1-1.zec", tmp_path / "caches" / "i2-1.zec"
    make_cache(there, LAST_TID)
    configured(operated, there, missing)
    assert main("restore", STANDARD, operated.config_path, ["--quiet", "--no-prompt"]) == 0
    assert not there.exists()


@pytest.mark.parametrize("kind", ["text", "empty", "pipe", "link", "directory"])
def test_what_is_no_cache_is_left_whatever_its_name(operated: Operated, kind: str) -> None:
    path = operated.site.directory / "var" / "i1-1.zec"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(operated.site.filestorage)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"notes of zecchini" if kind == "text" else b"")
    operated.restore()
    assert os.path.lexists(path)
    assert findings(operated, path) == []


def test_a_filestorage_outside_of_a_buildout_has_no_caches_above_it(site: Site) -> None:
    """There may be other sites beside it."""
    site.commit({"a": 1}, at=NOON)
    moved = site.directory / "var" / "data"
    site.filestorage.parent.rename(moved)
    site.filestorage = moved / "Data.fs"
    operated = Operated(site)
    operated.backup()
    near = make_cache(moved / "i1-1.zec", LAST_TID)
    others = make_cache(site.directory / "var" / "other" / "i1-1.zec", LAST_TID)
    operated.restore()
    assert not near.exists()
    assert others.exists()


# who says where they are


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"zeo-client": "on", "zeo-client-client": "i1", "zeo-var": "/srv/var"}, "/srv/var/i1-1"),
        ({"zeo-client": "on", "zeo-client-client": "i1", "var": "/srv/var"}, "/srv/var/i1-1"),
        ({"zeo-client": "on", "zeo-client-client": "i1", "zeo-storage": "main"}, "var/i1-main"),
        ({"zeo-client": "off", "zeo-client-client": "i1"}, None),
        ({"zeo-client": "on"}, None),
    ],
)
def test_a_zope_part_says_where_its_cache_is(options, expected) -> None:
    assert ZopePart("instance", options).cache == (Path(f"{expected}.zec") if expected else None)


@pytest.mark.parametrize(
    ("kind", "lines", "expected"),
    [
        ("zeoclient", ["client i1", "var /srv/var"], "/srv/var/i1-1.zec"),
        ("zeoclient", ["client i1", "storage main"], "{home}/i1-main.zec"),
        ("zeoclient", ["client i1", "var $(NOT_SET_HERE)"], None),
        ("zeoclient", ["var /srv/var"], None),
        ("clientstorage", ["cache-path /srv/cache"], "/srv/cache"),
    ],
)
def test_a_configuration_says_where_the_cache_of_a_client_is(
    tmp_path: Path, kind: str, lines: list[str], expected: str | None
) -> None:
    path = tmp_path / "zope.conf"
    inner = "\n".join(["server localhost:8100", *lines])
    path.write_text(f"<zodb_db main>\nmount-point /\n<{kind}>\n{inner}\n</{kind}>\n</zodb_db>\n")
    [database] = read_configuration(path, tmp_path).databases
    assert database.caches == ((Path(expected.format(home=tmp_path)),) if expected else ())


def test_the_doctor_names_the_caches_that_there_are_and_will_be(
    operated: Operated, cache: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "i2-1.zec"
    configured(operated, missing)
    for path in (cache, missing):
        [(severity, what)] = findings(operated, path)
        assert severity is DoctorSeverity.OK
        assert "a ZEO client keeps its cache here" in what
