"""Backups of older releases are listed, verified, restored by date, continued and pruned."""

from __future__ import annotations

import os
import shutil
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.restoring.staging import Targets
from collective.recipe.backup.tests.older import (
    FORMATS,
    LAYOUTS,
    blobs_of,
    digest,
    history,
    made_by,
    unpacked,
)
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.staged import stage_choice

pytestmark = pytest.mark.slow

KEPT = sorted(FORMATS.glob("*.tar.gz"))


class Inherited:
    """A site whose backups an older release has made; *states* says of what."""

    def __init__(self, directory: Path, states: list[dict], *, only_blobs: bool) -> None:
        self.states = states
        self.only_blobs = only_blobs
        self.operated = Operated(Site(directory), keep=9, keep_blob_days=0, only_blobs=only_blobs)
        self.operated.now = self.moment(-1) + timedelta(minutes=1)

    def moment(self, number: int) -> datetime:
        return datetime.fromisoformat(self.states[number]["moment"])

    def staged(self, when: datetime | None, target: Path) -> dict:
        """Return what was staged, as far as it was, like a state without its moment."""
        destination = self.operated.destination()
        target.mkdir()
        filestorage = None if self.only_blobs else target / "Data.fs"
        blobs = target / "blobstorage"
        stage_choice(
            destination,
            choose(destination.restore_points(), when),
            Targets(filestorage=filestorage, index=target / "index", blobstorage=blobs),
        )
        found = {"blobs": blobs_of(blobs)}
        if filestorage is not None:
            found["filestorage"] = digest(filestorage)
        return found

    def expected(self, number: int) -> dict:
        names = ["blobs"] if self.only_blobs else ["blobs", "filestorage"]
        return {name: self.states[number][name] for name in names}


@pytest.fixture(params=KEPT, ids=lambda path: path.name.removesuffix(".tar.gz"))
def inherited(request, tmp_path: Path) -> Inherited:
    states = unpacked(request.param, tmp_path / "site")
    return Inherited(tmp_path / "site", states, only_blobs="only-blobs" in request.param.name)


def check_history(inherited: Inherited, tmp_path: Path) -> None:
    """Check that what an older release made is listed, verified and restored by date."""
    points = inherited.operated.points()
    assert [point.problems for point in points] == [()] * len(points)
    assert len(points) == (5 if inherited.only_blobs else 4)
    assert list(inherited.operated.destination().verify(Depth.RECORDS)) == []
    for number in range(len(inherited.states)):
        staged = inherited.staged(inherited.moment(number), tmp_path / f"at-{number}")
        assert staged == inherited.expected(number)
    for number, point in enumerate(points):
        found = inherited.staged(point.moment, tmp_path / f"named-{number}")
        assert found in [inherited.expected(state) for state in range(len(inherited.states))]
    assert inherited.staged(None, tmp_path / "newest") == inherited.expected(-1)


def test_what_older_releases_made_is_restored_for_ever(inherited, tmp_path) -> None:
    check_history(inherited, tmp_path)


@pytest.mark.parametrize("moved", ["whole", "inner"])
def test_what_was_moved_to_another_disk_and_linked_is_restored(
    inherited, tmp_path, moved: str
) -> None:
    """Administrators make room so: the directory or archive is a link, or the tree in it is."""
    disk = tmp_path / "disk"
    disk.mkdir()
    place = inherited.operated.place()
    for found in [*place.blobstorage.glob("blobstorage.*"), *place.filestorage.glob("*.*")]:
        keep = found.stat()
        path = found / "blobstorage" if moved == "inner" and found.is_dir() else found
        target = shutil.move(path, disk / f"{found.name}-{path.name}")
        path.symlink_to(target)
        if path != found:
            # where an older release has numbered, this alone says when it was made
            os.utime(found, ns=(keep.st_atime_ns, keep.st_mtime_ns))

    check_history(inherited, tmp_path)


def test_a_site_that_switches_goes_on_and_prunes(inherited, tmp_path) -> None:
    operated = inherited.operated
    operated.restore()
    mine = [operated.place().blobstorage / "README", operated.place().blobstorage / "other.1"]
    for path in mine:
        path.write_text("not yours")
    old = {point.stamp for point in operated.points()}
    operated.site.commit({"ours": 1}, {"ours": b"new"})
    operated.backup()
    operated.site.commit({"ours": 2}, {"ours": b"newer"})
    newest = operated.backup().point
    assert old < {point.stamp for point in operated.points()}
    contents = operated.site.contents() if not inherited.only_blobs else None

    pruning = Operated(operated.site, keep=1, keep_blob_days=0, only_blobs=inherited.only_blobs)
    pruning.now = operated.now
    operated.site.commit({"ours": 3}, {"ours": b"newest"})
    pruning.backup(full=True)

    [last] = pruning.points()
    assert last.stamp not in {newest.stamp, *old}
    kept = {path.name for path in operated.place().blobstorage.glob("[!.]*")}
    assert kept == {"README", "other.1", "latest", last.blobs}
    assert list(pruning.destination().verify(Depth.RECORDS)) == []
    expected = blobs_of(operated.site.blobstorage)
    shutil.rmtree(operated.site.blobstorage)
    pruning.restore()
    assert blobs_of(operated.site.blobstorage) == expected
    assert contents != operated.site.contents()


def test_a_site_that_switches_before_anything_changes_has_a_whole_restore_point(
    inherited, tmp_path
) -> None:
    operated = inherited.operated
    operated.restore()

    operated.backup()

    newest = operated.points()[-1]
    assert newest.whole
    assert newest.taken is not None or inherited.only_blobs  # by us
    assert list(operated.destination().verify(Depth.RECORDS)) == []
    assert inherited.staged(None, tmp_path / "newest") == inherited.expected(-1)


def test_what_an_older_release_has_not_finished_is_not_taken_for_whole(tmp_path) -> None:
    """rsync was killed, and what it had copied stands under its final name."""
    states = unpacked(FORMATS / "6.0.0-stamped.tar.gz", tmp_path / "site")
    inherited = Inherited(tmp_path / "site", states, only_blobs=False)
    operated = inherited.operated
    operated.restore()
    newest = operated.points()[-1]
    lost = max((operated.place().blobstorage / newest.blobs).rglob("*.blob"))
    lost.unlink()

    outcome = operated.backup()

    assert outcome.point.stamp > newest.stamp
    assert outcome.point.whole
    assert "(nothing can be added to the blobs that an older release left)" in outcome.summary
    assert inherited.staged(None, tmp_path / "newest") == inherited.expected(-1)


@pytest.mark.needs("rsync")
@pytest.mark.parametrize(
    ("version", "layout"), [("6.0.0", "mixed"), ("6.0.0", "deltas-gz"), ("4.2.0", "numbered")]
)
def test_what_older_releases_make_here_is_restored(releases, tmp_path, version, layout) -> None:
    site = Site(tmp_path / "site")
    states = history(releases(version), site, LAYOUTS[layout])

    check_history(Inherited(site.directory, states, only_blobs=False), tmp_path)


@pytest.fixture(scope="session")
def releases(tmp_path_factory):
    """Return a function that gives a release, which is installed once."""
    directory = tmp_path_factory.mktemp("releases")
    return cache(lambda version: made_by(version, directory))
