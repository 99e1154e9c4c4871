"""Blobs alone in a repository: with what lies among them, and without any filestorage."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import tarfile
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest

from collective.recipe.backup import times
from collective.recipe.backup.blobs import layout
from collective.recipe.backup.blobs.layout import Kind, Layout, blob_of
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.destinations.repository import (
    blobpages,
    blobs,
    blobsonlybackup,
    foreignpages,
)
from collective.recipe.backup.destinations.repository.blobpages import PIECE, BlobFile
from collective.recipe.backup.destinations.repository.foreignpages import (
    ForeignEntry,
    ForeignPage,
    in_order,
    read_foreign_page,
    written_foreign_page,
)
from collective.recipe.backup.destinations.repository.sitecopies import SiteCopies
from collective.recipe.backup.errors import DONE, BackupError, ConfigurationError, IntegrityError
from collective.recipe.backup.operations.verify import VerifyOrder, verify
from collective.recipe.backup.repository import slots
from collective.recipe.backup.repository.healing import heal
from collective.recipe.backup.repository.orphans import listed_bundles
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.restoring.staging import Targets
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.tests.blobtrees import content
from collective.recipe.backup.tests.repositories import PASSPHRASE
from collective.recipe.backup.tests.repositoryreader import RepositoryReader
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.staged import stage_choice
from collective.recipe.backup.tests.treereader import foreign

AMONG = random.Random(1).randbytes(PIECE + 1000)


@pytest.fixture
def operated(tmp_path) -> OperatedInRepository:
    """A site of which somebody else backs up the filestorage, with files among its blobs."""
    found = OperatedInRepository(Site(tmp_path / "site"), only_blobs=True, keep=0)
    found.site.commit({"a": 1}, {"b": b"blob"})
    add_foreign(found.site.blobstorage)
    return found


def add_foreign(root: Path) -> None:
    """Put something right below *root*, and something into one of ZODB's own directories."""
    (root / "notes" / "empty").mkdir(parents=True)
    (root / "notes" / "why").write_bytes(b"because")
    (root / "notes" / "link").symlink_to("why")
    (root / "0x00" / "among").write_bytes(AMONG)


def tree(root: Path) -> dict:
    """Return what lies below *root*, but for the note of the layout."""
    return {path: data for path, data in content(root).items() if path != ".layout"}


def staged(operated: OperatedInRepository, when: object, target: Path) -> dict:
    destination = operated.destination()
    choice = choose(destination.restore_points(), when)
    stage_choice(destination, choice, Targets(filestorage=None, index=target, blobstorage=target))
    return tree(target)


def test_each_restore_point_has_the_blobs_and_what_lay_among_them(operated, tmp_path):
    states, root = {}, operated.site.blobstorage
    os.unlink(operated.site.filestorage)
    for number in range(3):
        (root / "0x00" / f"extra-{number}").write_bytes(b"%d" % number)
        (root / "notes" / "why").write_bytes(b"because %d" % number)
        outcome = operated.backup()
        assert outcome.changed
        assert outcome.point.whole
        states[outcome.point.moment] = tree(root)
    shutil.rmtree(root / "notes")
    states[operated.backup().point.moment] = tree(root)
    assert [list(operated.destination().verify(depth)) for depth in Depth] == [[], [], []]
    for number, (moment, state) in enumerate(states.items()):
        assert staged(operated, moment, tmp_path / str(number)) == state
        later = moment + timedelta(minutes=59)
        assert staged(operated, later, tmp_path / f"until-{number}") == state


def test_where_nothing_changed_nothing_is_stored_and_no_second_is_waited_for(operated, monkeypatch):
    before, now = operated.backup().point, operated.now
    waited: list[float] = []
    monkeypatch.setattr(times, "pause", waited.append)
    for _again in range(2):
        operated.now = now - timedelta(hours=1)  # which each run is later
        outcome = operated.backup()
        assert waited == []
        assert not outcome.changed
        assert outcome.point == before


