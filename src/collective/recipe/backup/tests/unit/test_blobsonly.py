"""Blobs alone: restore points, restore and retention without a filestorage part."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import (
    BackupError,
    ConfigurationError,
    IntegrityError,
    InUse,
    NoRestorePoint,
    UsageError,
)
from collective.recipe.backup.operations.restore import describe, restore
from collective.recipe.backup.operations.restoreorder import RestoreOrder
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.restoring.staging import Targets
from collective.recipe.backup.tests.blobtrees import content, nobody
from collective.recipe.backup.tests.faults.harness import FaultyFiles
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.staged import stage_choice

STYLES = {
    "trees": {},
    "numbered": {"blob_timestamps": False},
    "rsync": {"use_rsync": True},
    "archives": {"archive_blob": True},
    "compressed": {"archive_blob": True, "compress_blob": True},
    "incremental": {"archive_blob": True, "incremental_blobs": True},
    "numbered-archives": {"archive_blob": True, "blob_timestamps": False},
}

each_style = pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=[pytest.mark.needs("rsync")] * (name == "rsync"))
        for name, options in STYLES.items()
    ],
)


@pytest.fixture
def options() -> dict:
    return {}


@pytest.fixture
def operated(site, options) -> Operated:
    """A site of which somebody else backs up the filestorage."""
    return Operated(site, **{"only_blobs": True, "keep": 9, "keep_blob_days": 0, **options})


def commit(operated: Operated, number: int) -> dict:
    """Commit two blobs; return the files of all, without the marker of the layout."""
    operated.site.commit(blobs={"a": b"a%d" % number, f"b{number}": b"b%d" % number})
    return blobs(operated.site.blobstorage)


def blobs(root: Path) -> dict:
    return {path: data for path, data in content(root).items() if path.endswith(".blob")}


def staged(operated: Operated, when: object, target: Path) -> dict:
    destination = operated.destination()
    choice = choose(destination.restore_points(), when)
    stage_choice(destination, choice, Targets(filestorage=None, index=target, blobstorage=target))
    return blobs(target)


@each_style
def test_each_restore_point_stays_what_it_was(operated, tmp_path) -> None:
    states = {}
    for number in range(4):
        state = commit(operated, number)
        outcome = operated.backup()
        assert outcome.changed
        states[outcome.point.moment] = state

    assert [point.problems for point in operated.points()] == [()] * 4
    assert list(operated.destination().verify(Depth.RECORDS)) == []
    for number, (moment, state) in enumerate(states.items()):
        assert staged(operated, moment, tmp_path / f"at-{number}") == state
        if not operated.config.options.incremental_blobs:  # there the moment cuts exactly
            later = moment + timedelta(minutes=59)
            assert staged(operated, later, tmp_path / f"until-{number}") == state
    assert staged(operated, None, tmp_path / "newest") == state
    with pytest.raises(NoRestorePoint):
        choose(operated.points(), min(states) - timedelta(seconds=1))


@each_style
def test_no_change_writes_nothing(operated) -> None:
    commit(operated, 1)
    before = operated.backup()
    files = FaultyFiles()

    outcome = operated.backup(files=files)

    assert not outcome.changed
    assert outcome.point == before.point
    assert [path for _operation, path in files.changes if "backups" in path.parts] == []


@each_style
def test_a_full_backup_begins_anew(operated) -> None:
    commit(operated, 1)
    operated.backup()
    assert operated.backup(full=True).changed
    points = operated.points()
    assert [point.full for point in points] == [True, True]


@each_style
def test_damage_is_found_and_not_restored(operated, tmp_path) -> None:
    commit(operated, 1)
    operated.backup()
    place = operated.place().blobstorage
    damaged = next(
        path for path in sorted(place.rglob("*")) if path.suffix in {".blob", ".tar", ".gz"}
    )
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.chmod(0o600)
    damaged.write_bytes(data)

    assert list(operated.destination().verify(Depth.CHECKSUMS))
    with pytest.raises(BackupError):
        staged(operated, None, tmp_path / "to")


@pytest.mark.parametrize("options", [{"keep_blob_days": 1, "keep": 1}])
def test_days_count_from_the_moments_that_restore_points_carry(operated) -> None:
    for number in range(4):
        commit(operated, number)
        operated.backup()
        operated.now += timedelta(hours=11)
    for path in operated.place().blobstorage.iterdir():
        path.touch()

    ages = [operated.now - point.moment for point in operated.points()]
    assert ages == [timedelta(hours=hours) for hours in (35, 23, 11)]


@pytest.mark.parametrize("options", [{"keep_blob_days": 0, "keep": 2}, {"full": True, "keep": 2}])
def test_without_days_so_many_stay(operated) -> None:
    for number in range(4):
        commit(operated, number)
        operated.backup(full=operated.config.options.full)
    assert len(operated.points()) == 2


@pytest.mark.parametrize("options", [{**STYLES["incremental"], "keep": 1, "keep_blob_days": 1}])
def test_archives_are_kept_by_their_chains(operated, tmp_path) -> None:
    for number in range(5):
        state = commit(operated, number)
        operated.backup(full=number == 3)
    assert [point.full for point in operated.points()] == [True, False]
    assert staged(operated, None, tmp_path / "to") == state


def test_a_restore_leaves_the_filestorage_alone(operated) -> None:
    state = commit(operated, 1)
    operated.backup()
    commit(operated, 2)
    filestorage = operated.site.filestorage.read_bytes()

    operated.restore()

    assert blobs(operated.site.blobstorage) == state
    assert operated.site.filestorage.read_bytes() == filestorage


def test_a_restore_is_refused_while_the_filestorage_is_open(operated) -> None:
    commit(operated, 1)
    operated.backup()
    with operated.site.opened(), pytest.raises(InUse):
        operated.restore()


def test_blobs_are_backed_up_where_there_is_no_filestorage(operated) -> None:
    state = commit(operated, 1)
    shutil.rmtree(operated.site.filestorage.parent)
    operated.backup()
    shutil.rmtree(operated.site.blobstorage)

    operated.restore()

    assert blobs(operated.site.blobstorage) == state


def test_the_question_names_the_blobs_alone(operated) -> None:
    commit(operated, 1)
    operated.backup()
    said = describe(operated.run("restore"), RestoreOrder())
    assert str(operated.site.blobstorage) in said
    assert "Data.fs" not in said


def test_to_restore_the_filestorage_alone_is_a_mistake(operated) -> None:
    with pytest.raises(UsageError, match="only_blobs"):
        restore(operated.run("restore"), RestoreOrder(blobstorage=False))


def test_a_missing_blobstorage_is_said_before_anything_is_written(operated) -> None:
    shutil.rmtree(operated.site.blobstorage, ignore_errors=True)
    with pytest.raises(BackupError, match="no blobstorage") as caught:
        operated.backup()
    assert "blob_storage" in caught.value.hint
    assert not operated.place().blobstorage.exists()


def test_what_a_pack_took_is_no_part_of_the_next(operated, tmp_path) -> None:
    commit(operated, 1)
    commit(operated, 2)
    operated.backup()
    operated.site.pack()
    packed = blobs(operated.site.blobstorage)

    operated.backup()

    assert staged(operated, None, tmp_path / "to") == packed


@pytest.mark.parametrize("name", ["trees", "archives", "incremental"])
def test_what_zodb_does_not_know_is_backed_up_as_well(site, tmp_path, name) -> None:
    operated = Operated(site, only_blobs=True, **STYLES[name])
    commit(operated, 1)
    foreign = site.blobstorage / "a.txt"
    for number in range(2):
        foreign.write_text(f"{number}")
        assert operated.backup().changed
        staged(operated, None, tmp_path / str(number))
        assert (tmp_path / str(number) / "a.txt").read_text() == f"{number}"


@pytest.mark.parametrize("name", ["archives", "compressed", "incremental"])
def test_an_archive_tells_what_zodb_does_not_know_and_has_not_changed(site, name) -> None:
    operated = Operated(site, only_blobs=True, **STYLES[name])
    commit(operated, 1)
    (site.blobstorage / "notes").mkdir()
    (site.blobstorage / "notes" / "a.txt").write_text("mine")
    (site.blobstorage / "link").symlink_to("notes")
    operated.backup()

    assert not operated.backup().changed

    (site.blobstorage / "notes" / "a.txt").write_text("changed")
    assert operated.backup().changed
    assert not operated.backup().changed


def test_an_archive_of_what_is_new_follows_one_with_what_zodb_does_not_know(site, tmp_path) -> None:
    operated = Operated(site, only_blobs=True, **STYLES["incremental"])
    commit(operated, 1)
    foreign = site.blobstorage / "a.txt"
    foreign.write_text("mine")
    operated.backup()
    for number in (2, 3):
        commit(operated, number)
        operated.backup()
    assert len({point.chain for point in operated.points()}) == 1
    staged(operated, None, tmp_path / "to")
    assert (tmp_path / "to" / "a.txt").read_text() == "mine"

    foreign.write_text("changed")
    commit(operated, 4)
    operated.backup()

    assert len({point.chain for point in operated.points()}) == 2
    staged(operated, None, tmp_path / "again")
    assert (tmp_path / "again" / "a.txt").read_text() == "changed"


@each_style
def test_what_cannot_be_read_is_named_and_all_else_is_backed_up(options) -> None:
    with nobody() as directory:
        site = Site(directory / "site")
        operated = Operated(site, **{"only_blobs": True, "keep": 9, "keep_blob_days": 0, **options})
        state = commit(operated, 1)
        sick = sorted(site.blobstorage.rglob("*.blob"))[0]
        sick.chmod(0)

        for _again in range(2):
            with pytest.raises(IntegrityError, match="1 blob was missing.*could not be read"):
                operated.backup()

        [point] = operated.points()
        left = str(sick.relative_to(site.blobstorage))
        without = {path: data for path, data in state.items() if path != left}
        assert staged(operated, None, directory / "without") == without
        sick.chmod(0o400)
        assert operated.backup().changed
        assert staged(operated, None, directory / "with") == state
        assert not operated.backup().changed


@each_style
def test_a_blob_that_is_not_as_it_was_backed_up_is_named_and_the_first_copy_stays(
    operated, tmp_path
) -> None:
    state = commit(operated, 1)
    operated.backup()
    sick = sorted(operated.site.blobstorage.rglob("*.blob"))[0]
    sick.chmod(0o600)
    sick.write_bytes(b"")
    commit(operated, 2)
    for _again in range(2):
        with pytest.raises(IntegrityError, match="1 blob of the site.*not as it was"):
            operated.backup(full=True)
    path = str(sick.relative_to(operated.site.blobstorage))
    assert staged(operated, None, tmp_path / "kept")[path] == state[path]
    assert operated.backup(accept=True).point.doubts == ()
    assert staged(operated, None, tmp_path / "accepted")[path] == b""


@pytest.mark.parametrize("options", [{}, {"blob_timestamps": False}])
def test_a_blob_of_another_size_is_named_also_while_nothing_is_new(operated) -> None:
    commit(operated, 1)
    operated.backup()
    sick = sorted(operated.site.blobstorage.rglob("*.blob"))[0]
    sick.chmod(0o600)
    sick.write_bytes(b"")
    for _again in range(2):
        with pytest.raises(IntegrityError, match="1 blob of the site.*not as it was"):
            operated.backup()
    assert len(operated.points()) == 1


def test_each_backup_has_a_directory_of_its_own_where_that_is_wanted(site: Site) -> None:
    operated = Operated(site, only_blobs=True, blob_snapshots="each", keep=2, keep_blob_days=0)
    state = commit(operated, 1)
    for _number in range(3):
        assert operated.backup().changed
    place = operated.place().blobstorage
    assert place is not None
    names = sorted(path.name for path in place.glob("blobstorage.*"))
    assert names == [point.blobs for point in operated.points()]
    assert len(names) == 2
    assert (place / "latest").readlink() == Path(names[-1])
    assert {it.stat().st_nlink for it in (place / names[0]).rglob("*.blob")} == {2}
    operated.site.lose()
    operated.restore()
    assert blobs(site.blobstorage) == state


@each_style
def test_a_site_that_goes_on_without_its_disk_costs_no_old_blob(operated, tmp_path):
    commit(operated, 1)
    operated.backup()
    root = operated.site.blobstorage
    whole = content(root)
    root.rename(tmp_path / "disk")
    root.mkdir()
    for number in range(2, 5):
        for full in (False, True):
            with pytest.raises(ConfigurationError, match="no blob of the last restore point"):
                operated.backup(full=full)
        operated.site.commit({"a": number}, {f"n{number}": b"new"})
        operated.now += timedelta(days=9)
    assert len(operated.points()) == 1
    assert operated.backup(full=True, accept=True).changed
    shutil.rmtree(root)
    (tmp_path / "disk").rename(root)
    assert content(root) == whole
