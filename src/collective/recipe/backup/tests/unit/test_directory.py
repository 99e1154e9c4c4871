"""The directory destination keeps the contract of destinations."""

from __future__ import annotations

import pytest

from collective.recipe.backup.destinations import Targets, directory
from collective.recipe.backup.filestorage.index import position
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.tests.contracts.destination import DestinationContract
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import contents_of


class TestDirectory(DestinationContract):
    """A directory."""

    @pytest.fixture
    def operated(self, site) -> Operated:
        return Operated(site)


@pytest.mark.parametrize("near", [True, False])
def test_a_restored_filestorage_has_an_index(site, tmp_path, monkeypatch, near) -> None:
    site.commit({"a": 1})
    operated = Operated(site)
    operated.backup()
    site.commit({"a": 2})
    operated.backup()
    if not near:
        monkeypatch.setattr(directory, "QUICKLY_READ", 0)
    targets = Targets(
        filestorage=tmp_path / "Data.fs",
        index=tmp_path / "Data.fs.index",
        blobstorage=None,
    )

    operated.destination().stage(choose(operated.points(), None), targets)

    found = position(targets.index)
    assert found is not None
    assert (found == site.size) is not near
    assert contents_of(targets.filestorage) == contents_of(site.filestorage)
