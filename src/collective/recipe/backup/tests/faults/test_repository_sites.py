"""Every operation of the store goes wrong while a site is backed up to a repository."""

from __future__ import annotations

import copy
import itertools
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.repository.collecting import collect
from collective.recipe.backup.repository.opened import open_repository
from collective.recipe.backup.stores import Store
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.faults.stores import every_store_fault
from collective.recipe.backup.tests.repositories import World, points_of
from collective.recipe.backup.tests.repositorysites import (
    SiteBackups,
    files_of,
    named_in,
    small_pages,
)
from collective.recipe.backup.tests.samples import FOUNDED, Site

DAY = timedelta(days=1)
State = tuple[bytes, dict[str, bytes]]


class Scene:
    """A world with backups of *site*, and the states of its restore points by name."""

    def __init__(self, world: World, site: Site) -> None:
        self.world = world
        self.backups = SiteBackups(world, site.filestorage, blobs=site.blobstorage, cache="host")
        self.states: dict[str, State] = {}
        self._site = site

    def back_up(self, cache: str | None = "host") -> None:
        self.backups.cache = cache
        point = self.backups.back_up()
        if point is not None:
            self.states[point.name] = self.live()

    def live(self) -> State:
        site = self._site
        named, there = named_in(site.filestorage), files_of(site.blobstorage)
        return site.filestorage.read_bytes(), {path: there[path] for path in sorted(named)}

    def restored(self, directory: Path, cache: str | None) -> dict[str, State]:
        self.backups.cache = cache
        with self.world.open(cache) as repository:
            points = points_of(repository)
        return {
            point.name: (
                self.backups.restored(point),
                self.backups.restore_blobs(point, directory / f"{cache} {point.stamp}"),
            )
            for point in points
        }

    def twin(self, directory: Path) -> Scene:
        """Return the same scene with a store and a cache of its own."""
        world = copy.copy(self.world)
        world.directory = directory
        world.clock = copy.copy(self.world.clock)
        world.store = MemoryStore(world.clock)
        world.store.objects = dict(self.world.store.objects)
        twin = Scene(world, self._site)
        twin.states = dict(self.states)
        (directory / "host").write_bytes((self.world.directory / "host").read_bytes())
        return twin


@pytest.fixture
def make(tmp_path: Path):
    """Return a function that makes the same scene again and again, and its store."""
    site = Site(tmp_path / "site")
    scene = Scene(World(tmp_path), site)
    with small_pages():
        for day in range(1, 12):
            blobs = {str(day): bytes([day]) * 600, "large": bytes([day]) * 9000}
            site.commit({str(day % 5): "text " * day}, blobs, at=FOUNDED + day * DAY)
        scene.back_up()
        site.undo(site.commit({"1": "wrong"}, at=FOUNDED + 20 * DAY), at=FOUNDED + 21 * DAY)
        site.pack(FOUNDED + 6 * DAY)
        site.commit({}, {"new": b"new"}, at=FOUNDED + 22 * DAY)
        numbers = itertools.count()

        def make():
            directory = tmp_path / f"scene {next(numbers)}"
            directory.mkdir()
            twin = scene.twin(directory)
            return twin, twin.world.store

        yield make


def test_earlier_restore_points_stay_and_the_next_backup_makes_one(make):
    def act(scene: Scene, store: Store) -> None:
        whole = scene.world.open
        scene.world.open = lambda cache=None: open_repository(store, scene.world.client(cache))
        try:
            scene.back_up()
        finally:
            scene.world.open = whole

    count = 0
    for scene, outcome, words in every_store_fault(make, act):
        directory = scene.world.directory
        found = scene.restored(directory, None)
        for name, state in scene.states.items():
            assert found[name] == state, words
        # one of which the answer was lost is there as well
        others = [state for name, state in found.items() if name not in scene.states]
        assert others in ([], [scene.live()]), words
        scene.back_up(None if count % 2 else "host")
        scene.world.clock.go_on(days=3)
        with scene.world.open() as repository:
            collect(repository, yes=True)
        for state in scene.restored(directory, "host").values():
            assert state in scene.states.values() or state == scene.live(), words
        (directory / "again").mkdir()
        assert scene.live() in scene.restored(directory / "again", None).values(), words
        count += outcome is not None
    assert count > 20