def test_a_restore_brings_back_only_what_differs_and_leaves_the_filestorage_alone(operated):
    root = operated.site.blobstorage
    shutil.rmtree(root / "notes")  # a link: all of it would be staged
    operated.backup()
    before, log = tree(root), operated.site.filestorage.read_bytes()
    same = (root / "0x00" / "among").stat().st_ino
    operated.site.commit({"a": 2}, {"c": b"later"})
    log = operated.site.filestorage.read_bytes()
    (root / "0x00" / "stray").write_bytes(b"stray")
    operated.restore()
    assert tree(root) == before
    assert operated.site.filestorage.read_bytes() == log
    assert (root / "0x00" / "among").stat().st_ino == same


def test_what_cannot_be_copied_is_named_and_the_rest_is_backed_up(operated, tmp_path):
    root = operated.site.blobstorage
    (root / "out").symlink_to("/etc")
    os.mkfifo(root / "0x00" / "pipe")
    for _again in range(2):
        with pytest.raises(IntegrityError, match="2 files or directories.* first: 0x00/pipe"):
            operated.backup()
    [point] = operated.points()
    assert point.restorable
    (root / "out").unlink()
    (root / "0x00" / "pipe").unlink()
    assert operated.backup().point.whole
    assert staged(operated, None, tmp_path / "to") == tree(root)


def test_blobs_that_were_all_replaced_are_backed_up_once_that_is_accepted(operated, tmp_path):
    operated.backup()
    root = operated.site.blobstorage
    for number, path in enumerate(sorted(root.rglob("*.blob"))):
        path.rename(path.with_name(f"0x03f00000000000{number:02x}.blob"))
    operated.now += timedelta(hours=1)
    for full in (False, True):
        with pytest.raises(ConfigurationError, match="no blob of the last restore point"):
            operated.backup(full=full)
    assert len(operated.points()) == 1
    assert operated.backup(full=True, accept=True).changed
    assert staged(operated, None, tmp_path / "to") == tree(root)
    assert not operated.backup().changed


def test_a_blob_that_was_changed_in_the_site_is_named_until_it_is_as_it_was(operated, tmp_path):
    operated.backup()
    whole = tree(operated.site.blobstorage)
    [blob] = operated.site.blobstorage.rglob("*.blob")
    blob.chmod(0o600)
    before = blob.read_bytes()
    blob.write_bytes(b"")
    for _again in range(2):
        operated.now += timedelta(hours=1)
        with pytest.raises(IntegrityError, match="1 blob of the site is gone, cannot be read or"):
            operated.backup()
    assert len(operated.points()) == 2, "the second run has nothing more to tell"
    assert staged(operated, None, tmp_path / "to") == whole
    blob.write_bytes(before)
    operated.now += timedelta(hours=1)
    assert operated.backup().point.doubts == ()


def test_a_blob_that_a_pack_removes_during_the_backup_is_not_missing(operated, monkeypatch):
    operated.site.commit({"a": 2}, {"c": b"goes"})
    blobs = operated.site.blobstorage.rglob("*.blob")
    [gone] = [path for path in blobs if path.read_bytes() == b"goes"]
    walked = blobsonlybackup.walk

    def walk(root):
        yield from walked(root)
        gone.unlink()

    monkeypatch.setattr(blobsonlybackup, "walk", walk)
    outcome = operated.backup()
    assert outcome.point.whole
    assert outcome.point.doubts == ()


def test_a_change_of_permissions_alone_is_backed_up(operated, tmp_path):
    note = operated.site.blobstorage / "0x00" / "among"
    note.chmod(0o644)
    (operated.site.blobstorage / "notes").chmod(0o755)
    operated.backup()
    note.chmod(0o600)
    operated.now += timedelta(hours=1)
    assert operated.backup().changed
    staged(operated, None, tmp_path / "to")
    assert [each.stat().st_mode & 0o777 for each in (tmp_path / "to").rglob("among")] == [0o600]
    assert (tmp_path / "to" / "notes").stat().st_mode & 0o777 == 0o755


