"""Blob sets when a run dies, the disk fills up or breaks: at each single change."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from collective.recipe.backup.blobs import blobset, checksums, sets
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.copied import Copied
from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.blobs.setcheck import verify_contents
from collective.recipe.backup.blobs.setstaging import stage
from collective.recipe.backup.errors import BackupError, IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.model import BlobId
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.tests.blobtrees import blob_id, content, put, tid, tree
from collective.recipe.backup.tests.faults.harness import FaultyFiles, Hasty, survive_every_fault
from collective.recipe.backup.times import LAST_TID

FIRST, SECOND = "2026-03-01-12-00-00", "2026-03-02-12-00-00"
OLD = tid(5)
"""The last transaction of the restore point that every world begins with."""


survive = partial(survive_every_fault, disk=lambda world: world.root)


@dataclass(frozen=True)
class World:
    """A blobstorage and the directory of its backups."""

    root: Path
    layout: Layout = Layout.LAWN

    def put(self, *blobs: BlobId) -> None:
        for blob in blobs:
            put(self.source, blob, layout=self.layout)

    def lose(self, blob: BlobId) -> None:
        """Lose a blob of the source, as by a pack."""
        (self.source / self.layout.path(blob)).unlink()

    @property
    def source(self) -> Path:
        return self.root / "blobstorage"

    @property
    def directory(self) -> Path:
        return self.root / "backups"

    def sets(self) -> list[BlobSet]:
        return blobset.find_sets(self.directory, "blobstorage")

    def begin(self, stamp: str, files: Files, *, until=LAST_TID) -> Copied:
        """Begin a set as the next run does: after a sweep, and not if it is there already."""
        files.sweep(self.directory)
        found = self.sets()
        if found and found[-1].stamp == stamp:
            return sets.extend(self.source, found[-1], [], files=files, progress=Silent())
        previous = found[-1] if found else None
        return sets.begin(
            self.source,
            self.directory,
            stamp,
            until=until,
            previous=previous,
            files=files,
            progress=Silent(),
        )[1]

    def extend(self, files: Files) -> Copied:
        files.sweep(self.directory)
        return sets.extend(self.source, self.sets()[-1], NEW, files=files, progress=Silent())

    def restored(self, blob_set: BlobSet, until=LAST_TID) -> dict[str, object]:
        target = self.root / "restored"
        stage(blob_set, target, live=None, until=until, files=Hasty(), progress=Silent())
        found = dict(content(target))
        shutil.rmtree(target)
        return found

    def sound(self, until=OLD) -> bool:
        problems = [
            problem
            for blob_set in self.sets()
            for problem in verify_contents(blob_set, until=until, progress=Silent())
        ]
        return problems == []


OF_OLD = [blob_id(1, 3), blob_id(2, 4)]
NEW = [blob_id(1, 6), blob_id(300, 7)]


@pytest.fixture
def layout() -> Layout:
    """A lawn has fewer directories, and so fewer ways to fail the same way."""
    return Layout.LAWN


@pytest.fixture
def world(tmp_path: Path, layout: Layout) -> World:
    world = World(tmp_path / "first", layout)
    world.directory.mkdir(parents=True)
    world.put(*OF_OLD)
    return world


@pytest.fixture
def copy(tmp_path: Path, world: World) -> Callable[[], World]:
    """Return a function that copies ``world``."""
    numbers = itertools.count()

    def copy() -> World:
        twin = World(tmp_path / str(next(numbers)), world.layout)
        shutil.copytree(world.root, twin.root, symlinks=True)
        return twin

    return copy


def test_a_first_set_dies_or_fails_anywhere(world, copy):
    expected = content(world.source)

    def check(world, outcome):
        assert world.sound()
        for blob_set in world.sets():  # if there is one, it is whole
            assert world.restored(blob_set) == expected
        if outcome is None:
            assert len(world.sets()) == 1
        world.begin(FIRST, Hasty())
        [blob_set] = world.sets()
        assert world.restored(blob_set) == expected
        assert sorted(os.listdir(world.directory)) == [blob_set.name, "latest"]
        assert os.readlink(world.directory / "latest") == blob_set.name
        assert world.sound(LAST_TID)

    survive(copy, lambda world, files: world.begin(FIRST, files), check)


def test_a_later_set_dies_or_fails_anywhere(world, copy):
    world.begin(FIRST, Hasty())
    old = content(world.source)
    world.put(*NEW)
    (world.source / "foreign").write_bytes(b"file")
    (world.source / "link").symlink_to("foreign")
    world.lose(OF_OLD[1])
    new = content(world.source)

    def check(world, outcome):
        first, *rest = world.sets()
        assert world.restored(first) == old
        for blob_set in rest:
            assert world.restored(blob_set) == new
        assert rest or outcome is not None
        assert os.readlink(world.directory / "latest") in {each.name for each in world.sets()}
        assert world.sound()
        world.begin(SECOND, Hasty())
        first, second = world.sets()
        assert (world.restored(first), world.restored(second)) == (old, new)
        assert second.foreign
        assert sorted(os.listdir(world.directory)) == [first.name, second.name, "latest"]
        assert world.sound(LAST_TID)

    survive(copy, lambda world, files: world.begin(SECOND, files), check)


@pytest.mark.parametrize(
    ("layout", "merging"),
    [(Layout.BUSHY, False), (Layout.LAWN, True)],
    ids=["bushy", "lawn, and merges"],
)
def test_an_extension_dies_or_fails_anywhere(world, copy, monkeypatch, merging):
    world.begin(FIRST, Hasty())
    old = content(world.source)
    world.put(*NEW)
    new = content(world.source)
    if merging:
        monkeypatch.setattr(checksums, "ADDED_SIZE", 100)

    def check(world, outcome):
        [blob_set] = world.sets()
        assert world.restored(blob_set, OLD) == old
        assert world.sound()
        if outcome is None:
            assert world.restored(blob_set) == new
        world.extend(Hasty())
        assert world.restored(blob_set) == new
        assert world.sound(LAST_TID)
        assert not list(world.directory.rglob("*.partial"))

    survive(copy, lambda world, files: world.extend(files), check)


def test_a_removal_dies_or_fails_anywhere(world, copy):
    world.begin(FIRST, Hasty())
    world.begin(SECOND, Hasty())
    expected = content(world.source)

    def check(world, outcome):
        found = world.sets()
        assert found[-1].stamp == SECOND
        assert all(world.restored(blob_set) == expected for blob_set in found)
        assert len(found) == 1 or outcome is not None
        Hasty().sweep(world.directory)
        for blob_set in world.sets()[:-1]:
            blobset.remove(blob_set, Hasty())
        assert sorted(os.listdir(world.directory)) == [found[-1].name, "latest"]
        assert world.restored(found[-1]) == expected
        assert world.sound(LAST_TID)

    def remove(world: World, files: FaultyFiles) -> None:
        blobset.remove(world.sets()[0], files)

    survive(copy, remove, check)


@pytest.mark.parametrize("over", [False, True], ids=["into the empty", "over what is live"])
def test_a_restore_dies_or_fails_anywhere(world, copy, over):
    world.begin(FIRST, Hasty())
    expected = content(world.source)
    world.lose(OF_OLD[0])
    world.put(NEW[0])
    live, kept = tree(world.source), tree(world.directory)

    def restore(world: World, files: Files) -> None:
        stage(
            world.sets()[0],
            world.root / "restoring",
            live=world.source if over else None,
            until=LAST_TID,
            files=files,
            progress=Silent(),
        )

    def check(world, outcome):
        assert tree(world.source) == live
        assert tree(world.directory) == kept
        if outcome is not None:
            Hasty().clear(world.root / "restoring")
            restore(world, Hasty())
        assert content(world.root / "restoring") == expected

    survive(copy, restore, check)


@pytest.mark.parametrize("damage", ["flipped", "missing", "cut short", "swapped"])
def test_damage_to_any_file_of_a_set_is_found_and_not_restored(world, copy, damage):
    world.begin(FIRST, Hasty())
    world.put(*NEW)
    world.extend(Hasty())
    expected = content(world.source)
    files = sorted(path for path in content(world.sets()[0].path))
    assert len(files) == 1 + len(OF_OLD) + len(NEW) + 3
    for name in files:
        twin = copy()
        [blob_set] = twin.sets()
        path = blob_set.path / name
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        if damage == "missing":
            path.unlink()
        elif damage == "cut short":
            os.truncate(path, len(data) // 2)
        elif damage == "swapped":
            other = blob_set.path / files[files.index(name) - 1]
            data = other.read_bytes()
            other.chmod(0o600)
            other.write_bytes(path.read_bytes())
            path.write_bytes(data)
        else:
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        try:
            found = twin.restored(blob_set)
        except (IntegrityError, BackupError):
            found = None
        assert found in (None, expected), f"{damage} {name} was restored"
        if (damage, name) != ("swapped", "checksums.added"):  # with checksums: nothing is lost
            assert not twin.sound(LAST_TID), f"{damage} {name} was not found"
