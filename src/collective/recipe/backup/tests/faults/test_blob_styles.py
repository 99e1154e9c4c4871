"""Each style of keeping blobs when a run dies, the disk fills up or breaks: at each change."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from collective.recipe.backup.blobs.layout import Layout
from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.destinations.directory.blobpart import BlobPart
from collective.recipe.backup.destinations.directory.blobstyles import BlobPlace, WantedBlobs
from collective.recipe.backup.destinations.directory.blobstyles.archivestyles import (
    FullArchives,
    IncrementalArchives,
    NumberedArchives,
)
from collective.recipe.backup.destinations.directory.blobstyles.treestyles import (
    EachBackup,
    EachChain,
    Numbered,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.restoring.staging import Targets
from collective.recipe.backup.tests.blobtrees import blob_id, content, put, tid
from collective.recipe.backup.tests.faults.harness import Fault, Hasty, survive_every_fault
from collective.recipe.backup.tests.runs import NOON, Operated, copied
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.staged import stage_choice

STAMPS = [f"2026-03-0{day}-12-00-00" for day in range(1, 4)]
BLOBS = [[blob_id(1, 3)], [blob_id(1, 5)], [blob_id(1, 7), blob_id(300, 7)]]
"""What each of three backups adds, with the tids up to 4, 6 and 8."""

STYLES = {
    "chain": EachChain,
    "each": EachBackup,
    "numbered": Numbered,
    "archives": partial(FullArchives, compressed=False),
    "incremental": partial(IncrementalArchives, compressed=True),
    "numbered-archives": partial(NumberedArchives, compressed=True),
}


survive = partial(survive_every_fault, disk=lambda world: world.root)


@dataclass(frozen=True)
class World:
    """A blobstorage, the directory of its backups, and how they are kept."""

    root: Path
    style: Callable

    @property
    def source(self) -> Path:
        return self.root / "blobstorage"

    def part(self, files: Files | None = None) -> BlobPart:
        workshop = BlobPlace(
            source=self.source,
            directory=self.root / "backups",
            files=files or Hasty(),
            progress=Silent(),
        )
        return BlobPart(workshop, self.style)

    def commit(self, number: int) -> None:
        for blob in BLOBS[number]:
            put(self.source, blob, layout=Layout.LAWN)

    def names(self) -> dict[int, str]:
        """Return which of the three backups are there; a tree for a chain is all of them."""
        found = self.part().found()
        names = {each.stamp: name for name, each in found.items()}
        if self.style is EachChain:
            # a chain's tree is for its incremental backups as well
            names = {stamp: names.get(stamp, next(iter(found), "")) for stamp in STAMPS}
        return {at: names[stamp] for at, stamp in enumerate(STAMPS) if stamp in names}

    def back_up(self, number: int, files: Files | None = None, *, full: bool = False) -> str:
        demand = WantedBlobs(
            stamp=STAMPS[number],
            until=tid(4 + 2 * number),
            before=None if full else self.names().get(number - 1),
            named=lambda: itertools.chain(*BLOBS[: number + 1]),
            new=lambda: BLOBS[number],
        )
        name, copied = self.part(files).store(demand)
        assert copied.lost == 0
        return name

    def prune(self, files: Files) -> None:
        part = self.part(files)
        assert list(part.remove_unneeded([self.names()[2]], STAMPS[2]))

    def restored(self, number: int, name: str) -> dict[str, object]:
        target = self.root / "restored"
        stored = self.part().open(name, lambda: tid(4 + 2 * number), None)
        stored.copy_into(target, files=Files(), progress=Silent())
        found = dict(content(target))
        shutil.rmtree(target)
        return found

    def expected(self, number: int) -> dict[str, object]:
        blobs = itertools.chain(*BLOBS[: number + 1])
        paths = {".layout", *map(Layout.LAWN.path, blobs)}
        return {path: data for path, data in content(self.source).items() if path in paths}

    def check(self, numbers: range) -> None:
        """Check that the backups *numbers* are there, and restore to what they were."""
        names = self.names()
        for number in numbers:
            assert self.restored(number, names[number]) == self.expected(number)
        needed = {name: tid(4 + 2 * number) for number, name in names.items() if number in numbers}
        assert list(self.part().verify(needed, only=False, reads=lambda _name: True)) == []


@pytest.fixture(params=STYLES)
def world(request, tmp_path: Path) -> World:
    """Two backups, and a commit after them."""
    world = World(tmp_path / "first", STYLES[request.param])
    (world.root / "backups").mkdir(parents=True)
    for number in range(2):
        world.commit(number)
        world.back_up(number)
    world.commit(2)
    return world


@pytest.fixture
def copy(world: World, tmp_path: Path) -> Callable[[], World]:
    """Return a function that copies ``world``."""
    numbers = itertools.count()

    def copy() -> World:
        twin = World(tmp_path / str(next(numbers)), world.style)
        shutil.copytree(world.root, twin.root, symlinks=True)
        return twin

    return copy


def partials(world: World) -> list[Path]:
    return list((world.root / "backups").rglob("*.partial"))


def test_a_backup_dies_or_fails_anywhere(world: World, copy) -> None:
    def check(world: World, outcome: BaseException | None) -> None:
        world.check(range(2))
        if len(world.names()) == 3 and world.style is not EachChain:
            # what has its name is whole
            assert world.restored(2, world.names()[2]) == world.expected(2)
        world.back_up(2)
        world.check(range(3))
        assert partials(world) == []
        shutil.rmtree(world.root)

    survive(copy, lambda world, files: world.back_up(2, files), check)


def test_a_prune_dies_or_fails_anywhere(world: World, copy) -> None:
    world.back_up(2, full=True)

    def check(world: World, outcome: BaseException | None) -> None:
        world.check(range(2, 3))
        part = world.part()
        list(part.remove_unneeded([world.names()[2]], STAMPS[2]))
        part.store(WantedBlobs(stamp="2026-03-04-12-00-00", until=tid(9)))
        world.check(range(2, 3))
        assert partials(world) == []
        shutil.rmtree(world.root)

    survive(copy, lambda world, files: world.prune(files), check)


@pytest.mark.parametrize(
    "options",
    [
        {"blob_timestamps": False},
        {"archive_blob": True, "incremental_blobs": True},
        {"only_blobs": True, "keep_blob_days": 0},
    ],
    ids=["numbered", "incremental", "only blobs"],
)
def test_a_run_of_all_dies_or_fails_anywhere(tmp_path: Path, options) -> None:
    site = Site(tmp_path / "site")
    first = Operated(site, keep=1, **options)
    site.commit(blobs={"a": b"first"}, at=NOON)
    old = first.backup(files=Hasty()).point
    before = blobs_of(site)
    site.commit(blobs={"a": b"second", "b": b"new"}, at=NOON + timedelta(minutes=90))
    after = blobs_of(site)
    numbers = itertools.count()

    def restored(operated: Operated, when: datetime | None) -> dict[str, object]:
        target = operated.site.directory / "restored"
        destination = operated.destination()
        choice = choose(destination.restore_points(), when)
        only_blobs = operated.config.options.only_blobs
        filestorage = None if only_blobs else target.with_name("Data.fs")
        index = target.with_name("Data.fs.index")
        targets = Targets(filestorage=filestorage, index=index, blobstorage=target)
        stage_choice(destination, choice, targets)
        found = blobs_below(target)
        shutil.rmtree(target)
        return found

    def check(operated: Operated, outcome: BaseException | None) -> None:
        good = [point for point in operated.points() if point.restorable]
        assert all(point.whole for point in good)
        if old.stamp in {point.stamp for point in good}:
            assert restored(operated, old.moment) == before
        assert restored(operated, None) in ([after] if outcome is None else [before, after])
        operated.backup(files=Hasty(), full=True)
        assert list(operated.destination().verify(Depth.CHECKSUMS)) == []
        assert restored(operated, None) == after
        shutil.rmtree(operated.site.directory)

    survive_every_fault(
        lambda: copied(first, tmp_path / str(next(numbers))),
        lambda it, files: it.backup(files=files),
        check,
        faults=[Fault.BEFORE],
        disk=lambda it: it.site.directory,
    )


def blobs_of(site: Site) -> dict[str, object]:
    return blobs_below(site.blobstorage)


def blobs_below(root: Path) -> dict[str, object]:
    return {path: data for path, data in content(root).items() if path.endswith(".blob")}