def test_a_blobstorage_that_is_not_there_or_is_another_one_is_refused(operated, tmp_path):
    operated.backup()
    other = OperatedInRepository(
        Site(tmp_path / "other"), store=operated.store, only_blobs=True, keep=0
    )
    other.site.commit({"a": 1})
    other.now = operated.now
    other.site.commit({"a": 1}, {f"x{number}": b"x" for number in range(3)})
    shutil.rmtree(other.site.blobstorage / "0x00" / "0x00")
    place = "0x00/" * 7 + "0x77"
    (other.site.blobstorage / place).mkdir(parents=True)
    (other.site.blobstorage / place / "0x03f0000000000077.blob").write_bytes(b"x")
    with pytest.raises(ConfigurationError, match="no blob of the last restore point") as caught:
        other.backup()
    with pytest.raises(ConfigurationError, match="another blobstorage"):
        other.destination().check_owner()
    assert "site_name" in caught.value.hint
    shutil.rmtree(operated.site.blobstorage)
    with pytest.raises(BackupError, match="no blobstorage"):
        operated.backup()


def test_a_site_that_goes_on_without_its_disk_costs_no_old_blob(operated, tmp_path):
    operated.backup()
    whole, root = tree(operated.site.blobstorage), operated.site.blobstorage
    root.rename(tmp_path / "disk")
    root.mkdir()
    for number in range(3):
        with pytest.raises(ConfigurationError, match="no blob of the last restore point"):
            operated.backup()
        operated.site.commit({"a": number}, {f"n{number}": b"new"})
        operated.now += timedelta(days=9)
    assert staged(operated, None, tmp_path / "to") == whole


def bundles_with_leaves(operated: OperatedInRepository) -> list[str]:
    names = [name for name in operated.store.objects if name.startswith("bundles/")]
    return [name for name in names if len(operated.store.objects[name][0]) > PIECE]


def spoil(operated: OperatedInRepository) -> None:
    """Damage what the files hold, and say so by verify."""
    for name in bundles_with_leaves(operated):
        data, moment = operated.store.objects[name]
        broken = bytearray(data)
        for at in range(50, len(broken) - 3000, 400):
            broken[at] ^= 1
        operated.store.objects[name] = bytes(broken), moment
    found = verify(operated.run("verify"), VerifyOrder(), lambda _source, _problem: None)
    assert found[0].is_damaged


def test_what_is_damaged_is_healed_from_the_live_blobstorage(operated, tmp_path):
    made = operated.backup().point
    os.unlink(operated.site.filestorage)
    spoil(operated)
    with operated.destination()._repository() as repository:
        bundles = [name for name, _entry in listed_bundles(repository.store)]
        copies = SiteCopies(repository, operated.config.sources, [])
        assert not heal(repository, bundles, [copies]).lost
    assert staged(operated, made.moment, tmp_path / "to") == tree(operated.site.blobstorage)


def test_a_backup_after_verify_found_damage_stores_that_again(operated, tmp_path):
    operated.backup()
    spoil(operated)
    (operated.site.blobstorage / "new").write_bytes(b"new")
    made = operated.backup().point
    assert list(operated.destination().verify(Depth.CHECKSUMS, only=made)) == []
    assert staged(operated, made.moment, tmp_path / "to") == tree(operated.site.blobstorage)


FILE = BlobFile(0o644, 5, 0, bytes(32), ())
FORGED = [
    [ForeignEntry("../up", Kind.FILE, 0, FILE)],
    [ForeignEntry("/etc/passwd", Kind.FILE, 0, FILE)],
    [ForeignEntry("0x00/0x01", Kind.LINK, 0, text=b"x")],
    [ForeignEntry("out", Kind.LINK, 0, text=b"../..")],
    [ForeignEntry("0x01/0x02.blob", Kind.FILE, 0, FILE)],
    [ForeignEntry("a", Kind.LINK, 0, text=b"b"), ForeignEntry("a/x", Kind.FILE, 0, FILE)],
    [ForeignEntry("b", Kind.FILE, 0, FILE), ForeignEntry("a", Kind.FILE, 0, FILE)],
]


@pytest.mark.parametrize("entries", FORGED, ids=str)
def test_a_page_that_would_write_elsewhere_is_damage(entries):
    linked = written_foreign_page(entries)
    page = ForeignPage(b"", len(entries), 0)
    with pytest.raises(IntegrityError):
        list(in_order(read_foreign_page(page, linked)))


