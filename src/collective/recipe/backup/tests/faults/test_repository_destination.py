"""A backup of a site to a repository, whose store fails or which dies at any operation.

Whatever happens: what was there before can be restored, and the next backup succeeds.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.destinations.repository.wantedfiles import WantedFiles
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.restoring.placedfiles import place_files
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.tests.blobtrees import content
from collective.recipe.backup.tests.contracts.destination import staged
from collective.recipe.backup.tests.faults.stores import survive_every_store_fault
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.samples import Site


class BackedUpSite:
    """A site with one restore point in a store; what has changed since is to be backed up."""

    def __init__(self, operated, before, directory):
        self.operated = operated
        self.before = before  # what it was when that restore point was made, by its moment
        self.now = operated.site.contents()
        self.directory = directory

    def runs(self, store, name):
        """Return runs over the site as a host that remembers what lies under *name*."""
        runs = OperatedInRepository(self.operated.site, store=store, keep=0)
        runs.now = self.operated.now
        place = replace(self.operated.repository_place, state=self.directory / name)
        runs.repository_place = place
        return runs

    def files(self, runs, directory):
        """Return what the newest restore point has of the further files, by their paths."""
        destination = runs.destination()
        with destination.open(choose(destination.restore_points(), None)) as state:
            if state.files is None:
                return {}
            place_files(state.files, directory, Files(), Silent())
        return files_below(directory / "files")


def grown(site):
    site.commit({"a": 2}, {"b": b"second" * 99, "c": b"third" * 99})


def packed(site):
    site.commit({"a": 2}, {"b": b"second" * 99})
    site.pack()


def undone(site):
    tid = site.commit({"a": 2}, {"b": b"second" * 99})
    site.undo(tid)


def with_files(site):
    (site.directory / "etc" / "one").write_bytes(b"another one")
    (site.directory / "etc" / "new").mkdir()
    (site.directory / "etc" / "new" / "two").write_bytes(b"two" * 999)


def files_below(directory):
    return {path.name: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(params=[grown, packed, undone, with_files], ids=lambda change: change.__name__)
def make(request, tmp_path):
    site = Site(tmp_path / "site")
    site.commit({"a": 1}, {"b": b"first" * 99})
    operated = OperatedInRepository(site, keep=0)
    if request.param is with_files:
        (site.directory / "etc").mkdir()
        (site.directory / "etc" / "one").write_bytes(b"one")
        wanted = WantedFiles(paths=(site.directory / "etc",))
        operated.repository_place = replace(operated.repository_place, files=wanted)
    moment = operated.backup().point.moment
    before = {moment: site.contents()}
    request.param(site)
    objects = dict(operated.store.objects)
    numbers = itertools.count()

    def make():
        store = MemoryStore(lambda: operated.now)
        store.objects = dict(objects)
        directory = tmp_path / str(next(numbers))
        shutil.copytree(operated.repository_place.state, directory / "host")
        return BackedUpSite(operated, before, directory), store

    return make


def test_a_backup_of_a_site(make):
    def act(backed_up, store):
        backed_up.store = store.inner
        backed_up.runs(store, "host").backup()

    def check(backed_up, _outcome):
        runs = backed_up.runs(backed_up.store, "host")
        to = itertools.count()
        for moment, contents in backed_up.before.items():
            assert staged(runs, moment, backed_up.directory / f"to{next(to)}") == contents
        runs.backup()
        assert staged(runs, None, backed_up.directory / f"to{next(to)}") == backed_up.now
        etc = backed_up.operated.site.directory / "etc"
        assert backed_up.files(runs, backed_up.directory / "files") == files_below(etc)
        anew = backed_up.runs(backed_up.store, "another host")
        for moment, contents in backed_up.before.items():
            assert staged(anew, moment, backed_up.directory / f"to{next(to)}") == contents
        assert list(anew.destination().verify(Depth.RECORDS)) == []
        shutil.rmtree(backed_up.directory)

    assert survive_every_store_fault(make, act, check) > 20


def tree(root):
    """Return what lies below *root*, but for the note of the layout."""
    return {path: data for path, data in content(root).items() if path != ".layout"}


def blobs_of(runs, when):
    """Return what a restore point has of the blobstorage, by its paths."""
    destination = runs.destination()
    with destination.open(choose(destination.restore_points(), when)) as state:
        found = state.blobs.contents(lambda _path: True)
        return {each.file.path: b"".join(each.pieces) for each in found}


def test_a_backup_of_blobs_alone(tmp_path):
    site = Site(tmp_path / "site")
    site.commit({}, {"b": b"first" * 99})
    (site.blobstorage / "0x00" / "note").write_bytes(b"one")
    runs = OperatedInRepository(site, keep=0, only_blobs=True)
    moment, before = runs.backup().point.moment, tree(site.blobstorage)
    site.commit({}, {"c": b"second" * 99})
    (site.blobstorage / "0x00" / "note").write_bytes(b"another one")
    objects, begun, numbers = dict(runs.store.objects), runs.now, itertools.count()
    remembered = runs.repository_place

    def make():
        store = MemoryStore(lambda: runs.now)
        store.objects = dict(objects)
        directory = tmp_path / str(next(numbers))
        shutil.copytree(remembered.state, directory / "host")
        return directory, store

    def use(directory, store, name):
        runs.store, runs.now = store, begun
        runs.repository_place = replace(remembered, state=directory / name)

    def act(directory, store):
        use(directory, store, "host")
        runs.backup()

    def check(directory, _outcome):
        use(directory, runs.store.inner, "host")
        assert blobs_of(runs, moment) == before
        runs.backup()
        use(directory, runs.store, "another host")
        assert blobs_of(runs, moment) == before
        assert blobs_of(runs, None) == tree(site.blobstorage)
        assert list(runs.destination().verify(Depth.CHECKSUMS)) == []
        shutil.rmtree(directory)

    assert survive_every_store_fault(make, act, check) > 20
