"""The places of one site's backups side by side: directories, repositories, or these alone."""

from __future__ import annotations

import json
import logging
import os
import shutil

import pytest

from collective.recipe.backup import history
from collective.recipe.backup.errors import (
    DONE,
    ConfigurationError,
)
from collective.recipe.backup.repository import slots
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.tests.samples import Site

PASSPHRASE = "correct horse battery"
WRONG = ConfigurationError.exit_code


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    for name in list(os.environ):
        if name.startswith("SITEBACKUP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(slots, "_ARGON2", {"passes": 1, "memory": 64, "lanes": 1})
    logger = logging.getLogger("backup")
    before = logger.handlers[:], logger.propagate, logger.level
    yield
    logger.handlers[:], logger.propagate, level = before
    logger.setLevel(level)


@pytest.fixture
def site(tmp_path, monkeypatch):
    site = Site(tmp_path / "plone")
    site.commit({"page": 1}, {"file": b"data"})
    monkeypatch.chdir(site.directory)
    return site


def configure(site, **settings):
    where = {"datafs": "var/filestorage/Data.fs", "blob_storage": "var/blobstorage"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in (where | settings).items()]
    (site.directory / "sitebackup.toml").write_text("\n".join(lines) + "\n")


def made(site, tmp_path, *names, **settings):
    """Configure repositories called *names*, and make them."""
    lines = "\n".join(f"{name} {tmp_path / name}" for name in names)
    configure(site, repository=lines, **settings)
    for name in names:
        assert main(["repository", "init", name, "-q"]) == DONE


def said(capfd, *arguments, code=DONE):
    """Run a command that ends with *code*; return what it said."""
    capfd.readouterr()
    assert main([*arguments]) == code
    return capfd.readouterr()


def answer(capfd, *arguments, code=DONE):
    return json.loads(said(capfd, *arguments, "--json", code=code).out)


def points_in(document):
    return [each["stamp"] for each in document["storages"][0]["restore_points"]]


def test_a_site_without_directories_is_backed_up_to_its_repository_alone(site, tmp_path, capfd):
    made(site, tmp_path, "far", location="none")
    expected = site.contents()
    assert main(["backup", "-q"]) == DONE
    assert {each.name for each in (site.directory / "var").iterdir()} == {
        ".sitebackup-backup",
        "backup-repositories",
        "blobstorage",
        "filestorage",
    }
    [stamp] = points_in(answer(capfd, "list"))
    for verb in (["verify", "--depth", "records"], ["rehearse"], ["prune"], ["status"], ["report"]):
        assert main([*verb, "-q"]) == DONE
    assert "a problem" not in said(capfd, "doctor").out
    runs = history.read(site.directory / "var" / "backup-repositories")
    assert [run.verb for run in runs] == ["backup", "verify", "rehearse", "prune"]
    site.commit({"page": "spoilt"})
    assert main(["restore", "-qn", stamp]) == DONE
    assert site.contents() == expected


def test_a_site_without_directories_has_neither_snapshots_nor_zip_backups(site, tmp_path, capfd):
    made(site, tmp_path, "far", location="none")
    for flag in ("--snapshot", "--zip"):
        told = said(capfd, "backup", flag, code=WRONG).err
        assert "no place for" in told
        assert "there is one for standard" in told
    configure(site, location="none")
    assert "set repository as well" in said(capfd, "list", code=WRONG).err


def test_which_of_several_repositories_is_meant_must_be_said(site, tmp_path, capfd):
    made(site, tmp_path, "one", "two", location="none")
    assert main(["backup", "-q"]) == DONE
    told = said(capfd, "restore", "-n", code=WRONG).err
    assert "--from says so; there are one, two" in told
    shutil.rmtree(tmp_path / "one")
    assert main(["restore", "-qn", "--from", "two"]) == DONE
