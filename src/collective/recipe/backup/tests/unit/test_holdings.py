"""What lies in a directory of blobs, and which of it belongs to which filestorage backup."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup import times
from collective.recipe.backup.blobs import holdings
from collective.recipe.backup.blobs.archives.archivenames import Archive, planned
from collective.recipe.backup.blobs.archives.archivewriting import write_delta, write_full
from collective.recipe.backup.blobs.blobset import find_sets
from collective.recipe.backup.blobs.holdings import Holding
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.numbered import STAMP_NAME, NumberedSet, rotate_in
from collective.recipe.backup.blobs.older import Belongings, disordered
from collective.recipe.backup.destinations.directory.blobpart import BlobPart
from collective.recipe.backup.destinations.directory.blobstyles import BlobPlace, WantedBlobs
from collective.recipe.backup.destinations.directory.blobstyles.treestyles import (
    EachBackup,
    Numbered,
)
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.blobtrees import ODD_NAMES, blob_id, content, put
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.times import LAST_TID, Tid

FIRST, SECOND, THIRD = (f"2026-03-0{day}-12-00-00" for day in (1, 2, 3))


def copy_of(part: BlobPart, name: str, target: Path) -> None:
    """Write all blobs of *name* to *target*."""
    stored = part.open(name, lambda: LAST_TID, None)
    stored.copy_into(target, files=Files(), progress=Silent())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "blobs"
    put(source, blob_id(1, 1))
    return source


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "backups"
    directory.mkdir()
    return directory


def made(path: Path, stamp: str) -> Path:
    """Give *path* the time of *stamp*, as if it was made then."""
    moment = times.from_stamp(stamp).timestamp()
    os.utime(path, (moment, moment))
    return path


def rsynced(directory: Path, name: str, stamp: str = FIRST) -> Path:
    """Make a tree as rsync made it for older releases."""
    put(directory / name / "blobs", blob_id(1, 1))
    return made(directory / name, stamp)


def tarred(source: Path, directory: Path, name: str, stamp: str = FIRST) -> Path:
    """Make an archive as tar made it for older releases."""
    path = directory / name
    assert os.system(f"tar cf '{path}' -C '{source}' .") == 0
    return made(path, stamp)


def part(source: Path, directory: Path, style=EachBackup, files: Files | None = None) -> BlobPart:
    workshop = BlobPlace(
        source=source, directory=directory, files=files or Hasty(), progress=Silent()
    )
    return BlobPart(workshop, style)


def found(directory: Path, storage: str = "blobs") -> list[tuple]:
    return [
        (each.name, each.stamp, each.certain) for each in holdings.find(directory, storage).values()
    ]


# finding


def test_every_kind_is_found_oldest_first(source, directory) -> None:
    rsynced(directory, "blobs.1", FIRST)
    rsynced(directory, "blobs.0", SECOND)
    tarred(source, directory, "blobs.0.tar.gz", "2026-03-01-18-00-00")
    rsynced(directory, f"blobs.{THIRD}")
    write_full(
        source,
        planned(directory, "blobs", "2026-03-04-12-00-00"),
        until=LAST_TID,
        files=Hasty(),
        progress=Silent(),
    )
    assert found(directory) == [
        ("blobs.1", FIRST, False),
        ("blobs.0.tar.gz", "2026-03-01-18-00-00", False),
        ("blobs.0", SECOND, False),
        (f"blobs.{THIRD}", THIRD, True),
        ("blobs.2026-03-04-12-00-00.tar", "2026-03-04-12-00-00", True),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "blobs.01",
        "blobs.-1",
        "blobs.0x1",
        "blobs",
        "blobs.",
        "blobs.2026-02-30-12-00-00",
        "blobs.0.12345678.partial",
        "other.0",
        "blobs-0",
        "xblobs.0",
    ],
)
def test_files_with_other_names_are_no_backups_of_blobs(directory, name) -> None:
    rsynced(directory, name)
    (directory / f"{name}.tar").write_text("")
    assert found(directory) == []


def test_a_tree_without_its_inner_directory_holds_nothing(directory) -> None:
    """As rsync left it when the storage was empty: a restore of it did nothing and said done."""
    (directory / f"blobs.{FIRST}").mkdir()
    (directory / "blobs.0").mkdir()
    assert found(directory) == []


@pytest.mark.parametrize("storage", ["blob.storage", "b.0", f"b.{FIRST}", *ODD_NAMES])
def test_a_storage_may_have_any_name(tmp_path, directory, storage) -> None:
    source = tmp_path / storage
    put(source, blob_id(1, 1))
    numbered = part(source, directory, Numbered)
    names = [numbered.store(WantedBlobs(stamp=each, until=LAST_TID))[0] for each in (FIRST, SECOND)]

    assert [name for name, _stamp, _certain in found(directory, storage)] == names
    for number, name in enumerate(names):
        target = tmp_path / f"target{number}"
        copy_of(numbered, name, target)
        assert content(target) == content(source)


def test_a_directory_called_like_an_increment_makes_none(source, tmp_path) -> None:
    directory = tmp_path / "x.delta.d"
    directory.mkdir()
    tarred(source, directory, f"blobs.{FIRST}.tar")
    tarred(source, directory, f"blobs.{SECOND}.tar")
    chains = [len(each.chain) for each in holdings.find(directory, "blobs").archives.values()]
    assert chains == [1, 1]


# what each can do, whatever its kind


def kept(source: Path, directory: Path) -> dict[str, Holding]:
    """Return a tree, an archive and one that builds on it, with one blob each but for the last."""
    part(source, directory).store(WantedBlobs(stamp=FIRST, until=LAST_TID))
    for stamp, write, ending in ((SECOND, write_full, ""), (THIRD, _write_more, ".delta")):
        archive = planned(directory, "blobs", stamp, delta=bool(ending))
        write(source, archive, until=LAST_TID, files=Hasty(), progress=Silent())
    return {each.stamp: each for each in holdings.find(directory, "blobs").values()}


def _write_more(source: Path, archive: Archive, *, until: Tid, files: Files, progress) -> None:
    put(source, blob_id(2, 2))
    assert write_delta([source], archive, lambda: [blob_id(2, 2)], files=files, progress=progress)


def test_a_holding_names_what_it_needs_itself_last(source, directory) -> None:
    tree, full, more = kept(source, directory).values()
    whole, incremental = (directory / f"blobs.{SECOND}.tar", directory / f"blobs.{THIRD}.delta.tar")
    assert tree.paths == [directory / f"blobs.{FIRST}"]
    assert (full.paths, more.paths) == ([whole], [whole, incremental])
    assert [each.begins for each in (tree, full, more)] == [FIRST, SECOND, SECOND]
    assert [each.stored for each in (tree, full, more)] == [
        0,
        whole.stat().st_size,
        incremental.stat().st_size,
    ]


def test_a_holding_lacks_the_blobs_that_neither_it_nor_what_it_builds_on_has(
    source, directory
) -> None:
    wanted = [blob_id(1, 1), blob_id(2, 2), blob_id(3, 3)]
    lacking = [list(each.lacking(wanted)) for each in kept(source, directory).values()]
    assert lacking == [wanted[1:], wanted[1:], wanted[2:]]


def test_only_in_a_tree_a_blob_has_a_file(source, directory) -> None:
    tree, full, _more = kept(source, directory).values()
    root = directory / f"blobs.{FIRST}" / "blobs"
    path = root / Layout.BUSHY.path(blob_id(1, 1))
    assert tree.blob_at(path) == blob_id(1, 1)
    assert tree.blob_at(root) is tree.blob_at(root.parent / "checksums") is None
    assert full.blob_at(full.paths[-1]) is None


def test_a_holding_that_goes_leaves_what_it_builds_on(source, directory) -> None:
    for stamp, holding in reversed(kept(source, directory).items()):
        assert holding.remove(Hasty())
        left = [name for name, _stamp, _certain in found(directory)]
        assert left == [name for name in left if stamp not in name]
        assert len(left) == [FIRST, SECOND, THIRD].index(stamp)


# numbers


def test_numbers_move_and_stamps_stay(source, directory) -> None:
    numbered = part(source, directory, Numbered)
    rsynced(directory, "blobs.0", "2026-02-01-12-00-00")
    for stamp in (FIRST, SECOND):
        numbered.store(WantedBlobs(stamp=stamp, until=LAST_TID))

    assert [NumberedSet(directory / f"blobs.{at}", "blobs").stamp for at in range(3)] == [
        SECOND,
        FIRST,
        "2026-02-01-12-00-00",
    ]
    assert found(directory)[0] == ("blobs.2", "2026-02-01-12-00-00", False)


def test_only_those_before_a_gap_move(source, directory) -> None:
    for number in (0, 2):
        rsynced(directory, f"blobs.{number}")
    part(source, directory, Numbered).store(WantedBlobs(stamp=FIRST, until=LAST_TID))
    assert sorted(path.name for path in directory.glob("*.*")) == ["blobs.0", "blobs.1", "blobs.2"]


def test_a_file_in_the_way_is_named_before_anything_moves(source, directory) -> None:
    rsynced(directory, "blobs.0")
    (directory / "blobs.1").write_text("mine")
    with pytest.raises(BackupError, match="in the way") as caught:
        part(source, directory, Numbered).store(WantedBlobs(stamp=SECOND, until=LAST_TID))
    assert caught.value.where.endswith("blobs.1")
    assert (directory / "blobs.1").read_text() == "mine"
    assert found(directory)[0] == ("blobs.0", FIRST, False)


def test_a_damaged_stamp_is_found_and_nothing_is_restored_by_it(source, directory) -> None:
    numbered = part(source, directory, Numbered)
    name, _copied = numbered.store(WantedBlobs(stamp=FIRST, until=LAST_TID))
    (directory / "blobs.0" / STAMP_NAME).write_text("2026-03-01-12-00-xx\n")

    [problem] = numbered.verify({name: LAST_TID}, only=False, reads=None)
    assert problem.where.endswith(STAMP_NAME)
    assert name not in numbered.found()
    with pytest.raises(IntegrityError):
        assert NumberedSet(directory / "blobs.0", "blobs").stamp


def test_a_missing_stamp_is_found(source, directory) -> None:
    numbered = part(source, directory, Numbered)
    numbered.store(WantedBlobs(stamp=FIRST, until=LAST_TID))
    (directory / "blobs.0" / STAMP_NAME).unlink()
    [problem] = numbered.verify({}, only=False, reads=None)
    assert problem.what == "missing"


def test_a_set_under_its_stamp_is_rotated_in_once(source, directory) -> None:
    """As a run left it that died before it could give it a number."""
    part(source, directory).store(WantedBlobs(stamp=FIRST, until=LAST_TID))
    name, copied = part(source, directory, Numbered).store(WantedBlobs(stamp=FIRST, until=LAST_TID))
    assert (name, copied.files) == (f"blobs.{FIRST}", 0)
    assert [path.name for path in directory.glob("*.*")] == ["blobs.0"]


def test_rotating_needs_a_directory_that_can_be_written(source, directory) -> None:
    part(source, directory).store(WantedBlobs(stamp=FIRST, until=LAST_TID))
    [blob_set] = find_sets(directory, "blobs")

    class Failing(Files):
        def rename(self, source: Path, target: Path) -> None:
            raise PermissionError(13, "Permission denied", str(target))

    with pytest.raises(BackupError, match="cannot number"):
        rotate_in(blob_set, Failing())
    assert found(directory) == [(f"blobs.{FIRST}", FIRST, True)]


# which belongs to which


def test_with_stamps_the_stamp_decides(directory) -> None:
    rsynced(directory, f"blobs.{FIRST}")
    belongings = Belongings(holdings.find(directory, "blobs"))
    assert belongings.of(FIRST, SECOND).stamp == FIRST
    assert belongings.of(SECOND, None) is None


def test_a_number_belongs_to_the_backup_before_it(directory) -> None:
    rsynced(directory, "blobs.1", "2026-03-01-12-03-00")
    rsynced(directory, "blobs.0", "2026-03-03-12-03-00")
    belongings = Belongings(holdings.find(directory, "blobs"))
    assert belongings.of(FIRST, SECOND).name == "blobs.1"
    assert belongings.of(SECOND, THIRD) is None  # its blobs were not backed up
    assert belongings.of(THIRD, None).name == "blobs.0"


def test_a_backup_made_later_is_never_taken_for_an_older_one(directory) -> None:
    """What an old time of a newer backup led to in older releases."""
    rsynced(directory, "blobs.1", SECOND)
    rsynced(directory, "blobs.0", FIRST)
    found = holdings.find(directory, "blobs")
    assert len(disordered(found)) == 2
    assert Belongings(found).of(FIRST, SECOND) is None


def test_times_that_say_nothing_are_told_and_nothing_of_them_is_removed(source, directory) -> None:
    for number in range(3):
        rsynced(directory, f"blobs.{number}", FIRST)
    kept = part(source, directory)
    problems = list(kept.verify({}, only=False, reads=None))
    assert len(problems) == 3
    assert "cp -a" in problems[0].hint
    assert list(kept.remove_unneeded([], THIRD)) == []


def test_holdings_with_times_in_order_go_when_nothing_needs_them(source, directory) -> None:
    rsynced(directory, "blobs.1", FIRST)
    rsynced(directory, "blobs.0", SECOND)
    tarred(source, directory, "blobs.0.tar", FIRST)
    assert set(part(source, directory).remove_unneeded(["blobs.0"], THIRD)) == {
        "blobs.1",
        "blobs.0.tar",
    }
    assert [path.name for path in directory.iterdir()] == ["blobs.0"]


def test_an_archive_stays_as_long_as_one_builds_on_it(source, directory) -> None:
    write_full(
        source,
        planned(directory, "blobs", FIRST),
        until=LAST_TID,
        files=Hasty(),
        progress=Silent(),
    )
    for number, stamp in enumerate((SECOND, THIRD), 2):
        put(source, blob_id(1, number))
        archive = planned(directory, "blobs", stamp, delta=True)
        write_delta(
            [source],
            archive,
            lambda: [blob_id(1, number)],  # noqa: B023  called at once
            files=Hasty(),
            progress=Silent(),
        )
    kept = part(source, directory)

    later = times.stamp_after(THIRD)
    assert list(kept.remove_unneeded([f"blobs.{SECOND}.delta.tar"], later)) == [
        f"blobs.{THIRD}.delta.tar"
    ]
    assert list(kept.remove_unneeded([], later)) == [
        f"blobs.{SECOND}.delta.tar",
        f"blobs.{FIRST}.tar",
    ]
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("damage", ["no snar", "empty snar", "no full one"])
def test_an_increment_of_gnu_tar_without_its_base_is_flawed(source, directory, damage) -> None:
    tarred(source, directory, f"blobs.{FIRST}.tar")
    snar = directory / f"blobs.{FIRST}.snar"
    snar.write_text("state")
    tarred(source, directory, f"blobs.{SECOND}.delta.tar")
    kept = part(source, directory)
    assert kept.found().flaws() == {}
    if damage == "no snar":
        snar.unlink()
    elif damage == "empty snar":
        snar.write_text("")
    else:
        (directory / f"blobs.{FIRST}.tar").unlink()

    assert list(kept.found().flaws()) == [f"blobs.{SECOND}.delta.tar"]
    assert list(kept.verify({}, only=False, reads=None))
    with pytest.raises(IntegrityError):
        copy_of(kept, f"blobs.{SECOND}.delta.tar", directory / "to")


def test_a_blob_backup_that_is_gone_is_an_error_that_says_so(source, directory) -> None:
    with pytest.raises(BackupError, match="gone"):
        copy_of(part(source, directory), "blobs.0", directory / "to")


def test_a_stamp_that_is_taken_is_not_used_again(source, directory) -> None:
    kept = part(source, directory)
    kept.store(WantedBlobs(stamp=SECOND, until=LAST_TID))
    now = times.from_stamp(FIRST)
    assert kept.unused(now) == times.stamp_after(SECOND)
    assert kept.unused(now + timedelta(days=9)) == "2026-03-10-12-00-00"
