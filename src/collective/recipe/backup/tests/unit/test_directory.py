"""The directory destination keeps the contract of destinations."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.filestorage.fsindex import position
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.restoring import stagedlog
from collective.recipe.backup.restoring.staging import Targets
from collective.recipe.backup.tests.contracts.destination import DestinationContract
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.staged import stage_choice


class TestDirectory(DestinationContract):
    """A directory."""

    @pytest.fixture
    def operated(self, site) -> Operated:
        return Operated(site)


@pytest.mark.parametrize("near", [True, False])
def test_a_restored_filestorage_has_an_index(site, tmp_path, monkeypatch, near) -> None:
    site.commit({"a": 1})
    operated = Operated(site)
    operated.backup()
    site.commit({"a": 2})
    operated.backup()
    if not near:
        monkeypatch.setattr(stagedlog, "QUICKLY_READ", 0)
    targets = Targets(
        filestorage=tmp_path / "Data.fs",
        index=tmp_path / "Data.fs.index",
        blobstorage=None,
    )

    stage_choice(operated.destination(), choose(operated.points(), None), targets)

    found = position(targets.index)
    assert found is not None
    assert (found == site.size) is not near
    assert contents_of(targets.filestorage) == contents_of(site.filestorage)


def test_a_manifest_that_cannot_be_read_costs_no_other_restore_point(site) -> None:
    operated = Operated(site)
    for value in range(3):
        site.commit({"a": value})
        operated.backup()
    stamps = [point.stamp for point in operated.points()]
    path = operated.place().filestorage / f"{stamps[1]}.json"
    path.unlink()
    path.mkdir()

    assert [point.restorable for point in operated.points()] == [True, False, True]
    problems = list(operated.destination().verify(Depth.CHECKSUMS))
    assert any(str(path) in problem.what for problem in problems)
    contents = site.contents()
    site.lose()
    operated.restore()
    assert site.contents() == contents


def bytes_of_blobs(operated: Operated) -> list[int | None]:
    return [point.blob_bytes for point in operated.points()]


@pytest.mark.parametrize("style", [{}, {"blob_snapshots": "each"}, {"archive_blob": True}])
def test_a_restore_point_knows_how_much_its_blobs_are(site, style) -> None:
    operated = Operated(site, keep=0, **style)
    site.commit(blobs={"a": b"x" * 1000, "b": b"y" * 200})
    operated.backup()
    site.commit(blobs={"c": b"z" * 30})
    operated.backup()
    operated.backup(full=True)
    site.commit({"no": "blob"})
    operated.backup()
    layout = len((site.blobstorage / ".layout").read_bytes())
    assert bytes_of_blobs(operated) == [layout + size for size in (1200, 1230, 1230, 1230)]


def test_a_restore_point_without_blobs_counts_none(site) -> None:
    operated = Operated(site, blobs=False)
    operated.backup()
    assert bytes_of_blobs(operated) == [None]


def test_a_file_that_is_no_blob_needs_a_directory_for_each_backup(site) -> None:
    (site.blobstorage / "notes.txt").parent.mkdir(exist_ok=True)
    (site.blobstorage / "notes.txt").write_text("first")
    operated = Operated(site)
    names = [operated.backup().point.blobs]
    (site.blobstorage / "notes.txt").write_text("changed since")
    site.commit(blobs={"a": b"a"})
    names.append(operated.backup().point.blobs)
    assert len(set(names)) == 2
    held = [operated.place().blobstorage / name / "blobstorage/notes.txt" for name in names]
    assert [path.read_text() for path in held] == ["first", "changed since"]


def test_a_file_that_is_no_blob_and_came_later_is_found_by_the_next_full_backup(site) -> None:
    site.commit(blobs={"a": b"a"})
    operated = Operated(site)
    operated.backup()
    (site.blobstorage / "notes.txt").write_text("later")
    site.commit(blobs={"b": b"b"})
    incremental, full = operated.backup().point, operated.backup(full=True).point
    place = operated.place().blobstorage
    assert not (place / incremental.blobs / "blobstorage/notes.txt").exists()
    assert (place / full.blobs / "blobstorage/notes.txt").read_text() == "later"


def test_what_an_older_release_stored_has_its_size_also_when_it_is_taken_over(site) -> None:
    operated = Operated(site, blobs=False)
    stamp = operated.backup().point.stamp
    # older releases wrote no manifest
    (operated.place().filestorage / f"{stamp}.json").unlink()
    size = (operated.place().filestorage / f"{stamp}.fsz").stat().st_size
    assert [point.stored for point in operated.points()] == [size]

    outcome = operated.backup()

    assert outcome.point.stamp == stamp
    assert [point.stored for point in operated.points()] == [size]


def test_a_filestorage_that_was_made_anew_is_backed_up_with_a_warning(site, tmp_path) -> None:
    """Zope makes an empty one where it finds none, and the nights go on."""
    operated = Operated(site)
    site.commit({"page": 1}, {"file": b"data"}, at=operated.now)
    last = operated.backup().point
    site.lose()
    Site(site.directory, founded=operated.now + timedelta(minutes=1))

    first = operated.backup()

    assert [note for note in first.notes if last.stamp in note and "made anew" in note]
    assert operated.backup().notes == ()
    assert operated.backup(full=True).notes == ()


def test_a_pack_is_no_loss(site) -> None:
    operated = Operated(site)
    site.commit({"page": 1}, {"file": b"data"}, at=operated.now)
    operated.backup()
    site.commit({"page": 2}, at=operated.now)
    site.pack()

    packed = operated.backup()

    assert packed.point.full
    assert packed.notes == ()
