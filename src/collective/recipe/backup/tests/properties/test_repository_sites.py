"""Whatever a site goes through, a repository gives back each state that it was given."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from collective.recipe.backup.errors import NoRestorePoint
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.tests.properties.test_segments import (
    STEPS,
    Life,
    carry_out,
    ignoring_open_files,
)
from collective.recipe.backup.tests.repositories import World
from collective.recipe.backup.tests.repositorysites import (
    SiteBackups,
    files_of,
    named_in,
    small_pages,
)
from collective.recipe.backup.tests.segmented import small_sizes

HOSTS = st.sampled_from(["a", "a", "b", None])
"""Caches: those of two hosts, and that of a host which keeps none."""


@ignoring_open_files
@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.lists(STEPS, min_size=1, max_size=5), HOSTS), max_size=6))
def test_each_state_is_restored_whole_and_at_its_moments(lives):
    with tempfile.TemporaryDirectory() as directory, small_sizes():
        life = Life(Path(directory))
        world = World(Path(directory))
        points = []
        for steps, cache in lives:
            for step in steps:
                carry_out(life, step)
            point = SiteBackups(world, life.path, cache=cache).back_up()
            if point is not None:
                points.append((point, life.path.read_bytes()))
        reader = SiteBackups(world, life.path, cache=None)
        compared = Path(directory) / "compared.fs"
        for point, data in points:
            assert reader.restored(point) == data
            compared.write_bytes(data)
            with TransactionLog(compared) as log:
                tids = [each.tid for each in log.transactions()]
                for tid in tids[:: len(tids) // 3 + 1]:
                    try:
                        found = reader.restored(point, tid)
                    except NoRestorePoint:
                        continue
                    assert found == data[: log.cut(tid).offset]


@ignoring_open_files
@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.lists(STEPS, min_size=1, max_size=5), HOSTS), max_size=6))
def test_the_blobs_of_each_state_are_those_that_its_log_names(lives):
    with tempfile.TemporaryDirectory() as directory, small_sizes(), small_pages(500, 4):
        life = Life(Path(directory))
        world = World(Path(directory))
        blobstorage = Path(directory) / "blobs"
        points = []
        for steps, cache in lives:
            for step in steps:
                carry_out(life, step)
            point = SiteBackups(world, life.path, blobs=blobstorage, cache=cache).back_up()
            if point is not None:
                points.append((point, named_in(life.path), files_of(blobstorage)))
        reader = SiteBackups(world, life.path, blobs=blobstorage, cache=None)
        for number, (point, named, there) in enumerate(points):
            found = reader.restore_blobs(point, Path(directory) / f"restored {number}")
            # one that is gone by now may be in an earlier restore point
            assert {path: found.get(path) for path in named & there.keys()} == {
                path: there[path] for path in named & there.keys()
            }
            assert found.keys() <= named