def test_a_page_of_another_list_is_damage():
    entries = [ForeignEntry("a", Kind.DIRECTORY, mode=0o755)]
    assert read_foreign_page(ForeignPage(b"", 1, 0), written_foreign_page(entries)) == entries
    linked = written_foreign_page([ForeignEntry("a", Kind.DIRECTORY)])
    for page in (ForeignPage(b"", 2, 0), ForeignPage(b"", 1, 5)):
        with pytest.raises(IntegrityError, match="not the one"):
            read_foreign_page(page, linked)


def test_more_than_a_page_of_files_is_read_in_their_order(operated, tmp_path, monkeypatch):
    monkeypatch.setattr(foreignpages, "_MOST_OF_A_PAGE", 2)
    monkeypatch.setattr(foreignpages, "_LEAST_OF_A_PAGE", 1)
    operated.backup()
    assert staged(operated, None, tmp_path / "to") == tree(operated.site.blobstorage)


def pages_of(paths: list[str]) -> list[list[str]]:
    pages: list[list[ForeignEntry]] = [[]]
    for path in paths:
        pages[-1].append(ForeignEntry(path, Kind.DIRECTORY))
        if foreignpages.ends_page(pages[-1]):
            pages.append([])
    return [[each.path for each in page] for page in pages]


def test_a_file_that_is_new_leaves_the_later_pages_as_they_are():
    paths = [f"d{number:04}" for number in range(3000)]
    before = pages_of(paths)
    after = pages_of(["a-new-one", *paths])
    assert len(before) > 10
    assert all(32 <= len(page) <= 512 for page in before[:-1])
    assert len([page for page in after if page not in before]) <= 3


