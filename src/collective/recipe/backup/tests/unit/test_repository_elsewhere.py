"""A repository on a server: made, backed up to, looked at, restored from, tidied up."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest

from collective.recipe.backup.errors import (
    DONE,
    ConfigurationError,
    IntegrityError,
    StoreRefused,
    StoreUnreachable,
    UsageError,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.repository import slots
from collective.recipe.backup.repository.names import TRASH
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.tests import grids
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.servers import BUCKET, answer, proxied

PROJECT = Path(__file__).parents[6]


@pytest.fixture(autouse=True)
def _passphrase(command, monkeypatch):
    monkeypatch.setattr(slots, "_ARGON2", {"passes": 1, "memory": 64, "lanes": 1})
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", "correct horse battery")


@pytest.fixture
def proxy(weed, s3_credentials):
    with proxied(weed) as proxy:
        yield proxy


@pytest.fixture
def in_a_bucket(proxy):
    prefix = f"elsewhere/{os.getpid()}/{proxy.port}"
    return f"s3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{proxy.port}"


@pytest.fixture
def by_sftp(sshd, in_a_home_for_sshd, tmp_path):
    (tmp_path / "far").mkdir()
    return f"sftp://127.0.0.1:{sshd.port}{tmp_path}/far/store"


@pytest.fixture
def in_a_grid(grid, grid_directory, tmp_path):
    return grids.aliased(grid.port, grid_directory, tmp_path / "node")


PLACES = [
    pytest.param("in_a_bucket", marks=pytest.mark.needs("weed")),
    pytest.param("by_sftp", marks=pytest.mark.needs("sshd")),
    pytest.param("in_a_grid", marks=[pytest.mark.slow, pytest.mark.needs("tahoe")]),
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A site in the working directory, with nothing but a configuration."""
    site = Site(tmp_path / "plone")
    site.commit({"page": 1}, {"file": b"data" * 1000})
    monkeypatch.chdir(site.directory)
    return site


def configured(site, url, **settings):
    where = {"datafs": "var/filestorage/Data.fs", "blob_storage": "var/blobstorage"}
    settings = where | {"repository": url, "location": "none"} | settings
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (site.directory / "sitebackup.toml").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_site_lives_with_a_repository_elsewhere(project, request, place, capfd):
    configured(project, request.getfixturevalue(place), repository_keep_within="0d")
    assert main(["repository", "init", "-q"]) == DONE
    assert main(["backup", "-q"]) == DONE
    project.commit({"page": 2}, {"other": b"more" * 1000})
    assert main(["backup", "-q"]) == DONE
    expected = project.contents()
    assert main(["verify", "-q"]) == DONE
    assert main(["repository", "scrub", "-q"]) == DONE
    shutil.rmtree("var")
    (project.directory / "var" / "filestorage").mkdir(parents=True)
    assert main(["restore", "--no-prompt", "-q"]) == DONE
    assert contents_of(project.filestorage, project.blobstorage) == expected
    assert main(["prune", "-q"]) == DONE
    assert main(["repository", "collect", "-q"]) == DONE
    capfd.readouterr()
    assert main(["list", "--json"]) == DONE
    assert json.loads(capfd.readouterr().out)


@pytest.mark.needs("weed")
def test_a_server_that_dies_in_a_backup_costs_what_was_under_way_alone(
    project, proxy, in_a_bucket, capfd
):
    configured(project, in_a_bucket)
    assert main(["repository", "init", "-q"]) == DONE
    before = len(proxy.asked)
    proxy.fault = lambda _method, _path, number: "reset" if number > before + 8 else None
    assert main(["backup", "-q"]) == StoreUnreachable.exit_code
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "hint: is the network up" in said
    proxy.fault = lambda *_request: None
    assert main(["backup", "-q"]) == DONE
    assert main(["verify", "-q"]) == DONE


@pytest.mark.needs("weed")
def test_a_credential_that_may_only_add_backs_up_and_says_what_stays(
    project, proxy, in_a_bucket, capfd
):
    configured(project, in_a_bucket, repository_keep_within="0d")
    assert main(["repository", "init", "-q"]) == DONE
    proxy.fault = lambda method, *_rest: answer(403, "AccessDenied") if method == "DELETE" else None
    for number in range(2):
        project.commit({"page": number})
        assert main(["backup", "-q"]) == DONE
    said = capfd.readouterr().err
    assert "the credential may not do that (AccessDenied)" in said
    assert "it stays until prune runs with a credential that may remove it" in said
    assert main(["verify", "-q"]) == DONE
    assert main(["prune", "-q"]) == StoreRefused.exit_code
    said = capfd.readouterr().err
    assert "the credential may not do that" in said
    assert re.search(r"no rule keeps 20[0-9-]+ any longer, but that stays: ", said)
    assert "hint: " in said
    assert not [path for method, path in proxy.asked if method == "PUT" and TRASH in path]
    proxy.fault = lambda *_request: None
    assert main(["prune", "-q"]) == DONE
    assert [path for method, path in proxy.asked if method == "PUT" and TRASH in path]


