"""Bundles of data in cold storage: what little but restores reads has to be asked for first."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from collective.recipe.backup.errors import (
    DONE,
    ConfigurationError,
    IntegrityError,
    ObjectArchived,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.repository import slots
from collective.recipe.backup.repository.names import id_of
from collective.recipe.backup.repository.puts import put
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.servers import BUCKET, answer, keeper, proxied


@pytest.fixture
def prefix():
    """A place that no other test has."""
    return f"cold/{os.getpid()}/{os.urandom(4).hex()}"


class ColdStorage:
    """A store whose objects of the class GLACIER cannot be read until they are *thawed*."""

    def __init__(self, port: int, proxy, prefix: str) -> None:
        self._client = keeper(port)
        self._prefix = prefix
        self.url = f"s3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{proxy.port}&class=GLACIER"
        self.thawed: set[str] = set()
        self.proxy = proxy
        proxy.fault = self._answer

    def objects(self) -> dict[str, str]:
        """Return the class of storage of each object."""
        found = self._client.list_objects_v2(Bucket=BUCKET, Prefix=self._prefix)["Contents"]
        return {
            each["Key"].removeprefix(f"{self._prefix}/"): each["StorageClass"] for each in found
        }

    def cold(self) -> set[str]:
        return {name for name, kind in self.objects().items() if kind == "GLACIER"}

    def _answer(self, method, path, _number):
        name = re.sub(r"\?.*", "", path).removeprefix(f"/{BUCKET}/{self._prefix}/")
        if method == "GET" and name.startswith("bundles/") and name in self.cold() - self.thawed:
            return answer(403, "InvalidObjectState")
        return None


@pytest.fixture
def storage(weed, s3_credentials, prefix):
    with proxied(weed) as proxy:
        yield ColdStorage(weed, proxy, prefix)


@pytest.fixture
def project(tmp_path, monkeypatch, command, storage):
    """A site that is backed up once."""
    monkeypatch.setattr(slots, "_ARGON2", {"passes": 1, "memory": 64, "lanes": 1})
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", "correct horse battery")
    site = Site(tmp_path / "plone")
    site.commit({"page": 1}, {"file": b"data" * 1000})
    monkeypatch.chdir(site.directory)
    (site.directory / "sitebackup.toml").write_text(
        'datafs = "var/filestorage/Data.fs"\nblob_storage = "var/blobstorage"\n'
        f'location = "none"\nrepository = "{storage.url}"\n'
    )
    assert main(["repository", "init", "-q"]) == DONE
    assert main(["backup", "-q"]) == DONE
    return site


@pytest.mark.needs("weed")
def test_backups_need_nothing_that_is_cold(project, storage):
    warm = storage.objects().keys() - storage.cold()
    assert {name.partition("/")[0] for name in storage.cold()} == {"bundles"}
    assert {name.partition("/")[0] for name in warm} == {
        "bundles",
        "catalogs",
        "format",
        "keys",
        "m",
    }
    project.commit({"page": 2}, {"other": b"more" * 1000})
    assert main(["backup", "-q"]) == DONE
    # a machine that knows nothing of it yet
    shutil.rmtree(project.directory / "var" / "backup-repositories")
    project.commit({"page": 3})
    assert main(["backup", "-q"]) == DONE
    for command in (["prune"], ["repository", "collect"], ["list"], ["verify", "--depth", "names"]):
        assert main([*command, "-q"]) == DONE, command


@pytest.mark.needs("weed")
def test_a_run_that_died_does_not_stop_the_next_one(project, storage):
    for name in storage.objects():
        if name.startswith(("catalogs/", "m/")):
            keeper(storage.proxy.target).delete_object(
                Bucket=BUCKET, Key=f"{storage._prefix}/{name}"
            )
    store = store_at(storage.url, Files())
    shutil.rmtree(project.directory / "var" / "backup-repositories")
    assert main(["backup", "-q"]) == DONE
    assert [each.name for each in store.list("m/p-")]


@pytest.mark.needs("weed")
def test_a_restore_says_what_to_ask_for_and_asks_for_nothing(project, storage, capfd):
    expected = project.contents()
    shutil.rmtree(project.filestorage.parent)
    shutil.rmtree(project.blobstorage)
    project.filestorage.parent.mkdir()
    asked = len(storage.proxy.asked)
    capfd.readouterr()
    assert main(["restore", "--dry-run"]) == DONE
    said = capfd.readouterr().out
    count = len(storage.cold())
    assert re.search(rf"In cold storage lie {count} objects?, [0-9.]+ kB", said)
    assert f"{count} request" in said
    assert set(re.findall(r"bundles/\S+", said)) == storage.cold()
    assert {method for method, _path in storage.proxy.asked[asked:]} <= {"GET", "HEAD"}
    assert main(["restore", "-q", "--no-prompt"]) == ObjectArchived.exit_code
    said = capfd.readouterr().err
    assert "an object lies in cold storage, and was not asked for" in said
    assert "hint: restore --dry-run names what a restore needs" in said
    assert not project.filestorage.exists()
    storage.thawed = storage.cold()
    assert main(["restore", "--dry-run"]) == DONE
    assert "cold" not in capfd.readouterr().out
    assert main(["restore", "-q", "--no-prompt"]) == DONE
    assert contents_of(project.filestorage, project.blobstorage) == expected


@pytest.mark.needs("weed")
def test_a_put_of_which_nothing_is_known_is_settled_without_reading(storage):
    data = b"x" * 1000
    name, store = f"bundles/ab/{id_of(data)}", store_at(storage.url, Files())
    store.put(name, data, bulk=True)
    assert put(store, name, data, bulk=True) == next(store.list(name)).stored
    with pytest.raises(ObjectArchived):
        store.get(name)
    other = f"bundles/ab/{id_of(data + data)}"
    store.put(other, data, bulk=True)
    with pytest.raises(IntegrityError, match="another object has the name"):
        put(store, other, data + data, bulk=True)


@pytest.mark.parametrize("kind", ["", "glacier", "A", "A B"])
def test_what_is_no_class_of_storage_is_refused(kind):
    with pytest.raises(ConfigurationError, match="class of storage"):
        store_at(f"s3://bucket/a?class={kind}", Files())