def test_directories_that_are_not_those_of_zodb_keep_their_permissions(operated, tmp_path):
    root = operated.site.blobstorage
    (root / "notes").chmod(0o750)
    (root / "notes" / "empty").chmod(0o775)
    operated.backup()
    (root / "notes" / "empty").chmod(0o777)
    operated.now += timedelta(hours=1)
    assert operated.backup().changed
    staged(operated, None, tmp_path / "to")
    [notes] = (tmp_path / "to").rglob("notes")
    modes = [each.stat().st_mode & 0o777 for each in (notes, notes / "empty")]
    assert modes == [0o750, 0o777]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A site of which a disk has the repository; its filestorage is not here."""
    site = Site(tmp_path / "plone")
    site.commit({"page": 1}, {"file": b"data"})
    add_foreign(site.blobstorage)
    os.unlink(site.filestorage)
    monkeypatch.chdir(site.directory)
    monkeypatch.setattr(slots, "_ARGON2", {"passes": 1, "memory": 64, "lanes": 1})
    lines = {
        "datafs": "var/filestorage/Data.fs",
        "blob_storage": "var/blobstorage",
        "only_blobs": True,
        "location": "none",
        "repository": str(tmp_path / "disk"),
    }
    text = "\n".join(f"{name} = {json.dumps(value)}" for name, value in lines.items())
    (site.directory / "sitebackup.toml").write_text(f"{text}\n")
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", PASSPHRASE)
    assert main(["repository", "init", "-q"]) == DONE
    assert main(["backup", "-q"]) == DONE
    return site


@pytest.mark.usefixtures("leaping", "command")
def test_every_verb_works_and_the_format_is_what_the_page_says(project, tmp_path, capfdbinary):
    state = tree(project.blobstorage)
    capfdbinary.readouterr()
    assert main(["list", "--content"]) == DONE
    listed = capfdbinary.readouterr().out.decode()
    assert "blobstorage/0x00/among" in listed
    assert "Data.fs" not in listed
    assert main(["export", "--tar"]) == DONE
    with tarfile.open(fileobj=BytesIO(capfdbinary.readouterr().out)) as archive:
        # Python 3.10 and 3.11 have it from some of their later releases on
        archive.extraction_filter = getattr(tarfile, "tar_filter", None)
        archive.extractall(tmp_path / "tar")
    assert tree(tmp_path / "tar" / "blobstorage") == state
    assert main(["restore", "-qn", "--to", str(tmp_path / "to")]) == DONE
    assert tree(next((tmp_path / "to").rglob("notes")).parent) == state
    (project.blobstorage / "notes" / "why").write_bytes(b"changed")
    shutil.rmtree(project.blobstorage / "0x00")
    assert main(["restore", "-qn"]) == DONE
    assert tree(project.blobstorage) == state
    for verb in (["verify"], ["status"], ["prune"], ["doctor"], ["repository", "scrub"]):
        assert main([*verb, "-q"]) == DONE
    # a rehearsal that cannot be is no damage
    assert main(["rehearse", "-q"]) == ConfigurationError.exit_code
    assert main(["list", "-q"]) == DONE
    assert b"damaged" not in capfdbinary.readouterr().out
    assert main(["restore", "-qn", "--stdout"]) != DONE
    reader = RepositoryReader(tmp_path / "disk", PASSPHRASE)
    [point] = reader.points()
    body = json.loads(point.body)
    assert body["log"] is None
    assert point.head["tid"] == ""
    root = bytes.fromhex(point.head["roots"][body["blobs"]["foreign"]])
    found = {each.path.decode(): each for each in foreign(reader.get(root), reader.get)}
    assert list(found) == ["0x00/among", "notes", "notes/empty", "notes/link", "notes/why"]
    assert found["0x00/among"].data == AMONG
    assert found["notes/link"].data == b"why"


@pytest.mark.parametrize("full", [False, True])
def test_a_blob_that_lies_at_the_places_of_both_layouts_is_backed_up_once(operated, tmp_path, full):
    root = operated.site.blobstorage
    if full:
        operated.backup()
    [blob] = root.rglob("*.blob")
    second = root / Layout.LAWN.path(blob_of(blob.relative_to(root).as_posix()))
    second.parent.mkdir()
    second.write_bytes(b"cut")
    point = operated.backup(full=full).point
    assert point.doubts == ()
    assert list(operated.destination().verify(Depth.CHECKSUMS)) == []
    second.unlink()
    second.parent.rmdir()
    assert staged(operated, None, tmp_path / "to") == tree(root)
    assert not operated.backup().changed


def test_verify_names_a_list_of_blobs_that_no_restore_can_read(operated, tmp_path, monkeypatch):
    operated.site.commit({"a": 2}, {"c": b"second"})
    monkeypatch.setattr(blobpages, "_are_in_order", bool)
    monkeypatch.setattr(blobs, "written_page", lambda page: blobpages.written_page(page[::-1]))
    bad = operated.backup().point
    monkeypatch.undo()
    [problem] = operated.destination().verify(Depth.CHECKSUMS)
    assert "not in order" in problem.what
    assert problem.points == (bad.stamp,)
    assert operated.backup().changed, "the next backup lists them anew"
    assert staged(operated, None, tmp_path / "to") == tree(operated.site.blobstorage)


@pytest.mark.parametrize("full", [False, True])
def test_blobs_in_a_directory_that_cannot_be_read_stay_and_are_named(
    operated, tmp_path, monkeypatch, full
):
    operated.site.commit({"a": 2}, {"c": b"second", "d": b"third"})
    operated.backup()
    root = operated.site.blobstorage
    whole = tree(root)
    [gone] = [path for path in root.rglob("*.blob") if path.read_bytes() == b"third"]
    [there] = [path for path in root.rglob("*.blob") if path.read_bytes() == b"second"]
    gone.unlink()
    broken = [path.parent.relative_to(root).as_posix() for path in (gone, there)]
    listed = layout._listed

    def failing(top, path):
        if path in broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO), f"{top}/{path}")
        return listed(top, path)

    monkeypatch.setattr(layout, "_listed", failing)
    for _again in range(2):
        with pytest.raises(IntegrityError, match="1 blob of the site is gone") as caught:
            operated.backup(full=full)
        said = f"2 files or directories, with the blobs below, .* first: {min(broken)}"
        assert re.search(said, str(caught.value))
        assert staged(operated, None, tmp_path / f"to{operated.now:%H}") == whole
    monkeypatch.undo()
    gone.write_bytes(b"third")
    assert operated.backup().point.whole
    assert operated.points()[-1].doubts == ()