@pytest.mark.needs("weed")
def test_a_backup_with_nothing_new_asks_the_store_few_times(project, proxy, in_a_bucket):
    configured(project, in_a_bucket)
    assert main(["repository", "init", "-q"]) == DONE
    assert main(["backup", "-q"]) == DONE
    before = len(proxy.asked)
    assert main(["backup", "-q"]) == DONE
    assert len(proxy.asked) - before <= 6
    project.commit({"page": 2}, {"other": b"more"})
    before = len(proxy.asked)
    assert main(["backup", "-q"]) == DONE
    assert len(proxy.asked) - before < 40


@pytest.mark.needs("weed")
def test_a_bucket_is_asked_no_more_often_than_the_page_of_stores_says(project, proxy, in_a_bucket):
    configured(project, in_a_bucket, repository_keep_within="0d")
    page = (PROJECT / "docs" / "howto" / "stores.rst").read_text(encoding="utf-8")
    row = r"^(a [a-z ,]+?|prune|collect) {2,}(\d+) +(\d+)$"
    said = {what: (int(dear), int(cheap)) for what, dear, cheap in re.findall(row, page, re.M)}
    asked = {}

    def count(what, *command):
        before = len(proxy.asked)
        assert main([*command, "-q"]) == DONE
        dear = [m == "PUT" or "list-type" in path for m, path in proxy.asked[before:]]
        asked[what] = sum(dear), len(dear) - sum(dear)

    assert main(["repository", "init", "-q"]) == DONE
    count("a first backup", "backup")
    count("a night without changes", "backup")
    project.commit({"page": 2}, {"other": b"more" * 1000})
    count("a night with changes", "backup")
    count("prune", "prune")
    count("collect", "repository", "collect")
    shutil.rmtree("var")
    (project.directory / "var" / "filestorage").mkdir(parents=True)
    count("a restore, of a machine that was lost", "restore", "--no-prompt")
    assert asked.keys() == said.keys()
    for what, found in asked.items():
        assert all(each <= most for each, most in zip(found, said[what], strict=True)), what


