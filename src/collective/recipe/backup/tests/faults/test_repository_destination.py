"""A backup of a site to a repository, whose store fails or which dies at any operation.

Whatever happens: what was there before can be restored, and the next backup succeeds.
"""

from __future__ import annotations

import itertools
import shutil
from dataclasses import replace

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.stores.memory import MemoryStore
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
        state = self.directory / name
        runs.repository_place = replace(runs.repository_place, state=state)
        return runs


def grown(site):
    site.commit({"a": 2}, {"b": b"second" * 99, "c": b"third" * 99})


def packed(site):
    site.commit({"a": 2}, {"b": b"second" * 99})
    site.pack()


def undone(site):
    tid = site.commit({"a": 2}, {"b": b"second" * 99})
    site.undo(tid)


@pytest.fixture(params=[grown, packed, undone], ids=lambda change: change.__name__)
def make(request, tmp_path):
    site = Site(tmp_path / "site")
    site.commit({"a": 1}, {"b": b"first" * 99})
    operated = OperatedInRepository(site, keep=0)
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
        anew = backed_up.runs(backed_up.store, "another host")
        for moment, contents in backed_up.before.items():
            assert staged(anew, moment, backed_up.directory / f"to{next(to)}") == contents
        assert list(anew.destination().verify(Depth.RECORDS)) == []
        shutil.rmtree(backed_up.directory)

    assert survive_every_store_fault(make, act, check) > 20
