"""The format of repositories: a sample of version 1 is read for ever, by us and by the page.

``formats/repository-1.tgz`` has a repository with two restore points of a site, before and
after a pack, its passphrase, and the SHA-256 of both filestorages.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from collective.recipe.backup.destinations.repository.logs import stored_log
from collective.recipe.backup.destinations.repository.pointblobs import stored_blobs
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import ignore
from collective.recipe.backup.repository.opened import Client, open_repository
from collective.recipe.backup.repository.standing import standing
from collective.recipe.backup.stores.local import LocalStore
from collective.recipe.backup.tests.repositoryreader import RepositoryReader
from collective.recipe.backup.tests.segmentreader import filestorage

SAMPLE = Path(__file__).parents[1] / "formats" / "repository-1.tgz"


@pytest.fixture
def sample(tmp_path):
    with tarfile.open(SAMPLE) as archive:
        # Python 3.10 and 3.11 have it from some of their later releases on
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path)
    return tmp_path / "repository-1"


@pytest.fixture
def said(sample):
    return json.loads((sample / "said.json").read_text())


def test_the_page_is_enough_to_read_it(sample, said):
    reader = RepositoryReader(sample / "store", said["passphrase"])
    for _way in range(2):
        found = {}
        for point in reader.points():
            number = json.loads(point.body)["log"]["root"]
            root = reader.get(bytes.fromhex(point.head["roots"][number]))
            data = filestorage(root, reader.get)
            found[point.head["stamp"]] = hashlib.sha256(data).hexdigest()
        assert found == said["filestorages"]
        for chunk in reader.places:
            reader.get(chunk)
        reader.without_catalogs()


def test_a_repository_of_an_older_release_is_read(sample, said):
    store = LocalStore(sample / "store", Files())
    client = Client(files=Files(), ask=lambda: said["passphrase"])
    with open_repository(store, client) as repository:
        found, blobs = {}, set()
        for point in standing(repository, repository.look()).points:
            log = stored_log(repository, point, None)
            digest = hashlib.sha256()
            for piece in log.pieces(0, ignore):
                digest.update(piece)
            found[point.stamp] = digest.hexdigest()
            kept = stored_blobs(repository, point, None)
            blobs |= {each.digest for each in kept.listed() if each.path.endswith(".blob")}
    assert found == said["filestorages"]
    assert blobs == set(said["blobs"])