@pytest.mark.needs("weed")
def test_a_pod_without_a_home_and_with_any_host_name_backs_up(
    project, in_a_bucket, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", "/nowhere")
    var = project.directory / "var"
    before = {path: path.stat().st_mtime_ns for path in [var, *var.rglob("*")]}
    for name in ("plone-27a91", "plone-b03fe"):  # each pod begins with an empty directory
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        scratch = tmp_path / name
        scratch.mkdir()
        configured(project, in_a_bucket, locationprefix=str(scratch), site_name="plone")
        if name.endswith("1"):
            assert main(["repository", "init", "-q"]) == DONE
        assert main(["backup", "-q"]) == DONE
    assert {path: path.stat().st_mtime_ns for path in [var, *var.rglob("*")]} == before
    assert main(["verify", "-q"]) == DONE


@pytest.mark.parametrize("place", PLACES)
def test_a_store_is_tried_out_by_its_name_or_its_url(project, request, place, capfd):
    url = request.getfixturevalue(place)
    configured(project, url)
    assert main(["repository", "init", "-q"]) == DONE
    capfd.readouterr()
    assert main(["repository", "check-store"]) == DONE
    assert main(["repository", "check-store", url]) == DONE
    said = capfd.readouterr().out
    assert sum(line.startswith("ok ") for line in said.splitlines()) == 16
    assert main(["repository", "check-store", url, "--json"]) == DONE
    assert json.loads(capfd.readouterr().out)["good"]


@pytest.mark.slow
@pytest.mark.needs("tahoe")
def test_verify_names_what_lacks_shares_and_heal_makes_them_again(
    project, grid, grid_directory, in_a_grid, capfd
):
    configured(project, in_a_grid)
    assert main(["repository", "init", "-q"]) == DONE
    assert main(["backup", "-q"]) == DONE
    assert main(["verify", "-q"]) == DONE
    shares = grids.all_shares(grid, grid_directory)
    assert len(shares) > 5
    for each in shares:
        each[0].unlink()
    assert main(["verify", "-q", "--depth", "names"]) == IntegrityError.exit_code
    said = capfd.readouterr()
    assert said.out.count("of its 3 shares 2 are there, and 2 are needed") == len(shares)
    assert "heal makes it whole again" in said.out
    assert main(["repository", "heal"]) == DONE
    assert f"has made whole again: {len(shares)}\n" in capfd.readouterr().out
    assert main(["verify", "-q"]) == DONE
    assert all(len(each) >= 3 for each in grids.all_shares(grid, grid_directory))

    store = store_at(in_a_grid, Files())
    name = next(each.name for each in store.list("bundles/"))
    for share in grids.shares_of_object(grid, grid_directory, name):
        share.unlink()
    assert main(["verify", "-q"]) == IntegrityError.exit_code
    assert "of its 3 shares 0 are there" in capfd.readouterr().out
    assert main(["repository", "heal"]) == DONE
    assert "bundles stored again: 1, " in capfd.readouterr().out
    assert main(["verify", "-q"]) == DONE


class TestCapabilities:
    """A capability of a grid lets others in, and is shown nowhere."""

    SECRET = "q2ibisfewpngq6efxs62vqpela"

    @pytest.mark.slow
    @pytest.mark.needs("tahoe")
    def test_a_capability_stands_in_nothing_that_a_site_says_or_writes(
        self, project, grid, grid_directory, capfd, caplog
    ):
        url = f"tahoe:{grid_directory}?node=http://127.0.0.1:{grid.port}"
        configured(project, url)
        commands = (
            ["repository", "init", "-q"],
            ["backup"],
            ["list", "--json"],
            ["list"],
            ["status"],
            ["verify"],
            ["repository", "stats"],
            ["repository", "check-store"],
            ["doctor"],
            ["report"],
            ["restore", "--no-prompt"],
        )
        for each in commands:
            main(each)
        configured(project, url.replace(str(grid.port), "9"))
        assert main(["backup"]) == StoreUnreachable.exit_code
        said = "".join(capfd.readouterr())
        assert "tahoe:(capability " in said
        written = [path for path in project.directory.rglob("*") if path.is_file()]
        told = (
            said
            + caplog.text
            + "".join(
                path.read_bytes().decode("latin-1")
                for path in written
                if path.name != "sitebackup.toml"
            )
        )
        secrets = grid_directory.split(":")[2:]
        assert [each for each in secrets if each in told] == []

    def test_a_capability_is_refused_in_a_command_line(self, project, capfd):
        configured(project, "/nowhere")
        url = f"tahoe:URI:DIR2:{self.SECRET}:{'s' * 52}"
        for command in (["check-store", url], ["repository", "check-store", url]):
            assert main(command) == UsageError.exit_code
            said = capfd.readouterr().err
            assert "can be read by all users of this machine" in said
            assert self.SECRET not in said

    def test_a_capability_is_not_shown_where_its_line_is_wrong(self, project, capfd):
        url = f"tahoe:URI:DIR2:{self.SECRET}:{'s' * 52}"
        for line in (f"a b {url}", f"A {url}", f"{url}/../a"):
            configured(project, line)
            assert main(["backup"]) == ConfigurationError.exit_code
            assert self.SECRET not in "".join(capfd.readouterr())


@pytest.mark.slow
@pytest.mark.needs("tahoe")
def test_what_a_grid_shows_of_a_restore_point_is_a_repository_that_restores(
    project, grid, grid_directory, in_a_grid, tmp_path, capfd
):
    configured(project, in_a_grid, repository_keep_within="0d")
    assert main(["repository", "init", "-q"]) == DONE
    for number in range(2):
        project.commit({"page": number}, {"more": b"%d" % number * 1000})
        assert main(["backup", "-q"]) == DONE
    [writer] = grids.children(grid.port, grid_directory)
    [shown] = grids.children(grid.port, grid_directory, writer, "Archives")
    capfd.readouterr()
    assert main(["list", "--json"]) == DONE
    assert shown.startswith(
        json.loads(capfd.readouterr().out)["storages"][0]["restore_points"][0]["stamp"]
    )
    assert main(["repository", "collect", "-q"]) == DONE

    grids.copied(grid.port, (grid_directory, writer, "Latest"), tmp_path / "copy")
    expected = project.contents()
    shutil.rmtree("var")
    (project.directory / "var" / "filestorage").mkdir(parents=True)
    configured(project, str(tmp_path / "copy"))
    assert main(["restore", "--no-prompt", "-q"]) == DONE
    assert contents_of(project.filestorage, project.blobstorage) == expected


@pytest.mark.slow
@pytest.mark.needs("tahoe")
@pytest.mark.parametrize("requests", [25, 45])
def test_a_node_that_dies_in_a_backup_costs_what_was_under_way_alone(
    project, grid, grid_directory, tmp_path, capfd, requests
):
    with proxied(grid.port) as proxy:
        configured(project, grids.aliased(proxy.port, grid_directory, tmp_path / "node"))
        assert main(["repository", "init", "-q"]) == DONE
        last = len(proxy.asked) + requests
        proxy.fault = lambda _method, _path, number: "reset" if number > last else None
        assert main(["backup", "-q"]) == StoreUnreachable.exit_code
        said = capfd.readouterr().err
        assert "Traceback" not in said
        assert "no node of Tahoe-LAFS answers" in said
        proxy.fault = lambda *_request: None
        assert main(["backup", "-q"]) == DONE
        assert main(["verify", "-q"]) == DONE
