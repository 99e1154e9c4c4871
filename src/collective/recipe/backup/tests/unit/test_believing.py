"""The index of a filestorage is believed where ZODB believes it, and by the same rule."""

from __future__ import annotations

import shutil
import struct
from datetime import timedelta
from pathlib import Path

import pytest
from ZODB.FileStorage import FileStorage
from ZODB.fsIndex import fsIndex

from collective.recipe.backup.cli import main
from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.filestorage.believing import is_believed, joined, reader_of
from collective.recipe.backup.filestorage.fsindex import position
from collective.recipe.backup.repozo.command import main as repozo
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import tid_at


def index_of(site: Site) -> Path:
    return site.filestorage.with_name("Data.fs.index")


def ours(site: Site) -> bool:
    with site.filestorage.open("rb") as file:
        return is_believed(index_of(site), reader_of(file))


def theirs(site: Site, caplog) -> bool:
    """Ask ZODB, with copies."""
    caplog.clear()
    place = site.directory / "theirs"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    shutil.copy(site.filestorage, place / "Data.fs")
    shutil.copy(index_of(site), place / "Data.fs.index")
    FileStorage(str(place / "Data.fs"), read_only=True).close()
    return not [it for it in caplog.records if "gnoring index" in it.getMessage() or it.exc_info]


@pytest.fixture
def grown(site: Site) -> Site:
    for number in range(8):
        site.commit({f"key{it}": number for it in range(number + 1)})
    return site


def test_both_believe_the_index_of_a_site(grown: Site, caplog) -> None:
    assert ours(grown) is theirs(grown, caplog) is True


def test_neither_believes_the_index_of_a_young_site(site: Site, caplog) -> None:
    fsIndex().save(4, str(index_of(site)))
    assert position(index_of(site)) == 4
    assert index_of(site).stat().st_size == 9
    assert ours(site) is theirs(site, caplog) is False


@pytest.mark.parametrize("entry", range(12))
def test_a_wrong_entry_matters_where_it_matters_to_zodb(grown: Site, entry: int, caplog) -> None:
    info = fsIndex.load(str(index_of(grown)))
    index = info["index"]
    oids = sorted(index.keys())
    oid = oids[entry % len(oids)]
    index[oid] = index[oid] + 1
    index.save(info["pos"], str(index_of(grown)))
    assert ours(grown) is theirs(grown, caplog)


def test_a_missing_entry_is_a_wrong_one(grown: Site, caplog) -> None:
    info = fsIndex.load(str(index_of(grown)))
    empty = fsIndex()
    empty.save(info["pos"], str(index_of(grown)))
    assert ours(grown) is theirs(grown, caplog) is False


@pytest.mark.parametrize("step", [-1, 1, 1000, -150])
def test_a_position_that_is_none(grown: Site, step: int, caplog) -> None:
    info = fsIndex.load(str(index_of(grown)))
    info["index"].save(info["pos"] + step, str(index_of(grown)))
    assert ours(grown) is False
    try:
        assert not theirs(grown, caplog)
    except Exception:  # noqa: BLE001  ZODB may not open such a one at all
        return


def test_an_older_place_is_as_good(grown: Site, caplog) -> None:
    before = index_of(grown).read_bytes()
    grown.commit({"later": 1})
    index_of(grown).write_bytes(before)
    assert ours(grown) is theirs(grown, caplog) is True


@pytest.mark.parametrize("size", range(0, 60, 3))
def test_an_index_that_is_cut_short_is_not_believed(grown: Site, size: int) -> None:
    path = index_of(grown)
    path.write_bytes(path.read_bytes()[:size])
    assert not ours(grown)


def test_rubbish_in_it_is_no_error(grown: Site) -> None:
    path = index_of(grown)
    data = path.read_bytes()
    for place in range(len(data)):
        for byte in (0, 0xFF, data[place] ^ 1):
            path.write_bytes(data[:place] + bytes([byte]) + data[place + 1 :])
            assert ours(grown) in {True, False}
    huge = b"\x80\x03J\xff\xff\xff\x7f." + b"\x80\x03B" + struct.pack("<I", 1 << 31)
    path.write_bytes(huge)
    assert not ours(grown)


def test_a_log_in_two_files_reads_as_one(tmp_path: Path) -> None:
    data = bytes(range(100))
    read = joined(lambda at, size: data[:40][at : at + size], 40, lambda at, n: data[40:][at:][:n])
    for offset in range(100):
        for size in (1, 7, 50):
            assert read(offset, size) == data[offset : offset + size]


# what becomes of one that ZODB would not believe


@pytest.mark.parametrize("gone", [True, False], ids=["after a loss", "of the rest"])
def test_a_restored_site_gets_no_index_that_zodb_would_not_believe(
    site: Site, *, gone: bool, caplog
) -> None:
    operated = Operated(site)
    fsIndex().save(4, str(index_of(site)))
    operated.backup()
    assert list(operated.place().filestorage.glob("*.index")) == []
    # as an older release has stored it
    [data] = operated.place().filestorage.glob("*.fsz")
    shutil.copy(index_of(site), data.with_suffix(".index"))
    site.commit({"a": 1}, at=NOON)
    operated.backup()
    if gone:
        site.filestorage.unlink()
        index_of(site).unlink()
    else:
        fsIndex().save(4, str(index_of(site)))
        with site.filestorage.open("r+b") as file:
            file.truncate(site.filestorage.stat().st_size - 10)

    operated.restore()

    if gone:
        assert ours(site)
    assert not index_of(site).exists() or theirs(site, caplog)
    assert site.contents()["values"] == {"a": 1}


def test_our_repozo_copies_none(site: Site, tmp_path: Path) -> None:
    operated = Operated(site)
    operated.backup()
    [data] = operated.place().filestorage.glob("*.fsz")
    fsIndex().save(4, str(data.with_suffix(".index")))
    arguments = ["-R", "-r", str(data.parent), "-o", str(tmp_path / "Data.fs")]
    assert repozo(arguments) == 0
    assert sorted(path.name for path in tmp_path.glob("Data.fs*")) == ["Data.fs"]


def test_a_quiet_rehearsal_prints_nothing_of_what_zodb_says(site: Site, capfd) -> None:
    operated = Operated(site)
    site.commit({"a": 1}, at=NOON)
    site.commit_out_of_order(tid_at(NOON - timedelta(hours=1)))
    operated.backup()
    said = []
    for options in (["-q"], []):
        capfd.readouterr()
        assert main("rehearse", STANDARD, operated.config_path, options) == 0
        said.append(capfd.readouterr().err)

    assert said[0] == ""
    assert "INFO: ZODB: " in said[1]
    assert "time-stamp reduction" in said[1]
