"""A bucket that keeps versions, read as it was before a thief came."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta, timezone
from importlib import util

import pytest

from collective.recipe.backup import history, times
from collective.recipe.backup.errors import (
    DONE,
    ConfigurationError,
    StoreRefused,
    StoreUnreachable,
    UsageError,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.repository import slots
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.stores import NoSuchObject
from collective.recipe.backup.stores.allowance import Allowance
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.tests.contracts.store import NAME, OTHER, names
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.servers import BUCKET, answer, keeper, keeping_bucket, proxied

pytestmark = pytest.mark.needs("weed")
MODES = ["", "GOVERNANCE", "COMPLIANCE"]


@pytest.fixture(autouse=True)
def _credentials(s3_credentials):
    """Those of the site."""


@pytest.fixture
def prefix():
    """A place that no other test has."""
    return f"{os.getpid()}/{os.urandom(4).hex()}"


def url_of(port, bucket, prefix="a"):
    return f"s3://{bucket}/{prefix}?endpoint=http://127.0.0.1:{port}"


def a_second_later(port):
    """Return the present moment of the store, once the next second has begun there."""
    with_time = store_at(url_of(port, BUCKET), Files())
    moment = with_time.clock()
    while with_time.clock() <= moment:
        time.sleep(0.05)
    return moment


def test_an_earlier_state_has_what_was_there_then(weed, prefix):
    url = url_of(weed, keeping_bucket(weed, ""), prefix)
    store = store_at(url, Files())
    before = a_second_later(weed)
    store.put(NAME, b"0123456789")
    store.put("m/a", b"first")
    moment = a_second_later(weed)
    store.delete(NAME)
    store.delete("m/a")
    store.put("m/a", b"other")
    store.put(OTHER, b"later")
    allowance = Allowance()
    past = store_at(url, Files(), allowance, moment)
    assert names(past) == [NAME, "m/a"]
    assert names(past, "m/") == ["m/a"]
    assert past.get(NAME) == b"0123456789"
    assert past.get(NAME, 3, 4) == b"3456"
    assert past.get(NAME, 4) == b"456789"
    assert past.get(NAME, 10) == b""
    assert past.get("m/a") == b"first"
    for missing in (lambda: past.get(OTHER), lambda: past.get(NAME, 8, 3)):
        with pytest.raises(NoSuchObject):
            missing()
    assert allowance.asked <= 8  # it is listed once
    assert names(store_at(url, Files(), None, before)) == []
    for change in (lambda: past.put("m/b", b""), lambda: past.delete(NAME)):
        with pytest.raises(StoreRefused, match="cannot be changed"):
            change()
    assert names(store) == [OTHER, "m/a"]


def test_a_bucket_that_keeps_no_versions_is_named(weed):
    url = url_of(weed, BUCKET, "past")
    store_at(url, Files()).put(NAME, b"x")
    past = store_at(url, Files(), None, datetime.now(timezone.utc) + timedelta(hours=1))
    with pytest.raises(ConfigurationError, match="keeps no versions") as caught:
        past.get(NAME)
    assert "leave out --as-of" in caught.value.hint


def test_what_was_there_before_a_bucket_kept_versions_can_be_read(weed, prefix):
    bucket = f"kept-later-{os.urandom(4).hex()}"
    client = keeper(weed)
    client.create_bucket(Bucket=bucket)
    url = url_of(weed, bucket, prefix)
    store = store_at(url, Files())
    store.put(NAME, b"first")
    moment = a_second_later(weed)
    kept = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=kept)
    store.delete(NAME)
    assert store_at(url, Files(), None, moment).get(NAME) == b"first"
    assert names(store) == []


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (answer(403, "AccessDenied"), StoreRefused, "the credential may not do that"),
        (answer(404, "NoSuchBucket"), StoreUnreachable, "there is no such bucket"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>", StoreUnreachable, "cannot list"),
    ],
)
def test_what_the_store_answers_instead_is_told_with_a_hint(weed, said, kind, words):
    with proxied(weed) as proxy:
        proxy.fault = lambda *_request: said
        past = store_at(url_of(proxy.port, BUCKET), Files(), None, times.utcnow())
        with pytest.raises(kind, match=words) as caught:
            names(past)
    assert caught.value.hint


def test_without_the_library_it_is_said_how_to_install_it(weed, monkeypatch):
    monkeypatch.setattr(
        "collective.recipe.backup.stores.buckets.bucketversions.find_spec",
        lambda name: None if name == "botocore" else util.find_spec(name),
    )
    with pytest.raises(ConfigurationError, match="botocore") as caught:
        names(store_at(url_of(weed, BUCKET), Files(), None, times.utcnow()))
    assert "s3-versions" in caught.value.hint


@pytest.mark.parametrize("url", ["/srv/store", "sftp://host/srv", "gs://bucket/a"])
def test_only_buckets_of_s3_have_a_past(url):
    with pytest.raises(ConfigurationError, match="only the present state") as caught:
        store_at(url, Files(), None, times.utcnow())
    assert caught.value.hint


@pytest.fixture
def project(tmp_path, monkeypatch, command):
    """A site in the working directory."""
    monkeypatch.setattr(slots, "_ARGON2", {"passes": 1, "memory": 64, "lanes": 1})
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", "correct horse battery")
    site = Site(tmp_path / "plone")
    site.commit({"page": 1}, {"file": b"data" * 1000})
    monkeypatch.chdir(site.directory)
    return site


def configure(site, url):
    (site.directory / "sitebackup.toml").write_text(
        'datafs = "var/filestorage/Data.fs"\nblob_storage = "var/blobstorage"\n'
        f'location = "none"\nrepository = "{url}"\n'
    )


def versions_in(client, bucket, prefix):
    found = client.list_object_versions(Bucket=bucket, Prefix=prefix)["Versions"]
    return {(each["Key"], each["VersionId"]) for each in found}


def rob(port, bucket, prefix):
    """Remove and overwrite all that can be; return the names of the versions that stay."""
    client = keeper(port)
    for number, each in enumerate(client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]):
        client.delete_object(Bucket=bucket, Key=each["Key"])
        if number % 2:
            client.put_object(Bucket=bucket, Key=each["Key"], Body=b"ransom")
    return versions_in(client, bucket, prefix)


def remembered(site):
    """Return what this machine remembers of its repository, but for the history of its runs."""
    state = site.directory / "var" / "backup-repositories" / "repository"
    return {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", MODES)
def test_a_site_comes_back_after_a_hostile_delete_and_overwrite(project, weed, mode, prefix, capfd):
    bucket = keeping_bucket(weed, mode)
    configure(project, url_of(weed, bucket, prefix))
    assert main(["repository", "init", "-q"]) == DONE
    assert main(["backup", "-q"]) == DONE
    expected = project.contents()
    moment = a_second_later(weed).isoformat()
    rob(weed, bucket, prefix)
    capfd.readouterr()
    assert main(["restore", "-q", "--no-prompt"]) != DONE
    project.commit({"page": 2})
    capfd.readouterr()
    assert main(["list", "--json", "--as-of", moment]) == DONE
    [storage] = json.loads(capfd.readouterr().out)["storages"]
    assert len(storage["restore_points"]) == 1
    before = remembered(project)
    assert main(["verify", "-q", "--as-of", moment, "--depth", "records"]) == DONE
    assert remembered(project) == before
    runs = list(history.read(project.directory / "var" / "backup-repositories"))
    assert "verify" not in {each.verb for each in runs if each.at("repository")}
    assert main(["restore", "-q", "--no-prompt", "--as-of", moment]) == DONE
    assert contents_of(project.filestorage, project.blobstorage) == expected


@pytest.mark.parametrize("mode", MODES[1:])
def test_a_lock_lets_backups_be_made_and_pruned_and_keeps_each_version(project, weed, mode, prefix):
    bucket = keeping_bucket(weed, mode)
    configure(project, url_of(weed, bucket, prefix))
    assert main(["repository", "init", "-q"]) == DONE
    for number in range(3):
        project.commit({"page": number})
        assert main(["backup", "-q"]) == DONE
    client = keeper(weed)
    kept = versions_in(client, bucket, prefix)
    assert main(["prune", "-q", "--yes"]) == DONE
    assert main(["repository", "collect", "-q"]) == DONE
    assert main(["verify", "-q"]) == DONE
    for key, version in kept:
        with pytest.raises(Exception, match="Access Denied"):
            client.delete_object(Bucket=bucket, Key=key, VersionId=version)
    assert kept <= rob(weed, bucket, prefix)


def test_what_cannot_be_read_as_of_a_moment_is_told(project, tmp_path, capfd):
    configure(project, tmp_path / "store")
    assert main(["list", "--as-of", "2026-01-01"]) == ConfigurationError.exit_code
    assert "only the present state can be read" in capfd.readouterr().err
    assert main(["restore", "--as-of", "00" * 8]) == UsageError.exit_code
    assert "takes a moment, and no transaction" in capfd.readouterr().err
    (project.directory / "sitebackup.toml").write_text('datafs = "var/filestorage/Data.fs"\n')
    assert main(["verify", "--as-of", "2026-01-01"]) == ConfigurationError.exit_code
    assert "have no repository" in capfd.readouterr().err
